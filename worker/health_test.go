package worker

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/rocketmq-connect/operator/worker/config"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/rmq/remoting"
	"github.com/rocketmq-connect/operator/worker/rmq/rmqtest"
	"github.com/rocketmq-connect/operator/worker/store"
)

// inAHurry notices a loss soon.
func inAHurry(cfg config.Worker) config.Worker {
	cfg.HeartbeatInterval, cfg.SessionTimeout, cfg.SendTimeout = 100*time.Millisecond, time.Second, 300*time.Millisecond
	return cfg
}

// full has the masters refuse to store anything in the topics, in any without.
func full(broker *rmqtest.Broker, topics ...string) {
	broker.Intercept(func(_ string, req *remoting.Command) rmqtest.Verdict {
		if !stores(req.Code) {
			return rmqtest.Verdict{}
		}
		if len(topics) == 0 || slices.Contains(topics, req.Field("b")) {
			return rmqtest.Verdict{Refuse: remoting.ServiceNotAvailable}
		}
		return rmqtest.Verdict{}
	})
}

func stores(code int) bool { return code == remoting.SendMessageV2 || code == remoting.SendBatch }

func addressOf(t *testing.T, broker *rmqtest.Broker, name string) string {
	t.Helper()
	brokers, err := open(t, broker).Brokers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range brokers {
		if b.Name == name {
			return b.Addr
		}
	}
	t.Fatalf("no broker %s among %v", name, brokers)
	return ""
}

func TestReadinessSaysWhatTheBrokerOfTheClusterLogAnswers(t *testing.T) {
	broker := rmqtest.Start(t)
	cfg := inAHurry(configFor(t, broker.NameServer()))
	r := start(t, cfg)
	r.answers("/readyz", 200, "ok")
	full(broker, cfg.Topics.Cluster)
	r.answers("/readyz", 503, "RocketMQ has not brought back a heartbeat sent after ",
		"topic "+cfg.Topics.Cluster+": broker broker-a at "+addressOf(t, broker, "broker-a")+" answers since ",
		"code 14: refused by the test", "no task delivers anything until it takes records again")
	broker.Intercept(nil)
	r.answers("/readyz", 200, "ok")

	full(broker, cfg.Topics.Cluster)
	second := inAHurry(configFor(t, broker.NameServer()))
	second.WorkerID = "w2"
	joining := start(t, second)
	joining.answers("/readyz", 503, "joining the cluster: topic "+cfg.Topics.Cluster+": broker broker-a at ", "code 14")
	joining.stop()
	if err := joining.ended(); err != nil {
		t.Error(err)
	}
}

func TestReadinessSaysThatOnlyASlaveIsThere(t *testing.T) {
	broker := rmqtest.Start(t)
	cfg := configFor(t, broker.NameServer())
	first := start(t, cfg)
	first.answers("/readyz", 200, "ok")
	first.stop()
	if err := first.ended(); err != nil {
		t.Fatal(err)
	}
	broker.LeaveSlave("broker-a")
	r := start(t, cfg)
	r.answers(
		"/readyz",
		503,
		"preparing topic ",
		"broker broker-a unreachable: its master is not registered with the name server, only a slave is",
		"since ",
	)
	r.stop()
	if err := r.ended(); err != nil {
		t.Error(err)
	}
}

