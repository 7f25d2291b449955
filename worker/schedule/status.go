package schedule

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/go-logr/logr"

	"github.com/rocketmq-connect/operator/worker/allocate"
	"github.com/rocketmq-connect/operator/worker/schedule/book"
	"github.com/rocketmq-connect/operator/worker/service"
	"github.com/rocketmq-connect/operator/worker/states"
	"github.com/rocketmq-connect/operator/worker/store"
)

// report writes the statuses that changed of what this worker owns, and counts tasks by state. Caller holds the lock.
func (s *Scheduler) report() {
	counts := map[states.Observed]int{states.Running: 0, states.Paused: 0, states.Stopped: 0, states.Failed: 0, states.Unassigned: 0}
	for u, h := range s.book.Units() {
		if !h.Owned {
			continue
		}
		state := h.State(u)
		if u.Task != allocate.ConnectorTask {
			counts[state]++
		}
		starting := state == states.Unassigned && h.Phase != book.Idle
		if !s.known[u.Connector] || starting {
			continue
		}
		st := store.Status{Connector: u.Connector, Task: u.Task, State: state, Worker: s.cfg.WorkerID,
			Generation: h.Generation, Epoch: h.Epoch, Error: h.Problem, Warning: h.Warning,
			Restarts: h.Retry.Restarts, NextRestart: h.Retry.Next}
		if st != s.told[u] {
			s.told[u] = st
			st.Attempt, st.At = h.Attempt, time.Now()
			s.status.put(u, st)
		}
	}
	for u := range s.told {
		if s.book.Unit(u) == nil {
			delete(s.told, u)
		}
	}
	s.metrics.setTasks(counts)
}

// statusWriter writes what has gathered while the batch before was on its way, only the newest status of each unit, and
// never holds up who reports them.
type statusWriter struct {
	store Statuses
	log   logr.Logger
	wake  chan struct{}

	mu      sync.Mutex
	pending map[Unit]store.Status
}

func newStatusWriter(statuses Statuses, log logr.Logger) *statusWriter {
	return &statusWriter{store: statuses, log: log, wake: make(chan struct{}, 1), pending: map[Unit]store.Status{}}
}

func (w *statusWriter) put(u Unit, st store.Status) {
	w.mu.Lock()
	w.pending[u] = st
	w.mu.Unlock()
	service.Signal(w.wake)
}

// run writes what is put until ctx ends.
func (w *statusWriter) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
		}
		w.flush(ctx)
	}
}

// flush writes until nothing is left or ctx ends; failures are retried.
func (w *statusWriter) flush(ctx context.Context) {
	failing := false
	for ctx.Err() == nil {
		batch := w.take()
		if len(batch) == 0 {
			return
		}
		err := w.store.Put(ctx, batch...)
		if err == nil || errors.Is(err, store.ErrFenced) {
			failing = false
			continue
		}
		w.giveBack(batch)
		if !failing && ctx.Err() == nil {
			w.log.Error(err, "Writing statuses failed; retrying", "statuses", len(batch))
		}
		failing = true
		_ = service.Sleep(ctx, time.Second)
	}
}

// maxStatuses bounds a batch, so that a long one does not hide what comes meanwhile.
const maxStatuses = 512

func (w *statusWriter) take() []store.Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	var batch []store.Status
	for u, st := range w.pending {
		if len(batch) == maxStatuses {
			break
		}
		batch = append(batch, st)
		delete(w.pending, u)
	}
	return batch
}

// giveBack keeps statuses for later, but those of which a newer one has come.
func (w *statusWriter) giveBack(batch []store.Status) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, st := range batch {
		u := Unit{Connector: st.Connector, Task: st.Task}
		if _, newer := w.pending[u]; !newer {
			w.pending[u] = st
		}
	}
}
