package kafka

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/connector/connectortest"
	"github.com/rocketmq-connect/operator/worker/record"
)

func TestSinkRefusesATopicThatKafkaDoesNotAllow(t *testing.T) {
	f := newFake(t)
	s := openSink(t, f.sinkConfig("orders"), connectortest.NewWorker(map[string]int{"orders": 1}).Env(0, 1))
	for name, topic := range map[string]string{"too long": strings.Repeat("a", 250), "nothing": "", "a folder": ".."} {
		t.Run(name, func(t *testing.T) {
			err := s.Put(limited(t), []record.Record{{Topic: topic, Partition: "orders/broker-a/0", Value: []byte("v")}})
			if err == nil || !strings.Contains(err.Error(), "topic.rename.format") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestRefusalsSayWhatIs(t *testing.T) {
	a := access{bootstrap: []string{"kafka:9092"}}
	cases := map[string]struct {
		err    error
		want   []string
		passes bool
	}{
		"a topic that was recreated":         {kerr.UnknownTopicID, []string{"deleted", "recreated", "looked for again"}, true},
		"a topic that is not there":          {kerr.UnknownTopicOrPartition, []string{"does not have the topic", "grant Describe"}, true},
		"a partition without a leader":       {kerr.LeaderNotAvailable, []string{"no leader"}, true},
		"a right that is missing":            {kerr.TopicAuthorizationFailed, []string{"lacks the right", "grant"}, false},
		"what nobody can do anything about":  {kerr.RequestTimedOut, []string{"not connected"}, true},
		"what is neither of these and stays": {kerr.InvalidReplicationFactor, []string{"kafka:9092"}, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			err := a.explain(context.Background(), "writing to Kafka", tc.err)
			for _, part := range append(tc.want, "writing to Kafka") {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("no %q in: %v", part, err)
				}
			}
			says := strings.Contains(err.Error(), "not connected")
			if errors.Is(err, connector.ErrNotConnected) != tc.passes || says && name != "what nobody can do anything about" ||
				!errors.Is(err, tc.err) {
				t.Errorf("got: %v", err)
			}
		})
	}
}
