//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rocketmq-connect/operator/worker/rest/restapi"
)

const (
	// settle is how long a worker is left alone before it counts as idle, and idleTime how long it is then looked at.
	settle   = 10 * time.Second
	idleTime = 10 * time.Second
	// tasksEach is how many tasks a connector of the idle run has.
	tasksEach = 100
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
	if err := wait(ctx, settle); err != nil {
		return 0, 0, err
	}
	before, err := w.cpu()
	if err != nil {
		return 0, 0, err
	}
	if err := wait(ctx, idleTime); err != nil {
		return 0, 0, err
	}
	after, err := w.cpu()
	if err != nil {
		return 0, 0, err
	}
	rss, err := w.memory("VmRSS")
	return float64(rss) / mib, 100 * (after - before).Seconds() / idleTime.Seconds(), err
}

// idle measures a worker with many sources that wait for records which do not come.
func (b *suite) idle(ctx context.Context) (text string, err error) {
	job := bareJob{Kind: source}
	if job.From, err = b.kafkaTopic(ctx, tasksEach); err != nil {
		return "", err
	}
	defer b.dropKafkaTopic(context.WithoutCancel(ctx), job.From)
	if job.To, err = b.rmqTopic(ctx); err != nil {
		return "", err
	}
	w, err := b.workers.start(ctx)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, w.stop()) }()
	connectors := (b.o.idle + tasksEach - 1) / tasksEach
	begun := time.Now()
	for i := range connectors {
		name := fmt.Sprintf("idle-%d", i)
		if err := w.create(ctx, b.env, name, job, min(tasksEach, b.o.idle-i*tasksEach)); err != nil {
			return "", err
		}
		defer func() { err = errors.Join(err, w.rest.Delete(context.WithoutCancel(ctx), name)) }()
	}
	for i := range connectors {
		if err := b.running(ctx, w, fmt.Sprintf("idle-%d", i), min(tasksEach, b.o.idle-i*tasksEach)); err != nil {
			return "", err
		}
	}
	took := time.Since(begun)
	memory, share, err := b.atRest(ctx, w)
	if err != nil {
		return "", err
	}
	return table([][]string{
		{"Idle Kafka source tasks", "created to running s", "RSS MiB", "% of a core"},
		{fmt.Sprint(b.o.idle), fmt.Sprintf("%.1f", took.Seconds()), fmt.Sprintf("%.0f", memory), fmt.Sprintf("%.1f", share)},
	}), nil
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
		if err := wait(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
}
