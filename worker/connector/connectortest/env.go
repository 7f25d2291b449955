// Package connectortest holds the acceptance suites for connectors: RunSource and RunSink. They hold a connector to
// what package connector asks for, call by call, and then run it in a worker in this process, on a RocketMQ in memory,
// where its methods panic, hang and come late: the task fails and says why, the others run on, no record is lost. A
// goroutine that is left when all is closed fails the test that started it, so nothing else of the process may start
// any meanwhile.
package connectortest

import (
	"context"
	"maps"
	"sync"
	"testing"

	"github.com/go-logr/logr"

	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/record"
)

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

// setQueues makes a topic, or more queues of it.
func (w *Worker) setQueues(topic string, queues int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.topics[topic] = queues
}

// task runs one source as a worker would: it collects records and positions.
type task struct {
	calls
	source   connector.Source
	records  []record.Record
	progress record.Positions
}

func (c calls) openTask(
	t testing.TB,
	source connector.SourceConnector,
	cfg connector.Config,
	env connector.Env,
	from record.Positions,
) *task {
	t.Helper()
	tk := &task{calls: c, source: c.newSource(t, source), progress: from.Clone()}
	tk.open(t, env, cfg, from)
	return tk
}

func (c calls) newSource(t testing.TB, class connector.SourceConnector) (made connector.Source) {
	t.Helper()
	_ = c.do(t, "NewSource", func() error { made = class.NewSource(); return nil })
	return made
}

func (tk *task) open(t testing.TB, env connector.Env, cfg connector.Config, from record.Positions) {
	t.Helper()
	ctx := tk.waiting(t)
	if err := tk.do(t, "Open", func() error { return tk.source.Open(ctx, env, cfg, from) }); err != nil {
		t.Fatalf("opening task %d: %v", env.Task, err)
	}
}

// poll calls Poll once, and Progressed after it, and takes what they return.
func (tk *task) poll(t testing.TB, ctx context.Context) error {
	t.Helper()
	return tk.do(t, "Poll", func() error { return tk.take(ctx) })
}

func (tk *task) take(ctx context.Context) error {
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
	ctx := tk.waiting(t)
	for len(tk.records) < n {
		if err := tk.poll(t, ctx); err != nil {
			t.Fatalf("polling: %v", err)
		}
		if ctx.Err() != nil {
			t.Fatalf("%d records came, not %d", len(tk.records), n)
		}
	}
}

func (tk *task) close(t testing.TB) {
	t.Helper()
	ctx := tk.waiting(t)
	if err := tk.do(t, "Close", func() error { return tk.source.Close(ctx) }); err != nil {
		t.Errorf("closing: %v", err)
	}
}
