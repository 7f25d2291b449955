package member

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rocketmq-connect/operator/worker/allocate"
	"github.com/rocketmq-connect/operator/worker/cluster/fold"
	"github.com/rocketmq-connect/operator/worker/rmq"
)

// hold is who runs a unit, and until when in true time what it has started may last.
type hold struct {
	p     *proc
	grant Grant
	until time.Duration
}

// tasks is a small scheduler: it claims what the ring gives to its worker, drains what it gives to another, and runs what
// it was granted.
type tasks struct {
	auto    bool
	want    map[string]int64 // connector -> epoch
	running map[Grant]*running
	request int64
	leaving bool
	// released is what was given back, for once more.
	released []Grant
	left     bool
}

type running struct {
	draining bool
	busy     time.Duration // true time until which a batch that was started may last
}

func newTasks() tasks { return tasks{running: map[Grant]*running{}, want: map[string]int64{}} }

const tasksOfConnector = 3

// begin starts what was granted, unless the stores show that its generation is not the newest.
func (s *sim) begin(p *proc, granted []Grant) {
	for _, g := range granted {
		if s.fences[g.Unit] >= g.Generation {
			s.tracef("%s meets the fence %d of %s with generation %d", p.id, s.fences[g.Unit], g.Unit, g.Generation)
			p.m.Release([]Grant{g})
			continue
		}
		s.fences[g.Unit] = g.Generation
		p.tasks.running[g] = &running{}
	}
}

// manage is one turn of the scheduler.
func (s *sim) manage(p *proc) {
	t := &p.tasks
	if t.request != 0 {
		if granted, done, err := p.m.Claimed(t.request); done {
			t.request = 0
			if err == nil {
				s.begin(p, granted)
			}
		}
	}
	for g := range t.running {
		if !p.m.Owns(g) && (!s.plant.ignoreDrain || !p.m.Releasing(g)) {
			delete(t.running, g)
		}
	}
	if _, ok := p.m.Session(); !ok || !t.auto {
		return
	}
	wanted := s.wanted(p)
	s.drain(p, wanted)
	if t.leaving {
		s.leaveDrained(p)
		return
	}
	s.claim(p, wanted)
}

// wanted is what the ring gives to p, from what p has folded.
func (s *sim) wanted(p *proc) map[fold.Unit]int64 {
	f := p.m.Fold()
	workers := f.Away()
	for _, m := range f.Sessions() {
		if f.Eligible(m) {
			workers = append(workers, m.Worker)
		}
	}
	out := map[fold.Unit]int64{}
	for u, w := range s.ring(p, workers) {
		if w == p.id {
			out[u] = p.tasks.want[u.Connector]
		}
	}
	return out
}

// ring is the allocation over workers, worked out once for each set of them.
func (s *sim) ring(p *proc, workers []string) map[fold.Unit]string {
	slices.Sort(workers)
	connectors := slices.Sorted(maps.Keys(p.tasks.want))
	key := strings.Join(workers, " ") + ":" + strings.Join(connectors, " ")
	if s.rings[key] == nil {
		var units []fold.Unit
		for _, c := range connectors {
			for task := allocate.ConnectorTask; task < tasksOfConnector; task++ {
				units = append(units, fold.Unit{Connector: c, Task: task})
			}
		}
		s.rings[key] = allocate.Units(s.terms.Allocation, workers, units)
	}
	return s.rings[key]
}

// drain stops new deliveries of what is not wanted here, and releases it once the last one has ended.
func (s *sim) drain(p *proc, wanted map[fold.Unit]int64) {
	asked := map[string]int64{}
	p.m.Fold().Asked(func(c string, e int64) { asked[c] = e })
	for _, g := range sortedGrants(p.tasks.running) {
		r := p.tasks.running[g]
		epoch, here := wanted[g.Unit]
		if !here || epoch > g.Epoch || asked[g.Unit.Connector] > g.Epoch || p.tasks.leaving {
			r.draining = true
		}
		if r.draining && r.busy <= s.now {
			p.m.Release([]Grant{g})
			s.dropHold(p, g)
			p.tasks.released = append(p.tasks.released, g)
		}
	}
	// Somebody may give the same back again, at any time.
	if n := len(p.tasks.released); n > 0 && s.rough && s.rng.IntN(20) == 0 {
		p.m.Release(p.tasks.released[s.rng.IntN(n):][:1])
	}
}

