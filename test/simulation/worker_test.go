package simulation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rocketmq-connect/operator/worker/allocate"
	"github.com/rocketmq-connect/operator/worker/cluster/fold"
	"github.com/rocketmq-connect/operator/worker/cluster/member"
	"github.com/rocketmq-connect/operator/worker/keyedlog"
	"github.com/rocketmq-connect/operator/worker/keyedlog/replica"
	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/schedule"
	"github.com/rocketmq-connect/operator/worker/schedule/book"
	"github.com/rocketmq-connect/operator/worker/states"
	"github.com/rocketmq-connect/operator/worker/store/storefold"
	"github.com/rocketmq-connect/operator/worker/task"
)

// worker is what a process has beyond its part in the cluster: the stores, the scheduler and the attempts that run.
type worker struct {
	auto   bool // the scheduler works; else claims are made by hand
	stores stores
	book   *book.Book
	runs   map[fold.Unit]*attempt

	request   int64 // the claim that is under way
	asked     []member.ClaimRequest
	releasing []member.Grant
	released  []member.Grant // what was given back, for once more

	// What the last pass saw, and when the next is due.
	viewed   *fold.Fold
	revision int64
	session  int64
	joined   bool
	version  int64
	dirty    bool
	due      time.Time

	leaving, left bool
}

func (s *sim) newWorker(p *proc) {
	session := time.Duration(s.terms.TimeoutMS) * time.Millisecond
	p.worker = worker{stores: s.newStores(p), book: book.New(p.id, session, s.rng.Float64), runs: map[fold.Unit]*attempt{}, dirty: true}
}

// manage is one turn of the scheduler's loop: what was asked for may have been answered, and a pass is made when
// anything that a plan depends on has changed.
func (s *sim) manage(p *proc) {
	w := &p.worker
	if !w.auto {
		return
	}
	s.takeAnswers(p)
	session, joined := p.m.Session()
	f := p.m.Fold()
	now := s.clock(p)
	version := w.stores.config.replica.Version()
	if f == w.viewed && f.Revision() == w.revision && session == w.session && joined == w.joined && version == w.version &&
		!w.dirty && now.Before(w.due) {
		return
	}
	w.viewed, w.revision, w.session, w.joined, w.version, w.dirty = f, f.Revision(), session, joined, version, false
	if w.leaving {
		s.leave(p)
		return
	}
	s.pass(p, now)
}

func (s *sim) takeAnswers(p *proc) {
	w := &p.worker
	if w.request != 0 {
		granted, done, err := p.m.Claimed(w.request)
		if done {
			if err != nil {
				granted = nil
			}
			w.request, w.dirty = 0, true
			w.book.Claimed(w.asked, granted, s.clock(p))
		} else if s.rough && s.rng.IntN(200) == 0 { // the call's context ends
			p.m.Abandon(w.request)
			w.request, w.dirty = 0, true
			w.book.Claimed(w.asked, nil, s.clock(p))
		}
	}
	var done []member.Grant
	w.releasing = slices.DeleteFunc(w.releasing, func(g member.Grant) bool {
		if p.m.Releasing(g) {
			return false
		}
		done = append(done, g)
		return true
	})
	if len(done) > 0 {
		w.dirty = true
		w.book.Released(done)
	}
	// Somebody may give the same back again, at any time.
	if n := len(w.released); n > 0 && s.rough && s.rng.IntN(50) == 0 {
		p.m.Release(w.released[s.rng.IntN(n):][:1])
	}
	if s.rough && s.rng.IntN(20) == 0 {
		s.claimLate(p)
	}
}

