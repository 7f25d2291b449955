package schedule

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/rocketmq-connect/operator/worker/allocate"
	"github.com/rocketmq-connect/operator/worker/cluster"
	"github.com/rocketmq-connect/operator/worker/config"
	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/redact"
	"github.com/rocketmq-connect/operator/worker/schedule/book"
	"github.com/rocketmq-connect/operator/worker/service"
	"github.com/rocketmq-connect/operator/worker/store"
	"github.com/rocketmq-connect/operator/worker/task"
)

// LeaseMargin is how much of the lease must be left for an attempt, or a sink's put, to begin: a second, but never so
// much that the lease of a short session could not have it. A lease is nine tenths of the session when it is renewed,
// and renewed each third of it at the least.
func LeaseMargin(session time.Duration) time.Duration { return min(time.Second, session/4) }

// job is one attempt of a unit, with all that it needs of the state at its start.
type job struct {
	unit      Unit
	grant     cluster.Grant
	attempt   int64
	connector store.Connector
	// redactor takes secrets out of texts; also those that the config refers to, once they are resolved.
	redactor func() redact.Redactor
}

// scrub takes secrets out of a text and bounds its length.
//
// Invariant S1: error texts of connectors and brokers pass it before they are logged, shown or stored.
func (j *job) scrub(text string) string {
	text = j.redactor().Text(text)
	if len(text) > maxProblem {
		text = strings.ToValidUTF8(text[:maxProblem], "") + "…"
	}
	return text
}

// start runs the unit in a goroutine of its own.
func (s *Scheduler) start(step book.Step, c store.Connector) {
	hard, kill := context.WithCancel(s.base)
	soft, stop := context.WithCancel(hard)
	s.runs[step.Unit] = &run{stop, kill}
	j := &job{unit: step.Unit, grant: step.Grant, attempt: step.Attempt, connector: c, redactor: s.redactorOf(c)}
	s.cfg.Log.Info("Starting a unit", "connector", j.unit.Connector, "task", j.unit.Task, "worker", s.cfg.WorkerID,
		"generation", j.grant.Generation, "epoch", j.grant.Epoch, "attempt", j.attempt)
	s.units.Go(func() {
		defer kill()
		defer stop()
		err := service.Guard(func() error {
			if j.unit.Task == allocate.ConnectorTask {
				return s.divide(soft, j)
			}
			return s.runTask(soft, hard, j)
		})
		s.ended(j, err)
	})
}

// Outcome is how an attempt ended that returned err; scrub takes the secrets out of its text.
func Outcome(err error, scrub func(string) string) book.Outcome {
	o := book.Outcome{Canceled: errors.Is(err, context.Canceled)}
	switch {
	case err == nil:
	case errors.Is(err, connector.ErrEndOfSource):
		o.Kind = book.Finished
	case errors.Is(err, task.ErrLost), errors.Is(err, store.ErrFenced):
		o.Kind = book.Lost
	case errors.Is(err, task.ErrLeaseOver):
		o.Kind = book.LeaseOver
	default:
		o.Kind, o.Problem, o.Temporary = book.Failed, scrub(err.Error()), task.Temporary(err)
	}
	return o
}

// ended takes the outcome of an attempt.
func (s *Scheduler) ended(j *job, err error) {
	how := Outcome(err, j.scrub)
	s.mu.Lock()
	delete(s.runs, j.unit)
	failed := s.book.End(j.unit, how, time.Now())
	next := s.book.Unit(j.unit).Retry.Next
	if failed { // before the connector may be forgotten
		s.metrics.failures.WithLabelValues(j.unit.Connector).Inc()
	}
	s.mu.Unlock()
	log := s.cfg.Log.WithValues("connector", j.unit.Connector, "task", j.unit.Task, "generation", j.grant.Generation)
	switch {
	case failed:
		log = log.WithValues("nextRestart", next.Format(time.RFC3339))
		if panicked := (*service.PanicError)(nil); errors.As(err, &panicked) {
			log = log.WithValues("stack", j.scrub(string(panicked.Stack)))
		}
		log.Error(errors.New(how.Problem), "Unit failed")
	case err != nil:
		log.Info("Unit ended", "reason", j.scrub(err.Error()))
	default:
		log.Info("Unit stopped")
	}
	s.nudge()
}

