package storefold

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/keyedlog/replica"
	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/states"
)

// state is a fold's state as what it would publish again.
func state(f replica.Fold) map[string]string {
	out := map[string]string{}
	for _, key := range f.Keys() {
		data, _ := f.Current(key)
		out[key] = string(data)
	}
	return out
}

func apply(f replica.Fold, log []replica.Record) replica.Fold {
	for _, r := range log {
		_, _ = f.Apply(rmq.Entry{Key: r.Key, Value: r.Value})
	}
	return f
}

func wantState(t *testing.T, seed uint64, what string, got, want replica.Fold) {
	t.Helper()
	if diff := cmp.Diff(state(want), state(got)); diff != "" {
		t.Fatalf("seed %d: %s (-want +got):\n%s", seed, what, diff)
	}
}

func asRecord(v value) replica.Record { return replica.Record{Key: v.key(), Value: Encode(v)} }

// history is a topic in which workers with different knowledge have written.
type history struct {
	rnd     *rand.Rand
	make    func() replica.Fold
	log     []replica.Record
	readers [3]struct {
		fold replica.Fold
		read int
	}
}

// reader is one of three workers; each has read a part of the log, usually all.
func (h *history) reader() replica.Fold {
	r := &h.readers[h.rnd.IntN(len(h.readers))]
	if r.fold == nil {
		r.fold = h.make()
	}
	end := len(h.log)
	if h.rnd.IntN(3) == 0 {
		end = r.read + h.rnd.IntN(end-r.read+1)
	}
	apply(r.fold, h.log[r.read:end])
	r.read = end
	return r.fold
}

// settle publishes again what is hidden, as the Tables do.
func (h *history) settle(t *testing.T) {
	t.Helper()
	for range 10 {
		fold, hidden := h.make(), map[string]bool{}
		for _, r := range h.log {
			switch verdict, _ := fold.Apply(rmq.Entry{Key: r.Key, Value: r.Value}); verdict {
			case replica.Accepted, replica.Same:
				delete(hidden, r.Key)
			case replica.Refused, replica.Malformed:
				hidden[r.Key] = true
			}
			if f, ok := fold.(replica.Hider); ok {
				for _, key := range f.Hidden() {
					hidden[key] = true
				}
			}
		}
		before := len(h.log)
		for key := range hidden {
			if again, ok := fold.Current(key); ok {
				h.log = append(h.log, replica.Record{Key: key, Value: again})
			}
		}
		if len(h.log) == before {
			return
		}
	}
	t.Fatal("publishing again does not come to an end")
}

func compacted(log []replica.Record) []replica.Record {
	last := map[string]int{}
	for i, r := range log {
		last[r.Key] = i
	}
	var out []replica.Record
	for i, r := range log {
		if last[r.Key] == i {
			out = append(out, r)
		}
	}
	return out
}

func (h *history) configStep() value {
	fold, _ := h.reader().(*Configs)
	name := fmt.Sprint("c", h.rnd.IntN(2))
	if h.rnd.IntN(10) == 0 {
		return &identityValue{V: 1, ID: fmt.Sprint(h.rnd.Uint32()), MadeAt: time.Unix(h.rnd.Int64N(9), 0).UTC()}
	}
	if h.rnd.IntN(3) == 0 {
		view, _ := fold.View(name)
		return &tasksValue{
			V:     1,
			Name:  name,
			Epoch: max(1, view.Epoch),
			Tasks: []map[string]string{{"n": fmt.Sprint(h.rnd.IntN(9))}},
			ID:    fmt.Sprint(h.rnd.Uint32()),
		}
	}
	w := Write{Name: name, IfRevision: -1, RequestID: fmt.Sprint(h.rnd.Uint32())}
	switch h.rnd.IntN(5) {
	case 0:
		w.Delete = true
	case 1:
		w.State = states.WantPaused
	case 2:
		w.Restart = &Restart{Task: h.rnd.IntN(3) - 1}
	default:
		w.Config = map[string]string{"n": fmt.Sprint(h.rnd.IntN(3))}
	}
	if next, _, err := fold.next(w, 0); err == nil && next != nil {
		return next
	}
	return nil
}

