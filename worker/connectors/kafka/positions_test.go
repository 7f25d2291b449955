package kafka

import (
	"context"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/rocketmq-connect/operator/worker/connector/connectortest"
	"github.com/rocketmq-connect/operator/worker/connectors/kafka/resume"
	"github.com/rocketmq-connect/operator/worker/connectors/kafka/watch"
	"github.com/rocketmq-connect/operator/worker/record"
)

// told is what a source tells of its progress before it has any record.
func told(t *testing.T, s *Source) record.Positions {
	t.Helper()
	ctx := limited(t)
	if records, err := s.Poll(ctx); err != nil || len(records) > 0 || ctx.Err() != nil {
		t.Fatalf("%d records, %v, %v", len(records), err, ctx.Err())
	}
	return s.Progressed()
}

func TestSourceStartsAtTheEndOnce(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, "orders"))
	f.produceValues(t, "orders", 0, "before")
	cfg := f.sourceConfig("orders", keyReset, string(resume.Latest))
	s := openSource(t, cfg, connectortest.NewWorker(nil).Env(0, 1), nil)
	stored := told(t, s)
	if diff := cmp.Diff(record.Positions{"orders/0": f.at("orders", 1), "orders/0/begun": f.at("orders", 1)}, stored); diff != "" {
		t.Fatalf("where it starts is to be stored (-want +got):\n%s", diff)
	}
	if err := s.Close(limited(t)); err != nil {
		t.Fatal(err)
	}
	f.produceValues(t, "orders", 0, "while away")
	again := openSource(t, cfg, connectortest.NewWorker(nil).Env(0, 1), stored)
	if diff := cmp.Diff([]string{"while away"}, values(poll(t, again, 1))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSourceStartsPartitionsWithoutAPosition(t *testing.T) {
	cases := map[string]struct {
		reset   string
		task    int // of two
		from    record.Positions
		want    map[watch.Partition]int64
		wantErr string
	}{
		"at the start by default": {
			reset: string(resume.Earliest),
			want:  map[watch.Partition]int64{{Topic: "orders", Number: 0}: 0, {Topic: "orders", Number: 2}: 0},
		},
		"at the end with latest": {
			reset: string(resume.Latest),
			want:  map[watch.Partition]int64{{Topic: "orders", Number: 0}: 1, {Topic: "orders", Number: 2}: 1},
		},
		"at the end, too, in a task that starts after another one": {
			reset: string(
				resume.Latest,
			),
			task: 1,
			from: record.Positions{"orders/0": "1", "orders/0/begun": "3", "orders/2": "1", "orders/2/begun": "3"},
			want: map[watch.Partition]int64{{Topic: "orders", Number: 1}: 1},
		},
		"at the start if they came later": {
			reset: string(resume.Latest), from: record.Positions{"orders/0": "1", "orders/0/begun": "2", "orders/1": "1", "orders/1/begun": "2"},
			want: map[watch.Partition]int64{{Topic: "orders", Number: 0}: 1, {Topic: "orders", Number: 2}: 0},
		},
		"at the start of a topic that was begun at its own": {
			reset: string(
				resume.Latest,
			),
			task: 1,
			from: record.Positions{"orders/0": "1"},
			want: map[watch.Partition]int64{{Topic: "orders", Number: 1}: 0},
		},
		"with none, at the start if the topic has positions": {
			reset: string(resume.None), from: record.Positions{"orders/1": "1"},
			want: map[watch.Partition]int64{{Topic: "orders", Number: 0}: 0, {Topic: "orders", Number: 2}: 0},
		},
		"with none, not at all if it has no position": {
			reset:   string(resume.None),
			from:    record.Positions{"other/0": "1"},
			wantErr: "topic orders has no stored position: set " + keyReset,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, kfake.SeedTopics(3, "orders"))
			for p := range 3 {
				f.produceValues(t, "orders", p, "before")
			}
			s := &Source{}
			defer func() {
				if err := s.Close(context.Background()); err != nil {
					t.Error(err)
				}
			}()
			err := s.Open(limited(t), connectortest.NewWorker(nil).Env(tc.task, 2), f.sourceConfig("orders", keyReset, tc.reset), tc.from)
			if tc.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tc.wantErr) {
					t.Errorf("Open: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := map[watch.Partition]int64{}
			for p, next := range s.next {
				got[p] = next.Offset
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// lostLog has the broker answer that the log ends at an offset for all that was read so far, as after an unclean
// election.
func (f *fake) lostLog(end int64) {
	f.ControlKey(int16(kmsg.OffsetForLeaderEpoch), func(in kmsg.Request) (kmsg.Response, error, bool) {
		req := in.(*kmsg.OffsetForLeaderEpochRequest)
		resp := req.ResponseKind().(*kmsg.OffsetForLeaderEpochResponse)
		for _, asked := range req.Topics {
			topic := kmsg.NewOffsetForLeaderEpochResponseTopic()
			topic.Topic = asked.Topic
			for _, each := range asked.Partitions {
				p := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
				p.Partition, p.LeaderEpoch, p.EndOffset = each.Partition, each.LeaderEpoch, end
				topic.Partitions = append(topic.Partitions, p)
			}
			resp.Topics = append(resp.Topics, topic)
		}
		return resp, nil, true
	})
	f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Err: kerr.FencedLeaderEpoch})
}

func TestSourceStoresWhereItGoesOnWhenKafkaLostRecords(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, "orders"))
	f.produceValues(t, "orders", 0, "0", "1", "2", "3", "4")
	w := connectortest.NewWorker(nil)
	s := openSource(t, f.sourceConfig("orders"), w.Env(0, 1), nil)
	poll(t, s, 5)
	f.lostLog(2)
	passed := record.Positions{}
	for ctx := limited(t); passed["orders/0"] != "2"; maps.Copy(passed, bare(s.Progressed())) {
		if _, err := s.Poll(ctx); err != nil || ctx.Err() != nil {
			t.Fatalf("the place where it goes on is not told: %v, %v", err, ctx.Err())
		}
	}
	if n := w.Skipped()[skipDataLoss]; n != 1 {
		t.Errorf("%d counted as lost", n)
	}
}

func TestSourceWhenKafkaLostRecords(t *testing.T) {
	fetched := func(epoch int32, first int64) kgo.FetchPartition {
		return kgo.FetchPartition{Records: []*kgo.Record{
			{Topic: "orders", Offset: first, LeaderEpoch: epoch}, {Topic: "orders", Offset: first + 1, LeaderEpoch: epoch},
		}}
	}
	cases := map[string]struct {
		polled       []kgo.FetchPartition
		want         int64
		wantProgress record.Positions
	}{
		"goes back": {want: 100, wantProgress: record.Positions{"orders/0": "100"}},
		"goes back behind what came of the old leader": {
			polled:       []kgo.FetchPartition{fetched(7, 148)},
			want:         100,
			wantProgress: record.Positions{"orders/0": "100"},
		},
		"goes on behind what came of the new one":          {polled: []kgo.FetchPartition{fetched(8, 100)}, want: 102},
		"goes on behind the new one's after both leaders'": {polled: []kgo.FetchPartition{fetched(7, 148), fetched(8, 100)}, want: 102},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := &Source{
				env: connectortest.NewWorker(
					nil,
				).Env(
					0,
					1,
				),
				progress: record.Positions{},
				skips:    skips{},
				places:   map[string]record.Place{"orders": "p"},
				next:     map[watch.Partition]kgo.EpochOffset{{Topic: "orders"}: {Epoch: 7, Offset: 148}},
			}
			lost := &kgo.ErrDataLoss{Topic: "orders", ConsumedTo: 150, ConsumedToEpoch: 7, ResetTo: 100, ResetToEpoch: 6}
			var fetches kgo.Fetches
			for _, p := range append(tc.polled, kgo.FetchPartition{Err: lost}) {
				fetches = append(fetches, kgo.Fetch{Topics: []kgo.FetchTopic{{Topic: "orders", Partitions: []kgo.FetchPartition{p}}}})
			}
			s.take(fetches)
			if err := s.handle(limited(t), fetches); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.wantProgress, s.Progressed()); diff != "" {
				t.Errorf("to be stored (-want +got):\n%s", diff)
			}
			if got := s.next[watch.Partition{Topic: "orders"}].Offset; got != tc.want {
				t.Errorf("goes on at %d, want %d", got, tc.want)
			}
		})
	}
}