// claimLate has p claim what its connector's units were claimed for before the newest config, as a worker may whose
// claim was on its way; it does not wait for the answer.
func (s *sim) claimLate(p *proc) {
	view := p.m.View()
	for _, name := range []string{sourceConnector, sinkConnector} {
		u := fold.Unit{Connector: name, Task: allocate.ConnectorTask}
		if _, owned := view.Owners[u]; owned || view.Floors[name] < 2 {
			continue
		}
		request := p.m.Claim([]member.ClaimRequest{{Unit: u, Epoch: view.Floors[name] - 1}})
		s.send(p)
		p.m.Abandon(request)
	}
}

func (s *sim) pass(p *proc, now time.Time) {
	w := &p.worker
	view := *p.m.View()
	connectors := w.stores.configs.List(nil).Connectors
	work := w.book.Pass(view, connectors, func(u fold.Unit) int64 {
		return max(w.stores.positions.Newest(u.Connector, u.Task), w.stores.offsets.Newest(u.Connector, u.Task))
	}, now)
	for _, step := range work.Steps {
		s.act(p, step, connectors)
	}
	if len(work.Releases) > 0 {
		var grants []member.Grant
		for _, r := range work.Releases {
			grants = append(grants, r.Grant)
		}
		s.release(p, grants)
	}
	if len(work.Claims) > 0 {
		w.asked = work.Claims
		w.request = p.m.Claim(w.asked)
	}
	w.due = w.book.Due(now, now.Add(10*time.Second))
}

func (s *sim) release(p *proc, grants []member.Grant) {
	w := &p.worker
	p.m.Release(grants)
	w.releasing, w.released = append(w.releasing, grants...), append(w.released, grants...)
	for _, g := range grants {
		s.dropHold(p, g)
	}
}

func (s *sim) act(p *proc, step book.Step, connectors []storefold.Connector) {
	w := &p.worker
	switch step.Kind {
	case book.Start:
		i := slices.IndexFunc(connectors, func(c storefold.Connector) bool { return c.Name == step.Unit.Connector })
		s.begin(p, step, connectors[i])
	case book.Drain:
		s.drain(p, w.runs[step.Unit])
	case book.Kill:
		s.end(p, w.runs[step.Unit], context.Canceled)
	case book.Again:
		w.dirty = true
	}
}

const drainTimeout = 30 * time.Second

func (s *sim) drain(p *proc, a *attempt) {
	a.draining, a.killAt = true, s.now+drainTimeout
	if a.unit.Task == allocate.ConnectorTask {
		s.end(p, a, nil)
	}
}

// leave stops everything, gives it back and ends the session.
func (s *sim) leave(p *proc) {
	w := &p.worker
	if w.left {
		return
	}
	for _, u := range w.book.Leave() {
		s.drain(p, w.runs[u])
	}
	if len(w.book.Active()) > 0 {
		return
	}
	if _, joined := p.m.Session(); joined {
		if grants := w.book.Abandon(*p.m.View()); len(grants) > 0 {
			s.release(p, grants)
		}
		if len(w.releasing) > 0 {
			return
		}
	}
	w.left = true
	e, ok, err := p.m.Leave()
	if err != nil {
		s.fail("worker %s leaves: %w", p.id, err)
	}
	if !ok {
		p.fatal = errStopped
		return
	}
	s.sendLeave(p, e.Value)
}

var errStopped = errors.New("stopped")

func (s *sim) sendLeave(p *proc, value []byte) {
	if !s.reaches(p, p.log) {
		s.at(time.Second, func() { s.run(p, func() { s.sendLeave(p, value) }) })
		return
	}
	s.at(s.latency, func() {
		s.keep(p.log, entries("", value), func(int64) { p.fatal = errStopped })
	})
}

// attempt is one attempt of a unit.
type attempt struct {
	unit   fold.Unit
	grant  member.Grant
	number int64
	dead   bool

	draining bool
	killAt   time.Duration

	shelf    *shelf
	progress *storefold.Progress
	writer   *storefold.Writer
	sequence int64
	running  bool          // the fence is read back, and the other system is open
	opensAt  time.Duration // when the other system is back that is away; 0 while it is there
	fencing  bool
	stored   record.Positions
	saving   bool
	nextSave time.Duration

	source *source
	sink   *sink
}

