package kafka

import (
	"runtime"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/rocketmq-connect/operator/worker/connector/connectortest"
)

// Whoever may write to a topic sends a few kilobytes that unfold to more than a worker has memory for.
func TestABatchThatUnfoldsIsRefused(t *testing.T) {
	const unfolds = 90 << 20
	f := newFake(t, kfake.SeedTopics(1, "orders"))
	f.produceValues(t, "orders", 0, "before")
	client, err := kgo.NewClient(kgo.SeedBrokers(f.ListenAddrs()...), kgo.ProducerBatchMaxBytes(2*unfolds), kgo.BrokerMaxWriteBytes(2*unfolds),
		kgo.ProducerBatchCompression(kgo.ZstdCompression()), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.ProduceSync(limited(t), &kgo.Record{Topic: "orders", Value: make([]byte, unfolds)}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	before := m.TotalAlloc
	s := openSource(t, f.sourceConfig("orders"), connectortest.NewWorker(nil).Env(0, 1), nil)
	poll(t, s, 1)
	ctx := limited(t)
	for {
		records, err := s.Poll(ctx)
		if len(records) > 0 || ctx.Err() != nil {
			t.Fatalf("%d records came, %v", len(records), err)
		}
		if err == nil {
			continue
		}
		if !strings.Contains(err.Error(), "partition 0 of orders holds a compressed batch at offset 1 or later") {
			t.Errorf("got %v", err)
		}
		break
	}
	// Nor does the hub of idle partitions unfold it.
	if runtime.ReadMemStats(&m); m.TotalAlloc-before > unfolds/2 {
		t.Errorf("%d MiB were allocated", (m.TotalAlloc-before)>>20)
	}
}
