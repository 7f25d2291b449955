package fold

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The laws of the log, on random logs: entries that are appended again, early or late, change nothing that is seen; and
// whoever starts from a snapshot at any point ends where who folded everything ends.
func TestFoldLaws(t *testing.T) {
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 3))
		f, newcomer := New(), New()
		apply := func(r Record) {
			foldAll(t, f, r)
			foldAll(t, newcomer, r)
		}
		var log []Record
		for range 60 {
			r := randomRecord(rng, f)
			log = append(log, r)
			apply(r)
			before := stateOf(f)
			apply(r.late())
			apply(log[rng.IntN(len(log))].late())
			if diff := cmp.Diff(before, stateOf(f)); diff != "" {
				t.Fatalf("seed %d: repeating %+v changed:\n%s", seed, r, diff)
			}
			if diff := cmp.Diff(imageOf(t, f), imageOf(t, newcomer)); diff != "" {
				t.Fatalf("seed %d: a restored fold differs:\n%s", seed, diff)
			}
			if rng.IntN(10) == 0 {
				newcomer = copyOf(t, f)
			}
		}
	}
}

// late is the record as a late append shows it. Joins and expires have laws of their own, in TestFold.
func (r Record) late() Record {
	if r.Kind == Join || r.Kind == Expire {
		return beat(1<<40, 1)
	}
	return r
}

func randomRecord(rng *rand.Rand, f *Fold) Record {
	sessions := f.Sessions()
	if len(sessions) == 0 || rng.IntN(8) == 0 {
		return joinOf(fmt.Sprintf("w%d", rng.IntN(4)), fmt.Sprintf("p%d", rng.Int()), nil)
	}
	s := sessions[rng.IntN(len(sessions))]
	connector, task := string(rune('a'+rng.IntN(2))), rng.IntN(3)-1
	switch rng.IntN(9) {
	case 8:
		return Record{Kind: Snapshot, Session: s.ID, Sequence: s.Sequence + 1, Part: &Part{Total: 1, Sum: "-"}}
	case 0:
		return leaveOf(s.ID, s.Sequence+1)
	case 1:
		return expireOf(s.ID, s.Heartbeat)
	case 2, 3:
		o, _ := f.Owner(Unit{Connector: connector, Task: task})
		return releaseOf(s.ID, s.Sequence+1, Held{connector, task, o.Generation})
	case 4:
		return beat(s.ID, s.Sequence+1)
	}
	return claimOf(s.ID, s.Sequence+1, Asked{connector, task, int64(rng.IntN(3)), int64(rng.IntN(500))})
}

// stateOf is the part of the state that users of the fold see.
func stateOf(f *Fold) string {
	var b strings.Builder
	for _, s := range f.Sessions() {
		fmt.Fprintf(&b, "%+v %t\n", s, f.Eligible(s))
	}
	data, _ := json.Marshal(f.floors)
	return fmt.Sprintf("%s%v%s%v", b.String(), f.owners, data, f.asked)
}
