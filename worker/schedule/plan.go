package schedule

import (
	"cmp"
	"slices"

	"github.com/rocketmq-connect/operator/worker/allocate"
	"github.com/rocketmq-connect/operator/worker/cluster"
	"github.com/rocketmq-connect/operator/worker/config"
	"github.com/rocketmq-connect/operator/worker/store"
)

// Phase is what a worker does with a unit just now.
type Phase int

// The phases. Idle is neither running nor on its way to stop.
const (
	Idle Phase = iota
	Running
	Stopping
)

// Held is what a worker knows of a unit beyond the cluster log: the zero value is a unit that it never ran.
type Held struct {
	// Generation is the one that runs, or ran last.
	Generation int64
	Phase      Phase
	// Waiting says that an idle unit must not be started yet: its back-off is not over, or it has finished.
	Waiting bool
	// Granted is the highest generation that a claim of this worker got. An ownership beyond it is not to be used: its claim
	// is still under way, or was given up, and then the cluster gives the unit back.
	Granted int64
	// Given is the highest generation that was released, or lost, here: it never runs again.
	Given int64
	// Kept says that this worker claimed the unit in place of the session KeptFrom, which should have done so and did not.
	// The unit is not handed over to that one. 0 is a session like any other: that of the log's first join.
	Kept     bool
	KeptFrom int64
	// RestartID is the newest restart request that was carried out.
	RestartID string
}

// Input is all that a plan depends on.
type Input struct {
	Worker     string
	View       cluster.View
	Connectors []store.Connector
	Held       map[Unit]Held
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
	// Claim asks the cluster for a free unit.
	Claim ActionKind = "claim"
	// Start runs an owned unit.
	Start ActionKind = "start"
	// Stop drains a running unit, which stays owned.
	Stop ActionKind = "stop"
	// Kill stops a unit that was lost: at once, and without storing anything.
	Kill ActionKind = "kill"
	// Restart starts a unit anew, after a drain if it runs, and forgets its failures.
	Restart ActionKind = "restart"
	// Release gives an idle unit back.
	Release ActionKind = "release"
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
	state store.State
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
	members map[string]cluster.Member
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
				p.owned(u, o, in.Held[u])
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
	p := &plan{in: in, wants: in.wants, members: map[string]cluster.Member{}, epochs: map[string]span{}}
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
func wanted(connectors []store.Connector) map[Unit]want {
	out := map[Unit]want{}
	for _, c := range connectors {
		divide := c.Tasks == nil && c.State != store.Stopped
		out[Unit{Connector: c.Name, Task: allocate.ConnectorTask}] = want{epoch: c.Epoch, state: c.State, run: divide, restart: c.RestartOf(allocate.ConnectorTask)}
		if c.State == store.Stopped {
			continue
		}
		for i := range c.Tasks {
			out[Unit{Connector: c.Name, Task: i}] = want{epoch: c.Epoch, state: c.State, run: c.State == store.Running, restart: c.RestartOf(i)}
		}
	}
	return out
}

// wishes is what the connectors of the last pass ask for. It is the same again where they are the very same list.
type wishes struct {
	connectors []store.Connector
	wants      map[Unit]want
}

func (w *wishes) of(connectors []store.Connector) map[Unit]want {
	same := len(w.connectors) > 0 && len(w.connectors) == len(connectors) && &w.connectors[0] == &connectors[0]
	if !same {
		*w = wishes{connectors: connectors, wants: wanted(connectors)}
	}
	return w.wants
}

// placed lists the units that have a place in the allocation, sorted. Tasks keep theirs while their connector is stopped, or
// divided anew: else each such change would move the tasks of other connectors to and fro.
func placed(connectors []store.Connector) []Unit {
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

func (p *plan) do(kind ActionKind, u Unit, o cluster.Owner, reason string) {
	p.actions = append(p.actions, Action{Kind: kind, Unit: u, Generation: o.Generation, Epoch: o.Epoch, Reason: reason})
}

// lost kills what runs here without being owned here.
func (p *plan) lost(u Unit, h Held) {
	o, owned := p.in.View.Owners[u]
	mine := owned && p.in.View.Joined && o.Session == p.in.View.Self && o.Generation == h.Generation
	// Invariant C2: what the log does not give to this session any more stops at once.
	if h.Phase != Idle && !mine {
		p.do(Kill, u, cluster.Owner{Generation: h.Generation}, "lost")
	}
}

// owned decides about a unit that the log gives to this worker.
func (p *plan) owned(u Unit, o cluster.Owner, h Held) {
	if o.Generation > h.Granted || h.Phase != Idle && h.Generation != o.Generation {
		return // not this worker's to use yet, or an earlier ownership is still stopping
	}
	reason := p.leaving(u, o, h)
	switch {
	case o.Generation <= h.Given:
		p.do(Release, u, o, "given back")
	case reason == "":
		p.kept(u, o, h)
	case h.Phase == Running:
		p.do(Stop, u, o, reason)
	case h.Phase == Idle:
		p.do(Release, u, o, reason)
	}
}

// kept decides about a unit that stays with this worker.
func (p *plan) kept(u Unit, o cluster.Owner, h Held) {
	w, same := p.wants[u], h.Generation == o.Generation
	switch {
	case h.Phase == Stopping:
	case same && w.restart != "" && w.restart != h.RestartID:
		p.do(Restart, u, o, "asked for")
	case h.Phase == Running && !w.run && u.Task != allocate.ConnectorTask:
		p.do(Stop, u, o, "paused")
	case h.Phase == Idle && w.run && (!same || !h.Waiting):
		p.do(Start, u, o, "")
	}
}

// leaving says why this worker gives the unit up; "" keeps it.
func (p *plan) leaving(u Unit, o cluster.Owner, h Held) string {
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
	if owned || !p.home || p.in.Held[u].Phase != Idle || w.epoch < max(p.in.View.Floors[u.Connector], p.in.View.Asked[u.Connector]) {
		return // or this worker has not read the newest config yet
	}
	// Invariant C3: nothing is claimed while anything of the connector is owned at another epoch; the log refuses it too.
	if e, known := p.epochs[u.Connector]; known && e != (span{w.epoch, w.epoch}) {
		return
	}
	to, live := p.members[p.targets[u]]
	a := Action{Kind: Claim, Unit: u, Epoch: w.epoch, For: to.Session}
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
