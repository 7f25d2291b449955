// Package lane is the ordered way to one queue: one batch on its way, sent again until it is stored, while what comes
// gathers in the next. A lane owns its own state only. It sends by its Connection, and tells its Owner what becomes
// of its batches; which other lanes there are, and what moves to them, it does not know.
package lane

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"

	"github.com/rocketmq-connect/operator/worker/rmq/encode"
	"github.com/rocketmq-connect/operator/worker/rmq/room"
	"github.com/rocketmq-connect/operator/worker/service"
)

// Connection stores batches on the lane's queue.
type Connection interface {
	// Send tries a batch once. It blocks while that is not allowed, and ends with ctx. late is called when the answer
	// takes longer than usual.
	Send(ctx context.Context, b *Batch, late func()) Answer
}

// Owner is told what becomes of the batch in hand, by the goroutine of the lane, which holds no lock meanwhile.
// Besides, a lane answers when it is asked whether it stands.
type Owner interface {
	// Confirmed: the batch is stored, or the part of it that was sent by itself.
	Confirmed()
	// Late: its answer takes longer than usual.
	Late()
	// QueueGone: it was not stored, for the queue may not be there any more. The owner may take records out of it. An
	// error is what all that are left fail with.
	QueueGone(b *Batch, why error) error
	// BrokerAway: it was not stored and will be sent again. The owner may take records out of it.
	BrokerAway(b *Batch, why error)
	// Settled: all of it has been answered or taken.
	Settled()
}

// Answer is what became of a batch that was sent once.
type Answer struct {
	// First is the offset of the first record, and Err why it was not stored: nil if it was.
	First int64
	Err   error
	// Kind is the kind of Err.
	Kind Kind
	// Repeats says that the broker has stored it nevertheless, and will once more each time that it is sent.
	Repeats bool
}

// Kind says what is to be done with a batch that was not stored.
type Kind int

const (
	// Again is for a batch that may be stored the next time.
	Again Kind = iota
	// Never is for one that will never be.
	Never
	// TooLarge is for one of which a single record is to blame.
	TooLarge
	// Gone is for one of which the queue may be gone.
	Gone
)

// Config is what a lane is made of. All but Log's zero value must be set.
type Config struct {
	Connection Connection
	Owner      Owner
	Terms      *Terms
	// Part is what the lane has of the room. Who adds a record has taken its room.
	Part *room.Part
	// Log names the queue.
	Log logr.Logger
}

// Lane is the ordered way to one queue. It is safe for concurrent use; records that one goroutine adds keep their
// order.
type Lane struct {
	cfg  Config
	late func() // the owner's Late
	wake chan struct{}
	made time.Time
	// begun is when the batch in hand was first tried, since the lane was made; 0: there is none.
	begun atomic.Int64

	mu      sync.Mutex
	pending []*Batch // the last may still grow
	usual   int      // bytes of the batch before
	closed  bool
	still   bool  // it takes nothing until all that waits is stored
	err     error // why the batch in hand was not stored when it was tried last
}

// New makes a lane. Run it, once.
func New(cfg Config) *Lane {
	return &Lane{cfg: cfg, late: cfg.Owner.Late, wake: make(chan struct{}, 1), made: time.Now()}
}

// StalledAfter is how long a batch may be under way before its lane takes no more: a broker is away, hangs, or waits
// for its slaves.
const StalledAfter = time.Second

// Stands says whether the lane takes nothing at present. What waits in it then takes nobody's room.
func (l *Lane) Stands() bool {
	begun := l.begun.Load()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.still {
		if begun == 0 || time.Since(l.made)-time.Duration(begun) < StalledAfter {
			return false
		}
		l.still = true
	}
	l.cfg.Part.Lend()
	return true
}

// Trying gives since when the batch in hand is tried, and what the newest try failed with: nil before the first has
// ended.
func (l *Lane) Trying() (since time.Time, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.made.Add(time.Duration(l.begun.Load())), l.err
}

func (l *Lane) failedWith(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
}

// Add encodes a message at the end of the lane; born may be the zero time. What cannot be encoded is answered in its
// turn. It says false when the lane is closed.
func (l *Lane) Add(r Record, properties []encode.Property, body []byte, born time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	b := l.last(r.Size)
	if len(b.records) == 0 && !born.IsZero() {
		b.born = born.UnixMilli()
	}
	b.wire, r.err = encode.Member(b.wire, properties, body, l.cfg.Terms.IDs)
	b.add(nil, r)
	l.cfg.Part.Put(r.Size)
	service.Signal(l.wake)
	return true
}

// Adopt takes over a record that waited in another part of the room. It says false when the lane is closed.
func (l *Lane) Adopt(member []byte, r Record, from *room.Part) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	from.Move(l.cfg.Part, r.Size)
	l.last(len(member)).add(member, r)
	service.Signal(l.wake)
	return true
}

// last is the batch to add a record of about that size to. l.mu is held.
func (l *Lane) last(size int) *Batch {
	if n := len(l.pending); n > 0 && !l.cfg.Terms.full(l.pending[n-1], size) {
		return l.pending[n-1]
	}
	b := l.cfg.Terms.fresh(max(size, l.usual))
	l.pending = append(l.pending, b)
	return b
}

// Run sends batch after batch until ctx ends; what is left then fails with its cause.
func (l *Lane) Run(ctx context.Context) {
	for {
		b := l.take()
		if b == nil {
			select {
			case <-l.wake:
				continue
			case <-ctx.Done():
				l.abandon(context.Cause(ctx))
				return
			}
		}
		l.begun.Store(max(1, int64(time.Since(l.made))))
		l.deliver(ctx, b)
		l.begun.Store(0)
		l.cfg.Owner.Settled()
		l.cfg.Terms.recycle(b)
	}
}

// take gives the first batch that waits, which then no longer grows.
func (l *Lane) take() *Batch {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.pending) == 0 {
		l.still, l.err = false, nil
		return nil
	}
	b := l.pending[0]
	l.pending[0], l.usual = nil, len(b.wire)
	if l.pending = l.pending[1:]; len(l.pending) == 0 {
		l.pending = nil
	}
	return b
}

// abandon fails what waits.
func (l *Lane) abandon(why error) {
	l.mu.Lock()
	left := l.pending
	l.pending, l.closed = nil, true
	l.mu.Unlock()
	for _, b := range left {
		l.finish(b, 0, why)
	}
}
