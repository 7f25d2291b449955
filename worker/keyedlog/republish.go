package keyedlog

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	// followers re-publish what no owner has after so many times the owner's wait.
	followerFactor      = 10
	maxRepublish        = 4096 // keys a round
	maxRepublishBackOff = time.Minute
)

// shadow stands for a key whose last record in the log is not its newest value: compaction would keep the wrong one.
type shadow struct {
	since    time.Time // of the refusal, or of the last attempt
	attempts int
	jitter   float64 // 0 to 1: followers do not all come at once
}

// shade notes that a key's newest value must be published again; the caller holds the lock.
//
// Invariant P3: a refused write never costs the newest value its place.
func (t *Table) shade(key string) {
	if t.shadows[key] != nil {
		return
	}
	if _, ok := t.opts.Fold.Current(key); ok {
		t.shadows[key] = &shadow{since: time.Now(), jitter: rand.Float64()} //nolint:gosec // spreads load, guards nothing
	}
}

func (t *Table) republishLoop(ctx context.Context) {
	ticker := time.NewTicker(t.opts.Settle / 2)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			t.republish(ctx, now)
		}
	}
}

// republish appends the values that are due. Reading them back clears their shadows; what does not come back stays due.
func (t *Table) republish(ctx context.Context, now time.Time) {
	records := t.due(now)
	if len(records) == 0 {
		return
	}
	t.opts.Log.Info("Publishing values again that a refused or lost record hides or that would age out", "keys", len(records))
	attempt, cancel := context.WithTimeout(ctx, maxRepublishBackOff)
	defer cancel()
	if err := t.Append(attempt, records...); err != nil && ctx.Err() == nil {
		t.complain("republish", err, "Publishing values again failed; trying on")
		return
	}
	t.meter.republished.Add(float64(len(records)))
}

func (t *Table) due(now time.Time) []Record {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []Record
	for key, s := range t.shadows {
		if len(out) == maxRepublish {
			break
		}
		if now.Sub(s.since) < t.patience(key, s) {
			continue
		}
		value, ok := t.opts.Fold.Current(key)
		if !ok {
			delete(t.shadows, key)
			continue
		}
		s.since, s.attempts = now, s.attempts+1
		out = append(out, Record{Key: key, Value: value})
	}
	return out
}

func (t *Table) patience(key string, s *shadow) time.Duration {
	wait := t.opts.Settle
	if !t.opts.Owns(key) {
		wait = time.Duration(float64(followerFactor*wait) * (1 + s.jitter))
	}
	return min(wait<<min(s.attempts, 16), max(maxRepublishBackOff, wait))
}
