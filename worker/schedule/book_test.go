package schedule

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/allocate"
	"github.com/rocketmq-connect/operator/worker/cluster"
	"github.com/rocketmq-connect/operator/worker/store"
)

// A task that was fenced off is given back also when the config has changed meanwhile, so that its connector has no tasks for
// the moment: else it would stay owned, and nothing of the new epoch could start.
func TestATaskThatWasFencedOffIsGivenBackThoughItIsNotWantedAnyMore(t *testing.T) {
	now := time.Unix(100, 0)
	b := NewBook("w1", 5*time.Second, func() float64 { return 0 })
	view := cluster.View{Joined: true, Self: 1, Members: []cluster.Member{{Session: 1, Worker: "w1", Eligible: true}}, Homes: []string{"w1"},
		Owners: map[Unit]cluster.Owner{}, Allocation: allocate.Params{Strategy: "Averagely"}}
	connector := store.Connector{Name: "c", State: store.Running, Epoch: 1, Revision: 1, Config: map[string]string{"max.tasks": "1"},
		Tasks: []map[string]string{{}}}
	pass := func() Work { return b.Pass(view, []store.Connector{connector}, now) }

	reqs := b.Claiming(pass().Claims, 1, func(Unit) int64 { return 0 })
	var grants []cluster.Grant
	for i, r := range reqs {
		g := cluster.Grant{Unit: r.Unit, Generation: int64(10 + i), Epoch: 1}
		grants = append(grants, g)
		view.Owners[r.Unit] = cluster.Owner{Session: 1, Generation: g.Generation, Epoch: 1}
	}
	b.Claimed(reqs, grants, now)
	if acts := pass().Acts; len(acts) != 1 || acts[0].Kind != Start || acts[0].Unit != unit(0) {
		t.Fatalf("acts %v, want the start of the task", acts)
	}
	b.Begin(unit(0), now)
	connector.Epoch, connector.Revision, connector.Tasks = 2, 2, nil
	b.End(unit(0), fmt.Errorf("fencing: %w", store.ErrFenced), func(text string) string { return text }, now)

	for range 3 { // the log may take a while to show it
		got := map[Unit]bool{}
		work := pass()
		for _, a := range work.Releases {
			got[a.Unit] = true
		}
		want := map[Unit]bool{unit(allocate.ConnectorTask): true, unit(0): true}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("released units (-want +got):\n%s", diff)
		}
		b.Released(b.Releasing(work.Releases))
	}
}

// A unit that was claimed in place of a session stays here while that session lives, also if it is 0: that of the log's first
// join. A later session of the same worker gets it.
func TestAnAdoptedUnitStaysUntilItsWorkerJoinsAgain(t *testing.T) {
	now := time.Unix(100, 0)
	b := NewBook("w1", 5*time.Second, func() float64 { return 0 })
	view := cluster.View{Joined: true, Self: 1, Members: []cluster.Member{{Session: 0, Worker: "w2", Eligible: true}, {Session: 1, Worker: "w1", Eligible: true}},
		Homes: []string{"w1", "w2"}, Owners: map[Unit]cluster.Owner{}, Allocation: allocate.Params{Strategy: "Averagely"}}
	connectors := []store.Connector{{Name: "c", State: store.Running, Epoch: 1, Tasks: []map[string]string{{}}}} // c to w1, c-0 to w2
	pass := func() Work { return b.Pass(view, connectors, now) }

	pass()
	now = now.Add(5 * time.Second)
	reqs := b.Claiming(pass().Claims, 1, func(Unit) int64 { return 0 })
	var grants []cluster.Grant
	for i, r := range reqs {
		g := cluster.Grant{Unit: r.Unit, Generation: int64(10 + i), Epoch: 1}
		grants = append(grants, g)
		view.Owners[r.Unit] = cluster.Owner{Session: 1, Generation: g.Generation, Epoch: 1}
	}
	b.Claimed(reqs, grants, now)
	if diff := cmp.Diff("start c-0 generation=11", render(pass().Acts)); diff != "" {
		t.Errorf("acts (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff("", render(pass().Releases)); diff != "" {
		t.Errorf("releases while the other lives (-want +got):\n%s", diff)
	}
	view.Members = []cluster.Member{{Session: 1, Worker: "w1", Eligible: true}, {Session: 20, Worker: "w2", Eligible: true}}
	if diff := cmp.Diff("release c-0 generation=11: moves to w2", render(pass().Releases)); diff != "" {
		t.Errorf("releases after it has joined again (-want +got):\n%s", diff)
	}
}