func (h *history) progressStep() value {
	fold, _ := h.reader().(*Progress)
	name := fmt.Sprint("c", h.rnd.IntN(2))
	task := h.rnd.IntN(2)
	l := fold.of(name)
	owner := stamp{Epoch: max(1, l.floor), Generation: 1}
	if f := l.fences[task]; f != nil {
		owner = f.stamp
	}
	switch h.rnd.IntN(8) {
	case 0:
		owner.Generation += int64(h.rnd.IntN(2))
		owner.Attempt++
		owner.Epoch = max(owner.Epoch, l.floor)
		return &fenceValue{V: 1, Connector: name, Task: task, stamp: owner, ID: fmt.Sprint(h.rnd.Uint32())}
	case 1:
		return &resetValue{V: 1, Connector: name, Epoch: l.floor + 1, ID: fmt.Sprint(h.rnd.Uint32()), Positions: []pair{{"p0", "0", "n0"}}}
	}
	v := &positionValue{
		V: 1, Connector: name, Partition: text(fmt.Sprint("p", h.rnd.IntN(3))), Position: text(fmt.Sprint(h.rnd.IntN(100))),
		Task: task, stamp: owner, Sequence: 1,
	}
	if h.rnd.IntN(2) == 0 {
		v.Note = "n" + v.Position
	}
	if held := l.values[v.Partition]; held != nil && held.Epoch == v.Epoch {
		v.Moves, v.Sequence = held.Moves, held.Sequence+1
		if held.Task != task {
			v.Moves++
		}
	}
	return v
}

func (h *history) statusStep() value {
	return &statusValue{
		V: 1, Connector: "c", Task: h.rnd.IntN(2), State: states.Observed(fmt.Sprint("S", h.rnd.IntN(3))), Sequence: int64(1 + h.rnd.IntN(3)),
		stamp: stamp{Epoch: int64(h.rnd.IntN(2)), Generation: int64(h.rnd.IntN(3)), Attempt: int64(h.rnd.IntN(2))},
	}
}

// folds are the three stores' folds, each with what its workers write.
func folds() map[string]struct {
	make func() replica.Fold
	step func(h *history) value
} {
	return map[string]struct {
		make func() replica.Fold
		step func(h *history) value
	}{
		"config":   {func() replica.Fold { return NewConfigs() }, (*history).configStep},
		"progress": {func() replica.Fold { return NewProgress() }, (*history).progressStep},
		"status":   {func() replica.Fold { return NewStatuses() }, (*history).statusStep},
	}
}

func newHistory(seed uint64, make func() replica.Fold, step func(h *history) value) *history {
	h := &history{rnd: rand.New(rand.NewPCG(seed, 7)), make: make}
	for range 40 {
		v := step(h)
		if v == nil {
			continue
		}
		h.log = append(h.log, asRecord(v))
		for h.rnd.IntN(4) == 0 { // a record that was stored twice, or late
			h.log = append(h.log, h.log[max(0, len(h.log)-1-h.rnd.IntN(6))])
		}
		if h.rnd.IntN(8) == 0 {
			h.log = append(h.log, replica.Record{Key: v.key(), Value: []byte("{")})
		}
	}
	return h
}

const lawRuns = 60

// Invariant P3: once what refused records hide was published again, compaction loses nothing.
func TestCompactionChangesNothing(t *testing.T) {
	for name, tc := range folds() {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(lawRuns) {
				h := newHistory(seed, tc.make, tc.step)
				before := apply(tc.make(), h.log)
				h.settle(t)
				full := apply(tc.make(), h.log)
				wantState(t, seed, "publishing again changed the state", full, before)
				short := compacted(h.log)
				wantState(t, seed, "compaction changed the state", apply(tc.make(), short), full)
				for range 5 { // the log goes on, and readers of either form stay alike
					if v := tc.step(h); v != nil {
						h.log, short = append(h.log, asRecord(v)), append(short, asRecord(v))
					}
				}
				wantState(t, seed, "a compacted log went on differently", apply(tc.make(), short), apply(tc.make(), h.log))
			}
		})
	}
}

// A reader that goes back and reads again, from anywhere, holds the same.
// A log that lost a fence shows to one reader what another one refused. What stays the same from attempt to attempt, as
// a binding to queues does, is then the same position under another order.
func TestReadersThatTookAndRefusedTheSamePositionConverge(t *testing.T) {
	older := &positionValue{V: 1, Connector: "c", Partition: "@queues/t/p", Position: "id a/0-1", Task: 0, stamp: stamp{1, 3, 1}, Sequence: 1}
	cases := map[string]stamp{"within an epoch": {1, 5, 1}, "of a later epoch": {2, 5, 1}}
	for name, late := range cases {
		t.Run(name, func(t *testing.T) {
			newer := *older
			newer.stamp, newer.Task, newer.Moves = late, 1, 1
			fence := &fenceValue{V: 1, Connector: "c", Task: 1, stamp: stamp{late.Epoch, 7, 1}, ID: "f"}
			for _, first := range []string{"who took it", "who refused it"} {
				folds := map[string]replica.Fold{
					"who took it":    apply(NewProgress(), []replica.Record{asRecord(older), asRecord(&newer), asRecord(fence)}),
					"who refused it": apply(NewProgress(), []replica.Record{asRecord(older), asRecord(fence), asRecord(&newer)}),
				}
				value, ok := folds[first].Current(older.key())
				if !ok {
					t.Fatalf("%s has nothing to publish again", first)
				}
				for _, f := range folds {
					apply(f, []replica.Record{{Key: older.key(), Value: value}})
				}
				wantState(t, 0, "after a publication by "+first, folds["who refused it"], folds["who took it"])
			}
		})
	}
}

