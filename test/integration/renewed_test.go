//go:build integration

package integration

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/rocketmq-connect/operator/test/flow"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/service"
)

// A RocketMQ topic is deleted, created again and filled past where a running sink is, while the broker holds its pull.
func TestARunningSinkReadsATopicThatIsCreatedAgain(t *testing.T) {
	const before, after = 10, 20
	c := newTestCluster(t)
	l := newLake(t, fmt.Sprintf("renewed-%d", time.Now().UnixNano()))
	create := func() {
		t.Helper()
		if _, err := l.rocket.EnsureTopic(t.Context(), l.topic, rmq.TopicSpec{Queues: 1}); err != nil {
			t.Fatal(err)
		}
	}
	create()
	l.natives(before)
	port := freePort(t)
	w := start(t, port, c.conf("W1", port, t.TempDir(), ""))
	w.ready()
	w.curl(
		`/connectors/create/out?config={"topicNames":"`+l.topic+`","tasks.num":"1","kafka.bootstrap.server":"`+kafkaBootstrap()+`"}`,
		"success",
	)
	kafka := flow.KafkaEnds(l.kafka, l.topic)
	arrived := func(want int64) {
		t.Helper()
		eventually(t, func(ctx context.Context) error {
			n, err := kafka(ctx)
			return errors.Join(err, atLeast(n, want))
		})
	}
	arrived(before)
	if err := service.Sleep(t.Context(), time.Second); err != nil { // nobody recreates a topic within milliseconds of its last record
		t.Fatal(err)
	}
	newBrokerAdmin(t, l.rocket).delete(l.topic)
	create()
	l.natives(after)
	arrived(before + after)
	if n, err := kafka(t.Context()); err != nil || n != before+after {
		t.Errorf("%d records arrived, %v; want %d", n, err, before+after)
	}
}
