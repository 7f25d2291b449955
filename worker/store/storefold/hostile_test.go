package storefold

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/rocketmq-connect/operator/worker/keyedlog/replica"
	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/states"
)

// at is when records of these tests are stored; most is the highest number that can have been counted by then.
var at = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

var most = at.UnixMilli() << 10

// stored is what an entry of these values does, changed field by field: JSON, so that any number can be written.
func stored(t *testing.T, f interface {
	Apply(e rmq.Entry) (replica.Verdict, error)
}, when time.Time, v value, changes map[string]any) replica.Verdict {
	t.Helper()
	var fields map[string]any
	if err := json.Unmarshal(Encode(v), &fields); err != nil {
		t.Fatal(err)
	}
	for name, value := range changes {
		fields[name] = value
	}
	data, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	verdict, _ := f.Apply(rmq.Entry{Key: v.key(), Value: data, StoredAt: when})
	return verdict
}

// Somebody who may write the config topic counts as high as numbers go. Such a record is no value, or the connector can
// be changed and removed after it.
func TestNoRevisionStopsAConnectorFromBeingChanged(t *testing.T) {
	cases := map[string]struct {
		changes map[string]any
		taken   bool
	}{
		"the largest revision":       {changes: map[string]any{"replaces": int64(math.MaxInt64 - 1), "revision": int64(math.MaxInt64)}},
		"a revision that overflows":  {changes: map[string]any{"replaces": int64(math.MaxInt64), "revision": int64(math.MinInt64)}},
		"the largest epoch":          {changes: map[string]any{"epoch": int64(math.MaxInt64)}},
		"an epoch below its birth":   {changes: map[string]any{"born": 9}},
		"a restart of no task":       {changes: map[string]any{"restart": map[string]any{"id": "x", "task": math.MaxInt32}}},
		"the highest that are taken": {changes: map[string]any{"replaces": most, "revision": most + 1, "epoch": most, "born": most}, taken: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := NewConfigs()
			v := &connectorValue{
				V:        Version,
				Name:     "c",
				Config:   map[string]string{"a": "1"},
				State:    states.WantRunning,
				Epoch:    1,
				Born:     1,
				Revision: 1,
				Requests: []request{{ID: "r"}},
			}
			want := replica.Malformed
			if tc.taken {
				want = replica.Accepted
			}
			if got := stored(t, f, at, v, tc.changes); got != want {
				t.Fatalf("verdict %v, want %v", got, want)
			}
			for i, w := range []Write{
				{Name: "c", Config: map[string]string{"a": "2"}, IfRevision: -1, RequestID: "change"},
				{Name: "c", Delete: true, IfRevision: -1, RequestID: "delete"},
				{Name: "c", Config: map[string]string{"a": "3"}, IfRevision: 0, RequestID: "create"},
			} {
				later := at.Add(time.Duration(i+1) * time.Millisecond)
				r, _, err := f.Put(w, 0, later)
				if err != nil || r == nil {
					t.Fatalf("%s: %v", w.RequestID, err)
				}
				if verdict, err := f.Apply(rmq.Entry{Key: r.Key, Value: r.Value, StoredAt: later}); verdict != replica.Accepted {
					t.Fatalf("%s: verdict %v, %v", w.RequestID, verdict, err)
				}
			}
		})
	}
}

// A position that somebody else writes stops a task at worst, with a reason: it never has its worker write for ever.
func TestNoPositionHasAWriterWriteForEver(t *testing.T) {
	cases := map[string]struct {
		changes map[string]any
		fenced  bool // else the task goes on
	}{
		"the largest sequence":             {changes: map[string]any{"sequence": int64(math.MaxInt64)}},
		"a sequence below zero":            {changes: map[string]any{"sequence": -1}},
		"the highest sequence taken":       {changes: map[string]any{"sequence": most}},
		"the highest moves taken":          {changes: map[string]any{"moves": most}},
		"of another task":                  {changes: map[string]any{"task": 3, "moves": most}},
		"the largest epoch":                {changes: map[string]any{"epoch": int64(math.MaxInt64)}},
		"the highest epoch taken":          {changes: map[string]any{"epoch": most}, fenced: true},
		"the highest generation taken":     {changes: map[string]any{"generation": most}, fenced: true},
		"a later attempt that never began": {changes: map[string]any{"attempt": 99}, fenced: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := NewProgress()
			w, err := NewWriter(Fence{Connector: "c", Generation: 5, Epoch: 1, Attempt: 1}, "w")
			if err != nil {
				t.Fatal(err)
			}
			apply := func(r replica.Record) {
				_, _ = f.Apply(rmq.Entry{Key: r.Key, Value: r.Value, StoredAt: at.Add(time.Millisecond)})
			}
			apply(w.Announce())
			v := &positionValue{V: Version, Connector: "c", Partition: "p", Position: "hostile", stamp: w.fence.stamp, Sequence: 1}
			stored(t, f, at, v, tc.changes)
			for sequence := range int64(3) {
				want := record.Positions{"p": record.Position(rune('a' + sequence))}
				for round := 0; ; round++ {
					records, err := w.Records(f, want, sequence+1)
					if errors.Is(err, ErrFenced) && tc.fenced {
						return
					}
					if err != nil || round > 2 {
						t.Fatalf("round %d: %v", round, err)
					}
					if len(records) == 0 {
						break
					}
					for _, r := range records {
						apply(r)
					}
				}
				if got := f.Read("c")["p"]; got != want["p"] {
					t.Errorf("stored %q, want %q", got, want["p"])
				}
			}
			if tc.fenced {
				t.Error("the writer went on")
			}
		})
	}
}

