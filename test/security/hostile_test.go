package security

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rocketmq-connect/operator/test/audit"
	"github.com/rocketmq-connect/operator/test/chaos/traffic"
	"github.com/rocketmq-connect/operator/test/flow"
	"github.com/rocketmq-connect/operator/test/hostile/forge"
	"github.com/rocketmq-connect/operator/test/hostile/forger"
	"github.com/rocketmq-connect/operator/test/hostile/requests"
	"github.com/rocketmq-connect/operator/worker/cluster"
	"github.com/rocketmq-connect/operator/worker/config"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
	"github.com/rocketmq-connect/operator/worker/service"
)

// Each kind of what somebody sends who means ill, a few times, while records flow both ways: no worker ends, no task
// moves, and each record comes out unchanged. `make hostile` is the long form, on real brokers.
func TestWhatSomebodySendsWhoMeansIllDoesNoHarm(t *testing.T) {
	w := newWorld(t, 3)
	stream, err := traffic.Start(
		t.Context(),
		w.kafka,
		traffic.Way{Topic: "orders", Partitions: 4, BackPartitions: 4},
		flow.Plan{Size: 64, Keys: 50, Seed: 1, Rate: 100},
	)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	flows := traffic.Flows{stream}
	target := requests.Worker{Address: w.workers[0].address, Token: token, Kafka: w.kafka}
	for _, c := range append([]restapi.Connector{
		{Name: "in", Class: "KafkaSource", MaxTasks: 2, Config: map[string]string{"kafka.topics": "orders", "kafka.bootstrap.server": w.kafka}},
		{Name: "out", Class: "KafkaSink", MaxTasks: 2, Config: map[string]string{"topicNames": "orders",
			"kafka.bootstrap.server": w.kafka, "topic.rename.format": "${topic}" + traffic.BackSuffix}},
	}, target.Own()...) {
		w.create(c)
	}
	w.drained(flows)
	before := w.owners()

	topics := config.Default().Topics
	f, err := forger.New(t.Context(), w.rocket, topics.Cluster, len(w.workers))
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	group.Go(func() { w.forge(f) })
	group.Go(func() { w.fill(topics) })
	group.Go(func() { w.request() })
	group.Wait()
	w.eventually("all workers are heard", f.Heard)
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	w.drained(flows)
	if after := w.owners(); after != before {
		t.Errorf("tasks ran on\n%sand now run on\n%s", before, after)
	}
	if r := flows.Mark().Sum(); r.Missing+r.Corrupt+r.Foreign+r.OutOfOrder > 0 {
		t.Errorf("records: %s", r.Result)
	}
	for _, r := range w.workers {
		select {
		case err := <-r.done:
			t.Errorf("%s ended: %v", r.id, err)
			r.done <- nil
		default:
		}
	}
}

func (w *world) drained(flows traffic.Flows) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	if err := flows.Drained(ctx); err != nil {
		w.t.Error(err)
	}
}

// owners are who runs the flow's tasks, by the workers' audit lines. A task may have begun again where it was: how long
// Kafka takes for something is nothing that is promised.
func (w *world) owners() string {
	var events []audit.Event
	for _, r := range w.workers {
		for line := range strings.Lines(r.log.String()) {
			if e, ok := audit.Parse(line); ok {
				events = append(events, e)
			}
		}
	}
	var out strings.Builder
	for _, in := range audit.Intervals(events, nil, cluster.Now()) {
		if in.Open {
			fmt.Fprintf(&out, "%s on %s, generation %d\n", in.Task, in.Worker, in.Generation)
		}
	}
	return out.String()
}

// rounds is how often each kind is sent.
const rounds = 4

func (w *world) forge(f *forger.Forger) {
	for i := range rounds {
		for _, k := range forge.ClusterKinds() {
			if _, err := f.Send(w.t.Context(), k, i); err != nil {
				w.t.Errorf("cluster topic: %s: %v", k.Name, err)
			}
		}
		if _, err := f.WrongDigest(w.t.Context(), i); err != nil {
			w.t.Errorf("a wrong digest: %v", err)
		}
		_ = service.Sleep(w.t.Context(), time.Second) // until sessions have written again
	}
}

func (w *world) fill(topics config.Topics) {
	for store, topic := range map[string]string{forge.Config: topics.Config, forge.Position: topics.Position,
		forge.Offset: topics.Offset, forge.Status: topics.Status} {
		for _, connector := range []string{"in", "out"} {
			for _, k := range forge.StoreKinds(store, connector) {
				for i := range 5 * rounds {
					if i >= rounds && k.Name != "values at the edges" {
						break
					}
					if _, err := forger.Append(w.t.Context(), w.rocket, topic, k.Make(i)); err != nil {
						w.t.Errorf("%s topic: %s: %v", store, k.Name, err)
					}
				}
			}
		}
	}
}

func (w *world) request() {
	to := func(i int) requests.Worker {
		return requests.Worker{Address: w.workers[i%len(w.workers)].address, Token: token, Kafka: w.kafka}
	}
	for _, k := range requests.Kinds() {
		for i := range 3 * rounds {
			if err := k.Send(w.t.Context(), to(i), i); err != nil {
				w.t.Errorf("REST: %s: %v", k.Name, err)
			}
		}
	}
	for i, k := range requests.SlowKinds() {
		held, err := k.Open(w.t.Context(), to(i), 200)
		if err != nil {
			w.t.Errorf("REST: %s: %v", k.Name, err)
		}
		held.Close()
	}
}
