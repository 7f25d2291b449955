package task

import (
	"context"
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
	"github.com/rocketmq-connect/operator/worker/task/queues"
)

// collecting is a sink that buffers what is put and makes it durable at a flush.
type collecting struct {
	put      func(n int, batch []record.Record) error // n counts calls
	flush    func(n int) error
	buffered []record.Record
	durable  []record.Record
	puts     int
	flushes  int
	opens    int
	closes   int
}

func (c *collecting) Spec() connector.Spec {
	return connector.Spec{Class: "Collecting", Kind: connector.KindSink}
}
func (c *collecting) Validate(connector.Config) error { return nil }
func (c *collecting) NewSink() connector.Sink         { return c }
func (c *collecting) Tasks(_ context.Context, cfg connector.Config, _ int) ([]connector.Config, error) {
	return []connector.Config{cfg}, nil
}

func (c *collecting) Open(context.Context, connector.Env, connector.Config) error {
	c.opens++
	c.buffered = nil
	return nil
}

func (c *collecting) Put(ctx context.Context, batch []record.Record) error {
	c.puts++
	if c.put != nil {
		if err := c.put(c.puts, batch); err != nil {
			if poison := (*connector.PoisonError)(nil); errors.As(err, &poison) {
				c.buffered = append(c.buffered, batch[:poison.Index]...)
			}
			return err
		}
	}
	c.buffered = append(c.buffered, batch...)
	return ctx.Err()
}

func (c *collecting) Flush(ctx context.Context) error {
	c.flushes++
	if c.flush != nil {
		if err := c.flush(c.flushes); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	c.durable, c.buffered = append(c.durable, c.buffered...), nil
	return nil
}

func (c *collecting) Close(context.Context) error {
	c.closes++
	c.buffered = nil
	return nil
}

func (c *collecting) values() (out []string) {
	for _, r := range c.durable {
		out = append(out, string(r.Value))
	}
	return out
}

func numbers(from, to int) (out []string) {
	for i := from; i <= to; i++ {
		out = append(out, fmt.Sprint(i))
	}
	return out
}

// runSink runs one attempt for so long.
func (h *harness) runSink(t *testing.T, sink *collecting, cfg connector.Config, d time.Duration) error {
	t.Helper()
	soft, stop := context.WithCancel(t.Context())
	defer stop()
	time.AfterFunc(d, stop)
	return h.runner.RunSink(soft, t.Context(), sink, h.attempt(cfg))
}

func TestSinkStoresOnlyWhatIsDurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		h.client.produce("orders", 0, numbers(1, 100)...)
		sink := &collecting{}
		h.store.check = func(changed record.Positions) {
			if got, want := string(changed["orders/b/0"]), fmt.Sprint(len(sink.durable)); got != want {
				t.Errorf("stored offset %s while %s records were durable", got, want)
			}
		}
		for i := range 20 {
			time.AfterFunc(time.Duration(i)*300*time.Millisecond, func() { h.client.produce("orders", 0, "more") })
		}
		if err := h.runSink(t, sink, connector.Config{"topics": "orders"}, 8*time.Second); err != nil {
			t.Fatal(err)
		}
		if len(sink.durable) != 120 || h.store.read()["orders/b/0"] != "120" {
			t.Errorf("%d durable, stored %v, want 120", len(sink.durable), h.store.read())
		}
		q := rmq.Queue{Topic: "orders", Broker: "b", ID: 0}
		if h.client.committed[q] != 120 {
			t.Errorf("the group shows %d, want 120", h.client.committed[q])
		}
		if h.client.open != 0 || sink.closes != sink.opens {
			t.Errorf("%d readers or senders open, %d opens, %d closes", h.client.open, sink.opens, sink.closes)
		}
	})
}

func TestSinkReplaysAfterFailedFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		h.client.produce("orders", 0, numbers(1, 30)...)
		boom := errors.New("disk full")
		sink := &collecting{flush: func(n int) error {
			if n == 2 {
				return boom
			}
			return nil
		}}
		time.AfterFunc(1500*time.Millisecond, func() { h.client.produce("orders", 0, numbers(31, 60)...) })
		cfg := connector.Config{"topics": "orders"}
		if err := h.runSink(t, sink, cfg, 10*time.Second); !errors.Is(err, boom) {
			t.Fatalf("got %v, want the flush's error", err)
		}
		if got := h.store.read()["orders/b/0"]; got != "30" {
			t.Fatalf("stored %q after the failed flush, want 30", got)
		}
		if err := h.runSink(t, sink, cfg, 3*time.Second); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(numbers(1, 60), sink.values()); diff != "" {
			t.Errorf("durable records (-want +got):\n%s", diff)
		}
	})
}

func TestSinkRetriesInPlaceWithoutLosingTheBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		h.client.produce("orders", 0, numbers(1, 10)...)
		sink := &collecting{put: func(n int, _ []record.Record) error {
			if n <= 4 {
				return errors.New("503")
			}
			return nil
		}}
		cfg := connector.Config{"topics": "orders", "errors.retry.timeout": "-1"}
		if err := h.runSink(t, sink, cfg, 10*time.Second); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(numbers(1, 10), sink.values()); diff != "" {
			t.Errorf("durable records (-want +got):\n%s", diff)
		}
	})
}

func TestSinkStoppedWhileABatchWaitsStoresNothingOfIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		h.client.produce("orders", 0, numbers(1, 10)...)
		sink := &collecting{put: func(int, []record.Record) error { return errors.New("503") }}
		cfg := connector.Config{"topics": "orders", "errors.retry.timeout": "-1"}
		if err := h.runSink(t, sink, cfg, 5*time.Second); err != nil {
			t.Fatal(err)
		}
		if got := h.store.read()["orders/b/0"]; got != "0" || len(sink.durable) != 0 {
			t.Errorf("stored %q, want 0: nothing was put", got)
		}
	})
}

func TestSinkPoison(t *testing.T) {
	refuse := func(_ int, batch []record.Record) error {
		for i, r := range batch {
			if string(r.Value) == "4" || string(r.Value) == "5" {
				return &connector.PoisonError{Index: i, Err: errors.New("no such column")}
			}
		}
		return nil
	}
	cases := map[string]struct {
		cfg            connector.Config
		wantErr        string
		wantValues     []string
		wantStored     record.Position
		wantDeadLetter []string
	}{
		"tolerance none holds the task up and names the record": {
			cfg:        connector.Config{},
			wantErr:    "orders/b/0 at 3",
			wantValues: numbers(1, 3),
			wantStored: "3",
		},
		"tolerance all leaves the records out": {cfg: connector.Config{"errors.tolerance": "all"},
			wantValues: append(numbers(1, 3), numbers(6, 9)...), wantStored: "9"},
		"a dead letter topic takes them": {cfg: connector.Config{"errors.tolerance": "all", "errors.deadletterqueue.topic.name": "dead"},
			wantValues: append(numbers(1, 3), numbers(6, 9)...), wantStored: "9", wantDeadLetter: numbers(4, 5)},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHarness(t)
				h.client.produce("orders", 0, numbers(1, 9)...)
				sink := &collecting{put: refuse}
				tc.cfg["topicNames"] = "orders"
				err := h.runSink(t, sink, tc.cfg, 3*time.Second)
				if (err != nil) != (tc.wantErr != "") || err != nil && !strings.Contains(err.Error(), tc.wantErr) {
					t.Fatalf("got %v, want %q", err, tc.wantErr)
				}
				if diff := cmp.Diff(tc.wantValues, sink.values()); diff != "" {
					t.Errorf("durable records (-want +got):\n%s", diff)
				}
				if got := h.store.read()["orders/b/0"]; got != tc.wantStored {
					t.Errorf("stored %q, want %q", got, tc.wantStored)
				}
				if diff := cmp.Diff(tc.wantDeadLetter, h.client.sentBodies()); diff != "" {
					t.Errorf("dead letters (-want +got):\n%s", diff)
				}
				for _, m := range h.client.sent {
					if !slices.Contains(m.Properties, rmq.Property{Name: "__connect.errors.exception.message", Value: "no such column"}) {
						t.Errorf("a dead letter does not say why: %v", m.Properties)
					}
				}
			})
		})
	}
}

