// Package task runs one attempt of one task: the source loop (poll, send, acknowledge, store positions) and the sink
// loop (read, put, flush, store offsets). An attempt runs under two contexts: the end of soft means stop reading,
// deliver what was read and store how far it went; the end of hard means stop delivering at once. Who runs what, and
// when an attempt is repeated, is decided by package schedule.
package task

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/redact"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/service"
	"github.com/rocketmq-connect/operator/worker/service/backoff"
	"github.com/rocketmq-connect/operator/worker/task/track"
)

var (
	// ErrLost means the task is no longer owned by this worker, or its fence was passed by a newer one: nothing may be
	// delivered or stored any more under this attempt's generation.
	ErrLost = errors.New("task is no longer owned by this worker")
	// ErrLeaseOver means the worker's lease ended while a sink was writing: what the sink holds is unknown, so the task
	// has to be opened again and goes on from its stored offsets. It is no failure of the connector.
	ErrLeaseOver = errors.New("lease ended while the sink was writing")
)

// Temporary says that an attempt ended because something could not be reached that may be reachable soon.
func Temporary(err error) bool {
	return errors.Is(err, connector.ErrNotConnected) || rmq.IsTemporary(err)
}

// ID names one attempt of one task.
type ID struct {
	Worker, Connector string
	// Task is the task's index, from 0; Tasks is how many the connector has.
	Task, Tasks                int
	Generation, Epoch, Attempt int64
}

// Gate says when a task may deliver. *cluster.Gate is one.
type Gate interface {
	// Wait blocks while less than need of the lease is left. It fails with ctx, or for good once the task is lost.
	Wait(ctx context.Context, need time.Duration) error
	// Context ends when the lease ends or the task is lost.
	Context(parent context.Context) (context.Context, context.CancelFunc)
	// Until is the end, on the clock of the audit lines, of the newest lease under which the gate was open.
	Until() time.Duration
}

// Writer stores positions under the fence of one attempt.
type Writer interface {
	// Write fails with an error that matches ErrLost once a newer fence is there; any other failure is retried.
	Write(ctx context.Context, changed record.Positions) error
}

// Sender is what a task needs of *rmq.Sender.
type Sender interface {
	Send(ctx context.Context, m rmq.Message, done func(offset int64, err error)) error
	Flush(ctx context.Context) error
	// Stalled lists the queues that take nothing at present; rest says that messages wait for others, too.
	Stalled() (stalled []rmq.Stalled, rest bool)
	// LastWrite is when bytes of a batch last left this process, zero before the first; also after Close.
	LastWrite() time.Time
	Close() error
}

// Reader is what a task needs of *rmq.Reader.
type Reader interface {
	Assign(offsets map[rmq.Queue]int64)
	Poll(ctx context.Context, max int) ([]rmq.Received, error)
	Lag() map[rmq.Queue]int64
	Close() error
}

// Client is what tasks need of RocketMQ.
type Client interface {
	Route(ctx context.Context, topic string) ([]rmq.Queue, error)
	EnsureTopic(ctx context.Context, topic string, queues int) ([]rmq.Queue, error)
	// Targets is where a topic can be written to; it does not wait for a name server but the first time.
	Targets(ctx context.Context, topic string) (*rmq.Targets, error)
	EnsureGroup(ctx context.Context, group string) error
	Offsets(ctx context.Context, q rmq.Queue) (min, max int64, err error)
	Committed(ctx context.Context, group string, q rmq.Queue) (offset int64, ok bool, err error)
	Commit(ctx context.Context, group string, offsets map[rmq.Queue]int64) error
	NewSender(gate func(context.Context) error, maxBuffered int, onBatch BatchFunc) Sender
	// NewReader's trail gives marks of what was read of a queue before it is assigned; onGap is told of records that were
	// gone before they could be read.
	NewReader(group string, maxBuffered int, trail func(rmq.Queue) rmq.Trail, onGap func(q rmq.Queue, from, to int64)) Reader
}

// FromClient gives tasks their view of a RocketMQ client.
func FromClient(c *rmq.Client) Client { return client{c} }

type client struct{ *rmq.Client }

// EnsureTopic makes the topic with that many queues on every master if it does not exist.
func (c client) EnsureTopic(ctx context.Context, topic string, queues int) ([]rmq.Queue, error) {
	return c.Client.EnsureTopic(ctx, topic, rmq.TopicSpec{Queues: queues})
}

// NewSender returns a sender that asks gate before each batch.
func (c client) NewSender(gate func(context.Context) error, maxBuffered int, onBatch BatchFunc) Sender {
	return c.Client.NewSender(rmq.SenderConfig{Gate: gate, MaxBufferedBytes: maxBuffered, OnBatch: onBatch})
}

// NewReader returns a reader that has nothing assigned.
func (c client) NewReader(group string, maxBuffered int, trail func(rmq.Queue) rmq.Trail, onGap func(q rmq.Queue, from, to int64)) Reader {
	return c.Client.NewReader(rmq.ReaderConfig{Group: group, MaxBufferedBytes: maxBuffered, Trail: trail, OnGap: onGap})
}

