package rmqsuite

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/rmq"
)

// answers collects what a Sender's callbacks say.
type answers struct {
	mu      sync.Mutex
	offsets map[string]int64
	errs    map[string]error
	order   []string
}

func newAnswers() *answers { return &answers{offsets: map[string]int64{}, errs: map[string]error{}} }

func (a *answers) done(name string) func(int64, error) {
	return func(offset int64, err error) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.order = append(a.order, name)
		if err != nil {
			a.errs[name] = err
			return
		}
		a.offsets[name] = offset
	}
}

// flush waits for all answers; n are expected.
func (e *env) flush(s *rmq.Sender, a *answers, n int) {
	e.Helper()
	e.ok(s.Flush(e.ctx))
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.order) != n {
		e.Fatalf("%d answers, want %d", len(a.order), n)
	}
}

// readQueues reads n records of the queues by a Reader, as queue id -> bodies in order.
func (e *env) readQueues(n int, queues ...rmq.Queue) map[rmq.Queue][]string {
	e.Helper()
	r := e.reader()
	defer r.Close()
	assignment := map[rmq.Queue]int64{}
	for _, q := range queues {
		assignment[q] = 0
	}
	r.Assign(assignment)
	got := map[rmq.Queue][]string{}
	for seen := 0; seen < n; {
		records, err := r.Poll(e.ctx, 100)
		e.ok(err)
		if len(records) == 0 {
			e.Fatalf("read %d records, want %d", seen, n)
		}
		for _, m := range records {
			got[m.Queue] = append(got[m.Queue], string(m.Body))
		}
		seen += len(records)
	}
	return got
}

func senderOrder(e *env) {
	queues := e.topic(3)
	s := e.client.NewSender(rmq.SenderConfig{})
	defer s.Close()
	a := newAnswers()
	want := map[rmq.Queue][]string{}
	const n = 3000
	for i := range n {
		body := fmt.Sprintf("record %d", i)
		q := queues[i*7%len(queues)]
		want[q] = append(want[q], body)
		e.ok(s.Send(e.ctx, rmq.Message{Topic: e.name("topic"), Queue: queues[i*7%len(queues)], Body: []byte(body)}, a.done(body)))
	}
	e.flush(s, a, n)
	if len(a.errs) > 0 {
		e.Fatalf("failed: %v", a.errs)
	}
	if diff := cmp.Diff(want, e.readQueues(n, queues...)); diff != "" {
		e.Errorf("read (-want +got):\n%s", diff)
	}
	for q, bodies := range want {
		for i, body := range bodies {
			if a.offsets[body] != int64(i) {
				e.Fatalf("%s: %q stored at %d, want %d", q, body, a.offsets[body], i)
			}
		}
	}
	last := map[int]int{}
	for _, body := range a.order { // callbacks of one queue come in its order
		var i int
		if _, err := fmt.Sscanf(body, "record %d", &i); err != nil {
			e.Fatal(err)
		}
		id := i * 7 % len(queues)
		if i < last[id] {
			e.Fatalf("record %d was answered after record %d", i, last[id])
		}
		last[id] = i
	}
}

func senderChooses(e *env) {
	queues := e.topic(4)
	s := e.client.NewSender(rmq.SenderConfig{})
	defer s.Close()
	a := newAnswers()
	for i := range 40 {
		e.ok(s.Send(e.ctx, rmq.Message{Topic: e.name("topic"), Body: []byte("any")}, a.done(fmt.Sprint("any", i))))
	}
	e.flush(s, a, 40)
	for q, bodies := range e.readQueues(40, queues...) {
		if len(bodies) != 40/len(queues) {
			e.Errorf("%d of 40 messages that may go to any of %d queues lie on %s", len(bodies), len(queues), q)
		}
	}
}

func senderContents(e *env) {
	queues := e.topic(1)
	s := e.client.NewSender(rmq.SenderConfig{})
	defer s.Close()
	want := []rmq.Message{
		{Body: []byte{0}, Properties: []rmq.Property{{Name: "KEYS", Value: "a"}, {Name: "header", Value: "value with \"quotes\" and ümlauts"}}},
		{Body: []byte(strings.Repeat("x", 100_000)), Properties: []rmq.Property{{Name: "long", Value: strings.Repeat("y", 30_000)}}},
		{Body: []byte("plain"), BornAt: time.UnixMilli(1_700_000_000_123)},
	}
	a := newAnswers()
	for i, m := range want {
		m.Topic, m.Queue = e.name("topic"), queues[0]
		e.ok(s.Send(e.ctx, m, a.done(fmt.Sprint(i))))
		e.ok(s.Flush(e.ctx))
	}
	for i, m := range want { // and as one batch
		m.Topic, m.Queue = e.name("topic"), queues[0]
		e.ok(s.Send(e.ctx, m, a.done(fmt.Sprint(i, " again"))))
	}
	e.flush(s, a, 6)
	r := e.reader()
	defer r.Close()
	r.Assign(map[rmq.Queue]int64{queues[0]: 0})
	for i := 0; i < 6; {
		got, err := r.Poll(e.ctx, 2)
		e.ok(err)
		for _, m := range got {
			e.wantMessage(i, want[i%3], m)
			i++
		}
	}
}

