package simulation

import (
	"bytes"
	"slices"
	"time"

	"github.com/rocketmq-connect/operator/worker/cluster/fold"
	"github.com/rocketmq-connect/operator/worker/cluster/member"
	"github.com/rocketmq-connect/operator/worker/rmq"
)

// truth is the cluster log as it is: each entry is folded as it is stored, and what the fold decides is looked at by
// itself, without the fold's maps.
type truth struct {
	observer     *fold.Fold
	digests      map[int64]string
	images       map[int64]string
	owned        map[fold.Unit]fold.Owner
	epochOf      map[string]int64
	generationOf map[fold.Unit]int64
	sequences    map[int64]int64      // of each session's newest accepted record
	basis        map[string]rmq.Entry // by a record's bytes: the entry at its asOf, as its writer read it
}

func (w *truth) init(s *sim) {
	w.basis = map[string]rmq.Entry{}
	w.forget()
}

func (w *truth) forget() {
	w.observer = fold.New()
	w.digests, w.images, w.sequences = map[int64]string{}, map[int64]string{}, map[int64]int64{}
	w.owned, w.epochOf, w.generationOf = map[fold.Unit]fold.Owner{}, map[string]int64{}, map[fold.Unit]int64{}
}

func (w *truth) observe(s *sim, e rmq.Entry) {
	out, err := w.observer.Step(e)
	if err != nil {
		s.fail("observer: %w", err)
		return
	}
	w.digests[e.Offset] = w.observer.Digest()
	if e.Offset%64 == 0 {
		image, err := w.observer.Image()
		if err != nil {
			s.fail("observer: %w", err)
		}
		w.images[e.Offset] = string(image)
	}
	for _, ev := range out.Events {
		s.tracef("@%d %s", e.Offset, ev)
		w.checkEvent(s, ev)
	}
	w.checkAccepted(s, e, out)
	if out.Reason != fold.Accepted && out.Reason != fold.WorkerAlive {
		kind := fold.Kind("record")
		if out.Record != nil {
			kind = out.Record.Kind
		}
		s.tracef("@%d %s refused: %s", e.Offset, kind, out.Reason)
	}
}

// checkFold compares what p has folded up to an entry.
func (w *truth) checkFold(s *sim, p *proc, e rmq.Entry) {
	// Invariant C1.
	f := p.m.Fold()
	if e.Offset < f.Offset() || f == p.wrong {
		return // on its way to the last one that it read, or known to be wrong
	}
	if want, ok := w.digests[f.Offset()]; ok && want != f.Digest() {
		s.fail("C1: worker %s has digest %s at offset %d, want %s", p.id, f.Digest(), f.Offset(), want)
	}
	if want, ok := w.images[f.Offset()]; ok {
		if got, err := f.Image(); err != nil || string(got) != want {
			s.fail("C1: worker %s has at offset %d (%v)\n%s\nwant\n%s", p.id, f.Offset(), err, got, want)
		}
	}
}

// checkEvent looks at ownership.
//
// Invariant C3: units of one connector are owned at one epoch, which never goes back; generations only rise.
func (w *truth) checkEvent(s *sim, ev fold.Event) {
	switch ev.Kind {
	case fold.Granted:
		for u, o := range w.owned {
			if u == ev.Unit || u.Connector == ev.Unit.Connector && o.Epoch != ev.Epoch {
				s.fail("C3: %s while %s is owned: %+v", ev, u, o)
			}
		}
		if ev.Epoch < w.epochOf[ev.Unit.Connector] || ev.Generation <= w.generationOf[ev.Unit] {
			s.fail("C3: %s goes back behind epoch %d or generation %d", ev, w.epochOf[ev.Unit.Connector], w.generationOf[ev.Unit])
		}
		w.owned[ev.Unit] = fold.Owner{Session: ev.Session, Generation: ev.Generation, Epoch: ev.Epoch}
		w.epochOf[ev.Unit.Connector], w.generationOf[ev.Unit] = ev.Epoch, ev.Generation
	case fold.Freed:
		delete(w.owned, ev.Unit)
	}
}

