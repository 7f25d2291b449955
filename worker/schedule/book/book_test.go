package book

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/allocate"
	"github.com/rocketmq-connect/operator/worker/cluster/fold"
	"github.com/rocketmq-connect/operator/worker/cluster/member"
	"github.com/rocketmq-connect/operator/worker/states"
	"github.com/rocketmq-connect/operator/worker/store/storefold"
)

// A task that was fenced off is given back also when the config has changed meanwhile, so that its connector has no
// tasks for the moment: else it would stay owned, and nothing of the new epoch could start.
func TestATaskThatWasFencedOffIsGivenBackThoughItIsNotWantedAnyMore(t *testing.T) {
	now := time.Unix(100, 0)
	b := New("w1", 5*time.Second, func() float64 { return 0 })
	view := member.View{Joined: true, Self: 1, Members: []member.Member{{Session: 1, Worker: "w1", Eligible: true}}, Homes: []string{"w1"},
		Owners: map[Unit]fold.Owner{}, Allocation: allocate.Params{Strategy: "Averagely"}}
	connector := storefold.Connector{Name: "c", State: states.WantRunning, Epoch: 1, Revision: 1, Config: map[string]string{"max.tasks": "1"},
		Tasks: []map[string]string{{}}}
	pass := func() Work { return b.Pass(view, []storefold.Connector{connector}, none, now) }

	reqs := pass().Claims
	var grants []member.Grant
	for i, r := range reqs {
		g := member.Grant{Unit: r.Unit, Generation: int64(10 + i), Epoch: 1}
		grants = append(grants, g)
		view.Owners[r.Unit] = fold.Owner{Session: 1, Generation: g.Generation, Epoch: 1}
	}
	b.Claimed(reqs, grants, now)
	if steps := pass().Steps; len(steps) != 1 || steps[0].Kind != Start || steps[0].Unit != unit(0) {
		t.Fatalf("steps %v, want the start of the task", steps)
	}
	connector.Epoch, connector.Revision, connector.Tasks = 2, 2, nil
	b.End(unit(0), Outcome{Kind: Lost}, now)

	for range 3 { // the log may take a while to show it
		got := map[Unit]bool{}
		work := pass()
		var back []member.Grant
		for _, r := range work.Releases {
			got[r.Grant.Unit] = true
			back = append(back, r.Grant)
		}
		want := map[Unit]bool{unit(allocate.ConnectorTask): true, unit(0): true}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("released units (-want +got):\n%s", diff)
		}
		b.Released(back)
	}
}

// A unit that was claimed in place of a session stays here while that session lives, also if it is 0: that of the log's
// first join. A later session of the same worker gets it.
func TestAnAdoptedUnitStaysUntilItsWorkerJoinsAgain(t *testing.T) {
	now := time.Unix(100, 0)
	b := New("w1", 5*time.Second, func() float64 { return 0 })
	view := member.View{
		Joined:     true,
		Self:       1,
		Members:    []member.Member{{Session: 0, Worker: "w2", Eligible: true}, {Session: 1, Worker: "w1", Eligible: true}},
		Homes:      []string{"w1", "w2"},
		Owners:     map[Unit]fold.Owner{},
		Allocation: allocate.Params{Strategy: "Averagely"},
	}
	connectors := []storefold.Connector{{Name: "c", State: states.WantRunning, Epoch: 1, Tasks: []map[string]string{{}}}} // c to w1, c-0 to w2
	pass := func() Work { return b.Pass(view, connectors, none, now) }

	b.Claimed(pass().Claims, nil, now) // of c, and refused
	now = now.Add(5 * time.Second)
	reqs := pass().Claims
	var grants []member.Grant
	for i, r := range reqs {
		g := member.Grant{Unit: r.Unit, Generation: int64(10 + i), Epoch: 1}
		grants = append(grants, g)
		view.Owners[r.Unit] = fold.Owner{Session: 1, Generation: g.Generation, Epoch: 1}
	}
	b.Claimed(reqs, grants, now)
	want := Work{Steps: []Step{{Kind: Start, Unit: unit(0), Grant: member.Grant{Unit: unit(0), Generation: 11, Epoch: 1}, Attempt: 1}}}
	if diff := cmp.Diff(want, pass()); diff != "" {
		t.Errorf("while the other lives (-want +got):\n%s", diff)
	}
	b.End(unit(0), Outcome{Kind: LeaseOver}, now)
	view.Members = []member.Member{{Session: 1, Worker: "w1", Eligible: true}, {Session: 20, Worker: "w2", Eligible: true}}
	want = Work{Releases: []Release{{member.Grant{Unit: unit(0), Generation: 11, Epoch: 1}, "moves to w2"}}}
	if diff := cmp.Diff(want, pass()); diff != "" {
		t.Errorf("after it has joined again (-want +got):\n%s", diff)
	}
}

// unit is a unit of the connector c.
func unit(index int) Unit { return Unit{Connector: "c", Task: index} }

// none is what stores know that know nothing.
func none(Unit) int64 { return 0 }