func (s *sim) claim(p *proc, wanted map[fold.Unit]int64) {
	t := &p.tasks
	if t.request != 0 {
		return
	}
	var reqs []Request
	for _, u := range slices.SortedFunc(maps.Keys(wanted), allocate.Compare) {
		if _, owned := p.m.Fold().Owner(u); !owned {
			reqs = append(reqs, Request{Unit: u, Epoch: wanted[u], Above: s.fences[u]})
		}
	}
	if len(reqs) == 0 {
		return
	}
	t.request = p.m.Claim(reqs)
	if s.rough && s.rng.IntN(20) == 0 {
		p.m.Abandon(t.request)
		t.request = 0
	}
}

// leaveDrained ends a clean stop.
func (s *sim) leaveDrained(p *proc) {
	t := &p.tasks
	if len(t.running) > 0 || t.left {
		return
	}
	t.left = true
	e, ok, err := p.m.Leave()
	if err != nil || !ok {
		s.fail("worker %s leaves: %t %v", p.id, ok, err)
		return
	}
	s.sendLeave(p, e)
}

func (s *sim) sendLeave(p *proc, e rmq.Entry) {
	if p.cut || s.down {
		s.at(time.Second, func() { s.run(p, func() { s.sendLeave(p, e) }) })
		return
	}
	s.at(s.latency, func() {
		s.store([]rmq.Entry{e}, func() { p.fatal = errStopped })
	})
}

var errStopped = errors.New("stopped")

// deliver is called at each slice of true time: what may run on p runs, and nobody else may.
//
// Invariant C2: the lease-gated runs of one unit by two processes never overlap.
func (s *sim) deliver(p *proc, slice time.Duration) {
	s.run(p, func() {
		for _, g := range sortedGrants(p.tasks.running) {
			r := p.tasks.running[g]
			left, owned := p.m.Open(s.time(p), g)
			if s.plant.ignoreGate && owned || s.plant.ignoreDrain && p.m.Releasing(g) {
				left = time.Hour
			}
			left = time.Duration(float64(left) / p.rate)
			if left <= 0 || r.draining && !s.plant.ignoreDrain {
				continue
			}
			until := s.now + min(left, slice) // a sink's put under the gate's context
			if left > simSendTimeout {
				until = s.now + s.random(simSendTimeout) // a batch that was sent and is not answered
				r.busy = max(r.busy, until)
			}
			s.hold(p, g, until)
		}
	})
}

func (s *sim) hold(p *proc, g Grant, until time.Duration) {
	h := s.holds[g.Unit]
	if h.p != nil && h.p != p && h.until > s.now {
		if s.inHole(p) || s.inHole(h.p) {
			s.holes++
			s.tracef("HOLE %s runs %s, as does %s", p.id, g.Unit, h.p.id)
			return
		}
		s.fail("C2: %s runs %s (generation %d) while %s runs generation %d until %v", p.id, g.Unit, g.Generation, h.p.id, h.grant.Generation, h.until)
	}
	if h.p == nil || h.p != p {
		s.tracef("%s runs %s gen=%d", p.id, g.Unit, g.Generation)
	}
	if h.p == p {
		until = max(until, h.until)
	}
	s.holds[g.Unit] = hold{p, g, until}
}

func (s *sim) dropHold(p *proc, g Grant) {
	if s.holds[g.Unit].p == p {
		delete(s.holds, g.Unit)
	}
}

// dropHolds ends what a killed process ran: its sockets are reset.
func (s *sim) dropHolds(p *proc) {
	for u, h := range s.holds {
		if h.p == p {
			delete(s.holds, u)
		}
	}
}

func sortedGrants(m map[Grant]*running) []Grant {
	return slices.SortedFunc(maps.Keys(m), func(a, b Grant) int {
		if c := allocate.Compare(a.Unit, b.Unit); c != 0 {
			return c
		}
		return int(a.Generation - b.Generation)
	})
}
