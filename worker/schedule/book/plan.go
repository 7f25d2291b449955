package book

import (
	"cmp"
	"slices"
	"time"

	"github.com/rocketmq-connect/operator/worker/allocate"
	"github.com/rocketmq-connect/operator/worker/cluster/fold"
	"github.com/rocketmq-connect/operator/worker/cluster/member"
	"github.com/rocketmq-connect/operator/worker/config"
	"github.com/rocketmq-connect/operator/worker/states"
	"github.com/rocketmq-connect/operator/worker/store/storefold"
)

// Unit is a connector or one of its tasks.
type Unit = allocate.Unit

// Input is all that a plan depends on.
type Input struct {
	Worker     string
	View       member.View
	Connectors []storefold.Connector
	Held       map[Unit]*Held
	Now        time.Time
	// Adopt are units that have been free for so long that any worker may claim them.
	Adopt map[Unit]bool
	// wants is wanted of Connectors; nil makes the plan work it out.
	wants map[Unit]want
	// Places remembers the allocation of an earlier plan; nil remembers none. The plan is the same either way.
	Places *Places
}

// Places is the last allocation and what it was made of: most plans need the same one again.
type Places struct {
	params  allocate.Params
	homes   []string
	units   []Unit
	targets map[Unit]string
}

// of returns who should run what.
func (p *Places) of(params allocate.Params, homes []string, units []Unit) map[Unit]string {
	if p == nil {
		return allocate.Units(params, homes, units)
	}
	if p.targets == nil || p.params != params || !slices.Equal(p.homes, homes) || !slices.Equal(p.units, units) {
		*p = Places{params: params, homes: homes, units: units, targets: allocate.Units(params, homes, units)}
	}
	return p.targets
}

// ActionKind is what to do with a unit.
type ActionKind string

// The actions.
const (
	// ActClaim asks the cluster for a free unit.
	ActClaim ActionKind = "claim"
	// ActStart runs an owned unit.
	ActStart ActionKind = "start"
	// ActStop drains a running unit, which stays owned.
	ActStop ActionKind = "stop"
	// ActKill stops a unit that was lost: at once, and without storing anything.
	ActKill ActionKind = "kill"
	// ActRestart starts a unit again, after a drain if it runs, and forgets its failures.
	ActRestart ActionKind = "restart"
	// ActRelease gives an idle unit back.
	ActRelease ActionKind = "release"
)

// Action is one step for one unit.
type Action struct {
	Kind ActionKind
	Unit Unit
	// Generation and Epoch are those of the ownership in question; a claim has no generation.
	Generation, Epoch int64
	// For is, in a claim, the session that should run the unit; not this worker's own when it is adopted.
	For    int64
	Reason string
}

// want is what a connector's config asks of one of its units.
type want struct {
	epoch int64
	state states.Wanted
	// run says that it should run now, as opposed to being only owned.
	run bool
	// restart is the newest restart that was asked for; "" if there is none.
	restart string
}

// plan is the working state of one Plan.
type plan struct {
	in      Input
	wants   map[Unit]want
	targets map[Unit]string // who should run what
	members map[string]member.Member
	// home says that units are allocated to this worker: it is not flapping.
	home bool
	// epochs are the lowest and the highest epoch at which anything of a connector is owned.
	epochs  map[string]span
	actions []Action
}

type span struct{ low, high int64 }

// Plan returns what to do next, sorted by unit. It is a function of its input alone.
func Plan(in Input) []Action {
	p := newPlan(in)
	for u, h := range in.Held {
		p.lost(u, h)
	}
	if in.View.Joined {
		for u, o := range in.View.Owners {
			if o.Session == in.View.Self {
				p.owned(u, o, p.held(u))
			}
		}
		for u := range p.wants {
			p.unowned(u)
		}
	}
	// Stable, so that of one unit the order above holds.
	slices.SortStableFunc(p.actions, func(a, b Action) int { return compareUnits(a.Unit, b.Unit) })
	return p.actions
}

func newPlan(in Input) *plan {
	p := &plan{in: in, wants: in.wants, members: map[string]member.Member{}, epochs: map[string]span{}}
	if p.wants == nil {
		p.wants = wanted(in.Connectors)
	}
	for _, m := range in.View.Members {
		p.members[m.Worker] = m
	}
	p.home = slices.Contains(in.View.Homes, in.Worker)
	p.targets = in.Places.of(in.View.Allocation, in.View.Homes, placed(in.Connectors))
	for u, o := range in.View.Owners {
		e, known := p.epochs[u.Connector]
		if !known {
			e = span{o.Epoch, o.Epoch}
		}
		p.epochs[u.Connector] = span{min(e.low, o.Epoch), max(e.high, o.Epoch)}
	}
	return p
}

// wanted lists the units that somebody should own. A stopped connector keeps its own unit, so that somebody answers for
// its status; tasks are known once they were published.
func wanted(connectors []storefold.Connector) map[Unit]want {
	out := map[Unit]want{}
	for _, c := range connectors {
		divide := c.Tasks == nil && c.State != states.WantStopped
		out[Unit{Connector: c.Name, Task: allocate.ConnectorTask}] = want{
			epoch:   c.Epoch,
			state:   c.State,
			run:     divide,
			restart: c.RestartOf(allocate.ConnectorTask),
		}
		if c.State == states.WantStopped {
			continue
		}
		for i := range c.Tasks {
			out[Unit{Connector: c.Name, Task: i}] = want{epoch: c.Epoch, state: c.State, run: c.State == states.WantRunning, restart: c.RestartOf(i)}
		}
	}
	return out
}

