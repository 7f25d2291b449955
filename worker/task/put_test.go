package task

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/rmq"
)

func TestSinkTellsTheRecordsOfABatchTheirOwnQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		var want, wantStored []string
		for _, topic := range []string{"orders", "refunds"} {
			for queue := range 3 {
				h.client.produce(topic, queue, numbers(1, queue+1)...)
				for i := range queue + 1 {
					want = append(want, fmt.Sprintf("to-%s queue %d of %[1]s/b/%[2]d before %[3]d", topic, queue, i+1))
				}
				wantStored = append(wantStored, fmt.Sprintf("%s/b/%d:%d", topic, queue, queue+1))
			}
		}
		sink := &collecting{}
		cfg := connector.Config{"topics": "orders,refunds", "topic.rename.format": "to-${topic}"}
		if err := h.runSink(t, sink, cfg, 5*time.Second); err != nil {
			t.Fatal(err)
		}
		if sink.puts != 1 {
			t.Fatalf("%d puts, want one batch with all", sink.puts)
		}
		var got []string
		for _, r := range sink.durable {
			got = append(got, fmt.Sprintf("%s queue %d of %s before %s", r.Topic, r.Queue, r.Partition, r.Position))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("records (-want +got):\n%s", diff)
		}
		var stored []string
		for partition, position := range h.store.read() {
			stored = append(stored, fmt.Sprintf("%s:%s", partition, position))
		}
		slices.Sort(stored)
		if diff := cmp.Diff(wantStored, stored); diff != "" {
			t.Errorf("stored (-want +got):\n%s", diff)
		}
	})
}

func TestSinkKeepsWhatLiesAheadOfARecordThatHoldsItUp(t *testing.T) {
	damaged := errors.New("it is damaged")
	cases := map[string]struct {
		cfg     connector.Config
		damaged error // what is wrong with its body
		stuck   error
		wantErr error
	}{
		"no record may be left out": {wantErr: errTooBitter},
		"its dead letter cannot be written": {cfg: connector.Config{"errors.tolerance": "all", "errors.deadletterqueue.topic.name": "dead"},
			wantErr: rmq.ErrAccessDenied},
		"its body cannot be read":  {damaged: damaged, wantErr: damaged},
		"it cannot be read at all": {stuck: fmt.Errorf("reading orders/b/0 at 3: %w", damaged), wantErr: damaged},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHarness(t)
				h.client.produce("orders", 0, numbers(1, 9)...)
				h.client.answer = func(rmq.Message) (time.Duration, error) { return 0, rmq.ErrAccessDenied }
				h.client.messages[rmq.Queue{Topic: "orders", Broker: "b"}][3].Err = tc.damaged
				h.client.stuck, h.client.stuckAt = tc.stuck, 3
				cfg := connector.Config{"topics": "orders"}
				maps.Copy(cfg, tc.cfg)
				sink := &collecting{put: bitter("4")}
				for range 3 { // each start meets the record again, and nothing else
					if err := h.runSink(t, sink, cfg, 5*time.Second); !errors.Is(err, tc.wantErr) || !strings.Contains(err.Error(), "orders/b/0 at 3") {
						t.Fatalf("got %v, want %v of the record that holds the task up", err, tc.wantErr)
					}
				}
				if diff := cmp.Diff(numbers(1, 3), sink.values()); diff != "" {
					t.Errorf("delivered (-want +got):\n%s", diff)
				}
				if got := h.store.read()["orders/b/0"]; got != "3" {
					t.Errorf("stored %q, want 3: the record that holds the task up comes next", got)
				}
			})
		})
	}
}

func TestSinkStoresMarksOfWhatItPut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		q := rmq.Queue{Topic: "orders", Broker: "b", ID: 0}
		h.client.produce("orders", 0, numbers(1, 9)...)
		for i := range h.client.messages[q] {
			h.client.messages[q][i].StoredAt = time.UnixMilli(int64(5000 + i))
		}
		h.store.values["orders/b/0"] = "5 4@1000"
		if err := h.runSink(t, &collecting{}, connector.Config{"topics": "orders"}, 3*time.Second); err != nil {
			t.Fatal(err)
		}
		if got, want := h.store.read()["orders/b/0"], record.Position("9 8@5008 4@1000"); got != want {
			t.Errorf("stored %q, want %q", got, want)
		}
	})
}
