package keyedlog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rocketmq-connect/operator/worker/service"
	"github.com/rocketmq-connect/operator/worker/service/backoff"
)

// Sync returns when View shows all that the log held at the call, what other workers have appended included. It retries
// for as long as ctx lives, as Append does. Call it once the Service has started.
func (t *Table) Sync(ctx context.Context) error {
	var pause backoff.Doubling
	for {
		err := t.catchUp(ctx)
		if err == nil {
			return nil
		}
		if permanent(err) || errors.Is(err, ErrStopped) {
			return fmt.Errorf("catching up with store %s: %w", t.opts.Name, err)
		}
		if service.Sleep(ctx, pause.Next(firstPause, longAppendPause)) != nil {
			return fmt.Errorf("catching up with store %s: %w: %w", t.opts.Name, context.Cause(ctx), err)
		}
	}
}

// catchUp waits until the log was folded up to where it ends now; ErrLogLost means that its end has moved back
// meanwhile.
func (t *Table) catchUp(ctx context.Context) error {
	_, end, err := t.current().Bounds(ctx)
	if err != nil {
		return fmt.Errorf("asking for the topic's bounds: %w", err)
	}
	done := make(chan error, 1)
	t.mu.Lock()
	if end <= t.replica.Next() {
		done <- nil
	} else {
		t.waiters = append(t.waiters, waiter{until: end, since: time.Now(), done: done})
	}
	t.mu.Unlock()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("the topic was not read up to offset %d", end)
	case <-t.stopped:
		return ErrStopped
	}
}