// noteBasis remembers what the writer of each record had read at its asOf.
func (w *truth) noteBasis(s *sim, p *proc, entries []rmq.Entry) {
	for _, e := range entries {
		r, err := fold.Decode(e)
		if err != nil {
			s.fail("worker %s writes %q: %w", p.id, e.Value, err)
			return
		}
		if value, ok := p.seen[r.AsOf]; ok {
			w.basis[string(e.Value)] = rmq.Entry{Offset: r.AsOf, Value: value}
		}
	}
}

// checkAccepted looks at an accepted record without the fold.
func (w *truth) checkAccepted(s *sim, e rmq.Entry, out fold.Outcome) {
	r := out.Record
	if out.Reason != fold.Accepted {
		return
	}
	// Invariant C4: nothing is decided on entries that the log has lost.
	if b, ok := w.basis[string(e.Value)]; ok && (b.Offset >= e.Offset || !bytes.Equal(s.log.entries[b.Offset].Value, b.Value)) {
		s.fail("C4: @%d %s was written on another entry %d than the log holds", e.Offset, r.Kind, b.Offset)
	}
	if r.Kind == fold.Join || r.Kind == fold.Expire {
		return
	}
	// Invariant C1: late and repeated appends do nothing.
	if last := w.sequences[r.Session]; r.Sequence <= last {
		s.fail("C1: @%d %s has sequence %d of session %d, after %d", e.Offset, r.Kind, r.Sequence, r.Session, last)
	}
	w.sequences[r.Session] = r.Sequence
	for _, ev := range out.Events {
		if r.Kind == fold.Release &&
			!slices.Contains(r.Release, fold.Held{Connector: ev.Unit.Connector, Task: ev.Unit.Task, Generation: ev.Generation}) {
			s.fail("C2: @%d %s by a release that names %+v", e.Offset, ev, r.Release)
		}
	}
}

// hold is who delivers for a unit, and until when in true time what it has started may last.
type hold struct {
	p     *proc
	grant member.Grant
	until time.Duration
}

// hold notes a delivery under a grant.
//
// Invariant C2: the lease-gated runs of one unit by two processes never overlap.
func (s *sim) hold(p *proc, g member.Grant, until time.Duration) {
	h := s.holds[g.Unit]
	if h.p != nil && h.p != p && h.until > s.now {
		if s.inHole(p) || s.inHole(h.p) {
			s.holes++
			s.tracef("HOLE %s runs %s, as does %s", p.id, g.Unit, h.p.id)
			return
		}
		s.fail(
			"C2: %s runs %s (generation %d) while %s runs generation %d until %v",
			p.id,
			g.Unit,
			g.Generation,
			h.p.id,
			h.grant.Generation,
			h.until,
		)
	}
	if s.delivering[g.Unit] != g {
		s.delivering[g.Unit] = g
		s.tracef("%s delivers for %s gen=%d epoch=%d", p.id, g.Unit, g.Generation, g.Epoch)
	}
	// Invariant C3: no task of an epoch delivers while one of another epoch does.
	for u, other := range s.holds {
		if u.Connector == g.Unit.Connector && other.grant.Epoch != g.Epoch && other.until > s.now && !s.inHole(p) && !s.inHole(other.p) {
			s.fail("C3: %s runs %s at epoch %d while %s runs %s at epoch %d", p.id, g.Unit, g.Epoch, other.p.id, u, other.grant.Epoch)
		}
	}
	s.holds[g.Unit] = hold{p, g, until}
}

func (s *sim) dropHold(p *proc, g member.Grant) {
	if h := s.holds[g.Unit]; h.p == p && h.grant == g {
		delete(s.holds, g.Unit)
	}
}

// dropHolds ends what a killed process ran: its sockets are reset.
func (s *sim) dropHolds(p *proc) {
	for u, h := range s.holds {
		if h.p == p {
			delete(s.holds, u)
		}
	}
}

// inHole reports whether a process is a newcomer that started within one session of a loss that is not over for a
// session. It has read nothing of what was lost and has seen no reconnect, so it cannot know that somebody may still
// run, until a lease ends, what the log now shows as free. This is the hole that is left in C2 where a log loses
// acknowledged records.
func (s *sim) inHole(p *proc) bool {
	session := time.Duration(s.terms.TimeoutMS) * time.Millisecond
	return slices.ContainsFunc(s.losses, func(at time.Duration) bool {
		return p.startedAt >= at && p.startedAt < at+session && s.now < at+session
	})
}
