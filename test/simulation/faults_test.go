package simulation

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/rocketmq-connect/operator/worker/states"
	"github.com/rocketmq-connect/operator/worker/store/storefold"
)

func (s *sim) crash(p *proc) {
	s.tracef("crash %s", p.id)
	p.alive, p.inbox = false, nil
	s.dropHolds(p)
}

func (s *sim) freeze(p *proc) {
	s.tracef("freeze %s", p.id)
	p.frozen = true
}

func (s *sim) thaw(p *proc) {
	if !p.frozen {
		return
	}
	s.tracef("thaw %s", p.id)
	p.frozen = false
	inbox := p.inbox
	p.inbox = nil
	for _, fn := range inbox {
		s.run(p, fn)
	}
	s.wake(p)
}

func (s *sim) setCut(p *proc, cut bool) {
	s.tracef("cut %s=%t", p.id, cut)
	p.cut = cut
	p.conn = -1
	for _, sh := range p.worker.stores.shelves() {
		sh.conn = -1
	}
	s.wake(p)
}

func (s *sim) wakeAll() {
	for _, p := range s.procs {
		s.wake(p)
	}
}

// live returns the processes that run, by worker id.
func (s *sim) live() map[string]*proc {
	out := map[string]*proc{}
	for _, p := range s.procs {
		if p.alive && p.fatal == nil {
			out[p.id] = p
		}
	}
	return out
}

// fault does one thing to somebody.
func (s *sim) fault() {
	live := s.live()
	ids := slices.Sorted(maps.Keys(live))
	if len(ids) == 0 {
		return
	}
	p := live[ids[s.rng.IntN(len(ids))]]
	b := s.anyBroker()
	switch s.rng.IntN(23) {
	case 0, 1:
		s.crash(p)
		s.startAgain(p, s.random(12*time.Second))
	case 2, 3:
		s.freeze(p)
		s.at(s.random(12*time.Second), func() { s.thaw(p) })
	case 4:
		s.setDown(b, true)
		if s.rng.IntN(5) > 0 { // else for long
			s.at(s.random(10*time.Second), func() { s.setDown(b, false) })
		}
	case 5:
		s.setCut(p, true)
		s.at(s.random(10*time.Second), func() { s.setCut(p, false) })
	case 6, 7:
		s.changeConfig(p)
	case 8:
		s.tracef("stop %s", p.id)
		p.worker.leaving, p.worker.dirty = true, true
		s.startAgain(p, s.random(12*time.Second))
	case 9:
		b.slow = s.random(3 * time.Second)
		s.tracef("slow %s %v", b.name, b.slow)
		s.at(s.random(8*time.Second), func() { b.slow = 0 })
	case 10:
		p.wallStep += s.random(4*time.Second) - 2*time.Second
		s.tracef("clock step %s %v", p.id, p.wallStep)
	case 11, 12:
		s.faultLoss(p)
	case 13:
		s.pause(p)
	case 14:
		s.scale(p, len(ids))
	case 15:
		t := s.topics()[s.rng.IntN(len(s.topics()))]
		t.slow = s.random(3 * time.Second)
		s.tracef("slow %s %v", t.name, t.slow)
		s.at(s.random(8*time.Second), func() { t.slow = 0 })
	case 16:
		s.damage(p)
	default:
		s.faultOf(b)
	}
}

// faultOf does to a broker what people do to several.
func (s *sim) faultOf(b *broker) {
	switch s.rng.IntN(6) {
	case 0:
		s.roll(s.brokers, 500*time.Millisecond+s.random(4*time.Second))
	case 1:
		s.failover(b, s.random(4*time.Second), 60)
	case 2:
		s.hang(b)
		s.at(s.random(10*time.Second), func() { b.hung = false })
	case 3:
		s.restartNameServers()
	case 4:
		if len(s.data) < maxQueues {
			s.grow(s.brokers[s.rng.IntN(len(s.brokers))])
		}
	case 5:
		if s.rng.IntN(2) == 0 {
			s.empty(b, s.random(4*time.Second))
		}
	}
}

