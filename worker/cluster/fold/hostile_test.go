package fold

import (
	"bytes"
	"compress/flate"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/rocketmq-connect/operator/worker/allocate"
	"github.com/rocketmq-connect/operator/worker/rmq"
)

// at is when records of these tests are stored.
var at = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

// step folds a record as the next one of the log, written on all that is there.
func step(t testing.TB, f *Fold, stored time.Time, r Record) Outcome {
	t.Helper()
	if r.Log == "" {
		r.AsOf, r.Log = f.Offset(), f.Log()
	}
	e, err := r.Entry()
	if err != nil {
		t.Fatal(err)
	}
	e.Offset, e.StoredAt = f.Offset()+1, stored
	out, err := f.Step(e)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Somebody who may write the topic writes well-formed records with values that no worker has. They are refused, or all
// can go on counting above them.
func TestValuesThatNoWorkerWritesDoNoHarm(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	many := func(n int) (out []Asked) {
		for i := range n {
			out = append(out, Asked{Connector: "a", Task: i, Epoch: 1})
		}
		return out
	}
	with := func(change func(*Terms)) Record {
		changed := terms
		change(&changed)
		return Record{Kind: Heartbeat, Session: 0, Sequence: 2, Terms: &changed}
	}
	most := at.UnixMilli() << 10
	cases := map[string]struct {
		record Record
		taken  bool
	}{
		"points on the ring that fill the memory": {record: with(func(t *Terms) { t.Allocation.VirtualNodes = 50_000_000 })},
		"points below none":                       {record: with(func(t *Terms) { t.Allocation.VirtualNodes = -1 })},
		"a load factor below none":                {record: with(func(t *Terms) { t.Allocation.MaxLoadFactor = -math.MaxFloat64 })},
		"a load factor without end":               {record: with(func(t *Terms) { t.Allocation.MaxLoadFactor = math.MaxFloat64 })},
		"a strategy as long as a book":            {record: with(func(t *Terms) { t.Allocation.Strategy = long })},
		"a session time-out of a day":             {record: with(func(t *Terms) { t.TimeoutMS = 86_400_000 })},
		"a session time-out that overflows":       {record: with(func(t *Terms) { t.TimeoutMS = math.MaxInt64 })},
		"a heartbeat an hour":                     {record: with(func(t *Terms) { t.IntervalMS = 3_600_000 })},
		"units kept for a year":                   {record: with(func(t *Terms) { t.RebalanceDelayMS = 31_536_000_000 })},
		"a time below zero":                       {record: with(func(t *Terms) { t.RebalanceDelayMS = -1 })},
		"rules of a version below zero":           {record: with(func(t *Terms) { t.Fold = -1 })},
		"a sequence of 2^60":                      {record: beat(0, 1<<60)},
		"the largest sequence":                    {record: beat(0, math.MaxInt64)},
		"a session below zero":                    {record: beat(-5, 2)},
		"an epoch of 2^60":                        {record: claimOf(0, 2, Asked{"a", 0, 1 << 60, 0})},
		"a generation of 2^60":                    {record: claimOf(0, 2, Asked{"a", 0, 1, 1 << 60})},
		"a release of the largest generation":     {record: releaseOf(0, 2, Held{"a", 0, math.MaxInt64})},
		"a claim of a task that no connector has": {record: claimOf(0, 2, Asked{"a", math.MaxInt32, 1, 0})},
		"a claim of a name as long as a book":     {record: claimOf(0, 2, Asked{long, 0, 1, 0})},
		"a claim of too many units":               {record: claimOf(0, 2, many(maxUnits+1)...)},
		"a request below zero":                    {record: Record{Kind: Claim, Sequence: 2, Claim: &Claims{Request: -1, Units: many(1)}}},
		"an expire of a session below zero":       {record: expireOf(-1, 0)},
		"a join with a name as long as a book":    {record: joinOf(long, "p", nil)},
		"a join with the largest proof":           {record: joinOf("v", "p", proofOf(math.MaxInt64, 0))},
		"a digest as long as a book":              {record: Record{Kind: Heartbeat, Sequence: 2, Terms: &terms, Digest: long}},
		"a part as long as a book": {
			record: Record{Kind: Snapshot, Sequence: 2, Part: &Part{Total: 1, Data: make([]byte, 1<<20)}},
		},
		"the highest sequence that is taken":   {record: beat(0, most), taken: true},
		"the highest epoch that is taken":      {record: claimOf(0, 2, Asked{"a", 0, most, 0}), taken: true},
		"the highest generation that is taken": {record: claimOf(0, 2, Asked{"a", 0, 1, most}), taken: true},
		"the most points that are taken":       {record: with(func(t *Terms) { t.Allocation.VirtualNodes = maxPoints }), taken: true},
		"the most units that are taken":        {record: claimOf(0, 2, many(maxUnits)...), taken: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := New()
			step(t, f, at, joinOf("w", "p", nil))
			step(t, f, at, beat(0, 1))
			want := Malformed
			if tc.taken {
				want = Accepted
			}
			if out := step(t, f, at, tc.record); out.Reason != want {
				t.Fatalf("%q, want %q", out.Reason, want)
			}
			goesOn(t, f)
		})
	}
}

