//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/rocketmq-connect/operator/test/wait"
	"github.com/rocketmq-connect/operator/worker/rmq"
)

const (
	latencyRate = 1000 // records/s
	latencySize = 1024 // bytes
	// warmUp is how many records do not count.
	warmUp = latencyRate
)

// latencies measures how long a record takes from its production to Kafka until it is read from RocketMQ.
func (b *suite) latencies(ctx context.Context) (string, error) {
	p50, p99 := map[bool][]float64{}, map[bool][]float64{}
	for i := range b.o.runs {
		for turn := range 2 {
			isWorker := (i+turn)%2 == 0
			var c contender = &bareContender{env: b.env}
			if isWorker {
				c = &workerContender{workers: b.workers}
			}
			took, err := b.latency(ctx, c)
			if err != nil {
				return "", fmt.Errorf("measuring the latency of %T: %w", c, err)
			}
			slices.Sort(took)
			mid, high := quantile(took, 0.5), quantile(took, 0.99)
			b.say("latency, run %d, %-6s p50 %s p99 %s", i+1, nameOf(isWorker), mid, high)
			p50[isWorker] = append(p50[isWorker], float64(mid.Microseconds())/1000)
			p99[isWorker] = append(p99[isWorker], float64(high.Microseconds())/1000)
		}
	}
	rows := [][]string{{fmt.Sprintf("Kafka to RocketMQ, 1 KiB, %d records/s", latencyRate), "p50 ms", "p99 ms"}}
	for _, isWorker := range []bool{true, false} {
		rows = append(rows, []string{nameOf(isWorker), fmt.Sprintf("%.2f", median(p50[isWorker])), fmt.Sprintf("%.2f", median(p99[isWorker]))})
	}
	rows = append(rows, []string{"ratio", ratio(median(p50[true]), median(p50[false])), ratio(median(p99[true]), median(p99[false]))})
	return table(rows), nil
}

func (b *suite) latency(ctx context.Context, c contender) (took []time.Duration, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, stuck, fmt.Errorf("it is not done after %s", stuck))
	defer cancel()
	job := bareJob{Kind: source, Records: int64(b.o.latency * latencyRate)}
	if job.From, err = b.kafkaTopic(ctx, queues); err != nil {
		return nil, err
	}
	defer b.dropKafkaTopic(context.WithoutCancel(ctx), job.From)
	if job.To, err = b.rmqTopic(ctx); err != nil {
		return nil, err
	}
	if _, err := c.start(ctx, job); err != nil {
		return nil, err
	}
	group, moving := errgroup.WithContext(ctx)
	group.Go(func() error { return b.trickle(moving, job) })
	group.Go(func() error {
		took, err = b.arrivals(moving, job)
		return err
	})
	err = group.Wait()
	_, finishErr := c.finish(ctx)
	return took, errors.Join(err, finishErr)
}

// trickle produces records that hold the time of their production, at an even rate.
func (b *suite) trickle(ctx context.Context, job bareJob) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	v, begin := newValues(latencySize), time.Now()
	for i := range job.Records {
		if due := time.Until(begin.Add(time.Duration(i) * time.Second / latencyRate)); due > 0 {
			if err := wait.Pause(ctx, due); err != nil {
				return err
			}
		}
		value, now := slices.Clone(v.at(i)), time.Now()
		binary.BigEndian.PutUint64(value, uint64(now.UnixNano()))
		r := &kgo.Record{Topic: job.From, Partition: int32(i % queues), Key: key(i), Value: value, Timestamp: now}
		b.kafka.Produce(ctx, r, func(_ *kgo.Record, err error) {
			if err != nil {
				fail(err)
			}
		})
	}
	return b.kafka.Flush(ctx)
}

// arrivals reads the records and tells how old each was.
func (b *suite) arrivals(ctx context.Context, job bareJob) ([]time.Duration, error) {
	route, err := b.rmq.Route(ctx, job.To)
	if err != nil {
		return nil, err
	}
	from := map[rmq.Queue]int64{}
	for _, q := range route {
		from[q] = 0
	}
	reader := b.rmq.NewReader(rmq.ReaderConfig{Group: b.id})
	defer reader.Close()
	reader.Assign(from)
	var took []time.Duration
	for n := int64(0); n < job.Records; {
		batch, err := reader.Poll(ctx, 1000)
		if err != nil {
			return nil, err
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%d of %d records came: %w", n, job.Records, context.Cause(ctx))
		}
		now := time.Now()
		for i := range batch {
			if n++; n > warmUp {
				took = append(took, now.Sub(time.Unix(0, int64(binary.BigEndian.Uint64(batch[i].Body)))))
			}
		}
	}
	return took, nil
}

func nameOf(isWorker bool) string {
	if isWorker {
		return nameWorker
	}
	return nameBare
}
