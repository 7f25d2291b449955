package task

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/task/queues"
)

// A connector that skips what is there skips that alone: what comes after its first start is read, whatever queue it
// comes to, whichever task gets that, and whether a task runs at the time.
func TestFromLastSkipsOnlyWhatWasThere(t *testing.T) {
	// run is an attempt of one of some tasks. Between is what happens before the next.
	type run struct {
		task, tasks int
		between     func(h *harness)
	}
	cases := map[string]struct {
		runs []run
		want []string
	}{
		"queues that come while it is stopped": {
			runs: []run{{between: func(h *harness) {
				for q := range 4 {
					h.client.produce("orders", q, fmt.Sprintf("new-%d", q))
				}
			}}, {}},
			want: []string{"new-0", "new-1", "new-2", "new-3"},
		},
		"a task that starts for the first time later": {
			runs: []run{{task: 0, tasks: 2, between: func(h *harness) {
				h.client.produce("orders", 1, "to the other's queue")
				h.client.produce("orders", 2, "to a queue of nobody yet")
				h.client.produce("orders", 3, "to another one")
			}}, {task: 0, tasks: 2}, {task: 1, tasks: 2}},
			want: []string{"to a queue of nobody yet", "to another one", "to the other's queue"},
		},
		"a task that never starts, whose queue is another's then": {
			runs: []run{
				{task: 0, tasks: 2, between: func(h *harness) { h.client.produce("orders", 1, "to the other's queue") }},
				{task: 0, tasks: 1},
			},
			want: []string{"to the other's queue"},
		},
		"a connector that began with a version that noted offsets alone": {
			runs: []run{{between: func(h *harness) {
				for p := range h.store.values {
					if p.Internal() {
						delete(h.store.values, p)
					}
				}
				h.client.produce("orders", 2, "new")
			}}, {}},
			want: []string{"new"},
		},
		"a connector that is reset begins again": {
			runs: []run{{between: func(h *harness) {
				h.client.produce("orders", 0, "skipped")
				clear(h.store.values)
			}}, {}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHarness(t)
				h.client.produce("orders", 0, numbers(1, 9)...)
				h.client.produce("orders", 1, numbers(10, 12)...)
				var got []string
				for _, run := range tc.runs {
					h.id.Task, h.id.Tasks = run.task, max(run.tasks, 1)
					sink := &collecting{}
					cfg := connector.Config{"topics": "orders", "consume.from.where": "CONSUME_FROM_LAST_OFFSET"}
					if err := h.runSink(t, sink, cfg, 2*time.Second); err != nil {
						t.Fatal(err)
					}
					got = append(got, sink.values()...)
					if run.between != nil {
						run.between(h)
					}
				}
				slices.Sort(got)
				if diff := cmp.Diff(tc.want, got); diff != "" {
					t.Errorf("records (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// A damaged entry fails the task: to guess would skip records, or deliver all of them.
func TestFromLastRefusesWhatItCannotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		h.client.produce("orders", 0, numbers(1, 9)...)
		h.store.values[queues.FirstEntry("orders", 3)] = record.Position("b/zero@1")
		err := h.runSink(t, &collecting{}, connector.Config{"topics": "orders", "consume.from.where": "CONSUME_FROM_LAST_OFFSET"}, 2*time.Second)
		if err == nil {
			t.Error("the task ran")
		}
	})
}

// Where it begins is stored with a mark of the record before, though that was never delivered: it tells later whether
// the topic is another one.
func TestFromLastBeginsWithAMark(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		h.client.produce("orders", 0, numbers(1, 9)...)
		h.client.produce("orders", 1)
		if err := h.runSink(
			t,
			&collecting{},
			connector.Config{"topics": "orders", "consume.from.where": "CONSUME_FROM_LAST_OFFSET"},
			2*time.Second,
		); err != nil {
			t.Fatal(err)
		}
		got, err := queues.ParseOffset(h.store.read()["orders/b/0"])
		if err != nil || got.Next != 9 || len(got.Trail) != 1 || got.Trail[0].Offset != 8 {
			t.Errorf("stored %+v, %v", got, err)
		}
		if empty := h.store.read()["orders/b/1"]; empty != "0" {
			t.Errorf("an empty queue is stored as %q", empty)
		}
	})
}
