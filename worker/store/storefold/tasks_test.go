package storefold

import (
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/rmq"
)

// What all tasks have alike is published once, with the connector's config: a long config times many tasks is no long
// record.
func TestTaskSetsHaveWhatTasksHaveBesides(t *testing.T) {
	long := strings.Repeat("x", 100<<10)
	config := map[string]string{"certificate": long, "more": long, "topics": "a,b"}
	whole := func(n int, own string) (out []map[string]string) {
		for i := range n {
			out = append(out, map[string]string{"certificate": long, "more": long, "topics": own + strconv.Itoa(i), "task": strconv.Itoa(i)})
		}
		return out
	}
	cases := map[string]struct {
		tasks   []map[string]string
		refused bool
	}{
		"two tasks":                         {tasks: whole(2, "a")},
		"a thousand tasks of a long config": {tasks: whole(1024, "a")},
		"a thousand tasks that differ by a long list each": {tasks: whole(1024, strings.Repeat("t", 2<<10)), refused: true},
		"a task without a setting of the connector's":      {tasks: []map[string]string{{"task": "0"}}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := NewConfigs()
			put(t, f, Write{Name: "c", Config: config, RequestID: "r"}, 0)
			r, _, err := f.Publish("c", 1, tc.tasks, "id")
			if tc.refused {
				if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "1024 tasks") {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Value) > maxTaskSet {
				t.Errorf("a record of %d bytes", len(r.Value))
			}
			if _, err := f.Apply(rmq.Entry{Key: r.Key, Value: r.Value}); err != nil {
				t.Fatal(err)
			}
			got, _ := f.View("c")
			if len(got.Tasks) != len(tc.tasks) {
				t.Fatalf("%d tasks", len(got.Tasks))
			}
			for i, task := range tc.tasks {
				want := map[string]string{"certificate": long, "more": long, "topics": "a,b"}
				for k, v := range task {
					want[k] = v
				}
				if diff := cmp.Diff(want, got.TaskConfig(i)); diff != "" {
					t.Fatalf("task %d (-want +got):\n%s", i, diff)
				}
			}
		})
	}
}
