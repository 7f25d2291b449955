package schedule

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rocketmq-connect/operator/worker/cluster"
	"github.com/rocketmq-connect/operator/worker/schedule/book"
	"github.com/rocketmq-connect/operator/worker/service"
	"github.com/rocketmq-connect/operator/worker/store"
)

const (
	// idlePass is how long the loop sleeps when nothing is due: what it may have missed is noticed then.
	idlePass = 10 * time.Second
	// A pass walks over everything, so events that come in numbers share one: after each the loop rests for restFactor
	// times what it took, at most longestRest.
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
		_ = service.Sleep(ctx, min(restFactor*time.Since(begun), longestRest))
	}
}

// pass plans once and acts; it returns when to look again without being woken.
func (s *Scheduler) pass(ctx context.Context) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	connectors := s.deps.Configs.All()
	work := s.book.Pass(s.deps.Cluster.View(), connectors, s.newest, now)
	s.forget(connectors)
	for _, step := range work.Steps {
		s.act(step, connectors)
	}
	s.release(work.Releases)
	s.claim(ctx, work.Claims)
	s.report()
	return s.book.Due(now, now.Add(idlePass)).Sub(now)
}

// newest is the highest generation of a unit that the stores know. A log that was created again gives low generations
// again, which the stores would take for those of older owners.
func (s *Scheduler) newest(u Unit) int64 {
	return max(s.deps.Positions.Newest(u.Connector, u.Task), s.deps.Offsets.Newest(u.Connector, u.Task),
		s.deps.Statuses.Newest(u.Connector, u.Task))
}

// forget drops what was kept of connectors that are gone, once nothing of them runs here: what drains still counts.
func (s *Scheduler) forget(connectors []store.Connector) {
	known := map[string]bool{}
	for _, c := range connectors {
		known[c.Name] = true
	}
	for u := range s.runs {
		known[u.Connector] = true
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

// run is what ends an attempt: stop asks it to drain, kill ends it.
type run struct{ stop, kill context.CancelFunc }

// act carries out one step on what runs here.
func (s *Scheduler) act(step book.Step, connectors []store.Connector) {
	log := s.cfg.Log.WithValues("connector", step.Unit.Connector, "task", step.Unit.Task, "generation", step.Grant.Generation)
	if step.Restart != "" {
		log.Info("Restarting a unit", "request", step.Restart)
	}
	switch step.Kind {
	case book.Start:
		i, _ := slices.BinarySearchFunc(
			connectors,
			step.Unit.Connector,
			func(c store.Connector, name string) int { return strings.Compare(c.Name, name) },
		)
		s.start(step, connectors[i])
	case book.Drain:
		if step.Restart == "" {
			log.Info("Stopping a unit", "reason", step.Reason)
		}
		s.drain(step.Unit)
	case book.Kill:
		if step.Ran {
			log.Info("Stopping a unit that this worker does not own any more")
		}
		s.runs[step.Unit].kill()
	case book.Again:
		s.nudge()
	}
}

// drain asks a running unit to stop, and ends it when that takes too long.
func (s *Scheduler) drain(u Unit) {
	r := s.runs[u]
	r.stop()
	kill := r.kill
	timer := time.AfterFunc(s.cfg.DrainTimeout, kill)
	r.kill = func() { timer.Stop(); kill() }
}

// claim asks for units.
func (s *Scheduler) claim(ctx context.Context, reqs []cluster.ClaimRequest) {
	if len(reqs) == 0 {
		return
	}
	s.units.Go(func() {
		grants, err := s.deps.Cluster.Claim(ctx, reqs)
		switch {
		case err == nil || ctx.Err() != nil:
		case errors.Is(err, cluster.ErrSessionLost) || errors.Is(err, cluster.ErrStopped): // the cluster has told why
			s.cfg.Log.Info("Claiming units waits until this worker has joined again", "units", len(reqs))
		default:
			s.cfg.Log.Error(err, "Claiming units failed; retrying", "units", len(reqs))
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

// release gives units back.
func (s *Scheduler) release(releases []book.Release) {
	if len(releases) == 0 {
		return
	}
	var names []string
	var grants []cluster.Grant
	for _, r := range releases {
		names = append(names, fmt.Sprintf("%s (%s)", r.Grant.Unit, r.Reason))
		grants = append(grants, r.Grant)
	}
	s.cfg.Log.Info("Releasing units", "units", strings.Join(names, ", "))
	s.units.Go(func() {
		if err := s.deps.Cluster.Release(s.base, grants); err != nil && s.base.Err() == nil {
			s.cfg.Log.Error(err, "Releasing units failed; retrying", "units", len(grants))
			_ = service.Sleep(s.base, time.Second)
		}
		s.mu.Lock()
		s.book.Released(grants)
		s.mu.Unlock()
		s.nudge()
	})
}
