package rmqsuite

import (
	"errors"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/rmq"
)

func topicKeepsItsShape(e *env) {
	brokers, err := e.client.Brokers(e.ctx)
	e.ok(err)
	if len(brokers) == 0 {
		e.Fatal("no brokers")
	}
	var want []rmq.Queue
	for _, b := range brokers {
		for id := range 3 {
			want = append(want, rmq.Queue{Topic: e.name("topic"), Broker: b.Name, ID: id})
		}
	}
	if diff := cmp.Diff(want, e.topic(3)); diff != "" {
		e.Errorf("created (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, e.topic(5)); diff != "" {
		e.Errorf("ensured again with other numbers (-want +got):\n%s", diff)
	}
	got, err := e.client.Route(e.ctx, e.name("topic"))
	e.ok(err)
	if diff := cmp.Diff(want, got); diff != "" {
		e.Errorf("route (-want +got):\n%s", diff)
	}
}

func logTopic(e *env) {
	first, err := e.client.EnsureLogTopic(e.ctx, e.name("log"), rmq.LogPlace{})
	e.ok(err)
	again, err := e.client.EnsureLogTopic(e.ctx, e.name("log"), rmq.LogPlace{Broker: first.Broker})
	e.ok(err)
	if first != again {
		e.Errorf("found %v, created %v", again, first)
	}
	l := e.client.Log(first)
	offset, err := l.Append(e.ctx, rmq.Entry{Key: "a", Value: []byte("1")}, rmq.Entry{Key: "b", Value: []byte("2")})
	e.ok(err)
	if offset != 0 {
		e.Errorf("batch of two stored at %d", offset)
	}
	if offset, err = l.Append(e.ctx, rmq.Entry{Key: "c", Value: []byte("3")}); err != nil || offset != 2 {
		e.Errorf("single one stored at %d, %v", offset, err)
	}
	if diff := cmp.Diff([]string{"0 a=1", "1 b=2", "2 c=3"}, e.readAll(l, 0, 3)); diff != "" {
		e.Errorf("read (-want +got):\n%s", diff)
	}
}

func topicNotFound(e *env) {
	if _, err := e.client.Route(e.ctx, e.name("nothing")); !errors.Is(err, rmq.ErrTopicNotFound) {
		e.Errorf("route: %v", err)
	}
	if _, err := e.client.EnsureTopic(e.ctx, "no good/name", rmq.TopicSpec{Queues: 1}); err == nil {
		e.Error("a bad name was taken")
	}
	if _, err := e.client.EnsureTopic(
		e.ctx,
		e.name("t"),
		rmq.TopicSpec{Queues: 1, Broker: "no-such-broker"},
	); !errors.Is(
		err,
		rmq.ErrUnreachable,
	) {
		e.Errorf("unknown broker: %v", err)
	}
}

func logTopicShape(e *env) {
	e.topic(2)
	if _, err := e.client.EnsureLogTopic(e.ctx, e.name("topic"), rmq.LogPlace{}); !errors.Is(err, rmq.ErrTopicShape) {
		e.Errorf("two queues: %v", err)
	}
	q, err := e.client.EnsureLogTopic(e.ctx, e.name("log"), rmq.LogPlace{})
	e.ok(err)
	if q.ID != 0 {
		e.Errorf("queue %v", q)
	}
	if _, err := e.client.EnsureLogTopic(e.ctx, e.name("log"), rmq.LogPlace{Broker: "elsewhere"}); !errors.Is(err, rmq.ErrTopicShape) {
		e.Errorf("on another broker: %v", err)
	}
}

func groupIsCreated(e *env) {
	e.ok(e.client.EnsureGroup(e.ctx, e.name("group")))
	e.ok(e.client.EnsureGroup(e.ctx, e.name("group")))
	if err := e.client.EnsureGroup(e.ctx, ""); err == nil {
		e.Error("a group without a name was taken")
	}
}

func noMembers(e *env) {
	ids, err := e.client.Members(e.ctx, e.name("group"))
	e.ok(err)
	if len(ids) > 0 {
		e.Errorf("members %v", ids)
	}
}

func offsetsByTime(e *env) {
	l := e.log()
	q, err := e.client.EnsureLogTopic(e.ctx, e.name("log"), rmq.LogPlace{})
	e.ok(err)
	e.wantOffsets(q, 0, 0)
	_, err = l.Append(e.ctx, rmq.Entry{Value: []byte("a")})
	e.ok(err)
	for range 3 { // one batch each, later than the first by the broker's clock
		e.eventually("the clock to move on", func() bool { return e.lastStored(l).Before(time.Now().Add(-5 * time.Millisecond)) })
		_, err = l.Append(e.ctx, rmq.Entry{Value: []byte("b")})
		e.ok(err)
	}
	e.wantOffsets(q, 0, 4)
	var stored []time.Time
	_, err = l.Read(e.ctx, 0, func(en rmq.Entry) error { stored = append(stored, en.StoredAt); return nil })
	e.ok(err)
	for i, at := range stored {
		got, err := e.client.OffsetAt(e.ctx, q, at)
		e.ok(err)
		if got != int64(i) {
			e.Errorf("at the time of record %d: offset %d", i, got)
		}
	}
	got, err := e.client.OffsetAt(e.ctx, q, stored[len(stored)-1].Add(time.Hour))
	e.ok(err)
	if got != 4 {
		e.Errorf("past everything: offset %d, want the end, 4", got)
	}
}

func (e *env) lastStored(l *rmq.Log) (at time.Time) {
	e.Helper()
	_, err := l.Read(e.ctx, 0, func(en rmq.Entry) error { at = en.StoredAt; return nil })
	e.ok(err)
	return at
}

// wantOffsets waits for them: a broker may answer a send before its index has the record.
func (e *env) wantOffsets(q rmq.Queue, low, high int64) {
	e.Helper()
	e.eventually("offsets", func() bool {
		gotLow, gotHigh, err := e.client.Offsets(e.ctx, q)
		e.ok(err)
		return gotLow == low && gotHigh == high
	})
}

func commit(e *env) {
	queues := e.topic(2)
	group := e.name("group")
	e.ok(e.client.EnsureGroup(e.ctx, group))
	// A 4.9 broker cannot tell "never" from 0.
	if offset, _, err := e.client.Committed(e.ctx, group, queues[0]); err != nil || offset != 0 {
		e.Errorf("before any commit: %d, %v", offset, err)
	}
	want := map[rmq.Queue]int64{queues[0]: 7, queues[1]: 0}
	e.ok(e.client.Commit(e.ctx, group, want))
	for q, offset := range want {
		got, ok, err := e.client.Committed(e.ctx, group, q)
		if err != nil || !ok || got != offset {
			e.Errorf("committed on %v: %d, %v, %v; want %d", q, got, ok, err, offset)
		}
	}
	missing := rmq.Queue{Topic: e.name("nothing"), Broker: queues[0].Broker}
	if err := e.client.Commit(e.ctx, group, map[rmq.Queue]int64{missing: 1}); !errors.Is(err, rmq.ErrTopicNotFound) {
		e.Errorf("commit on a topic that is not there: %v", err)
	}
}
