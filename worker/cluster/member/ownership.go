package member

import (
	"cmp"
	"slices"
	"time"

	"github.com/rocketmq-connect/operator/worker/allocate"
	"github.com/rocketmq-connect/operator/worker/cluster/fold"
)

// ClaimRequest asks for a unit at an epoch; Above is the highest generation of it that is known.
type ClaimRequest struct {
	Unit         fold.Unit
	Epoch, Above int64
}

// Grant is one ownership of a unit.
type Grant struct {
	Unit              fold.Unit
	Generation, Epoch int64
}

// ownership follows claims and releases until the log has answered them.
type ownership struct {
	requests int64
	claims   map[int64]*claim
	order    []int64 // open claims, as they were made
	releases map[Grant]*release
}

type claim struct {
	units   []fold.Asked
	sent    int64 // sequence of the newest record that carries it; 0 when none is under way
	done    bool
	granted []Grant
	err     error
}

type release struct{ sent int64 }

func newOwnership() ownership {
	return ownership{claims: map[int64]*claim{}, releases: map[Grant]*release{}}
}

// Claim asks for units and returns the number of the request.
func (m *Machine) Claim(reqs []ClaimRequest) int64 {
	o := &m.ownership
	o.requests++
	c := &claim{}
	for _, r := range reqs {
		c.units = append(c.units, fold.Asked{Connector: r.Unit.Connector, Task: r.Unit.Task, Epoch: r.Epoch, Above: r.Above})
	}
	if m.phase != joined {
		c.done, c.err = true, ErrSessionLost
	}
	o.claims[o.requests] = c
	o.order = append(o.order, o.requests)
	return o.requests
}

// Claimed returns what a request was granted, once the log has answered; it is then forgotten.
func (m *Machine) Claimed(request int64) (granted []Grant, done bool, err error) {
	c, ok := m.ownership.claims[request]
	if !ok {
		return nil, true, ErrSessionLost
	}
	if !c.done {
		return nil, false, nil
	}
	m.ownership.forget(request)
	return c.granted, true, c.err
}

// Abandon gives a request up. What it is granted all the same is released.
func (m *Machine) Abandon(request int64) {
	if c, ok := m.ownership.claims[request]; ok {
		m.ownership.releaseAll(c.granted)
		m.ownership.forget(request)
	}
}

// Release gives grants back. From here on they never run again, whatever becomes of the records.
func (m *Machine) Release(grants []Grant) { m.ownership.releaseAll(grants) }

// Releasing reports whether the log still shows the grant as this worker's.
func (m *Machine) Releasing(g Grant) bool {
	_, ok := m.ownership.releases[g]
	return ok && m.owns(g)
}

// Owns reports whether the grant holds: the log says so, and it was not given back.
func (m *Machine) Owns(g Grant) bool {
	_, shut := m.ownership.releases[g]
	return !shut && m.owns(g)
}

// Open returns how long a delivery under the grant may run from now: 0 when none may start. owned says whether waiting
// can help.
//
// Invariant C2: a delivery starts only while the log says that the task is this worker's, and the lease runs.
func (m *Machine) Open(now Time, g Grant) (left time.Duration, owned bool) {
	if !m.Owns(g) {
		return 0, false
	}
	if !m.mayStart(now, g) {
		return 0, true
	}
	return m.lease.Left(now), true
}

// Until is the end, on the boot clock, of the newest lease under which deliveries of the grant could start. Grants of a
// session before the one that was lost last get that one's, which is later.
func (m *Machine) Until(g Grant) time.Duration {
	if m.phase == joined && g.Generation > m.session { // a generation is never below the offset of its claim
		return m.lease.Until()
	}
	return m.lost
}

// owns reports what the log says.
func (m *Machine) owns(g Grant) bool {
	o, ok := m.fold.Owner(g.Unit)
	return m.phase == joined && !m.shut && ok && o == fold.Owner{Session: m.session, Generation: g.Generation, Epoch: g.Epoch}
}

func (o *ownership) forget(request int64) {
	delete(o.claims, request)
	for i, r := range o.order {
		if r == request {
			o.order = append(o.order[:i:i], o.order[i+1:]...)
			return
		}
	}
}

func (o *ownership) releaseAll(grants []Grant) {
	for _, g := range grants {
		if _, ok := o.releases[g]; !ok {
			o.releases[g] = &release{}
		}
	}
}

// claimed takes the log's answer to a request. A grant that nobody waits for (given up, or answered by an earlier
// append) is given back.
func (o *ownership) claimed(request int64, events []fold.Event) {
	var granted []Grant
	for _, ev := range events {
		if ev.Kind == fold.Granted {
			granted = append(granted, Grant{Unit: ev.Unit, Generation: ev.Generation, Epoch: ev.Epoch})
		}
	}
	c, ok := o.claims[request]
	if !ok || c.done {
		o.releaseAll(granted)
		return
	}
	c.done, c.granted = true, granted
}

// lose answers what is open: with the session all that it owned is gone.
func (o *ownership) lose() {
	for _, c := range o.claims {
		if !c.done || len(c.granted) > 0 {
			c.done, c.granted, c.err = true, nil, ErrSessionLost
		}
	}
	clear(o.releases)
}

// prune forgets releases that have come true.
func (o *ownership) prune(owns func(Grant) bool) {
	for g := range o.releases {
		if !owns(g) {
			delete(o.releases, g)
		}
	}
}

// unsent notes that the records with these sequences may not have been stored.
func (o *ownership) unsent(first, last int64) {
	for _, c := range o.claims {
		if c.sent >= first && c.sent <= last {
			c.sent = 0
		}
	}
	for _, r := range o.releases {
		if r.sent >= first && r.sent <= last {
			r.sent = 0
		}
	}
}

// maxUnits bounds the units in one batch.
const maxUnits = 1000

// due returns the records of what is open and not under way. One whose sequence came back, or was passed by a later
// one, without having been answered is sent again. Claims wait while mayClaim is false.
func (o *ownership) due(returned int64, mayClaim bool, record func(fold.Kind) fold.Record) []fold.Record {
	var out []fold.Record
	units := 0
	var held []fold.Held
	var releases []*release
	for g, r := range o.releases {
		if r.sent <= returned && units < maxUnits {
			held = append(held, fold.Held{Connector: g.Unit.Connector, Task: g.Unit.Task, Generation: g.Generation})
			releases = append(releases, r)
			units++
		}
	}
	if len(held) > 0 {
		sortHeld(held)
		r := record(fold.Release)
		r.Release = held
		out = append(out, r)
		for _, rel := range releases {
			rel.sent = r.Sequence
		}
	}
	for _, request := range o.order {
		c := o.claims[request]
		if !mayClaim || c.done || c.sent > returned || units >= maxUnits {
			continue
		}
		r := record(fold.Claim)
		r.Claim = &fold.Claims{Request: request, Units: c.units}
		c.sent = r.Sequence
		units += len(c.units)
		out = append(out, r)
	}
	return out
}

// sortHeld makes the record's bytes the same for the same releases.
func sortHeld(held []fold.Held) {
	slices.SortFunc(held, func(a, b fold.Held) int {
		return cmp.Or(allocate.Compare(a.Unit(), b.Unit()), cmp.Compare(a.Generation, b.Generation))
	})
}
