package answer

import (
	"strconv"
	"strings"
	"testing"

	"github.com/rocketmq-connect/operator/worker/store"
)

// A long config is not repeated for each of many tasks.
func TestTasksOfALongConfigShowWhatTheyHaveBesides(t *testing.T) {
	c := store.Connector{Config: map[string]string{"long": strings.Repeat("x", 200<<10), "a": "1"}, Tasks: make([]map[string]string, 1024)}
	for i := range c.Tasks {
		c.Tasks[i] = map[string]string{"n": strconv.Itoa(i)}
	}
	if got := TaskConfigs(c); len(got) != 1024 || len(got[7]) != 1 || got[7]["n"] != "7" {
		t.Errorf("task 7 of %d shows %d settings", len(got), len(got[7]))
	}
	c.Tasks = c.Tasks[:2]
	if got := TaskConfigs(c); len(got) != 2 || len(got[1]) != 3 {
		t.Errorf("task 1 of %d shows %d settings", len(got), len(got[1]))
	}
}
