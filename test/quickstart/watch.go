package main

import (
	"context"
	"sync"
	"time"

	"github.com/rocketmq-connect/operator/test/audit"
	"github.com/rocketmq-connect/operator/test/kube"
)

// watch collects the audit lines of all workers, and the observed ends of those that were killed.
type watch struct {
	mu     sync.Mutex
	events []audit.Event
	deaths []audit.Death
	cancel context.CancelFunc
	done   chan struct{}
}

func startWatch(ctx context.Context, k *kube.Kube) *watch {
	ctx, cancel := context.WithCancel(ctx)
	w := &watch{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(w.done)
		k.Follow(ctx, namespace, workerSelector, workerContainer, w.line)
	}()
	return w
}

func (w *watch) line(_, line string) {
	if e, ok := audit.Parse(line); ok {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.events = append(w.events, e)
	}
}

func (w *watch) died(worker string, at time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deaths = append(w.deaths, audit.Death{Worker: worker, At: at})
}

// intervals are all attempts of all tasks until now.
func (w *watch) intervals() []audit.Interval {
	w.mu.Lock()
	defer w.mu.Unlock()
	return audit.Intervals(w.events, w.deaths, kube.BootTime())
}

func (w *watch) stop() {
	w.cancel()
	<-w.done
}
