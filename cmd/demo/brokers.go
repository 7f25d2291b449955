package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/rmq/rmqtest"
)

const (
	topic      = "orders"
	copyTopic  = "orders-copy"
	partitions = 6
	master     = "broker-a"
	// kept is how many of the newest records each partition and queue keeps: the demo may run for days.
	kept         = 20_000
	trimInterval = 5 * time.Second
)

// brokers are the RocketMQ and the Kafka in this process, and clients of both.
type brokers struct {
	rocketmq *rmqtest.Broker
	kafka    *kfake.Cluster
	rmq      *rmq.Client
	producer *kgo.Client
	consumer *kgo.Client
}

func startBrokers(ctx context.Context) (*brokers, error) {
	b := &brokers{}
	if err := b.start(ctx); err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

func (b *brokers) start(ctx context.Context) (err error) {
	if b.rocketmq, err = rmqtest.New(rmqtest.Masters(master)); err != nil {
		return fmt.Errorf("starting RocketMQ: %w", err)
	}
	if b.kafka, err = kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, topic, copyTopic)); err != nil {
		return fmt.Errorf("starting Kafka: %w", err)
	}
	if b.rmq, err = rmq.Open(rmq.Config{NameServers: []string{b.rocketmq.NameServer()}, ClientID: "demo"}); err != nil {
		return fmt.Errorf("opening RocketMQ: %w", err)
	}
	// The source would make the topic, but the sink may look for it first.
	if _, err = b.rmq.EnsureTopic(ctx, topic, rmq.TopicSpec{Queues: partitions}); err != nil {
		return fmt.Errorf("making the topic in RocketMQ: %w", err)
	}
	if b.producer, err = kgo.NewClient(kgo.SeedBrokers(b.bootstrap()), kgo.DefaultProduceTopic(topic)); err != nil {
		return fmt.Errorf("opening the Kafka producer: %w", err)
	}
	b.consumer, err = kgo.NewClient(kgo.SeedBrokers(b.bootstrap()), kgo.ConsumeTopics(copyTopic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(250*time.Millisecond))
	if err != nil {
		return fmt.Errorf("opening the Kafka consumer: %w", err)
	}
	return nil
}

func (b *brokers) bootstrap() string { return b.kafka.ListenAddrs()[0] }

func (b *brokers) close() error {
	for _, client := range []*kgo.Client{b.producer, b.consumer} {
		if client != nil {
			client.Close()
		}
	}
	var errs []error
	if b.rmq != nil {
		errs = append(errs, b.rmq.Close())
	}
	if b.kafka != nil {
		b.kafka.Close()
	}
	if b.rocketmq != nil {
		errs = append(errs, b.rocketmq.Close())
	}
	return errors.Join(errs...)
}

// produce makes rate records a second, until ctx ends.
func (b *brokers) produce(ctx context.Context, l *ledger, rate int) error {
	const each = 20 * time.Millisecond
	tick := time.NewTicker(each)
	defer tick.Stop()
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	begin, made := time.Now(), 0
	for {
		select {
		case <-ctx.Done():
			// What was numbered must be confirmed or it would count as lost.
			flushing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			return errors.Join(failure(ctx), b.producer.Flush(flushing))
		case <-tick.C:
		}
		for due := int(time.Since(begin).Seconds() * float64(rate)); made < due; made++ {
			key, value := l.next(made % len(l.keys))
			b.producer.Produce(context.WithoutCancel(ctx), &kgo.Record{Key: key, Value: value}, func(_ *kgo.Record, err error) {
				if err != nil {
					fail(fmt.Errorf("producing to Kafka: %w", err))
					return
				}
				l.confirmed()
			})
		}
	}
}

// failure is why ctx ended, unless somebody just wanted it to.
func failure(ctx context.Context) error {
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// consume shows the ledger what comes out, until ctx ends.
func (b *brokers) consume(ctx context.Context, l *ledger) error {
	for {
		fetches := b.consumer.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err := fetches.Err0(); err != nil {
			return fmt.Errorf("reading the copy from Kafka: %w", err)
		}
		fetches.EachRecord(func(r *kgo.Record) { l.see(r.Key, r.Value) })
	}
}

// through returns the end of each queue of the topic in RocketMQ; none while it is not there.
func (b *brokers) through(ctx context.Context) (map[rmq.Queue]int64, error) {
	queues, err := b.rmq.Route(ctx, topic)
	if errors.Is(err, rmq.ErrTopicNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("asking RocketMQ for topic %s: %w", topic, err)
	}
	ends := map[rmq.Queue]int64{}
	for _, q := range queues {
		if _, ends[q], err = b.rmq.Offsets(ctx, q); err != nil {
			return nil, fmt.Errorf("asking RocketMQ for the end of %s: %w", q, err)
		}
	}
	return ends, nil
}

// trim removes old records from time to time. It takes none that may not have been carried yet: all of those fit into
// half of what a single partition keeps.
func (b *brokers) trim(ctx context.Context, l *ledger) error {
	tick := time.NewTicker(trimInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if t := l.count(); t.In-t.Out > kept/2 {
			continue
		}
		if err := b.trimTo(ctx, kept); err != nil && ctx.Err() == nil {
			return err
		}
	}
}

func (b *brokers) trimTo(ctx context.Context, keep int64) error {
	ends, err := b.through(ctx)
	if err != nil {
		return err
	}
	for q, end := range ends {
		if end > keep {
			b.rocketmq.Trim(topic, q.Broker, q.ID, end-keep)
		}
	}
	admin := kadm.NewClient(b.producer)
	listed, err := admin.ListEndOffsets(ctx, topic, copyTopic)
	if err != nil {
		return fmt.Errorf("asking Kafka for the ends of the topics: %w", err)
	}
	below := kadm.Offsets{}
	listed.Each(func(o kadm.ListedOffset) {
		if o.Err == nil && o.Offset > keep {
			below.AddOffset(o.Topic, o.Partition, o.Offset-keep, -1)
		}
	})
	if len(below) == 0 {
		return nil
	}
	if _, err := admin.DeleteRecords(ctx, below); err != nil {
		return fmt.Errorf("removing old records from Kafka: %w", err)
	}
	return nil
}