// BatchFunc is told of each batch that was sent.
type BatchFunc func(records, bytes int, took time.Duration, err error)

// Config is what all tasks of a worker share. Zero durations and sizes take the defaults given.
type Config struct {
	Worker, ClusterID string
	// SendTimeout is how much of the lease a batch needs to be started (2 s); PutMargin is the same for a sink's put (1
	// s).
	SendTimeout, PutMargin time.Duration
	// FlushInterval is how often positions and offsets are stored (1 s).
	FlushInterval time.Duration
	// RecheckInterval is how often sinks look for new queues (10 s).
	RecheckInterval time.Duration
	// MaxBufferedBytes bounds what one task holds in memory on its way (8 MiB).
	MaxBufferedBytes int
	// DefaultQueues is the number of queues of a target topic that the source did not ask for itself (4).
	DefaultQueues int
	// Internal says which topics are a Connect cluster's own, which no connector reads or writes; nil: none is.
	Internal func(topic string) bool
	// Identity tells the cluster from every other one, whatever they are called. Nil takes ClusterID.
	Identity func(ctx context.Context) (string, error)
	// Now reads the clock of the audit lines, CLOCK_BOOTTIME. Required.
	Now func() time.Duration
	// Log is for people, Audit for the start and stop lines.
	Log, Audit logr.Logger
	// Registerer takes the metrics; nil registers none.
	Registerer prometheus.Registerer
}

func (c Config) withDefaults() Config {
	c.SendTimeout = orDefault(c.SendTimeout, 2*time.Second)
	c.PutMargin = orDefault(c.PutMargin, time.Second)
	c.FlushInterval = orDefault(c.FlushInterval, time.Second)
	c.RecheckInterval = orDefault(c.RecheckInterval, 10*time.Second)
	c.MaxBufferedBytes = orDefault(c.MaxBufferedBytes, 8<<20)
	c.DefaultQueues = orDefault(c.DefaultQueues, 4)
	if c.Internal == nil {
		c.Internal = func(string) bool { return false }
	}
	if c.Identity == nil {
		id := c.ClusterID
		c.Identity = func(context.Context) (string, error) { return id, nil }
	}
	return c
}

func orDefault[T ~int | ~int64](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}

// Runner runs attempts. It is safe for concurrent use.
type Runner struct {
	cfg     Config
	client  Client
	metrics *metrics
	recent  recentRoutes
}

// New makes the Runner of a worker.
func New(cfg Config, client Client) (*Runner, error) {
	if cfg.Now == nil || client == nil {
		return nil, errors.New("tasks need a clock and a RocketMQ client")
	}
	return &Runner{cfg: cfg.withDefaults(), client: client, metrics: newMetrics(cfg.Registerer)}, nil
}

// Attempt is one try to run one task.
type Attempt struct {
	ID ID
	// Config is the task's config over the connector's.
	Config connector.Config
	Gate   Gate
	// Writer stores the positions of a source, the offsets of a sink.
	Writer Writer
	// Stored reads the newest stored positions of the whole connector.
	Stored func() record.Positions
	// Scrub takes secret values out of a text that leaves the worker. Never nil.
	Scrub func(string) string
	// Waiting is told each time why the connector cannot be opened yet; Opened is called once it is open. Never nil.
	Waiting func(err error)
	Opened  func()
	// Warn is told what users should know of a task that runs, and takes secrets out; empty once there is nothing. Never
	// nil.
	Warn func(text string)
}

// attempt is what every attempt has, whichever way its records go.
type attempt struct {
	*Runner
	a        Attempt
	set      settings
	log      logr.Logger
	count    *counters
	life     *lifetime
	warnings *warnings
}

func (r *Runner) attempt(soft, hard context.Context, a Attempt, set settings, kind connector.Kind) attempt {
	return attempt{r, a, set, r.logger(a), r.metrics.of(a.ID.Connector, kind), newLifetime(soft, hard), &warnings{warn: a.Warn}}
}

// scrubbed is the error for the log, without secrets.
func (a Attempt) scrubbed(err error) error { return errors.New(a.Scrub(err.Error())) }

// logger is that of an attempt and of its connector, which may log what it was configured with.
//
// Invariant S1: secrets do not come into it.
func (r *Runner) logger(a Attempt) logr.Logger {
	log := r.cfg.Log.WithValues("connector", a.ID.Connector, "task", a.ID.Task, "worker", a.ID.Worker,
		"generation", a.ID.Generation, "epoch", a.ID.Epoch)
	return redact.Log(log, a.Scrub)
}

// wait asks the gate; an error other than the context's own is the loss of the task.
func (r *Runner) wait(ctx context.Context, g Gate, need time.Duration) error {
	err := g.Wait(ctx, need)
	if err == nil || ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrLost, err)
}

const (
	// firstReopen and lastReopen are the pauses before a connector is opened again whose system could not be reached.
	firstReopen = 250 * time.Millisecond
	lastReopen  = 2 * time.Second
)

