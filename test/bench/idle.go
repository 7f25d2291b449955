//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rocketmq-connect/operator/test/process"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/service"
)

const (
	// settle is how long a worker is left alone before it counts as idle, and idleTime how long it is then looked at.
	settle   = 10 * time.Second
	idleTime = 10 * time.Second
)

// starts measures how long a worker takes from its start to its word that it is ready, and what it needs then.
func (b *suite) starts(ctx context.Context) (string, error) {
	var ready, rss, busy []float64
	for i := range b.o.runs {
		w, err := b.workers.start(ctx)
		if err != nil {
			return "", err
		}
		memory, share, err := b.atRest(ctx, w)
		if err = errors.Join(err, w.stop()); err != nil {
			return "", err
		}
		b.say("start, run %d: ready after %s, %.0f MiB, %.1f %% of a core", i+1, w.ready.Round(time.Millisecond), memory, share)
		ready, rss, busy = append(ready, w.ready.Seconds()), append(rss, memory), append(busy, share)
	}
	return table([][]string{
		{"Worker without connectors", "start to ready s", "RSS MiB", "% of a core"},
		{"", fmt.Sprintf("%.2f", median(ready)), fmt.Sprintf("%.0f", median(rss)), fmt.Sprintf("%.1f", median(busy))},
	}), nil
}

// atRest is the worker's memory in MiB and its share of a core in percent, after it was left alone.
func (b *suite) atRest(ctx context.Context, w *runningWorker) (memory, share float64, err error) {
	if err := service.Sleep(ctx, settle); err != nil {
		return 0, 0, err
	}
	before, err := w.cpu()
	if err != nil {
		return 0, 0, err
	}
	if err := service.Sleep(ctx, idleTime); err != nil {
		return 0, 0, err
	}
	after, err := w.cpu()
	if err != nil {
		return 0, 0, err
	}
	rss, err := process.Memory(w.PID(), "VmRSS")
	return float64(rss) / mib, 100 * (after - before).Seconds() / idleTime.Seconds(), err
}

// layout is one way to have many idle tasks: connectors of one kind with so many tasks each, every task with a
// partition or a queue of its own. Each connector has its own topic.
type layout struct {
	kind       kind
	each, left int // tasks a connector; tasks in all
}

func (l layout) connectors() int { return (l.left + l.each - 1) / l.each }

// tasks is how many tasks the i-th connector has.
func (l layout) tasks(i int) int { return min(l.each, l.left-i*l.each) }

func (l layout) name(i int) string { return fmt.Sprintf("idle-%ss-%d-%d", l.kind, l.each, i) }

// idle measures a worker with many tasks that wait for records which do not come: few connectors with many tasks, and
// many with few, each kind by itself.
func (b *suite) idle(ctx context.Context) (string, error) {
	rows := [][]string{{"Idle tasks", "connectors", "created to running s", "RSS MiB", "% of a core", "goroutines", "file descriptors"}}
	for _, k := range b.o.idleKinds {
		for _, each := range b.o.idleEach {
			row, err := b.idleRow(ctx, layout{k, each, b.o.idle})
			if err != nil {
				return "", err
			}
			rows = append(rows, row)
		}
	}
	return table(rows), nil
}

func (b *suite) idleRow(ctx context.Context, l layout) (row []string, err error) {
	w, err := b.workers.start(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.stop()) }()
	topics, err := b.idleTopics(ctx, l)
	if err != nil {
		return nil, err
	}
	defer b.dropIdleTopics(context.WithoutCancel(ctx), l, topics)
	begun := time.Now()
	for i, topic := range topics {
		if err := w.create(ctx, b.env, l.name(i), bareJob{Kind: l.kind, From: topic, To: topic}, l.tasks(i)); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, w.rest.Delete(context.WithoutCancel(ctx), l.name(i))) }()
	}
	for i := range topics {
		if err := b.running(ctx, w, l.name(i), l.tasks(i)); err != nil {
			return nil, err
		}
	}
	took := time.Since(begun)
	memory, share, err := b.atRest(ctx, w)
	if err != nil {
		return nil, err
	}
	goroutines, files, err := w.population(ctx)
	if err != nil {
		return nil, err
	}
	b.say(
		"idle, %d %ss, %d a connector: %.0f MiB, %.1f %% of a core, %.0f goroutines, %.0f files",
		l.left,
		l.kind,
		l.each,
		memory,
		share,
		goroutines,
		files,
	)
	return []string{fmt.Sprintf("%d %ss", l.left, l.kind), fmt.Sprintf("%d × %d", l.connectors(), l.each), fmt.Sprintf("%.1f", took.Seconds()),
		fmt.Sprintf("%.0f", memory), fmt.Sprintf("%.1f", share), fmt.Sprintf("%.0f", goroutines), fmt.Sprintf("%.0f", files)}, nil
}

// idleTopics makes a topic for each connector of the layout.
func (b *suite) idleTopics(ctx context.Context, l layout) ([]string, error) {
	topics := make([]string, l.connectors())
	for i := range topics {
		topics[i] = fmt.Sprintf("%s-%s", b.id, l.name(i))
	}
	if l.kind == sink {
		for _, topic := range topics {
			if _, err := b.rmq.EnsureTopic(ctx, topic, rmq.TopicSpec{Queues: l.each}); err != nil {
				return nil, fmt.Errorf("creating RocketMQ topic %s: %w", topic, err)
			}
		}
		return topics, nil
	}
	made, err := b.admin.CreateTopics(ctx, int32(l.each), 1, nil, topics...)
	if err == nil {
		err = made.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("creating %d Kafka topics: %w", len(topics), err)
	}
	return topics, nil
}

func (b *suite) dropIdleTopics(ctx context.Context, l layout, topics []string) {
	if l.kind == sink {
		return
	}
	dropped, err := b.admin.DeleteTopics(ctx, topics...)
	if err == nil {
		err = dropped.Error()
	}
	if err != nil {
		b.say("Deleting Kafka topics of %s failed: %s", l.name(0), err)
	}
}

// running waits until all tasks of the connector run.
func (b *suite) running(ctx context.Context, w *runningWorker, name string, tasks int) error {
	ctx, cancel := context.WithTimeoutCause(ctx, stuck, fmt.Errorf("not all tasks of %s run after %s", name, stuck))
	defer cancel()
	for {
		if err := w.failure(ctx, name); err != nil {
			return err
		}
		status, err := w.rest.Status(ctx, name)
		n := 0
		for _, t := range status.Tasks {
			if t.State == restapi.StateRunning {
				n++
			}
		}
		if err == nil && n == tasks {
			return nil
		}
		if err := service.Sleep(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
}
