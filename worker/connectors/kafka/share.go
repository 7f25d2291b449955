package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/connectors/kafka/watch"
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
	details, err := s.hub.Topics(ctx, s.set.topics, s.set.refresh/2)
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

// starts says where this task's partitions go on. Partitions without a position start as auto.offset.reset says; new ones
// of a topic that was begun before start at their first record.
func (s *Source) starts(ctx context.Context, counts map[string]int) error {
	for topic, partitions := range counts {
		atEnd, err := s.atEnd(topic, partitions)
		if err != nil {
			return err
		}
		starts, err := s.startsOf(ctx, topic, 0, partitions, atEnd)
		if err != nil {
			return err
		}
		maps.Copy(s.next, starts)
		s.known[topic] = partitions
		for p, next := range starts {
			if name := partitionName(p.Topic, p.Number); int(p.Number) < atEnd && s.from[name] == "" {
				// Stored at once: a restart before the first record must not skip what came in between.
				s.progress[name], s.progress[begunName(name)] = position(next.Offset), position(int64(atEnd))
			}
		}
	}
	return nil
}

// atEnd is how many of a topic's partitions, the first ones, start at their end if they have no position: those that the
// topic had when any task first read it.
func (s *Source) atEnd(topic string, partitions int) (int, error) {
	begun, known := 0, false
	for p := range int32(partitions) {
		name := partitionName(topic, p)
		known = known || s.from[name] != ""
		n, _, err := parseStart(begunName(name), s.from)
		if err != nil {
			return 0, err
		}
		begun = max(begun, int(n))
	}
	switch {
	case s.set.reset == resetNone && !known:
		return 0, fmt.Errorf("topic %s has no stored position: set %s to %s or %s", topic, keyReset, resetEarliest, resetLatest)
	case s.set.reset != resetLatest:
		return 0, nil
	case begun == 0 && !known:
		return partitions, nil
	}
	return begun, nil
}

// begunName is where a task that starts a partition at its end stores how many partitions the topic had. The other tasks'
// partitions among them are no new ones, however late those tasks start.
func begunName(p record.SourcePartition) record.SourcePartition { return p + "/begun" }

// startsOf finds where this task's partitions among first..end go on: at the stored position; else at the end of the log
// if they are below atEnd, or at its start.
func (s *Source) startsOf(ctx context.Context, topic string, first, end, atEnd int) (map[watch.Partition]kgo.EpochOffset, error) {
	out := make(map[watch.Partition]kgo.EpochOffset)
	var unknown []int32
	for p := int32(first); p < int32(end); p++ {
		if !s.mine(topic, int(p)) {
			continue
		}
		offset, known, err := parseStart(partitionName(topic, p), s.from)
		if err != nil {
			return nil, err
		}
		if !known {
			unknown = append(unknown, p)
			continue
		}
		out[watch.Partition{Topic: topic, Number: p}] = kgo.EpochOffset{Epoch: -1, Offset: offset}
	}
	if len(unknown) == 0 {
		return out, nil
	}
	limits, err := s.bounds(ctx, topic, unknown)
	for p, b := range limits {
		offset := b.start
		if int(p) < atEnd {
			offset = b.end
		}
		out[watch.Partition{Topic: topic, Number: p}] = kgo.EpochOffset{Epoch: -1, Offset: offset}
	}
	return out, err
}

// bounds are the first offset of a partition and the one after its last.
type bounds struct{ start, end int64 }

// bounds asks for the bounds of partitions.
func (s *Source) bounds(ctx context.Context, topic string, partitions []int32) (out map[int32]bounds, err error) {
	err = settled(ctx, func() error {
		out, err = s.askBounds(ctx, topic, partitions)
		return err
	})
	if err != nil {
		return nil, s.set.explain(ctx, "asking for the offsets of "+topic, err)
	}
	return out, nil
}

// maxPause is the longest pause between two questions: three seconds in all.
const maxPause = 2 * time.Second

// settled asks, more than once while Kafka is not ready to answer: it learns of a topic that was just made, or chooses
// leaders.
func settled(ctx context.Context, ask func() error) error {
	for pause := 50 * time.Millisecond; ; pause *= 2 {
		err := ask()
		if err == nil || !kerr.IsRetriable(err) || pause > maxPause {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		}
	}
}

func (s *Source) askBounds(ctx context.Context, topic string, partitions []int32) (map[int32]bounds, error) {
	starts, err := s.hub.Admin().ListStartOffsets(ctx, topic)
	if err != nil {
		return nil, err
	}
	ends, err := s.hub.Admin().ListEndOffsets(ctx, topic)
	if err != nil {
		return nil, err
	}
	out := make(map[int32]bounds, len(partitions))
	for _, p := range partitions {
		start, _ := starts.Lookup(topic, p)
		end, known := ends.Lookup(topic, p)
		switch {
		case start.Err != nil:
			return nil, start.Err
		case end.Err != nil:
			return nil, end.Err
		case !known:
			return nil, kerr.LeaderNotAvailable
		}
		out[p] = bounds{start: start.Offset, end: end.Offset}
	}
	return out, nil
}

// watchPartitions picks up new partitions, from their first record, and notices that Kafka or a topic is gone, which
// neither fetches nor waits tell.
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
	for topic, partitions := range counts {
		if partitions <= s.known[topic] {
			continue
		}
		starts, err := s.startsOf(s.broken, topic, s.known[topic], partitions, 0)
		if err != nil && errors.Is(err, connector.ErrNotConnected) {
			s.env.Log.V(1).Info("Looking again later for where new partitions start", "topic", topic, "reason", err.Error())
			continue
		}
		if err != nil {
			return err
		}
		for p := range starts {
			s.env.Log.Info("Adding a new partition", "partition", partitionName(p.Topic, p.Number))
		}
		s.known[topic] = partitions
		s.fresh.put(starts)
	}
	return nil
}

// arrivals hands new partitions from the watch to Poll.
type arrivals struct {
	mu        sync.Mutex
	starts    map[watch.Partition]kgo.EpochOffset
	interrupt context.CancelFunc
}

// put hands over, and ends what Poll waits for.
func (a *arrivals) put(starts map[watch.Partition]kgo.EpochOffset) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.starts == nil {
		a.starts = make(map[watch.Partition]kgo.EpochOffset)
	}
	maps.Copy(a.starts, starts)
	if a.interrupt != nil && len(starts) > 0 {
		a.interrupt()
	}
}

// take returns what has come; from now on interrupt is called when more does.
func (a *arrivals) take(interrupt context.CancelFunc) map[watch.Partition]kgo.EpochOffset {
	a.mu.Lock()
	defer a.mu.Unlock()
	starts := a.starts
	a.starts, a.interrupt = nil, interrupt
	return starts
}

// parseStart returns the stored position, if there is one.
func parseStart(name record.SourcePartition, from record.Positions) (offset int64, known bool, err error) {
	stored := from[name]
	if stored == "" {
		return 0, false, nil
	}
	offset, err = strconv.ParseInt(string(stored), 10, 64)
	if err != nil || offset < 0 {
		return 0, false, fmt.Errorf("reading the stored position of %s: %q is not an offset; reset the connector's positions", name, stored)
	}
	return offset, true, nil
}
