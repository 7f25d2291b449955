//go:build linux

package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/rocketmq-connect/operator/worker/convert"
	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/rmq"
)

// kind is a direction: a source reads Kafka, a sink writes it, and the peer, MirrorMaker, goes from Kafka to Kafka.
type kind string

const (
	source kind = "source"
	sink   kind = "sink"
	peer   kind = "peer"
)

const (
	// queues is how many queues and partitions every topic has.
	queues = 8
	// runWeight is what one run moves: enough for 3 s at full speed. A record weighs its value's bytes, and as much again
	// as a record costs by itself.
	runWeight    = 700_000 << 10
	recordWeight = 1 << 10
)

// suite is the bench. One value holds what all parts need, brokers, options and what was measured; each part is a
// method.
type suite struct {
	env     environment
	o       options
	id      string // sets this bench's topics apart
	kafka   *kgo.Client
	admin   *kadm.Client
	rmq     *rmq.Client
	workers *workers
	peers   *peers
	say     func(format string, args ...any)
	topics  int
}

func newSuite(env environment, o options, dir string, command []string) (*suite, error) {
	b := &suite{env: env, o: o, id: "bench-" + strings.ToLower(rand.Text()[:8])}
	b.workers = &workers{env: env, dir: dir, cluster: b.id, command: command}
	b.peers = &peers{kafka: env.kafka, alias: b.id, dir: dir}
	var err error
	b.rmq, err = rmq.Open(rmq.Config{NameServers: strings.Split(env.nameServer, ";"), ClientID: b.id})
	if err != nil {
		return nil, err
	}
	if o.onlyControl() {
		return b, nil
	}
	b.kafka, err = kgo.NewClient(kgo.SeedBrokers(strings.Split(env.kafka, ",")...), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerLinger(0))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening Kafka: %w", err), b.rmq.Close())
	}
	b.admin = kadm.NewClient(b.kafka)
	return b, nil
}

func (b *suite) close() {
	if b.kafka != nil {
		b.kafka.Close()
	}
	_ = b.rmq.Close()
}

func (b *suite) recordsOf(size int) int64 {
	if b.o.records > 0 {
		return int64(b.o.records)
	}
	return int64(runWeight / (recordWeight + size))
}

// kafkaName is a name that nothing on Kafka has yet.
func (b *suite) kafkaName() string {
	b.topics++
	return fmt.Sprintf("%s-k%d", b.id, b.topics)
}

// kafkaTopic makes a topic.
func (b *suite) kafkaTopic(ctx context.Context, partitions int32) (string, error) {
	topic := b.kafkaName()
	return topic, b.createKafkaTopic(ctx, partitions, topic)
}

func (b *suite) createKafkaTopic(ctx context.Context, partitions int32, topic string) error {
	if _, err := b.admin.CreateTopic(ctx, partitions, 1, nil, topic); err != nil {
		return fmt.Errorf("creating Kafka topic %s: %w", topic, err)
	}
	return nil
}

func (b *suite) dropKafkaTopic(ctx context.Context, topic string) {
	if _, err := b.admin.DeleteTopic(ctx, topic); err != nil {
		b.say("Deleting Kafka topic %s failed: %s", topic, err)
	}
}

func (b *suite) rmqTopic(ctx context.Context) (string, error) {
	b.topics++
	topic := fmt.Sprintf("%s-r%d", b.id, b.topics)
	_, err := b.rmq.EnsureTopic(ctx, topic, rmq.TopicSpec{Queues: queues})
	return topic, err
}

// values gives incompressible values: windows of a random buffer.
type values struct {
	pool []byte
	size int
}

func newValues(size int) values {
	v := values{pool: make([]byte, size+1<<20), size: size}
	_, _ = rand.Read(v.pool)
	return v
}

func (v values) at(i int64) []byte {
	start := int(i * 7919 % (1 << 20))
	return v.pool[start : start+v.size]
}

func key(i int64) []byte { return fmt.Appendf(nil, "key-%08d", i) }

// fillKafka produces n records, dealt over the partitions.
func (b *suite) fillKafka(ctx context.Context, topic string, size int, n int64) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	v, now := newValues(size), time.Now()
	for i := range n {
		r := &kgo.Record{Topic: topic, Partition: int32(i % queues), Key: key(i), Value: v.at(i), Timestamp: now}
		b.kafka.Produce(ctx, r, func(_ *kgo.Record, err error) {
			if err != nil {
				fail(err)
			}
		})
	}
	err := b.kafka.Flush(ctx)
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("filling Kafka topic %s: %w", topic, err)
	}
	return nil
}

// fillRocketMQ sends n records, as the worker would have written them.
func (b *suite) fillRocketMQ(ctx context.Context, topic string, size int, n int64) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	sender := b.rmq.NewSender(rmq.SenderConfig{})
	defer sender.Close()
	v, now := newValues(size), time.Now()
	for i := range n {
		m, err := convert.ToMessage(&record.Record{Topic: topic, Queue: int(i % queues), Key: key(i), Value: v.at(i), Timestamp: now})
		if err != nil {
			return err
		}
		err = sender.Send(ctx, m, func(_ int64, err error) {
			if err != nil {
				fail(err)
			}
		})
		if err != nil {
			return fmt.Errorf("filling RocketMQ topic %s: %w", topic, err)
		}
	}
	err := sender.Flush(ctx)
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("filling RocketMQ topic %s: %w", topic, err)
	}
	return nil
}