// goesOn has the owner of what was claimed give it up, and another worker take it at the next epoch, a millisecond
// later.
func goesOn(t *testing.T, f *Fold) {
	t.Helper()
	later, u := at.Add(time.Millisecond), Unit{Connector: "a"}
	o, _ := f.Owner(u)
	var held []Held
	f.Owners(func(u Unit, o Owner) { held = append(held, Held{u.Connector, u.Task, o.Generation}) })
	if s, _ := f.Session(0); len(held) > 0 {
		if out := step(t, f, later, releaseOf(0, s.Sequence+1, held...)); out.Reason != Accepted {
			t.Fatalf("the owner cannot release: %q", out.Reason)
		}
	}
	next := step(t, f, later, joinOf("next", "p", nil)).Offset
	out := step(t, f, later, claimOf(next, 1, Asked{"a", 0, f.floors["a"] + 1, o.Generation}))
	if len(out.Events) != 1 || out.Events[0].Kind != Granted || out.Events[0].Generation <= o.Generation {
		t.Errorf("the next owner is answered %v (%q)", out.Events, out.Reason)
	}
}

// Sessions cost memory until they expire: there are never more than any cluster has.
func TestSessionsAreBounded(t *testing.T) {
	f := New()
	var last Outcome
	for i := range maxSessions + 10 {
		last = step(t, f, at, joinOf(fmt.Sprintf("w%d", i), "p", nil))
	}
	if last.Reason != Full || len(f.Sessions()) != maxSessions {
		t.Errorf("%q with %d sessions", last.Reason, len(f.Sessions()))
	}
	step(t, f, at, expireOf(0, 0))
	if out := step(t, f, at, joinOf("late", "p", nil)); out.Reason != Accepted {
		t.Errorf("with room for one more: %q", out.Reason)
	}
}

// Parts of snapshots that are never whole do not add up.
func TestPartsWithoutTheRestAreForgotten(t *testing.T) {
	var s Snapshots
	for i := range int64(1000) {
		r := Record{Kind: Snapshot, Session: 0, Sequence: i + 1, Part: &Part{Total: maxParts, Sum: fmt.Sprint(i), Data: []byte("x")}}
		e, err := r.Entry()
		if err != nil {
			t.Fatal(err)
		}
		s.Add(rmq.Entry{Offset: i, Key: e.Key, Value: e.Value})
		if len(s.partial) > keptPartial {
			t.Fatalf("%d snapshots are kept in part", len(s.partial))
		}
	}
}

// held is how many bytes the snapshots keep of a log.
func (s *Snapshots) held() (entries, complete, partial int) {
	for _, e := range s.entries {
		entries += len(e.Value)
	}
	for _, c := range s.complete {
		complete += len(c.packed)
	}
	for _, a := range s.partial {
		for _, data := range a.parts {
			partial += len(data)
		}
	}
	return entries, complete, partial
}

// Whoever may write the log writes as much as the broker takes. A worker that starts reads all of it, and keeps little.
func TestWhatANewcomerKeepsIsBoundedInBytes(t *testing.T) {
	const kept = 32 << 20
	data := make([]byte, partSize)
	cases := map[string]func(s *Snapshots, i int){
		"records as large as the broker takes": func(s *Snapshots, i int) { s.Add(rmq.Entry{Offset: int64(i), Value: make([]byte, 4<<20)}) },
		"one snapshot that is never whole": func(s *Snapshots, i int) {
			s.assemble(&Part{Index: i % (maxParts - 1), Total: maxParts, Sum: "a", Data: data})
		},
		"many that are never whole": func(s *Snapshots, i int) {
			s.assemble(&Part{Index: i / 50, Total: maxParts, Sum: fmt.Sprint(i % 50), Data: data})
		},
	}
	for name, add := range cases {
		t.Run(name, func(t *testing.T) {
			var s Snapshots
			for i := range 300 {
				add(&s, i)
				if entries, complete, partial := s.held(); entries > 2*kept || complete > kept || partial > kept+partSize {
					t.Fatalf("after %d records %d bytes of entries, %d of snapshots and %d of parts are kept", i+1, entries, complete, partial)
				}
			}
		})
	}
}

