package keyedlog

import (
	"context"
	"fmt"
	"time"

	"github.com/rocketmq-connect/operator/worker/service"
	"github.com/rocketmq-connect/operator/worker/service/backoff"
)

// Load reads the tables' topics side by side, before their Services start one after the other: brokers give few records
// at once, so most of the time goes to asking. Whatever fails here, Start retries.
func Load(ctx context.Context, tables ...*Table) {
	var group service.Group
	defer group.Wait()
	for _, t := range tables {
		group.Go(func() { _ = t.load(ctx) })
	}
}

func (t *Table) start(ctx context.Context) error {
	var pause backoff.Doubling
	for {
		err := t.load(ctx)
		if err == nil {
			break
		}
		if ctx.Err() != nil || permanent(err) {
			return err
		}
		t.complain("load", err, "Waiting for the topic")
		if service.Sleep(ctx, pause.Next(firstPause, longPause)) != nil {
			return fmt.Errorf("waiting for the topic: %w: %w", ctx.Err(), err)
		}
	}
	if t.opts.Recover == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	keys, reach := t.opts.Recover(t.replica.Next())
	t.replica.Recovered(time.Now(), keys, reach)
	if len(keys) > 0 {
		t.opts.Log.Info("Restoring values that the topic has lost from local files", "keys", len(keys))
		t.tell()
	}
	return nil
}

// load reads on from where an earlier attempt stopped.
func (t *Table) load(ctx context.Context) error {
	began := time.Now()
	err := t.read(ctx)
	if err != nil {
		t.health.loading.Failed(began, err)
	} else {
		t.health.loading.Worked()
	}
	return err
}

func (t *Table) read(ctx context.Context) error {
	if t.current() == nil {
		if err := t.reopen(ctx); err != nil {
			return err
		}
	}
	first, end, err := t.current().Bounds(ctx)
	if err != nil {
		return fmt.Errorf("asking for the topic's bounds: %w", err)
	}
	from := t.Next()
	if from < first || from > end {
		from = first
	}
	next, err := t.current().Read(ctx, from, t.apply)
	if err != nil {
		return fmt.Errorf("reading the topic from offset %d: %w", from, err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.replica.Advance(next)
	t.advanced()
	return nil
}

func (t *Table) current() Log {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.log
}

func (t *Table) reopen(ctx context.Context) error {
	log, err := t.opts.Open(ctx)
	if err != nil {
		return fmt.Errorf("opening the topic: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.log = log
	return nil
}