// open opens the connector of an attempt, again and again while its system cannot be reached: a new attempt would cost
// a fence and a status each time, and so could not come as soon. reset closes what the last try left.
func open(ctx context.Context, a Attempt, try func() error, reset func()) error {
	var pause backoff.Doubling
	for {
		err := service.Guard(try)
		if err == nil {
			a.Opened()
			return nil
		}
		if !errors.Is(err, connector.ErrNotConnected) || ctx.Err() != nil {
			return err
		}
		a.Waiting(err)
		if service.Sleep(ctx, pause.Next(firstReopen, lastReopen)) != nil {
			return err
		}
		reset()
	}
}

// warnings puts together what a task and its connector warn of. It is safe for concurrent use.
type warnings struct {
	warn func(text string)

	mu    sync.Mutex
	texts [3]string
}

// Who warns.
const (
	ofTask = iota
	ofConnector
	ofRounds
)

// set replaces what one of them warns of; empty is nothing.
func (w *warnings) set(of int, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.texts[of] == text {
		return
	}
	w.texts[of] = text
	all := slices.DeleteFunc(slices.Clone(w.texts[:]), func(text string) bool { return text == "" })
	w.warn(strings.Join(all, "; "))
}

// system names the RocketMQ that this cluster reaches, for places.
func (r *Runner) system(ctx context.Context) (string, error) {
	id, err := r.cfg.Identity(ctx)
	if err != nil {
		return "", fmt.Errorf("asking who the cluster is: %w", err)
	}
	return "connect:" + id, nil
}

// wentRound counts and tells of records that were left out for they go round: a topic that is carried both ways is
// nothing but such records on one of them, so people are told of the first only, and at the end of how many there were.
//
// Invariant P4: every skip is counted and logged with its place.
func wentRound(rounds *track.Rounds, where place, count *counters, log logr.Logger) {
	count.skipped("loop", 1)
	if rounds.All() > 1 {
		log = log.V(1)
	}
	log.Info(
		"Leaving out a record that would come back to a topic in which it has been",
		"partition",
		where.partition,
		"position",
		where.bare(),
	)
}

func sumUpRounds(rounds *track.Rounds, log logr.Logger) {
	if n := rounds.All(); n > 0 {
		log.Info("Left out records that would have come back to a topic in which they had been", "records", n)
	}
}

func (r *Runner) env(a Attempt, set settings, log logr.Logger, count *counters, warn *warnings) connector.Env {
	return connector.Env{
		ClusterID: r.cfg.ClusterID, Connector: a.ID.Connector, Task: a.ID.Task, Tasks: a.ID.Tasks, Log: log,
		Skipped:    func(reason string, n int) { count.skipped(reason, n) },
		Warn:       func(text string) { warn.set(ofConnector, text) },
		QueueCount: func(ctx context.Context, topic string) (int, error) { return r.queueCount(ctx, set.target(topic)) },
		EnsureTopic: func(ctx context.Context, topic string, queues int) error {
			if err := r.checkTarget(set, topic); err != nil {
				return err
			}
			return r.ensureTopic(ctx, set.target(topic), queues)
		},
	}
}

// checkTarget refuses a source's topic whose target is none for it.
func (r *Runner) checkTarget(set settings, topic string) error {
	if target := set.target(topic); r.cfg.Internal(target) {
		return fmt.Errorf("%w: %q is %w", connector.ErrTopicName, target, errInternal)
	}
	return set.checkTarget(topic)
}

func (r *Runner) queueCount(ctx context.Context, topic string) (int, error) {
	queues, err := r.client.Route(ctx, topic)
	if errors.Is(err, rmq.ErrTopicNotFound) {
		return 0, nil
	}
	return len(queues), err
}

// The audit events of an attempt.
const (
	auditStart = "task-start"
	auditStop  = "task-stop"
)

// audit writes one line from which ownership can be checked afterwards: the start before anything can be delivered, the
// stop when nothing can be any more.
func (r *Runner) audit(event string, id ID, at time.Duration, more ...any) {
	r.cfg.Audit.Info("Auditing a task", append([]any{"audit", event, "worker", id.Worker, "connector", id.Connector, "task", id.Task,
		"generation", id.Generation, "epoch", id.Epoch, "attempt", id.Attempt,
		"boottime_ns", at.Nanoseconds(), "wall", time.Now().Format(time.RFC3339Nano)}, more...)...)
}

// auditStop writes the stop line, which a worker that was frozen or cut off writes long after it had to end. Its
// ended_ns says when the attempt's deliveries had ended: now, or, if the lease ran out before, the end of the lease or
// of the last delivery, whichever was later.
//
// Invariant C2: nothing is delivered after ended_ns.
func (r *Runner) auditStop(a Attempt, last time.Time) {
	delivered := time.Duration(0)
	if !last.IsZero() {
		delivered = r.cfg.Now() - time.Since(last)
	}
	now := r.cfg.Now()
	r.audit(auditStop, a.ID, now, "ended_ns", min(now, max(a.Gate.Until(), delivered)).Nanoseconds())
}
