package rmq

import (
	"context"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rocketmq-connect/operator/worker/rmq/encode"
	"github.com/rocketmq-connect/operator/worker/rmq/room"
	"github.com/rocketmq-connect/operator/worker/service"
)

const (
	defaultBatchRecords  = 512
	defaultBatchBytes    = 1 << 20
	defaultBufferedBytes = 32 << 20
)

// SenderConfig bounds a Sender. The zero value has defaults for everything.
type SenderConfig struct {
	// Gate is asked before each attempt at a batch: it blocks while sending is not allowed (no lease), and returns an error
	// when it never will be again; what is left then fails with that error. nil: always open. Once it lets a batch
	// start, the attempt is over within the client's SendTimeout, unless it then says at once that as much time again is allowed.
	Gate func(ctx context.Context) error
	// MaxBatchRecords is 512 by default, MaxBatchBytes 1 MiB. A larger single message travels alone.
	MaxBatchRecords int
	MaxBatchBytes   int
	// MaxBufferedBytes is how much may wait for its answer before Send blocks; default 32 MiB. As much again may wait for
	// queues that take nothing at present.
	MaxBufferedBytes int
	// OnBatch is told of every attempt, from several goroutines. nil: nobody is.
	OnBatch func(records, bytes int, took time.Duration, err error)
}

func (cfg *SenderConfig) setDefaults() {
	if cfg.MaxBatchRecords <= 0 {
		cfg.MaxBatchRecords = defaultBatchRecords
	}
	if cfg.MaxBatchBytes <= 0 {
		cfg.MaxBatchBytes = defaultBatchBytes
	}
	cfg.MaxBatchBytes = min(cfg.MaxBatchBytes, encode.MaxBody)
	if cfg.MaxBufferedBytes <= 0 {
		cfg.MaxBufferedBytes = defaultBufferedBytes
	}
	if cfg.Gate == nil {
		cfg.Gate = func(context.Context) error { return nil }
	}
	if cfg.OnBatch == nil {
		cfg.OnBatch = func(int, int, time.Duration, error) {}
	}
}

// Sender sends messages over one lane per queue: one batch in flight, and a batch is what gathered meanwhile. It is safe
// for concurrent use; messages of one goroutine to one queue keep their order.
type Sender struct {
	c       *Client
	cfg     SenderConfig
	purpose string
	ctx     context.Context // ends with Close, cause ErrClosed
	cancel  context.CancelCauseFunc
	start   time.Time
	room    *room.Room
	turn    atomic.Uint64
	batches sync.Pool
	written atomic.Int64 // when bytes were last written, since start; 0: never
	unwatch func()

	mu     sync.Mutex
	topics map[string]*topicLanes
	lanes  map[Queue]*lane
	wave   *wave
	group  service.Group
}

// topicLanes are a topic's lanes in the order of its route.
type topicLanes struct {
	route *route
	lanes []*lane
}

// NewSender makes a sender. Close it.
func (c *Client) NewSender(cfg SenderConfig) *Sender {
	cfg.setDefaults()
	s := &Sender{
		c: c, cfg: cfg, start: time.Now(), purpose: "send-" + strconv.FormatInt(c.users.Add(1), 10),
		room:   room.New(cfg.MaxBufferedBytes),
		topics: map[string]*topicLanes{}, lanes: map[Queue]*lane{}, wave: newWave(nil),
	}
	s.batches.New = func() any { return new(batch) }
	s.ctx, s.cancel = context.WithCancelCause(c.ctx)
	s.unwatch = c.watched()
	if !c.opened(s) {
		s.cancel(ErrClosed)
	}
	return s
}

// Targets is where a topic can be written to, as a name server showed it. It does not change; another look gives another.
type Targets struct {
	// Queues are those that can be written to, sorted by (broker, id).
	Queues []Queue
	// Brokers are there: those that have the topic, also those that let nobody write to it, and those that are registered.
	Brokers []string

	once    sync.Once
	queues  map[Queue]struct{}
	brokers map[string]struct{}
}

func (t *Targets) index() {
	t.queues, t.brokers = make(map[Queue]struct{}, len(t.Queues)), make(map[string]struct{}, len(t.Brokers))
	for _, q := range t.Queues {
		t.queues[q] = struct{}{}
	}
	for _, b := range t.Brokers {
		t.brokers[b] = struct{}{}
	}
}

