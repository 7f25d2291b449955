package task

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"go.uber.org/goleak"

	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/rmq"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeClient is RocketMQ in memory: topics, what was sent, what can be read.
type fakeClient struct {
	mu        sync.Mutex
	queues    map[string]int
	messages  map[rmq.Queue][]rmq.Received
	low       map[rmq.Queue]int64
	committed map[rmq.Queue]int64
	sent      []rmq.Message
	// answer gives the broker's answer for a message and how long it takes; nil: stored, at once.
	answer  func(m rmq.Message) (time.Duration, error)
	readers []*fakeReader
	written time.Time // when a message was last stored
	open    int       // senders and readers that were not closed
	targets map[string]*rmq.Targets
	// stuck is what reading fails with at the record stuckAt of each queue; nil: nothing does.
	stuck   error
	stuckAt int64
	// noMaster says that the name server knows no broker.
	noMaster bool
	// refused is why a topic cannot be looked up, nor its queues be read.
	refused map[string]error
}

func newFakeClient() *fakeClient {
	return &fakeClient{
		queues:    map[string]int{},
		messages:  map[rmq.Queue][]rmq.Received{},
		low:       map[rmq.Queue]int64{},
		committed: map[rmq.Queue]int64{},
	}
}

func (c *fakeClient) produce(topic string, queue int, bodies ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	q := rmq.Queue{Topic: topic, Broker: "b", ID: queue}
	c.queues[topic] = max(c.queues[topic], queue+1)
	for _, body := range bodies {
		at := int64(len(c.messages[q]))
		c.messages[q] = append(c.messages[q], rmq.Received{Queue: q, Offset: at, NextOffset: at + 1, Body: []byte(body)})
	}
}

func (c *fakeClient) Route(_ context.Context, topic string) ([]rmq.Queue, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.noMaster {
		return nil, fmt.Errorf("looking up topic %s: %w", topic, rmq.ErrUnreachable)
	}
	if err := c.refused[topic]; err != nil {
		return nil, fmt.Errorf("looking up topic %s: %w", topic, err)
	}
	n, ok := c.queues[topic]
	if !ok {
		return nil, &rmq.BrokerError{Op: "route of topic " + topic, Addr: "n", Code: 17}
	}
	var out []rmq.Queue
	for i := range n {
		out = append(out, rmq.Queue{Topic: topic, Broker: "b", ID: i})
	}
	return out, nil
}

// forget has the name server know no such topic; its broker still has it.
func (c *fakeClient) forget(topic string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.queues, topic)
}

func (c *fakeClient) EnsureTopic(ctx context.Context, topic string, queues int) ([]rmq.Queue, error) {
	c.mu.Lock()
	if c.noMaster {
		c.mu.Unlock()
		return nil, fmt.Errorf("creating topic %s: %w", topic, rmq.ErrUnreachable)
	}
	if _, ok := c.queues[topic]; !ok {
		c.queues[topic] = queues
	}
	c.mu.Unlock()
	return c.Route(ctx, topic)
}

func (c *fakeClient) Targets(ctx context.Context, topic string) (*rmq.Targets, error) {
	queues, err := c.Route(ctx, topic)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.targets == nil {
		c.targets = map[string]*rmq.Targets{}
	}
	if t := c.targets[topic]; t == nil || len(t.Queues) != len(queues) {
		c.targets[topic] = &rmq.Targets{Queues: queues, Brokers: []string{"b"}}
	}
	return c.targets[topic], nil
}

func (c *fakeClient) EnsureGroup(context.Context, string) error { return nil }

func (c *fakeClient) Offsets(_ context.Context, q rmq.Queue) (int64, int64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.low[q], int64(len(c.messages[q])), nil
}

func (c *fakeClient) Committed(_ context.Context, _ string, q rmq.Queue) (int64, bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	offset, ok := c.committed[q]
	return offset, ok, nil
}

func (c *fakeClient) Commit(_ context.Context, _ string, offsets map[rmq.Queue]int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.Copy(c.committed, offsets)
	return nil
}

func (c *fakeClient) NewSender(gate func(context.Context) error, _ int, _ BatchFunc) Sender {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open++
	s := &fakeSender{client: c, gate: gate}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

func (c *fakeClient) NewReader(string, int, func(rmq.Queue) rmq.Trail, func(rmq.Queue, int64, int64)) Reader {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open++
	r := &fakeReader{client: c, next: map[rmq.Queue]int64{}}
	c.readers = append(c.readers, r)
	return r
}

func (c *fakeClient) sentBodies() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []string
	for _, m := range c.sent {
		out = append(out, string(m.Body))
	}
	return out
}

