package storefold

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rocketmq-connect/operator/worker/keyedlog/replica"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/states"
)

const password = "hunter2"

// tasksOf is a task set with a password, as the owner of an epoch publishes it.
func tasksOf(epoch int64, id string) replica.Record {
	return asRecord(&tasksValue{V: 1, Name: "c", Epoch: epoch, Tasks: []map[string]string{{"url": password}}, ID: id})
}

func published(r replica.Record) replica.Record {
	r.Value = []byte(strings.TrimSuffix(string(r.Value), "}") + `,"republished":true}`)
	return r
}

// life is the records of a connector: made with a password at epoch 1, changed at 2, deleted at 3.
func life(t *testing.T) (made, changed, deleted replica.Record) {
	t.Helper()
	f := NewConfigs()
	made = put(t, f, Write{Name: "c", Config: map[string]string{"password": password}, IfRevision: -1, RequestID: "r1"}, 0)
	changed = put(t, f, Write{Name: "c", Config: map[string]string{"password": "another"}, IfRevision: -1, RequestID: "r2"}, 0)
	return made, changed, put(t, f, Write{Name: "c", Delete: true, IfRevision: -1, RequestID: "r3"}, 0)
}

// Nothing of a deleted connector's config, nor of a task set whose epoch is over, is left to be published again, in
// whatever order records come, and the epochs are still known.
func TestWhatIsOverIsErased(t *testing.T) {
	made, changed, deleted := life(t)
	first, second, late := tasksOf(1, "x"), tasksOf(2, "y"), tasksOf(3, "z")
	cases := map[string]struct {
		log        []replica.Record
		wantEpoch  int64 // of the task set
		wantHidden bool  // by a record of another key
	}{
		"deleted":                                {[]replica.Record{made, first, changed, second, deleted}, 2, true},
		"deleted before its tasks were made":     {[]replica.Record{made, changed, deleted, second}, 2, false},
		"deleted, and its tasks published again": {[]replica.Record{made, changed, second, deleted, published(second)}, 2, true},
		"deleted, and tasks of that very epoch":  {[]replica.Record{made, changed, deleted, late}, 3, false},
		"read from behind its making":            {[]replica.Record{second, published(deleted)}, 2, true},
		"read in the other order":                {[]replica.Record{published(deleted), published(second)}, 2, false},
		"older tasks after newer ones":           {[]replica.Record{published(deleted), second, first}, 2, false},
		"changed":                                {[]replica.Record{made, first, changed}, 1, true},
		"changed, and its old tasks come late":   {[]replica.Record{made, changed, first}, 1, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := NewConfigs()
			apply(f, tc.log)
			for key, value := range state(f) {
				if strings.Contains(value, password) {
					t.Errorf("%s is published again as %s", key, value)
				}
			}
			wantEqual(t, f.tasksEpoch("c"), tc.wantEpoch)
			wantEqual(t, slices.Contains(f.Hidden(), "tasks/c"), tc.wantHidden)
			wantEqual(t, f.Hidden(), []string(nil))
			value, ok := f.Current("tasks/c")
			if !ok {
				t.Fatal("nothing is published over the task set")
			}
			newcomer := NewConfigs()
			apply(newcomer, append(tc.log, replica.Record{Key: "tasks/c", Value: value}))
			wantState(t, 0, "what is published again is something else to a newcomer", newcomer, f)
		})
	}
}

// A connector that is made again begins above its former life, and its tasks are its own.
func TestADeletedConnectorIsMadeAgain(t *testing.T) {
	made, changed, deleted := life(t)
	f := NewConfigs()
	apply(f, []replica.Record{made, changed, tasksOf(2, "y"), deleted})
	put(t, f, Write{Name: "c", Config: map[string]string{"a": "1"}, RequestID: "again"}, 0)
	view, _ := f.View("c")
	wantEqual(t, view.Epoch, int64(4))
	wantEqual(t, view.Tasks, []map[string]string(nil))
	publish(t, f, 4, "new")
	wantVerdict(t, f, published(tasksOf(2, "y")), replica.Refused)
	view, _ = f.View("c")
	wantEqual(t, view.Tasks, []map[string]string{{"n": "new"}})
}

