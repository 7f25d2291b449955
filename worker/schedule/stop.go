package schedule

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// lastStatuses bounds the wait for the statuses that are left at the end.
const lastStatuses = 2 * time.Second

// stop drains everything, releases it, and waits for what it started. Whatever has not stopped when ctx ends stays owned:
// the session's end frees it, once this process is gone.
func (s *Scheduler) stop(ctx context.Context) error {
	s.mu.Lock()
	for _, h := range s.book.held {
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
	for _, u := range s.book.Active() {
		names = append(names, u.String())
	}
	return names
}

// releaseAll gives back whatever this session owns and does not run.
func (s *Scheduler) releaseAll(ctx context.Context) error {
	view := s.deps.Cluster.View()
	s.mu.Lock()
	grants := s.book.Abandon(view)
	s.mu.Unlock()
	if len(grants) == 0 {
		return nil
	}
	if err := s.deps.Cluster.Release(ctx, grants); err != nil {
		return fmt.Errorf("releasing %d units: %w", len(grants), err)
	}
	return nil
}
