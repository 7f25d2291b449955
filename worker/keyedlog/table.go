package keyedlog

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/go-logr/logr"

	"github.com/rocketmq-connect/operator/worker/keyedlog/replica"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/service"
	"github.com/rocketmq-connect/operator/worker/service/backoff"
)

// Options makes a Table. Name, Open and Fold are required.
type Options struct {
	// Name is the metrics' label and the service's name.
	Name string
	// Open gives the topic's log, making the topic if there is none. It is called again when the topic has gone.
	Open func(ctx context.Context) (Log, error)
	Fold Fold
	// Owns says whether this worker is the first to re-publish the newest value of a key that a refused record hides from
	// compaction; the others follow after a while. Nil means yes. It is called under the Table's lock.
	Owns func(key string) bool
	// Recover is called once, under the lock, when the log was read to its end. It may put values into the fold that the
	// log has lost, and gives their keys, which are then re-published, and how far the log once reached. Nil recovers
	// nothing.
	Recover func(end int64) (keys []string, reach int64)
	// Settle is how long a hidden value waits for its owner's next regular write before it is re-published; 0 means 1 s.
	Settle  time.Duration
	Log     logr.Logger
	Metrics *Metrics
}

const (
	firstPause = 100 * time.Millisecond
	longPause  = 3 * time.Second
	// longAppendPause is shorter: what is not stored when a worker dies is repeated.
	longAppendPause = time.Second
	// longUnconfirmedPause is for what the broker has stored already, and stores once more each time.
	longUnconfirmedPause = 10 * time.Second
	quietPeriod          = time.Minute
)

// Table is a fold over a topic with what keeps it going: reading, appending, re-publishing and telling of changes. It
// is safe for concurrent use. One value holds what guards one fold with one mutex; what is decided of it is in package
// replica.
type Table struct {
	opts    Options
	meter   meter
	wake    chan struct{} // capacity 1: the appender has something to do
	stopped chan struct{}

	mu       sync.RWMutex
	log      Log
	replica  *replica.Replica
	waiters  []waiter
	queue    []*request
	watchers map[chan struct{}]struct{}
	quiet    map[string]time.Time // when a kind of trouble may be logged again
	health   health
}

// New makes a Table; nothing is read before its Service starts.
func New(opts Options) (*Table, error) {
	if opts.Name == "" || opts.Open == nil || opts.Fold == nil {
		return nil, errors.New("making a keyed log: name, open and fold are required")
	}
	if opts.Settle <= 0 {
		opts.Settle = time.Second
	}
	if opts.Owns == nil {
		opts.Owns = func(string) bool { return true }
	}
	if opts.Metrics == nil {
		opts.Metrics = NewMetrics(nil)
	}
	opts.Log = opts.Log.WithValues("store", opts.Name)
	return &Table{
		opts: opts, meter: opts.Metrics.of(opts.Name),
		wake: make(chan struct{}, 1), stopped: make(chan struct{}),
		replica:  replica.New(replica.Options{Fold: opts.Fold, Owns: opts.Owns, Settle: opts.Settle, Random: rand.Float64}),
		watchers: map[chan struct{}]struct{}{}, quiet: map[string]time.Time{},
	}, nil
}

// Service reads the topic to its end on Start, waiting for a broker that is away, and follows it in Run.
func (t *Table) Service() service.Service {
	return service.Service{Name: t.opts.Name, Start: t.start, Run: t.run}
}

// View calls fn while the fold does not change. fn must not call the Table.
func (t *Table) View(fn func()) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	fn()
}

// Snapshot is View, and gives the fold's version, which rises with each change, and how far the log was read: beyond
// its end while values that it lost are still to be published again.
func (t *Table) Snapshot(fn func(version, reach int64)) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	fn(t.replica.Version(), t.replica.Reach())
}

// Next gives the offset up to which the log was folded.
func (t *Table) Next() int64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.replica.Next()
}

// Watch gives a channel that receives after changes, at least once after the last of several, and a function that ends
// it.
func (t *Table) Watch() (changed <-chan struct{}, stop func()) {
	ch := make(chan struct{}, 1)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.watchers[ch] = struct{}{}
	return ch, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.watchers, ch)
	}
}

func (t *Table) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var group service.Group
	group.Go(func() { t.appendLoop(ctx) })
	group.Go(func() { t.republishLoop(ctx) })
	group.Go(func() { t.renewLoop(ctx) })
	group.Go(func() { t.missingLoop(ctx) })
	// Deferred, so that a fold's panic leaves nothing running behind the error that it becomes.
	defer func() {
		cancel()
		group.Wait()
		close(t.stopped)
	}()
	return t.follow(ctx)
}

