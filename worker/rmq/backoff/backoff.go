// Package backoff waits between two tries of the same.
package backoff

import (
	"context"
	"time"
)

// Backoff doubles the wait from First to Last. Both must be set.
type Backoff struct {
	First, Last time.Duration

	next time.Duration
}

// Reset has the next wait be the first again.
func (b *Backoff) Reset() { b.next = 0 }

// Wait pauses, or fails with the cause of the context's end.
func (b *Backoff) Wait(ctx context.Context) error {
	b.next = max(b.First, min(b.Last, 2*b.next))
	return Pause(ctx, b.next)
}

// Pause waits for d, or fails with the cause of the context's end.
func Pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
