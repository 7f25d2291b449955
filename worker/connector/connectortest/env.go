// Package connectortest holds the acceptance suites for connectors: RunSource and RunSink. They hold a connector to what
// package connector asks for. Run them under goleak.VerifyTestMain: a connector that is closed leaves nothing behind.
package connectortest

import (
	"context"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"

	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/record"
)

// patience is how long a test waits for something that has to come. Nothing is judged by it but that.
const patience = 30 * time.Second

// ClusterID is the Connect cluster's id in every Env of a Worker.
const ClusterID = "connectortest"

// Worker stands in for what a worker tells a task and is told by it. It is safe for concurrent use.
type Worker struct {
	mu      sync.Mutex
	topics  map[string]int
	skipped map[string]int
	warning string
}

// NewWorker returns a worker whose RocketMQ has these topics, with so many queues each.
func NewWorker(topics map[string]int) *Worker {
	w := &Worker{topics: maps.Clone(topics), skipped: make(map[string]int)}
	if w.topics == nil {
		w.topics = make(map[string]int)
	}
	return w
}

// Env returns the environment of one task.
func (w *Worker) Env(task, tasks int) connector.Env {
	return connector.Env{
		ClusterID: ClusterID, Connector: "acceptance", Task: task, Tasks: tasks, Log: logr.Discard(),
		Skipped: w.skip, Warn: w.warn, QueueCount: w.queueCount, EnsureTopic: w.ensureTopic,
	}
}

// Topics returns the queue counts of the topics that exist, those that were made too.
func (w *Worker) Topics() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.topics)
}

// Skipped returns how many records were skipped for each reason.
func (w *Worker) Skipped() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.skipped)
}

// Warning is what the task warned of last.
func (w *Worker) Warning() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.warning
}

func (w *Worker) warn(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.warning = text
}

func (w *Worker) skip(reason string, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.skipped[reason] += n
}

func (w *Worker) queueCount(ctx context.Context, topic string) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.topics[topic], ctx.Err()
}

func (w *Worker) ensureTopic(ctx context.Context, topic string, queues int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.topics[topic] == 0 {
		w.topics[topic] = queues
	}
	return ctx.Err()
}

func waiting(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// task runs one source as a worker would: it collects records and positions.
type task struct {
	source   connector.Source
	records  []record.Record
	progress record.Positions
}

func openTask(t testing.TB, c connector.SourceConnector, cfg connector.Config, env connector.Env, from record.Positions) *task {
	t.Helper()
	tk := &task{source: c.NewSource(), progress: from.Clone()}
	if err := tk.source.Open(waiting(t), env, cfg, from); err != nil {
		t.Fatalf("opening task %d: %v", env.Task, err)
	}
	return tk
}

// poll calls Poll once and takes what it returns.
func (tk *task) poll(ctx context.Context) error {
	records, err := tk.source.Poll(ctx)
	for _, r := range records {
		tk.progress[r.Partition] = r.Position
	}
	tk.records = append(tk.records, records...)
	if p, ok := tk.source.(connector.Progressed); ok {
		maps.Copy(tk.progress, p.Progressed())
	}
	return err
}

// collect polls until n records came.
func (tk *task) collect(t testing.TB, n int) {
	t.Helper()
	ctx := waiting(t)
	for len(tk.records) < n {
		if err := tk.poll(ctx); err != nil {
			t.Fatalf("polling: %v", err)
		}
		if ctx.Err() != nil {
			t.Fatalf("%d records came, not %d", len(tk.records), n)
		}
	}
}

func (tk *task) close(t testing.TB) {
	t.Helper()
	if err := tk.source.Close(waiting(t)); err != nil {
		t.Errorf("closing: %v", err)
	}
}
