//go:build integration

package integration

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/connector/connectortest"
	"github.com/rocketmq-connect/operator/worker/connectors/kafka"
	"github.com/rocketmq-connect/operator/worker/convert"
	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/rmq"
)

const nobody = "127.0.0.1:1"

// kafkaAddr is the real Kafka's.
func kafkaAddr() string {
	if s := os.Getenv("KAFKA_BOOTSTRAP"); s != "" {
		return s
	}
	return "127.0.0.1:9092"
}

// realKafka is a topic of its own for one test.
type realKafka struct {
	client *kgo.Client
	admin  *kadm.Client
	topic  string
}

func newRealKafka(t testing.TB, partitions int32, configs map[string]*string) *realKafka {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(kafkaAddr()), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.MetadataMinAge(50*time.Millisecond),
		kgo.DisableIdempotentWrite()) // what is produced after a purge would count as produced before
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	k := &realKafka{client: client, admin: kadm.NewClient(client), topic: "connector-test-" + strings.ToLower(rand.Text())}
	if partitions > 0 {
		if _, err := k.admin.CreateTopic(limited(t), partitions, 1, configs, k.topic); err != nil {
			t.Fatalf("creating topic %s on %s: %v", k.topic, kafkaAddr(), err)
		}
	}
	t.Cleanup(func() {
		if _, err := k.admin.DeleteTopics(context.Background(), k.topic); err != nil {
			t.Errorf("deleting topic %s: %v", k.topic, err)
		}
	})
	return k
}

