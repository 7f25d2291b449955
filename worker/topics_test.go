package worker

import (
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/rocketmq-connect/operator/worker/config"
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

// Whichever internal topic is deleted under them, workers make it anew, publish again what they hold and are one cluster.
func TestADeletedInternalTopicIsMadeAnew(t *testing.T) {
	for name, topicOf := range everyTopic() {
		t.Run(name, func(t *testing.T) {
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
