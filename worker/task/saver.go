package task

import (
	"context"
	"errors"
	"time"

	"github.com/go-logr/logr"

	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/service"
	"github.com/rocketmq-connect/operator/worker/service/backoff"
)

// saver stores how far a task came: an interval after the last time if something moved, when it is woken, and once more
// at the end. A store that is slow or down
// holds up nothing but the stored positions.
type saver struct {
	writer   Writer
	interval time.Duration
	// ready returns what may be stored; it is called from the saver's goroutine.
	ready func() record.Positions
	// after is told what was stored.
	after func(ctx context.Context, stored record.Positions)
	log   logr.Logger
	count *counters

	stored  record.Positions
	failing bool
	wake    chan struct{} // capacity 1, as moved
	moved   chan struct{}
}

func newSaver(w Writer, interval time.Duration, log logr.Logger, count *counters) *saver {
	return &saver{writer: w, interval: interval, log: log, count: count,
		after: func(context.Context, record.Positions) {}, stored: record.Positions{},
		wake: make(chan struct{}, 1), moved: make(chan struct{}, 1)}
}

// kick asks for a save soon.
func (s *saver) kick() { service.Signal(s.wake) }

// move says that there may be something to save; it is saved within the interval.
func (s *saver) move() { service.Signal(s.moved) }

// run saves until ctx ends, or until the task turns out to be lost. While nothing moves it sleeps.
func (s *saver) run(ctx context.Context, lost func(error)) {
	timer := time.NewTimer(s.interval)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.moved:
			select {
			case <-ctx.Done():
				return
			case <-timer.C:
			case <-s.wake:
			}
		case <-s.wake:
		}
		timer.Reset(s.interval)
		err := s.save(ctx)
		if errors.Is(err, ErrLost) {
			lost(err)
			return
		}
		if err != nil {
			s.move()
		}
	}
}

// save stores what changed since the last time, if anything did.
func (s *saver) save(ctx context.Context) error {
	changed := record.Positions{}
	for p, pos := range s.ready() {
		if old, ok := s.stored[p]; !ok || old != pos {
			changed[p] = pos
		}
	}
	if len(changed) == 0 {
		return nil
	}
	if err := s.writer.Write(ctx, changed); err != nil {
		if ctx.Err() == nil && !errors.Is(err, ErrLost) {
			s.failed(err)
		}
		return err
	}
	if s.failing {
		s.log.Info("Storing positions works again")
	}
	s.failing = false
	for p, pos := range changed {
		s.stored[p] = pos
	}
	s.after(ctx, changed)
	return nil
}

func (s *saver) failed(err error) {
	s.count.failed("STORE")
	if !s.failing {
		s.log.Error(err, "Storing positions fails: records go on, and those since the last stored position are repeated if the worker dies")
	}
	s.failing = true
}

// last saves what is left, and does not give up before ctx ends or the task is lost.
func (s *saver) last(ctx context.Context) error {
	var pause backoff.Doubling
	for {
		err := s.save(ctx)
		if err == nil || errors.Is(err, ErrLost) || ctx.Err() != nil {
			return err
		}
		if err := service.Sleep(ctx, pause.Next(100*time.Millisecond, 2*time.Second)); err != nil {
			return err
		}
	}
}