// follow tails the log until ctx ends or the topic is of no use.
func (t *Table) follow(ctx context.Context) error {
	var pause backoff.Doubling
	for {
		before, began := t.Next(), time.Now()
		err := t.current().Follow(ctx, t.from(), before, t.again)
		if ctx.Err() != nil {
			return nil
		}
		if t.Next() > before {
			pause.Reset()
		}
		switch {
		case errors.Is(err, rmq.ErrTruncated), errors.Is(err, errOther):
			err = t.relocate(ctx, errors.Is(err, errOther))
		case errors.Is(err, rmq.ErrTopicNotFound):
			err = t.reopen(ctx)
		case err == nil:
			err = errors.New("following ended without an error")
		}
		if permanent(err) {
			return fmt.Errorf("following the topic: %w", err)
		}
		if err != nil {
			t.health.tailing.Failed(began, err)
			t.complain("tail", err, "Retrying to follow the topic")
		} else {
			t.health.tailing.Worked()
		}
		_ = service.Sleep(ctx, pause.Next(firstPause, longPause))
	}
}

// from is where to follow the log from.
func (t *Table) from() int64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.replica.From()
}

// errOther means that the log holds other records than were read of it.
var errOther = errors.New("topic holds another record than was read")

// again takes a record that may have been read before.
func (t *Table) again(e rmq.Entry) error {
	t.mu.RLock()
	known, holds := e.Offset < t.replica.Next(), t.replica.Holds(e)
	t.mu.RUnlock()
	switch {
	case !known:
		return t.apply(e)
	case !holds:
		return fmt.Errorf("%w at offset %d", errOther, e.Offset)
	}
	return nil
}

// relocate finds the place to go on from when the log does not hold the one asked for: behind what has aged out, or,
// when the log ends before what was already read, or holds other records, at its start, and then everything that does
// not come back is re-published.
func (t *Table) relocate(ctx context.Context, other bool) error {
	first, end, err := t.current().Bounds(ctx)
	if err != nil {
		return fmt.Errorf("asking for the topic's bounds: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	read := t.replica.Next()
	switch {
	case other:
		t.replica.Lost(time.Now(), first)
	case !t.replica.Relocate(time.Now(), first, end):
		if first > read {
			t.opts.Log.Info("Reading on behind records that have aged out", "from", read, "first", first)
		}
		t.advanced()
		return nil
	}
	t.opts.Log.Error(ErrLogLost, "Publishing again what the topic lost: it ends before what was read of it, or holds other records; "+
		"check whether the broker lost data or the topic was recreated", "read", read, "end", end)
	for _, w := range t.waiters {
		w.done <- ErrLogLost
	}
	t.waiters = nil
	t.advanced()
	return nil
}

// apply folds one record. It never fails: whatever is in the topic, the records behind it count.
func (t *Table) apply(e rmq.Entry) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	verdict, why := t.replica.Apply(time.Now(), e)
	switch verdict {
	case replica.Accepted:
		t.tell()
	case replica.Refused:
		t.meter.refused.Inc()
	case replica.Malformed:
		t.meter.malformed.Inc()
	case replica.Foreign:
		t.meter.foreign.Inc()
	case replica.Same:
	}
	if why != nil && t.mayLog("record") {
		t.opts.Log.Error(why, "Ignoring a record", "key", e.Key, "offset", e.Offset)
	}
	t.advanced()
	return nil
}

// advanced wakes who waits for what was read; the caller holds the lock.
func (t *Table) advanced() {
	next := t.replica.Next()
	t.meter.offset.Set(float64(next))
	left := t.waiters[:0]
	for _, w := range t.waiters {
		if w.until <= next {
			w.done <- nil
		} else {
			left = append(left, w)
		}
	}
	clear(t.waiters[len(left):])
	t.waiters = left
}

// tell notifies the watchers of a change; the caller holds the lock.
func (t *Table) tell() {
	for ch := range t.watchers {
		service.Signal(ch)
	}
}

// complain logs a kind of trouble at most once in quietPeriod.
func (t *Table) complain(kind string, err error, message string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mayLog(kind) {
		t.opts.Log.Error(err, message)
	}
}

func (t *Table) mayLog(kind string) bool {
	now := time.Now()
	if now.Before(t.quiet[kind]) {
		return false
	}
	t.quiet[kind] = now.Add(quietPeriod)
	return true
}

// permanent errors do not go away by retrying. Access that is refused may be granted meanwhile.
func permanent(err error) bool {
	for _, target := range []error{rmq.ErrTooLarge, rmq.ErrClosed, rmq.ErrTopicShape} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}
