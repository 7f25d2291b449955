package task

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/rmq/rmqtest"
)

// overBrokers has the harness run tasks over a client of brokers in memory, each with queues of the topic orders.
func (h *harness) overBrokers(t *testing.T, queues int, masters ...string) (*rmqtest.Broker, *rmq.Client) {
	t.Helper()
	b := rmqtest.Start(t, rmqtest.OverPipe(), rmqtest.Masters(masters...))
	c, err := rmq.Open(rmq.Config{NameServers: []string{b.NameServer()}, Dial: b.Dial})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if _, err := c.EnsureTopic(t.Context(), "orders", rmq.TopicSpec{Queues: queues}); err != nil {
		t.Fatal(err)
	}
	h.runner.client = FromClient(c)
	return b, c
}

func produceTo(t *testing.T, c *rmq.Client, queue int, bodies ...string) {
	t.Helper()
	s := c.NewSender(rmq.SenderConfig{})
	defer s.Close()
	to := []rmq.Queue{{Topic: "orders", Broker: "broker-a"}, {Topic: "orders", Broker: "broker-b"}}[queue]
	for _, body := range bodies {
		if err := s.Send(t.Context(), rmq.Message{Topic: "orders", Queue: to, Body: []byte(body)}, func(_ int64, err error) {
			if err != nil {
				t.Errorf("producing %s: %v", body, err)
			}
		}); err != nil {
			t.Errorf("producing %s: %v", body, err)
		}
	}
	if err := s.Flush(t.Context()); err != nil {
		t.Errorf("producing: %v", err)
	}
}

func TestSinkStartsWhileABrokerIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		b, c := h.overBrokers(t, 1, "broker-a", "broker-b")
		cfg := connector.Config{"topics": "orders"}
		produceTo(t, c, 0, "a1")
		produceTo(t, c, 1, "b1", "b2", "b3", "b4")
		if err := h.runSink(t, &collecting{}, cfg, 5*time.Second); err != nil {
			t.Fatal(err)
		}
		b.LeaveSlave("broker-b")
		produceTo(t, c, 0, "a2")
		const back = 20 * time.Second
		begun, seen := time.Now(), map[string]time.Duration{}
		sink := &collecting{put: func(_ int, batch []record.Record) error {
			for _, r := range batch {
				seen[string(r.Value)] = time.Since(begun)
			}
			return nil
		}}
		time.AfterFunc(back, func() {
			b.Cut("orders", "broker-b", 0, 2) // it comes back without its newest records
			if err := b.RestartMaster("broker-b"); err != nil {
				t.Error(err)
			}
			produceTo(t, c, 1, "b5", "b6")
		})
		if err := h.runSink(t, sink, cfg, time.Minute); err != nil {
			t.Fatal(err)
		}
		if at, ok := seen["a2"]; !ok || at >= back {
			t.Errorf("the record of the broker that is there: %t, after %s; want it before the other broker is back", ok, at)
		}
		// What the other broker gave its offsets out for again comes too: the marks of what was read had been looked at.
		if diff := cmp.Diff([]string{"a2", "b1", "b2", "b5", "b6"}, sink.values()); diff != "" {
			t.Errorf("durable (-want +got):\n%s", diff)
		}
	})
}
