package kafka

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/connector/connectortest"
	"github.com/rocketmq-connect/operator/worker/record"
)

func sinkRecord(queue int, key, value string) record.Record {
	r := record.Record{Topic: "orders", Queue: queue, Value: []byte(value)}
	if key != "" {
		r.Key = []byte(key)
	}
	return r
}

// The client as it comes would go on delivering after the context's end: it keeps what it has sent once. Flushing what
// is left in it gives it every chance to.
func TestSinkLetsGoWhenItsContextEnds(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(3, "orders"))
	s := openSink(t, f.sinkConfig("orders"), connectortest.NewWorker(map[string]int{"orders": 3}).Env(0, 1))
	taken, release := f.stall(t)
	ctx, cancel := context.WithCancelCause(limited(t))
	over := errors.New("the lease is over")
	put := make(chan error)
	go func() {
		var batch []record.Record
		for i := range 3000 {
			batch = append(batch, sinkRecord(i, "", strings.Repeat("x", 1000)))
		}
		put <- s.Put(ctx, batch)
	}()
	<-taken
	cancel(over)
	if err := <-put; !errors.Is(err, over) {
		t.Errorf("Put when its context ends: %v", err)
	}
	if _, err := s.conns.Dial(limited(t), "tcp", f.addr); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the client may still connect: %v", err)
	}
	release()
	if err := s.client.Flush(limited(t)); err != nil {
		t.Errorf("the client still holds records: %v", err)
	}
	if got := f.read(t, "orders", 0); len(got) != 0 {
		t.Errorf("%d records were delivered after the context's end", len(got))
	}
	if err := s.Put(limited(t), []record.Record{sinkRecord(0, "", "later")}); !errors.Is(err, errCutOff) {
		t.Errorf("Put after the cut: %v", err)
	}
}

// elapsed is a lease that is over by the clock before anything has ended its context, as in a process that was frozen.
type elapsed struct {
	context.Context
	over atomic.Bool
}

func (e *elapsed) Err() error {
	if e.over.Load() {
		return context.Canceled
	}
	return e.Context.Err()
}

func TestSinkWritesNothingAfterItsLeaseByTheClock(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, "orders"))
	s := openSink(t, f.sinkConfig("orders"), connectortest.NewWorker(map[string]int{"orders": 1}).Env(0, 1))
	lease := &elapsed{Context: limited(t)}
	if !s.LastWrite().IsZero() {
		t.Errorf("before the first put it says that it wrote at %s", s.LastWrite())
	}
	before := time.Now()
	if err := s.Put(lease, []record.Record{sinkRecord(0, "", "in time")}); err != nil {
		t.Fatal(err)
	}
	wrote := s.LastWrite()
	if wrote.Before(before) || wrote.After(time.Now()) {
		t.Errorf("it says that it wrote at %s, the put began at %s", wrote, before)
	}
	s.set.deliveryTimeout = 300 * time.Millisecond
	lease.Context = gated{limited(t), lease}
	if err := s.Put(lease, []record.Record{sinkRecord(0, "", "too late")}); err == nil {
		t.Error("a put under a lease that is over succeeds")
	}
	if s.LastWrite() != wrote {
		t.Error("records were written after the lease")
	}
	if got := f.read(t, "orders", 0); len(got) != 1 {
		t.Errorf("%d records were delivered, want the one that was in time", len(got))
	}
}

// gated lets a put begin and has the lease end right after that.
type gated struct {
	context.Context
	lease *elapsed
}

func (g gated) Err() error {
	g.lease.over.Store(true)
	return g.Context.Err()
}