// FuzzValues gives the numbers of stored values any size. The folds take them or leave them, and what they hold can be
// read, published again and counted on.
func FuzzValues(f *testing.F) {
	for _, n := range []int64{math.MinInt64, -1, 0, 1, 1 << 32, 1 << 43, 1 << 53, math.MaxInt64} {
		f.Add(n, int64(1), n)
		f.Add(int64(1), n, -n)
	}
	f.Fuzz(func(t *testing.T, a, b, c int64) {
		configs, progress, statuses := NewConfigs(), NewProgress(), NewStatuses()
		odd := map[string]any{
			"epoch":      a,
			"generation": b,
			"attempt":    c,
			"sequence":   a,
			"moves":      b,
			"since":      c,
			"revision":   b + 1,
			"replaces":   b,
			"born":       a,
		}
		stored(t, configs, at, &connectorValue{V: Version, Name: "c", State: states.WantRunning, Requests: []request{{ID: "r"}}}, odd)
		stored(t, configs, at, &tasksValue{V: Version, Name: "c", ID: "i", Tasks: []map[string]string{}}, odd)
		stored(t, progress, at, &fenceValue{V: Version, Connector: "c", ID: "i"}, odd)
		stored(t, progress, at, &resetValue{V: Version, Connector: "c", ID: "i"}, odd)
		stored(t, statuses, at, &statusValue{V: Version, Connector: "c", State: "Running"}, odd)
		odd["task"] = c
		stored(t, progress, at, &positionValue{V: Version, Connector: "c", Partition: "p"}, odd)
		floor := max(progress.Epoch("c"), statuses.Epoch("c"))
		later := at.Add(time.Millisecond)
		r, _, err := configs.Put(Write{Name: "c", Config: map[string]string{"k": "v"}, IfRevision: -1, RequestID: "next"}, floor, later)
		if err != nil {
			t.Fatal(err)
		}
		if verdict, err := configs.Apply(rmq.Entry{Key: r.Key, Value: r.Value, StoredAt: later}); verdict != replica.Accepted {
			t.Fatalf("a later change: verdict %v, %v", verdict, err)
		}
		held, _ := configs.View("c")
		w, err := NewWriter(Fence{Connector: "c", Epoch: held.Epoch, Generation: progress.Newest("c", 0) + 1, Attempt: 1}, "w")
		if err != nil {
			t.Fatal(err)
		}
		fence := w.Announce()
		_, _ = progress.Apply(rmq.Entry{Key: fence.Key, Value: fence.Value, StoredAt: later})
		if err := w.Check(progress); err != nil {
			t.Fatalf("a later owner: %v", err)
		}
	})
}

// A name that the cluster log does not take would spoil each claim that it is part of, and each task costs memory.
func TestNamesAndTaskSetsAreBounded(t *testing.T) {
	connector := func(n int) *connectorValue {
		return &connectorValue{
			V:        Version,
			Name:     strings.Repeat("n", n),
			State:    states.WantRunning,
			Epoch:    1,
			Born:     1,
			Revision: 1,
			Requests: []request{{ID: "r"}},
		}
	}
	tasks := func(n int) *tasksValue {
		v := &tasksValue{V: Version, Name: "c", Epoch: 1, ID: "i"}
		for range n {
			v.Tasks = append(v.Tasks, map[string]string{})
		}
		return v
	}
	cases := map[string]struct {
		value value
		want  replica.Verdict
	}{
		"the longest name":          {connector(512), replica.Accepted},
		"a longer one":              {connector(513), replica.Malformed},
		"the most tasks":            {tasks(1024), replica.Accepted},
		"more than any connector's": {tasks(1025), replica.Malformed},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := stored(t, NewConfigs(), at, tc.value, nil); got != tc.want {
				t.Errorf("verdict %v, want %v", got, tc.want)
			}
		})
	}
}
