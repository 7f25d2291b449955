package rmq

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rocketmq-connect/operator/worker/rmq/encode"
	"github.com/rocketmq-connect/operator/worker/rmq/lane"
	"github.com/rocketmq-connect/operator/worker/rmq/redistribute"
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
	// Gate is asked before each attempt at a batch: it blocks while sending is not allowed (no lease), and returns an
	// error when it never will be again; what is left then fails with that error. nil: always open. Once it lets a batch
	// start, the attempt is over within the client's SendTimeout, unless it then says at once that as much time again is
	// allowed.
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

// Sender sends messages over one lane per queue: one batch in flight, and a batch is what gathered meanwhile. It is
// safe for concurrent use; messages of one goroutine to one queue keep their order. What lanes report comes to its
// outlets.
type Sender struct {
	c       *Client
	cfg     SenderConfig
	purpose string
	ctx     context.Context // ends with Close, cause ErrClosed
	cancel  context.CancelCauseFunc
	start   time.Time
	room    *room.Room
	turn    atomic.Uint64
	terms   lane.Terms
	written atomic.Int64 // when bytes were last written, since start; 0: never
	unwatch func()

	mu      sync.Mutex // see outlet for the order of locks
	topics  map[string]*topicOutlets
	outlets map[Queue]*outlet
	wave    *lane.Wave
	group   service.Group
}

// topicOutlets are those of the queues that a topic can be written to, in the order of its route.
type topicOutlets struct {
	route   *route
	outlets []*outlet
}

// NewSender makes a sender. Close it.
func (c *Client) NewSender(cfg SenderConfig) *Sender {
	cfg.setDefaults()
	s := &Sender{
		c: c, cfg: cfg, start: time.Now(), purpose: "send-" + strconv.FormatInt(c.users.Add(1), 10),
		room:   room.New(cfg.MaxBufferedBytes),
		terms:  lane.Terms{MaxRecords: cfg.MaxBatchRecords, MaxBytes: cfg.MaxBatchBytes, IDs: &c.ids},
		topics: map[string]*topicOutlets{}, outlets: map[Queue]*outlet{}, wave: lane.NewWave(nil),
	}
	s.ctx, s.cancel = context.WithCancelCause(c.ctx)
	s.unwatch = c.watched()
	if !c.opened(s) {
		s.cancel(ErrClosed)
	}
	return s
}

// Targets is where a topic can be written to, as a name server showed it. It does not change; another look gives
// another.
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

// Instead is the queue that takes the place of one that is gone: what is sent and what waits in its lane go to the
// same. It is the zero Queue if the topic can be written to nowhere.
func (t *Targets) Instead(q Queue) Queue {
	if len(t.Queues) == 0 {
		return Queue{}
	}
	return t.Queues[redistribute.Instead(q.Broker, q.ID, len(t.Queues))]
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
// If Send returns nil, done is called exactly once, in the order of the messages of one queue, from a goroutine that
// must not be held up: with the stored offset; or with an error that retrying would not cure (ErrTooLarge,
// ErrIllegal, ErrAccessDenied, the gate's, ErrTopicNotFound); or with ErrClosed. Temporary errors are retried for ever.
// A message that failed with ErrClosed, or was retried, may have been stored nevertheless, even twice.
func (s *Sender) Send(ctx context.Context, m Message, done func(offset int64, err error)) error {
	if m.Queue != (Queue{}) && s.outlet(m.Queue).lane.Stands() {
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
	r := lane.Record{Done: done, Size: size, Bound: m.Queue != Queue{}, Movable: m.Movable}
	if err := s.queue(ctx, &m, &r); err != nil {
		if r.Wave != nil {
			r.Wave.Leave()
		}
		s.room.Give(size)
		return fmt.Errorf("sending to %s: %w", m.Topic, err)
	}
	return nil
}

// take waits for room. What waits for queues that take nothing at present does not count against the others' room.
func (s *Sender) take(ctx context.Context, size int) error {
	for !s.room.TryTake(size) {
		limited, cancel := context.WithTimeout(ctx, lane.StalledAfter/4)
		err := s.room.Take(limited, size)
		cancel()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		for _, o := range s.all() {
			o.lane.Stands()
		}
	}
	return nil
}

func (s *Sender) all() []*outlet {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.outlets))
}

