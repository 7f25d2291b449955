package worker

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/rocketmq-connect/operator/worker/config"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/rmq/remoting"
	"github.com/rocketmq-connect/operator/worker/rmq/rmqtest"
)

const stoppedSource = `{"class":"KafkaSource","state":"Stopped","config":{"kafka.topics":"t","kafka.bootstrap.server":"127.0.0.1:1"}}`

// everyTopic names each internal topic.
func everyTopic() map[string]func(config.Topics) string {
	return map[string]func(config.Topics) string{
		"the cluster log": func(t config.Topics) string { return t.Cluster },
		"configs":         func(t config.Topics) string { return t.Config },
		"positions":       func(t config.Topics) string { return t.Position },
		"offsets":         func(t config.Topics) string { return t.Offset },
		"statuses":        func(t config.Topics) string { return t.Status },
	}
}

func open(t *testing.T, broker *rmqtest.Broker) *rmq.Client {
	t.Helper()
	client, err := rmq.Open(rmq.Config{NameServers: []string{broker.NameServer()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// deleteTopic removes a topic, as an administrator does.
func deleteTopic(t *testing.T, client *rmq.Client, topic string) {
	t.Helper()
	brokers, err := client.Brokers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	pool := remoting.NewPool((&net.Dialer{}).DialContext, 5*time.Second, remoting.Credentials{})
	defer pool.Close()
	for _, b := range brokers {
		if _, err := pool.Call(t.Context(), b.Addr, "test", &remoting.Command{
			Code: remoting.DeleteTopicBroker, Fields: []remoting.Field{{Name: "topic", Value: topic}},
		}); err != nil {
			t.Fatal(err)
		}
	}
}

// Whichever internal topic is deleted under them, workers recreate it, publish again what they hold and are one
// cluster.
func TestADeletedInternalTopicIsRecreated(t *testing.T) {
	for name, topicOf := range everyTopic() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			broker := rmqtest.Start(t)
			first, second, third := configFor(t, broker.NameServer()), configFor(t, broker.NameServer()), configFor(t, broker.NameServer())
			first.WorkerID, second.WorkerID, third.WorkerID = "w1", "w2", "w3"
			r1, r2 := start(t, first), start(t, second)
			r1.answers("/getClusterInfo", 200, `["w1","w2"]`)
			if code, body := r1.put("kept", stoppedSource); code != http.StatusCreated {
				t.Fatalf("PUT: %d %s", code, body)
			}
			r2.answers("/api/v1/connectors/kept", 200, `"state":"Stopped"`)

			client, topic := open(t, broker), topicOf(first.Topics)
			deleteTopic(t, client, topic)
			r1.eventually("the topic is there again", func() bool {
				queues, err := client.Route(t.Context(), topic)
				return err == nil && len(queues) == 1
			})
			for _, r := range []*run{r1, r2} {
				r.answers("/readyz", 200, "ok")
				r.answers("/getClusterInfo", 200, `["w1","w2"]`)
			}
			r3 := start(t, third) // it knows nothing but what the topics hold
			r3.answers("/getClusterInfo", 200, `["w1","w2","w3"]`)
			r3.answers("/api/v1/connectors/kept", 200, `"state":"Stopped"`)
			r3.answers("/api/v1/connectors/kept/status", 200, `"state":"Stopped"`)
			if code, body := r1.put("after", stoppedSource); code != http.StatusCreated {
				t.Fatalf("PUT: %d %s", code, body)
			}
			for _, r := range []*run{r1, r2, r3} {
				r.answers("/api/v1/connectors/after", 200, `"state":"Stopped"`)
			}
			for _, r := range []*run{r3, r2, r1} {
				r.stop()
				if err := r.ended(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// wantMarkers looks for markers of the internal topics on the master that does not hold them.
func wantMarkers(t *testing.T, broker *rmqtest.Broker, topics config.Topics) {
	t.Helper()
	for name, topicOf := range everyTopic() {
		if perm, ok := broker.Perm(topicOf(topics), "broker-a"); !ok || perm != 6 {
			t.Errorf("%s: permission %d, %t on the first master, want 6", name, perm, ok)
		}
		if perm, ok := broker.Perm(topicOf(topics), "broker-b"); !ok || perm != 0 {
			t.Errorf("%s: permission %d, %t on the second master, want 0", name, perm, ok)
		}
	}
}

// Invariant C1: a worker that starts while the broker of the internal topics is away makes no cluster of its own.
func TestAWorkerWaitsForTheBrokerOfItsTopics(t *testing.T) {
	broker := rmqtest.Start(t, rmqtest.Masters("broker-a", "broker-b"))
	broker.DropMaster("broker-b") // it is added to RocketMQ later
	cfg := configFor(t, broker.NameServer())
	startPut := func(name string) {
		t.Helper()
		r := start(t, cfg)
		r.answers("/readyz", 200, "ok")
		if code, body := r.put(name, stoppedSource); code != http.StatusCreated {
			t.Fatalf("PUT: %d %s", code, body)
		}
		r.stop()
		if err := r.ended(); err != nil {
			t.Fatal(err)
		}
	}
	startPut("first")
	if err := broker.RestartMaster("broker-b"); err != nil {
		t.Fatal(err)
	}
	startPut("second")
	wantMarkers(t, broker, cfg.Topics)

	broker.DropMaster("broker-a")
	cfg.StoreDir = t.TempDir() // it knows nothing but what the topics hold
	r := start(t, cfg)
	r.answers(
		"/readyz",
		503,
		"the broker that holds an internal topic is away, and the worker waits for it",
		cfg.Topics.Cluster,
		"clusterTopicBroker",
	)
	r.answers("/healthz", 200)
	if err := broker.RestartMaster("broker-a"); err != nil {
		t.Fatal(err)
	}
	r.answers("/readyz", 200, "ok")
	r.answers("/api/v1/connectors/first", 200, `"state":"Stopped"`)
	r.answers("/api/v1/connectors/second", 200, `"state":"Stopped"`)
	wantMarkers(t, broker, cfg.Topics)
	r.stop()
	if err := r.ended(); err != nil {
		t.Error(err)
	}
}

// eventually waits until ok says so.
func (r *run) eventually(what string, ok func() bool) {
	r.t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			r.t.Fatalf("not in time: %s", what)
		case <-r.done:
			r.t.Fatalf("the worker ended: %v", r.err)
		case <-tick.C:
		}
	}
}

// Whatever part of an internal topic retention takes away, or a broker loses, while workers run: they go on as one
// cluster.
func TestATrimmedInternalTopicIsReadOn(t *testing.T) {
	for name, topicOf := range everyTopic() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			broker := rmqtest.Start(t)
			first, second := configFor(t, broker.NameServer()), configFor(t, broker.NameServer())
			first.WorkerID, second.WorkerID = "w1", "w2"
			r1 := start(t, first)
			r1.answers("/readyz", 200, "ok")
			if code, body := r1.put("kept", stoppedSource); code != http.StatusCreated {
				t.Fatalf("PUT: %d %s", code, body)
			}
			r1.answers("/api/v1/connectors/kept/status", 200, `"state":"Stopped"`)

			client, topic := open(t, broker), topicOf(first.Topics)
			queues, err := client.Route(t.Context(), topic)
			if err != nil {
				t.Fatal(err)
			}
			_, end, err := client.Offsets(t.Context(), queues[0])
			if err != nil {
				t.Fatal(err)
			}
			broker.Trim(topic, queues[0].Broker, queues[0].ID, end)
			if code, body := r1.put("after", stoppedSource); code != http.StatusCreated {
				t.Fatalf("PUT: %d %s", code, body)
			}
			r2 := start(t, second)
			for _, r := range []*run{r1, r2} {
				r.answers("/getClusterInfo", 200, `["w1","w2"]`)
				r.answers("/api/v1/connectors/after", 200, `"state":"Stopped"`)
			}
			r1.answers("/api/v1/connectors/kept", 200, `"state":"Stopped"`)
		})
	}
}

// The shortest session that is allowed leaves room for tasks, sources and sinks, to start.
func TestTasksRunWithTheShortestSession(t *testing.T) {
	broker := rmqtest.Start(t)
	cfg := configFor(t, broker.NameServer())
	cfg.HeartbeatInterval, cfg.SessionTimeout, cfg.SendTimeout = 200*time.Millisecond, time.Second, 300*time.Millisecond
	r := start(t, cfg)
	r.answers("/readyz", 200, "ok")
	kafka, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "in"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(kafka.Close)
	if _, err := open(t, broker).EnsureTopic(t.Context(), "orders", rmq.TopicSpec{Queues: 4}); err != nil {
		t.Fatal(err)
	}
	for name, body := range map[string]string{
		"source": `{"class":"KafkaSource","config":{"kafka.topics":"in","kafka.bootstrap.server":%q}}`,
		"sink":   `{"class":"KafkaSink","config":{"topicNames":"orders","kafka.bootstrap.server":%q}}`,
	} {
		if code, answer := r.put(name, fmt.Sprintf(body, kafka.ListenAddrs()[0])); code != http.StatusCreated {
			t.Fatalf("PUT %s: %d %s", name, code, answer)
		}
		r.eventually("the task of the "+name+" runs", func() bool {
			var st restapi.ConnectorStatus
			code, body, err := r.get("/api/v1/connectors/" + name + "/status")
			return err == nil && code == http.StatusOK && json.Unmarshal([]byte(body), &st) == nil &&
				len(st.Tasks) == 1 && st.Tasks[0].State == restapi.StateRunning
		})
	}
}

// A config that is replaced again and again while its tasks start: the last one holds, and all of its tasks run.
func TestAConfigThatChangesWhileItsTasksStart(t *testing.T) {
	broker := rmqtest.Start(t)
	first, second := configFor(t, broker.NameServer()), configFor(t, broker.NameServer())
	first.WorkerID, second.WorkerID = "w1", "w2"
	runs := []*run{start(t, first), start(t, second)}
	runs[0].answers("/getClusterInfo", 200, `["w1","w2"]`)
	kafka, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(kafka.Close)
	if _, err := open(t, broker).EnsureTopic(t.Context(), "orders", rmq.TopicSpec{Queues: 4}); err != nil {
		t.Fatal(err)
	}
	const changes = 12
	for n := range changes {
		code, body := runs[n%2].put(
			"out",
			fmt.Sprintf(
				`{"class":"KafkaSink","maxTasks":%d,"config":{"topicNames":"orders","kafka.bootstrap.server":%q}}`,
				1+n%4,
				kafka.ListenAddrs()[0],
			),
		)
		if code != http.StatusCreated && code != http.StatusOK {
			t.Fatalf("PUT %d: %d %s", n, code, body)
		}
	}
	for _, r := range runs {
		r.eventually("all tasks of the last config run", func() bool {
			var st restapi.ConnectorStatus
			code, body, err := r.get("/api/v1/connectors/out/status")
			if err != nil || code != http.StatusOK || json.Unmarshal([]byte(body), &st) != nil {
				return false
			}
			running := 0
			for _, task := range st.Tasks {
				if task.State == restapi.StateRunning {
					running++
				}
			}
			return st.Epoch == changes && len(st.Tasks) == 1+(changes-1)%4 && running == len(st.Tasks)
		})
	}
}