func part(t testing.TB, p Part) rmq.Entry {
	t.Helper()
	e, err := (Record{Kind: Snapshot, Sequence: 1, Part: &p}).Entry()
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// A snapshot of a healthy cluster is found among those that are never whole.
func TestASnapshotIsFoundAmongThoseThatNeverEnd(t *testing.T) {
	f := New()
	step(t, f, at, joinOf("w", "p", nil))
	image, err := f.Image()
	if err != nil {
		t.Fatal(err)
	}
	data := strings.Repeat(" ", 2*partSize) + string(image) // in three parts
	var s Snapshots
	offset := f.Offset()
	for i, p := range cut([]byte(data), formPlain) {
		for j := range 15 { // others come between
			offset++
			e := part(t, Part{Total: maxParts, Sum: fmt.Sprint(i, j), Data: make([]byte, partSize)})
			e.Offset = offset
			s.Add(e)
		}
		offset++
		r := Record{Kind: Snapshot, Session: 0, Sequence: 2, AsOf: f.Offset(), Log: f.Log(), Part: &p}
		e, err := r.Entry()
		if err != nil {
			t.Fatal(err)
		}
		e.Offset = offset
		s.Add(e)
	}
	found := s.Unconfirmed()
	if found == nil || found.Digest() != f.Digest() {
		t.Errorf("found %v", found)
	}
}

// An image is JSON that somebody else wrote: what it can become in memory is bounded before it is read.
func TestImagesThatUnfoldAreRefused(t *testing.T) {
	cases := map[string]string{
		"sessions without end":    `{"v":1,"sessions":[` + strings.Repeat(`{},`, maxObjects) + `{}]}`,
		"floors without end":      `{"v":1,"floors":{` + strings.Repeat(`"a":1,`, maxItems) + `"b":1}}`,
		"more bytes than any has": `{"v":1,"digest":"` + strings.Repeat("x", maxImage) + `"}`,
		"more sessions than any has": `{"v":1,"asOf":0,"history":{"prints":"AAAAAAAAAAA="},"sessions":[` + strings.Repeat(
			`{},`,
			maxSessions,
		) + `{}]}`,
		"a history of another length":  `{"v":1,"asOf":5,"history":{"prints":"AAAAAAAAAAA="}}`,
		"an image of another version":  `{"v":2}`,
		"an image that is none at all": `[]`,
	}
	for name, image := range cases {
		t.Run(name, func(t *testing.T) {
			if f, err := Restore([]byte(image)); err == nil {
				t.Fatalf("restored a fold as of %d", f.Offset())
			}
		})
	}
	var packed bytes.Buffer
	w, err := flate.NewWriter(&packed, flate.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	zeros := make([]byte, 1<<20)
	for range 2 * maxImage / len(zeros) {
		_, _ = w.Write(zeros)
	}
	_ = w.Close()
	if image, ok := unpack(packed.Bytes(), formDeflate); ok {
		t.Errorf("%d bytes were unpacked to %d", packed.Len(), len(image))
	}
}

// FuzzValues gives each number of a record a value at an edge. Whatever comes of it, fold and plan are done soon, and
// the log's own digest and image can be made of it.
func FuzzValues(f *testing.F) {
	edges := []int64{math.MinInt64, -1, 0, 1, 1 << 16, 1 << 32, 1 << 43, 1 << 53, 1<<61 - 1, math.MaxInt64}
	for i, a := range edges {
		for _, b := range edges {
			f.Add(uint8(i), a, b, edges[(i+3)%len(edges)])
		}
	}
	f.Fuzz(func(t *testing.T, kind uint8, a, b, c int64) {
		fold := New()
		step(t, fold, at, joinOf("w", "p", nil))
		step(t, fold, at, claimOf(0, 1, Asked{"a", 0, 1, 0}))
		odd := Terms{
			Fold:             int(a),
			TimeoutMS:        b,
			IntervalMS:       c,
			RebalanceDelayMS: a,
			Allocation:       allocate.Params{VirtualNodes: int(b), MaxLoadFactor: float64(c)},
		}
		for _, r := range []Record{
			{Kind: Join, Terms: &odd, Join: &Joining{Worker: "v", Incarnation: "p", Proof: proofOf(a, b)}},
			{Kind: Heartbeat, Session: 0, Sequence: a, Terms: &odd}, {Kind: Heartbeat, Session: a, Sequence: b, Terms: &terms},
			{Kind: Claim, Session: 0, Sequence: c, Claim: &Claims{Request: a, Units: []Asked{{"a", int(a % (1 << 40)), b, c}, {"b", 0, c, a}}}},
			releaseOf(0, b, Held{"a", 0, c}), expireOf(a, b), leaveOf(0, c), beat(0, 1<<30),
		}[int(kind)%8:] {
			step(t, fold, at, r)
		}
		var workers []string
		var params allocate.Params
		for i, s := range fold.Sessions() {
			if workers = append(workers, s.Worker); i == 0 {
				params = s.Terms.Allocation
			}
		}
		allocate.Units(params, workers, []Unit{{Connector: "a"}, {Connector: "b"}})
		copyOf(t, fold)
	})
}