func TestSourceTellsItsProgressBeforeItFails(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(2, "orders"))
	f.produceValues(t, "orders", 0, "0", "1", "2")
	if err := f.DeleteRecords("orders", 0, 3); err != nil {
		t.Fatal(err)
	}
	s := openSource(
		t,
		f.sourceConfig("orders"),
		connectortest.NewWorker(nil).Env(0, 1),
		record.Positions{"orders/0": f.at("orders", 1), "orders/1": f.at("orders", 0)},
	)
	f.Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.Fetch}, Partitions: []int32{1}, Err: kerr.TopicAuthorizationFailed, Count: -1,
		When: func(req kmsg.Request) bool { // only together with partition 0
			topics := req.(*kmsg.FetchRequest).Topics
			return len(topics) == 1 && len(topics[0].Partitions) == 2
		},
	})
	passed := record.Positions{}
	for ctx := limited(t); ; maps.Copy(passed, bare(s.Progressed())) {
		_, err := s.Poll(ctx)
		if ctx.Err() != nil {
			t.Fatal("it does not fail")
		}
		if err != nil {
			break
		}
	}
	if diff := cmp.Diff(record.Positions{"orders/0": "3"}, passed); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSourceWhenKafkaNoLongerHoldsThePosition(t *testing.T) {
	cases := map[string]struct {
		reset       resume.Reset
		position    int64
		want        []string
		wantSkipped int
		wantErr     string
	}{
		"earliest goes on at the first record and counts what is lost": {
			reset:       resume.Earliest,
			position:    1,
			want:        []string{"3", "4"},
			wantSkipped: 2,
		},
		"earliest does so above the end, too": {
			reset:       resume.Earliest,
			position:    99,
			want:        []string{"3", "4"},
			wantSkipped: 1,
		},
		"latest drops nothing that is there": {
			reset:       resume.Latest,
			position:    1,
			want:        []string{"3", "4"},
			wantSkipped: 2,
		},
		"latest drops nothing that is there above the end, too": {
			reset:       resume.Latest,
			position:    99,
			want:        []string{"3", "4"},
			wantSkipped: 1,
		},
		"none fails and says what to do": {
			reset:    resume.None,
			position: 1,
			wantErr:  "holds offsets 3 to 5, and the position is 1: set " + keyReset,
		},
		"none fails above the end, too": {
			reset:    resume.None,
			position: 99,
			wantErr:  "holds offsets 3 to 5, and the position is 99",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, kfake.SeedTopics(1, "orders"))
			f.produceValues(t, "orders", 0, "0", "1", "2", "3", "4")
			if err := f.DeleteRecords("orders", 0, 3); err != nil {
				t.Fatal(err)
			}
			w := connectortest.NewWorker(nil)
			s := openSource(
				t,
				f.sourceConfig("orders", keyReset, string(tc.reset)),
				w.Env(0, 1),
				record.Positions{"orders/0": f.at("orders", tc.position)},
			)
			if tc.wantErr != "" {
				if _, err := s.Poll(limited(t)); err == nil || !strings.Contains(err.Error(), tc.wantErr) {
					t.Errorf("Poll: %v", err)
				}
				return
			}
			if diff := cmp.Diff(tc.want, values(poll(t, s, len(tc.want)))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if n := w.Skipped()[skipOutOfRange]; n != tc.wantSkipped {
				t.Errorf("%d counted as skipped, not %d", n, tc.wantSkipped)
			}
		})
	}
}
