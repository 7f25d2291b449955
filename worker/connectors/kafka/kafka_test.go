package kafka

import (
	"context"
	"encoding/base64"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/connector/connectortest"
	"github.com/rocketmq-connect/operator/worker/connectors/kafka/resume"
	"github.com/rocketmq-connect/operator/worker/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a Kafka of one broker in this process, with a client to look at it.
type fake struct {
	*kfake.Cluster
	client *kgo.Client
	addr   string
}

func newFake(t testing.TB, opts ...kfake.Opt) *fake {
	t.Helper()
	cluster, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	f := &fake{Cluster: cluster, addr: cluster.ListenAddrs()[0]}
	f.client, err = kgo.NewClient(kgo.SeedBrokers(f.addr), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DisableClientMetrics(),
		kgo.MetadataMinAge(10*time.Millisecond), kgo.ProducerLinger(0),
		kgo.DisableIdempotentWrite()) // what is produced after a purge would count as produced before
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.client.Close)
	return f
}

// id is a topic's id as it is stored.
func (f *fake) id(topic string) string {
	id := f.TopicInfo(topic).TopicID
	return base64.RawURLEncoding.EncodeToString(id[:])
}

// at is the position of an offset in a topic as it is now.
func (f *fake) at(topic string, offset int64) record.Position {
	return resume.Place{Offset: offset, Topic: f.id(topic)}.Position()
}

// bare is positions without the ids of their topics.
func bare(positions record.Positions) record.Positions {
	var out record.Positions
	for p, position := range positions {
		if out == nil {
			out = record.Positions{}
		}
		out[p], _ = position.Split()
	}
	return out
}

func limited(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func (f *fake) produce(t testing.TB, records ...*kgo.Record) {
	t.Helper()
	if err := f.client.ProduceSync(limited(t), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

func (f *fake) produceValues(t testing.TB, topic string, partition int, values ...string) {
	t.Helper()
	var records []*kgo.Record
	for _, v := range values {
		records = append(records, &kgo.Record{Topic: topic, Partition: int32(partition), Value: []byte(v)})
	}
	f.produce(t, records...)
}

// read returns everything that a topic holds, at least `least` records.
func (f *fake) read(t testing.TB, topic string, least int) []*kgo.Record {
	t.Helper()
	ctx := limited(t)
	ends, err := kadm.NewClient(f.client).ListEndOffsets(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	total := int64(0)
	ends.Each(func(o kadm.ListedOffset) { total += o.Offset })
	client, err := kgo.NewClient(
		kgo.SeedBrokers(f.addr),
		kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableClientMetrics(),
	)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var out []*kgo.Record
	for int64(len(out)) < max(total, int64(least)) {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("reading %s back: %d of %d records: %v", topic, len(out), total, err)
		}
		out = append(out, fetches.Records()...)
	}
	return out
}

func (f *fake) sourceConfig(topics string, more ...string) connector.Config {
	return with(connector.Config{keyTopics: topics, keyBootstrap: f.addr, keyMetadataAge: "100", keyFetchWait: "50"}, more...)
}

func (f *fake) sinkConfig(topics string, more ...string) connector.Config {
	return with(connector.Config{"topicNames": topics, keyBootstrap: f.addr}, more...)
}

func with(cfg connector.Config, pairs ...string) connector.Config {
	for i := 0; i < len(pairs); i += 2 {
		cfg[pairs[i]] = pairs[i+1]
	}
	return cfg
}

// nobody is an address that nobody listens on.
const nobody = "127.0.0.1:1"

func TestSourceAcceptance(t *testing.T) {
	connectortest.RunSource(t, SourceConnector{}, func(t *testing.T) connectortest.SourceSystem {
		f := newFake(t, kfake.SeedTopics(3, "orders"))
		return connectortest.SourceSystem{
			Config: f.sourceConfig("orders"), Partitions: 3,
			Name: func(p int) record.SourcePartition { return resume.Partition("orders", int32(p)) },
			Produce: func(t testing.TB, p int, values ...string) {
				f.produceValues(t, "orders", p, values...)
			},
			Grow: func(t testing.TB) {
				if _, err := kadm.NewClient(f.client).CreatePartitions(limited(t), 1, "orders"); err != nil {
					t.Fatal(err)
				}
				f.client.PurgeTopicsFromProducing("orders") // it knows the partitions of before
			},
			Unreachable: connector.Config{keyTopics: "orders", keyBootstrap: nobody},
		}
	})
}

func TestSinkAcceptance(t *testing.T) {
	connectortest.RunSink(t, SinkConnector{}, func(t *testing.T) connectortest.SinkSystem {
		f := newFake(t)
		return connectortest.SinkSystem{
			Config: f.sinkConfig("orders"), Topic: "orders", Queues: 3,
			Delivered: func(t testing.TB, least int) []string {
				var values []string
				for _, r := range f.read(t, "orders", least) {
					values = append(values, string(r.Value))
				}
				return values
			},
			Poison:      &record.Record{Topic: "orders", Value: make([]byte, 2<<20)},
			Stall:       f.stall,
			Unreachable: connector.Config{"topicNames": "orders", keyBootstrap: nobody},
		}
	})
}

// stall takes produce requests and answers none; at the release it drops their connections, so that a client that still
// wants to deliver them retries.
func (f *fake) stall(t testing.TB) (<-chan struct{}, func()) {
	taken, released := make(chan struct{}), make(chan struct{})
	var once sync.Once
	f.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		select {
		case <-released:
			f.DropControl()
			return nil, nil, false
		default:
		}
		f.KeepControl()
		once.Do(func() { close(taken) })
		f.SleepControl(func() { <-released })
		return nil, errors.New("dropped"), true
	})
	var release sync.Once
	t.Cleanup(func() { release.Do(func() { close(released) }) })
	return taken, func() { release.Do(func() { close(released) }) }
}

func openSource(t *testing.T, cfg connector.Config, env connector.Env, from record.Positions) *Source {
	t.Helper()
	s := &Source{}
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if err := s.Open(limited(t), env, cfg, from); err != nil {
		t.Fatal(err)
	}
	return s
}

func openSink(t *testing.T, cfg connector.Config, env connector.Env) *Sink {
	t.Helper()
	s := &Sink{}
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if err := s.Open(limited(t), env, cfg); err != nil {
		t.Fatal(err)
	}
	return s
}

// poll polls until n records came.
func poll(t *testing.T, s *Source, n int) []record.Record {
	t.Helper()
	ctx := limited(t)
	var out []record.Record
	for len(out) < n {
		records, err := s.Poll(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if ctx.Err() != nil {
			t.Fatalf("%d of %d records came", len(out), n)
		}
		out = append(out, records...)
	}
	return out
}

func values(records []record.Record) []string {
	var out []string
	for _, r := range records {
		out = append(out, string(r.Value))
	}
	return out
}
