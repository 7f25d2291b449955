//go:build topology

package topology

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/rocketmq-connect/operator/test/process"
	"github.com/rocketmq-connect/operator/worker/rmq"
)

// Topics of other people, and their records, outlive failovers of a broker that holds a cluster's internal topics:
// RocketMQ 5.3.2 and 5.3.3 lose them where a topic compacts (apache/rocketmq issue 9403).
func TestFailoversLoseNoTopic(t *testing.T) {
	needs(t, "controller")
	const records, queues = 400, 4
	id := fmt.Sprintf("topology-%d", time.Now().UnixNano())
	client, p := open(t, nameServers()), pair{admin: newAdmin(t), broker: "broker-a"}
	w := worker(t, id, "w1")
	answers(t, w, "/readyz", "ok")
	topics := append(process.InternalTopics(id), id+"-orders", id+"-empty")
	for _, topic := range topics[len(topics)-2:] {
		if _, err := client.EnsureTopic(t.Context(), topic, rmq.TopicSpec{Queues: queues}); err != nil {
			t.Fatal(err)
		}
	}
	fill(t, client, id+"-orders", records)
	master := p.whole(t, topics)
	for range 4 {
		p.failOver(t, master)
		master = p.whole(t, topics)
		eventually(t, func(ctx context.Context) error { return holds(ctx, client, id+"-orders", records, queues) })
		answers(t, w, "/readyz", "ok")
	}
}

// fill sends records, and waits until they are stored.
func fill(t *testing.T, client *rmq.Client, topic string, n int) {
	t.Helper()
	s := client.NewSender(rmq.SenderConfig{})
	for i := range n {
		if err := s.Send(t.Context(), rmq.Message{Topic: topic, Body: fmt.Append(nil, i)}, func(_ int64, err error) {
			if err != nil {
				t.Errorf("sending record %d: %v", i, err)
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// holds is nil if the topic has all of its queues and records.
func holds(ctx context.Context, client *rmq.Client, topic string, records int64, queues int) error {
	route, err := client.Route(ctx, topic)
	if err != nil {
		return err
	}
	var sum int64
	for _, q := range route {
		_, end, err := client.Offsets(ctx, q)
		if err != nil {
			return err
		}
		sum += end
	}
	if sum != records || len(route) != queues {
		return fmt.Errorf("topic %s has %d records in %d queues, want %d in %d", topic, sum, len(route), records, queues)
	}
	return nil
}