func TestSinkLetsGoWithItsLease(t *testing.T) {
	cases := map[string]struct {
		lost    bool
		wantErr error
	}{
		"a lease that ends while something is buffered closes the sink": {wantErr: ErrLeaseOver},
		"a task that is lost closes the sink":                           {lost: true, wantErr: ErrLeaseOver},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHarness(t)
				h.client.produce("orders", 0, numbers(1, 9)...)
				sink := &collecting{flush: func(int) error { return errors.New("must not be flushed") }}
				time.AfterFunc(500*time.Millisecond, func() { h.gate.end(tc.lost) })
				err := h.runSink(t, sink, connector.Config{"topics": "orders"}, time.Hour)
				if !errors.Is(err, tc.wantErr) && !errors.Is(err, ErrLost) {
					t.Errorf("got %v, want %v", err, tc.wantErr)
				}
				if got := h.store.read()["orders/b/0"]; got != "0" || sink.closes != 1 {
					t.Errorf("stored %q, %d closes", got, sink.closes)
				}
			})
		})
	}
}

func TestSinkIdleThroughAShutLeaseGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		h.client.produce("orders", 0, numbers(1, 9)...)
		sink := &collecting{}
		time.AfterFunc(2500*time.Millisecond, func() { h.gate.end(false) })
		time.AfterFunc(5*time.Second, func() {
			h.gate.mu.Lock()
			h.gate.shut = false
			h.gate.mu.Unlock()
			h.client.produce("orders", 0, "10")
		})
		if err := h.runSink(t, sink, connector.Config{"topics": "orders"}, 8*time.Second); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(numbers(1, 10), sink.values()); diff != "" || sink.opens != 1 {
			t.Errorf("%d opens, durable records (-want +got):\n%s", sink.opens, diff)
		}
	})
}

func TestSinkNamesATopicThatDoesNotExist(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		err := h.runSink(t, &collecting{}, connector.Config{"topics": "missing"}, time.Minute)
		if !errors.Is(err, rmq.ErrTopicNotFound) || !strings.Contains(err.Error(), `topic "missing"`) {
			t.Errorf("got %v", err)
		}
		if err := h.runSink(
			t,
			&collecting{},
			connector.Config{},
			time.Minute,
		); err == nil ||
			!strings.Contains(err.Error(), "topicNames is required") {
			t.Errorf("without topics: got %v", err)
		}
	})
}

