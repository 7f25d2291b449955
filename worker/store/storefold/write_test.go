package storefold

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/keyedlog/replica"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/states"
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
	if got, err := f.Apply(rmq.Entry{Key: r.Key, Value: r.Value}); got != want || err != nil {
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

// Two workers hold what was written before and after a loss: whatever they publish again in whatever order, both end up
// with the newer epoch.
func TestConfigsOfTwoSidesOfALossConverge(t *testing.T) {
	config := func(n string) map[string]string { return map[string]string{"n": n} }
	before, after := NewConfigs(), NewConfigs()
	first := put(t, before, Write{Name: "c", Config: config("1"), IfRevision: -1, RequestID: "r1"}, 0)
	wantVerdict(t, after, first, replica.Accepted)
	put(t, before, Write{Name: "c", Config: config("2"), IfRevision: -1, RequestID: "lost"}, 0)
	put(t, after, Write{Name: "c", State: states.WantPaused, IfRevision: -1, RequestID: "r2"}, 0)
	third := put(t, after, Write{Name: "c", State: states.WantRunning, IfRevision: -1, RequestID: "r3"}, 0)

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

// A restart is there until its owner has read it, however many came after it.
func TestRestartsOfOneTaskLeaveThoseOfOthers(t *testing.T) {
	config := map[string]string{"n": "1"}
	ask := func(id string, task int) Write {
		return Write{Name: "c", IfRevision: -1, RequestID: id, Restart: &Restart{Task: task}}
	}
	change := func(w Write) Write {
		w.Name, w.IfRevision, w.RequestID = "c", -1, "change"
		return w
	}
	cases := map[string]struct {
		before string // a restart that a worker of an older version wrote
		writes []Write
		want   map[int]string
	}{
		"none": {},
		"of one task after another": {
			writes: []Write{ask("r0", 0), ask("r1", 1), ask("r2", 2)},
			want:   map[int]string{0: "r0", 1: "r1", 2: "r2"},
		},
		"of the same task: the newest": {
			writes: []Write{ask("r0", 0), ask("r1", 1), ask("again", 0)},
			want:   map[int]string{0: "again", 1: "r1"},
		},
		"of one task after all": {writes: []Write{ask("all", -1), ask("r1", 1)}, want: map[int]string{-1: "all", 1: "r1"}},
		"of all after one task, and one again": {
			writes: []Write{ask("r0", 0), ask("r1", 1), ask("all", -1), ask("r2", 1)},
			want:   map[int]string{-1: "all", 1: "r2"},
		},
		"a pause keeps them": {
			writes: []Write{ask("r0", 0), ask("r1", 1), change(Write{State: states.WantPaused})},
			want:   map[int]string{0: "r0", 1: "r1"},
		},
		"a new epoch has none": {
			writes: []Write{ask("r0", 0), ask("r1", 1), change(Write{Config: map[string]string{"n": "2"}})},
		},
		"a deletion has none": {writes: []Write{ask("r0", 0), change(Write{Delete: true})}},
		"an older version's of a task": {
			before: `{"id":"old","task":0}`,
			writes: []Write{ask("r1", 1)},
			want:   map[int]string{0: "old", 1: "r1"},
		},
		"an older version's of all": {before: `{"id":"old","task":-1}`, want: map[int]string{-1: "old"}},
		"an older version's of a task, and again": {
			before: `{"id":"old","task":0}`,
			writes: []Write{ask("r0", 0)},
			want:   map[int]string{0: "r0"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := NewConfigs()
			put(t, f, Write{Name: "c", Config: config, IfRevision: -1, RequestID: "created"}, 0)
			if tc.before != "" {
				wantVerdict(t, f, replica.Record{Key: "connector/c", Value: []byte(`{"v":1,"name":"c","config":{"n":"1"},"state":"Running","epoch":1,` +
					`"born":1,"revision":2,"replaces":1,"requests":[{"id":"old","revision":2}],"restart":` + tc.before + `}`)}, replica.Accepted)
			}
			for _, w := range tc.writes {
				put(t, f, w, 0)
			}
			late := NewConfigs() // it reads what compaction left, or what was published again
			wantVerdict(t, late, again(t, f), replica.Accepted)
			for _, f := range []*Configs{f, late} {
				c, _ := f.View("c")
				if diff := cmp.Diff(tc.want, c.Restarts); diff != "" {
					t.Errorf("restarts (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestATaskTakesTheNewestOfItsOwnRestartAndThatOfAll(t *testing.T) {
	f := NewConfigs()
	put(t, f, Write{Name: "c", Config: map[string]string{"n": "1"}, IfRevision: -1, RequestID: "created"}, 0)
	for _, step := range []struct {
		id   string
		task int
		want []string // of the connector, task 0 and task 1
	}{
		{"r0", 0, []string{"", "r0", ""}}, {"all", -1, []string{"all", "all", "all"}}, {"r1", 1, []string{"all", "all", "r1"}},
		{"all again", -1, []string{"all again", "all again", "all again"}},
	} {
		put(t, f, Write{Name: "c", IfRevision: -1, RequestID: step.id, Restart: &Restart{Task: step.task}}, 0)
		c, _ := f.View("c")
		if diff := cmp.Diff(step.want, []string{c.RestartOf(-1), c.RestartOf(0), c.RestartOf(1)}); diff != "" {
			t.Errorf("after %s (-want +got):\n%s", step.id, diff)
		}
	}
}

// What is asked for counts once it is stored: the fold and the views that it gave out stay as they are.
func TestARestartThatIsNotStoredChangesNothing(t *testing.T) {
	f := NewConfigs()
	put(t, f, Write{Name: "c", Config: map[string]string{"n": "1"}, IfRevision: -1, RequestID: "created"}, 0)
	for i, id := range []string{"r0", "r1", "r2"} {
		put(t, f, Write{Name: "c", IfRevision: -1, RequestID: id, Restart: &Restart{Task: i}}, 0)
	}
	view, _ := f.View("c")
	if _, _, err := f.Put(Write{Name: "c", IfRevision: -1, RequestID: "again", Restart: &Restart{Task: 0}}, 0, time.Unix(0, 0)); err != nil {
		t.Fatal(err)
	}
	now, _ := f.View("c")
	for what, got := range map[string]map[int]string{"the fold": now.Restarts, "an earlier view": view.Restarts} {
		if diff := cmp.Diff(map[int]string{0: "r0", 1: "r1", 2: "r2"}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
}

// A request id stands for one write: another one under it is refused, and not answered as if it had been carried out.
func TestARequestIDIsOfOneWrite(t *testing.T) {
	create := Write{Name: "c", Config: map[string]string{"a": "1"}, State: states.WantRunning, IfRevision: 0, RequestID: "me"}
	again := func(change func(*Write)) Write {
		w := Write{Name: "c", IfRevision: -1, RequestID: "me"}
		change(&w)
		return w
	}
	cases := map[string]struct {
		write   Write
		refused bool
	}{
		"the same":       {create, false},
		"another config": {again(func(w *Write) { w.Config = map[string]string{"a": "2"} }), true},
		"another state":  {again(func(w *Write) { w.State = states.WantPaused }), true},
		"a deletion":     {again(func(w *Write) { w.Delete = true }), true},
		"a restart":      {again(func(w *Write) { w.Restart = &Restart{Task: 0} }), true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := NewConfigs()
			put(t, f, create, 0)
			r, current, err := f.Put(tc.write, 0, time.Unix(0, 0))
			if r != nil || errors.Is(err, ErrInvalid) != tc.refused || !tc.refused && (err != nil || current.Revision != 1) {
				t.Errorf("record %v, revision %d, %v; want refused: %t", r, current.Revision, err, tc.refused)
			}
		})
	}
}