// A task set whose config is lost everywhere is left, for the config may come back; it goes once the connector is made
// again.
func TestATaskSetWithoutItsConfigGoesWithTheNextLife(t *testing.T) {
	made, changed, deleted := life(t)
	f := NewConfigs()
	apply(f, []replica.Record{made, changed, deleted, tasksOf(4, "of a lost life")})
	put(t, f, Write{Name: "c", Config: map[string]string{"a": "1"}, RequestID: "again"}, 0)
	view, _ := f.View("c")
	wantEqual(t, view.Epoch, int64(5))
	if value, _ := f.Current("tasks/c"); strings.Contains(string(value), password) {
		t.Errorf("the task set is %s", value)
	}
}

// Where the topic lost the config that ended an epoch, who still holds it says that the tasks are over, and who does
// not runs them: they go on until the config is there.
func TestTasksOfAnEpochThatIsNotOverHereAreKept(t *testing.T) {
	made, changed, _ := life(t)
	before := NewConfigs()
	apply(before, []replica.Record{made, tasksOf(1, "x"), changed})
	erased, _ := before.Current("tasks/c")
	f := NewConfigs()
	apply(f, []replica.Record{made, tasksOf(1, "x")})
	running, _ := f.View("c")
	wantVerdict(t, f, replica.Record{Key: "tasks/c", Value: erased}, replica.Refused)
	view, _ := f.View("c")
	wantEqual(t, view.Tasks, running.Tasks)
	apply(f, []replica.Record{changed})
	wantVerdict(t, f, replica.Record{Key: "tasks/c", Value: erased}, replica.Same)
	value, _ := f.Current("tasks/c")
	wantEqual(t, string(value), string(erased))
}

// A connector that was made where everything was lost begins with the first revision. Who still holds the lost one
// takes it, however high the lost one's revision is: epochs order what revisions cannot.
func TestAConnectorThatWasMadeAfterALossTakesThePlaceOfTheLostOne(t *testing.T) {
	lost, fresh := NewConfigs(), NewConfigs()
	for i := range 3 {
		put(t, lost, Write{Name: "c", Config: map[string]string{"a": strconv.Itoa(i)}, IfRevision: -1, RequestID: fmt.Sprint("lost", i)}, 0)
	}
	held, _ := lost.View("c")
	made, _, err := fresh.Put(
		Write{Name: "c", Config: map[string]string{"a": "1"}, IfRevision: -1, RequestID: "fresh"},
		held.Epoch,
		time.Unix(0, 0),
	)
	if err != nil {
		t.Fatal(err)
	}
	wantVerdict(t, lost, *made, replica.Accepted)
	view, _ := lost.View("c")
	wantEqual(t, []int64{view.Epoch, view.Revision}, []int64{held.Epoch + 1, 1})
}

func publish(t *testing.T, f *Configs, epoch int64, n string) {
	t.Helper()
	r, _, err := f.Publish("c", epoch, []map[string]string{{"n": n}}, n)
	if err != nil || r == nil {
		t.Fatalf("publishing gives %v, %v", r, err)
	}
	wantVerdict(t, f, *r, replica.Accepted)
}

// Files are written at once where something was erased, and only there.
func TestErasuresAreCounted(t *testing.T) {
	made, changed, deleted := life(t)
	f := NewConfigs()
	for _, step := range []struct {
		record replica.Record
		want   int64
	}{
		{made, 0}, {tasksOf(1, "x"), 0}, {published(tasksOf(1, "x")), 0},
		{changed, 2}, {tasksOf(2, "y"), 2}, {tasksOf(2, "other"), 2}, {published(tasksOf(2, "other")), 3},
		{deleted, 5}, {tasksOf(2, "y"), 5}, {published(deleted), 5},
	} {
		_, _ = f.Apply(rmq.Entry{Key: step.record.Key, Value: step.record.Value})
		if got := f.Erasures(); got != step.want {
			t.Errorf("%d erasures after %s, want %d", got, step.record.Value, step.want)
		}
	}
	put(t, f, Write{Name: "d", Config: map[string]string{"a": "1"}, RequestID: "1"}, 0)
	put(t, f, Write{Name: "d", State: states.WantPaused, IfRevision: -1, RequestID: "2"}, 0)
	wantEqual(t, f.Erasures(), int64(5))
}
