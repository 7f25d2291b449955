package schedule

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rocketmq-connect/operator/worker/cluster"
	"github.com/rocketmq-connect/operator/worker/store"
)

const (
	// idlePass is how long the loop sleeps when nothing is due: what it may have missed is noticed then.
	idlePass = 10 * time.Second
	// A pass walks over everything, so events that come in numbers share one: after each the loop rests for restFactor times
	// what it took, at most longestRest.
	restFactor  = 4
	longestRest = 200 * time.Millisecond
)

// run plans and acts until ctx ends.
func (s *Scheduler) run(ctx context.Context) error {
	viewChanged, stopView := s.deps.Cluster.Watch()
	defer stopView()
	configChanged, stopConfigs := s.deps.Configs.Watch()
	defer stopConfigs()
	s.units.Go(func() { s.status.run(s.base) })
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-viewChanged:
		case <-configChanged:
		case <-s.wake:
		case <-timer.C:
		}
		begun := time.Now()
		timer.Reset(s.pass(ctx))
		pause(ctx, min(restFactor*time.Since(begun), longestRest))
	}
}

// pass plans once and acts; it returns when to look again without being woken.
func (s *Scheduler) pass(ctx context.Context) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	in := Input{Worker: s.cfg.WorkerID, View: s.deps.Cluster.View(), Connectors: s.deps.Configs.All(), Held: make(map[Unit]Held, len(s.held)), Places: &s.places}
	in.wants = s.wishes.of(in.Connectors)
	wants := in.wants
	in.Adopt = s.watchFree(in.View, wants, now)
	s.refresh(in, wants)
	for u, h := range s.held {
		in.Held[u] = h.view(now)
	}
	var claims, releases []Action
	for _, a := range Plan(in) {
		switch a.Kind {
		case Claim:
			if h := s.held[a.Unit]; h == nil || !now.Before(h.claimAt) {
				claims = append(claims, a)
			}
		case Release:
			releases = append(releases, a)
		default:
			s.act(a, wants[a.Unit], in)
		}
	}
	s.release(releases)
	s.claim(ctx, claims)
	s.report()
	return s.due(now)
}

// watchFree notes since when wanted units are free, and returns those that any worker may claim.
func (s *Scheduler) watchFree(view cluster.View, wants map[Unit]want, now time.Time) map[Unit]bool {
	adopt := map[Unit]bool{}
	for u := range s.free {
		_, wanted := wants[u]
		if _, owned := view.Owners[u]; owned || !wanted || !view.Joined {
			delete(s.free, u)
		}
	}
	for u := range wants {
		if _, owned := view.Owners[u]; owned || !view.Joined {
			continue
		}
		f, ok := s.free[u]
		if !ok {
			f = freeSince{since: now, patience: time.Duration(float64(s.cfg.SessionTimeout) * (1 + s.cfg.Random()))}
			s.free[u] = f
		}
		adopt[u] = now.Sub(f.since) >= f.patience
	}
	return adopt
}

// refresh brings what is held in line with the view and the configs, and forgets what is neither owned nor wanted here.
func (s *Scheduler) refresh(in Input, wants map[Unit]want) {
	states := map[string]store.State{}
	for _, c := range in.Connectors {
		states[c.Name] = c.State
	}
	for u, h := range s.held {
		w, isWanted := wants[u]
		if !isWanted {
			w = want{state: states[u.Connector]}
		}
		o, owned := in.View.Owners[u]
		mine := owned && in.View.Joined && o.Session == in.View.Self
		h.refresh(w, o, mine)
		if !s.claiming && h.unused() && (!isWanted || owned && !mine) {
			delete(s.held, u)
		}
	}
	for name := range s.known {
		if _, exists := states[name]; !exists {
			s.deps.Runner.Forget(name)
			s.metrics.forget(name)
		}
	}
	s.known = states
}

