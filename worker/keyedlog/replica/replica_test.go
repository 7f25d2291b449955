package replica

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/rmq"
)

// values is a fold whose newest value of a key is the one that came last; "old…" is refused.
type values map[string]string

func (v values) Apply(e rmq.Entry) (Verdict, error) {
	key, value := e.Key, e.Value
	if len(value) >= 3 && string(value[:3]) == "old" {
		return Refused, nil
	}
	v[key] = string(value)
	return Accepted, nil
}

func (v values) Current(key string) ([]byte, bool) { return []byte(v[key]), v[key] != "" }

func (v values) Keys() []string {
	var out []string
	for key := range v {
		out = append(out, key)
	}
	return out
}

func entry(offset int64, key, value string) rmq.Entry {
	return rmq.Entry{Offset: offset, Key: key, Value: []byte(value)}
}

func due(r *Replica, now time.Time) []string {
	var out []string
	for _, rec := range r.Due(now) {
		out = append(out, rec.Key+"="+string(rec.Value))
	}
	return out
}

func TestWhatTheLogDoesNotHoldIsPublishedAgain(t *testing.T) {
	start := time.Unix(100, 0)
	cases := map[string]struct {
		after func(t *testing.T, r *Replica)
		owner bool
		wait  time.Duration
		want  []string
	}{
		"nothing happened": {after: func(*testing.T, *Replica) {}, owner: true, wait: time.Hour},
		"a refused record hides a value": {after: func(t *testing.T, r *Replica) {
			if v, err := r.Apply(start, entry(2, "b", "old")); v != Refused || err != nil {
				t.Errorf("verdict %d, %v", v, err)
			}
		}, owner: true, wait: time.Second, want: []string{"b=2"}},
		"its owner waits for the next regular write": {after: func(_ *testing.T, r *Replica) { _, _ = r.Apply(start, entry(2, "b", "old")) },
			owner: true, wait: 900 * time.Millisecond},
		"the others wait for its owner": {after: func(_ *testing.T, r *Replica) { _, _ = r.Apply(start, entry(2, "b", "old")) },
			wait: 14 * time.Second},
		"but not for ever": {after: func(_ *testing.T, r *Replica) { _, _ = r.Apply(start, entry(2, "b", "old")) },
			wait: 15 * time.Second, want: []string{"b=2"}},
		"a regular write is enough": {after: func(_ *testing.T, r *Replica) {
			_, _ = r.Apply(start, entry(2, "b", "old"))
			_, _ = r.Apply(start, entry(3, "b", "3"))
		}, owner: true, wait: time.Hour},
		"the log ends before what was read": {after: func(t *testing.T, r *Replica) {
			if lost := r.Relocate(start, 0, 1); !lost || r.Next() != 0 || r.Reach() != 2 {
				t.Errorf("lost %t, next %d, reach %d", lost, r.Next(), r.Reach())
			}
			_, _ = r.Apply(start, entry(0, "a", "1"))
		}, owner: true, wait: time.Second, want: []string{"b=2"}},
		"the log gave offsets out again": {after: func(t *testing.T, r *Replica) {
			if !r.Holds(entry(0, "a", "1")) || r.Holds(entry(1, "c", "9")) {
				t.Error("another record at an offset was not noticed")
			}
			r.Lost(start, 0)
			_, _ = r.Apply(start, entry(0, "a", "1"))
			_, _ = r.Apply(start, entry(1, "c", "9"))
		}, owner: true, wait: time.Second, want: []string{"b=2"}},
		"a record that was copied here hides a value": {after: func(t *testing.T, r *Replica) {
			copied := entry(2, "b", "3")
			copied.Stray = true
			if v, err := r.Apply(start, copied); v != Foreign || err == nil {
				t.Errorf("verdict %d, %v", v, err)
			}
		}, owner: true, wait: time.Second, want: []string{"b=2"}},
		"records aged out": {after: func(t *testing.T, r *Replica) {
			if lost := r.Relocate(start, 7, 9); lost || r.Next() != 7 {
				t.Errorf("lost %t, next %d", lost, r.Next())
			}
		}, owner: true, wait: time.Hour},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			r := New(
				Options{Fold: values{}, Owns: func(string) bool { return tc.owner }, Settle: time.Second, Random: func() float64 { return 0.5 }},
			)
			_, _ = r.Apply(start, entry(0, "a", "1"))
			_, _ = r.Apply(start, entry(1, "b", "2"))
			tc.after(t, r)
			if diff := cmp.Diff(tc.want, due(r, start.Add(tc.wait))); diff != "" {
				t.Errorf("published again (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOldRecordsAreTakenForTheSameWhenTheyComeAgain(t *testing.T) {
	r := New(Options{Fold: values{}, Owns: func(string) bool { return true }, Settle: time.Second, Random: func() float64 { return 0 }})
	for i := range int64(1000) {
		_, _ = r.Apply(time.Time{}, entry(i, "a", "1"))
	}
	var noticed []int64
	for i := range int64(1000) {
		if !r.Holds(entry(i, "a", "2")) {
			noticed = append(noticed, i)
		}
	}
	if len(noticed) < rmq.GoneOver || !slices.Contains(noticed, 1000-rmq.GoneOver) {
		t.Errorf("others were noticed at %v only", noticed)
	}
}

// linked is a fold in which each record of the key "a" changes the value of "b".
type linked struct {
	values
	hidden []string
}

func (f *linked) Apply(e rmq.Entry) (Verdict, error) {
	verdict, err := f.values.Apply(e)
	if e.Key == "a" {
		f.values["b"] = "of " + string(e.Value)
		f.hidden = append(f.hidden, "b")
	}
	return verdict, err
}

func (f *linked) Hidden() []string {
	out := f.hidden
	f.hidden = nil
	return out
}

// The log shows the old value until the new one was published and read.
func TestWhatARecordOfAnotherKeyChangesIsPublished(t *testing.T) {
	start := time.Unix(100, 0)
	f := &linked{values: values{}}
	r := New(Options{Fold: f, Owns: func(string) bool { return true }, Settle: time.Second, Random: func() float64 { return 0 }})
	for i, e := range []rmq.Entry{entry(0, "b", "1"), entry(1, "a", "2")} {
		if v, err := r.Apply(start, e); v != Accepted || err != nil {
			t.Errorf("verdict %d of record %d, %v", v, i, err)
		}
	}
	if diff := cmp.Diff([]string{"b=of 2"}, due(r, start.Add(time.Second))); diff != "" {
		t.Errorf("due (-want +got):\n%s", diff)
	}
	if _, err := r.Apply(start, entry(2, "b", "of 2")); err != nil {
		t.Error(err)
	}
	if left := due(r, start.Add(time.Hour)); left != nil {
		t.Errorf("%v is due though it was read", left)
	}
	f.values["b"], f.hidden = "3", []string{"b"} // as restored from a file, which has other keys too
	r.Recovered(start, nil, 0)
	if diff := cmp.Diff([]string{"b=3"}, due(r, start.Add(time.Second))); diff != "" {
		t.Errorf("due after a restore (-want +got):\n%s", diff)
	}
}
