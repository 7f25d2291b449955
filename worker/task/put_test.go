package task

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/record"
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
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		h.client.produce("orders", 0, numbers(1, 9)...)
		refuse := func(_ int, batch []record.Record) error {
			for i, r := range batch {
				if string(r.Value) == "4" {
					return &connector.PoisonError{Index: i, Err: errors.New("too bitter")}
				}
			}
			return nil
		}
		sink := &collecting{put: refuse}
		for range 3 { // each start meets the record again, and nothing else
			var held *RecordError
			if err := h.runSink(t, sink, connector.Config{"topics": "orders"}, 5*time.Second); !errors.As(err, &held) {
				t.Fatalf("got %v, want the record that holds the task up", err)
			}
		}
		if diff := cmp.Diff(numbers(1, 3), sink.values()); diff != "" {
			t.Errorf("delivered (-want +got):\n%s", diff)
		}
		if got := h.store.read()["orders/b/0"]; got != "3" {
			t.Errorf("stored %q, want 3: the record that holds the task up comes next", got)
		}
	})
}