// fakeSender answers each message in a goroutine of its own, so in any order.
type fakeSender struct {
	client *fakeClient
	gate   func(context.Context) error
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

func (s *fakeSender) Send(ctx context.Context, m rmq.Message, done func(int64, error)) error {
	if s.ctx.Err() != nil {
		return rmq.ErrClosed
	}
	s.wg.Go(func() {
		if err := s.gate(s.ctx); err != nil {
			done(0, err)
			return
		}
		var took time.Duration
		var err error
		if s.client.answer != nil {
			took, err = s.client.answer(m)
		}
		// A deadline, not a channel's timer: the race detector crashes on one that has expired in a synctest bubble.
		answered, cancel := context.WithTimeout(s.ctx, took)
		defer cancel()
		<-answered.Done()
		if s.ctx.Err() != nil {
			err = rmq.ErrClosed
		}
		if err == nil {
			s.client.mu.Lock()
			s.client.sent = append(s.client.sent, m)
			s.client.written = time.Now()
			s.client.mu.Unlock()
		}
		done(0, err)
	})
	return nil
}

func (s *fakeSender) Flush(ctx context.Context) error {
	done := make(chan struct{})
	go func() { s.wg.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *fakeSender) Stalled() ([]rmq.Stalled, bool) { return nil, false }

func (s *fakeSender) LastWrite() time.Time {
	s.client.mu.Lock()
	defer s.client.mu.Unlock()
	return s.client.written
}

func (s *fakeSender) Close() error {
	s.cancel()
	s.wg.Wait()
	s.client.mu.Lock()
	s.client.open--
	s.client.mu.Unlock()
	return nil
}

type fakeReader struct {
	client *fakeClient
	next   map[rmq.Queue]int64
}

func (r *fakeReader) Assign(offsets map[rmq.Queue]int64) {
	r.client.mu.Lock()
	defer r.client.mu.Unlock()
	old := r.next
	r.next = maps.Clone(offsets)
	for q := range r.next {
		if at, stays := old[q]; stays {
			r.next[q] = at
		}
	}
}

func (r *fakeReader) Poll(ctx context.Context, limit int) ([]rmq.Received, error) {
	for ctx.Err() == nil {
		if batch, err := r.take(limit); len(batch) > 0 || err != nil {
			return batch, err
		}
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Millisecond):
		}
	}
	return nil, nil
}

func (r *fakeReader) take(limit int) (out []rmq.Received, err error) {
	r.client.mu.Lock()
	defer r.client.mu.Unlock()
	queues := slices.SortedFunc(maps.Keys(r.next), func(a, b rmq.Queue) int { return cmp.Compare(a.String(), b.String()) })
	for _, q := range queues {
		if err := r.client.refused[q.Topic]; err != nil {
			return nil, fmt.Errorf("reading %s: %w", q, err)
		}
		for r.next[q] < int64(len(r.client.messages[q])) && len(out) < limit {
			if r.client.stuck != nil && r.next[q] == r.client.stuckAt {
				err = r.client.stuck
				break
			}
			out = append(out, r.client.messages[q][r.next[q]])
			r.next[q]++
		}
	}
	if len(out) > 0 {
		return out, nil
	}
	return nil, err
}

func (r *fakeReader) Lag() map[rmq.Queue]int64 { return nil }

func (r *fakeReader) Close() error {
	r.client.mu.Lock()
	defer r.client.mu.Unlock()
	r.client.open--
	return nil
}

// fakeGate is open, shut or lost.
type fakeGate struct {
	mu     sync.Mutex
	shut   bool
	gone   error
	until  time.Duration // the end of the lease; 0: far away
	leases []context.CancelCauseFunc
}

func (g *fakeGate) Until() time.Duration { return cmp.Or(g.until, time.Hour) }

