// Package schedule carries out what the book decides: it claims, starts, stops and gives back what this worker runs.
// Every unit has a goroutine of its own, so that one that is slow to stop holds up no other.
package schedule

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/rocketmq-connect/operator/worker/allocate"
	"github.com/rocketmq-connect/operator/worker/cluster"
	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/schedule/book"
	"github.com/rocketmq-connect/operator/worker/service"
	"github.com/rocketmq-connect/operator/worker/states"
	"github.com/rocketmq-connect/operator/worker/store"
	"github.com/rocketmq-connect/operator/worker/task"
)

// Unit is a connector or one of its tasks.
type Unit = allocate.Unit

// Config configures a Scheduler. Zero durations take the defaults given.
type Config struct {
	// WorkerID is this worker's id in the cluster. Required.
	WorkerID string
	// SessionTimeout is the cluster's (5 s): a unit that stays free for longer is claimed by any worker.
	SessionTimeout time.Duration
	// DrainTimeout is how long a task may deliver what it has read after it was asked to stop (30 s).
	DrainTimeout time.Duration
	// TasksTimeout bounds how long a connector may take to divide its work (30 s).
	TasksTimeout time.Duration
	// ReferencesOnly has connectors fail whose configs have secrets in the clear.
	ReferencesOnly bool
	Log            logr.Logger
	// Registerer takes the metrics; nil registers none.
	Registerer prometheus.Registerer
	// Random gives numbers in [0, 1) for delays; nil takes math/rand.
	Random func() float64
}

func (c Config) withDefaults() Config {
	c.SessionTimeout = cmp.Or(c.SessionTimeout, 5*time.Second)
	c.DrainTimeout = cmp.Or(c.DrainTimeout, 30*time.Second)
	c.TasksTimeout = cmp.Or(c.TasksTimeout, 30*time.Second)
	if c.Random == nil {
		c.Random = rand.Float64
	}
	return c
}

// Cluster is what the Scheduler needs of *cluster.Cluster.
type Cluster interface {
	View() cluster.View
	Watch() (changed <-chan struct{}, stop func())
	Claim(ctx context.Context, reqs []cluster.ClaimRequest) ([]cluster.Grant, error)
	Release(ctx context.Context, grants []cluster.Grant) error
	// Lapsed reports whether the lease is over: nothing may be delivered then.
	Lapsed() (since time.Time, lapsed bool)
}

// Configs is what the Scheduler needs of *store.Configs.
type Configs interface {
	// All is sorted by name. A list that was given out never changes, and may be given out again.
	All() []store.Connector
	PublishTasks(ctx context.Context, name string, epoch int64, tasks []map[string]string) (store.Connector, error)
	Watch() (changed <-chan struct{}, stop func())
}

// Progress is what the Scheduler needs of the stores of positions and offsets.
type Progress interface {
	// Fence returns the writer of one attempt and a function that ends the writer.
	Fence(ctx context.Context, f store.Fence) (w task.Writer, done func(), err error)
	Read(connector string) record.Positions
	Newest(connector string, task int) int64
}

// Statuses is what the Scheduler needs of *store.Statuses.
type Statuses interface {
	Put(ctx context.Context, statuses ...store.Status) error
	Newest(connector string, task int) int64
}

// Runner runs attempts of tasks. *task.Runner is one.
type Runner interface {
	RunSource(soft, hard context.Context, c connector.SourceConnector, a task.Attempt) error
	RunSink(soft, hard context.Context, c connector.SinkConnector, a task.Attempt) error
	Forget(connector string)
}

// Catalog finds connector classes.
type Catalog interface {
	Find(class string) (connector.Connector, error)
	// Implied returns the class of a config that names none; its error says what to set.
	Implied(cfg map[string]string) (string, error)
}

// Deps are the parts of the worker that the Scheduler works with. All are required.
type Deps struct {
	Cluster Cluster
	// Gate gives the gate of a grant.
	Gate               func(cluster.Grant) task.Gate
	Configs            Configs
	Positions, Offsets Progress
	Statuses           Statuses
	Runner             Runner
	Catalog            Catalog
	Secrets            Secrets
}

// Scheduler claims, starts, stops and releases units. Its methods are safe for concurrent use. One value holds what
// drives one Book under one mutex; what is decided is in package book.
type Scheduler struct {
	cfg     Config
	deps    Deps
	metrics *metrics
	status  *statusWriter
	wake    chan struct{}
	// units runs what belongs to units: attempts, claims, releases; base ends when they must.
	units   service.Group
	base    context.Context
	endBase context.CancelFunc

	mu    sync.Mutex
	book  *book.Book
	runs  map[Unit]*run
	told  map[Unit]store.Status // the newest status of each unit, but for its attempt and time
	known map[string]bool       // connectors of the last pass, and those of which something ran
	// redactors take secrets out of the texts of a connector's units, by its name.
	redactors map[string]redactor
}

// New checks cfg and deps. The Scheduler does nothing before its service runs.
func New(cfg Config, deps Deps) (*Scheduler, error) {
	complete := deps.Cluster != nil && deps.Gate != nil && deps.Configs != nil && deps.Positions != nil &&
		deps.Offsets != nil && deps.Statuses != nil && deps.Runner != nil && deps.Catalog != nil && deps.Secrets != nil
	if cfg.WorkerID == "" || !complete {
		return nil, errors.New("a scheduler needs a worker id and all its dependencies")
	}
	cfg = cfg.withDefaults()
	s := &Scheduler{cfg: cfg, deps: deps, metrics: newMetrics(cfg.Registerer), wake: make(chan struct{}, 1),
		book: book.New(cfg.WorkerID, cfg.SessionTimeout, cfg.Random), runs: map[Unit]*run{}, told: map[Unit]store.Status{},
		known: map[string]bool{}, redactors: map[string]redactor{}}
	s.status = newStatusWriter(deps.Statuses, cfg.Log)
	s.base, s.endBase = context.WithCancel(context.Background())
	return s, nil
}

// Service runs the Scheduler. Its Stop drains and releases everything, and has to come before the cluster's.
func (s *Scheduler) Service() service.Service {
	return service.Service{Name: "schedule", Run: s.run, Stop: s.stop}
}

// UnitStatus is what this worker does with one unit that it owns.
type UnitStatus struct {
	Connector string
	// Task is -1 for the connector itself.
	Task              int
	Generation, Epoch int64
	State             states.Observed
	// Stopping says that it is draining: for a hand-over, a pause, a stop or a restart.
	Stopping    bool
	Error       string
	Restarts    int
	NextRestart time.Time
}

// Running lists the units that this worker owns or still runs, connectors before their tasks.
func (s *Scheduler) Running() []UnitStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []UnitStatus
	for u, h := range s.book.Units() {
		if h.Phase == book.Idle && !h.Owned {
			continue
		}
		out = append(out, UnitStatus{Connector: u.Connector, Task: u.Task, Generation: h.Generation, Epoch: h.Epoch,
			State: h.State(u), Stopping: h.Phase == book.Stopping, Error: h.Problem, Restarts: h.Retry.Restarts, NextRestart: h.Retry.Next})
	}
	slices.SortFunc(out, func(a, b UnitStatus) int {
		return cmp.Or(cmp.Compare(a.Connector, b.Connector), cmp.Compare(a.Task, b.Task))
	})
	return out
}

// nudge asks for another pass.
func (s *Scheduler) nudge() { service.Signal(s.wake) }
