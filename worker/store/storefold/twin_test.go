package storefold

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/keyedlog/replica"
	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/rmq"
)

// twin is the progress fold told plainly: a list of everything that was read, and every question asked of all of it.
type twin struct {
	seen     []value
	accepted map[value]bool
}

func (w *twin) fence(task int) string {
	out := ""
	for _, v := range w.seen {
		if f, ok := v.(*fenceValue); ok && f.Task == task {
			out = max(out, rank(f.Epoch, f.Generation, f.Attempt))
		}
	}
	return out
}

func (w *twin) reset() *resetValue {
	out := &resetValue{}
	for _, v := range w.seen {
		if r, ok := v.(*resetValue); ok && r.Epoch > out.Epoch {
			out = r
		}
	}
	return out
}

func (w *twin) begun(epoch int64) bool {
	for _, v := range w.seen {
		if f, ok := v.(*fenceValue); ok && f.Epoch >= epoch {
			return true
		}
	}
	return w.reset().Epoch >= epoch
}

// highest is the order of the highest record of a partition that no reset has forgotten, refused or not.
func (w *twin) highest(partition text) string {
	out := ""
	for _, v := range w.seen {
		if p, ok := v.(*positionValue); ok && p.Partition == partition && p.Epoch >= w.reset().Epoch {
			out = max(out, rank(p.Epoch, p.Moves, p.Generation, p.Attempt, p.Sequence))
		}
	}
	return out
}

// rank puts a stamp into words of equal length, so that comparing texts compares owners.
func rank(numbers ...int64) string {
	out := ""
	for _, n := range numbers {
		out += fmt.Sprintf("%019d ", n)
	}
	return out
}

func (w *twin) accepts(v value) bool {
	switch v := v.(type) {
	case *fenceValue:
		return rank(v.Epoch, v.Generation, v.Attempt) > w.fence(v.Task)
	case *resetValue:
		return v.Epoch > w.reset().Epoch
	case *positionValue:
		return !w.begun(v.Epoch+1) && rank(v.Epoch, v.Generation, v.Attempt) >= w.fence(v.Task) &&
			rank(v.Epoch, v.Moves, v.Generation, v.Attempt, v.Sequence) > w.highest(v.Partition)
	}
	return false
}

func (w *twin) apply(v value) bool {
	w.accepted[v] = w.accepts(v)
	w.seen = append(w.seen, v)
	return w.accepted[v]
}

func (w *twin) read() record.Positions {
	out := record.Positions{}
	for _, p := range w.reset().Positions {
		out[record.SourcePartition(p.Partition)] = record.Position(p.Position)
	}
	for _, v := range w.seen {
		if p, ok := v.(*positionValue); ok && w.accepted[v] && p.Epoch >= w.reset().Epoch {
			out[record.SourcePartition(p.Partition)] = record.Position(p.Position)
		}
	}
	return out
}

func FuzzProgressAgreesWithItsTwin(f *testing.F) {
	for seed := range uint64(50) {
		f.Add(seed, uint8(60))
	}
	f.Fuzz(func(t *testing.T, seed uint64, steps uint8) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		fold, slow := NewProgress(), &twin{accepted: map[value]bool{}}
		for i := range int(steps) {
			v := anyProgress(rnd, i)
			verdict, err := fold.Apply(rmq.Entry{Key: v.key(), Value: Encode(v)})
			if err != nil {
				t.Fatal(err)
			}
			if accepted := slow.apply(v); accepted != (verdict == replica.Accepted) {
				t.Fatalf("step %d: the twin says %t, the fold %d: %s", i, accepted, verdict, Encode(v))
			}
			if diff := cmp.Diff(slow.read(), fold.Read("c")); diff != "" {
				t.Fatalf("step %d (-twin +fold):\n%s", i, diff)
			}
		}
	})
}

func anyProgress(rnd *rand.Rand, i int) value {
	s := stamp{Epoch: 1 + int64(rnd.IntN(2+i/8)), Generation: int64(rnd.IntN(4)), Attempt: int64(rnd.IntN(3))}
	switch rnd.IntN(6) {
	case 0:
		return &fenceValue{V: 1, Connector: "c", Task: rnd.IntN(2), stamp: s, ID: fmt.Sprint("f", i)}
	case 1:
		if rnd.IntN(3) > 0 {
			break
		}
		return &resetValue{V: 1, Connector: "c", Epoch: s.Epoch, Positions: []pair{{"p1", text(fmt.Sprint("r", i)), ""}}, ID: fmt.Sprint("r", i)}
	}
	return &positionValue{
		V: 1, Connector: "c", Partition: text(fmt.Sprint("p", rnd.IntN(3))), Position: text(fmt.Sprint(i)), Task: rnd.IntN(2),
		stamp: s, Moves: int64(rnd.IntN(2)), Sequence: int64(rnd.IntN(3)),
	}
}

// Configs have a simpler plain form: what a single shared variable under a lock would hold.
func FuzzConfigsAgreeWithASharedVariable(f *testing.F) {
	for seed := range uint64(50) {
		f.Add(seed, uint8(60))
	}
	f.Fuzz(func(t *testing.T, seed uint64, steps uint8) {
		h := &history{rnd: rand.New(rand.NewPCG(seed, 5)), make: func() replica.Fold { return NewConfigs() }}
		fold := NewConfigs()
		shared := map[string]*connectorValue{}
		var epochs []string
		for range steps {
			v := h.configStep()
			if v == nil {
				continue
			}
			r := asRecord(v)
			h.log = append(h.log, r)
			verdict, err := fold.Apply(rmq.Entry{Key: r.Key, Value: r.Value})
			if err != nil {
				t.Fatal(err)
			}
			next, ok := v.(*connectorValue)
			if !ok {
				continue
			}
			var revision, epoch int64
			if held := shared[next.Name]; held != nil {
				revision, epoch = held.Revision, held.Epoch
			}
			if (next.Replaces == revision) != (verdict == replica.Accepted) {
				t.Fatalf("verdict %d on revision %d: %s", verdict, revision, r.Value)
			}
			if verdict == replica.Accepted {
				shared[next.Name] = next
				epochs = append(epochs, rank(next.Epoch))
				if next.Epoch < epoch {
					t.Fatalf("the epoch went back from %d: %v", epoch, epochs)
				}
			}
		}
		for name, want := range shared {
			got, _ := fold.View(name)
			wantEqual(t, got.Revision, want.Revision)
			wantEqual(t, got.Config, want.Config)
		}
	})
}
