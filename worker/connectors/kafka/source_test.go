package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/connector/connectortest"
	"github.com/rocketmq-connect/operator/worker/connectors/kafka/resume"
	"github.com/rocketmq-connect/operator/worker/record"
)

func TestSourceKeepsWhatARecordHolds(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(2, "shop.orders"))
	at := time.UnixMilli(1_700_000_000_123)
	f.produce(
		t,
		&kgo.Record{
			Topic:     "shop.orders",
			Partition: 1,
			Key:       []byte{0, 0xff},
			Value:     []byte("v"),
			Timestamp: at,
			Headers:   []kgo.RecordHeader{{Key: "a", Value: []byte("1")}, {Key: "a"}, {Key: "b", Value: []byte{}}},
		},
		&kgo.Record{Topic: "shop.orders", Partition: 1, Key: []byte{}, Value: []byte{}, Timestamp: at},
		&kgo.Record{Topic: "shop.orders", Partition: 1, Timestamp: at},
	)
	w := connectortest.NewWorker(nil)
	s := openSource(t, f.sourceConfig("shop.orders"), w.Env(0, 1), nil)
	got := poll(t, s, 3)
	base := record.Record{Topic: "shop.orders", Path: record.Path(s.place("shop.orders")), Queue: 1, Timestamp: at, Partition: "shop.orders/1"}
	want := []record.Record{base, base, base}
	want[0].Key, want[0].Value, want[0].Position = []byte{0, 0xff}, []byte("v"), f.at("shop.orders", 1)
	want[0].Headers = []record.Header{{Name: "a", Value: []byte("1")}, {Name: "a"}, {Name: "b", Value: []byte{}}}
	want[1].Key, want[1].Value, want[1].Position = []byte{}, []byte{}, f.at("shop.orders", 2)
	want[2].Position = f.at("shop.orders", 3)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]int{"shop.orders": 2}, w.Topics()); diff != "" {
		t.Errorf("RocketMQ topics (-want +got):\n%s", diff)
	}
}

func TestSourceLeavesTheQueueToTheKey(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, "orders"))
	f.produceValues(t, "orders", 0, "v")
	s := openSource(t, f.sourceConfig("orders", keyQueueSelector, selectKey), connectortest.NewWorker(nil).Env(0, 1), nil)
	if got := poll(t, s, 1); got[0].Queue != record.QueueAny {
		t.Errorf("queue %d", got[0].Queue)
	}
}

func TestSourcePicksUpNewPartitions(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, "orders"))
	w := connectortest.NewWorker(nil)
	first := openSource(t, f.sourceConfig("orders"), w.Env(0, 2), nil)
	second := openSource(t, f.sourceConfig("orders"), w.Env(1, 2), nil)
	f.produceValues(t, "orders", 0, "old")
	poll(t, first, 1)
	if _, err := kadm.NewClient(f.client).CreatePartitions(limited(t), 2, "orders"); err != nil {
		t.Fatal(err)
	}
	f.client.ForceMetadataRefresh()
	f.client.PurgeTopicsFromProducing("orders")
	f.produceValues(t, "orders", 1, "new 1", "new 2")
	f.produceValues(t, "orders", 2, "new 3")
	if diff := cmp.Diff([]string{"new 1", "new 2"}, values(poll(t, second, 2))); diff != "" {
		t.Errorf("task 1 (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"new 3"}, values(poll(t, first, 1))); diff != "" {
		t.Errorf("task 0 (-want +got):\n%s", diff)
	}
}

// pollUntilItRests polls a source that has nothing to read until it has released its client.
func pollUntilItRests(t *testing.T, s *Source) {
	t.Helper()
	ctx := limited(t)
	for s.client != nil {
		short, cancel := context.WithTimeout(ctx, s.quiet)
		if records, err := s.Poll(short); err != nil || len(records) > 0 || ctx.Err() != nil {
			t.Fatalf("%d records, %v, %v", len(records), err, ctx.Err())
		}
		cancel()
	}
}