// split puts the topics of the stores on the second of two masters.
func split(t *testing.T, broker *rmqtest.Broker, topics config.Topics) {
	t.Helper()
	client := open(t, broker)
	for _, topic := range []string{topics.Config, topics.Position, topics.Offset, topics.Status} {
		if _, err := client.EnsureLogTopic(t.Context(), topic, rmq.LogPlace{Broker: "broker-b"}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestStoresThatTakeNothingAreTold(t *testing.T) {
	broker := rmqtest.Start(t, rmqtest.Masters("broker-a", "broker-b"))
	cfg := inAHurry(configFor(t, broker.NameServer()))
	split(t, broker, cfg.Topics)
	r := start(t, cfg)
	r.answers("/readyz", 200, "ok")

	// Nobody writes: that they cannot be read tells it.
	broker.StopMaster("broker-b")
	r.answers("/readyz", 503, "not ready: stores not written: topics ", cfg.Topics.Position, cfg.Topics.Config, " since ", "broker broker-b",
		"delivered again if their worker dies", "changes of connectors answer 504")
	r.answers("/api/v1/cluster", 200, `"storesNotWritten":"stores not written: topics `)
	if err := broker.RestartMaster("broker-b"); err != nil {
		t.Fatal(err)
	}
	r.answers("/readyz", 200, "ok")
	r.eventually("the report says nothing of it", func() bool {
		_, body, err := r.get("/api/v1/cluster")
		return err == nil && !strings.Contains(body, "storesNotWritten")
	})
}

func TestAStoreThatRefusesToStoreIsTold(t *testing.T) {
	broker := rmqtest.Start(t)
	cfg := inAHurry(configFor(t, broker.NameServer()))
	r := start(t, cfg)
	r.answers("/readyz", 200, "ok")
	if code, body := r.put("kept", stoppedSource); code != http.StatusCreated {
		t.Fatalf("PUT: %d %s", code, body)
	}
	full(broker, cfg.Topics.Config)
	var put sync.WaitGroup
	defer put.Wait()
	put.Go(func() { r.put("after", stoppedSource) })
	r.answers(
		"/readyz",
		503,
		"stores not written: topic "+cfg.Topics.Config+" since ",
		"broker broker-a at ",
		"code 14",
		"changes of connectors answer 504",
	)
	broker.Intercept(nil)
	r.answers("/readyz", 200, "ok")
}

// Invariant C2: with the lease over nothing runs, so there is nothing to drain.
func TestAWorkerThatIsStoppedWhileTheLogIsAwayEndsAtOnce(t *testing.T) {
	cases := map[string]func(*rmqtest.Broker){
		"the broker is down": func(b *rmqtest.Broker) { b.Stop() },
		"its disk is full":   func(b *rmqtest.Broker) { full(b) },
		"it takes and never answers": func(b *rmqtest.Broker) {
			b.Intercept(func(_ string, req *remoting.Command) rmqtest.Verdict { return rmqtest.Verdict{Hang: stores(req.Code)} })
		},
	}
	for name, lose := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			broker := rmqtest.Start(t)
			cfg := inAHurry(configFor(t, broker.NameServer()))
			cfg.DrainTimeout = time.Minute // longer than the test waits
			r := start(t, cfg)
			r.answers("/readyz", 200, "ok")
			kafka := feed(t, "in")
			if code, body := r.put(
				"source",
				`{"class":"KafkaSource","config":{"kafka.topics":"in","kafka.bootstrap.server":"`+kafka+`"}}`,
			); code != http.StatusCreated {
				t.Fatalf("PUT: %d %s", code, body)
			}
			r.answers("/api/v1/connectors/source/status", 200, `"id":0,"state":"Running"`)
			lose(broker)
			r.answers("/readyz", 503, "RocketMQ has not brought back a heartbeat")
			r.stop()
			if err := r.ended(); err != nil {
				t.Error(err)
			}
			if log := r.log.String(); strings.Contains(log, "disk does not answer") {
				t.Errorf("the log blames the disk:\n%s", log)
			}
		})
	}
}

// feed makes a Kafka topic to which records are written until the test ends, and gives its broker.
func feed(t *testing.T, topic string) string {
	t.Helper()
	kafka, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, topic))
	if err != nil {
		t.Fatal(err)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(kafka.ListenAddrs()...), kgo.DefaultProduceTopic(topic))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var writing sync.WaitGroup
	writing.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			client.Produce(ctx, kgo.StringRecord("a record"), nil)
			<-tick.C
		}
	})
	t.Cleanup(func() {
		cancel()
		writing.Wait()
		client.Close()
		kafka.Close()
	})
	return kafka.ListenAddrs()[0]
}

func TestUnstored(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	trouble := func(name string, since time.Duration, err error) store.Trouble {
		return store.Trouble{
			Store:   name,
			Topic:   name + "-topic",
			Trouble: rmq.Trouble{Since: at.Add(since), Alike: at.Add(since + time.Second), Err: err},
		}
	}
	full := &rmq.BrokerError{Op: "sending", Broker: "b", Addr: "10.0.0.1:10911", Code: 14, Remark: "disk full"}
	away := errors.New("broker b unreachable")
	cases := map[string]struct {
		troubles []store.Trouble
		want     string
	}{
		"nothing":                 {},
		"not for a whole session": {troubles: []store.Trouble{trouble("config", 5*time.Second, away)}},
		"one store": {
			troubles: []store.Trouble{trouble("status", 0, away)},
			want: "stores not written: topic status-topic since 2026-01-02T03:04:05Z: broker b unreachable, since 2026-01-02T03:04:06Z: " +
				"the states that are shown may be old",
		},
		"one broker is told of once": {
			troubles: []store.Trouble{trouble("position", 2*time.Second, full), trouble("offset", time.Second, full)},
			want: "stores not written: topics position-topic, offset-topic since 2026-01-02T03:04:06Z: " +
				"broker b at 10.0.0.1:10911 answers since 2026-01-02T03:04:07Z: code 14: disk full: " +
				"records go on flowing, but those since then are delivered again if their worker dies",
		},
		"two brokers": {
			troubles: []store.Trouble{trouble("config", 0, full), trouble("status", 5*time.Second, full), trouble("position", 0, away)},
			want: "stores not written: topic config-topic since 2026-01-02T03:04:05Z: " +
				"broker b at 10.0.0.1:10911 answers since 2026-01-02T03:04:06Z: code 14: disk full; " +
				"topic position-topic since 2026-01-02T03:04:05Z: broker b unreachable, since 2026-01-02T03:04:06Z: " +
				"changes of connectors answer 504; records go on flowing, but those since then are delivered again if their worker dies",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := ""
			if err := unstored(tc.troubles, at.Add(5*time.Second), true); err != nil {
				got = err.Error()
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}