func TestSinkWritesWhatKafkaClientsExpect(t *testing.T) {
	f := newFake(t)
	w := connectortest.NewWorker(map[string]int{"orders": 4})
	s := openSink(t, f.sinkConfig("orders"), w.Env(0, 1))
	at := time.UnixMilli(1_700_000_000_123)
	in := []record.Record{
		{
			Topic:     "orders",
			Queue:     0,
			Key:       []byte("key"),
			Value:     []byte("v"),
			Timestamp: at,
			Headers:   []record.Header{{Name: "a", Value: []byte("1")}, {Name: "a"}, {Name: "b", Value: []byte{}}},
		},
		{Topic: "orders", Queue: 2, Value: []byte("no key"), Headers: []record.Header{{Name: "c", Value: []byte("2")}}},
		{Topic: "orders", Queue: 7, Value: []byte("queue 7 of 4 partitions")},
		{Topic: "orders", Queue: 1, Key: []byte{}, Value: []byte{}},
		{Topic: "orders", Queue: 1, Key: []byte("gone")},
	}
	path := record.Path("").In(record.PlaceOf("connect:x", "orders")).In(s.Place("copy.of.orders"))
	for i := range in { // as a worker with topic.rename.format=copy.of.${topic} hands them over
		in[i].Topic, in[i].Partition, in[i].Path = "copy.of.orders", "orders/broker-a/0", path
	}
	if err := s.Put(limited(t), in); err != nil {
		t.Fatal(err)
	}
	type seen struct {
		Partition    int32
		Key, Value   []byte
		HasTimestamp bool
		Headers      []kgo.RecordHeader
	}
	origin := kgo.RecordHeader{Key: "connect-path", Value: []byte(path)}
	got := map[string]seen{}
	for _, r := range f.read(t, "copy.of.orders", len(in)) {
		got[string(r.Key)+"/"+string(r.Value)] = seen{r.Partition, r.Key, r.Value, r.Timestamp.Equal(at), r.Headers}
	}
	want := map[string]seen{
		// What the producers of Kafka itself choose.
		"key/v": {
			partitionOf(t, "key"),
			[]byte("key"),
			[]byte("v"),
			true,
			[]kgo.RecordHeader{{Key: "a", Value: []byte("1")}, {Key: "a"}, {Key: "b", Value: []byte{}}, origin},
		},
		"/no key":                  {2, nil, []byte("no key"), false, []kgo.RecordHeader{{Key: "c", Value: []byte("2")}, origin}},
		"/queue 7 of 4 partitions": {3, nil, []byte("queue 7 of 4 partitions"), false, []kgo.RecordHeader{origin}},
		"/":                        {partitionOf(t, ""), []byte{}, []byte{}, false, []kgo.RecordHeader{origin}},
		"gone/":                    {partitionOf(t, "gone"), []byte("gone"), nil, false, []kgo.RecordHeader{origin}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if n := len(f.PartitionInfos("copy.of.orders")); n != 4 {
		t.Errorf("the topic was made with %d partitions, not one for each queue", n)
	}
}

// partitionOf is Kafka's murmur2 over 4 partitions, written down from its Utils.java.
func partitionOf(t *testing.T, key string) int32 {
	t.Helper()
	const m = 0x5bd1e995
	data := []byte(key)
	h := uint32(0x9747b28c) ^ uint32(len(data))
	for ; len(data) >= 4; data = data[4:] {
		k := uint32(data[0]) | uint32(data[1])<<8 | uint32(data[2])<<16 | uint32(data[3])<<24
		k *= m
		k ^= k >> 24
		k *= m
		h = h*m ^ k
	}
	for i := len(data) - 1; i >= 0; i-- {
		h ^= uint32(data[i]) << (8 * i)
	}
	if len(data) > 0 {
		h *= m
	}
	h ^= h >> 13
	h *= m
	h ^= h >> 15
	return int32(h&0x7fffffff) % 4
}

func TestSinkSinglesOutWhatTheBrokerRefuses(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, "orders"))
	s := openSink(t, f.sinkConfig("orders"), connectortest.NewWorker(map[string]int{"orders": 1}).Env(0, 1))
	f.Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.InvalidRecord, Count: -1,
		When: func(req kmsg.Request) bool {
			for _, topic := range req.(*kmsg.ProduceRequest).Topics {
				for _, p := range topic.Partitions {
					if strings.Contains(string(p.Records), "cursed") {
						return true
					}
				}
			}
			return false
		},
	})
	batch := []record.Record{sinkRecord(0, "", "a"), sinkRecord(0, "", "b"), sinkRecord(0, "", "cursed"), sinkRecord(0, "", "c")}
	var poison *connector.PoisonError
	if err := s.Put(limited(t), batch); !errors.As(err, &poison) || poison.Index != 2 || !errors.Is(err, kerr.InvalidRecord) {
		t.Fatalf("Put: %v", err)
	}
	if err := s.Put(limited(t), batch[3:]); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range f.read(t, "orders", 3) {
		got = append(got, string(r.Value))
	}
	if diff := cmp.Diff([]string{"a", "b", "c"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSinkGoesByTheTopicsOwnLimit(t *testing.T) {
	f := newFake(t)
	if err := f.CreateTopic("orders", 1, map[string]string{"max.message.bytes": "5000"}); err != nil {
		t.Fatal(err)
	}
	s := openSink(t, f.sinkConfig("orders"), connectortest.NewWorker(map[string]int{"orders": 1}).Env(0, 1))
	var batch []record.Record
	for range 20 {
		batch = append(batch, sinkRecord(0, "", strings.Repeat("x", 2000)))
	}
	if err := s.Put(limited(t), batch); err != nil {
		t.Errorf("records that fit, but not all in one batch: %v", err)
	}
	var poison *connector.PoisonError
	batch[1] = sinkRecord(0, "", strings.Repeat("x", 6000))
	if err := s.Put(limited(t), batch); !errors.As(err, &poison) || poison.Index != 1 || !strings.Contains(err.Error(), "max.message.bytes") {
		t.Errorf("a record above the topic's limit: %v", err)
	}
	f.read(t, "orders", 21)
}

// describing has Kafka fail to tell a topic's settings.
func describing(err *kerr.Error, count int) kfake.Fault {
	return kfake.Fault{Keys: []kmsg.Key{kmsg.DescribeConfigs}, Err: err, Count: count}
}

func TestSinkDeliversWhatTheTopicTakesThoughItsLimitIsNotTold(t *testing.T) {
	cases := map[string]struct {
		fault    kfake.Fault
		wantText string // of the refusal of what the topic does not take
	}{
		"it is told":                      {wantText: "takes 3000000 (its max.message.bytes)"},
		"Kafka comes to know the topic":   {describing(kerr.UnknownTopicOrPartition, 2), "takes 3000000 (its max.message.bytes)"},
		"the user lacks the right to ask": {describing(kerr.TopicAuthorizationFailed, -1), kerr.MessageTooLarge.Message},
		"Kafka never tells":               {describing(kerr.UnknownServerError, -1), kerr.MessageTooLarge.Message},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			if err := f.CreateTopic("orders", 2, map[string]string{"max.message.bytes": "3000000"}); err != nil {
				t.Fatal(err)
			}
			if tc.fault.Keys != nil {
				f.Fault(tc.fault)
			}
			s := openSink(t, f.sinkConfig("orders"), connectortest.NewWorker(map[string]int{"orders": 2}).Env(0, 1))
			var batch []record.Record
			for i, size := range []int{700_000, 600_000, 2 << 20, 700_000, 4 << 20, 600_000, 500} {
				batch = append(batch, sinkRecord(i%2, "", strings.Repeat(string(rune('a'+i)), size)))
			}
			var poison *connector.PoisonError
			if err := s.Put(limited(t), batch); !errors.As(err, &poison) || poison.Index != 4 || !strings.Contains(err.Error(), tc.wantText) {
				t.Fatalf("Put: %.300v", err)
			}
			if err := s.Put(limited(t), batch[5:]); err != nil {
				t.Fatalf("Put of the rest: %.300v", err)
			}
			got := map[string]int{}
			for _, r := range f.read(t, "orders", 6) {
				got[string(r.Value[:1])]++
			}
			if diff := cmp.Diff(map[string]int{"a": 1, "b": 1, "c": 1, "d": 1, "f": 1, "g": 1}, got); diff != "" {
				t.Errorf("how often each came (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSinkAsksAgainForALimitThatItDidNotGet(t *testing.T) {
	f := newFake(t)
	if err := f.CreateTopic("orders", 1, map[string]string{"max.message.bytes": "3000000"}); err != nil {
		t.Fatal(err)
	}
	s := openSink(t, f.sinkConfig("orders"), connectortest.NewWorker(map[string]int{"orders": 1}).Env(0, 1))
	batch := []record.Record{sinkRecord(0, "", strings.Repeat("x", 2<<20))}
	unready := f.Fault(describing(kerr.UnknownTopicOrPartition, -1))
	if err := s.Put(limited(t), batch); !errors.Is(err, connector.ErrNotConnected) {
		t.Errorf("while Kafka does not know the topic's settings: %v", err)
	}
	unready.Remove()
	ctx, cancel := context.WithCancel(limited(t))
	ended := describing(kerr.UnknownTopicOrPartition, 1)
	ended.When = func(kmsg.Request) bool { cancel(); return true }
	f.Fault(ended)
	if err := s.Put(ctx, batch); !errors.Is(err, context.Canceled) {
		t.Errorf("when the put's context ends: %v", err)
	}
	if err := s.Put(limited(t), batch); err != nil {
		t.Errorf("once Kafka tells: %v", err)
	}
}

func TestSinkTellsHowItFailed(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, "orders"))
	cases := map[string]struct {
		fault kfake.Fault
		want  error
		text  string
	}{
		"no right to write": {
			kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.TopicAuthorizationFailed},
			kerr.TopicAuthorizationFailed,
			"lacks the right",
		},
		"never acknowledged": {
			kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicas, Count: -1},
			connector.ErrNotConnected,
			keyDeliveryTimeout,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			handle := f.Fault(tc.fault)
			defer handle.Remove()
			s := openSink(t, f.sinkConfig("orders", keyDeliveryTimeout, "300ms"), connectortest.NewWorker(map[string]int{"orders": 1}).Env(0, 1))
			err := s.Put(limited(t), []record.Record{sinkRecord(0, "", "v")})
			if !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("Put: %v", err)
			}
			if err := s.Flush(limited(t)); !errors.Is(err, errCutOff) {
				t.Errorf("Flush after a lost batch: %v", err)
			}
		})
	}
}
