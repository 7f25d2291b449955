package schedule

import (
	"context"
	"errors"
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
	s.units.Go(func() { s.watchSecrets(s.base) })
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
	connectors := s.deps.Configs.All()
	work := s.book.Pass(s.deps.Cluster.View(), connectors, now)
	s.forget(connectors)
	for _, a := range work.Acts {
		s.act(a, connectors)
	}
	s.renew()
	s.release(work.Releases)
	s.claim(ctx, work.Claims)
	s.report()
	return s.book.Due(now, now.Add(idlePass)).Sub(now)
}

// forget drops what was kept of connectors that are gone, once nothing of them runs here: what drains still counts.
func (s *Scheduler) forget(connectors []store.Connector) {
	known := map[string]bool{}
	for _, c := range connectors {
		known[c.Name] = true
	}
	for u, h := range s.book.held {
		if h.phase != Idle {
			known[u.Connector] = true
		}
	}
	for name := range s.known {
		if !known[name] {
			s.deps.Runner.Forget(name)
			s.metrics.forget(name)
			delete(s.redactors, name)
		}
	}
	s.known = known
}

// act carries out one action on what runs here.
func (s *Scheduler) act(a Action, connectors []store.Connector) {
	h := s.book.held[a.Unit]
	log := s.cfg.Log.WithValues("connector", a.Unit.Connector, "task", a.Unit.Task, "generation", a.Generation)
	switch a.Kind {
	case Start:
		i, _ := slices.BinarySearchFunc(connectors, a.Unit.Connector, func(c store.Connector, name string) int { return strings.Compare(c.Name, name) })
		s.start(h, connectors[i])
	case Stop:
		log.Info("Stopping a unit", "reason", a.Reason)
		s.drain(h)
	case Kill:
		if h.phase == Running {
			log.Info("Stopping a unit that this worker does not own any more")
		}
		s.book.Stopping(a.Unit)
		h.kill()
	case Restart:
		log.Info("Restarting a unit", "request", h.want.restart)
		s.book.Restart(a.Unit)
		if h.phase == Running {
			s.drain(h)
		} else {
			s.nudge()
		}
	}
}

// drain asks a running unit to stop, and ends it when that takes too long.
func (s *Scheduler) drain(h *held) {
	s.book.Stopping(h.unit)
	h.stop()
	kill := h.kill
	timer := time.AfterFunc(s.cfg.DrainTimeout, kill)
	h.kill = func() { timer.Stop(); kill() }
}

// claim asks for units in one request at a time: the log is one, so a second would only wait behind the first.
func (s *Scheduler) claim(ctx context.Context, claims []Action) {
	if len(claims) == 0 {
		return
	}
	reqs := s.book.Claiming(claims, s.deps.Cluster.View().Self, func(u Unit) int64 {
		// A log that was made anew gives low generations again, which the stores would take for those of older owners.
		return max(s.deps.Positions.Newest(u.Connector, u.Task), s.deps.Offsets.Newest(u.Connector, u.Task),
			s.deps.Statuses.Newest(u.Connector, u.Task))
	})
	s.units.Go(func() {
		grants, err := s.deps.Cluster.Claim(ctx, reqs)
		switch {
		case err == nil || ctx.Err() != nil:
		case errors.Is(err, cluster.ErrSessionLost) || errors.Is(err, cluster.ErrStopped): // the cluster has told why
			s.cfg.Log.Info("Claiming units waits until this worker has joined again", "units", len(reqs))
		default:
			s.cfg.Log.Error(err, "Claiming units failed; trying again", "units", len(reqs))
		}
		s.claimed(reqs, grants)
	})
}

// claimed takes the outcome of a claim.
func (s *Scheduler) claimed(reqs []cluster.ClaimRequest, grants []cluster.Grant) {
	s.cfg.Log.V(1).Info("Claimed units", "asked", len(reqs), "granted", len(grants))
	s.mu.Lock()
	s.book.Claimed(reqs, grants, time.Now())
	s.mu.Unlock()
	s.nudge()
}

// release gives units back. From here on none of them runs again under the same generation.
func (s *Scheduler) release(releases []Action) {
	if len(releases) == 0 {
		return
	}
	grants := s.book.Releasing(releases)
	var names []string
	for _, a := range releases {
		names = append(names, fmt.Sprintf("%s (%s)", a.Unit, a.Reason))
	}
	s.cfg.Log.Info("Releasing units", "units", strings.Join(names, ", "))
	s.units.Go(func() {
		if err := s.deps.Cluster.Release(s.base, grants); err != nil && s.base.Err() == nil {
			s.cfg.Log.Error(err, "Releasing units failed; trying again", "units", len(grants))
			pause(s.base, time.Second)
		}
		s.mu.Lock()
		s.book.Released(grants)
		s.mu.Unlock()
		s.nudge()
	})
}

// pause waits for d or for the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