// Stalled is a queue that takes nothing at present.
type Stalled struct {
	Queue Queue
	Since time.Time
	// Err is what the newest try failed with; nil before the first has ended, and while the gate is shut.
	Err error
}

// Stalled lists the queues that take nothing at present, with messages waiting, sorted; rest says that messages wait
// for others, too.
func (s *Sender) Stalled() (stalled []Stalled, rest bool) {
	for _, o := range s.all() {
		switch {
		case o.lane.Stands():
			since, err := o.lane.Trying()
			stalled = append(stalled, Stalled{Queue: o.q, Since: since, Err: err})
		case o.part.Held() > 0:
			rest = true
		}
	}
	slices.SortFunc(stalled, func(a, b Stalled) int { return compareQueues(a.Queue, b.Queue) })
	return stalled, rest
}

func (s *Sender) queue(ctx context.Context, m *Message, r *lane.Record) error {
	o, err := s.find(ctx, m, r)
	if err != nil {
		return err
	}
	if !o.lane.Add(*r, m.Properties, m.Body, m.BornAt) {
		return ErrClosed
	}
	return nil
}

// find gives the outlet that a message takes, and has its record join the wave. A message that is bound to no queue
// takes one that the topic has.
func (s *Sender) find(ctx context.Context, m *Message, r *lane.Record) (*outlet, error) {
	var shown *route
	if !r.Bound {
		var err error
		if shown, err = s.c.routes.get(ctx, s.c, m.Topic); err != nil {
			return nil, err
		}
		if len(shown.writable) == 0 {
			return nil, fmt.Errorf("no writable queue: %w", ErrTopicNotFound)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return nil, ErrClosed
	}
	r.Wave = s.wave
	r.Wave.Join()
	if r.Bound {
		return s.open(m.Queue), nil
	}
	outlets := s.shown(m.Topic, shown)
	at := redistribute.InTurn(s.turn.Add(1), len(outlets), func(i int) bool { return outlets[i].fails() })
	return outlets[at], nil
}

// outletsOf gives those of the queues of a route that can be written to, in their order; none once the sender is
// closed.
func (s *Sender) outletsOf(topic string, r *route) []*outlet {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return nil
	}
	return s.shown(topic, r)
}

// shown is outletsOf. s.mu is held.
func (s *Sender) shown(topic string, r *route) []*outlet {
	t := s.topics[topic]
	if t == nil || t.route != r {
		t = &topicOutlets{route: r, outlets: make([]*outlet, len(r.writable))}
		for i, q := range r.writable {
			t.outlets[i] = s.open(q)
		}
		s.topics[topic] = t
	}
	return t.outlets
}

// otherWorks says whether messages that may go anywhere have a queue that does not fail, besides one.
func (s *Sender) otherWorks(than *outlet) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.topics[than.q.Topic]
	return t != nil && slices.ContainsFunc(t.outlets, func(o *outlet) bool { return o != than && !o.fails() })
}

// outlet gives the queue's outlet.
func (s *Sender) outlet(q Queue) *outlet {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open(q)
}

// open gives the queue's outlet, and starts its lane if it is new. s.mu is held.
func (s *Sender) open(q Queue) *outlet {
	o := s.outlets[q]
	if o == nil {
		o = &outlet{s: s, q: q, part: s.room.Part()}
		o.lane = lane.New(lane.Config{
			Connection: &connection{c: s.c, q: q, purpose: s.purpose, gate: s.cfg.Gate, onBatch: s.cfg.OnBatch, wrote: s.wrote},
			Owner:      o, Terms: &s.terms, Part: o.part, Log: s.c.log.WithValues("topic", q.Topic, "queue", q.String()),
		})
		s.outlets[q] = o
		s.group.Go(func() { o.lane.Run(s.ctx) })
	}
	return o
}

// Flush waits until everything that was sent before the call was answered.
func (s *Sender) Flush(ctx context.Context) error {
	s.mu.Lock()
	w := s.wave
	s.wave = lane.NewWave(w)
	s.mu.Unlock()
	w.End()
	for ; w != nil; w = w.Before() {
		select {
		case <-w.Over():
		case <-ctx.Done():
			return fmt.Errorf("flushing: %w", context.Cause(ctx))
		}
	}
	return nil
}

// LastWrite is when the kernel last took bytes of a batch, zero before the first; also after Close. What it took is
// with the broker within the client's SendTimeout, or never.
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
