package rmq

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rocketmq-connect/operator/worker/rmq/member"
	"github.com/rocketmq-connect/operator/worker/rmq/room"
)

// How long a lane waits before it tries a batch again.
const (
	firstRetry = 5 * time.Millisecond
	lastRetry  = time.Second
)

// waiting is a message on its way through a lane.
type waiting struct {
	done    func(offset int64, err error)
	size    int  // what it takes of the sender's room
	bound   bool // to the lane's queue
	movable bool // see Message
	moves   bool // it leaves its lane
	end     int  // of its member in the batch
	err     error
	wave    *wave
}

// batch is encoded messages of one queue. Those with an error have no bytes.
type batch struct {
	wire []byte
	msgs []waiting
	good int   // messages without an error
	born int64 // of the first, ms
}

func (b *batch) add(member []byte, m waiting) {
	b.wire = append(b.wire, member...)
	m.end = len(b.wire)
	if m.err == nil {
		b.good++
	}
	b.msgs = append(b.msgs, m)
}

// lane is the ordered way to one queue.
type lane struct {
	s *Sender
	q Queue
	// shunned is until when, since the sender's start, messages that may go anywhere go elsewhere.
	shunned atomic.Int64
	wake    chan struct{}
	part    *room.Part
	// begun is when the batch in hand was first tried, since the sender's start; 0: there is none.
	begun atomic.Int64

	mu      sync.Mutex
	pending []*batch // the last may still grow
	usual   int      // bytes of the batch before
	closed  bool
	still   bool  // it takes nothing until all that waits is stored
	err     error // why the batch in hand was not stored when it was tried last
}

// stalledAfter is how long a batch may be under way before its lane takes no more: a broker is away, hangs, or waits for
// its slaves.
const stalledAfter = time.Second

// stalls says whether the lane takes nothing at present. What waits in it then takes nobody's room.
func (l *lane) stalls() bool {
	begun := l.begun.Load()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.still {
		if begun == 0 || time.Since(l.s.start)-time.Duration(begun) < stalledAfter {
			return false
		}
		l.still = true
	}
	l.part.Lend()
	return true
}

// Stalled is a queue that takes nothing at present.
type Stalled struct {
	Queue Queue
	Since time.Time
	// Err is what the newest try failed with; nil before the first has ended, and while the gate is shut.
	Err error
}

func (l *lane) stalled() Stalled {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Stalled{Queue: l.q, Since: l.s.start.Add(time.Duration(l.begun.Load())), Err: l.err}
}

func (l *lane) failedWith(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
}

// shunTime is how long a lane is left alone after it failed.
const shunTime = 3 * time.Second

func (l *lane) shun() { l.shunned.Store(int64(time.Since(l.s.start) + shunTime)) }

func (l *lane) fails() bool {
	until := l.shunned.Load()
	return until != 0 && time.Since(l.s.start) < time.Duration(until)
}

// add encodes a message at the end of the lane. It says false when the lane is closed.
func (l *lane) add(m *Message, w waiting) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	b := l.last(w.size)
	if len(b.msgs) == 0 && !m.BornAt.IsZero() {
		b.born = m.BornAt.UnixMilli()
	}
	b.wire, w.err = member.Append(b.wire, m.Properties, m.Body, &l.s.c.ids)
	b.add(nil, w)
	l.part.Put(w.size)
	l.signal()
	return true
}

// adopt takes over a message from another lane.
func (l *lane) adopt(member []byte, w waiting, from *room.Part) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	w.moves = false
	from.Move(l.part, w.size)
	l.last(len(member)).add(member, w)
	l.signal()
	return true
}

// last is the batch to add a message of about that size to. l.mu is held.
func (l *lane) last(size int) *batch {
	if n := len(l.pending); n > 0 {
		b := l.pending[n-1]
		if len(b.msgs) < l.s.cfg.MaxBatchRecords && len(b.wire)+size <= l.s.cfg.MaxBatchBytes {
			return b
		}
	}
	b := l.s.batches.Get().(*batch)
	b.wire = slices.Grow(b.wire, max(size, l.usual)) // at once: growing by appending copies a batch twice over
	l.pending = append(l.pending, b)
	return b
}

func (l *lane) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// run sends batch after batch until the sender is closed.
func (l *lane) run() {
	for {
		b := l.take()
		if b == nil {
			select {
			case <-l.wake:
				continue
			case <-l.s.ctx.Done():
				l.abandon()
				return
			}
		}
		l.begun.Store(max(1, int64(time.Since(l.s.start))))
		l.deliver(b)
		l.begun.Store(0)
		l.recycle(b)
	}
}

