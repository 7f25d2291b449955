package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/rocketmq-connect/operator/worker/record"
)

// mine reports whether a partition belongs to this task: partitions are dealt round, and each topic begins one task
// further than the one before it, so that topics of one partition do not all meet at the first task. New partitions
// never move old ones.
func (s *Source) mine(topic string, partition int) bool {
	return (slices.Index(s.set.topics, topic)+partition)%max(s.env.Tasks, 1) == s.env.Task
}

// partitionCounts asks how many partitions each topic has. Topics whose leaders are just being chosen are left out.
func (s *Source) partitionCounts(ctx context.Context) (map[string]int, error) {
	const doing = "looking up the topics"
	details, err := s.admin.ListTopicsWithInternal(ctx, s.set.topics...)
	if err != nil {
		return nil, s.set.explain(ctx, doing, err)
	}
	counts := make(map[string]int, len(details))
	var errs []error
	for _, topic := range s.set.topics {
		switch err := details[topic].Err; {
		case err == nil:
			counts[topic] = len(details[topic].Partitions)
		case errors.Is(err, kerr.UnknownTopicOrPartition), errors.Is(err, kerr.InvalidTopicException):
			errs = append(errs, fmt.Errorf("topic %q does not exist in Kafka at %s: make it, or correct %s: %w",
				topic, strings.Join(s.set.bootstrap, ","), keyTopics, err))
		case !kerr.IsRetriable(err):
			errs = append(errs, s.set.explain(ctx, "looking up topic "+topic, err))
		}
	}
	return counts, errors.Join(errs...)
}

// ensureTargets makes each RocketMQ topic with as many queues as its Kafka topic has partitions.
func (s *Source) ensureTargets(ctx context.Context, counts map[string]int) error {
	for topic, partitions := range counts {
		if err := s.env.EnsureTopic(ctx, topic, partitions); err != nil {
			return fmt.Errorf("making the RocketMQ topic for Kafka topic %s: %w", topic, err)
		}
	}
	return nil
}

// starts says where this task's partitions go on. Partitions without a position start as auto.offset.reset says; if the
// topic has positions of others, they are new ones and start at their first record.
func (s *Source) starts(ctx context.Context, counts map[string]int) (map[string]map[int32]kgo.Offset, error) {
	out := make(map[string]map[int32]kgo.Offset, len(counts))
	for topic, partitions := range counts {
		s.known[topic] = partitions
		var latest map[int32]bounds
		if s.set.reset == resetLatest && !isKnownTopic(topic, partitions, s.from) {
			var err error
			if latest, err = s.bounds(ctx, topic); err != nil {
				return nil, err
			}
		}
		out[topic] = make(map[int32]kgo.Offset, partitions)
		for p := range int32(partitions) {
			if !s.mine(topic, int(p)) {
				continue
			}
			start, err := s.start(partitionName(topic, p), latest, p)
			if err != nil {
				return nil, err
			}
			out[topic][p] = start
		}
	}
	return out, nil
}

func (s *Source) start(name record.SourcePartition, latest map[int32]bounds, partition int32) (kgo.Offset, error) {
	if b, ok := latest[partition]; ok {
		// Stored at once: a restart before the first record must not skip what came in between.
		s.next[name], s.progress[name] = b.end, position(b.end)
		return kgo.NewOffset().At(b.end), nil
	}
	start, err := parseStart(name, s.from)
	if offset := start.EpochOffset().Offset; err == nil && offset >= 0 {
		s.next[name] = offset
	}
	return start, err
}

func isKnownTopic(topic string, partitions int, from record.Positions) bool {
	for p := range int32(partitions) {
		if from[partitionName(topic, p)] != "" {
			return true
		}
	}
	return false
}

// bounds are the first offset of a partition and the one after its last.
type bounds struct{ start, end int64 }

func (s *Source) bounds(ctx context.Context, topic string) (map[int32]bounds, error) {
	doing := "asking for the offsets of " + topic
	starts, err := s.admin.ListStartOffsets(ctx, topic)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		return nil, s.set.explain(ctx, doing, err)
	}
	ends, err := s.admin.ListEndOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return nil, s.set.explain(ctx, doing, err)
	}
	out := make(map[int32]bounds, len(starts[topic]))
	starts.Each(func(o kadm.ListedOffset) {
		end, _ := ends.Lookup(o.Topic, o.Partition)
		out[o.Partition] = bounds{start: o.Offset, end: end.Offset}
	})
	return out, nil
}

// watchPartitions picks up new partitions, from their first record, and notices that Kafka or a topic is gone, which
// fetches do not tell.
func (s *Source) watchPartitions() error {
	tick := time.NewTicker(s.set.refresh)
	defer tick.Stop()
	for {
		select {
		case <-s.broken.Done():
			return nil
		case <-tick.C:
		}
		counts, err := s.partitionCounts(s.broken)
		if err != nil {
			return err
		}
		if err := s.addNew(counts); err != nil {
			return err
		}
	}
}

func (s *Source) addNew(counts map[string]int) error {
	fresh := make(map[string]map[int32]kgo.Offset)
	for topic, partitions := range counts {
		for p := s.known[topic]; p < partitions; p++ {
			if !s.mine(topic, p) {
				continue
			}
			start, err := parseStart(partitionName(topic, int32(p)), s.from)
			if err != nil {
				return err
			}
			s.env.Log.Info("Adding a new partition", "partition", partitionName(topic, int32(p)))
			if fresh[topic] == nil {
				fresh[topic] = make(map[int32]kgo.Offset)
			}
			fresh[topic][int32(p)] = start
		}
		s.known[topic] = max(partitions, s.known[topic])
	}
	s.client.AddConsumePartitions(fresh)
	return nil
}

// parseStart returns the stored position, or the first record when there is none.
func parseStart(name record.SourcePartition, from record.Positions) (kgo.Offset, error) {
	stored := from[name]
	if stored == "" {
		return kgo.NewOffset().AtStart(), nil
	}
	offset, err := strconv.ParseInt(string(stored), 10, 64)
	if err != nil || offset < 0 {
		return kgo.Offset{}, fmt.Errorf("reading the stored position of %s: %q is not an offset; reset the connector's positions", name, stored)
	}
	return kgo.NewOffset().At(offset), nil
}
