package cluster

import (
	"maps"
	"slices"

	"github.com/rocketmq-connect/operator/worker/allocate"
	"github.com/rocketmq-connect/operator/worker/cluster/fold"
	"github.com/rocketmq-connect/operator/worker/cluster/member"
)

// Unit is a connector or one of its tasks.
type Unit = allocate.Unit

// Owner is who owns a unit: a session, never a worker id.
type Owner = fold.Owner

// ClaimRequest asks for a unit at an epoch of its connector; Above is the highest generation of it that is known.
type ClaimRequest = member.Request

// Grant is one ownership of a unit.
type Grant = member.Grant

// Member is a live session.
type Member struct {
	Session                  int64
	Worker, Address, Version string
	// Eligible is false while the member flaps: its worker id was expired less than three session timeouts ago, and it
	// owns nothing. It should be given nothing then. At least one member is eligible.
	Eligible bool
}

// View is what the log says up to Offset. It is immutable: callers must not modify its maps and slices.
type View struct {
	// Joined is whether this worker has a live session, Self its number.
	Joined bool
	Self   int64
	Offset int64
	// Members are the live sessions by number; the first is the oldest.
	Members []Member
	// Homes are the worker ids, sorted, over which units are to be allocated: the eligible members, and workers that
	// left so recently (rebalanceDelay) that their units wait for them.
	Homes  []string
	Owners map[Unit]Owner
	// Floors is the highest epoch of each connector that was granted. Asked is a newer one that was claimed in vain
	// because units of an older one are owned: their owners must drain and release.
	Floors, Asked map[string]int64
	// Allocation is the oldest member's.
	Allocation allocate.Params
}

// view makes the view of the machine's fold.
func viewOf(m *member.Machine) *View {
	f := m.Fold()
	v := &View{Offset: f.Offset(), Owners: map[Unit]Owner{}, Floors: map[string]int64{}, Asked: map[string]int64{}}
	v.Self, v.Joined = m.Session()
	homes := map[string]bool{}
	for _, s := range f.Sessions() {
		if len(v.Members) == 0 {
			v.Allocation = s.Terms.Allocation
		}
		eligible := f.Eligible(s)
		v.Members = append(v.Members, Member{Session: s.ID, Worker: s.Worker, Address: s.Address, Version: s.Version, Eligible: eligible})
		if eligible {
			homes[s.Worker] = true
		}
	}
	for _, w := range f.Away() {
		homes[w] = true
	}
	v.Homes = slices.Sorted(maps.Keys(homes))
	f.Owners(func(u Unit, o Owner) { v.Owners[u] = o })
	f.Floors(func(c string, e int64) { v.Floors[c] = e })
	f.Asked(func(c string, e int64) { v.Asked[c] = e })
	return v
}

// View returns the newest view.
func (c *Cluster) View() View { return *c.view.Load() }

// Watch returns a channel that holds a notification after the view has changed, one however often it did. The first is
// there at once. stop ends it.
func (c *Cluster) Watch() (changed <-chan struct{}, stop func()) {
	ch := make(chan struct{}, 1)
	ch <- struct{}{}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watchers[ch] = struct{}{}
	return ch, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.watchers, ch)
	}
}

// publish makes what the machine has folded visible, ends deliveries that may not go on, and wakes who waits. The caller
// holds mu.
func (c *Cluster) publish() {
	session, joined := c.machine.Session()
	old := c.view.Load()
	revision := c.machine.Fold().Revision()
	if revision != c.revision || c.machine.Fold() != c.viewed || joined != old.Joined || session != old.Self {
		c.revision, c.viewed = revision, c.machine.Fold()
		c.view.Store(viewOf(c.machine))
		for ch := range c.watchers {
			select {
			case ch <- struct{}{}:
			default:
			}
		}
	} else if offset := c.machine.Fold().Offset(); offset != old.Offset {
		v := *old
		v.Offset = offset
		c.view.Store(&v)
	}
	c.enforce()
	close(c.signal)
	c.signal = make(chan struct{})
}