// act carries out one action on what runs here.
func (s *Scheduler) act(a Action, w want, in Input) {
	h := s.held[a.Unit]
	log := s.cfg.Log.WithValues("connector", a.Unit.Connector, "task", a.Unit.Task, "generation", a.Generation)
	switch a.Kind {
	case Start:
		i, _ := slices.BinarySearchFunc(in.Connectors, a.Unit.Connector, func(c store.Connector, name string) int { return strings.Compare(c.Name, name) })
		s.start(h, in.Connectors[i])
	case Stop:
		log.Info("Stopping a unit", "reason", a.Reason)
		s.drain(h)
	case Kill:
		if h.phase == Running {
			log.Info("Stopping a unit that this worker does not own any more")
		}
		h.phase = Stopping
		h.kill()
	case Restart:
		log.Info("Restarting a unit", "request", w.restart.ID)
		h.restartID = w.restart.ID
		h.forgive()
		if h.phase == Running {
			s.drain(h)
		} else {
			s.nudge()
		}
	}
}

// drain asks a running unit to stop, and ends it when that takes too long.
func (s *Scheduler) drain(h *held) {
	h.phase = Stopping
	h.stop()
	kill := h.kill
	timer := time.AfterFunc(s.cfg.DrainTimeout, kill)
	h.kill = func() { timer.Stop(); kill() }
}

// claim asks for units in one request at a time: the log is one, so a second would only wait behind the first.
func (s *Scheduler) claim(ctx context.Context, claims []Action) {
	if len(claims) == 0 || s.claiming {
		return
	}
	s.claiming = true
	reqs := make([]cluster.ClaimRequest, 0, len(claims))
	self := s.deps.Cluster.View().Self
	for _, a := range claims {
		u := a.Unit
		h := s.held[u]
		if h == nil {
			h = &held{unit: u}
			s.held[u] = h
		}
		h.keptFrom = 0
		if a.For != self {
			h.keptFrom = a.For
		}
		above := max(s.deps.Positions.Newest(u.Connector, u.Task), s.deps.Offsets.Newest(u.Connector, u.Task), h.given)
		reqs = append(reqs, cluster.ClaimRequest{Unit: u, Epoch: a.Epoch, Above: above})
	}
	s.units.Go(func() {
		grants, err := s.deps.Cluster.Claim(ctx, reqs)
		if err != nil && ctx.Err() == nil {
			s.cfg.Log.Error(err, "Claiming units failed; trying again", "units", len(reqs))
		}
		s.claimed(reqs, grants)
	})
}

// claimed takes the outcome of a claim.
func (s *Scheduler) claimed(reqs []cluster.ClaimRequest, grants []cluster.Grant) {
	s.cfg.Log.V(1).Info("Claimed units", "asked", len(reqs), "granted", len(grants))
	got := map[Unit]int64{}
	for _, g := range grants {
		got[g.Unit] = g.Generation
	}
	s.mu.Lock()
	s.claiming = false
	for _, r := range reqs {
		if h := s.held[r.Unit]; h != nil {
			h.claimed(got[r.Unit], time.Now())
		}
	}
	s.mu.Unlock()
	s.nudge()
}

// release gives units back. From here on none of them runs again under the same generation.
func (s *Scheduler) release(releases []Action) {
	var grants []cluster.Grant
	var names []string
	for _, a := range releases {
		h := s.held[a.Unit]
		if h.releasing {
			continue
		}
		h.releasing = true
		h.given = max(h.given, a.Generation)
		grants = append(grants, cluster.Grant{Unit: a.Unit, Generation: a.Generation, Epoch: a.Epoch})
		names = append(names, fmt.Sprintf("%s (%s)", a.Unit, a.Reason))
	}
	if len(grants) == 0 {
		return
	}
	s.cfg.Log.Info("Releasing units", "units", strings.Join(names, ", "))
	s.units.Go(func() {
		if err := s.deps.Cluster.Release(s.base, grants); err != nil && s.base.Err() == nil {
			s.cfg.Log.Error(err, "Releasing units failed; trying again", "units", len(grants))
			pause(s.base, time.Second)
		}
		s.mu.Lock()
		for _, g := range grants {
			if h := s.held[g.Unit]; h != nil {
				h.releasing = false
			}
		}
		s.mu.Unlock()
		s.nudge()
	})
}

// due is when the next back-off or patience ends.
func (s *Scheduler) due(now time.Time) time.Duration {
	next := now.Add(idlePass)
	sooner := func(at time.Time) {
		if at.After(now) && at.Before(next) {
			next = at
		}
	}
	for _, h := range s.held {
		sooner(h.retry.next)
		sooner(h.claimAt)
	}
	for _, f := range s.free {
		sooner(f.since.Add(f.patience))
	}
	return next.Sub(now)
}

// pause waits for d or for the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
