package redistribute

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var (
	free    = Record{}
	bound   = Record{Bound: true}
	movable = Record{Bound: true, Movable: true}
)

func TestShare(t *testing.T) {
	records := []Record{free, bound, movable, free, bound, free}
	none := []int{Stays, Stays, Stays, Stays, Stays, Stays}
	cases := map[string]struct {
		fate   Fate
		places Places
		want   []int
	}{
		"the queue is as it was": {Wait, Places{From: 0, Failing: make([]bool, 3)}, none},
		"its broker fails, and what is bound waits": {
			MoveFree, Places{From: 0, Instead: 2, Failing: []bool{true, false, false}}, []int{1, Stays, Stays, 2, Stays, 1},
		},
		"its broker is away, and what is movable goes": {
			MoveMovable, Places{From: -1, Instead: 2, Failing: make([]bool, 3)}, []int{1, Stays, 2, 2, Stays, 0},
		},
		"the queue was given up": {
			MoveAll, Places{From: -1, Instead: 0, Failing: make([]bool, 3), Turn: 1}, []int{2, 0, 0, 0, 0, 1},
		},
		"all fail, and each has its turn": {
			MoveAll, Places{From: -1, Instead: 1, Failing: []bool{true, true}}, []int{1, 1, 1, 0, 1, 1},
		},
		"the topic can be written to nowhere":    {MoveAll, Places{From: -1}, none},
		"the only queue that works is their own": {MoveFree, Places{From: 1, Failing: []bool{true, false}}, none},
		"the queue that takes its place is their own": {
			MoveAll, Places{From: 0, Failing: []bool{true, false}}, []int{1, Stays, Stays, 1, Stays, 1},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, Share(records, tc.fate, tc.places)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// leaving says which records leave by which fate.
var leaving = map[Fate]map[Record]bool{
	MoveFree:    {free: true, {Movable: true}: true},
	MoveMovable: {free: true, {Movable: true}: true, movable: true},
	MoveAll:     {free: true, {Movable: true}: true, movable: true, bound: true},
}

// slowShare is the obvious twin: it writes down for each record all queues that it could take, the first one first.
func slowShare(records []Record, f Fate, p Places) []int {
	out := []int{}
	for _, r := range records {
		var could []int
		switch {
		case !leaving[f][r] || len(p.Failing) == 0:
		case r.Bound:
			could = append(could, p.Instead)
		default:
			p.Turn++
			var works, fails []int
			for range p.Failing {
				at := int(p.Turn+uint64(len(works)+len(fails))) % len(p.Failing)
				if p.Failing[at] {
					fails = append(fails, at)
				} else {
					works = append(works, at)
				}
			}
			could = append(works, fails...)
		}
		if len(could) == 0 || could[0] == p.From {
			could = []int{Stays}
		}
		out = append(out, could[0])
	}
	return out
}

func FuzzShareAgainstTwin(f *testing.F) {
	for seed := range uint64(30) {
		f.Add(seed, uint8(seed%9), uint8(20))
	}
	f.Fuzz(func(t *testing.T, seed uint64, queues, n uint8) {
		rng := rand.New(rand.NewPCG(seed, 1))
		p := Places{From: -1, Failing: make([]bool, queues), Turn: uint64(rng.IntN(1000))}
		works, odds := 0, rng.IntN(4)+1
		for i := range p.Failing {
			if p.Failing[i] = rng.IntN(odds) > 0; !p.Failing[i] {
				works++
			}
		}
		if queues > 0 {
			p.From, p.Instead = rng.IntN(int(queues)+1)-1, Instead("broker", rng.IntN(100), int(queues))
		}
		records := make([]Record, n)
		for i := range records {
			records[i] = Record{Bound: rng.IntN(2) == 0, Movable: rng.IntN(2) == 0}
		}
		fate := Fate(rng.IntN(int(MoveAll) + 1))
		got := Share(records, fate, p)
		if diff := cmp.Diff(slowShare(records, fate, p), got); diff != "" {
			t.Fatalf("fate %d of %v to %+v (-want +got):\n%s", fate, records, p, diff)
		}
		took := make([]int, queues)
		for i, at := range got {
			switch {
			case at == Stays:
			case records[i].Bound && at != p.Instead:
				t.Errorf("record %d is bound and goes to %d, others to %d: their order is lost", i, at, p.Instead)
			case !records[i].Bound && p.Failing[at] && works > 0:
				t.Errorf("record %d goes to %d, which fails, though %d work", i, at, works)
			case !records[i].Bound:
				took[at]++
			}
		}
		for i := range took {
			if works == int(queues) && p.From < 0 && took[i] > took[(i+1)%int(queues)]+1 {
				t.Errorf("%v go to each: no even shares", took)
			}
		}
	})
}

// What waits at an upgrade has to go where it went before: the order of a queue hangs on it.
func TestInsteadStaysAsItIs(t *testing.T) {
	cases := []struct {
		broker      string
		id, n, want int
	}{
		{"broker-a", 0, 1, 0},
		{"broker-a", 3, 2, 1},
		{"broker-a", 3, 7, 5},
		{"broker-b", 3, 7, 0},
		{"broker-b", 4, 7, 1},
		{"orders", 17, 16, 13},
	}
	for _, tc := range cases {
		t.Run(fmt.Sprint(tc.broker, tc.id, " of ", tc.n), func(t *testing.T) {
			if got := Instead(tc.broker, tc.id, tc.n); got != tc.want {
				t.Errorf("%d, want %d", got, tc.want)
			}
		})
	}
}
