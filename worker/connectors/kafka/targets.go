package kafka

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/rocketmq-connect/operator/worker/record"
)

// target is a Kafka topic to write to.
type target struct {
	name  string
	limit int // max.message.bytes; 0: Kafka does not tell
}

// target returns the Kafka topic of a record, and makes it if it is missing.
func (s *Sink) target(ctx context.Context, r *record.Record) (*target, error) {
	if t := s.targets[r.Topic]; t != nil {
		return t, nil
	}
	name := legalTopic(r.Topic)
	switch {
	case name == "", name == ".", name == "..":
		return nil, fmt.Errorf("%q cannot be the name of a Kafka topic: correct topic.rename.format", r.Topic)
	case len(name) > maxTopic:
		return nil, fmt.Errorf(
			"%q cannot be the name of a Kafka topic: it has %d characters, and Kafka allows %d; set topic.rename.format to what makes a shorter one",
			name,
			len(name),
			maxTopic,
		)
	}
	doing := "looking up topic " + name
	details, err := s.hub.Admin().ListTopicsWithInternal(ctx, name)
	if err != nil {
		return nil, s.set.explain(ctx, doing, err)
	}
	switch err := details[name].Err; {
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		if err := s.create(ctx, r, name); err != nil {
			return nil, err
		}
	case err != nil && !kerr.IsRetriable(err):
		return nil, s.set.explain(ctx, doing, err)
	}
	limit, err := s.askLimit(ctx, name)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.limits[name] = limit
	s.mu.Unlock()
	t := &target{name: name, limit: limit}
	s.targets[r.Topic], s.untold = t, s.untold || limit == 0
	return t, nil
}

// Place names the Kafka topic of a record's topic.
func (s *Sink) Place(topic string) record.Place { return s.set.place(s.hub, legalTopic(topic)) }

// create makes a Kafka topic with as many partitions as the RocketMQ topic has queues. Another task may be first.
func (s *Sink) create(ctx context.Context, r *record.Record, name string) error {
	// The partition is topic/broker/queue; the record's topic is already the renamed one.
	topic, _, _ := strings.Cut(string(r.Partition), "/")
	queues, err := s.env.QueueCount(ctx, topic)
	if err != nil {
		return fmt.Errorf("asking for the queues of RocketMQ topic %s: %w", topic, err)
	}
	s.env.Log.Info("Creating a Kafka topic", "topic", name, "partitions", max(queues, 1))
	_, err = s.hub.Admin().CreateTopic(ctx, int32(max(queues, 1)), int16(s.set.replication), nil, name)
	if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return s.set.explain(ctx, fmt.Sprintf("creating topic %s with %d partitions (or make it by hand)", name, max(queues, 1)), err)
	}
	return nil
}

// askLimit asks for a topic's max.message.bytes. It is 0 for a user without the right to ask, who is told by a refusal;
// an error is one that may pass, for by a wrong limit deliverable records would count as poison.
func (s *Sink) askLimit(ctx context.Context, name string) (int, error) {
	var topic kadm.ResourceConfig
	err := settled(ctx, func() error {
		configs, err := s.hub.Admin().DescribeTopicConfigs(ctx, name)
		if err != nil {
			return err
		}
		if topic, err = configs.On(name, nil); err != nil {
			return err
		}
		return topic.Err
	})
	var refused *kerr.Error
	switch {
	case errors.As(err, &refused) && !refused.Retriable:
		s.env.Log.V(1).Info("Kafka does not tell a topic's size limit", "topic", name, "reason", err.Error())
		return 0, nil
	case err != nil:
		return 0, s.set.explain(ctx, "asking for the size limit of topic "+name, err)
	}
	for _, c := range topic.Configs {
		if c.Key != "max.message.bytes" || c.Value == nil {
			continue
		}
		if n, err := strconv.Atoi(*c.Value); err == nil && n > 0 {
			return n, nil
		}
	}
	return 0, nil
}

// limit is asked by the client, in goroutines of its own, for the largest batch of a Kafka topic: 512 bytes at least.
// It refuses larger records by itself, so where nobody knows the limit it gets none.
func (s *Sink) limit(topic string) int32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.limits[topic]; n > 0 {
		return int32(min(max(n, 512), maxBufferedBytes))
	}
	return maxBufferedBytes
}

// leastSize is how many bytes a record takes at least, alone in a batch.
func leastSize(r *record.Record) int {
	const batch, each = 61, 7
	size := batch + each + len(r.Key) + len(r.Value)
	for i := range r.Headers {
		size += 2 + len(r.Headers[i].Name) + len(r.Headers[i].Value)
	}
	return size
}

// partitioner is Kafka's own for records with a key. Records without one keep the order of their RocketMQ queue, whose
// index comes in the record's Partition: queue modulo partitions.
type partitioner struct{ byKey kgo.Partitioner }

// ForTopic returns the partitioner of one topic.
func (p partitioner) ForTopic(topic string) kgo.TopicPartitioner {
	return topicPartitioner{p.byKey.ForTopic(topic)}
}

type topicPartitioner struct{ kgo.TopicPartitioner }

// RequiresConsistency says that no record may go elsewhere because its partition is away just now.
func (topicPartitioner) RequiresConsistency(*kgo.Record) bool { return true }

// Partition chooses one of n partitions.
func (p topicPartitioner) Partition(r *kgo.Record, n int) int {
	if r.Key == nil && r.Partition >= 0 {
		return int(r.Partition) % n
	}
	return p.TopicPartitioner.Partition(r, n)
}

// maxTopic is the longest name of a Kafka topic.
const maxTopic = 249

// legalTopic is the Kafka topic for a name; characters that Kafka does not allow become "_".
func legalTopic(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r) {
			return r
		}
		return '_'
	}, name)
}