func (a *attempt) gone() bool { return a.dead }

// kindOf: the connector "a" is a source, "b" a sink.
const (
	sourceConnector = "a"
	sinkConnector   = "b"
)

func (s *sim) begin(p *proc, step book.Step, c storefold.Connector) {
	w, u := &p.worker, step.Unit
	a := &attempt{unit: u, grant: step.Grant, number: step.Attempt, stored: record.Positions{}}
	w.runs[u] = a
	s.tracef("%s starts %s gen=%d epoch=%d attempt=%d", p.id, u, a.grant.Generation, a.grant.Epoch, a.number)
	st := &w.stores
	switch {
	case u.Task == allocate.ConnectorTask:
		s.divide(p, a, c)
	case u.Connector == sourceConnector:
		a.shelf, a.progress, a.source = st.position, st.positions, newSource(u.Task, len(c.Tasks))
	default:
		a.shelf, a.progress, a.sink = st.offset, st.offsets, newSink(u.Task, len(c.Tasks))
	}
}

// divide publishes the connector's task configs: whatever was published first for the epoch holds.
func (s *sim) divide(p *proc, a *attempt, c storefold.Connector) {
	st := &p.worker.stores
	id := s.id("tasks")
	tasks := slices.Repeat([]map[string]string{{}}, number(c.Config["max.tasks"]))
	var try func()
	try = func() {
		next, _, err := st.configs.Publish(c.Name, a.grant.Epoch, tasks, id)
		var conflict *storefold.ConflictError
		switch {
		case err != nil && !errors.As(err, &conflict) && !errors.Is(err, storefold.ErrNotFound):
			s.end(p, a, err)
		case next == nil:
			s.end(p, a, nil)
		default:
			s.publish(p, st.config, []replica.Record{*next}, a.gone, func(err error) {
				if err != nil && !errors.Is(err, keyedlog.ErrLogLost) {
					s.end(p, a, err)
					return
				}
				try()
			})
		}
	}
	s.at(s.latency, func() {
		s.run(p, func() {
			if !a.dead {
				try()
			}
		})
	})
}

// end notes how an attempt ended.
func (s *sim) end(p *proc, a *attempt, err error) {
	if a.dead {
		return
	}
	a.dead = true
	w := &p.worker
	s.tracef("%s ends %s gen=%d attempt=%d: %v", p.id, a.unit, a.grant.Generation, a.number, err)
	delete(w.runs, a.unit)
	if a.writer != nil {
		w.stores.writers[a.writer.Key()]--
	}
	s.dropHold(p, a.grant)
	w.book.End(a.unit, schedule.Outcome(err, func(text string) string { return text }), s.clock(p))
	w.dirty = true
}

// leaseMargin is how much of the lease must be left for an attempt, or a sink's put, to begin.
func (s *sim) leaseMargin() time.Duration {
	return schedule.LeaseMargin(time.Duration(s.terms.TimeoutMS) * time.Millisecond)
}

// deliver is called at each slice of true time: what may run on p runs.
func (s *sim) deliver(p *proc) {
	if p.frozen || len(p.worker.runs) == 0 {
		return
	}
	s.run(p, func() {
		for _, u := range sortedRuns(p.worker.runs) {
			if a := p.worker.runs[u]; a != nil && u.Task != allocate.ConnectorTask && s.failed == nil {
				s.advanceTask(p, a)
				s.checkShown(p, a)
			}
		}
	})
}