func (g *fakeGate) Wait(ctx context.Context, _ time.Duration) error {
	for {
		g.mu.Lock()
		shut, gone := g.shut, g.gone
		g.mu.Unlock()
		if gone != nil {
			return gone
		}
		if !shut {
			return ctx.Err()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (g *fakeGate) Context(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(parent)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.leases = append(g.leases, cancel)
	return ctx, func() { cancel(nil) }
}

// end ends the lease; lost ends the ownership as well.
func (g *fakeGate) end(lost bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut = true; lost {
		g.gone = errors.New("not owner")
	}
	for _, cancel := range g.leases {
		cancel(errors.New("lease over"))
	}
	g.leases = nil
}

// memory is the stored positions of a connector, and every write that was made.
type memory struct {
	mu     sync.Mutex
	values record.Positions
	writes []record.Positions
	fail   error
	check  func(record.Positions)
}

func newMemory() *memory { return &memory{values: record.Positions{}} }

func (m *memory) Write(ctx context.Context, changed record.Positions) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	if m.check != nil {
		m.check(changed)
	}
	if positions := own(changed); len(positions) > 0 {
		m.writes = append(m.writes, positions)
	}
	maps.Copy(m.values, changed)
	return nil
}

// positions are those of the connector.
func (m *memory) positions() record.Positions { return own(m.read()) }

func (m *memory) read() record.Positions {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.values.Clone()
}

// counting is a source that counts up in each of its partitions, from the stored position.
type counting struct {
	partitions, limit int
	pause             time.Duration
	// pollErr is what Poll says after that many records; panics makes it panic.
	failAfter int
	pollErr   error
	panics    bool
	// openErrs is what the first Opens say.
	openErrs []error

	next      map[int]int
	given     int
	committed record.Positions
	opens     int
	closes    int
	rng       *rand.Rand
}

func (c *counting) Spec() connector.Spec {
	return connector.Spec{Class: "Counting", Kind: connector.KindSource}
}
func (c *counting) Validate(connector.Config) error { return nil }
func (c *counting) NewSource() connector.Source     { return c }
func (c *counting) Close(context.Context) error     { c.closes++; return nil }
func (c *counting) Commit(_ context.Context, p record.Positions) error {
	maps.Copy(c.committed, p)
	return nil
}

func (c *counting) Tasks(_ context.Context, cfg connector.Config, _ int) ([]connector.Config, error) {
	return []connector.Config{cfg}, nil
}

func (c *counting) Open(_ context.Context, _ connector.Env, _ connector.Config, from record.Positions) error {
	c.opens++
	if c.opens <= len(c.openErrs) {
		return c.openErrs[c.opens-1]
	}
	c.rng = rand.New(rand.NewPCG(1, uint64(c.opens)))
	c.next, c.committed, c.given = map[int]int{}, record.Positions{}, 0
	for p := range c.partitions {
		c.next[p], _ = strconv.Atoi(string(from[record.SourcePartition(fmt.Sprint("p", p))]))
	}
	return nil
}

func (c *counting) Poll(ctx context.Context) ([]record.Record, error) {
	select {
	case <-ctx.Done():
		return nil, nil
	case <-time.After(c.pause):
	}
	if c.given >= c.failAfter && c.panics {
		panic("out of order")
	}
	if c.given >= c.failAfter && c.pollErr != nil {
		return nil, c.pollErr
	}
	var out []record.Record
	for p := range c.partitions {
		for range c.rng.IntN(5) {
			if c.next[p] < c.limit {
				c.next[p]++
				c.given++
				out = append(out, record.Record{Topic: "numbers", Queue: p, Value: fmt.Appendf(nil, "p%d/%d", p, c.next[p]),
					Partition: record.SourcePartition(fmt.Sprint("p", p)), Position: record.Position(strconv.Itoa(c.next[p]))})
			}
		}
	}
	return out, nil
}

// harness is one Runner over fakes.
type harness struct {
	client *fakeClient
	gate   *fakeGate
	store  *memory
	audits []string
	ended  []time.Duration // of the stop lines
	runner *Runner
	id     ID
	// waits is why the connector could not be opened; opened says that it could at last.
	waits  []error
	opened bool
	// warnings are what users were told while a task ran.
	mu       sync.Mutex
	warnings []string
}

func newHarness(t *testing.T) *harness {
	t.Helper()
	h := &harness{client: newFakeClient(), gate: &fakeGate{}, store: newMemory(),
		id: ID{Worker: "w1", Connector: "c", Tasks: 1, Generation: 7, Epoch: 3, Attempt: 1}}
	started := time.Now()
	audit := logr.New(auditSink{h})
	runner, err := New(Config{Worker: "w1", ClusterID: "cl", Now: func() time.Duration { return time.Since(started) },
		Log: logr.Discard(), Audit: audit}, h.client)
	if err != nil {
		t.Fatal(err)
	}
	h.runner = runner
	return h
}

func (h *harness) attempt(cfg connector.Config) Attempt {
	return Attempt{ID: h.id, Config: cfg, Gate: h.gate, Writer: h.store, Stored: h.store.read,
		Waiting: func(err error) { h.waits = append(h.waits, err) }, Opened: func() { h.opened = true },
		Warn: func(text string) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.warnings = append(h.warnings, text)
		},
		Scrub: func(s string) string { return s }}
}

// told is all that users were told, a line each; the last one is empty once there is nothing more.
func (h *harness) told() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Join(h.warnings, "\n")
}

// auditSink keeps the audit lines.
type auditSink struct{ h *harness }

func (auditSink) Init(logr.RuntimeInfo)            {}
func (auditSink) Enabled(int) bool                 { return true }
func (s auditSink) WithValues(...any) logr.LogSink { return s }
func (s auditSink) WithName(string) logr.LogSink   { return s }
func (auditSink) Error(error, string, ...any)      {}
func (s auditSink) Info(_ int, _ string, values ...any) {
	line := map[string]any{}
	for i := 0; i+1 < len(values); i += 2 {
		line[values[i].(string)] = values[i+1]
	}
	if ended, ok := line["ended_ns"].(int64); ok {
		s.h.ended = append(s.h.ended, time.Duration(ended))
	}
	s.h.audits = append(s.h.audits, fmt.Sprintf("%v %v/%v generation=%v epoch=%v attempt=%v", line["audit"], line["connector"],
		line["task"], line["generation"], line["epoch"], line["attempt"]))
}
