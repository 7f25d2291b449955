package keyedlog

import (
	"context"
	"fmt"
	"slices"
	"time"
)

const (
	// overdue is how long after their confirmation records may take to come back before it is asked whether the log holds
	// them.
	overdue = 5 * time.Second
	// missingPause is how often that is looked at.
	missingPause = time.Second
)

// missingLoop answers those whose records the log lost before anybody read them: whoever follows it has read all that
// is left, and finds nothing wrong.
func (t *Table) missingLoop(ctx context.Context) {
	ticker := time.NewTicker(missingPause)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			if err := t.miss(ctx, now); err != nil && ctx.Err() == nil {
				t.complain("missing", err, "Waiting for records that the topic confirmed")
			}
		}
	}
}

// miss looks for records that are overdue at now, and gives ErrLogLost to those who wait for ones that are lost.
//
// Invariant C4: a log that lost acknowledged records is noticed, also when nobody had read them.
func (t *Table) miss(ctx context.Context, now time.Time) error {
	t.mu.RLock()
	late := slices.ContainsFunc(t.waiters, func(w waiter) bool { return w.overdue(now) })
	t.mu.RUnlock()
	if !late {
		return nil
	}
	_, end, err := t.current().Bounds(ctx)
	if err != nil {
		return fmt.Errorf("asking for the topic's bounds: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	left, lost := part(t.waiters, now, end)
	t.waiters = left
	for _, w := range lost {
		w.done <- ErrLogLost
	}
	if len(lost) > 0 {
		t.opts.Log.Error(ErrLogLost, "Having records written again that the topic lost before they were read; check whether the broker lost data",
			"writes", len(lost), "end", end)
	}
	return nil
}

func (w waiter) overdue(now time.Time) bool { return now.Sub(w.since) >= overdue }

// part tells the waiters that go on from those that wait in vain: confirmed long before now, on a log that was found to
// end before their records afterwards.
func part(waiters []waiter, now time.Time, end int64) (left, lost []waiter) {
	for _, w := range waiters {
		if w.overdue(now) && w.until > end {
			lost = append(lost, w)
		} else {
			left = append(left, w)
		}
	}
	return left, lost
}