func (s *sim) advanceTask(p *proc, a *attempt) {
	left, owned := p.m.Open(s.time(p), a.grant)
	left = time.Duration(float64(left) / p.rate)
	switch {
	case !owned:
		s.end(p, a, task.ErrLost)
	case a.draining && s.now > a.killAt:
		s.end(p, a, context.Canceled)
	case !a.running:
		switch {
		case a.draining:
			s.end(p, a, nil)
		case a.opensAt > 0:
			if s.now >= a.opensAt {
				s.opened(p, a)
			}
		case left > s.leaseMargin() && !a.fencing:
			s.fence(p, a)
		}
	case s.rough && s.rng.IntN(1000) == 0:
		s.end(p, a, errors.New("the other system failed"))
	case a.source != nil:
		s.runSource(p, a, left)
	default:
		s.runSink(p, a, left)
	}
}

// fence fences off earlier attempts; then the stored progress is where this one begins.
func (s *sim) fence(p *proc, a *attempt) {
	a.fencing = true
	w, err := storefold.NewWriter(storefold.Fence{Connector: a.unit.Connector, Task: a.unit.Task, Generation: a.grant.Generation,
		Epoch: a.grant.Epoch, Attempt: a.number}, s.id("fence"))
	if err != nil {
		s.fail("worker %s: %w", p.id, err)
		return
	}
	s.publish(p, a.shelf, []replica.Record{w.Announce()}, a.gone, func(err error) {
		if err == nil {
			err = w.Check(a.progress)
		}
		if err != nil {
			s.end(p, a, err)
			return
		}
		a.writer = w
		p.worker.stores.writers[w.Key()]++
		stored := a.progress.Read(a.unit.Connector)
		if a.source != nil {
			s.openSource(p, a, stored)
			return
		}
		s.openSink(p, a, stored)
	})
}

// open opens the other system, which may be away for a while.
func (s *sim) open(p *proc, a *attempt) {
	if s.rough && s.rng.IntN(8) == 0 {
		a.opensAt = s.now + s.random(3*time.Second)
		p.worker.book.Waiting(a.unit, "the other system is away", s.clock(p))
		return
	}
	s.opened(p, a)
}

func (s *sim) opened(p *proc, a *attempt) {
	a.running, a.opensAt, a.nextSave = true, 0, s.now+flushInterval
	if a.sink != nil {
		a.sink.puts.Begin(s.clock(p))
	}
	p.worker.book.Opened(a.unit)
	p.worker.dirty = true
}

// checkShown looks at what users see of an attempt that was not asked to stop.
func (s *sim) checkShown(p *proc, a *attempt) {
	h := p.worker.book.Unit(a.unit)
	if h == nil || a.dead || a.draining || h.Phase == book.Stopping {
		return
	}
	state, waits := h.State(a.unit), !h.Retry.Next.IsZero()
	if a.running && (state != states.Running || waits) || a.opensAt > 0 && (state != states.Failed || !waits) {
		s.fail("STATUS: %s shows %s as %s (running: %t, waits for another start: %t)", p.id, a.unit, state, a.running, waits)
	}
}

const flushInterval = time.Second

// save stores what changed since the last time, at an interval or when it is asked for.
func (s *sim) save(p *proc, a *attempt, ready record.Positions, asked bool) (nothing bool) {
	changed := record.Positions{}
	for partition, position := range ready {
		if old, ok := a.stored[partition]; !ok || old != position {
			changed[partition] = position
		}
	}
	if a.saving || len(changed) == 0 || !asked && s.now < a.nextSave {
		return len(changed) == 0 && !a.saving
	}
	a.saving, a.nextSave = true, s.now+flushInterval
	s.write(p, a, changed, func(err error) {
		a.saving = false
		switch {
		case errors.Is(err, storefold.ErrFenced):
			s.end(p, a, fmt.Errorf("%w: %w", task.ErrLost, err))
		case err == nil:
			for partition, position := range changed {
				a.stored[partition] = position
			}
		}
	})
	return false
}

func sortedRuns(m map[fold.Unit]*attempt) []fold.Unit {
	units := make([]fold.Unit, 0, len(m))
	for u := range m {
		units = append(units, u)
	}
	slices.SortFunc(units, allocate.Compare)
	return units
}
