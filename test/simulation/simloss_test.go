package member

import (
	"bytes"
	"slices"
	"time"

	"github.com/rocketmq-connect/operator/worker/cluster/fold"
	"github.com/rocketmq-connect/operator/worker/rmq"
)

// lose is a broker that comes back without its newest acknowledged records. Their offsets are given out again. What is
// true from here on is what is left.
func (s *sim) lose(n int) {
	kept := s.log[:max(0, len(s.log)-n)]
	s.tracef("log loses its tail from %d on, of %d", len(kept), len(s.log))
	s.losses = append(s.losses, s.now)
	s.observer, s.log = fold.New(), nil
	for _, m := range []func(){
		func() { clear(s.digests) }, func() { clear(s.images) }, func() { clear(s.owned) }, func() { clear(s.epochOf) },
		func() { clear(s.generationOf) }, func() { clear(s.sequences) },
	} {
		m()
	}
	s.quiet = true
	for _, e := range slices.Clone(kept) {
		s.log = append(s.log, e)
		s.observe(e)
	}
	s.quiet = false
}

// reconnect has p read again the last of what it read, as a rmq.Log's Follow does.
func (s *sim) reconnect(p *proc) {
	p.conn = s.conn
	switch {
	case s.plant.blind || p.read == 0:
	case p.read > len(s.log):
		s.tracef("%s starts over: log ends at %d and was read to %d", p.id, len(s.log), p.read)
		s.bootstrap(p)
	default:
		p.read = max(p.first, p.read-goneOver)
	}
}

// goneOver is how many records a rmq.Log's Follow hands on again.
const goneOver = 64

// noteBasis remembers what the writer of each record had read at its asOf.
func (s *sim) noteBasis(p *proc, entries []rmq.Entry) {
	for _, e := range entries {
		r, err := fold.Decode(e.Value)
		if err != nil {
			s.fail("worker %s writes %q: %w", p.id, e.Value, err)
			return
		}
		if value, ok := p.seen[r.AsOf]; ok {
			s.basis[string(e.Value)] = rmq.Entry{Offset: r.AsOf, Value: value}
		}
	}
}

// checkAccepted looks at an accepted record without the fold.
func (s *sim) checkAccepted(e rmq.Entry, out fold.Outcome) {
	r := out.Record
	if out.Reason != fold.Accepted {
		return
	}
	// Invariant C4: nothing is decided on entries that the log has lost.
	if b, ok := s.basis[string(e.Value)]; ok && (b.Offset >= e.Offset || !bytes.Equal(s.log[b.Offset].Value, b.Value)) {
		s.fail("C4: @%d %s was written on another entry %d than the log holds", e.Offset, r.Kind, b.Offset)
	}
	if !hasSequence(r.Kind) {
		return
	}
	// Invariant C1: late and repeated appends do nothing.
	if last := s.sequences[r.Session]; r.Sequence <= last {
		s.fail("C1: @%d %s has sequence %d of session %d, after %d", e.Offset, r.Kind, r.Sequence, r.Session, last)
	}
	s.sequences[r.Session] = r.Sequence
	for _, ev := range out.Events {
		if r.Kind == fold.Release && !slices.Contains(r.Release, fold.Held{Connector: ev.Unit.Connector, Task: ev.Unit.Task, Generation: ev.Generation}) {
			s.fail("C2: @%d %s by a release that names %+v", e.Offset, ev, r.Release)
		}
	}
}

// inHole reports whether a process is a newcomer that started within one session of a loss that is not over for a session.
// It has read nothing of what was lost and has seen no reconnect, so it cannot know that somebody may still run, until a
// lease ends, what the log now shows as free. This is the hole that is left in C2 where a log loses acknowledged records.
func (s *sim) inHole(p *proc) bool {
	session := time.Duration(s.terms.TimeoutMS) * time.Millisecond
	return slices.ContainsFunc(s.losses, func(at time.Duration) bool {
		return p.startedAt >= at && p.startedAt < at+session && s.now < at+session
	})
}
