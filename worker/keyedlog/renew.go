package keyedlog

import (
	"context"
	"fmt"
	"time"

	"github.com/rocketmq-connect/operator/worker/rmq"
)

// renewChecks is how often in its retention a topic is looked over; maxRenewPause bounds the time between.
const (
	renewChecks   = 100
	maxRenewPause = time.Hour
)

// place is where the newest value of a key lies in the log.
type place struct {
	offset int64
	at     time.Time // by the broker's clock
	tried  time.Time // when it was last found to be fading
}

// fading says whether a value must be published again, lest the topic drops it: after a third of the retention by its
// owner, after half of it by anybody. A value below the first offset was dropped already. Clocks that are far apart let a
// value seem older than it is; that costs a repeat every sixth of the retention.
func (p place) fading(now time.Time, first int64, keeps time.Duration, owner bool) bool {
	if p.offset < first {
		return true
	}
	limit := keeps / 2
	if owner {
		limit = keeps / 3
	}
	return now.Sub(p.at) >= limit && (p.tried.IsZero() || now.Sub(p.tried) >= keeps/6)
}

// found notes that the newest value of the record's key lies there; the caller holds the lock.
func (t *Table) found(e rmq.Entry) {
	delete(t.shadows, e.Key)
	t.places[e.Key] = place{offset: e.Offset, at: e.StoredAt, tried: t.places[e.Key].tried}
}

// renewLoop keeps the values of a topic that is not compacted from aging out.
func (t *Table) renewLoop(ctx context.Context) {
	for {
		pause, err := t.renew(ctx)
		if err != nil {
			if ctx.Err() == nil {
				t.complain("renew", err, "Trying again to find out how long the topic keeps its records")
			}
			pause = quietPeriod
		}
		if !sleep(ctx, pause) {
			return
		}
	}
}

// renew has the values published again that would age out, and says when to look the next time.
func (t *Table) renew(ctx context.Context) (next time.Duration, err error) {
	log := t.current()
	retainer, ok := log.(Retainer)
	if !ok {
		return maxRenewPause, nil
	}
	keeps, err := retainer.Retention(ctx)
	if err != nil {
		return 0, fmt.Errorf("asking for the topic's retention: %w", err)
	}
	if keeps <= 0 {
		return maxRenewPause, nil
	}
	first, _, err := log.Bounds(ctx)
	if err != nil {
		return 0, fmt.Errorf("asking for the topic's bounds: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	places := make(map[string]place, len(t.places))
	for _, key := range t.opts.Fold.Keys() {
		p, ok := t.places[key]
		if !ok {
			continue
		}
		if p.fading(now, first, keeps, t.opts.Owns(key)) {
			p.tried = now
			t.shade(key)
		}
		places[key] = p
	}
	t.places = places
	return max(time.Second, min(keeps/renewChecks, maxRenewPause)), nil
}
