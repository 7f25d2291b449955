//go:build integration

package integration

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/rocketmq-connect/operator/test/flow"
	"github.com/rocketmq-connect/operator/worker/rmq"
)

const partitions = 4

// lake is one topic name on both sides.
type lake struct {
	t      *testing.T
	topic  string
	kafka  *kgo.Client
	rocket *rmq.Client
}

// newLake makes the Kafka topic.
func newLake(t *testing.T, topic string) *lake {
	t.Helper()
	kafka, err := kgo.NewClient(kgo.SeedBrokers(kafkaBootstrap()), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(kafka.Close)
	rocket, err := rmq.Open(rmq.Config{NameServers: nameServers()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rocket.Close() })
	admin := kadm.NewClient(kafka)
	if _, err := admin.CreateTopic(t.Context(), partitions, 1, nil, topic); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = admin.DeleteTopics(context.Background(), topic) })
	return &lake{t: t, topic: topic, kafka: kafka, rocket: rocket}
}

// marks produces one record to each partition. Order is kept, so once they have crossed, all before them has been dealt
// with.
func (l *lake) marks() {
	l.t.Helper()
	for p := range int32(partitions) {
		r := &kgo.Record{Topic: l.topic, Partition: p, Value: []byte("mark")}
		if err := l.kafka.ProduceSync(l.t.Context(), r).FirstErr(); err != nil {
			l.t.Fatal(err)
		}
	}
}

// natives sends records to RocketMQ as any of its producers does.
func (l *lake) natives(n int) {
	l.t.Helper()
	s := l.rocket.NewSender(rmq.SenderConfig{})
	defer s.Close()
	for range n {
		if err := s.Send(l.t.Context(), rmq.Message{Topic: l.topic, Body: []byte("native")}, func(_ int64, err error) {
			if err != nil {
				l.t.Errorf("sending to RocketMQ: %v", err)
			}
		}); err != nil {
			l.t.Fatal(err)
		}
	}
	if err := s.Flush(l.t.Context()); err != nil {
		l.t.Fatal(err)
	}
}

// holds waits until both sides hold these numbers of records; more than that is a loop and fails at once.
func (l *lake) holds(inRocket, inKafka int64) {
	l.t.Helper()
	rocket, kafka := flow.RocketMQEnds(l.rocket, l.topic), flow.KafkaEnds(l.kafka, l.topic)
	eventually(l.t, func(ctx context.Context) error {
		r, err := rocket(ctx)
		if err != nil {
			return err
		}
		k, err := kafka(ctx)
		if err != nil {
			return err
		}
		if r > inRocket || k > inKafka {
			l.t.Fatalf("RocketMQ holds %d and Kafka %d records: more than %d and %d, so they go round", r, k, inRocket, inKafka)
		}
		if r != inRocket || k != inKafka {
			return fmt.Errorf("RocketMQ holds %d records, want %d; Kafka %d, want %d", r, inRocket, k, inKafka)
		}
		return nil
	})
}

func (l *lake) produce(plan flow.Plan) {
	l.t.Helper()
	if err := flow.Produce(l.t.Context(), kafkaBootstrap(), l.topic, plan, func(int) {}); err != nil {
		l.t.Fatal(err)
	}
}

// TestCommandsOfTheDocuments runs the user's documents as they are written, but for names and ports: two workers on one
// host, kafkaSource and kafkaSink made by GET on one topic name both ways.
func TestCommandsOfTheDocuments(t *testing.T) {
	c := newTestCluster(t)
	l := newLake(t, "kafkaconnect-"+c.id)
	port1, port2 := freePort(t), freePort(t)
	w1 := start(t, port1, c.conf("CONNECTOR_WORKER_1", port1, t.TempDir(), ""))
	w1.booted("CONNECTOR_WORKER_1")
	w2 := start(t, port2, c.conf("CONNECTOR_WORKER_2", port2, t.TempDir(), "virtualNode=2"))
	w2.booted("CONNECTOR_WORKER_2")
	for _, w := range []*proc{w1, w2} {
		w.answers("/getClusterInfo", `["CONNECTOR_WORKER_1","CONNECTOR_WORKER_2"]`)
	}

	// Records of Kafka cross to RocketMQ, and are not brought back; those of RocketMQ cross to Kafka, and are not brought
	// back.
	plan := flow.Plan{Records: 2000, Size: 256, Keys: 50, Seed: 1, Begin: time.Now()}
	l.produce(plan)
	w1.curl(
		`/connectors/create/kafkaSource?config={"tasks.num":"4","kafka.topics":"`+l.topic+`","kafka.bootstrap.server":"`+kafkaBootstrap()+`"}`,
		"success",
	)
	runs(t, map[string]int{"kafkaSource": 4}, w1, w2)
	l.holds(2000, 2000)
	w2.curl(
		`/connectors/create/kafkaSink?config={"topicNames":"`+l.topic+`","tasks.num":"2","kafka.bootstrap.server":"`+kafkaBootstrap()+`"}`,
		"success",
	)
	runs(t, map[string]int{"kafkaSource": 4, "kafkaSink": 2}, w1, w2)
	l.natives(500)
	l.holds(2500, 2500)
	l.marks()
	l.holds(2504, 2504)
	l.marks() // behind what crossed: had any of it gone on, it would be counted by now
	l.holds(2508, 2508)
	result, err := flow.Check(t.Context(), kafkaBootstrap(), l.topic, plan, 5*time.Second)
	if err != nil || result.Missing > 0 || result.Corrupt > 0 || result.Duplicates > 0 || result.Foreign != 508 {
		t.Errorf("Kafka holds: %s, %v", result, err)
	}

	operate(t, l, w1, w2)

	// A worker that stops hands its tasks over.
	w1.stop()
	w2.answers("/getClusterInfo", `["CONNECTOR_WORKER_2"]`)
	runs(t, map[string]int{"kafkaSource": 2, "kafkaSink": 2}, w2)
	w2.curl("/connectors/single/kafkaSource/remove", "success")
	w2.answers("/getConnectorsStatus/kafkaSource", "removed")
	w2.curl("/connectors/all/remove", "success")
	w2.answers("/getConnectors", "{}")
	runs(t, map[string]int{}, w2)
	w2.stop()
}

