package schedule

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rocketmq-connect/operator/worker/cluster"
	"github.com/rocketmq-connect/operator/worker/service"
)

// lastStatuses bounds the wait for the statuses that are left at the end.
const lastStatuses = 2 * time.Second

// leaseCheck is how often a stop looks whether the lease still runs.
const leaseCheck = 100 * time.Millisecond

// stop drains everything, releases it, and waits for what it started. Whatever has not stopped when ctx ends stays
// owned: the session's end frees it, once this process is gone. Once the lease is over nothing is drained or waited
// for: the gates have cut all deliveries (C2), and what the log and the stores do not take now is repeated elsewhere.
func (s *Scheduler) stop(ctx context.Context) error {
	leased, cancel := context.WithCancelCause(ctx)
	var watch service.Group
	defer watch.Wait()
	defer cancel(nil)
	watch.Go(func() { s.watchLease(leased, cancel) })
	s.mu.Lock()
	for _, u := range s.book.Leave() {
		s.drain(u)
	}
	s.mu.Unlock()
	left := s.waitIdle(leased)
	if lapsed(leased) {
		s.cfg.Log.Info("Ending what runs without draining, for the lease is over", "units", strings.Join(left, ", "))
		s.killAll()
		left = s.waitIdle(ctx)
	}
	err := s.releaseAll(leased)
	s.mu.Lock()
	s.report()
	s.mu.Unlock()
	last, done := context.WithTimeout(leased, lastStatuses)
	defer done()
	s.status.flush(last)
	s.endBase()
	if len(left) > 0 {
		return fmt.Errorf("these did not stop in time and stay owned until the process ends: %s", strings.Join(left, ", "))
	}
	s.units.Wait()
	if lapsed(leased) {
		return nil // the session expires, which frees what could not be released
	}
	return err
}

// watchLease ends a context once the lease is over.
func (s *Scheduler) watchLease(ctx context.Context, end context.CancelCauseFunc) {
	for ctx.Err() == nil {
		if _, over := s.deps.Cluster.Lapsed(); over {
			end(cluster.ErrLeaseOver)
			return
		}
		_ = service.Sleep(ctx, leaseCheck)
	}
}

// lapsed reports that the context has ended with the lease.
func lapsed(ctx context.Context) bool { return errors.Is(context.Cause(ctx), cluster.ErrLeaseOver) }

func (s *Scheduler) killAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range s.book.KillAll() {
		s.runs[u].kill()
	}
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
