package kafka

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/rocketmq-connect/operator/worker/connectors/kafka/watch"
	"github.com/rocketmq-connect/operator/worker/record"
)

// Why records are skipped.
const (
	skipLoop       = "loop"         // a sink of this Connect cluster wrote them
	skipOutOfRange = "out-of-range" // Kafka no longer holds them; one is counted when nobody knows how many
	skipDataLoss   = "data-loss"    // Kafka lost its newest records; counted once each time
)

// skips gathers one Poll's skipped records per partition, for one log line each.
type skips map[record.SourcePartition]*skip

type skip struct {
	first, last int64
	records     int
}

// take turns fetched records into ours.
func (s *Source) take(fetches kgo.Fetches) []record.Record {
	records := make([]record.Record, 0, fetches.NumRecords())
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		if len(p.Records) > 0 {
			records = s.takePartition(records, p)
		}
	})
	s.reportSkips()
	return records
}

func (s *Source) takePartition(out []record.Record, p kgo.FetchTopicPartition) []record.Record {
	name, queue := partitionName(p.Topic, p.Partition), int(p.Partition)
	if s.set.byKey {
		queue = record.QueueAny
	}
	for _, in := range p.Records {
		headers := takeHeaders(in.Headers)
		if s.env.ClusterID != "" && hasOrigin(headers, s.env.ClusterID) {
			s.skip(name, in.Offset)
			continue
		}
		r := record.Record{
			Topic: p.Topic, Queue: queue, Key: in.Key, Value: in.Value, Headers: headers,
			Partition: name, Position: position(in.Offset + 1),
		}
		if in.Timestamp.UnixMilli() >= 0 { // -1: the record has none
			r.Timestamp = in.Timestamp
		}
		delete(s.progress, name)
		out = append(out, r)
	}
	last := p.Records[len(p.Records)-1]
	s.next[watch.Partition{Topic: p.Topic, Number: p.Partition}] = kgo.EpochOffset{Epoch: last.LeaderEpoch, Offset: last.Offset + 1}
	return out
}

func takeHeaders(in []kgo.RecordHeader) []record.Header {
	if len(in) == 0 {
		return nil
	}
	headers := make([]record.Header, len(in))
	for i, h := range in {
		headers[i] = record.Header{Name: h.Key, Value: h.Value}
	}
	return headers
}

func (s *Source) skip(name record.SourcePartition, offset int64) {
	s.progress[name] = position(offset + 1)
	each := s.skips[name]
	if each == nil {
		each = &skip{first: offset}
		s.skips[name] = each
	}
	each.last = offset
	each.records++
}

// reportSkips counts and logs, for people only the first of an attempt and at its end how many there were: a topic that is
// carried both ways is nothing but such records on one of them. Invariant P4: every skip is counted and logged with its
// source position.
func (s *Source) reportSkips() {
	for name, each := range s.skips {
		s.env.Skipped(skipLoop, each.records)
		log := s.env.Log
		if s.skipped > 0 {
			log = log.V(1)
		}
		s.skipped += each.records
		log.Info("Skipping records that this Connect cluster wrote itself",
			"partition", name, "records", each.records, "firstOffset", each.first, "lastOffset", each.last)
	}
	clear(s.skips)
}

// sumUpSkips says how many records an attempt left out.
func (s *Source) sumUpSkips() {
	if s.skipped > 0 {
		s.env.Log.Info("Skipped records that this Connect cluster wrote itself", "records", s.skipped)
	}
}

// reposition goes on at another offset when Kafka does not hold the one that comes next, as auto.offset.reset says.
func (s *Source) reposition(ctx context.Context, topic string, partition int32) error {
	bounds, err := s.bounds(ctx, topic, []int32{partition})
	if err != nil {
		return err
	}
	p := watch.Partition{Topic: topic, Number: partition}
	name, b, next := partitionName(topic, partition), bounds[partition], s.next[p].Offset
	if s.set.reset == resetNone {
		return fmt.Errorf("partition %d of %s holds offsets %d to %d, and the position is %d: set %s to %s or %s, or reset the connector's positions",
			partition, topic, b.start, b.end, next, keyReset, resetEarliest, resetLatest)
	}
	to := b.start
	if s.set.reset == resetLatest {
		to = b.end
	}
	lost := max(to-next, 1)
	// Invariant P4: what can no longer be read is counted and logged.
	s.env.Skipped(skipOutOfRange, int(lost))
	s.env.Log.Info("Going on at another offset: Kafka does not hold the next one", "partition", name, "position", next,
		"firstOffset", b.start, "endOffset", b.end, "newPosition", to)
	s.next[p], s.progress[name] = kgo.EpochOffset{Epoch: -1, Offset: to}, position(to)
	s.client.RemoveConsumePartitions(map[string][]int32{topic: {partition}})
	s.client.AddConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: kgo.NewOffset().At(to)}})
	return nil
}

// goBack goes on where the log of a new leader parts from what was read: Kafka lost the rest. The client is there already;
// what is stored has to go back, too, for no later start would notice.
func (s *Source) goBack(lost *kgo.ErrDataLoss) {
	p, name := watch.Partition{Topic: lost.Topic, Number: lost.Partition}, partitionName(lost.Topic, lost.Partition)
	// Invariant P4: what was lost is counted and logged.
	s.env.Skipped(skipDataLoss, 1)
	s.env.Log.Error(lost, "Kafka lost records that were read", "partition", name)
	if s.next[p].Epoch > lost.ConsumedToEpoch {
		return // records of the new leader came along: they lie behind the place to go back to
	}
	s.next[p] = kgo.EpochOffset{Epoch: lost.ResetToEpoch, Offset: lost.ResetTo}
	s.progress[name] = position(lost.ResetTo)
}

// headerOrigin marks records that a Connect cluster's sink wrote, so that its sources leave them alone.
const headerOrigin = "connect-origin"

func hasOrigin(headers []record.Header, cluster string) bool {
	for i := range headers {
		if headers[i].Name == headerOrigin && string(headers[i].Value) == cluster {
			return true
		}
	}
	return false
}
