package flow

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/rocketmq-connect/operator/worker/rmq"
)

// Count returns how many records a topic holds; a topic that is not there holds none.
type Count func(ctx context.Context) (int64, error)

// KafkaEnds counts a Kafka topic's records by its end offsets. Close the client after use.
func KafkaEnds(client *kgo.Client, topic string) Count {
	admin := kadm.NewClient(client)
	return func(ctx context.Context) (int64, error) {
		ends, err := admin.ListEndOffsets(ctx, topic)
		if err != nil {
			return 0, fmt.Errorf("asking Kafka for the ends of %s: %w", topic, err)
		}
		var sum int64
		ends.Each(func(o kadm.ListedOffset) { sum += max(o.Offset, 0) })
		return sum, nil
	}
}

// RocketMQEnds counts a RocketMQ topic's records by its end offsets.
func RocketMQEnds(client *rmq.Client, topic string) Count {
	return func(ctx context.Context) (int64, error) {
		queues, err := client.Route(ctx, topic)
		if errors.Is(err, rmq.ErrTopicNotFound) {
			return 0, nil
		}
		if err != nil {
			return 0, fmt.Errorf("asking for the route of %s: %w", topic, err)
		}
		var sum int64
		for _, q := range queues {
			_, end, err := client.Offsets(ctx, q)
			if err != nil {
				return 0, fmt.Errorf("asking for the end of %s: %w", q, err)
			}
			sum += end
		}
		return sum, nil
	}
}

// Rate is how a topic filled.
type Rate struct {
	Records int64
	// Took is the time from the first record seen to the last.
	Took time.Duration
}

// PerSecond is 0 when nothing was measured.
func (r Rate) PerSecond() float64 {
	if r.Took <= 0 {
		return 0
	}
	return float64(r.Records) / r.Took.Seconds()
}

// Measure watches a topic until it holds want records, four times a second; progress is told about once a second.
func Measure(ctx context.Context, count Count, want int64, progress func(n int64)) (Rate, error) {
	var first, last time.Time
	var begin, n int64
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		now, err := count(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			continue
		case ctx.Err() != nil:
			return Rate{}, fmt.Errorf("waiting for %d records, %d are there: %w", want, n, context.Cause(ctx))
		case now > n && n == 0:
			first, begin = time.Now(), now
		}
		n, last = now, time.Now()
		if n >= want {
			progress(n)
			return Rate{Records: n - begin, Took: last.Sub(first)}, nil
		}
		if i%8 == 0 {
			progress(n)
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}
