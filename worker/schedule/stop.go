package schedule

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/rocketmq-connect/operator/worker/cluster"
)

// lastStatuses bounds the wait for the statuses that are left at the end.
const lastStatuses = 2 * time.Second

// stop drains everything, releases it, and waits for what it started. Whatever has not stopped when ctx ends stays owned:
// the session's end frees it, once this process is gone.
func (s *Scheduler) stop(ctx context.Context) error {
	s.mu.Lock()
	for _, h := range s.held {
		if h.phase == Running {
			s.drain(h)
		}
	}
	s.mu.Unlock()
	left := s.waitIdle(ctx)
	err := s.releaseAll(ctx)
	s.mu.Lock()
	s.report()
	s.mu.Unlock()
	last, cancel := context.WithTimeout(ctx, lastStatuses)
	defer cancel()
	s.status.flush(last)
	s.endBase()
	if len(left) > 0 {
		return fmt.Errorf("these did not stop in time and stay owned until the process ends: %s", strings.Join(left, ", "))
	}
	s.units.Wait()
	return err
}

// waitIdle returns the units that still run when ctx ends.
func (s *Scheduler) waitIdle(ctx context.Context) []string {
	for {
		left := s.active()
		if len(left) == 0 {
			return nil
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
			return s.active()
		}
	}
}

func (s *Scheduler) active() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for _, u := range sortedUnits(s.held) {
		if s.held[u].phase != Idle {
			names = append(names, u.String())
		}
	}
	return names
}

// releaseAll gives back whatever this session owns and does not run.
func (s *Scheduler) releaseAll(ctx context.Context) error {
	view := s.deps.Cluster.View()
	var grants []cluster.Grant
	s.mu.Lock()
	for _, u := range sortedUnits(view.Owners) {
		o, h := view.Owners[u], s.held[u]
		if o.Session != view.Self || h != nil && h.phase != Idle {
			continue
		}
		if h != nil {
			h.given = max(h.given, o.Generation)
		}
		grants = append(grants, cluster.Grant{Unit: u, Generation: o.Generation, Epoch: o.Epoch})
	}
	s.mu.Unlock()
	if len(grants) == 0 {
		return nil
	}
	if err := s.deps.Cluster.Release(ctx, grants); err != nil {
		return fmt.Errorf("releasing %d units: %w", len(grants), err)
	}
	return nil
}