func TestSourceRestsWhileThereIsNothingToRead(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(2, "orders"))
	c := NewSourceConnector()
	s, other := c.NewSource().(*Source), c.NewSource().(*Source)
	for _, each := range []*Source{s, other} {
		each.quiet = 50 * time.Millisecond
		t.Cleanup(func() {
			if err := each.Close(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	w := connectortest.NewWorker(nil)
	for i, each := range []*Source{s, other} {
		if err := each.Open(limited(t), w.Env(i, 2), f.sourceConfig("orders"), nil); err != nil {
			t.Fatal(err)
		}
	}
	if s.hub != other.hub || s.client != nil {
		t.Error("tasks do not share a client while they rest")
	}
	for i := range 3 {
		want := []string{fmt.Sprint(i, " a"), fmt.Sprint(i, " b")}
		f.produceValues(t, "orders", 0, want...)
		if diff := cmp.Diff(want, values(poll(t, s, 2))); diff != "" {
			t.Errorf("round %d (-want +got):\n%s", i, diff)
		}
		pollUntilItRests(t, s)
	}
	f.produceValues(t, "orders", 1, "other")
	if diff := cmp.Diff([]string{"other"}, values(poll(t, other, 1))); diff != "" {
		t.Errorf("the other task (-want +got):\n%s", diff)
	}
}

func TestSourceReportsThatMarksWereRead(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, "orders"))
	writer, err := kgo.NewClient(kgo.SeedBrokers(f.addr), kgo.TransactionalID("tx"), kgo.DisableClientMetrics())
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	if err := writer.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := writer.ProduceSync(limited(t), &kgo.Record{Topic: "orders", Value: []byte("v")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if err := writer.EndTransaction(limited(t), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	s := &Source{quiet: 50 * time.Millisecond}
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if err := s.Open(limited(t), connectortest.NewWorker(nil).Env(0, 1), f.sourceConfig("orders"), nil); err != nil {
		t.Fatal(err)
	}
	if got := poll(t, s, 1); got[0].Position != f.at("orders", 1) {
		t.Errorf("position %s", got[0].Position)
	}
	pollUntilItRests(t, s)
	passed := record.Positions{}
	for ctx := limited(t); passed["orders/0"] != "2" && ctx.Err() == nil; {
		short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		if records, err := s.Poll(short); err != nil || len(records) > 0 {
			t.Fatalf("%d records: %v", len(records), err)
		}
		cancel()
		maps.Copy(passed, bare(s.Progressed()))
	}
	if diff := cmp.Diff(record.Positions{"orders/0": "2"}, passed); diff != "" {
		t.Errorf("the mark after the record (-want +got):\n%s", diff)
	}
	if s.client != nil {
		t.Error("a mark made the source connect")
	}
}

func TestSourceDealsSeveralTopics(t *testing.T) {
	s := &Source{env: connector.Env{Tasks: 3}, set: sourceSettings{topics: []string{"a", "b", "c"}}}
	got := map[string]int{}
	for s.env.Task = range 3 {
		for _, topic := range s.set.topics {
			for p := range 2 {
				if s.mine(topic, p) {
					got[string(resume.Partition(topic, int32(p)))] = s.env.Task
				}
			}
		}
	}
	want := map[string]int{"a/0": 0, "a/1": 1, "b/0": 1, "b/1": 2, "c/0": 2, "c/1": 0}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("task per partition (-want +got):\n%s", diff)
	}
}

func own(value string) *kgo.Record {
	return &kgo.Record{
		Topic:   "orders",
		Value:   []byte(value),
		Headers: []kgo.RecordHeader{{Key: headerOrigin, Value: []byte("other")}, {Key: headerOrigin, Value: []byte(connectortest.ClusterID)}},
	}
}

func TestSourceSkipsWhatOlderSinksOfItsClusterWrote(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, "orders"))
	f.produce(t, own("loop 0"))
	f.produceValues(t, "orders", 0, "mine 1")
	f.produce(t, own("loop 2"), own("loop 3"))
	w := connectortest.NewWorker(nil)
	s := openSource(t, f.sourceConfig("orders"), w.Env(0, 1), nil)
	got, progress := poll(t, s, 1), record.Positions{}
	for ctx := limited(t); progress["orders/0"] != "4"; {
		for partition, position := range bare(s.Progressed()) {
			progress[partition] = position
		}
		if progress["orders/0"] != "4" {
			more, err := s.Poll(ctx)
			if err != nil || ctx.Err() != nil {
				t.Fatal(err, ctx.Err())
			}
			got = append(got, more...)
		}
	}
	if diff := cmp.Diff([]string{"mine 1"}, values(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if n := w.Skipped()[skipLoop]; n != 3 {
		t.Errorf("%d records counted as skipped", n)
	}
	if s.Progressed() != nil {
		t.Error("progress is reported twice")
	}
}

func TestSourceTakesThePathOfARecord(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, "orders"))
	s := openSource(t, f.sourceConfig("orders"), connectortest.NewWorker(nil).Env(0, 1), nil)
	from, here := record.PlaceOf("connect:x", "orders"), s.place("orders")
	other := kgo.RecordHeader{Key: "a", Value: []byte("1")}
	carried := func(path string) []kgo.RecordHeader {
		return []kgo.RecordHeader{{Key: headerOrigin, Value: []byte(connectortest.ClusterID)}, {Key: "connect-path", Value: []byte(path)}, other}
	}
	f.produce(t,
		&kgo.Record{Topic: "orders", Headers: []kgo.RecordHeader{other}},
		&kgo.Record{Topic: "orders", Headers: carried(string(from))},
		&kgo.Record{Topic: "orders", Headers: carried(string(record.Path("").In(from).In(here)))})
	var got []record.Path
	for _, r := range poll(t, s, 3) {
		got = append(got, r.Path)
		if r.Headers[len(r.Headers)-1].Name != "a" || len(r.Headers) > 2 {
			t.Errorf("headers %v", r.Headers)
		}
	}
	if diff := cmp.Diff(
		[]record.Path{record.Path(here), record.Path("").In(from).In(here), record.Path("").In(from).In(here)},
		got,
	); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if again := openSink(t, f.sinkConfig("orders"), connectortest.NewWorker(nil).Env(0, 1)).Place("orders"); again != here {
		t.Errorf("a sink names the topic %s, a source %s", again, here)
	}
}

func TestSourceTellsWhatIsWrong(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, "orders"))
	cases := map[string]struct {
		cfg  connector.Config
		from record.Positions
		want []string
	}{
		"a topic that does not exist": {cfg: f.sourceConfig("ordres"), want: []string{`topic "ordres" does not exist`, f.addr, keyTopics}},
		"a position that is no offset": {
			cfg:  f.sourceConfig("orders"),
			from: record.Positions{"orders/0": "x"},
			want: []string{"orders/0", "reset"},
		},
		"a count that is no number": {
			cfg:  f.sourceConfig("orders"),
			from: record.Positions{"orders/0/begun": "x"},
			want: []string{"orders/0/begun", "reset"},
		},
		"nobody listens": {
			cfg:  f.sourceConfig("orders", keyBootstrap, nobody),
			want: []string{"not connected", nobody, keyBootstrap},
		},
		"a CA file that does not exist": {
			cfg:  f.sourceConfig("orders", keyProtocol, "SSL", keyCALocation, "/does/not/exist"),
			want: []string{keyCALocation, "/does/not/exist"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := &Source{}
			err := s.Open(limited(t), connectortest.NewWorker(nil).Env(0, 1), tc.cfg, tc.from)
			for _, part := range tc.want {
				if err == nil || !strings.Contains(err.Error(), part) {
					t.Errorf("no %q in: %v", part, err)
				}
			}
			if err := s.Close(limited(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestSourceNoticesThat(t *testing.T) {
	cases := map[string]struct {
		happens func(*fake) error
		want    error
	}{
		"Kafka went away":       {func(f *fake) error { f.Close(); return nil }, connector.ErrNotConnected},
		"the topic was deleted": {func(f *fake) error { return f.DeleteTopic("orders") }, kerr.UnknownTopicOrPartition},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, kfake.SeedTopics(1, "orders"))
			s := openSource(t, f.sourceConfig("orders"), connectortest.NewWorker(nil).Env(0, 1), nil)
			if err := tc.happens(f); err != nil {
				t.Fatal(err)
			}
			ctx := limited(t)
			for ctx.Err() == nil {
				if _, err := s.Poll(ctx); err != nil {
					if !errors.Is(err, tc.want) {
						t.Errorf("Poll: %v", err)
					}
					return
				}
			}
			t.Error("Poll reports nothing")
		})
	}
}
