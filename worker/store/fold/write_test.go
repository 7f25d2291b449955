package fold

import (
	"errors"
	"testing"
	"time"

	"github.com/rocketmq-connect/operator/worker/keyedlog/replica"
)

// put writes to a fold and gives the record.
func put(t *testing.T, f *Configs, w Write, floor int64) replica.Record {
	t.Helper()
	r, _, err := f.Put(w, floor, time.Unix(0, 0))
	if err != nil || r == nil {
		t.Fatalf("record %v, %v", r, err)
	}
	wantVerdict(t, f, *r, replica.Accepted)
	return *r
}

func wantVerdict(t *testing.T, f *Configs, r replica.Record, want replica.Verdict) {
	t.Helper()
	if got, err := f.Apply(r.Key, r.Value); got != want || err != nil {
		t.Errorf("verdict %d, %v, want %d: %s", got, err, want, r.Value)
	}
}

func again(t *testing.T, f *Configs) replica.Record {
	t.Helper()
	value, ok := f.Current("connector/c")
	if !ok {
		t.Fatal("there is no connector")
	}
	return replica.Record{Key: "connector/c", Value: value}
}

// Two workers hold what was written before and after a loss: whatever they publish again in whatever order, both end up with
// the newer epoch.
func TestConfigsOfTwoSidesOfALossConverge(t *testing.T) {
	config := func(n string) map[string]string { return map[string]string{"n": n} }
	before, after := NewConfigs(), NewConfigs()
	first := put(t, before, Write{Name: "c", Config: config("1"), IfRevision: -1, RequestID: "r1"}, 0)
	wantVerdict(t, after, first, replica.Accepted)
	put(t, before, Write{Name: "c", Config: config("2"), IfRevision: -1, RequestID: "lost"}, 0)
	put(t, after, Write{Name: "c", State: Paused, IfRevision: -1, RequestID: "r2"}, 0)
	third := put(t, after, Write{Name: "c", State: Running, IfRevision: -1, RequestID: "r3"}, 0)

	wantVerdict(t, before, third, replica.Refused)
	wantVerdict(t, before, again(t, after), replica.Refused)
	wantVerdict(t, after, again(t, before), replica.Accepted)
	wantVerdict(t, before, again(t, after), replica.Same)
	for _, f := range []*Configs{before, after} {
		if c, _ := f.View("c"); c.Epoch != 2 || c.Config["n"] != "2" {
			t.Errorf("got %+v, want epoch 2", c)
		}
	}
}

func TestAConnectorWhoseNewestConfigWasLostIsHealedByWritingItAgain(t *testing.T) {
	config := map[string]string{"n": "1"}
	cases := map[string]struct {
		tasksOf int64 // the epoch of a task set that outlived its config
		floor   int64 // what the cluster log and the other stores know
		want    int64
	}{
		"nothing was lost":                      {want: 1},
		"tasks of a newer epoch are there":      {tasksOf: 3, want: 4},
		"others know a newer epoch":             {floor: 5, want: 6},
		"others know the epoch that it is at":   {floor: 1, want: 1},
		"others know less than the task set is": {tasksOf: 3, floor: 2, want: 4},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := NewConfigs()
			put(t, f, Write{Name: "c", Config: config, IfRevision: -1, RequestID: "r1"}, 0)
			if tc.tasksOf > 0 {
				wantVerdict(t, f, recordOf(&tasksValue{V: 1, Name: "c", Epoch: tc.tasksOf, Tasks: []map[string]string{{}}, ID: "x"}), replica.Accepted)
				if _, _, err := f.Publish("c", 1, []map[string]string{{}}, "y"); !errors.Is(err, ErrConfigLost) {
					t.Errorf("publishing tasks gave %v, want %v", err, ErrConfigLost)
				}
			}
			put(t, f, Write{Name: "c", Config: config, IfRevision: -1, RequestID: "r2"}, tc.floor)
			c, _ := f.View("c")
			if c.Epoch != tc.want {
				t.Errorf("written again at epoch %d, want %d", c.Epoch, tc.want)
			}
			if next, _, err := f.Publish("c", c.Epoch, []map[string]string{{}}, "z"); next == nil || err != nil {
				t.Errorf("publishing tasks gave %v, %v", next, err)
			}
		})
	}
}
