//go:build topology

package topology

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rocketmq-connect/operator/test/chaos/traffic"
	"github.com/rocketmq-connect/operator/test/flow"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
	"github.com/rocketmq-connect/operator/worker/rest/restclient"
	"github.com/rocketmq-connect/operator/worker/rmq"
)

// The masters of a cluster are restarted one after the other while records flow. Few partitions use both brokers; each
// keeps its queue, and so the order per partition and per key; no sink task gives up or takes a queue because a broker
// leaves or returns; and what is bound to the broker that is there flows on while the other one is away.
func TestMastersAreRestartedOneAfterTheOther(t *testing.T) {
	needs(t, "masters")
	kafka := os.Getenv("KAFKA_BOOTSTRAP")
	if kafka == "" {
		t.Skip("KAFKA_BOOTSTRAP is not set")
	}
	id := fmt.Sprintf("rolling-%d", time.Now().UnixNano())
	workers := []running{worker(t, id, "w1"), worker(t, id, "w2")}
	for _, w := range workers {
		answers(t, w, "/readyz", "ok")
	}
	var flows traffic.Flows
	for _, selector := range []string{"partition", "key"} {
		flows = append(flows, startFlow(t, workers[0], kafka, id+"-"+selector, selector))
	}
	drained(t, flows)
	client := open(t, nameServers())
	for _, selector := range []string{"partition", "key"} {
		readsAll(t, client, id+"-"+selector, "connect-"+id+"-out-"+selector)
	}
	var whole []int // of each log
	for _, w := range workers {
		whole = append(whole, len(w.log.String()))
	}
	for _, selector := range []string{"partition", "key"} {
		used := map[string]int{}
		for q, n := range counts(t, client, id+"-"+selector) {
			if n > 0 {
				used[q.Broker]++
			}
		}
		if selector == "partition" && (used["broker-a"] != 4 || used["broker-b"] != 4) {
			t.Errorf("8 partitions use %v, want 4 queues on each broker", used)
		}
	}
	for _, broker := range []string{"rocketmq-broker-b", "rocketmq-broker-a"} {
		stack(t, "stop", broker)
		if broker == "rocketmq-broker-b" { // the other one has the internal topics
			flowsOn(t, client, id+"-partition", "broker-a")
			answers(t, workers[0], "/api/v1/connectors/in-partition/status", "records for broker broker-b wait since")
		}
		stack(t, "start", broker)
		drained(t, flows)
	}
	for _, tally := range flows.Mark() {
		if tally.Missing+tally.Corrupt+tally.Foreign+tally.OutOfOrder+tally.Overtaken > 0 || tally.Failed != nil || tally.Distinct == 0 {
			t.Errorf("%d records: %v, overtaken in their partition: %d, failed: %v", tally.Sent, tally.Result, tally.Overtaken, tally.Failed)
		}
		t.Logf("%d records sent: %v", tally.Sent, tally.Result)
	}
	for i, w := range workers {
		if text := w.log.String()[whole[i]:]; strings.Contains(text, "Changing the queues of the task") {
			t.Errorf("a sink task changed its queues though only brokers left and came back")
		}
	}
}

// startFlow has records go from Kafka through RocketMQ and back, 250 a second.
func startFlow(t *testing.T, w running, kafka, topic, selector string) *traffic.Flow {
	t.Helper()
	way := traffic.Way{Name: selector, Topic: topic, Partitions: 8, BackPartitions: 1, Dealt: selector == "partition"}
	f, err := traffic.Start(t.Context(), kafka, way, flow.Plan{Size: 128, Keys: 200, Seed: 9, Rate: 250})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	client := restclient.New(w.URL(""), "", nil)
	for _, c := range []restapi.Connector{
		{Name: "in-" + selector, Class: "KafkaSource", MaxTasks: 2, Config: map[string]string{
			"kafka.topics": topic, "kafka.bootstrap.server": kafka, "queue.selector": selector}},
		{Name: "out-" + selector, Class: "KafkaSink", MaxTasks: 4, Config: map[string]string{
			"topicNames": topic, "kafka.bootstrap.server": kafka, "topic.rename.format": "${topic}" + traffic.BackSuffix}},
	} {
		eventually(t, func(ctx context.Context) error {
			_, err := client.Put(ctx, c, restclient.AnyRevision)
			return err
		})
	}
	return f
}

// readsAll waits until both masters have records of a topic, and a sink has stored an offset of each of their queues
// that has: a topic that was just made is not shown on all brokers at once.
func readsAll(t *testing.T, client *rmq.Client, topic, group string) {
	t.Helper()
	eventually(t, func(ctx context.Context) error {
		brokers := map[string]bool{}
		for q, n := range counts(t, client, topic) {
			if n == 0 {
				continue
			}
			_, ok, err := client.Committed(ctx, group, q)
			if err != nil {
				return err
			}
			if !ok {
				return fmt.Errorf("group %s has no offset in %s", group, q)
			}
			brokers[q.Broker] = true
		}
		if len(brokers) != 2 {
			return fmt.Errorf("topic %s has records on %v, want both brokers", topic, brokers)
		}
		return nil
	})
}

func drained(t *testing.T, flows traffic.Flows) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := flows.Drained(ctx); err != nil {
		t.Fatal(err)
	}
}

// flowsOn waits until every queue of a broker that had records has got more.
func flowsOn(t *testing.T, client *rmq.Client, topic, broker string) {
	t.Helper()
	before := counts(t, client, topic)
	eventually(t, func(context.Context) error {
		var still []string
		for q, n := range counts(t, client, topic) {
			if q.Broker == broker && before[q] > 0 && n == before[q] {
				still = append(still, q.String())
			}
		}
		if slices.Sort(still); len(still) > 0 {
			return errors.New("nothing new on " + strings.Join(still, ", "))
		}
		return nil
	})
}

// counts is how many records each queue of a topic has; those of a broker that is away are left out.
func counts(t *testing.T, client *rmq.Client, topic string) map[rmq.Queue]int64 {
	t.Helper()
	queues, err := client.Route(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	out := map[rmq.Queue]int64{}
	for _, q := range queues {
		if _, end, err := client.Offsets(t.Context(), q); err == nil {
			out[q] = end
		}
	}
	return out
}
