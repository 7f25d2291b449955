package fold

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/rmq"
)

func TestRecordsOfAnotherLogAreVoid(t *testing.T) {
	start := []Record{joinOf("w", "p1", nil), joinOf("v", "p2", nil), claimOf(0, 1, Asked{"a", 0, 1, 0}), beat(1, 1)}
	f, lost := New(), New()
	foldAll(t, f, start...)
	foldAll(t, lost, append(start[:2:2], beat(0, 1), claimOf(1, 1, Asked{"a", 0, 1, 0}))...)
	on := func(asOf int64, log string, r Record) Record {
		r.AsOf, r.Log = asOf, log
		return r
	}
	common := New()
	foldAll(t, common, start[:2]...)
	cases := map[string]struct {
		record Record
		want   string
	}{
		"written on this log":                    {on(f.Offset(), f.Log(), releaseOf(0, 2, Held{"a", 0, 2})), "freed a-0 to=0 gen=2 epoch=1"},
		"written on what both logs hold":         {on(1, common.Log(), releaseOf(0, 2, Held{"a", 0, 2})), "freed a-0 to=0 gen=2 epoch=1"},
		"a heartbeat on a lost record":           {on(3, lost.Log(), beat(1, 2)), "other-log"},
		"a claim on a lost record":               {on(3, lost.Log(), claimOf(1, 2, Asked{"a", 1, 1, 0})), "other-log"},
		"a leave on a lost record":               {on(3, lost.Log(), leaveOf(0, 2)), "other-log"},
		"an expire on a lost record":             {on(3, lost.Log(), expireOf(0, 0)), "other-log"},
		"a join on a lost record":                {on(3, lost.Log(), joinOf("u", "p3", nil)), "other-log"},
		"written on more than the log holds yet": {on(9, f.Log(), beat(1, 2)), "other-log"},
		"without a word of what was read":        {on(3, "", claimOf(1, 2, Asked{"a", 1, 1, 0})), "other-log"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := copyOf(t, f)
			e, err := tc.record.Entry()
			if err != nil {
				t.Fatal(err)
			}
			e.Offset = c.Offset() + 1
			out, err := c.Step(e)
			if err != nil {
				t.Fatal(err)
			}
			got := string(out.Reason)
			for _, ev := range out.Events {
				got += ev.String()
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("outcome (-want +got):\n%s", diff)
			}
			if tc.want == string(OtherLog) && stateOf(c) != stateOf(f) {
				t.Errorf("a void record changed the state from\n%s to\n%s", stateOf(f), stateOf(c))
			}
		})
	}
}

// What is remembered of the log grows with what is written between heartbeats and not with the log, and a record older
// than all of it is void, for it cannot be judged.
func TestHistoryIsShort(t *testing.T) {
	f := New()
	foldAll(t, f, joinOf("w", "p1", nil))
	early := beat(0, 400)
	early.AsOf, early.Log = f.Offset(), f.Log()
	for i := range int64(300) {
		foldAll(t, f, beat(0, i+1))
	}
	if n := len(f.history.prints); n != 20 {
		t.Errorf("%d prints are kept, want those of two sessions' 20 heartbeats", n)
	}
	if diff := cmp.Diff([]string{"stale"}, foldAll(t, f, early)); diff != "" {
		t.Errorf("outcome (-want +got):\n%s", diff)
	}
	for range most + 10 {
		f.history.add(f.offset+1, print{})
		f.offset++
	}
	if n := len(f.history.prints); n != most {
		t.Errorf("%d prints are kept without heartbeats, want %d", n, most)
	}
}