func TestSinkGoesOnWithoutATopic(t *testing.T) {
	const others = "; the other topics are read on"
	cases := map[string]struct {
		refused error
		stored  record.Positions
		later   bool // it becomes so while the task runs
		want    []string
		warning string
	}{
		"that does not exist": {
			refused: rmq.ErrTopicNotFound,
			want:    []string{"o1", "o2", "p1", "p2"},
			warning: `topic "payments" does not exist in RocketMQ`,
		},
		"that was read before and is gone": {
			refused: rmq.ErrTopicNotFound,
			stored:  record.Positions{"payments/b/0": "1"},
			want:    []string{"o1", "o2", "p2"},
			warning: `topic "payments" does not exist in RocketMQ`,
		},
		"that can be written to and not read": {
			refused: rmq.ErrNotReadable,
			want:    []string{"o1", "o2", "p1", "p2"},
			warning: `topic "payments" in RocketMQ can be written to and not read: give it the permission`,
		},
		"whose broker is away": {
			refused: rmq.ErrTopicAway,
			want:    []string{"o1", "o2", "p1", "p2"},
			warning: `topic "payments" cannot be read at present`,
		},
		"that goes away while it reads another": {
			refused: rmq.ErrTopicNotFound,
			later:   true,
			want:    []string{"o1", "p1", "p2", "o2"},
			warning: `topic "payments" does not exist in RocketMQ`,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHarness(t)
				h.client.produce("orders", 0, "o1")
				h.client.produce("payments", 0, "p1", "p2")
				maps.Copy(h.store.values, tc.stored)
				refuse := func(err error) {
					h.client.mu.Lock()
					defer h.client.mu.Unlock()
					h.client.refused = map[string]error{"payments": err}
				}
				if tc.later {
					// Not read any more from then on: what its brokers answer would end the attempt.
					time.AfterFunc(5*time.Second, func() { h.client.forget("payments") })
				} else {
					refuse(tc.refused)
				}
				time.AfterFunc(2*time.Minute, func() { h.client.produce("orders", 0, "o2") })
				told := ""
				time.AfterFunc(4*time.Minute, func() { told = h.told(); refuse(nil); h.client.produce("payments", 0) })
				sink := &collecting{}
				if err := h.runSink(t, sink, connector.Config{"topics": "orders;payments"}, 5*time.Minute); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tc.want, sink.values()); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				if !strings.Contains(told, tc.warning) || !strings.Contains(told, others) || strings.Contains(told, "orders") {
					t.Errorf("while it is not there: %q", told)
				}
				if all := h.told(); !strings.HasSuffix(all, "\n") {
					t.Errorf("once it is there: %q", all)
				}
			})
		})
	}
}

func TestSinkOutlivesTopicsThatTheNameServerForgot(t *testing.T) {
	cases := map[string]struct {
		away time.Duration
		shut bool // the broker is away, too
		want bool
	}{
		"until the broker's next report":      {30 * time.Second, false, true},
		"for as long as the broker is away":   {5 * time.Minute, true, true},
		"for good, while the broker is there": {5 * time.Minute, false, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHarness(t)
				h.runner.cfg.RecheckInterval = 10 * time.Second
				h.client.produce("orders", 0, "1")
				known := func(n int) {
					h.client.mu.Lock()
					defer h.client.mu.Unlock()
					if h.client.queues["orders"] = n; n == 0 {
						delete(h.client.queues, "orders")
					}
				}
				shut := func(yes bool) {
					h.gate.mu.Lock()
					defer h.gate.mu.Unlock()
					h.gate.shut = yes
				}
				time.AfterFunc(5*time.Second, func() { known(0); shut(tc.shut) })
				time.AfterFunc(5*time.Second+tc.away, func() { known(1); shut(false); h.client.produce("orders", 0, "2") })
				sink := &collecting{}
				err := h.runSink(t, sink, connector.Config{"topics": "orders"}, tc.away+time.Minute)
				if outlived := err == nil && cmp.Equal(sink.values(), []string{"1", "2"}); outlived != tc.want {
					t.Errorf("got %v, %v; want it to go on: %t", err, sink.values(), tc.want)
				}
			})
		})
	}
}

func TestSinkStartsOnceTheNameServerKnowsATopicThatWasReadBefore(t *testing.T) {
	cases := map[string]struct {
		stored  record.Positions
		after   time.Duration
		wantErr bool
	}{
		"it was read before":     {stored: record.Positions{"orders/b/0": "0"}, after: 30 * time.Second},
		"it was never read":      {after: time.Minute, wantErr: true},
		"it is gone for good":    {stored: record.Positions{"orders/b/0": "0"}, after: time.Hour, wantErr: true},
		"another topic was read": {stored: record.Positions{"refunds/b/0": "0"}, after: time.Minute, wantErr: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHarness(t)
				h.runner.cfg.RecheckInterval = 10 * time.Second
				for p, pos := range tc.stored {
					h.store.values[p] = pos
				}
				produce := time.AfterFunc(tc.after, func() { h.client.produce("orders", 0, "1") })
				defer produce.Stop()
				h.client.noMaster = true
				back := time.AfterFunc(min(tc.after, 10*time.Second), func() {
					h.client.mu.Lock()
					defer h.client.mu.Unlock()
					h.client.noMaster = false
				})
				defer back.Stop()
				sink := &collecting{}
				err := h.runSink(t, sink, connector.Config{"topics": "orders"}, 5*time.Minute)
				if (err != nil) != tc.wantErr || err == nil && !cmp.Equal(sink.values(), []string{"1"}) {
					t.Errorf("got %v, %v", err, sink.values())
				}
			})
		})
	}
}

