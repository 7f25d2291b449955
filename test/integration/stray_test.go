//go:build integration

package integration

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rocketmq-connect/operator/test/flow"
	"github.com/rocketmq-connect/operator/test/metrics"
	"github.com/rocketmq-connect/operator/worker/rmq"
)

// TestStrayRecordsOnInternalTopicsDisturbNothing puts records that are none of the workers', or that no worker can
// read, into every internal topic while records flow: they are counted, no task fails, and everything arrives.
func TestStrayRecordsOnInternalTopicsDisturbNothing(t *testing.T) {
	c := newTestCluster(t)
	l := newLake(t, "stray-"+c.id)
	port1, port2 := freePort(t), freePort(t)
	w1, w2 := start(t, port1, c.conf("W1", port1, t.TempDir(), "")), start(t, port2, c.conf("W2", port2, t.TempDir(), ""))
	w1.booted("W1")
	w2.booted("W2")
	w1.answers("/getClusterInfo", `["W1","W2"]`)
	w1.curl(
		`/connectors/create/in?config={"tasks.num":"4","kafka.topics":"`+l.topic+`","kafka.bootstrap.server":"`+kafkaBootstrap()+`"}`,
		"success",
	)
	runs(t, map[string]int{"in": 4}, w1, w2)

	plan := flow.Plan{Records: 10_000, Size: 256, Keys: 20, Seed: 13, Begin: time.Now(), Rate: 2500}
	produced := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	go func() { produced <- flow.Produce(ctx, kafkaBootstrap(), l.topic, plan, func(int) {}) }()
	rocket := flow.RocketMQEnds(l.rocket, l.topic)
	reaches(t, rocket, 1)
	for topic, kind := range map[string]string{"cluster": "", "config": "connector", "position": "position",
		"offset": "position", "status": "status"} {
		appendStrays(t, l.rocket, c.id+"-"+topic, kind)
	}
	for _, w := range []*proc{w1, w2} {
		eventually(t, func(ctx context.Context) error {
			m, err := metrics.Read(ctx, w.URL("/metrics"))
			if err != nil {
				return err
			}
			atLeastTwo := func(name string, labels ...string) error { // an append may have been stored twice
				n, err := m.Value(name, labels...)
				if err == nil && n < 2 {
					err = fmt.Errorf("%s of %v is %v, want 2", name, labels, n)
				}
				return err
			}
			for _, reason := range []string{"foreign", "malformed"} {
				if err := atLeastTwo("connect_worker_cluster_records_ignored_total", "reason", reason); err != nil {
					return err
				}
				for _, store := range []string{"config", "position", "offset", "status"} {
					if err := atLeastTwo("connect_worker_store_refused_records_total", "reason", reason, "store", store); err != nil {
						return err
					}
				}
			}
			return nil
		})
	}
	if err := <-produced; err != nil {
		t.Fatal(err)
	}
	reaches(t, rocket, int64(plan.Records))
	runs(t, map[string]int{"in": 4}, w1, w2)
	for _, w := range []*proc{w1, w2} {
		if strings.Contains(w.errOut.String(), "Unit failed") {
			t.Error("a task failed")
		}
	}
	w2.stop()
	runs(t, map[string]int{"in": 4}, w1)
	w1.stop()
}

// appendStrays appends two records that cannot be read, one of them large, and two that are somebody else's.
func appendStrays(t *testing.T, client *rmq.Client, topic, kind string) {
	t.Helper()
	queues, err := client.Route(t.Context(), topic)
	if err != nil || len(queues) != 1 {
		t.Fatalf("topic %s has the queues %v, %v", topic, queues, err)
	}
	for _, value := range [][]byte{
		[]byte("not JSON"),
		bytes.Repeat([]byte("x"), 1<<20),
		[]byte(`{"v":99,"kind":"elect","leader":"me"}`),
		[]byte(`{"v":99,"connector":"` + string(bytes.Repeat([]byte("x"), 1<<20)) + `"}`),
	} {
		eventually(t, func(ctx context.Context) error { // the broker may be busy
			_, err := client.Log(queues[0]).Append(ctx, rmq.Entry{Key: kind + "/stray/0", Value: value})
			return err
		})
	}
}