// wishes is what the connectors of the last pass ask for. It is the same again where they are the very same list.
type wishes struct {
	connectors []storefold.Connector
	wants      map[Unit]want
}

func (w *wishes) of(connectors []storefold.Connector) map[Unit]want {
	same := len(w.connectors) > 0 && len(w.connectors) == len(connectors) && &w.connectors[0] == &connectors[0]
	if !same {
		*w = wishes{connectors: connectors, wants: wanted(connectors)}
	}
	return w.wants
}

// placed lists the units that have a place in the allocation, sorted. Tasks keep theirs while their connector is
// stopped, or divided again: else each such change would move the tasks of other connectors to and fro.
func placed(connectors []storefold.Connector) []Unit {
	var out []Unit
	for _, c := range connectors {
		tasks := len(c.Tasks)
		if c.Tasks == nil {
			tasks, _ = config.MaxTasks(c.Config)
		}
		for i := allocate.ConnectorTask; i < tasks; i++ {
			out = append(out, Unit{Connector: c.Name, Task: i})
		}
	}
	slices.SortFunc(out, compareUnits)
	return out
}

// held is what is known of a unit, also if that is nothing.
func (p *plan) held(u Unit) *Held {
	if h := p.in.Held[u]; h != nil {
		return h
	}
	return &Held{}
}

func (p *plan) do(kind ActionKind, u Unit, o fold.Owner, reason string) {
	p.actions = append(p.actions, Action{Kind: kind, Unit: u, Generation: o.Generation, Epoch: o.Epoch, Reason: reason})
}

// lost kills what runs here without being owned here.
func (p *plan) lost(u Unit, h *Held) {
	o, owned := p.in.View.Owners[u]
	mine := owned && p.in.View.Joined && o.Session == p.in.View.Self && o.Generation == h.Generation
	// Invariant C2: what the log does not give to this session any more stops at once.
	if h.Phase != Idle && !mine {
		p.do(ActKill, u, fold.Owner{Generation: h.Generation}, "lost")
	}
}

// owned decides about a unit that the log gives to this worker.
func (p *plan) owned(u Unit, o fold.Owner, h *Held) {
	if o.Generation > h.Granted || h.Phase != Idle && h.Generation != o.Generation {
		return // not this worker's to use yet, or an earlier ownership is still stopping
	}
	reason := p.leaving(u, o, h)
	switch {
	case o.Generation <= h.Given:
		p.do(ActRelease, u, o, "given back")
	case reason == "":
		p.kept(u, o, h)
	case h.Phase == Running:
		p.do(ActStop, u, o, reason)
	case h.Phase == Idle:
		p.do(ActRelease, u, o, reason)
	}
}

// kept decides about a unit that stays with this worker.
func (p *plan) kept(u Unit, o fold.Owner, h *Held) {
	w, same := p.wants[u], h.Generation == o.Generation
	switch {
	case h.Phase == Stopping:
	case same && w.restart != "" && w.restart != h.RestartID:
		p.do(ActRestart, u, o, "asked for")
	case h.Phase == Running && !w.run && u.Task != allocate.ConnectorTask:
		p.do(ActStop, u, o, "paused")
	case h.Phase == Idle && w.run && (!same || !h.waits(p.in.Now)):
		p.do(ActStart, u, o, "")
	}
}

// leaving says why this worker gives the unit up; "" keeps it.
func (p *plan) leaving(u Unit, o fold.Owner, h *Held) string {
	w, ok := p.wants[u]
	switch {
	case !ok:
		return "not wanted"
	case w.epoch != o.Epoch, o.Epoch < p.in.View.Asked[u.Connector]:
		return "config changed" // Invariant C3: everything of the old epoch goes before anything of the new one starts
	}
	target := p.targets[u]
	to, live := p.members[target]
	switch {
	case target == p.in.Worker, !live, to.Resting, !p.home, h.Kept && h.KeptFrom == to.Session:
		return ""
	case to.Silent && h.Phase == Running:
		return "" // what was drained goes all the same: heartbeats that are often late must not stop and start it again and again
	}
	return "moves to " + target
}

// unowned claims a free unit if this worker should run it, or if nobody else does.
func (p *plan) unowned(u Unit) {
	w := p.wants[u]
	_, owned := p.in.View.Owners[u]
	if owned || !p.home || p.held(u).Phase != Idle || w.epoch < max(p.in.View.Floors[u.Connector], p.in.View.Asked[u.Connector]) {
		return // or this worker has not read the newest config yet
	}
	// Invariant C3: nothing is claimed while anything of the connector is owned at another epoch; the log refuses it too.
	if e, known := p.epochs[u.Connector]; known && e != (span{w.epoch, w.epoch}) {
		return
	}
	to, live := p.members[p.targets[u]]
	a := Action{Kind: ActClaim, Unit: u, Epoch: w.epoch, For: to.Session}
	switch {
	case p.targets[u] == p.in.Worker:
		p.actions = append(p.actions, a)
	case p.in.Adopt[u] && live: // else it waits for a worker that is away for a moment
		a.Reason = "nobody claimed it"
		p.actions = append(p.actions, a)
	}
}

func compareUnits(a, b Unit) int {
	return cmp.Or(cmp.Compare(a.Connector, b.Connector), cmp.Compare(a.Task, b.Task))
}

func sortedUnits[V any](m map[Unit]V) []Unit {
	units := make([]Unit, 0, len(m))
	for u := range m {
		units = append(units, u)
	}
	slices.SortFunc(units, compareUnits)
	return units
}
