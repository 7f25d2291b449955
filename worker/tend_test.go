package worker

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/config"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/rmq/rmqtest"
	"github.com/rocketmq-connect/operator/worker/service"
)

// tending is a worker of which only the look after its internal topics runs, with masters broker-a and broker-b.
type tending struct {
	*parts
	broker *rmqtest.Broker
	warned atomic.Int32
}

// tended runs test in a bubble, with the topics made and looked after once.
func tended(t *testing.T, prepare func(t *testing.T, b *rmqtest.Broker), test func(t *testing.T, w *tending)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &tending{broker: rmqtest.Start(t, rmqtest.OverPipe(), rmqtest.Masters("broker-a", "broker-b"))}
		prepare(t, w.broker)
		client, err := rmq.Open(rmq.Config{NameServers: []string{w.broker.NameServer()}, Dial: w.broker.Dial})
		if err != nil {
			t.Fatal(err)
		}
		cfg := config.Default()
		cfg.StoreDir = t.TempDir()
		w.parts = &parts{cfg: cfg, client: client, topics: newTopicNotes(cfg), opts: Options{Log: funcr.New(func(_, args string) {
			if strings.Contains(args, "Warning about the internal topics") {
				w.warned.Add(1)
			}
		}, funcr.Options{})}}
		if err := w.ensureTopics(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var group service.Group
		group.Go(func() {
			if err := w.tendTopics(ctx); err != nil {
				t.Errorf("looking after the topics: %v", err)
			}
		})
		synctest.Wait()
		test(t, w)
		cancel()
		group.Wait()
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
}

func nothing(*testing.T, *rmqtest.Broker) {}

// wantWarnings has each warning hold the texts.
func (w *tending) wantWarnings(t *testing.T, want ...[]string) {
	t.Helper()
	got := w.warnings()
	if len(got) != len(want) || int(w.warned.Load()) != len(want) {
		t.Fatalf("%d warnings, %d logged: %q; want %q", len(got), w.warned.Load(), got, want)
	}
	for i, texts := range want {
		for _, text := range texts {
			if !strings.Contains(got[i], text) {
				t.Errorf("warning %q, want it to tell %q", got[i], text)
			}
		}
	}
}

func TestABrokerThatWasRecreatedIsMarkedWhileWorkersRun(t *testing.T) {
	tended(t, nothing, func(t *testing.T, w *tending) {
		wantMarkers(t, w.broker, w.cfg.Topics)
		if err := w.broker.Wipe("broker-b"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(tendInterval)
		synctest.Wait()
		wantMarkers(t, w.broker, w.cfg.Topics)
		w.wantWarnings(t)
	})
}

// Also while the broker of the topics is away: then nothing else keeps a newcomer from making a second log.
func TestABrokerThatWasRecreatedIsMarkedWhileTheTopicsAreAway(t *testing.T) {
	tended(t, nothing, func(t *testing.T, w *tending) {
		if err := w.broker.Wipe("broker-b"); err != nil {
			t.Fatal(err)
		}
		w.broker.DropMaster("broker-a")
		time.Sleep(tendInterval)
		synctest.Wait()
		wantMarkers(t, w.broker, w.cfg.Topics)
	})
}

func TestCompactingTopicsOfAnEarlierVersionAreToldOnceWhileWorkersRun(t *testing.T) {
	topics := config.Default().Topics
	earlier := func(t *testing.T, b *rmqtest.Broker) {
		for _, topic := range topics.All()[1:] {
			for addr, perm := range map[string]int{"broker-a:10911": 6, "broker-b:10912": 0} {
				if err := rmqtest.CreateCompacting(t.Context(), b.Dial, addr, topic, perm); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	tended(t, earlier, func(t *testing.T, w *tending) {
		for range 5 {
			w.wantWarnings(
				t,
				[]string{topics.Config, topics.Position, topics.Offset, topics.Status, "5.3.2 and 5.3.3", "9403", "docs/operations.md"},
			)
			time.Sleep(tendInterval)
			synctest.Wait()
		}
	})
}

func TestASplitOfTheInternalTopicsIsTold(t *testing.T) {
	topics := config.Default().Topics
	elsewhere := func(t *testing.T, b *rmqtest.Broker) {
		client, err := rmq.Open(rmq.Config{NameServers: []string{b.NameServer()}, Dial: b.Dial})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		if _, err := client.EnsureLogTopic(t.Context(), topics.Position, rmq.LogPlace{Broker: "broker-b"}); err != nil {
			t.Fatal(err)
		}
	}
	tended(t, elsewhere, func(t *testing.T, w *tending) {
		w.wantWarnings(t, []string{"2 brokers, broker-a (", "broker-b (" + topics.Position + ")", "docs/operations.md"})
	})
}

func TestTheInternalTopicsAreMadeOnTheBrokerOfTheClusterTopic(t *testing.T) {
	topics := config.Default().Topics
	clusterOnB := func(t *testing.T, b *rmqtest.Broker) {
		client, err := rmq.Open(rmq.Config{NameServers: []string{b.NameServer()}, Dial: b.Dial})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		if _, err := client.EnsureLogTopic(t.Context(), topics.Cluster, rmq.LogPlace{Broker: "broker-b"}); err != nil {
			t.Fatal(err)
		}
	}
	tended(t, clusterOnB, func(t *testing.T, w *tending) {
		w.wantWarnings(t)
		want := map[string]string{}
		for _, topic := range topics.All() {
			want[topic] = "broker-b"
		}
		if diff := cmp.Diff(want, w.client.LogBrokers()); diff != "" {
			t.Errorf("the topics lie (-want +got):\n%s", diff)
		}
	})
}

// Invariant C1: a worker that was there remembers where its topics are. Neither of the brokers that it finds tells.
func TestAWorkerThatStartsKnowsWhereItsTopicsWere(t *testing.T) {
	broker := rmqtest.Start(t, rmqtest.Masters("broker-a", "broker-b"))
	cfg := configFor(t, broker.NameServer())
	r := start(t, cfg)
	r.answers("/readyz", 200, "ok")
	file := filepath.Join(cfg.StoreDir, "topics.json")
	r.eventually("it notes where they are", func() bool { _, err := os.Stat(file); return err == nil })
	r.stop()
	if err := r.ended(); err != nil {
		t.Fatal(err)
	}
	if err := broker.Wipe("broker-b"); err != nil {
		t.Fatal(err)
	}
	broker.DropMaster("broker-a")
	r = start(t, cfg)
	r.answers(
		"/readyz",
		503,
		"the worker waits for it",
		"it was on broker broker-a when it was last seen",
		cfg.Topics.Cluster,
		"clusterTopicBroker",
	)
	if perm, ok := broker.Perm(cfg.Topics.Cluster, "broker-b"); ok {
		t.Errorf("a cluster topic with permission %d was made on the other broker", perm)
	}
	if err := broker.RestartMaster("broker-a"); err != nil {
		t.Fatal(err)
	}
	r.answers("/readyz", 200, "ok")
	wantMarkers(t, broker, cfg.Topics)
}

func TestTheNoteOfWhereTopicsWere(t *testing.T) {
	cases := map[string]struct {
		file     string
		want     map[string]string
		wantFail bool
	}{
		"is read again": {
			file: `{"v":1,"cluster":"` + config.Default().ClusterID + `","brokers":{"t":"broker-a"}}`,
			want: map[string]string{"t": "broker-a"},
		},
		"of another cluster counts not": {file: `{"v":1,"cluster":"x","brokers":{"t":"broker-a"}}`},
		"of a later version counts not": {file: `{"v":2,"cluster":"` + config.Default().ClusterID + `","brokers":{"t":"broker-a"}}`},
		"that is damaged is an error":   {file: `{"v":1,"clus`, wantFail: true},
		"may be missing":                {},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			cfg := config.Default()
			cfg.StoreDir = t.TempDir()
			n := newTopicNotes(cfg)
			if tc.file != "" {
				if err := os.WriteFile(n.path, []byte(tc.file), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			got, err := n.load()
			if diff := cmp.Diff(tc.want, got); diff != "" || (err != nil) != tc.wantFail {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
			if err := n.save(map[string]string{"u": "broker-b"}); err != nil {
				t.Fatal(err)
			}
			if got, err := newTopicNotes(cfg).load(); err != nil || got["u"] != "broker-b" {
				t.Errorf("after it was saved: %v, %v", got, err)
			}
		})
	}
}

// Whichever internal topic its broker has lost while the name server goes on showing it: after a session it is made
// there again, workers publish what they hold, and are one cluster.
func TestAnInternalTopicThatItsBrokerDeniesIsRecreated(t *testing.T) {
	for name, topicOf := range everyTopic() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			broker := rmqtest.Start(t)
			configs := make([]config.Worker, 3)
			for i := range configs {
				configs[i] = configFor(t, broker.NameServer())
				configs[i].WorkerID = fmt.Sprintf("w%d", i+1)
				configs[i].HeartbeatInterval, configs[i].SendTimeout = 500*time.Millisecond, 500*time.Millisecond
				configs[i].SessionTimeout = 2 * time.Second
			}
			topic := topicOf(configs[0].Topics)
			r1, r2 := start(t, configs[0]), start(t, configs[1])
			r1.answers("/getClusterInfo", 200, `["w1","w2"]`)
			if code, body := r1.put("kept", stoppedSource); code != http.StatusCreated {
				t.Fatalf("PUT: %d %s", code, body)
			}
			r2.answers("/api/v1/connectors/kept", 200, `"state":"Stopped"`)
			broker.Forget(topic, "broker-a")
			r3 := start(t, configs[2]) // it knows nothing but what the topics hold
			r3.answers("/readyz", 200, "ok")
			for _, r := range []*run{r1, r2, r3} {
				r.answers("/getClusterInfo", 200, `["w1","w2","w3"]`)
				r.answers("/api/v1/connectors/kept", 200, `"state":"Stopped"`)
			}
			if code, body := r3.put("after", stoppedSource); code != http.StatusCreated {
				t.Fatalf("PUT: %d %s", code, body)
			}
			for _, r := range []*run{r1, r2, r3} {
				r.answers("/api/v1/connectors/after", 200, `"state":"Stopped"`)
			}
		})
	}
}

func TestAWorkerThatStartsTellsWhichBrokerDeniesWhichTopic(t *testing.T) {
	broker := rmqtest.Start(t)
	cfg := configFor(t, broker.NameServer())
	client := open(t, broker)
	for _, topic := range cfg.Topics.All() {
		if _, err := client.EnsureLogTopic(t.Context(), topic, rmq.LogPlace{}); err != nil {
			t.Fatal(err)
		}
	}
	broker.Forget(cfg.Topics.Position, "broker-a")
	r := start(t, cfg)
	r.answers("/readyz", 503, "broker broker-a (127.0.0.1:", "that it has no topic "+cfg.Topics.Position)
	r.answers("/readyz", 200, "ok")
}

// What docs/operations.md tells to do about compaction topics: each of them is deleted while workers run.
func TestCompactingTopicsAreReplacedWhileWorkersRun(t *testing.T) {
	broker := rmqtest.Start(t)
	cfg := configFor(t, broker.NameServer())
	second, third := configFor(t, broker.NameServer()), configFor(t, broker.NameServer())
	cfg.WorkerID, second.WorkerID, third.WorkerID = "w1", "w2", "w3"
	client := open(t, broker)
	brokers, err := client.Brokers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stores := cfg.Topics.All()[1:]
	for _, topic := range stores {
		if err := rmqtest.CreateCompacting(t.Context(), (&net.Dialer{}).DialContext, brokers[0].Addr, topic, 6); err != nil {
			t.Fatal(err)
		}
	}
	r1, r2 := start(t, cfg), start(t, second)
	r1.answers("/getClusterInfo", 200, `["w1","w2"]`)
	if code, body := r1.put("kept", stoppedSource); code != http.StatusCreated {
		t.Fatalf("PUT: %d %s", code, body)
	}
	r2.answers("/api/v1/connectors/kept", 200, `"state":"Stopped"`)
	for _, topic := range stores {
		deleteTopic(t, client, topic)
		r1.eventually("the topic is there again", func() bool {
			queues, err := client.Route(t.Context(), topic)
			return err == nil && len(queues) == 1
		})
	}
	if found, err := client.TendLogTopics(
		t.Context(),
		cfg.Topics.All()...); err != nil || len(found.Compacting) > 0 ||
		len(found.Brokers) != 5 {
		t.Errorf("found %+v, %v; want five topics, none of them compacting", found, err)
	}
	r3 := start(t, third)
	r3.answers("/api/v1/connectors/kept", 200, `"state":"Stopped"`)
}
