package queues

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/rmq"
)

func of(broker string, n int) (out []rmq.Queue) {
	for i := range n {
		out = append(out, rmq.Queue{Topic: "t", Broker: broker, ID: i})
	}
	return out
}

func concat(parts ...[]rmq.Queue) []rmq.Queue { return slices.Concat(parts...) }

// settle has all tasks look as often as it takes until nothing waits any more.
func settle(shares []*Share, shown []rmq.Queue) {
	for range SettleLooks + 1 {
		for _, s := range shares {
			s.Step(shown)
		}
	}
}

func newShares(tasks int, known ...rmq.Queue) (out []*Share) {
	for i := range tasks {
		out = append(out, NewShare(i, tasks, known...))
	}
	return out
}

// owners says which task reads each queue; it fails when two do, or none.
func owners(t *testing.T, shares []*Share, all []rmq.Queue) map[rmq.Queue]int {
	t.Helper()
	out := map[rmq.Queue]int{}
	for i, s := range shares {
		for _, q := range s.Mine() {
			if other, taken := out[q]; taken {
				t.Errorf("tasks %d and %d both read %s", other, i, q)
			}
			out[q] = i
		}
	}
	for _, q := range all {
		if _, ok := out[q]; !ok {
			t.Errorf("nobody reads %s", q)
		}
	}
	return out
}

// Invariant of the deal: whatever brokers come, go and return, each queue that was ever seen has one task, and what
// leaves or returns moves no queue at all.
func TestABrokerThatLeavesOrReturnsMovesNothing(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 3))
		brokers := map[string]int{}
		for i := range 1 + rng.IntN(5) {
			brokers[fmt.Sprintf("b%d", i)] = 1 + rng.IntN(9)
		}
		shares := newShares(1 + rng.IntN(6))
		all := shown(brokers, nil)
		settle(shares, all)
		before := owners(t, shares, all)
		for range 20 {
			away := map[string]bool{}
			for b := range brokers {
				away[b] = rng.IntN(3) == 0
			}
			left := shown(brokers, away)
			if len(left) == 0 {
				continue // a topic that no broker serves is no answer
			}
			for i, s := range shares {
				if add, drop := s.Step(left); len(add)+len(drop) > 0 {
					t.Fatalf("seed %d: without %v task %d takes %v and releases %v", seed, away, i, add, drop)
				}
				if s.Index(all[0]) != 0 || s.Index(all[len(all)-1]) != len(all)-1 {
					t.Fatalf("seed %d: without %v the indexes shift", seed, away)
				}
			}
		}
		if diff := cmp.Diff(before, owners(t, shares, all)); diff != "" {
			t.Fatalf("seed %d: owners (-before +after):\n%s", seed, diff)
		}
		// Tasks that start while brokers are away know them by the stored offsets.
		late := newShares(len(shares), all...)
		settle(late, shown(brokers, map[string]bool{"b0": len(brokers) > 1}))
		if diff := cmp.Diff(before, owners(t, late, all)); diff != "" {
			t.Fatalf("seed %d: owners of tasks that start without a broker (-before +after):\n%s", seed, diff)
		}
	}
}

func shown(brokers map[string]int, away map[string]bool) (out []rmq.Queue) {
	for b, n := range brokers {
		if !away[b] {
			out = append(out, of(b, n)...)
		}
	}
	slices.SortFunc(out, byBroker)
	return out
}

func TestABrokerThatIsAddedMovesNoOthersThatSortBefore(t *testing.T) {
	shares := newShares(3)
	settle(shares, of("a", 8))
	before := owners(t, shares, of("a", 8))
	settle(shares, concat(of("a", 8), of("b", 8)))
	after := owners(t, shares, concat(of("a", 8), of("b", 8)))
	for q, task := range before {
		if after[q] != task {
			t.Errorf("%s went from task %d to %d", q, task, after[q])
		}
	}
}

func TestQueuesThatTheirBrokerGaveUpAreReleased(t *testing.T) {
	s := NewShare(0, 1)
	s.Step(concat(of("a", 4), of("b", 1)))
	add, drop := s.Step(concat(of("a", 2), of("b", 1)))
	if diff := cmp.Diff(of("a", 4)[2:], drop); diff != "" || len(add) > 0 {
		t.Errorf("added %v, released (-want +got):\n%s", add, diff)
	}
}

func TestAwayNamesTheQueuesThatAreNotShown(t *testing.T) {
	s := NewShare(0, 1, of("c", 2)...)
	s.Step(of("a", 2))
	if diff := cmp.Diff(of("c", 2), s.Away()); diff != "" {
		t.Errorf("away (-want +got):\n%s", diff)
	}
}

func TestATaskTakesQueuesThatMovedLater(t *testing.T) {
	old := of("b", 3)
	now := concat(of("a", 3), old) // a broker that sorts first: b's queues are dealt from another task on
	first, second := NewShare(0, 2), NewShare(1, 2)
	first.Step(old)
	second.Step(old)
	first.Step(now)
	for look := range SettleLooks {
		add, _ := second.Step(now)
		for _, q := range add {
			if q.Broker == "b" {
				t.Errorf("look %d: %v was taken before its old task released it", look, q)
			}
		}
	}
	add, _ := second.Step(now)
	if diff := cmp.Diff(of("b", 2), add); diff != "" {
		t.Errorf("taken at last (-want +got):\n%s", diff)
	}
	settle([]*Share{first}, now)
	owners(t, []*Share{first, second}, now)
}
