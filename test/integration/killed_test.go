//go:build integration

package integration

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rocketmq-connect/operator/test/audit"
	"github.com/rocketmq-connect/operator/test/flow"
	"github.com/rocketmq-connect/operator/worker/cluster"
)

// TestAKilledWorkerLosesNothing kills a worker that moves records both ways, starts it again and stops the other
// cleanly: every record arrives, and by the audit lines no task ran twice at once.
func TestAKilledWorkerLosesNothing(t *testing.T) {
	c := newTestCluster(t)
	l, back := newLake(t, "killed-"+c.id), newLake(t, "killed-"+c.id+"-back")
	port1, port2 := freePort(t), freePort(t)
	dir1 := t.TempDir()
	conf1 := c.conf("W1", port1, dir1, "maxLoadFactor=1")
	w1, w2 := start(t, port1, conf1), start(t, port2, c.conf("W2", port2, t.TempDir(), "maxLoadFactor=1"))
	w1.booted("W1")
	w2.booted("W2")
	w1.answers("/getClusterInfo", `["W1","W2"]`)
	w1.curl(
		`/connectors/create/in?config={"tasks.num":"4","kafka.topics":"`+l.topic+`","kafka.bootstrap.server":"`+kafkaBootstrap()+`"}`,
		"success",
	)
	runs(t, map[string]int{"in": 4}, w1, w2)

	plan := flow.Plan{Records: 30_000, Size: 1024, Keys: 100, Seed: 7, Begin: time.Now(), Rate: 5000}
	produced := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	go func() { produced <- flow.Produce(ctx, kafkaBootstrap(), l.topic, plan, func(int) {}) }()
	rocket := flow.RocketMQEnds(l.rocket, l.topic)
	reached := func(want int64) {
		eventually(t, func(ctx context.Context) error {
			n, err := rocket(ctx)
			if err == nil && n < want {
				err = fmt.Errorf("RocketMQ holds %d records, want %d", n, want)
			}
			return err
		})
	}
	reached(1)
	w1.curl(
		`/connectors/create/`+
			`out?config={"topicNames":"`+l.topic+`","tasks.num":"4","topic.rename.format":"${topic}-back",`+
			`"kafka.bootstrap.server":"`+kafkaBootstrap()+`"}`,
		"success",
	)
	runs(t, map[string]int{"in": 4, "out": 4}, w1, w2)
	reached(int64(plan.Records / 4))

	if err := w1.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	w1.exit()
	death := audit.Death{Worker: "W1", At: cluster.Now()}
	runs(t, map[string]int{"in": 4, "out": 4}, w2)
	again := start(t, port1, conf1)
	again.booted("W1")
	runs(t, map[string]int{"in": 4, "out": 4}, again, w2)
	w2.stop()
	runs(t, map[string]int{"in": 4, "out": 4}, again)
	if err := <-produced; err != nil {
		t.Fatal(err)
	}
	reached(int64(plan.Records))
	eventually(t, func(ctx context.Context) error {
		n, err := flow.KafkaEnds(back.kafka, back.topic)(ctx)
		if err == nil && n < int64(plan.Records) {
			err = fmt.Errorf("Kafka got %d records back, want %d", n, plan.Records)
		}
		return err
	})
	result, err := flow.Check(t.Context(), kafkaBootstrap(), back.topic, plan, 20*time.Second)
	t.Logf("came back: %s", result)
	if err != nil || !result.Intact() {
		t.Errorf("came back: %s, %v", result, err)
	}
	again.stop()
	checkOwnership(t, []audit.Death{death}, w1, w2, again)
}

// checkOwnership reads the workers' audit lines: no task ran twice at once.
func checkOwnership(t *testing.T, deaths []audit.Death, workers ...*proc) {
	t.Helper()
	var events []audit.Event
	for _, w := range workers {
		for line := range strings.SplitSeq(w.errOut.String(), "\n") {
			if ev, ok := audit.Parse(line); ok {
				events = append(events, ev)
			}
		}
	}
	intervals := audit.Intervals(events, deaths, cluster.Now())
	if len(intervals) < 16 {
		t.Errorf("only %d attempts are in the audit lines", len(intervals))
	}
	for _, overlap := range audit.Overlaps(intervals) {
		t.Error(overlap)
	}
	for _, gap := range audit.Gaps(intervals, 0) {
		t.Logf("%s ran nowhere for %s: %s → %s", gap.Task, gap.To-gap.From, gap.OldWorker, gap.NewWorker)
	}
}