// find returns the connector of a config.
func (s *Scheduler) find(cfg map[string]string) (connector.Connector, error) {
	class, err := config.ClassOf(cfg, s.deps.Catalog.Implied)
	if err != nil {
		return nil, err
	}
	return s.deps.Catalog.Find(class)
}

// specOf is the Spec of the config's class; one that knows nothing if this worker does not have it.
func (s *Scheduler) specOf(cfg map[string]string) connector.Spec {
	found, err := s.find(cfg)
	if err != nil {
		return connector.Spec{}
	}
	return found.Spec()
}

// maxProblem bounds an error's text in a status.
const maxProblem = 2048

// redactor is that of one epoch of a connector: all of its units share it, and it is made when it is first needed, for
// it takes long configs a while.
type redactor struct {
	epoch int64
	of    func() redact.Redactor
}

// redactorOf needs s.mu.
func (s *Scheduler) redactorOf(c store.Connector) func() redact.Redactor {
	if have, ok := s.redactors[c.Name]; ok && have.epoch == c.Epoch {
		return have.of
	}
	made := sync.OnceValue(func() redact.Redactor { return redact.New(c.Config, s.policy(c.Config)) })
	s.redactors[c.Name] = redactor{c.Epoch, made}
	return made
}

// policy says which settings are secret. Of a class that this worker does not know, all are.
func (s *Scheduler) policy(cfg map[string]string) redact.Policy {
	spec := s.specOf(cfg)
	return func(key string) bool { return spec.Secret(key, config.Reserved) }
}

// divide computes a connector's task configs and publishes them: whatever was published first for the epoch holds.
func (s *Scheduler) divide(ctx context.Context, j *job) error {
	found, err := s.find(j.connector.Config)
	if err != nil {
		return err
	}
	resolved, err := s.resolve(j)
	if err != nil {
		return err
	}
	s.warnClear(j)
	cfg := connector.Config(maps.Clone(resolved.Config))
	if _, err := found.Spec().Check(cfg, config.Reserved); err != nil {
		return fmt.Errorf("checking the config: %w", err)
	}
	if err := service.Guard(func() error { return found.Validate(cfg) }); err != nil {
		return ofClass(found, fmt.Errorf("checking the config: %w", err))
	}
	limit, err := config.MaxTasks(j.connector.Config)
	if err != nil {
		return err
	}
	dividing, cancel := context.WithTimeout(ctx, s.cfg.TasksTimeout)
	defer cancel()
	var tasks []connector.Config
	err = service.Guard(func() (err error) { tasks, err = found.Tasks(dividing, cfg, limit); return err })
	if err != nil {
		return ofClass(found, fmt.Errorf("dividing the connector into tasks: %w", err))
	}
	if len(tasks) == 0 || len(tasks) > limit {
		return fmt.Errorf("dividing the connector into tasks: its class gave %d, 1 to %d are allowed", len(tasks), limit)
	}
	configs, err := storable(resolved, j.connector.Config, tasks)
	if err != nil {
		return fmt.Errorf("dividing the connector into tasks: %w", err)
	}
	_, err = s.deps.Configs.PublishTasks(ctx, j.unit.Connector, j.grant.Epoch, configs)
	if conflict := (*store.ConflictError)(nil); errors.As(err, &conflict) {
		return nil // the config has moved on; so will this unit
	}
	if err != nil {
		return fmt.Errorf("publishing the task configs: %w", err)
	}
	return nil
}