// take gives the first batch that waits, which then no longer grows.
func (l *lane) take() *batch {
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

// abandon fails what waits when the sender is closed.
func (l *lane) abandon() {
	l.mu.Lock()
	left := l.pending
	l.pending, l.closed = nil, true
	l.mu.Unlock()
	for _, b := range left {
		l.finish(b, 0, ErrClosed)
	}
}

// maxKept bounds the buffers that are kept for later batches.
const maxKept = 4 << 20

func (l *lane) recycle(b *batch) {
	if cap(b.wire) > maxKept {
		return
	}
	clear(b.msgs)
	*b = batch{wire: b.wire[:0], msgs: b.msgs[:0]}
	l.s.batches.Put(b)
}

// finish answers all messages of a batch, in order: those without an error of their own are at first, first+1, …, or
// failed with err.
func (l *lane) finish(b *batch, first int64, err error) {
	size := 0
	for i := range b.msgs {
		m := &b.msgs[i]
		size += m.size
		switch {
		case m.err != nil:
			m.done(0, m.err)
		case err != nil:
			m.done(0, err)
		default:
			m.done(first, nil)
			first++
		}
	}
	l.part.Give(size)
	for i := range b.msgs {
		b.msgs[i].wave.leave()
	}
}

// deliver sends a batch until it is stored, or never will be.
func (l *lane) deliver(b *batch) {
	if b.good == 0 {
		l.finish(b, 0, nil)
		return
	}
	retry := backoff{first: firstRetry, last: lastRetry}
	for begun, told := time.Now(), false; ; {
		first, err := l.attempt(b)
		switch {
		case err == nil:
			l.shunned.Store(0)
			l.finish(b, first, nil)
			return
		case l.s.ctx.Err() != nil:
			l.finish(b, 0, ErrClosed)
			return
		case errors.Is(err, ErrTooLarge) && b.good > 1:
			l.oneByOne(b)
			return
		case l.misplaced(err):
			if l.reroute(b, err) {
				return
			}
		case !IsTemporary(err):
			l.finish(b, 0, err)
			return
		}
		told = l.log(err, b, time.Since(begun), told)
		l.failedWith(err)
		l.shun()
		if l.scatter(b); b.good == 0 {
			l.finish(b, 0, nil)
			return
		}
		if retry.wait(l.s.ctx) != nil {
			l.finish(b, 0, ErrClosed)
			return
		}
	}
}

// gateFresh is how old the gate's word may be: if it took longer, the lane was held up and asks again.
const gateFresh = 20 * time.Millisecond

// attempt asks the gate and sends the batch. Invariant C2: the attempt is over SendTimeout after the gate was asked.
func (l *lane) attempt(b *batch) (first int64, err error) {
	var asked time.Time
	for asked.IsZero() || time.Since(asked) > gateFresh {
		asked = time.Now()
		if err := l.s.cfg.Gate(l.s.ctx); err != nil {
			return 0, fmt.Errorf("sending to %s: %w", l.q.Topic, err)
		}
	}
	ctx, cancel := context.WithDeadline(l.s.ctx, asked.Add(l.s.c.cfg.SendTimeout))
	defer cancel()
	first, err = l.s.c.send(ctx, l.q, l.s.purpose, outgoing{members: b.wire, n: b.good, born: b.born, wrote: l.s.wrote})
	if err != nil && l.s.ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("sending to %s: broker %s %w: no answer in %s", l.q.Topic, l.q.Broker, ErrUnreachable, l.s.c.cfg.SendTimeout)
	}
	l.s.cfg.OnBatch(b.good, len(b.wire), time.Since(asked), err)
	return first, err
}

// tellAfter is how long a batch is tried quietly: a busy broker is nothing to tell of.
const tellAfter = 10 * time.Second

// log tells of a batch that has to be tried again: once, when it takes long. It says whether it told.
func (l *lane) log(err error, b *batch, trying time.Duration, told bool) bool {
	log := l.s.c.log.V(1)
	if !told && trying > tellAfter {
		log, told = l.s.c.log, true
	}
	log.Info("Trying batch again", "topic", l.q.Topic, "queue", l.q.String(), "records", b.good, "for", trying.String(), "err", err.Error())
	return told
}

// oneByOne sends each message of a refused batch by itself, so that only the one that is to blame fails.
func (l *lane) oneByOne(b *batch) {
	from := 0
	for i := range b.msgs {
		single := &batch{born: b.born}
		member := b.wire[from:b.msgs[i].end]
		from = b.msgs[i].end
		single.add(member, b.msgs[i])
		l.deliver(single)
	}
}
