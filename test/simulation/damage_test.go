package simulation

import (
	"bytes"
	"strings"
	"time"

	"github.com/rocketmq-connect/operator/worker/cluster/fold"
	"github.com/rocketmq-connect/operator/worker/cluster/member"
)

// damage makes what p folds from here on another state than everybody else's, as bad memory does. Only its digest is
// another: who owns what stays right, so that all other checks hold for p as well.
func (s *sim) damage(p *proc) {
	f := p.m.Fold()
	image, err := f.Image()
	if err != nil || f.Offset() < 0 {
		return
	}
	other := strings.Repeat("0", len(f.Digest()))
	wrong, err := fold.Restore(bytes.Replace(image, []byte(f.Digest()), []byte(other), 1))
	if err != nil {
		s.fail("damaging the fold of %s: %w", p.id, err)
		return
	}
	*f = *wrong
	p.wrong = f
	s.damages++
	s.wrong++
	s.tracef("damage %s", p.id)
}

// inherit notes that p begins with what a damaged worker wrote: it did so before anybody could contradict it.
func (s *sim) inherit(p *proc, f *fold.Fold) {
	if want, ok := s.truth.digests[f.Offset()]; ok && s.damages > 0 && f.Digest() != want {
		s.tracef("%s begins with a damaged snapshot as of @%d", p.id, f.Offset())
		p.wrong = f
		s.wrong++
	}
	if p.bad {
		s.at(5*time.Second, func() { s.damage(p) })
	}
}

// contradicted has p do what its Rereads says. A process that ends is started again, as a pod is.
func (s *sim) contradicted(p *proc, err error) {
	if p.m.Fold() != p.wrong && s.wrong == 1 {
		s.fail("C1: worker %s is right and contradicted: %w", p.id, err)
		return
	}
	s.rereads++
	how := p.rereads.Next(s.time(p))
	if how == member.NoMore {
		s.tracef("exit %s: %v", p.id, err)
		s.crash(p)
		s.startAgain(p, 10*time.Second)
		return
	}
	s.tracef("%s reads again, from the start: %t: %v", p.id, how == member.FromStart, err)
	p.m.GiveUp(s.time(p))
	s.bootstrap(p, how)
}

// decide is what a person does where nobody can tell who is wrong: one of them is started again. Where most workers
// can, nobody needs to.
func (s *sim) decide() {
	wrong, live := 0, s.live()
	for _, p := range live {
		if p.m.Fold() == p.wrong {
			wrong++
		}
	}
	for _, p := range s.procs {
		if _, disputed := p.m.Disputed(); disputed && 2*wrong >= len(live) && p.alive && p.fatal == nil {
			s.tracef("decide %s", p.id)
			s.crash(p)
			s.startAgain(p, time.Second)
			return
		}
	}
}

// wrongInTheEnd says which worker has not been put right; "" once all agree.
func (s *sim) wrongInTheEnd() string {
	live := s.live()
	for id, p := range live {
		if _, disputed := p.m.Disputed(); disputed {
			return "worker " + id + " and as many others make different things of the log"
		}
		if p.m.Fold() == p.wrong && s.wrong == 1 && len(live) > 1 {
			return "worker " + id + " makes something else of the log than all others"
		}
	}
	return ""
}