func TestSinkStartOffsets(t *testing.T) {
	q := rmq.Queue{Topic: "orders", Broker: "b", ID: 0}
	cases := map[string]struct {
		stored, group string
		low           int64
		cfg           connector.Config
		want          []string
		wantStored    int64 // 0: 9
	}{
		"nothing known starts at the earliest record": {low: 2, want: numbers(3, 9)},
		"the stored offset goes before the group's":   {stored: "5", group: "7", want: numbers(6, 9)},
		"the offset of a group that the config names is taken over when there is no other": {
			group: "7",
			cfg:   connector.Config{"task.group.id": "legacy"},
			want:  numbers(8, 9),
		},
		"the mirror of an earlier life is not started from":                {group: "7", want: numbers(1, 9)},
		"a stored offset below the queue starts at the earliest":           {stored: "1", low: 4, want: numbers(5, 9)},
		"a stored offset above the queue starts at the earliest":           {stored: "700", want: numbers(1, 9)},
		"a stored offset above the queue with marks is left to the reader": {stored: "700 4@5", wantStored: 700},
		"a stored offset with marks is gone on from":                       {stored: "5 4@5 2@3", want: numbers(6, 9)},
		"a group's offset above the queue starts at the earliest": {
			group: "700",
			cfg:   connector.Config{"task.group.id": "legacy"},
			want:  numbers(1, 9),
		},
		"a group's offset below the queue starts at the earliest, whatever consume.from.where says": {
			group: "1",
			low:   4,
			cfg:   connector.Config{"task.group.id": "legacy", "consume.from.where": "CONSUME_FROM_LAST_OFFSET"},
			want:  numbers(5, 9),
		},
		"consume.from.where skips what is there at the first time": {cfg: connector.Config{"consume.from.where": "CONSUME_FROM_LAST_OFFSET"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHarness(t)
				h.client.produce("orders", 0, numbers(1, 9)...)
				h.client.low[q] = tc.low
				if tc.stored != "" {
					h.store.values["orders/b/0"] = record.Position(tc.stored)
				}
				if tc.group != "" {
					offset, _ := queues.ParseOffset(record.Position(tc.group))
					h.client.committed[q] = offset.Next
				}
				cfg := connector.Config{"connect.topicnames": "orders"}
				for k, v := range tc.cfg {
					cfg[k] = v
				}
				sink := &collecting{}
				if err := h.runSink(t, sink, cfg, 2*time.Second); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tc.want, sink.values()); diff != "" {
					t.Errorf("records (-want +got):\n%s", diff)
				}
				if got, _ := queues.ParseOffset(h.store.read()["orders/b/0"]); got.Next != max(tc.wantStored, 9) {
					t.Errorf("stored %+v", got)
				}
			})
		})
	}
}

func TestSinkTakesNewQueuesFromTheirFirstRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		h.client.produce("orders", 0, numbers(1, 9)...)
		sink := &collecting{}
		time.AfterFunc(3*time.Second, func() { h.client.produce("orders", 1, numbers(10, 12)...) })
		cfg := connector.Config{"topics": "orders", "consume.from.where": "CONSUME_FROM_LAST_OFFSET"}
		if err := h.runSink(t, sink, cfg, 15*time.Second); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(numbers(10, 12), sink.values()); diff != "" {
			t.Errorf("records (-want +got):\n%s", diff)
		}
		if len(sink.durable) > 0 && sink.durable[0].Queue != 1 {
			t.Errorf("queue index %d, want 1", sink.durable[0].Queue)
		}
	})
}
