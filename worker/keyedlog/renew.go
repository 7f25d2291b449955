package keyedlog

import (
	"context"
	"fmt"
	"time"

	"github.com/rocketmq-connect/operator/worker/service"
)

// renewChecks is how often in its retention a topic is looked over; maxRenewPause bounds the time between.
const (
	renewChecks   = 100
	maxRenewPause = time.Hour
)

// renewLoop keeps the values of a topic from aging out.
func (t *Table) renewLoop(ctx context.Context) {
	for {
		pause, err := t.renew(ctx)
		if err != nil {
			if ctx.Err() == nil {
				t.complain("renew", err, "Retrying to find out how long the topic keeps its records")
			}
			pause = quietPeriod
		}
		if service.Sleep(ctx, pause) != nil {
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
	if keeps <= 0 { // for as long as the topic is this one: it may be recreated as one whose records age out
		return quietPeriod, nil
	}
	first, _, err := log.Bounds(ctx)
	if err != nil {
		return 0, fmt.Errorf("asking for the topic's bounds: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.replica.Fade(time.Now(), first, keeps)
	return max(time.Second, min(keeps/renewChecks, maxRenewPause)), nil
}