func TestReadingAgainChangesNothing(t *testing.T) {
	for name, tc := range folds() {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(lawRuns) {
				h := newHistory(seed, tc.make, tc.step)
				want := apply(tc.make(), h.log)
				got := apply(tc.make(), h.log)
				apply(got, h.log[h.rnd.IntN(len(h.log)):])
				wantState(t, seed, "reading again changed the state", got, want)
			}
		})
	}
}

// Records that differ only in their stamps form a lattice: statuses always, positions between two fences.
func TestOrderAndRepetitionDoNotMatterWithinALattice(t *testing.T) {
	positions := func(h *history) value {
		return &positionValue{
			V: 1, Connector: "c", Partition: text(fmt.Sprint("p", h.rnd.IntN(2))), Position: "x",
			stamp: stamp{Epoch: 1, Generation: int64(h.rnd.IntN(3)), Attempt: int64(h.rnd.IntN(3))}, Sequence: int64(h.rnd.IntN(4)),
		}
	}
	fences := func(h *history) value {
		s := stamp{Epoch: 1, Generation: int64(h.rnd.IntN(5)), Attempt: int64(h.rnd.IntN(5))}
		return &fenceValue{V: 1, Connector: "c", Task: h.rnd.IntN(2), stamp: s, ID: fmt.Sprint(s)}
	}
	cases := map[string]struct {
		make func() replica.Fold
		step func(h *history) value
	}{
		"statuses":  {func() replica.Fold { return NewStatuses() }, (*history).statusStep},
		"positions": {func() replica.Fold { return NewProgress() }, positions},
		"fences":    {func() replica.Fold { return NewProgress() }, fences},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(lawRuns) {
				h := &history{rnd: rand.New(rand.NewPCG(seed, 11)), make: tc.make}
				for range 12 {
					h.log = append(h.log, asRecord(tc.step(h)))
				}
				want := apply(tc.make(), h.log)
				mixed := append(slices.Clone(h.log), h.log[:h.rnd.IntN(len(h.log))]...)
				h.rnd.Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
				wantState(t, seed, "another order gives another state", apply(tc.make(), mixed), want)
			}
		})
	}
}

func wantEqual(t *testing.T, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("unexpected result (-want +got):\n%s", diff)
	}
}

// A worker of an older version reads a position without its note, and publishes it again without.
func TestANoteOutlivesAnOlderWorker(t *testing.T) {
	v := positionValue{V: 1, Connector: "c", Partition: "p", Position: "7", Note: "n", stamp: stamp{Epoch: 1}, Sequence: 1}
	older := v
	older.Note, older.Republished = "", true
	for name, order := range map[string][]value{"read before": {&v, &older}, "read after": {&older, &v}} {
		t.Run(name, func(t *testing.T) {
			f := NewProgress()
			for _, each := range order {
				apply(f, []replica.Record{asRecord(each)})
			}
			if got, want := f.Read("c")["p"], record.Position("7").Noted("n"); got != want {
				t.Errorf("%q is read back, want %q", got, want)
			}
		})
	}
}

// Workers on two sides of a loss may each have made an identity: whatever they publish again in whatever order, the
// older one is left.
func TestIdentitiesOfTwoSidesOfALossConverge(t *testing.T) {
	older := identityValue{V: 1, ID: "b", MadeAt: time.Unix(1, 0).UTC()}
	newer := identityValue{V: 1, ID: "a", MadeAt: time.Unix(2, 0).UTC()}
	for name, mine := range map[string][]identityValue{"the older one first": {older, newer}, "the newer one first": {newer, older}} {
		t.Run(name, func(t *testing.T) {
			folds := []*Configs{NewConfigs(), NewConfigs()}
			for i, f := range folds {
				apply(f, []replica.Record{asRecord(&mine[i])})
			}
			for range 2 {
				for i, f := range folds {
					again, _ := f.Current(kindIdentity)
					apply(folds[1-i], []replica.Record{{Key: kindIdentity, Value: again}})
				}
			}
			for _, f := range folds {
				if f.Identity() != "b" || f.Identify("c", nil, time.Unix(0, 0)) != nil {
					t.Errorf("the identity is %q", f.Identity())
				}
			}
		})
	}
}