// operate goes through the documents' commands of operation. Before it, both sides hold 2508 records.
func operate(t *testing.T, l *lake, w1, w2 *proc) {
	t.Helper()
	props := `{"properties":{"kafka.bootstrap.server":"` + kafkaBootstrap() + `","kafka.topics":"` + l.topic + `","tasks.num":"4"}}`
	w1.answers("/getConnectors/kafkaSource", props)
	for _, path := range []string{"/getConnectors", "/getConfigInfo", "/getConnectorTask", "/getConnectorTask/kafkaSink", "/plugin/reload"} {
		if _, err := w2.Get(t.Context(), path); err != nil {
			t.Error(err)
		}
	}
	w1.curl("/connectors/single/kafkaSource/disable", "success")
	w2.answers("/getConnectorsStatus/kafkaSource", "disabled")
	runs(t, map[string]int{"kafkaSink": 2}, w1, w2)
	l.marks() // wait in Kafka
	l.holds(2508, 2512)
	w2.curl("/connectors/single/kafkaSource/enable", "success")
	w1.answers("/getConnectorsStatus/kafkaSource", "enabled")
	l.holds(2512, 2512)
	w1.curl("/connectors/taskNum/kafkaSource/2", "success")
	runs(t, map[string]int{"kafkaSource": 2, "kafkaSink": 2}, w1, w2)
	w1.curl(`/connectors/update/kafkaSink?config={"tasks.num":"1"}`, "success")
	runs(t, map[string]int{"kafkaSource": 2, "kafkaSink": 1}, w1, w2)
	w1.curl("/connectors/all/disable", "success")
	runs(t, map[string]int{}, w1, w2)
	w1.curl(`/connectors/update/kafkaSink?config={"tasks.num":"2"}`, "success")
	w1.curl("/connectors/all/enable", "success")
	runs(t, map[string]int{"kafkaSource": 2, "kafkaSink": 2}, w1, w2)
	l.marks()
	l.natives(4)
	l.holds(2520, 2520)
}

func TestErrorsOfTheDocumentsCommandsSayWhatToDo(t *testing.T) {
	c := newTestCluster(t)
	port := freePort(t)
	w := start(t, port, c.conf("W", port, t.TempDir(), ""))
	w.booted("W")
	w.curl(
		`/connectors/create/a?config={"connector.class":"x.Y"}`,
		`failed! connector.class "x.Y" is not known to this worker; it has KafkaSink, KafkaSource`,
	)
	w.curl(
		`/connectors/create/a?config={x`,
		`failed! config must be a JSON object such as {"key":"value"} (with curl use -g and single quotes around the URL)`,
	)
	w.curl(
		"/connectors/update/a?config={}",
		`failed! there is no connector "a": see /getConnectors, or make it with /connectors/create/a?config={…}`,
	)

	// A Kafka that cannot be reached is the tasks' failure, and they recover by themselves; nothing is lost by it.
	closed := freePort(t)
	w.curl(fmt.Sprintf(`/connectors/create/away?config={"kafka.topics":"t","kafka.bootstrap.server":"127.0.0.1:%d"}`, closed), "success")
	eventually(t, func(ctx context.Context) error {
		text, err := w.Get(ctx, "/api/v1/connectors/away/status")
		if err == nil && !contains(text, `"state":"Failed"`, fmt.Sprintf("127.0.0.1:%d", closed), "nextRestart") {
			err = fmt.Errorf("status is %s", text)
		}
		return err
	})
	// So is a topic that is not there; once it is, the task runs.
	missing := "missing-" + c.id
	w.curl(`/connectors/create/missing?config={"kafka.topics":"`+missing+`","kafka.bootstrap.server":"`+kafkaBootstrap()+`"}`, "success")
	eventually(t, func(ctx context.Context) error {
		text, err := w.Get(ctx, "/api/v1/connectors/missing/status")
		if err == nil && !contains(text, `"state":"Failed"`, missing, "make it, or correct kafka.topics") {
			err = fmt.Errorf("status is %s", text)
		}
		return err
	})
	newLake(t, missing)
	eventually(t, func(ctx context.Context) error {
		text, err := w.Get(ctx, "/api/v1/connectors/missing/tasks")
		if err == nil && !contains(text, `"state":"Running"`) {
			err = fmt.Errorf("tasks are %s", text)
		}
		return err
	})
	resp, err := http.Post(w.URL("/api/v1/connectors"), "application/json", badBody()) //nolint:noctx // a bare client, as users have
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusBadRequest {
		t.Errorf("an unknown field is answered with %d", resp.StatusCode)
	}
	w.stop()
}