func limited(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func (k *realKafka) produce(t testing.TB, records ...*kgo.Record) {
	t.Helper()
	if err := k.client.ProduceSync(limited(t), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// read returns what a topic holds, at least `least` records.
func (k *realKafka) read(t testing.TB, least int) []*kgo.Record {
	t.Helper()
	ctx := limited(t)
	ends, err := k.admin.ListEndOffsets(ctx, k.topic)
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	ends.Each(func(o kadm.ListedOffset) { total += int(o.Offset) })
	client, err := kgo.NewClient(kgo.SeedBrokers(kafkaAddr()), kgo.ConsumeTopics(k.topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var out []*kgo.Record
	for len(out) < max(total, least) {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("reading %s back: %d of %d records: %v", k.topic, len(out), max(total, least), err)
		}
		out = append(out, fetches.Records()...)
	}
	return out
}

func (k *realKafka) sourceConfig() connector.Config {
	return connector.Config{"kafka.topics": k.topic, "kafka.bootstrap.server": kafkaAddr()}
}

func (k *realKafka) sinkConfig() connector.Config {
	return connector.Config{"topicNames": k.topic, "kafka.bootstrap.server": kafkaAddr()}
}

func TestKafkaSource(t *testing.T) {
	connectortest.RunSource(t, kafka.SourceConnector{}, func(t *testing.T) connectortest.SourceSystem {
		k := newRealKafka(t, 3, nil)
		return connectortest.SourceSystem{
			Config: k.sourceConfig(), Partitions: 3,
			Name: func(p int) record.SourcePartition { return record.SourcePartition(fmt.Sprintf("%s/%d", k.topic, p)) },
			Produce: func(t testing.TB, p int, values ...string) {
				var records []*kgo.Record
				for _, v := range values {
					records = append(records, &kgo.Record{Topic: k.topic, Partition: int32(p), Value: []byte(v)})
				}
				k.produce(t, records...)
			},
			Grow: func(t testing.TB) {
				if _, err := k.admin.CreatePartitions(limited(t), 1, k.topic); err != nil {
					t.Fatal(err)
				}
				k.client.PurgeTopicsFromProducing(k.topic) // it knows the partitions of before
			},
			Unreachable: connector.Config{"kafka.topics": k.topic, "kafka.bootstrap.server": nobody},
		}
	})
}

func TestKafkaSink(t *testing.T) {
	connectortest.RunSink(t, kafka.SinkConnector{}, func(t *testing.T) connectortest.SinkSystem {
		k := newRealKafka(t, 0, nil)
		return connectortest.SinkSystem{
			Config: k.sinkConfig(), Topic: k.topic, Queues: 3,
			Delivered: func(t testing.TB, least int) []string {
				var values []string
				for _, r := range k.read(t, least) {
					values = append(values, string(r.Value))
				}
				return values
			},
			Poison:      &record.Record{Topic: k.topic, Value: make([]byte, 2<<20)},
			Unreachable: connector.Config{"topicNames": k.topic, "kafka.bootstrap.server": nobody},
		}
	})
}

// What Kafka refuses only when it sees it: a compacted topic takes no record without a key.
func TestKafkaSinkSinglesOutARefusedRecord(t *testing.T) {
	compact, small := "compact", "20000"
	k := newRealKafka(t, 1, map[string]*string{"cleanup.policy": &compact, "max.message.bytes": &small})
	sink := kafka.SinkConnector{}.NewSink()
	if err := sink.Open(limited(t), connectortest.NewWorker(map[string]int{k.topic: 1}).Env(0, 1), k.sinkConfig()); err != nil {
		t.Fatal(err)
	}
	defer sink.Close(limited(t))
	var batch []record.Record
	for i := range 40 {
		batch = append(batch, record.Record{Topic: k.topic, Key: fmt.Appendf(nil, "k%d", i), Value: bytes.Repeat([]byte("x"), 1000)})
	}
	batch[30].Key = nil
	var poison *connector.PoisonError
	err := sink.Put(limited(t), batch)
	if !errors.As(err, &poison) || poison.Index != 30 {
		t.Fatalf("Put: %v", err)
	}
	if err := sink.Put(limited(t), batch[31:]); err != nil {
		t.Fatal(err)
	}
	keys := map[string]bool{}
	for _, r := range k.read(t, 39) {
		keys[string(r.Key)] = true
	}
	if len(keys) != 39 {
		t.Errorf("%d different records arrived, not 39", len(keys))
	}
}

func nastyRecords(topic string) []*kgo.Record {
	at := time.UnixMilli(1_700_000_000_123)
	h := func(name, value string) kgo.RecordHeader { return kgo.RecordHeader{Key: name, Value: []byte(value)} }
	all := []*kgo.Record{
		{Key: []byte("plain"), Value: []byte("v"), Headers: []kgo.RecordHeader{h("a", "1"), h("b", "two words")}},
		{Key: []byte("unsorted"), Value: []byte("v"), Headers: []kgo.RecordHeader{h("z", "1"), h("y", "2"), h("a", "3")}},
		{Value: []byte("no key")},
		{Key: []byte("null value")},
		{Key: []byte("empty-value"), Value: []byte{}},
		{Key: []byte{}, Value: []byte("empty key")},
		{Key: []byte{0, 1, 2, 0xff}, Value: []byte{0}},
		{Key: []byte("订单-17"), Value: []byte("Chinese key"), Headers: []kgo.RecordHeader{h("名", "值 😀")}},
		{Key: []byte("\xff\xfe"), Value: []byte("not UTF-8"), Headers: []kgo.RecordHeader{h("\xff", "\xfe")}},
		{Key: []byte("controls"), Value: []byte("v"), Headers: []kgo.RecordHeader{h("a\x01b", "c\x02d"), h("e", "f\x01g")}},
		{Key: []byte("nulls"), Value: []byte("v"), Headers: []kgo.RecordHeader{{Key: "null"}, h("empty", ""), h("", "no name")}},
		{Key: []byte("repeated"), Value: []byte("v"), Headers: []kgo.RecordHeader{h("a", "2"), h("b", "x"), h("a", "1"), h("a", "1")}},
		{
			Key:   []byte("reserved"),
			Value: []byte("v"),
			Headers: []kgo.RecordHeader{
				h("KEYS", "k"),
				h("TAGS", "t"),
				h("DELAY", "5"),
				h("WAIT", "false"),
				h("UNIQ_KEY", "u"),
				h("TRAN_MSG", "true"),
			},
		},
		{
			Key:   []byte("ours"),
			Value: []byte("v"),
			Headers: []kgo.RecordHeader{
				h("connect-key", "AAAA"),
				h("connect-null", "1"),
				h("connect-headers", "W10="),
				h("connect-origin", "another"),
			},
		},
		{Key: bytes.Repeat([]byte("long"), 200), Value: bytes.Repeat([]byte{0xab}, 100_000)},
		{Key: []byte("wide"), Value: []byte("v"), Headers: []kgo.RecordHeader{h("big", strings.Repeat("x", 14_000)), {Key: "null"}}},
	}
	for i, r := range all {
		r.Topic, r.Partition, r.Timestamp = topic, int32(i%3), at.Add(time.Duration(i)*time.Millisecond)
	}
	return all
}

// Kafka, the source, RocketMQ, the sink and Kafka again: every record comes out as it went in.
func TestRecordsSurviveBothWays(t *testing.T) {
	from, to := newRealKafka(t, 3, nil), newRealKafka(t, 0, nil)
	want := nastyRecords(from.topic)
	from.produce(t, want...)
	worker := connectortest.NewWorker(map[string]int{to.topic: 3})

	source := kafka.SourceConnector{}.NewSource()
	if err := source.Open(limited(t), worker.Env(0, 1), from.sourceConfig(), nil); err != nil {
		t.Fatal(err)
	}
	defer source.Close(limited(t))
	var records []record.Record
	for ctx := limited(t); len(records) < len(want); {
		some, err := source.Poll(ctx)
		if err != nil || ctx.Err() != nil {
			t.Fatal(err, ctx.Err())
		}
		records = append(records, some...)
	}
	back := throughRocketMQ(t, records, from.topic)
	sink := kafka.SinkConnector{}.NewSink()
	if err := sink.Open(limited(t), worker.Env(0, 1), to.sinkConfig()); err != nil {
		t.Fatal(err)
	}
	defer sink.Close(limited(t))
	for i := range back {
		back[i].Topic, back[i].Partition = to.topic, record.SourcePartition(to.topic+"/broker-a/0")
	}
	if err := sink.Put(limited(t), back); err != nil {
		t.Fatal(err)
	}
	type content struct {
		Key, Value []byte
		Headers    []kgo.RecordHeader
	}
	contents := func(records []*kgo.Record, origin ...kgo.RecordHeader) map[int64]content {
		out := make(map[int64]content)
		for _, r := range records {
			out[r.Timestamp.UnixMilli()] = content{r.Key, r.Value, append(r.Headers[:len(r.Headers):len(r.Headers)], origin...)}
		}
		return out
	}
	// What the source says where the records have been goes with them.
	path := kgo.RecordHeader{Key: record.PathHeader, Value: []byte(records[0].Path)}
	if diff := cmp.Diff(contents(want, path), contents(to.read(t, len(want))), nilIsNotEmpty()); diff != "" {
		t.Errorf("came out otherwise (-want +got):\n%s", diff)
	}
}

// nilIsNotEmpty keeps null and empty values apart.
func nilIsNotEmpty() cmp.Option {
	return cmp.FilterValues(func(a, b []byte) bool { return true }, cmp.Comparer(func(a, b []byte) bool {
		return (a == nil) == (b == nil) && bytes.Equal(a, b)
	}))
}

// throughRocketMQ sends records to a topic of three queues and reads them back.
func throughRocketMQ(t *testing.T, records []record.Record, topic string) []record.Record {
	t.Helper()
	client, err := rmq.Open(rmq.Config{NameServers: nameServers()})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	queues, err := client.EnsureTopic(limited(t), topic, rmq.TopicSpec{Queues: 3})
	if err != nil {
		t.Fatal(err)
	}
	sender := client.NewSender(rmq.SenderConfig{})
	defer sender.Close()
	failed := make(chan error, len(records))
	for i := range records {
		m, err := convert.ToMessage(&records[i])
		if err != nil {
			t.Fatal(err)
		}
		if err := sender.Send(limited(t), m, func(_ int64, err error) { failed <- err }); err != nil {
			t.Fatal(err)
		}
	}
	for range records {
		if err := <-failed; err != nil {
			t.Fatal(err)
		}
	}
	reader := client.NewReader(rmq.ReaderConfig{Group: "connector-test"})
	defer reader.Close()
	index, start := make(map[rmq.Queue]int), make(map[rmq.Queue]int64)
	for i, q := range queues {
		index[q], start[q] = i, 0
	}
	reader.Assign(start)
	var out []record.Record
	for ctx := limited(t); len(out) < len(records); {
		got, err := reader.Poll(ctx, 100)
		if err != nil || ctx.Err() != nil {
			t.Fatalf("%d of %d messages came: %v, %v", len(out), len(records), err, ctx.Err())
		}
		for i := range got {
			r, err := convert.FromMessage(&got[i])
			if err != nil {
				t.Fatal(err)
			}
			r.Queue = index[got[i].Queue]
			out = append(out, r)
		}
	}
	return out
}
