package member

import (
	"maps"
	"slices"

	"github.com/rocketmq-connect/operator/worker/allocate"
	"github.com/rocketmq-connect/operator/worker/cluster/fold"
)

// Member is a live session.
type Member struct {
	Session                  int64
	Worker, Address, Version string
	// Eligible is false while the member flaps: its worker id was expired less than three session timeouts ago, and it
	// owns nothing. It should be given nothing then. At least one member is eligible.
	Eligible bool
	// Resting says that the member may start nothing for a moment that it is newly given. It keeps what it has.
	Resting bool
	// Silent says that the member has missed a heartbeat by this worker's clock: it may be gone. Other workers' views may
	// differ.
	Silent bool
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
	Owners map[fold.Unit]fold.Owner
	// Floors is the highest epoch of each connector that was granted. Asked is a newer one that was claimed in vain
	// because units of an older one are owned: their owners must drain and release.
	Floors, Asked map[string]int64
	// Allocation is the oldest member's.
	Allocation allocate.Params
}

// View makes the view of what the machine has folded.
func (m *Machine) View() *View {
	f := m.Fold()
	v := &View{Offset: f.Offset(), Owners: map[fold.Unit]fold.Owner{}, Floors: map[string]int64{}, Asked: map[string]int64{}}
	v.Self, v.Joined = m.Session()
	homes := map[string]bool{}
	for _, s := range f.Sessions() {
		if len(v.Members) == 0 {
			v.Allocation = s.Terms.Allocation
		}
		eligible := f.Eligible(s)
		v.Members = append(v.Members, Member{Session: s.ID, Worker: s.Worker, Address: s.Address, Version: s.Version, Eligible: eligible,
			Resting: s.Terms.Resting, Silent: slices.Contains(m.silent, s.ID)})
		if eligible {
			homes[s.Worker] = true
		}
	}
	for _, w := range f.Away() {
		homes[w] = true
	}
	v.Homes = slices.Sorted(maps.Keys(homes))
	f.Owners(func(u fold.Unit, o fold.Owner) { v.Owners[u] = o })
	f.Floors(func(c string, e int64) { v.Floors[c] = e })
	f.Asked(func(c string, e int64) { v.Asked[c] = e })
	return v
}