// runTask fences off earlier attempts and runs one.
func (s *Scheduler) runTask(soft, hard context.Context, j *job) error {
	found, err := s.find(j.connector.Config)
	if err != nil {
		return err
	}
	progress := s.deps.Positions
	if found.Spec().Kind == connector.KindSink {
		progress = s.deps.Offsets
	}
	gate := s.deps.Gate(j.grant)
	// While the lease is shut nothing would come of an attempt; an outage of the brokers is no failure of the task.
	if err := gate.Wait(soft, LeaseMargin(s.cfg.SessionTimeout)); err != nil {
		if errors.Is(err, cluster.ErrNotOwner) {
			err = fmt.Errorf("%w: %w", task.ErrLost, err)
		}
		return err
	}
	resolved, err := s.resolve(j) // before the fence, which one that lacks a secret needs not
	if err != nil {
		return err
	}
	// Invariant P3: the fence is read back before the stored positions are looked at, so that no older attempt's write can
	// come after.
	writer, done, err := progress.Fence(soft, store.Fence{Connector: j.unit.Connector, Task: j.unit.Task,
		Generation: j.grant.Generation, Epoch: j.grant.Epoch, Attempt: j.attempt})
	if err != nil {
		return fmt.Errorf("fencing off earlier attempts: %w", err)
	}
	defer done()
	a := task.Attempt{
		ID: task.ID{Worker: s.cfg.WorkerID, Connector: j.unit.Connector, Task: j.unit.Task, Tasks: len(j.connector.Tasks),
			Generation: j.grant.Generation, Epoch: j.grant.Epoch, Attempt: j.attempt},
		Config:  resolved.Task(j.connector.Config, j.connector.TaskConfig(j.unit.Task)),
		Gate:    gate,
		Writer:  writer,
		Stored:  func() record.Positions { return progress.Read(j.unit.Connector) },
		Scrub:   j.scrub,
		Waiting: func(err error) { s.waiting(j, err) },
		Opened:  func() { s.opened(j) },
		Warn:    func(text string) { s.warned(j, j.scrub(text)) },
	}
	return ofClass(found, service.Guard(func() error {
		switch c := found.(type) {
		case connector.SourceConnector:
			return s.deps.Runner.RunSource(soft, hard, c, a)
		case connector.SinkConnector:
			return s.deps.Runner.RunSink(soft, hard, c, a)
		}
		return fmt.Errorf("connector class %q is neither a source nor a sink", found.Spec().Class)
	}))
}

// ofClass names the class that panicked: who has to correct it is seldom who reads of it.
func ofClass(c connector.Connector, err error) error {
	if panicked := (*service.PanicError)(nil); errors.As(err, &panicked) {
		return fmt.Errorf("class %s: %w", c.Spec().Class, err)
	}
	return err
}

// waiting notes why the connector of an attempt cannot be opened yet.
func (s *Scheduler) waiting(j *job, err error) {
	problem := j.scrub(err.Error())
	s.mu.Lock()
	first := s.book.Waiting(j.unit, problem, time.Now())
	s.mu.Unlock()
	if first {
		s.cfg.Log.Info("Waiting until a unit can be opened", "connector", j.unit.Connector, "task", j.unit.Task,
			"generation", j.grant.Generation, "reason", problem)
	}
	s.nudge()
}

// opened notes that the connector of an attempt is open.
func (s *Scheduler) opened(j *job) {
	s.mu.Lock()
	s.book.Opened(j.unit)
	s.mu.Unlock()
	s.nudge()
}

// warned notes what users should know of an attempt that goes on.
func (s *Scheduler) warned(j *job, text string) {
	s.mu.Lock()
	s.book.Warned(j.unit, text)
	s.mu.Unlock()
	log := s.cfg.Log.WithValues("connector", j.unit.Connector, "task", j.unit.Task, "generation", j.grant.Generation)
	if text == "" {
		log.Info("Going on as usual")
	} else {
		log.Info("Going on with a warning", "warning", text)
	}
	s.nudge()
}