// anyBroker is as often as not the one of the internal topics.
func (s *sim) anyBroker() *broker {
	if s.rng.IntN(2) == 0 {
		return s.home
	}
	return s.brokers[s.rng.IntN(len(s.brokers))]
}

func (s *sim) topics() []*topic {
	return slices.Concat(s.internal, s.data)
}

// faultLoss takes the newest records of some topics away, at times while somebody cannot see it.
func (s *sim) faultLoss(p *proc) {
	if s.rng.IntN(2) == 0 {
		s.setCut(p, true)
		s.at(s.random(10*time.Second), func() { s.setCut(p, false) })
		s.advance(s.random(time.Second))
	}
	all := s.rng.IntN(4) == 0
	chosen := max(0, s.rng.IntN(len(s.topics())+2)-2) // more often the cluster log than another
	b := s.topics()[chosen].broker
	s.setDown(b, true)
	for i, t := range s.topics() {
		if i == chosen || all && t.broker == b {
			s.lose(t, 1+s.rng.IntN(max(1, min(60, len(t.entries)/2))))
		}
	}
	s.at(s.random([]time.Duration{time.Second, 8 * time.Second}[s.rng.IntN(2)]), func() { s.setDown(b, false) })
}

// changeConfig asks a worker for another config of a connector, or two workers for two on the same revision.
func (s *sim) changeConfig(p *proc) {
	name := []string{sourceConnector, sinkConnector}[s.rng.IntN(2)]
	held, _ := p.worker.stores.configs.View(name)
	w := storefold.Write{Name: name, IfRevision: -1}
	if s.rng.IntN(2) == 0 && held.Revision > 0 {
		w.IfRevision = held.Revision
	}
	tasks := 1 + s.rng.IntN(3)
	for range 1 + s.rng.IntN(2) {
		again := w
		again.RequestID = s.id("request")
		again.Config = map[string]string{"connector.class": "sim", "max.tasks": fmt.Sprint(tasks), "for": again.RequestID}
		s.ask(again)
	}
}

// ask sends a write to one of the workers.
func (s *sim) ask(w storefold.Write) {
	live := s.live()
	ids := slices.Sorted(maps.Keys(live))
	if len(ids) == 0 {
		return
	}
	p := live[ids[s.rng.IntN(len(ids))]]
	s.tracef("%s is asked for %s: %s state=%s config=%v ifRevision=%d", p.id, w.RequestID, w.Name, w.State, w.Config, w.IfRevision)
	s.at(s.latency, func() {
		s.run(p, func() {
			if held, ok := p.worker.stores.configs.View(w.Name); ok && !held.Deleted || w.Config != nil {
				s.change(p, w)
			}
		})
	})
}

// pause stops a connector everywhere and resumes it after a while.
func (s *sim) pause(p *proc) {
	name := []string{sourceConnector, sinkConnector}[s.rng.IntN(2)]
	state := []states.Wanted{states.WantPaused, states.WantStopped}[s.rng.IntN(2)]
	s.ask(storefold.Write{Name: name, IfRevision: -1, State: state, RequestID: s.id("request")})
	s.at(s.random(6*time.Second), func() {
		s.ask(storefold.Write{Name: name, IfRevision: -1, State: states.WantRunning, RequestID: s.id("request")})
	})
}

// scale adds a worker for good, or takes one away for good.
func (s *sim) scale(p *proc, live int) {
	if live > 2 && s.rng.IntN(2) == 0 {
		s.tracef("scale down %s", p.id)
		p.worker.leaving, p.worker.dirty = true, true
		return
	}
	if live < 5 {
		s.tracef("scale up")
		s.startAuto(s.id("w"), "")
	}
}

// startAgain starts a worker id again once its process has gone, in place or elsewhere.
func (s *sim) startAgain(old *proc, after time.Duration) {
	s.at(after, func() {
		if old.alive && old.fatal == nil {
			s.startAgain(old, time.Second)
			return
		}
		if s.live()[old.id] != nil {
			return
		}
		store := old.store
		if s.rng.IntN(3) == 0 {
			store = ""
		}
		s.startAuto(old.id, store)
	})
}
