package rmq

import (
	"context"
	"slices"
	"strconv"
	"sync"

	"github.com/rocketmq-connect/operator/worker/service"
)

const (
	defaultReadBytes = 16 << 20
	// defaultPullsAhead makes up for brokers that give 32 records a pull: users take what gathered, and few records at a
	// time cost them dearly. MaxBufferedBytes bounds it where records are large.
	defaultPullsAhead = 16
)

// ReaderConfig bounds a Reader.
type ReaderConfig struct {
	// Group is the consumer group that reads, for the brokers' statistics and rights. The Reader commits nothing by
	// itself.
	Group string
	// MaxBufferedBytes is how much is pulled ahead over all queues; default 16 MiB. One pull a queue may come on top.
	MaxBufferedBytes int
	// PullsAhead is how many answers a queue holds ready; default 16.
	PullsAhead int
	// Trail gives the marks of what was read of a queue before it is assigned; they are not changed. nil: nothing is
	// known.
	Trail func(q Queue) Trail
	// OnGap is told when records from..to of a queue were gone before they were read. When to is less than from, the queue
	// had lost its end, or was recreated: it is read again from to on, where it is known to be as it was, else from its
	// start. Every gap is logged as well. nil: nobody is told.
	OnGap func(q Queue, from, to int64)
}

// Reader pulls the queues it was assigned ahead of its user. One goroutine at a time may Poll; the other methods are
// safe for concurrent use.
type Reader struct {
	c       *Client
	cfg     ReaderConfig
	group   string // on the wire
	purpose string
	ctx     context.Context // ends with Close, cause ErrClosed
	cancel  context.CancelCauseFunc
	ready   chan struct{} // capacity 1: Poll should look again
	unwatch func()

	mu       sync.Mutex
	fetches  []*fetch // sorted by queue
	turn     int      // which fetch Poll looks at first
	buffered int      // bytes
	closed   bool
	tasks    service.Group
}

// NewReader makes a reader without queues. Close it.
func (c *Client) NewReader(cfg ReaderConfig) *Reader {
	if cfg.MaxBufferedBytes <= 0 {
		cfg.MaxBufferedBytes = defaultReadBytes
	}
	if cfg.PullsAhead <= 0 {
		cfg.PullsAhead = defaultPullsAhead
	}
	if cfg.Trail == nil {
		cfg.Trail = func(Queue) Trail { return nil }
	}
	if cfg.OnGap == nil {
		cfg.OnGap = func(Queue, int64, int64) {}
	}
	r := &Reader{
		c: c, cfg: cfg, group: c.onWire(cfg.Group), ready: make(chan struct{}, 1),
		purpose: "pull-" + strconv.FormatInt(c.users.Add(1), 10),
	}
	r.ctx, r.cancel = context.WithCancelCause(c.ctx)
	r.unwatch = c.watched()
	if !c.opened(r) {
		r.closed = true
		r.cancel(ErrClosed)
	}
	return r
}

// Assign replaces the assignment. Queues that stay go on where they are, paused or not; new ones start at the given
// offset, or at their first record if that is negative; of those that left, nothing is returned any more.
func (r *Reader) Assign(offsets map[Queue]int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	kept := r.fetches[:0:0]
	have := map[Queue]bool{}
	for _, f := range r.fetches {
		if _, stays := offsets[f.q]; stays {
			kept = append(kept, f)
			have[f.q] = true
			continue
		}
		r.drop(f)
	}
	for q, offset := range offsets {
		if !have[q] {
			kept = append(kept, r.begin(q, offset))
		}
	}
	slices.SortFunc(kept, func(a, b *fetch) int { return compareQueues(a.q, b.q) })
	r.fetches, r.turn = kept, 0
	r.wakeAll()
}

// begin starts reading a queue. r.mu is held.
func (r *Reader) begin(q Queue, offset int64) *fetch {
	f := &fetch{r: r, q: q, next: offset, conn: none, position: offset, end: -1, wake: make(chan struct{}, 1)}
	f.trail = slices.Clone(r.cfg.Trail(q)).Before(offset)
	f.ctx, f.cancel = context.WithCancel(r.ctx)
	r.tasks.Go(f.run)
	return f
}

// drop stops reading a queue. r.mu is held.
func (r *Reader) drop(f *fetch) {
	f.cancel()
	for _, c := range f.chunks {
		r.buffered -= c.bytes
	}
	f.chunks, f.gone = nil, true
}

// wakeAll has every fetch see whether it may pull again. r.mu is held.
func (r *Reader) wakeAll() {
	for _, f := range r.fetches {
		service.Signal(f.wake)
	}
}

// Poll returns 1 to max records, those of one queue in their order. It waits for the first, and returns nil, nil when
// ctx ends before. An error is of one queue of which all before was returned (access denied, an undecodable record, its
// topic gone) or ErrClosed; Poll may be called again: what a queue fails with comes again until it no longer does.
func (r *Reader) Poll(ctx context.Context, max int) ([]Received, error) {
	for {
		got, err := r.take(max)
		if err != nil || len(got) > 0 {
			return got, err
		}
		select {
		case <-r.ready:
		case <-ctx.Done():
			return nil, nil
		case <-r.ctx.Done():
			return nil, ErrClosed
		}
	}
}

// take gives what is there: whole queues in turn, so that none is starved.
func (r *Reader) take(max int) ([]Received, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || r.ctx.Err() != nil {
		return nil, ErrClosed
	}
	n := len(r.fetches)
	want := 0
	for _, f := range r.fetches {
		if f.paused {
			continue
		}
		// What the others hold ready hides no queue that stands still.
		if err := f.err; err != nil && len(f.chunks) == 0 {
			f.err = nil
			return nil, err
		}
		want += f.held()
	}
	if want == 0 {
		return nil, nil
	}
	out := make([]Received, 0, min(want, max))
	for i := 0; i < n && len(out) < max; i++ {
		if f := r.fetches[(r.turn+i)%n]; !f.paused {
			out = f.take(out, max)
		}
	}
	r.turn = (r.turn + 1) % n
	if want > len(out) {
		service.Signal(r.ready)
	}
	r.wakeAll()
	return out, nil
}

// Pause keeps Poll from returning records of the queues; a little of them is held ready. Unknown queues are ignored.
func (r *Reader) Pause(queues ...Queue) { r.pause(queues, true) }

// Resume undoes Pause.
func (r *Reader) Resume(queues ...Queue) { r.pause(queues, false) }

func (r *Reader) pause(queues []Queue, paused bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.fetches {
		if slices.Contains(queues, f.q) {
			f.paused = paused
		}
	}
	service.Signal(r.ready)
	r.wakeAll()
}

// Lag is how many records of each queue Poll has yet to return, as of a few seconds ago at most while the broker
// answers. Queues of which nothing is known yet are left out.
func (r *Reader) Lag() map[Queue]int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make(map[Queue]int64, len(r.fetches))
	for _, f := range r.fetches {
		if f.end >= 0 {
			out[f.q] = max(0, f.end-f.position)
		}
	}
	return out
}

// Close stops reading at once.
func (r *Reader) Close() error {
	r.mu.Lock()
	r.closed = true
	r.cancel(ErrClosed)
	for _, f := range r.fetches {
		r.drop(f)
	}
	r.fetches = nil
	r.mu.Unlock()
	r.c.pool.Drop(r.purpose)
	r.tasks.Wait()
	r.unwatch()
	r.c.gone(r)
	return nil
}
