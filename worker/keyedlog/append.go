package keyedlog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/service"
	"github.com/rocketmq-connect/operator/worker/service/backoff"
)

const (
	maxBatchRecords = 512
	maxBatchBytes   = 1 << 20
)

// request is what one caller appends, or a part of it that fits into one batch.
type request struct {
	entries []rmq.Entry
	size    int
	gone    <-chan struct{} // the caller has left
	done    chan error      // capacity 1: the records came back, or never will
}

// waiter waits for records that the broker has confirmed.
type waiter struct {
	until int64
	since time.Time // when they were confirmed
	done  chan<- error
}

// Append stores the records and returns when all of them were read back and folded, so that View shows what became of
// them. It retries for as long as ctx lives, except where that cannot help (ErrTooLarge, ErrTopicShape), or may help
// only after somebody has done something (ErrAccessDenied), or where the broker lost what it had confirmed
// (ErrLogLost): then it is for the caller to write again. After any error the records may be stored all the same, also
// twice and late: the Fold must not mind. Records of one call that fit into 512 records and 1 MiB are one batch,
// together with those of other callers.
func (t *Table) Append(ctx context.Context, records ...Record) error {
	requests := split(records, ctx.Done())
	t.mu.Lock()
	t.queue = append(t.queue, requests...)
	t.mu.Unlock()
	service.Signal(t.wake)
	for _, r := range requests {
		select {
		case err := <-r.done:
			if err != nil {
				return fmt.Errorf("appending to store %s: %w", t.opts.Name, err)
			}
		case <-ctx.Done():
			return fmt.Errorf("appending to store %s: %w", t.opts.Name, context.Cause(ctx))
		case <-t.stopped:
			return fmt.Errorf("appending to store %s: %w", t.opts.Name, ErrStopped)
		}
	}
	return nil
}

func split(records []Record, gone <-chan struct{}) []*request {
	var out []*request
	for _, rec := range records {
		size := len(rec.Key) + len(rec.Value)
		if n := len(out); n == 0 || !out[n-1].fits(1, size) {
			out = append(out, &request{gone: gone, done: make(chan error, 1)})
		}
		last := out[len(out)-1]
		last.entries = append(last.entries, rmq.Entry{Key: rec.Key, Value: rec.Value})
		last.size += size
	}
	return out
}

func (r *request) fits(records, size int) bool {
	return len(r.entries)+records <= maxBatchRecords && r.size+size <= maxBatchBytes
}

func (r *request) left() bool {
	select {
	case <-r.gone:
		return true
	default:
		return false
	}
}

// appendLoop sends what has gathered while the batch before was on its way.
func (t *Table) appendLoop(ctx context.Context) {
	for ctx.Err() == nil {
		if batch := t.take(); len(batch) > 0 {
			t.send(ctx, batch)
			continue
		}
		select {
		case <-ctx.Done():
		case <-t.wake:
		}
	}
}

func (t *Table) take() []*request {
	t.mu.Lock()
	defer t.mu.Unlock()
	var batch []*request
	var sum request
	n := 0
	for ; n < len(t.queue); n++ {
		r := t.queue[n]
		if r.left() {
			continue
		}
		if len(batch) > 0 && !sum.fits(len(r.entries), r.size) {
			break
		}
		batch = append(batch, r)
		sum.entries = append(sum.entries, r.entries...)
		sum.size += r.size
	}
	t.queue = append([]*request(nil), t.queue[n:]...)
	return batch
}

// send appends a batch until it is stored, nobody waits for it any more, or trying is of no use.
func (t *Table) send(ctx context.Context, batch []*request) {
	t.health.sending.Store(true)
	defer t.health.sending.Store(false)
	var pauses backoff.Doubling
	for {
		if batch = remaining(batch); len(batch) == 0 || ctx.Err() != nil {
			return // who still waits sees t.stopped
		}
		began := time.Now()
		first, err := t.store(ctx, batch)
		if err == nil {
			t.health.appending.Worked()
			t.await(time.Now(), first, batch)
			return
		}
		denied := errors.Is(err, rmq.ErrAccessDenied)
		if ctx.Err() == nil && !permanent(err) {
			t.health.appending.Failed(began, err)
		}
		if denied || permanent(err) { // who asked can tell somebody, and asks again
			t.refuse(ctx, batch, err)
			return
		}
		if ctx.Err() == nil {
			t.complain("append", err, "Retrying to append")
		}
		var pause time.Duration
		if errors.Is(err, rmq.ErrUnconfirmed) { // the broker stores it each time
			pause = pauses.Next(longAppendPause, longUnconfirmedPause)
		} else {
			pause = pauses.Next(firstPause, longAppendPause)
		}
		if errors.Is(err, rmq.ErrTopicNotFound) {
			if err := t.reopen(ctx); err != nil && ctx.Err() == nil {
				t.complain("append", err, "Retrying to append")
			}
		}
		_ = service.Sleep(ctx, pause)
	}
}

// refuse gives a lasting error to those whose records caused it: a batch that is refused as a whole is sent one by one.
func (t *Table) refuse(ctx context.Context, batch []*request, err error) {
	if len(batch) == 1 {
		batch[0].done <- err
		return
	}
	for _, r := range batch {
		t.send(ctx, []*request{r})
	}
}

func (t *Table) store(ctx context.Context, batch []*request) (first int64, err error) {
	var entries []rmq.Entry
	for _, r := range batch {
		entries = append(entries, r.entries...)
	}
	start := time.Now()
	first, err = t.current().Append(ctx, entries...)
	t.meter.appended(time.Since(start), len(entries), err)
	return first, err
}

// await registers the batch as waiting for its records to come back.
func (t *Table) await(now time.Time, first int64, batch []*request) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range batch {
		first += int64(len(r.entries))
		if first <= t.replica.Next() {
			r.done <- nil
		} else {
			t.waiters = append(t.waiters, waiter{until: first, since: now, done: r.done})
		}
	}
}

func remaining(batch []*request) []*request {
	var out []*request
	for _, r := range batch {
		if !r.left() {
			out = append(out, r)
		}
	}
	return out
}