// Gone says that a broker which is there has no such queue to write to. A queue whose broker is away is not gone.
func (t *Targets) Gone(q Queue) bool {
	t.once.Do(t.index)
	_, has := t.queues[q]
	return t.Shows(q.Broker) && !has
}

// Shows says whether a broker is there.
func (t *Targets) Shows(broker string) bool {
	t.once.Do(t.index)
	_, there := t.brokers[broker]
	return there
}

// Instead is the queue that takes the place of one that is gone: what is sent and what waits in its lane go to the same. It is the
// zero Queue if the topic can be written to nowhere.
func (t *Targets) Instead(q Queue) Queue { return instead(q, t.Queues) }

func instead(q Queue, of []Queue) Queue {
	if len(of) == 0 {
		return Queue{}
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(q.Broker)) // never fails
	return of[(uint64(h.Sum32())+uint64(q.ID))%uint64(len(of))]
}

// Targets gives what was looked up last, half a minute ago at most while a name server answers. It waits only the first
// time.
func (c *Client) Targets(ctx context.Context, topic string) (*Targets, error) {
	r, err := c.routes.latest(ctx, c, topic)
	if err != nil {
		return nil, err
	}
	listed := c.masters.AllListed()
	lacking := slices.DeleteFunc(listed, func(broker string) bool { return r.has(broker) })
	if len(lacking) == 0 {
		return r.targets, nil
	}
	return c.routes.beside(topic, r, lacking), nil
}

// Send queues m and returns; it blocks while MaxBufferedBytes wait for their answers. m's slices may be reused at once.
// A queue that takes nothing at present is ErrStalled, and m was not queued: other queues go on meanwhile.
// If Send returns nil, done is called exactly once, in the order of the messages of one queue, from a goroutine that must
// not be held up: with the stored offset; or with an error that retrying would not cure (ErrTooLarge,
// ErrIllegal, ErrAccessDenied, the gate's, ErrTopicNotFound); or with ErrClosed. Temporary errors are retried for ever. A
// message that failed with ErrClosed, or was retried, may have been stored nevertheless, even twice.
func (s *Sender) Send(ctx context.Context, m Message, done func(offset int64, err error)) error {
	if m.Queue != (Queue{}) && s.lane(m.Queue).stalls() {
		return fmt.Errorf("sending to %s: %w", m.Queue, ErrStalled)
	}
	size := encode.Overhead + len(m.Body)
	for i := range m.Properties {
		size += len(m.Properties[i].Name) + len(m.Properties[i].Value) + 2
	}
	size = min(size, s.cfg.MaxBufferedBytes)
	if err := s.take(ctx, size); err != nil {
		return fmt.Errorf("sending to %s: %w", m.Topic, err)
	}
	r := waiting{done: done, size: size, bound: m.Queue != Queue{}, movable: m.Movable}
	if err := s.queue(ctx, &m, &r); err != nil {
		if r.wave != nil {
			r.wave.leave()
		}
		s.room.Give(size)
		return fmt.Errorf("sending to %s: %w", m.Topic, err)
	}
	return nil
}

// take waits for room. What waits for queues that take nothing at present does not count against the others' room.
func (s *Sender) take(ctx context.Context, size int) error {
	for !s.room.TryTake(size) {
		limited, cancel := context.WithTimeout(ctx, stalledAfter/4)
		err := s.room.Take(limited, size)
		cancel()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		for _, l := range s.all() {
			l.stalls()
		}
	}
	return nil
}

func (s *Sender) all() []*lane {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.lanes))
}

// Stalled lists the queues that take nothing at present, with messages waiting, sorted; rest says that messages wait for
// others, too.
func (s *Sender) Stalled() (stalled []Stalled, rest bool) {
	for _, l := range s.all() {
		switch {
		case l.stalls():
			stalled = append(stalled, l.stalled())
		case l.part.Held() > 0:
			rest = true
		}
	}
	slices.SortFunc(stalled, func(a, b Stalled) int { return compareQueues(a.Queue, b.Queue) })
	return stalled, rest
}

func (s *Sender) queue(ctx context.Context, m *Message, r *waiting) error {
	l, err := s.find(ctx, m.Topic, m.Queue, r)
	if err != nil {
		return err
	}
	if !l.add(m, *r) {
		return ErrClosed
	}
	return nil
}