func TestFoldHoldsOnlyWhatItFolded(t *testing.T) {
	f := New()
	foldAll(t, f, joinOf("w", "p1", nil))
	r := beat(0, 1)
	r.AsOf, r.Log = f.Offset(), f.Log()
	e, err := r.Entry()
	if err != nil {
		t.Fatal(err)
	}
	e.Offset = 1
	if _, err := f.Step(e); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		entry rmq.Entry
		want  bool
	}{
		"the same entry":            {e, true},
		"another one at its offset": {rmq.Entry{Offset: 1, Value: []byte("x")}, false},
		"one that was never folded": {rmq.Entry{Offset: 2, Value: e.Value}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got, _ := f.Holds(tc.entry); got != tc.want {
				t.Errorf("got %t", got)
			}
			if got, _ := copyOf(t, f).Holds(tc.entry); got != tc.want {
				t.Errorf("restored: got %t", got)
			}
		})
	}
}

// A snapshot of records that the log has lost is never started from: nobody can write on it.
func TestSnapshotNeedsAWitness(t *testing.T) {
	build := func(f *Fold, records ...Record) (log []rmq.Entry) {
		for _, r := range records {
			if r.Log == "" {
				r.AsOf, r.Log = f.Offset(), f.Log()
			}
			if r.Kind == Heartbeat && r.Digest == "" {
				r.Digest = f.Digest()
			}
			e, err := r.Entry()
			if err != nil {
				t.Fatal(err)
			}
			e.Offset = f.Offset() + 1
			if _, err := f.Step(e); err != nil {
				t.Fatal(err)
			}
			log = append(log, e)
		}
		return log
	}
	snapshotOf := func(f *Fold, sequence int64) Record {
		part := packed(t, imageOf(t, f))[0]
		return Record{Kind: Snapshot, Session: 0, Sequence: sequence, AsOf: f.Offset(), Log: f.Log(), Digest: f.Digest(), Part: &part}
	}
	start := func() (*Fold, []rmq.Entry) {
		f := New()
		return f, build(f, joinOf("w", "p1", nil), joinOf("v", "p2", nil))
	}
	lost, _ := start()
	build(lost, claimOf(0, 1, Asked{"lost", 0, 1, 0}))
	otherwise := func(r Record) Record {
		r.Digest = "beef"
		return r
	}
	cases := map[string]struct {
		snapshot func(*Fold) Record
		after    []Record
		want     int64 // the offset of the fold that is found
	}{
		"who wrote on made something else": {func(f *Fold) Record { return snapshotOf(f, 2) }, []Record{otherwise(beat(1, 2))}, -1},
		"as many made something else":      {func(f *Fold) Record { return snapshotOf(f, 2) }, []Record{otherwise(beat(1, 2)), beat(0, 3)}, -1},
		"one was wrong before":             {func(f *Fold) Record { return snapshotOf(f, 2) }, []Record{otherwise(beat(1, 2)), beat(1, 3)}, 2},
		"the reader itself made another": {
			func(f *Fold) Record { return snapshotOf(f, 2) },
			[]Record{joinOf("reader", "p3", nil), otherwise(beat(4, 1))},
			2,
		},
		"nobody wrote on":                  {func(f *Fold) Record { return snapshotOf(f, 2) }, nil, -1},
		"somebody wrote on":                {func(f *Fold) Record { return snapshotOf(f, 2) }, []Record{beat(1, 2)}, 2},
		"records that were lost are in it": {func(*Fold) Record { return snapshotOf(lost, 2) }, []Record{beat(1, 2), beat(0, 3)}, -1},
		"only a record from before it comes": {
			func(f *Fold) Record { return snapshotOf(f, 2) },
			[]Record{{Kind: Leave, Session: 1, Sequence: 9, AsOf: 1, Log: "-"}},
			-1,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f, log := start()
			log = append(log, build(f, beat(1, 1))...)
			log = append(log, build(f, tc.snapshot(f))...)
			log = append(log, build(f, tc.after...)...)
			var found Snapshots
			for _, e := range log {
				found.Add(e)
			}
			got := int64(-1)
			if n := found.Newest("reader"); n != nil {
				got = n.Offset()
			}
			if got != tc.want || found.Unconfirmed() == nil {
				t.Errorf("found one as of %d, want %d (%s)", got, tc.want, fmt.Sprint(found.Unconfirmed() != nil))
			}
		})
	}
}