// wantMessage compares what was read at offset i with what was sent. Only the first three were sent alone, so that
// their times of birth are kept.
func (e *env) wantMessage(i int, want rmq.Message, got rmq.Received) {
	e.Helper()
	if string(got.Body) != string(want.Body) || got.Offset != int64(i) || got.NextOffset != int64(i+1) {
		e.Errorf("record %d: offset %d, next %d, body of %d bytes", i, got.Offset, got.NextOffset, len(got.Body))
	}
	for _, p := range want.Properties {
		if v, ok := got.Property(p.Name); !ok || v != p.Value {
			e.Errorf("record %d: property %s is %q, %v", i, p.Name, v, ok)
		}
	}
	if id, ok := got.Property("UNIQ_KEY"); !ok || len(id) != 32 {
		e.Errorf("record %d has the id %q", i, id)
	}
	if i < 3 && !want.BornAt.IsZero() && !got.BornAt.Equal(want.BornAt) {
		e.Errorf("record %d born at %s", i, got.BornAt)
	}
}

func senderRefuses(e *env) {
	queues := e.topic(1)
	s := e.client.NewSender(rmq.SenderConfig{})
	defer s.Close()
	a := newAnswers()
	send := func(name string, m rmq.Message) {
		m.Topic, m.Queue = e.name("topic"), queues[0]
		e.ok(s.Send(e.ctx, m, a.done(name)))
	}
	send("first", rmq.Message{Body: []byte("1")})
	send("large body", rmq.Message{Body: make([]byte, 5<<20)})
	send("second", rmq.Message{Body: []byte("2")})
	send("huge body", rmq.Message{Body: make([]byte, 17<<20)})
	send("large properties", rmq.Message{Body: []byte("x"), Properties: []rmq.Property{{Name: "p", Value: strings.Repeat("x", 40_000)}}})
	send("bad property", rmq.Message{Body: []byte("x"), Properties: []rmq.Property{{Name: "p", Value: "a\x01b"}}})
	send("empty body", rmq.Message{})
	send("third", rmq.Message{Body: []byte("3")})
	e.flush(s, a, 8)
	want := []string{"first", "large body", "second", "huge body", "large properties", "bad property", "empty body", "third"}
	if diff := cmp.Diff(want, a.order); diff != "" {
		e.Errorf("order of answers (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]int64{"first": 0, "second": 1, "third": 2}, a.offsets); diff != "" {
		e.Errorf("offsets (-want +got):\n%s", diff)
	}
	for _, name := range []string{"large body", "huge body", "large properties"} {
		if !errors.Is(a.errs[name], rmq.ErrTooLarge) {
			e.Errorf("%s: %v", name, a.errs[name])
		}
	}
	for _, name := range []string{"bad property", "empty body"} {
		if !errors.Is(a.errs[name], rmq.ErrIllegal) {
			e.Errorf("%s: %v", name, a.errs[name])
		}
	}
}

func senderGate(e *env) {
	queues := e.topic(2)
	open, gone := make(chan struct{}), errors.New("lease is lost")
	var mu sync.Mutex
	lost := false
	s := e.client.NewSender(rmq.SenderConfig{Gate: func(ctx context.Context) error {
		select {
		case <-open:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		mu.Lock()
		defer mu.Unlock()
		if lost {
			return gone
		}
		return nil
	}})
	defer s.Close()
	a := newAnswers()
	for i := range 10 {
		e.ok(s.Send(e.ctx, rmq.Message{Topic: e.name("topic"), Queue: queues[i%2], Body: []byte("x")}, a.done(fmt.Sprint(i))))
	}
	short, cancel := context.WithTimeout(e.ctx, 30*time.Millisecond)
	defer cancel()
	if err := s.Flush(short); !errors.Is(err, context.DeadlineExceeded) {
		e.Errorf("flush while the gate is shut: %v", err)
	}
	close(open)
	e.flush(s, a, 10)
	if len(a.errs) > 0 {
		e.Errorf("failed: %v", a.errs)
	}
	mu.Lock()
	lost = true
	mu.Unlock()
	e.ok(s.Send(e.ctx, rmq.Message{Topic: e.name("topic"), Queue: queues[0], Body: []byte("x")}, a.done("late")))
	e.flush(s, a, 11)
	if !errors.Is(a.errs["late"], gone) {
		e.Errorf("after the lease: %v", a.errs["late"])
	}
}

func senderCloses(e *env) {
	queues := e.topic(2)
	s := e.client.NewSender(rmq.SenderConfig{
		Gate:             func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) },
		MaxBufferedBytes: 10_000,
	})
	a := newAnswers()
	sent := 0
	for ; ; sent++ { // until the room is full
		ctx, cancel := context.WithTimeout(e.ctx, 50*time.Millisecond)
		err := s.Send(ctx, rmq.Message{Topic: e.name("topic"), Queue: queues[sent%2], Body: make([]byte, 1000)}, a.done(fmt.Sprint(sent)))
		cancel()
		if err != nil {
			if !errors.Is(err, context.DeadlineExceeded) {
				e.Errorf("send without room: %v", err)
			}
			break
		}
	}
	if sent != 9 {
		e.Errorf("%d messages of 1,000 bytes fit in 10,000", sent)
	}
	e.ok(s.Close())
	if len(a.order) != sent {
		e.Errorf("%d answers after Close, want %d", len(a.order), sent)
	}
	for name, err := range a.errs {
		if !errors.Is(err, rmq.ErrClosed) {
			e.Errorf("message %s: %v", name, err)
		}
	}
	if err := s.Send(e.ctx, rmq.Message{Topic: e.name("topic"), Body: []byte("x")}, a.done("x")); !errors.Is(err, rmq.ErrClosed) {
		e.Errorf("send after Close: %v", err)
	}
	other := e.client.NewSender(rmq.SenderConfig{})
	defer other.Close()
	if err := other.Send(e.ctx, rmq.Message{Topic: e.name("nothing"), Body: []byte("x")}, a.done("x")); !errors.Is(err, rmq.ErrTopicNotFound) {
		e.Errorf("send to a topic that is not there: %v", err)
	}
}
