package task

import (
	"context"
	"errors"
)

// lifetime is the contexts of an attempt, from the widest to the narrowest: alive ends when delivering must stop (hard,
// or the task is lost), work also when the attempt failed, reading also when soft ends.
type lifetime struct {
	soft, hard           context.Context
	alive, work, reading context.Context
	// lose and fail end alive and work; the first cause counts.
	lose, fail context.CancelCauseFunc
	stop       context.CancelFunc
}

func newLifetime(soft, hard context.Context) *lifetime {
	l := &lifetime{soft: soft, hard: hard}
	l.alive, l.lose = context.WithCancelCause(hard)
	l.work, l.fail = context.WithCancelCause(l.alive)
	l.reading, l.stop = context.WithCancel(l.work)
	unlink := context.AfterFunc(soft, l.stop)
	stop := l.stop
	l.stop = func() { unlink(); stop() }
	return l
}

// end releases the contexts.
func (l *lifetime) end() {
	l.stop()
	l.fail(nil)
	l.lose(nil)
}

// unlessEnding drops an error that came after reading had ended: a stop that was asked for makes calls fail in many
// ways.
func (l *lifetime) unlessEnding(err error) error {
	if l.reading.Err() != nil {
		return nil
	}
	return err
}

// outcome is what the attempt returns for what its loop returned. A loss goes before everything, then a failure that
// was found on the side (in a lane), then a stop that was asked for, in which errors only say that contexts ended.
func (l *lifetime) outcome(err error) error {
	if cause := context.Cause(l.work); l.work.Err() != nil && l.hard.Err() == nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	if errors.Is(err, ErrLost) {
		return err
	}
	if l.hard.Err() != nil {
		return context.Cause(l.hard)
	}
	if l.soft.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.Cause(l.soft))) {
		return nil
	}
	return err
}