// find gives the lane that a message takes, and has the message join the wave. A message that is bound to no queue, or to
// one that the topic no longer has, takes one that it has.
func (s *Sender) find(ctx context.Context, topic string, q Queue, m *waiting) (*lane, error) {
	r, err := (*route)(nil), error(nil)
	if !m.bound || m.moves {
		if r, err = s.c.routes.get(ctx, s.c, topic); err != nil {
			return nil, err
		}
		if len(r.writable) == 0 {
			return nil, fmt.Errorf("no writable queue: %w", ErrTopicNotFound)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return nil, ErrClosed
	}
	if m.wave == nil {
		m.wave = s.wave
		m.wave.open.Add(1)
	}
	if r == nil {
		return s.laneOf(q), nil
	}
	t := s.topics[topic]
	if t == nil || t.route != r {
		t = &topicLanes{route: r, lanes: make([]*lane, len(r.writable))}
		for i, q := range r.writable {
			t.lanes[i] = s.laneOf(q)
		}
		s.topics[topic] = t
	}
	if m.moves && m.bound {
		return s.laneOf(instead(q, r.writable)), nil // together, in their order
	}
	return s.inTurn(t.lanes), nil
}

// inTurn takes the next lane that does not fail, or just the next if all do.
func (s *Sender) inTurn(lanes []*lane) *lane {
	first := s.turn.Add(1)
	for i := range uint64(len(lanes)) {
		if l := lanes[(first+i)%uint64(len(lanes))]; !l.fails() {
			return l
		}
	}
	return lanes[first%uint64(len(lanes))]
}

// lane gives the queue's lane.
func (s *Sender) lane(q Queue) *lane {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.laneOf(q)
}

// laneOf gives the queue's lane, and starts it if it is new. s.mu is held.
func (s *Sender) laneOf(q Queue) *lane {
	l := s.lanes[q]
	if l == nil {
		l = &lane{s: s, q: q, wake: make(chan struct{}, 1), part: s.room.Part()}
		s.lanes[q] = l
		s.group.Go(l.run)
	}
	return l
}

// Flush waits until everything that was sent before the call was answered.
func (s *Sender) Flush(ctx context.Context) error {
	s.mu.Lock()
	w := s.wave
	s.wave = newWave(w)
	s.mu.Unlock()
	w.leave() // the wave's own token: nothing joins it any more
	for ; w != nil; w = w.before() {
		select {
		case <-w.over:
		case <-ctx.Done():
			return fmt.Errorf("flushing: %w", context.Cause(ctx))
		}
	}
	return nil
}

// LastWrite is when the kernel last took bytes of a batch, zero before the first; also after Close. What it took is with
// the broker within the client's SendTimeout, or never.
func (s *Sender) LastWrite() time.Time {
	if since := s.written.Load(); since > 0 {
		return s.start.Add(time.Duration(since))
	}
	return time.Time{}
}

func (s *Sender) wrote(at time.Time) {
	since := int64(at.Sub(s.start))
	for {
		old := s.written.Load()
		if since <= old || s.written.CompareAndSwap(old, since) {
			return
		}
	}
}

// Close fails what was not answered with ErrClosed, gives up what is on its way, and waits for the lanes.
func (s *Sender) Close() error {
	s.mu.Lock()
	s.cancel(ErrClosed)
	s.mu.Unlock()
	s.c.pool.Drop(s.purpose)
	s.group.Wait()
	s.unwatch()
	s.c.gone(s)
	return nil
}

// wave is what was sent between two flushes.
type wave struct {
	open atomic.Int64 // unanswered messages, and one until the flush
	over chan struct{}
	prev atomic.Pointer[wave]
}

func newWave(prev *wave) *wave {
	w := &wave{over: make(chan struct{})}
	w.open.Store(1)
	w.prev.Store(prev)
	return w
}

func (w *wave) leave() {
	if w.open.Add(-1) == 0 {
		close(w.over)
	}
}

// before is the newest wave before this one that is not over; those that are, it forgets.
func (w *wave) before() *wave {
	for p := w.prev.Load(); p != nil; p = p.prev.Load() {
		select {
		case <-p.over:
			w.prev.Store(p.prev.Load())
		default:
			return p
		}
	}
	return nil
}
