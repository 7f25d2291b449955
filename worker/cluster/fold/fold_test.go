package fold

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/allocate"
	"github.com/rocketmq-connect/operator/worker/rmq"
)

var update = flag.Bool("update", false, "rewrite golden files")

var terms = Terms{
	Fold:       Version,
	TimeoutMS:  5000,
	IntervalMS: 500,
	Allocation: allocate.Params{Strategy: allocate.ConsistentHash, VirtualNodes: 160, MaxLoadFactor: 1.25},
}

func joinOf(worker, incarnation string, proof *Proof) Record {
	return Record{
		Kind:  Join,
		Terms: &terms,
		Join:  &Joining{Worker: worker, Incarnation: incarnation, Address: "10.0.0.1:8082", Version: "v1", Proof: proof},
	}
}

func proofOf(start, attempt int64) *Proof {
	return &Proof{Store: "s", Boot: "b", Device: 1, Inode: 2, Start: start, Attempt: attempt}
}

func beat(session, seq int64) Record {
	return Record{Kind: Heartbeat, Session: session, Sequence: seq, Terms: &terms}
}

func claimOf(session, seq int64, units ...Asked) Record {
	return Record{Kind: Claim, Session: session, Sequence: seq, Claim: &Claims{Request: 1, Units: units}}
}

func releaseOf(session, seq int64, units ...Held) Record {
	return Record{Kind: Release, Session: session, Sequence: seq, Release: units}
}

func expireOf(session, heartbeat int64) Record {
	return Record{Kind: Expire, Expire: &Expiry{Session: session, Heartbeat: heartbeat}}
}

func leaveOf(session, seq int64) Record { return Record{Kind: Leave, Session: session, Sequence: seq} }

// foldAll folds the records at the offsets 0, 1, 2, … and returns a line for what each did.
func foldAll(t testing.TB, f *Fold, records ...Record) []string {
	t.Helper()
	var lines []string
	for _, r := range records {
		if r.Log == "" {
			r.AsOf, r.Log = f.Offset(), f.Log()
		}
		e, err := r.Entry()
		if err != nil {
			t.Fatal(err)
		}
		e.Offset = f.Offset() + 1
		out, err := f.Step(e)
		if err != nil {
			t.Fatal(err)
		}
		var line []string
		if out.Reason != Accepted {
			line = append(line, string(out.Reason))
		}
		for _, ev := range out.Events {
			line = append(line, ev.String())
		}
		lines = append(lines, strings.Join(line, "; "))
	}
	return lines
}

