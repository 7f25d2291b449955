package rmqsuite

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/rmq"
)

// fill puts n records "0", "1", … on each queue of the topic.
func (e *env) fill(queues []rmq.Queue, n int) {
	e.Helper()
	s := e.client.NewSender(rmq.SenderConfig{})
	defer s.Close()
	for i := range n {
		for q := range queues {
			e.ok(s.Send(e.ctx, rmq.Message{Topic: queues[0].Topic, Queue: queues[q], Body: fmt.Append(nil, i)}, func(_ int64, err error) {
				if err != nil {
					e.Errorf("sending: %v", err)
				}
			}))
		}
	}
	e.ok(s.Flush(e.ctx))
}

// drain polls n records and gives their bodies by queue id.
func (e *env) drain(r *rmq.Reader, n int) map[int][]string {
	e.Helper()
	got := map[int][]string{}
	for seen := 0; seen < n; {
		records, err := r.Poll(e.ctx, min(50, n-seen))
		e.ok(err)
		if len(records) == 0 {
			e.Fatalf("read %d records, want %d", seen, n)
		}
		for _, m := range records {
			got[m.Queue.ID] = append(got[m.Queue.ID], string(m.Body))
		}
		seen += len(records)
	}
	return got
}

func (e *env) wantIdle(r *rmq.Reader) {
	e.Helper()
	ctx, cancel := context.WithTimeout(e.ctx, 100*time.Millisecond)
	defer cancel()
	if records, err := r.Poll(ctx, 10); records != nil || err != nil {
		e.Errorf("unexpected: %d records, %v", len(records), err)
	}
}

func numbers(from, to int) (out []string) {
	for i := from; i < to; i++ {
		out = append(out, fmt.Sprint(i))
	}
	return out
}

// oneBroker makes a topic of n queues on the first broker.
func (e *env) oneBroker(n int) []rmq.Queue {
	e.Helper()
	brokers, err := e.client.Brokers(e.ctx)
	e.ok(err)
	if len(brokers) == 0 {
		e.Fatal("no brokers")
	}
	queues, err := e.client.EnsureTopic(e.ctx, e.name("topic"), rmq.TopicSpec{Queues: n, Broker: brokers[0].Name})
	e.ok(err)
	return queues
}

// reader makes a reader of the test's own group, which exists.
func (e *env) reader() *rmq.Reader {
	e.Helper()
	e.ok(e.client.EnsureGroup(e.ctx, e.name("group")))
	return e.client.NewReader(rmq.ReaderConfig{Group: e.name("group")})
}

func readerAssigns(e *env) {
	queues := e.oneBroker(3)
	e.fill(queues, 200)
	r := e.reader()
	defer r.Close()
	r.Assign(map[rmq.Queue]int64{queues[0]: 0, queues[1]: 150})
	if diff := cmp.Diff(map[int][]string{0: numbers(0, 200), 1: numbers(150, 200)}, e.drain(r, 250)); diff != "" {
		e.Errorf("first assignment (-want +got):\n%s", diff)
	}
	r.Assign(map[rmq.Queue]int64{queues[1]: 0, queues[2]: -1}) // queue 1 goes on where it is
	if diff := cmp.Diff(map[int][]string{2: numbers(0, 200)}, e.drain(r, 200)); diff != "" {
		e.Errorf("second assignment (-want +got):\n%s", diff)
	}
	e.fill(queues, 10)
	if diff := cmp.Diff(map[int][]string{1: numbers(0, 10), 2: numbers(0, 10)}, e.drain(r, 20)); diff != "" {
		e.Errorf("what came later (-want +got):\n%s", diff)
	}
	r.Assign(nil)
	e.fill(queues, 10)
	e.wantIdle(r)
}

func readerPauses(e *env) {
	queues := e.oneBroker(2)
	r := e.reader()
	defer r.Close()
	r.Assign(map[rmq.Queue]int64{queues[0]: 0, queues[1]: 0})
	r.Pause(queues[0])
	e.fill(queues, 100)
	if diff := cmp.Diff(map[int][]string{1: numbers(0, 100)}, e.drain(r, 100)); diff != "" {
		e.Errorf("while paused (-want +got):\n%s", diff)
	}
	e.wantIdle(r)
	e.eventually("the lag of both", func() bool {
		return cmp.Equal(r.Lag(), map[rmq.Queue]int64{queues[0]: 100, queues[1]: 0})
	})
	r.Resume(queues[0])
	if diff := cmp.Diff(map[int][]string{0: numbers(0, 100)}, e.drain(r, 100)); diff != "" {
		e.Errorf("after resuming (-want +got):\n%s", diff)
	}
}

func readerWaits(e *env) {
	queues := e.oneBroker(1)
	r := e.reader()
	r.Assign(map[rmq.Queue]int64{queues[0]: 0})
	e.wantIdle(r)
	e.fill(queues, 1)
	if diff := cmp.Diff(map[int][]string{0: {"0"}}, e.drain(r, 1)); diff != "" {
		e.Errorf("read (-want +got):\n%s", diff)
	}
	ended := make(chan error, 1)
	e.background(func() { _, err := r.Poll(e.ctx, 1); ended <- err })
	begun := time.Now()
	e.ok(r.Close())
	if err := <-ended; !errors.Is(err, rmq.ErrClosed) {
		e.Errorf("poll of a closed reader: %v", err)
	}
	if took := time.Since(begun); took > 5*time.Second { // a long poll lasts 15 s
		e.Errorf("closing took %s", took)
	}
}

func readerLooksAgain(e *env) {
	queues := e.oneBroker(1)
	e.fill(queues, 5)
	e.ok(e.client.EnsureGroup(e.ctx, e.name("group")))
	var gaps []int64
	r := e.client.NewReader(
		rmq.ReaderConfig{Group: e.name("group"), OnGap: func(_ rmq.Queue, from, to int64) { gaps = append(gaps, from, to) }},
	)
	defer r.Close()
	r.Assign(map[rmq.Queue]int64{queues[0]: 70}) // the topic was recreated since the offset was stored
	if diff := cmp.Diff(map[int][]string{0: numbers(0, 5)}, e.drain(r, 5)); diff != "" {
		e.Errorf("read (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]int64{70, 0}, gaps); diff != "" {
		e.Errorf("gaps (-want +got):\n%s", diff)
	}
}
