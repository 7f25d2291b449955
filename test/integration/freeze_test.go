//go:build integration

package integration

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rocketmq-connect/operator/test/audit"
	"github.com/rocketmq-connect/operator/test/flow"
	"github.com/rocketmq-connect/operator/worker/cluster"
)

// freezeTime is how long a worker stands still: longer than a session.
const freezeTime = 12 * time.Second

// TestAFrozenWorkerLetsGo freezes a worker that moves records both ways. The other takes its tasks over, and on waking
// the frozen one delivers nothing: by the audit lines of both no task ran twice at once, though its stop lines come
// late.
func TestAFrozenWorkerLetsGo(t *testing.T) {
	c := newTestCluster(t)
	l, back := newLake(t, "frozen-"+c.id), newLake(t, "frozen-"+c.id+"-back")
	port1, port2 := freePort(t), freePort(t)
	w1 := start(t, port1, c.conf("W1", port1, t.TempDir(), "maxLoadFactor=1"))
	w2 := start(t, port2, c.conf("W2", port2, t.TempDir(), "maxLoadFactor=1"))
	w1.booted("W1")
	w2.booted("W2")
	w1.answers("/getClusterInfo", `["W1","W2"]`)
	all := map[string]int{"in": 4, "out": 4}
	w1.curl(
		`/connectors/create/in?config={"tasks.num":"4","kafka.topics":"`+l.topic+`","kafka.bootstrap.server":"`+kafkaBootstrap()+`"}`,
		"success",
	)
	runs(t, map[string]int{"in": 4}, w1, w2)

	plan := flow.Plan{Records: 75_000, Size: 512, Keys: 100, Seed: 11, Begin: time.Now(), Rate: 3000}
	produced := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	go func() { produced <- flow.Produce(ctx, kafkaBootstrap(), l.topic, plan, func(int) {}) }()
	reaches(t, flow.RocketMQEnds(l.rocket, l.topic), 1)
	w1.curl(
		`/connectors/create/`+
			`out?config={"topicNames":"`+l.topic+`","tasks.num":"4","topic.rename.format":"${topic}-back",`+
			`"kafka.bootstrap.server":"`+kafkaBootstrap()+`"}`,
		"success",
	)
	runs(t, all, w1, w2)
	reaches(t, flow.KafkaEnds(back.kafka, back.topic), int64(plan.Records/10))
	moved, err := w1.running(t.Context())
	if err != nil || len(moved) == 0 {
		t.Fatalf("the worker to be frozen runs %v, %v", moved, err)
	}

	frozen, thaw := cluster.Now(), time.After(freezeTime)
	w1.signal(syscall.SIGSTOP)
	runs(t, all, w2)
	takenOver := cluster.Now()
	<-thaw
	thawed := cluster.Now()
	w1.signal(syscall.SIGCONT)
	if takenOver >= frozen+freezeTime {
		t.Errorf("all tasks ran again %s after the freeze, not while it lasted", takenOver-frozen)
	}
	runs(t, all, w2) // on waking it takes nothing back
	eventually(t, func(ctx context.Context) error {
		tasks, err := w1.running(ctx)
		if err == nil && len(tasks) == 0 {
			err = errors.New("the worker that woke has no tasks")
		}
		return err
	})
	runs(t, all, w1, w2)

	if err := <-produced; err != nil {
		t.Fatal(err)
	}
	reaches(t, flow.KafkaEnds(back.kafka, back.topic), int64(plan.Records))
	result, err := flow.Check(t.Context(), kafkaBootstrap(), back.topic, plan, 20*time.Second)
	t.Logf("came back: %s", result)
	if err != nil || !result.Intact() {
		t.Errorf("came back: %s, %v", result, err)
	}
	w1.stop()
	w2.stop()
	checkOwnership(t, nil, w1, w2)
	checkFreeze(t, auditLines(w1, w2), moved, frozen, thawed)
}

// checkFreeze says for each task of the frozen worker how long it was silent, and that its worker runs tasks again.
func checkFreeze(t *testing.T, events []audit.Event, moved []string, frozen, thawed time.Duration) {
	t.Helper()
	taken := map[string]bool{}
	for _, gap := range audit.Gaps(audit.Intervals(events, nil, cluster.Now()), frozen) {
		if gap.OldWorker == "W1" && gap.NewWorker == "W2" && gap.To < thawed && !taken[gap.Task.String()] {
			taken[gap.Task.String()] = true
			t.Logf("%s was silent for %s; it was unowned for %s of them", gap.Task, gap.To-frozen, gap.To-gap.From)
		}
	}
	for _, task := range moved {
		if !taken[task] {
			t.Errorf("%s was not taken over while its worker was frozen", task)
		}
	}
	late, again := 0, 0
	for _, e := range events {
		at, ended := time.Duration(e.At), time.Duration(e.Ended)
		switch {
		case e.Worker != "W1" || at < thawed:
		case e.Kind == audit.Start:
			again++
		case ended < thawed:
			late++
		}
	}
	if late < len(moved) {
		t.Errorf("%d stop lines were written on waking, want one for each of %v", late, moved)
	}
	if again == 0 {
		t.Error("the worker that woke never ran a task again")
	}
}

// auditLines are the audit lines that the workers wrote until now.
func auditLines(workers ...*proc) (events []audit.Event) {
	for _, w := range workers {
		for line := range strings.SplitSeq(w.errOut.String(), "\n") {
			if e, ok := audit.Parse(line); ok {
				events = append(events, e)
			}
		}
	}
	return events
}

// reaches waits until a topic holds that many records.
func reaches(t *testing.T, ends func(context.Context) (int64, error), want int64) {
	t.Helper()
	eventually(t, func(ctx context.Context) error {
		n, err := ends(ctx)
		if err == nil && n < want {
			err = fmt.Errorf("the topic holds %d records, want %d", n, want)
		}
		return err
	})
}

func (p *proc) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}