func TestFold(t *testing.T) {
	cases := map[string]struct {
		records []Record
		want    []string
	}{
		"a join of a new worker id is a session": {
			[]Record{joinOf("w", "p1", nil), joinOf("v", "p2", nil)},
			[]string{"joined w session=0", "joined v session=1"}},
		"a second worker with one id waits": {
			[]Record{joinOf("w", "p1", nil), joinOf("w", "p2", nil)},
			[]string{"joined w session=0", "worker-alive"}},
		"a repeated join does nothing": {
			[]Record{joinOf("w", "p1", proofOf(1, 0)), joinOf("w", "p1", proofOf(1, 0))},
			[]string{"joined w session=0", "worker-alive"}},
		"a later holder of the store ends the older session": {
			[]Record{joinOf("w", "p1", proofOf(1, 0)), claimOf(0, 1, Asked{"a", 0, 1, 0}), joinOf("w", "p2", proofOf(2, 0))},
			[]string{
				"joined w session=0",
				"granted a-0 to=0 gen=1 epoch=1",
				"superseded w session=0; freed a-0 to=0 gen=1 epoch=1; joined w session=2",
			},
		},
		"a late join of an earlier holder ends nothing": {
			[]Record{joinOf("w", "p2", proofOf(2, 0)), joinOf("w", "p1", proofOf(1, 5))},
			[]string{"joined w session=0", "worker-alive"}},
		"another store proves nothing": {
			[]Record{joinOf("w", "p1", proofOf(1, 0)), joinOf("w", "p2", &Proof{Store: "s", Boot: "b", Device: 1, Inode: 3, Start: 2})},
			[]string{"joined w session=0", "worker-alive"}},
		"another boot proves nothing": {
			[]Record{joinOf("w", "p1", proofOf(1, 0)), joinOf("w", "p2", &Proof{Store: "s", Boot: "c", Device: 1, Inode: 2, Start: 2})},
			[]string{"joined w session=0", "worker-alive"}},
		"an expire holds while its heartbeat is the newest": {
			[]Record{joinOf("w", "p1", nil), beat(0, 1), expireOf(0, 0), expireOf(0, 1), expireOf(0, 1)},
			[]string{"joined w session=0", "", "alive", "expired w session=0", "not-live"}},
		"records of an ended session do nothing": {
			[]Record{joinOf("w", "p1", nil), leaveOf(0, 1), beat(0, 2), claimOf(0, 3, Asked{"a", 0, 1, 0}), leaveOf(0, 4)},
			[]string{"joined w session=0", "left w session=0", "not-live", "not-live", "not-live"}},
		"late and repeated appends do nothing": {
			[]Record{
				joinOf("w", "p1", nil),
				claimOf(0, 5, Asked{"a", 0, 1, 0}),
				claimOf(0, 5, Asked{"a", 1, 1, 0}),
				releaseOf(0, 4, Held{"a", 0, 1}),
				beat(0, 3),
			},
			[]string{"joined w session=0", "granted a-0 to=0 gen=1 epoch=1", "old-sequence", "old-sequence", "old-sequence"},
		},
		"an owned unit is not granted, not even to its owner": {
			[]Record{
				joinOf("w", "p1", nil),
				joinOf("v", "p2", nil),
				claimOf(0, 1, Asked{"a", 0, 1, 0}),
				claimOf(1, 1, Asked{"a", 0, 1, 0}),
				claimOf(0, 2, Asked{"a", 0, 1, 0}),
			},
			[]string{
				"joined w session=0",
				"joined v session=1",
				"granted a-0 to=0 gen=2 epoch=1",
				"refused a-0 to=1 epoch=1: owned",
				"refused a-0 to=0 epoch=1: owned",
			},
		},
		"each unit of a claim is judged by itself": {
			[]Record{joinOf("w", "p1", nil), claimOf(0, 1, Asked{"a", 0, 1, 0}, Asked{"a", 1, 2, 0}, Asked{"a", -1, 1, 9}, Asked{"b", 0, 0, 0})},
			[]string{
				"joined w session=0",
				"granted a-0 to=0 gen=1 epoch=1; refused a-1 to=0 epoch=2: other-epoch; granted a to=0 gen=10 epoch=1; granted b-0 to=0 gen=1 epoch=0",
			},
		},
		"an older epoch is never granted again": {
			[]Record{
				joinOf("w", "p1", nil),
				claimOf(0, 1, Asked{"a", 0, 7, 0}),
				releaseOf(0, 2, Held{"a", 0, 1}),
				claimOf(0, 3, Asked{"a", 0, 6, 0}),
				claimOf(0, 4, Asked{"a", 0, 8, 0}),
			},
			[]string{
				"joined w session=0",
				"granted a-0 to=0 gen=1 epoch=7",
				"freed a-0 to=0 gen=1 epoch=7",
				"refused a-0 to=0 epoch=6: old-epoch",
				"granted a-0 to=0 gen=4 epoch=8",
			},
		},
		"a release frees only the generation that it names": {
			[]Record{
				joinOf("w", "p1", nil),
				claimOf(0, 1, Asked{"a", 0, 1, 0}),
				releaseOf(0, 2, Held{"a", 0, 7}),
				releaseOf(0, 3, Held{"a", 0, 1}),
				claimOf(0, 4, Asked{"a", 0, 1, 0}),
				releaseOf(0, 5, Held{"a", 0, 1}),
			},
			[]string{
				"joined w session=0",
				"granted a-0 to=0 gen=1 epoch=1",
				"other-ownership",
				"freed a-0 to=0 gen=1 epoch=1",
				"granted a-0 to=0 gen=4 epoch=1",
				"other-ownership",
			},
		},
		"a release of another's unit frees nothing": {
			[]Record{joinOf("w", "p1", nil), joinOf("v", "p2", nil), claimOf(0, 1, Asked{"a", 0, 1, 0}), releaseOf(1, 1, Held{"a", 0, 2})},
			[]string{"joined w session=0", "joined v session=1", "granted a-0 to=0 gen=2 epoch=1", "other-ownership"}},
		"a generation is above all that the claimer knows, also after it was freed": {
			[]Record{
				joinOf("w", "p1", nil),
				claimOf(0, 1, Asked{"a", 0, 1, 900}),
				releaseOf(0, 2, Held{"a", 0, 901}),
				claimOf(0, 3, Asked{"a", 0, 1, 0}),
			},
			[]string{
				"joined w session=0",
				"granted a-0 to=0 gen=901 epoch=1",
				"freed a-0 to=0 gen=901 epoch=1",
				"granted a-0 to=0 gen=902 epoch=1",
			},
		},
		"a leave frees all that the session owns": {
			[]Record{joinOf("w", "p1", nil), claimOf(0, 1, Asked{"b", 0, 1, 0}, Asked{"a", 0, 1, 0}), leaveOf(0, 2)},
			[]string{
				"joined w session=0",
				"granted b-0 to=0 gen=1 epoch=1; granted a-0 to=0 gen=1 epoch=1",
				"left w session=0; freed a-0 to=0 gen=1 epoch=1; freed b-0 to=0 gen=1 epoch=1",
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, foldAll(t, New(), tc.records...)); diff != "" {
				t.Errorf("outcomes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNoEntryPanicsOrIsTakenForAnother(t *testing.T) {
	cases := map[string]struct {
		value string
		want  Reason
	}{
		"nothing":                      {"", Malformed},
		"not JSON":                     {"hello", Malformed},
		"JSON of another shape":        {"[1,2]", Malformed},
		"a number out of range":        {`{"v":1,"kind":"heartbeat","session":99999999999999999999}`, Malformed},
		"no version":                   {`{"kind":"leave","session":0,"seq":1}`, Foreign},
		"a later version":              {`{"v":2,"kind":"leave","session":0,"seq":1}`, Foreign},
		"an unknown kind":              {`{"v":1,"kind":"elect"}`, Foreign},
		"a join without parts":         {`{"v":1,"kind":"join"}`, Malformed},
		"a join without terms":         {`{"v":1,"kind":"join","join":{"worker":"w","incarnation":"p"}}`, Malformed},
		"terms without a timeout":      {`{"v":1,"kind":"heartbeat","session":0,"seq":1,"terms":{"heartbeatIntervalMs":1}}`, Malformed},
		"a record without sequence":    {`{"v":1,"kind":"leave","session":0}`, Malformed},
		"a claim without units":        {`{"v":1,"kind":"claim","session":0,"seq":1,"claim":{}}`, Malformed},
		"a claim of a task below zero": {`{"v":1,"kind":"claim","session":0,"seq":1,"claim":{"units":[{"connector":"a","task":-2}]}}`, Malformed},
		"a generation that overflows": {
			`{"v":1,"kind":"claim","session":0,"seq":1,"claim":{"units":[{"connector":"a","above":9223372036854775807}]}}`,
			Malformed,
		},
		"a release of nothing":      {`{"v":1,"kind":"release","session":0,"seq":1}`, Malformed},
		"an expire of nothing":      {`{"v":1,"kind":"expire"}`, Malformed},
		"a part out of range":       {`{"v":1,"kind":"snapshot","session":0,"seq":1,"part":{"index":4,"total":2}}`, Malformed},
		"fields that are not known": {`{"v":1,"kind":"leave","session":5,"seq":1,"later":true}`, NotLive},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := New()
			out, err := f.Step(rmq.Entry{Value: []byte(tc.value)})
			if err != nil || out.Reason != tc.want {
				t.Errorf("got %q, %v; want %q", out.Reason, err, tc.want)
			}
			if f.Offset() != 0 {
				t.Errorf("offset %d after one entry", f.Offset())
			}
		})
	}
}

func FuzzStep(f *testing.F) {
	for _, r := range []Record{joinOf("w", "p", proofOf(1, 0)), beat(0, 1), claimOf(0, 2, Asked{"a", 0, 1, 0}), releaseOf(0,
		3, Held{"a", 0, 1}), expireOf(0, 1), leaveOf(0, 9)} {
		e, err := r.Entry()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(e.Value)
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		a := New()
		foldAll(t, a, joinOf("w", "p1", proofOf(1, 0)), claimOf(0, 1, Asked{"a", 0, 1, 0}))
		var found Snapshots
		found.Add(rmq.Entry{Offset: 2, Key: string(Snapshot), Value: value})
		b := copyOf(t, a)
		e := rmq.Entry{Offset: 2, Value: value}
		if _, err := a.Step(e); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Step(e); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(imageOf(t, a), imageOf(t, b)); diff != "" {
			t.Fatalf("a fold and its copy differ:\n%s", diff)
		}
	})
}

func TestEntriesThatWereFoldedChangeNothing(t *testing.T) {
	f := New()
	foldAll(t, f, joinOf("w", "p1", nil), beat(0, 1))
	before := imageOf(t, f)
	e, err := leaveOf(0, 9).Entry()
	if err != nil {
		t.Fatal(err)
	}
	e.Offset = 1
	if out, err := f.Step(e); err != nil || out.Reason != Repeated || before != imageOf(t, f) {
		t.Errorf("an old offset: %+v, %v", out, err)
	}
	e.Offset = 3
	if _, err := f.Step(e); !errors.Is(err, ErrGap) || before != imageOf(t, f) {
		t.Errorf("a gap: %v", err)
	}
}

func imageOf(t testing.TB, f *Fold) string {
	t.Helper()
	data, err := f.Image()
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func copyOf(t testing.TB, f *Fold) *Fold {
	t.Helper()
	c, err := Restore([]byte(imageOf(t, f)))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func packed(t *testing.T, image string) []Part {
	t.Helper()
	parts, err := Split([]byte(image))
	if err != nil {
		t.Fatal(err)
	}
	return parts
}

func TestSnapshots(t *testing.T) {
	f := New()
	foldAll(t, f, joinOf("w", "p1", proofOf(1, 0)))
	for i := range int64(3000) {
		foldAll(t, f, claimOf(0, i+1, Asked{fmt.Sprintf("connector-with-a-long-name-%d", i), 0, 1, 5000}))
	}
	foldAll(t, f, releaseOf(0, 4000, Held{"connector-with-a-long-name-7", 0, 5001}), expireOf(0, 0))
	image := imageOf(t, f)
	entry := func(offset int64, p Part) rmq.Entry {
		e, err := Record{Kind: Snapshot, Session: 0, Sequence: 1, AsOf: f.Offset(), Log: f.Log(), Digest: f.Digest(), Part: &p}.Entry()
		if err != nil {
			t.Fatal(err)
		}
		e.Offset = offset
		return e
	}
	parts, small := cut([]byte(image), formPlain), packed(t, image)
	end := f.Offset() + 10
	unknown, cutOff := small[0], cut(small[0].Data[:len(small[0].Data)/2], formDeflate)
	unknown.Form = "of a newer version"
	damaged := parts[0]
	damaged.Data = append([]byte("x"), damaged.Data[1:]...)
	cases := map[string]struct {
		entries []rmq.Entry
		want    bool
	}{
		"all parts, in any order":      {[]rmq.Entry{entry(end, parts[1]), entry(end+1, parts[0]), entry(end+2, parts[0])}, true},
		"a part is missing":            {[]rmq.Entry{entry(end, parts[1])}, false},
		"a part is damaged":            {[]rmq.Entry{entry(end, damaged), entry(end, parts[1])}, false},
		"a snapshot of the future":     {[]rmq.Entry{entry(1, parts[0]), entry(2, parts[1])}, false},
		"a packed one":                 {[]rmq.Entry{entry(end, small[0])}, true},
		"a packed one of another form": {[]rmq.Entry{entry(end, unknown)}, false},
		"a packed one that ends early": {[]rmq.Entry{entry(end, cutOff[0])}, false},
		"foreign entries in between":   {[]rmq.Entry{entry(end, parts[0]), {Key: "snapshot", Value: []byte("{")}, entry(end, parts[1])}, true},
	}
	if len(parts) != 2 || len(small) != 1 || 4*len(small[0].Data) > len(image) {
		t.Fatalf("%d parts of %d bytes, want 2; packed %d, want 1 of less than a quarter", len(parts), len(image), len(small))
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var s Snapshots
			for _, e := range tc.entries {
				s.Add(e)
			}
			if got := s.Unconfirmed(); (got != nil) != tc.want || got != nil && imageOf(t, got) != image {
				t.Errorf("found %t, want %t", got != nil, tc.want)
			}
		})
	}
}

func TestMarksAgeByTheOldestMembersHeartbeats(t *testing.T) {
	f := New()
	delayed := terms
	delayed.RebalanceDelayMS = 1000
	leaver := joinOf("l", "p3", nil)
	leaver.Terms = &delayed
	foldAll(t, f, joinOf("old", "p1", nil), joinOf("w", "p2", nil), leaver, expireOf(1, 1), leaveOf(2, 1), joinOf("w", "p4", nil))
	w, _ := f.Live("w")
	for i := range int64(30) {
		if f.Eligible(w) {
			t.Fatalf("eligible after %d heartbeats, want 3 × 5 s / 500 ms = 30", i)
		}
		if away := len(f.Away()) > 0; away != (i < 2) {
			t.Fatalf("away after %d heartbeats: %t", i, away)
		}
		foldAll(t, f, beat(0, i+1), beat(w.ID, i+1))
	}
	if !f.Eligible(w) {
		t.Error("not eligible after 30 heartbeats")
	}
}

// What is stored must be readable by later versions: the bytes of each record and of an image are golden.
func TestStoredFormIsGolden(t *testing.T) {
	f := New()
	var b strings.Builder
	for _, r := range []Record{
		joinOf("w", "p1", proofOf(3, 1)), beat(0, 1), claimOf(0, 2, Asked{"a", -1, 1, 0}, Asked{"a", 0, 1, 40}), releaseOf(0, 3,
			Held{"a", 0, 41}),
		expireOf(7, 5), claimOf(0, 4, Asked{"a", 1, 2, 0}), {Kind: Snapshot, Session: 0, Sequence: 5, AsOf: 3, Digest: "d",
			Part: &Part{Total: 1, Sum: "s", Data: []byte("x")}},
		leaveOf(0, 6),
	} {
		if r.Kind == Leave {
			fmt.Fprintf(&b, "%s\n", imageOf(t, f))
		}
		e, err := r.Entry()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s %s\n", e.Key, e.Value)
		foldAll(t, f, r)
	}
	const file = "testdata/stored.golden.txt"
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("stored form (-want +got); a change needs a new record version:\n%s", diff)
	}
}
