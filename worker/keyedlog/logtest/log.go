// Package logtest is an ordered topic in memory, with the faults that a real one has.
package logtest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rocketmq-connect/operator/worker/rmq"
)

// Log is a keyedlog.Log in memory. The zero value is not usable: New makes one. All methods may be called at any time.
type Log struct {
	mu          sync.Mutex
	entries     []rmq.Entry // by offset; gaps where compaction was
	first, next int64
	changed     chan struct{} // closed and replaced at each change
	down, mute  bool
	broken      error // what Follow and Append give
	failures    int   // appends that fail
	storedAll   bool  // … but are stored all the same
	unconfirmed int   // appends that are stored and not confirmed
	batches     []int
	tooLarge    int
	keeps       time.Duration
}

// New makes an empty log.
func New() *Log { return &Log{changed: make(chan struct{}), tooLarge: 4 << 20} }

func (l *Log) notify() {
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *Log) change(fn func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fn()
	l.notify()
}

// SetDown cuts the log off: calls other than Follow fail, and Follow is silent.
func (l *Log) SetDown(down bool) { l.change(func() { l.down = down }) }

// SetMute has Follow hand nothing on, as one does that lags behind; all else works.
func (l *Log) SetMute(mute bool) { l.change(func() { l.mute = mute }) }

// Break makes Append and Follow return err from now on; nil mends it.
func (l *Log) Break(err error) { l.change(func() { l.broken = err }) }

// FailAppends makes the next n appends fail; stored says whether they are stored all the same.
func (l *Log) FailAppends(n int, stored bool) {
	l.change(func() { l.failures, l.storedAll = n, stored })
}

// LeaveUnconfirmed has the next n appends stored and not confirmed.
func (l *Log) LeaveUnconfirmed(n int) { l.change(func() { l.unconfirmed = n }) }

// SetMaxSize makes larger values too large.
func (l *Log) SetMaxSize(n int) { l.change(func() { l.tooLarge = n }) }

// Truncate loses the records from end on.
func (l *Log) Truncate(end int64) {
	l.change(func() {
		l.entries = slices.DeleteFunc(l.entries, func(e rmq.Entry) bool { return e.Offset >= end })
		l.next = min(l.next, end)
	})
}

// Rewrite loses the records from an offset on and gives their offsets to others.
func (l *Log) Rewrite(from int64, others ...rmq.Entry) {
	l.change(func() {
		l.entries = slices.DeleteFunc(l.entries, func(e rmq.Entry) bool { return e.Offset >= from })
		l.next = from
		for _, e := range others {
			e.Offset, e.StoredAt = l.next, time.Now()
			l.entries = append(l.entries, e)
			l.next++
		}
	})
}

// AgeOut removes the records below first.
func (l *Log) AgeOut(first int64) {
	l.change(func() {
		l.entries = slices.DeleteFunc(l.entries, func(e rmq.Entry) bool { return e.Offset < first })
		l.first = first
	})
}

// SetRetention has records age out; 0 keeps them for ever.
func (l *Log) SetRetention(keeps time.Duration) { l.change(func() { l.keeps = keeps }) }

// Retention tells what was set.
func (l *Log) Retention(context.Context) (time.Duration, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return 0, fmt.Errorf("asking for the retention: %w", rmq.ErrUnreachable)
	}
	return l.keeps, nil
}

// Expire removes what is older than the retention.
func (l *Log) Expire() {
	l.change(func() {
		for len(l.entries) > 0 && time.Since(l.entries[0].StoredAt) > l.keeps {
			l.first = l.entries[0].Offset + 1
			l.entries = l.entries[1:]
		}
	})
}

// Compact keeps the last record of each key.
func (l *Log) Compact() {
	l.change(func() {
		last := map[string]int64{}
		for _, e := range l.entries {
			last[e.Key] = e.Offset
		}
		l.entries = slices.DeleteFunc(l.entries, func(e rmq.Entry) bool { return last[e.Key] != e.Offset })
	})
}

// Entries gives a copy of what is stored.
func (l *Log) Entries() []rmq.Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.entries)
}

// Batches gives the sizes of the appends so far.
func (l *Log) Batches() []int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.batches)
}

// Append stores the entries.
func (l *Log) Append(ctx context.Context, entries ...rmq.Entry) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		return 0, ctx.Err()
	case l.down:
		return 0, fmt.Errorf("appending: %w", rmq.ErrUnreachable)
	case l.broken != nil:
		return 0, l.broken
	}
	for _, e := range entries {
		if len(e.Value) > l.tooLarge {
			return 0, fmt.Errorf("appending: %w", rmq.ErrTooLarge)
		}
	}
	failing := l.failures > 0
	if failing {
		l.failures--
		if !l.storedAll {
			return 0, fmt.Errorf("appending: %w", rmq.ErrUnreachable)
		}
	}
	first := l.next
	for _, e := range entries {
		e.Offset, e.StoredAt = l.next, time.Now()
		l.entries = append(l.entries, e)
		l.next++
	}
	l.batches = append(l.batches, len(entries))
	l.notify()
	if failing {
		return 0, fmt.Errorf("appending: %w", context.DeadlineExceeded)
	}
	if l.unconfirmed > 0 {
		l.unconfirmed--
		return 0, fmt.Errorf("appending: %w", rmq.ErrUnconfirmed)
	}
	return first, nil
}

// Bounds gives the first offset and the one after the last.
func (l *Log) Bounds(context.Context) (first, end int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return 0, 0, fmt.Errorf("asking for bounds: %w", rmq.ErrUnreachable)
	}
	return l.first, l.next, nil
}

// Read calls fn with everything from an offset to the end.
func (l *Log) Read(ctx context.Context, from int64, fn func(rmq.Entry) error) (int64, error) {
	found, end, _, err := l.since(from)
	if err != nil {
		return from, err
	}
	return end, deliver(ctx, found, fn)
}

// Follow calls fn with everything from an offset on, and after the log was down with the last records once more. A log
// that ends before known is truncated.
func (l *Log) Follow(ctx context.Context, from, known int64, fn func(rmq.Entry) error) error {
	start, wasDown := from, true
	for {
		l.mu.Lock()
		down, mute, broken := l.down, l.mute, l.broken
		var changed <-chan struct{} = l.changed
		l.mu.Unlock()
		if broken != nil {
			return broken
		}
		if !down && !mute {
			if wasDown {
				known = max(known, from)
				if err := l.holds(known); err != nil {
					return err
				}
				from = max(start, from-rmq.GoneOver)
			}
			found, end, next, err := l.since(from)
			if err == nil {
				err = deliver(ctx, found, fn)
			}
			if err != nil {
				return err
			}
			from, changed = end, next
			wasDown = false
		}
		wasDown = wasDown || down
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

func (l *Log) holds(offset int64) error {
	_, _, _, err := l.since(offset)
	return err
}

func (l *Log) since(from int64) (found []rmq.Entry, end int64, changed <-chan struct{}, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return nil, from, l.changed, fmt.Errorf("reading: %w", rmq.ErrUnreachable)
	}
	if from < l.first || from > l.next {
		return nil, from, l.changed, fmt.Errorf("reading at %d of [%d, %d): %w", from, l.first, l.next, rmq.ErrTruncated)
	}
	for _, e := range l.entries {
		if e.Offset >= from {
			found = append(found, e)
		}
	}
	return found, l.next, l.changed, nil
}

func deliver(ctx context.Context, entries []rmq.Entry, fn func(rmq.Entry) error) error {
	for _, e := range entries {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := fn(e); err != nil {
			return err
		}
	}
	return nil
}
