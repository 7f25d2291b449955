package rmq

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rocketmq-connect/operator/worker/rmq/encode"
	"github.com/rocketmq-connect/operator/worker/rmq/room"
	"github.com/rocketmq-connect/operator/worker/service"
)

// How long a lane waits before it retries a batch, and one that the broker has stored and that it will store once more.
const (
	firstRetry       = 5 * time.Millisecond
	lastRetry        = time.Second
	firstUnconfirmed = time.Second
	lastUnconfirmed  = 10 * time.Second
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
	// denied is since when the broker says that it does not have the topic. Only run's goroutine uses it.
	denied time.Time
	// refused is since when its broker lets nobody write to the queue. Only run's goroutine uses it.
	refused time.Time

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
	b.wire, w.err = encode.Member(b.wire, m.Properties, m.Body, &l.s.c.ids)
	b.add(nil, w)
	l.part.Put(w.size)
	service.Signal(l.wake)
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
	service.Signal(l.wake)
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
		l.denied, l.refused = time.Time{}, time.Time{}
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

// misplaced says whether the queue may be gone. A 4.9 broker answers for a queue that was taken away as it does for any
// trouble (SystemError): then the route that is looked up every now and again tells.
func (l *lane) misplaced(err error) bool {
	if errors.Is(err, ErrTopicNotFound) || errors.Is(err, errNoMaster) || errors.Is(err, errNoTopic) {
		return true
	}
	if b := (*BrokerError)(nil); errors.As(err, &b) && (b.readOnly() || b.noQueue()) {
		return true
	}
	r := l.s.c.routes.known(l.q.Topic)
	return IsTemporary(err) && r != nil && !slices.Contains(r.writable, l.q)
}

// reroute asks where the queue went that its broker does not know or lets nobody write to, or whose broker is not in the
// route any more. It says true when the batch needs nothing more: its messages failed, because the topic is gone, or took
// other lanes. Messages that are bound to a queue whose broker is away wait, unless they are movable: their order must
// outlast that. Those of a queue that a broker which is there has given up move.
func (l *lane) reroute(b *batch, why error) bool {
	r, err := l.s.c.fetchRoute(l.s.ctx, l.q.Topic)
	byBroker := errors.Is(why, ErrTopicNotFound) && !l.s.c.isNameServer(why)
	if err != nil {
		// Only a broker's word is final: a name server forgets the topics of brokers that restart.
		if errors.Is(err, ErrTopicNotFound) && byBroker {
			l.finish(b, 0, err)
			return true
		}
		return false
	}
	if r.away(l.q.Topic) == nil {
		l.s.c.routes.put(l.q.Topic, r)
	}
	if slices.Contains(r.writable, l.q) {
		if byBroker {
			l.makeAgain(r)
		}
		return false
	}
	if len(r.writable) == 0 {
		return false
	}
	gone := byBroker || (r.has(l.q.Broker) || l.s.c.masters.Listed(l.q.Broker)) && l.givenUp(why)
	if l.move(b, func(m *waiting) bool { return gone || m.movable || !m.bound }); b.good > 0 {
		return false
	}
	l.finish(b, 0, nil)
	return true
}

// GivenUpAfter is for how long a broker that is there must let nobody write to a queue before what is bound to it goes to
// others: by then what the queue holds has most likely been read, and an administrator who is not about to finish means it.
const GivenUpAfter = time.Minute

// givenUp says whether the broker of the queue, which is there, has given it up: it has fewer queues of the topic now, or for long
// has let nobody write to this one, or not had the topic.
func (l *lane) givenUp(why error) bool {
	if b := (*BrokerError)(nil); errors.As(why, &b) && b.noQueue() {
		return true
	}
	if l.refused.IsZero() {
		l.refused = time.Now()
	}
	return time.Since(l.refused) >= GivenUpAfter
}

// makeAgain makes the topic again on a broker that goes on saying that it has none while the name server shows it there: a
// replica became the master before it had copied the topic.
func (l *lane) makeAgain(r *route) {
	switch {
	case l.denied.IsZero():
		l.denied = time.Now()
		return
	case time.Since(l.denied) < l.s.c.cfg.LogGone:
		return
	}
	queues := 0
	for _, q := range r.writable {
		if q.Broker == l.q.Broker {
			queues++
		}
	}
	l.s.c.log.Info("Making a topic again that its broker does not have though the name server shows it there", "topic", l.q.Topic,
		"broker", l.q.Broker, "queues", queues, "since", l.denied.UTC().Format(time.RFC3339))
	broker := Broker{Name: l.q.Broker, Addr: r.addrs[l.q.Broker]}
	if err := l.s.c.createTopic(l.s.ctx, broker, l.q.Topic, TopicSpec{Queues: queues}); err != nil {
		l.s.c.log.Info("Making a topic again failed; retrying", "topic", l.q.Topic, "broker", l.q.Broker, "err", err.Error())
	}
	l.denied = time.Time{}
}

// isNameServer says whether an answer came from a name server.
func (c *Client) isNameServer(err error) bool {
	var b *BrokerError
	return errors.As(err, &b) && slices.Contains(c.cfg.NameServers, b.Addr)
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
		l.move(b, func(m *waiting) bool { return !m.bound })
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
	m.moves = true
	to, err := l.s.find(l.s.ctx, l.q.Topic, l.q, &m)
	return err == nil && to != l && to.adopt(member, m, l.part)
}
