//go:build integration

package integration

import (
	"crypto/rand"
	"fmt"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/rocketmq-connect/operator/worker/connector/connectortest"
	"github.com/rocketmq-connect/operator/worker/connectors/kafka"
	"github.com/rocketmq-connect/operator/worker/record"
)

const benchRecords = 200_000

// BenchmarkKafkaSource reads 1 KiB records of random bytes from 4 partitions.
func BenchmarkKafkaSource(b *testing.B) {
	k := newRealKafka(b, 4, nil)
	value := make([]byte, 1024)
	_, _ = rand.Read(value)
	producing := limited(b)
	for i := range benchRecords {
		k.client.Produce(producing, &kgo.Record{Topic: k.topic, Partition: int32(i % 4), Key: fmt.Appendf(nil, "key-%d", i), Value: value}, nil)
	}
	if err := k.client.Flush(limited(b)); err != nil {
		b.Fatal(err)
	}
	debug.FreeOSMemory()
	for b.Loop() {
		source := kafka.SourceConnector{}.NewSource()
		if err := source.Open(limited(b), connectortest.NewWorker(nil).Env(0, 1), k.sourceConfig(), nil); err != nil {
			b.Fatal(err)
		}
		start, n, polls, ctx := time.Now(), 0, 0, limited(b)
		for ; n < benchRecords; polls++ {
			records, err := source.Poll(ctx)
			if err != nil || ctx.Err() != nil {
				b.Fatal(err, ctx.Err())
			}
			n += len(records)
		}
		b.ReportMetric(float64(n)/time.Since(start).Seconds(), "records/s")
		b.ReportMetric(float64(n)/float64(polls), "records/poll")
		reportHeap(b)
		if err := source.Close(ctx); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkKafkaSink writes 1 KiB records to 4 partitions, in small and in usual batches.
func BenchmarkKafkaSink(b *testing.B) {
	for _, size := range []int{32, 500} {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) {
			k := newRealKafka(b, 4, nil)
			sink := kafka.SinkConnector{}.NewSink()
			if err := sink.Open(limited(b), connectortest.NewWorker(nil).Env(0, 1), k.sinkConfig()); err != nil {
				b.Fatal(err)
			}
			defer sink.Close(limited(b))
			value := make([]byte, 1024)
			_, _ = rand.Read(value)
			batch := make([]record.Record, size)
			for i := range batch {
				batch[i] = record.Record{Topic: k.topic, Key: fmt.Appendf(nil, "key-%d", i), Value: value, Timestamp: time.Now()}
			}
			for b.Loop() {
				start, ctx := time.Now(), limited(b)
				for range benchRecords / 2 / size {
					if err := sink.Put(ctx, batch); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(benchRecords/2/size*size)/time.Since(start).Seconds(), "records/s")
			}
			reportHeap(b)
		})
	}
}

func reportHeap(b *testing.B) {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b.ReportMetric(float64(m.HeapSys-m.HeapReleased)/(1<<20), "MiB-heap")
}
