package track

import (
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/record"
)

// slowTracker is the obvious twin: it keeps every record for ever and looks for the first gap again each time.
type slowTracker struct {
	order map[record.SourcePartition][]*slowRecord
}

type slowRecord struct {
	pos  record.Position
	done bool
}

func (s *slowTracker) add(p record.SourcePartition, pos record.Position) *slowRecord {
	r := &slowRecord{pos: pos}
	s.order[p] = append(s.order[p], r)
	return r
}

func (s *slowTracker) positions() record.Positions {
	out := record.Positions{}
	for p, records := range s.order {
		for _, r := range records {
			if !r.done {
				break
			}
			out[p] = r.pos
		}
	}
	return out
}

func FuzzTrackerAgainstTwin(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(seed, uint8(seed%5+1), uint16(300))
	}
	f.Fuzz(func(t *testing.T, seed uint64, partitions uint8, steps uint16) {
		rng := rand.New(rand.NewPCG(seed, 1))
		fast, slow := New(), &slowTracker{order: map[record.SourcePartition][]*slowRecord{}}
		type pair struct {
			ticket Ticket
			slow   *slowRecord
		}
		var open, settled []pair
		for i := range int(steps) % 2000 {
			switch k := rng.IntN(10); {
			case k < 5 || len(open) == 0:
				p := record.SourcePartition("p" + strconv.Itoa(rng.IntN(int(partitions)+1)))
				pos := record.Position(strconv.Itoa(i))
				open = append(open, pair{fast.Add(p, pos), slow.add(p, pos)})
			case k == 9 && len(settled) > 0: // an answer that comes twice
				fast.Settle(settled[rng.IntN(len(settled))].ticket)
			default:
				j := rng.IntN(len(open))
				one := open[j]
				open = append(open[:j], open[j+1:]...)
				fast.Settle(one.ticket)
				one.slow.done = true
				settled = append(settled, one)
			}
			if fast.inFlight != len(open) {
				t.Fatalf("in flight: %d, want %d", fast.inFlight, len(open))
			}
			if diff := cmp.Diff(slow.positions(), fast.Positions()); diff != "" {
				t.Fatalf("step %d: positions differ (-want +got):\n%s", i, diff)
			}
		}
	})
}
