package keyedlog

import (
	"context"
	"time"

	"github.com/rocketmq-connect/operator/worker/keyedlog/replica"
)

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
	t.opts.Log.Info(
		"Publishing values again that a refused or lost record hides, that were erased, or that would age out",
		"keys",
		len(records),
	)
	attempt, cancel := context.WithTimeout(ctx, replica.MaxBackOff)
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
	return t.replica.Due(now)
}
