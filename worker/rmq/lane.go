package rmq

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rocketmq-connect/operator/worker/rmq/encode"
)

// How long a lane waits before it tries a batch again, and one that the broker has stored and that it will store once more.
const (
	firstRetry       = 5 * time.Millisecond
	lastRetry        = time.Second
	firstUnconfirmed = time.Second
	lastUnconfirmed  = 10 * time.Second
)

// waiting is a message on its way through a lane.
type waiting struct {
	done   func(offset int64, err error)
	size   int // what it takes of the sender's room
	choice int // see Sender.choice
	end    int // of its member in the batch
	err    error
	wave   *wave
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

	mu      sync.Mutex
	pending []*batch // the last may still grow
	usual   int      // bytes of the batch before
	closed  bool
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
	b.wire, w.err = encode.Member(b.wire, m.Properties, m.Body, &l.s.c.ids)
	b.add(nil, w)
	l.signal()
	return true
}

// adopt takes over a message from another lane.
func (l *lane) adopt(member []byte, w waiting) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
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
		l.deliver(b)
		l.recycle(b)
	}
}

// take gives the first batch that waits, which then no longer grows.
func (l *lane) take() *batch {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.pending) == 0 {
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
	for i := range b.msgs {
		m := &b.msgs[i]
		switch {
		case m.err != nil:
			l.answer(m, 0, m.err)
		case err != nil:
			l.answer(m, 0, err)
		default:
			l.answer(m, first, nil)
			first++
		}
	}
}

func (l *lane) answer(m *waiting, offset int64, err error) {
	m.done(offset, err)
	l.s.room.Release(int64(m.size))
	m.wave.leave()
}

// deliver sends a batch until it is stored, or never will be.
func (l *lane) deliver(b *batch) {
	if b.good == 0 {
		l.finish(b, 0, nil)
		return
	}
	retry, repeat := backoff{first: firstRetry, last: lastRetry}, backoff{first: firstUnconfirmed, last: lastUnconfirmed}
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
		l.shun()
		if l.scatter(b); b.good == 0 {
			l.finish(b, 0, nil)
			return
		}
		wait := &retry
		if errors.Is(err, ErrUnconfirmed) {
			wait = &repeat
		}
		if wait.wait(l.s.ctx) != nil {
			l.finish(b, 0, ErrClosed)
			return
		}
	}
}

// attempt asks the gate and sends the batch. Invariant C2: the attempt is over SendTimeout after the gate was last asked and said yes.
func (l *lane) attempt(b *batch) (first int64, err error) {
	var asked time.Time
	for asked.IsZero() || time.Since(asked) > gateFresh {
		asked = time.Now()
		if err := l.s.cfg.Gate(l.s.ctx); err != nil {
			return 0, fmt.Errorf("sending to %s: %w", l.q.Topic, err)
		}
	}
	first, err = l.s.c.send(l.s.ctx, l.q, l.s.purpose, outgoing{
		members: b.wire, n: b.good, born: b.born, wrote: l.s.wrote, patience: patience{gate: l.s.cfg.Gate, asked: asked, late: l.shun},
	})
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

// misplaced says whether the queue may be gone. A 4.9 broker answers for a queue that was taken away as it does for any
// trouble (SystemError): then the route that is looked up every now and again tells.
func (l *lane) misplaced(err error) bool {
	if errors.Is(err, ErrTopicNotFound) || errors.Is(err, errNoMaster) {
		return true
	}
	r := l.s.c.routes.known(l.q.Topic)
	return IsTemporary(err) && r != nil && !slices.Contains(r.writable, l.q)
}

// reroute asks where the queue went that its broker does not know, or whose broker is not in the route any more. It says
// true when the batch needs nothing more: its messages failed, because the topic is gone, or took other lanes. While the
// route has the queue, though its master is away and only a slave is registered, messages bound to it wait: their order
// must outlast that.
func (l *lane) reroute(b *batch, why error) bool {
	r, err := l.s.c.fetchRoute(l.s.ctx, l.q.Topic)
	if err != nil {
		// Only a broker's word is final: a name server forgets the topics of brokers that restart.
		if errors.Is(err, ErrTopicNotFound) && errors.Is(why, ErrTopicNotFound) {
			l.finish(b, 0, err)
			return true
		}
		return false
	}
	l.s.c.routes.put(l.q.Topic, r)
	for _, q := range r.writable {
		if q == l.q {
			return false
		}
	}
	if len(r.writable) == 0 {
		return false
	}
	if l.move(b, func(*waiting) bool { return true }); b.good > 0 {
		return false
	}
	l.finish(b, 0, nil)
	return true
}

// scatter moves the messages that may go to any queue to lanes that work, if there are any.
func (l *lane) scatter(b *batch) {
	l.s.mu.Lock()
	t := l.s.topics[l.q.Topic]
	other := false
	if t != nil {
		for _, o := range t.lanes {
			other = other || o != l && !o.fails()
		}
	}
	l.s.mu.Unlock()
	if other {
		l.move(b, func(m *waiting) bool { return m.choice == anywhere })
	}
}

// move hands messages to the lanes that they would take now; the batch keeps the others, and those that no lane takes.
func (l *lane) move(b *batch, which func(*waiting) bool) {
	kept := batch{msgs: b.msgs[:0]}
	for i, from := 0, 0; i < len(b.msgs); i++ {
		m := b.msgs[i]
		member := b.wire[from:m.end]
		from = m.end
		if m.err == nil && which(&m) && l.handOver(member, m) {
			continue
		}
		kept.add(member, m)
	}
	clear(b.msgs[len(kept.msgs):])
	b.wire, b.msgs, b.good = append(b.wire[:0], kept.wire...), kept.msgs, kept.good
}

func (l *lane) handOver(member []byte, m waiting) bool {
	to, err := l.s.lane(l.s.ctx, l.q.Topic, &m)
	return err == nil && to != l && to.adopt(member, m)
}
