package member

import (
	"fmt"
	"time"

	"github.com/rocketmq-connect/operator/worker/cluster/fold"
)

// agreement is whether the others made the same of the log. What they wrote before this worker's join does not count.
type agreement struct {
	votes      fold.Votes
	mismatches int64
	dissent    fold.Dissent // the newest
	// doubt is set once most others had come to another state, until most come to the same.
	doubt bool
}

// convinced is how many heartbeats in a row make a vote against a fold. One alone may be damaged, or somebody else's.
const convinced = 2

// agree compares the writer's fold with this one.
//
// Invariant C1: workers that folded to the same offset hold the same state. One that does not cannot be told what it
// owns: if most others contradict it, it is the one that is wrong.
func (m *Machine) agree(out fold.Outcome) error {
	a := &m.agreement
	if d, differs := a.votes.Hear(m.fold, out); differs {
		a.mismatches++
		a.dissent = d
	}
	if m.phase != joined || out.Record.Kind != fold.Heartbeat {
		return nil
	}
	agree, disagree := a.votes.Count(m.fold, m.cfg.Worker, convinced)
	if 2*(agree+1) > m.voters() {
		a.doubt = false
	}
	if disagree <= agree+1 {
		return nil
	}
	a.doubt = true
	d := a.dissent
	return fmt.Errorf("%w: at offset %d worker %s (session %d) has digest %s, this worker %s; %d workers contradict it and %d agree",
		ErrDigest, d.Offset, d.Worker, d.Session, d.Theirs, d.Mine, disagree, agree)
}

// voters are the live members that fold by the same rules: the others say nothing of this fold.
func (m *Machine) voters() (n int) {
	for _, s := range m.fold.Sessions() {
		if s.Terms.Fold == fold.Version {
			n++
		}
	}
	return n
}

// Disputed returns the newest dissent while as many workers contradict this one as agree, itself included: nobody can
// tell who is wrong.
func (m *Machine) Disputed() (fold.Dissent, bool) {
	if m.phase != joined {
		return fold.Dissent{}, false
	}
	agree, disagree := m.agreement.votes.Count(m.fold, m.cfg.Worker, convinced)
	return m.agreement.dissent, disagree > agree
}

// Mismatches counts heartbeats of others with another digest than this worker's, also of what was before its join.
func (m *Machine) Mismatches() (count int64, newest fold.Dissent) {
	return m.agreement.mismatches, m.agreement.dissent
}

// mayClaim reports whether this worker knows well enough who owns what. What it owns it goes on with.
func (m *Machine) mayClaim() bool {
	_, disputed := m.Disputed()
	return !disputed && !m.agreement.doubt
}

// Reread is where a worker that most others contradict reads the log again from.
type Reread int

// The ways to read again.
const (
	FromSnapshot Reread = iota // the newest that the others wrote on
	FromStart
	NoMore // it came to another state each time: its part is over
)

// forgiven is after which time without another contradiction the next one is the first again.
const forgiven = time.Hour

// Rereads says how a worker reads again. The zero value is ready.
type Rereads struct {
	times int
	last  time.Duration
}

// Next is asked once for each ErrDigest.
func (r *Rereads) Next(now Time) Reread {
	if now.Boot-r.last > forgiven {
		r.times = 0
	}
	how := min(FromSnapshot+Reread(r.times), NoMore)
	r.times, r.last = r.times+1, now.Boot
	return how
}
