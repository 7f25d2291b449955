package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/connectors/kafka/resume"
	"github.com/rocketmq-connect/operator/worker/connectors/kafka/watch"
	"github.com/rocketmq-connect/operator/worker/record"
)

// Why records are skipped.
const (
	skipLoop       = "loop"            // a sink of this Connect cluster wrote them, an older one that gives no path
	skipOutOfRange = "out-of-range"    // Kafka no longer holds them; one is counted when nobody knows how many
	skipDataLoss   = "data-loss"       // Kafka lost its newest records; counted once each time
	skipRemade     = "topic-recreated" // the topic was deleted with what nobody had read yet; one is counted for each partition
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
	name, queue, at := resume.Partition(p.Topic, p.Partition), int(p.Partition), resume.In(s.ids[p.Topic])
	if s.set.byKey {
		queue = record.QueueAny
	}
	here := s.place(p.Topic)
	for _, in := range p.Records {
		path, headers := record.TakePath(takeHeaders(in.Headers))
		if path == "" && s.env.ClusterID != "" && hasOrigin(headers, s.env.ClusterID) {
			s.skip(name, in.Offset, at(in.Offset+1))
			continue
		}
		r := record.Record{
			Topic: p.Topic, Queue: queue, Key: in.Key, Value: in.Value, Headers: headers,
			Path: path.In(here), Partition: name, Position: at(in.Offset + 1),
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

func (s *Source) skip(name record.SourcePartition, offset int64, after record.Position) {
	s.progress[name] = after
	each := s.skips[name]
	if each == nil {
		each = &skip{first: offset}
		s.skips[name] = each
	}
	each.last = offset
	each.records++
}

// reportSkips counts and logs, for people only the first of an attempt and at its end how many there were: a topic that
// is carried both ways is nothing but such records on one of them. Invariant P4: every skip is counted and logged with
// its source position.
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

// same says whether topics are still those that were begun. The others are left alone until the watch has looked.
func (s *Source) same(ctx context.Context, maxAge time.Duration, topics ...string) (bool, error) {
	sh, err := s.lookUp(ctx, maxAge)
	if err != nil {
		return false, err
	}
	same := true
	for _, topic := range topics {
		id, read := s.ids[topic]
		if !read || s.away[topic] {
			continue
		}
		t, there := sh.topics[topic]
		if there && !t.Is(id) || !there && !errors.Is(sh.problems[topic], connector.ErrNotConnected) {
			s.question(topic, nil)
			same = false
		}
	}
	return same, nil
}

// question leaves a topic alone until the watch has looked at it; denied is not nil if its records are.
func (s *Source) question(topic string, denied error) {
	s.away[topic] = true
	s.letGo()
	s.fresh.ask(topic, denied)
}

// withoutDenied counts topics among the problems whose records were denied, for as long as they are: looking them up
// takes another right than reading them.
func (s *Source) withoutDenied(sh shown, doubted map[string]error) {
	for topic, denied := range doubted {
		if denied != nil {
			s.denied[topic] = true
		}
	}
	for topic := range s.denied {
		if _, there := sh.topics[topic]; !there {
			continue
		}
		err := s.hub.Probe(s.broken, watch.Partition{Topic: topic}, 0)
		if !errors.Is(err, kerr.TopicAuthorizationFailed) {
			delete(s.denied, topic)
			continue
		}
		sh.problems[topic] = s.set.explainTopic(s.broken, topic, err)
		delete(sh.topics, topic)
	}
}

// startOver forgets the partitions of a topic that was deleted and recreated. What came with the new one is read from
// its first record.
func (s *Source) startOver(topic string, n news) {
	maps.DeleteFunc(s.next, func(p watch.Partition, _ kgo.EpochOffset) bool { return p.Topic == topic })
	if len(n.starts) == 0 {
		return
	}
	// Invariant P4: what can no longer be read is counted and logged.
	s.env.Skipped(skipRemade, len(n.starts))
	s.env.Log.Info("Reading a topic from its first record: it was deleted and recreated", "topic", topic, "formerID", n.former,
		"id", n.id, "partitions", len(n.starts))
}

// reposition goes on at the first record that Kafka holds when it does not hold the one that comes next: retention took
// it, or the log ends before it. auto.offset.reset says whether to go on at all; to go on at the end would drop what is
// there.
func (s *Source) reposition(ctx context.Context, topic string, partition int32) error {
	same, err := s.same(ctx, 0, topic)
	if s.away[topic] || err != nil || !same {
		return err
	}
	bounds, err := s.bounds(ctx, topic, []int32{partition})
	if err != nil {
		return err
	}
	p := watch.Partition{Topic: topic, Number: partition}
	name, b, next := resume.Partition(topic, partition), bounds[partition], s.next[p].Offset
	if s.set.reset == resume.None {
		return fmt.Errorf(
			"partition %d of %s holds offsets %d to %d, and the position is %d: set %s to %s or %s, which go on at offset %d, or reset "+
				"the connector's positions",
			partition,
			topic,
			b.start,
			b.end,
			next,
			keyReset,
			resume.Earliest,
			resume.Latest,
			b.start,
		)
	}
	lost := max(b.start-next, 1)
	// Invariant P4: what can no longer be read is counted and logged.
	s.env.Skipped(skipOutOfRange, int(lost))
	s.env.Log.Info("Going on at the first record: Kafka does not hold the next one", "partition", name, "position", next,
		"firstOffset", b.start, "endOffset", b.end)
	s.next[p] = kgo.EpochOffset{Epoch: -1, Offset: b.start}
	s.advance(p, b.start)
	if s.client != nil {
		s.client.RemoveConsumePartitions(map[string][]int32{topic: {partition}})
		s.client.AddConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: kgo.NewOffset().At(b.start)}})
	}
	return nil
}

// goBack goes on where the log of a new leader parts from what was read: Kafka lost the rest. The client is there
// already; what is stored has to go back, too, for no later start would notice.
func (s *Source) goBack(lost *kgo.ErrDataLoss) {
	p, name := watch.Partition{Topic: lost.Topic, Number: lost.Partition}, resume.Partition(lost.Topic, lost.Partition)
	// Invariant P4: what was lost is counted and logged.
	s.env.Skipped(skipDataLoss, 1)
	s.env.Log.Error(lost, "Kafka lost records that were read", "partition", name)
	if s.next[p].Epoch > lost.ConsumedToEpoch {
		return // records of the new leader came along: they lie behind the place to go back to
	}
	s.next[p] = kgo.EpochOffset{Epoch: lost.ResetToEpoch, Offset: lost.ResetTo}
	s.advance(p, lost.ResetTo)
}

// place names a topic that is read.
func (s *Source) place(topic string) record.Place {
	place, known := s.places[topic]
	if !known {
		place = s.set.place(s.hub, topic)
		s.places[topic] = place
	}
	return place
}

// headerOrigin marks records that a sink of an older version wrote, by its cluster's name. Later ones write a path.
const headerOrigin = "connect-origin"

func hasOrigin(headers []record.Header, cluster string) bool {
	for i := range headers {
		if headers[i].Name == headerOrigin && string(headers[i].Value) == cluster {
			return true
		}
	}
	return false
}
