package worker

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/rmq/rmqtest"
)

// sides are a Kafka and RocketMQs in this process, with clients to look at them. One topic name is on all of them.
type sides struct {
	t     *testing.T
	kafka *kgo.Client
	addr  string
}

const both = "orders"

func newSides(t *testing.T) *sides {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, both))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	s := &sides{t: t, addr: cluster.ListenAddrs()[0]}
	if s.kafka, err = kgo.NewClient(kgo.SeedBrokers(s.addr), kgo.DisableClientMetrics()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.kafka.Close)
	return s
}

// rocket is a RocketMQ with the topic, and a client of it.
func (s *sides) rocket() (*rmqtest.Broker, *rmq.Client) {
	s.t.Helper()
	b := rmqtest.Start(s.t)
	c, err := rmq.Open(rmq.Config{NameServers: []string{b.NameServer()}})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	b.Create(both, 1)
	return b, c
}

func (s *sides) toKafka(n int) {
	s.t.Helper()
	for i := range n {
		if err := s.kafka.ProduceSync(s.t.Context(), &kgo.Record{Topic: both, Value: fmt.Append(nil, "k", i)}).FirstErr(); err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *sides) toRocket(c *rmq.Client, n int) {
	s.t.Helper()
	sender := c.NewSender(rmq.SenderConfig{Gate: func(context.Context) error { return nil }})
	defer sender.Close()
	for i := range n {
		if err := sender.Send(s.t.Context(), rmq.Message{Topic: both, Body: fmt.Append(nil, "r", i)}, func(int64, error) {}); err != nil {
			s.t.Fatal(err)
		}
	}
	if err := sender.Flush(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

func (s *sides) inKafka() (n int64) {
	s.t.Helper()
	ends, err := kadm.NewClient(s.kafka).ListEndOffsets(s.t.Context(), both)
	if err != nil {
		s.t.Fatal(err)
	}
	ends.Each(func(o kadm.ListedOffset) { n += o.Offset })
	return n
}

func (s *sides) inRocket(c *rmq.Client) (n int64) {
	s.t.Helper()
	queues, err := c.Route(s.t.Context(), both)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, q := range queues {
		_, end, err := c.Offsets(s.t.Context(), q)
		if err != nil {
			s.t.Fatal(err)
		}
		n += end
	}
	return n
}

func (r *run) connects(name, class, config string) {
	r.t.Helper()
	r.answers("/readyz", 200)
	if code, answer := r.put(name, fmt.Sprintf(`{"class":%q,"config":{%s}}`, class, config)); code >= 300 {
		r.t.Fatalf("%s: %d %s", name, code, answer)
	}
}

func (s *sides) source(r *run) {
	r.connects("in", "KafkaSource", fmt.Sprintf(`"kafka.bootstrap.server":%q,"kafka.topics":%q`, s.addr, both))
}

func (s *sides) sink(r *run) {
	r.connects("out", "KafkaSink", fmt.Sprintf(`"kafka.bootstrap.server":%q,"topicNames":%q`, s.addr, both))
}

var loopMetric = regexp.MustCompile(`(?m)^connect_worker_task_skipped_total\{.*reason="loop"\} (\d+)`)

// loops is how many records a worker has left out because they go round.
func (r *run) loops() (n int64) {
	r.t.Helper()
	_, body, err := r.get("/metrics")
	if err != nil {
		r.t.Fatal(err)
	}
	for _, m := range loopMetric.FindAllStringSubmatch(body, -1) {
		each, err := strconv.ParseInt(m[1], 10, 64)
		if err != nil {
			r.t.Fatal(err)
		}
		n += each
	}
	return n
}

// comesTo waits until what counts gives the wanted numbers; more than that never goes away again.
func comesTo(t *testing.T, want []int64, count func() []int64) {
	t.Helper()
	deadline, tick := time.After(patience), time.NewTicker(20*time.Millisecond)
	defer tick.Stop()
	for {
		got, all := count(), true
		for i := range want {
			if got[i] > want[i] {
				t.Fatalf("got %d, want no more than %d", got, want)
			}
			all = all && got[i] == want[i]
		}
		if all {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("got %d, want %d", got, want)
		case <-tick.C:
		}
	}
}

// Two clusters that nobody gave an id, each with internal topics of its own, carry from one RocketMQ over Kafka to
// another.
func TestClustersOfOneIDCarryEachOthersRecords(t *testing.T) {
	s := newSides(t)
	from, fromClient := s.rocket()
	to, toClient := s.rocket()
	s.sink(start(t, configFor(t, from.NameServer())))
	s.source(start(t, configFor(t, to.NameServer())))
	s.toRocket(fromClient, 25)
	comesTo(t, []int64{25, 25}, func() []int64 { return []int64{s.inKafka(), s.inRocket(toClient)} })
}

// One cluster carries a topic both ways: each record is on both sides once.
func TestATopicIsCarriedBothWaysOnce(t *testing.T) {
	s := newSides(t)
	b, c := s.rocket()
	r := start(t, configFor(t, b.NameServer()))
	s.source(r)
	s.sink(r)
	s.toKafka(10)
	s.toRocket(c, 20)
	// The source leaves out the sink's 20, the sink the source's 10.
	comesTo(t, []int64{30, 30, 30}, func() []int64 { return []int64{s.inKafka(), s.inRocket(c), r.loops()} })
	r.answers("/metrics", 200, `connector="in",direction="source",reason="loop"} 20`, `connector="out",direction="sink",reason="loop"} 10`)
}

func TestAPartitionOfWhichAllGoesRoundIsShown(t *testing.T) {
	s := newSides(t)
	b, c := s.rocket()
	r := start(t, configFor(t, b.NameServer()))
	s.source(r)
	s.sink(r)
	s.toRocket(c, 5)
	r.answers(
		"/api/v1/connectors/in/status",
		200,
		"all records of orders/0 were left out: they would come back to a topic in which they have been",
	)
}

// Two clusters carry one topic of one RocketMQ both ways. Each carries what the other brought once more, and that is
// all.
func TestTwoClustersOnTheSameTopicsComeToRest(t *testing.T) {
	const k, n = 10, 20 // born in Kafka and in RocketMQ
	s := newSides(t)
	b, c := s.rocket()
	var workers []*run
	for i := range 2 {
		cfg := configFor(t, b.NameServer())
		cfg.ClusterID = fmt.Sprint("cluster-", i)
		for _, topic := range []*string{&cfg.Topics.Cluster, &cfg.Topics.Config, &cfg.Topics.Position, &cfg.Topics.Offset, &cfg.Topics.Status} {
			*topic = fmt.Sprint(*topic, "-", i)
		}
		r := start(t, cfg)
		s.source(r)
		s.sink(r)
		workers = append(workers, r)
	}
	s.toKafka(k)
	s.toRocket(c, n)
	// RocketMQ gets Kafka's own from each cluster, and its own back once from each, brought by the other one's sink.
	inKafka, inRocket := int64(k+2*n), int64(n+2*k+2*n)
	// Each source leaves out what its own sink brought, each sink all but RocketMQ's own.
	loops := 2*int64(n) + 2*(inRocket-n)
	comesTo(t, []int64{inKafka, inRocket, loops}, func() []int64 {
		return []int64{s.inKafka(), s.inRocket(c), workers[0].loops() + workers[1].loops()}
	})
}
