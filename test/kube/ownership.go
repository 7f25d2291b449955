package kube

import (
	"context"
	"sync"
	"time"

	"github.com/rocketmq-connect/operator/test/audit"
)

// Ownership collects the audit lines of all workers, and the observed ends of those that were killed.
type Ownership struct {
	mu     sync.Mutex
	events []audit.Event
	deaths []audit.Death
	cancel context.CancelFunc
	done   chan struct{}
}

// WatchOwnership follows the workers' logs until Stop.
func (k *Kube) WatchOwnership(ctx context.Context, namespace, selector, container string) *Ownership {
	ctx, cancel := context.WithCancel(ctx)
	o := &Ownership{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(o.done)
		k.Follow(ctx, namespace, selector, container, o.line)
	}()
	return o
}

func (o *Ownership) line(_, line string) {
	if e, ok := audit.Parse(line); ok {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.events = append(o.events, e)
	}
}

// Died tells of a worker whose process was killed: it writes no stop lines.
func (o *Ownership) Died(worker string, at time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.deaths = append(o.deaths, audit.Death{Worker: worker, At: at})
}

// Intervals are all attempts of all tasks until now.
func (o *Ownership) Intervals() []audit.Interval {
	o.mu.Lock()
	defer o.mu.Unlock()
	return audit.Intervals(o.events, o.deaths, BootTime())
}

// Stop ends the following.
func (o *Ownership) Stop() {
	o.cancel()
	<-o.done
}
