package main

import (
	"testing"

	"github.com/rocketmq-connect/operator/test/audit"
)

func TestATaskHasMovedWhenItsOwnerIsAnother(t *testing.T) {
	in := func(worker string, generation, attempt int64) audit.Interval {
		return audit.Interval{Task: audit.Task{Connector: "in"}, Worker: worker, Generation: generation, Attempt: attempt, Open: true}
	}
	cases := map[string]struct {
		after []audit.Interval
		moved int
		anew  int
	}{
		"it runs on":                  {after: []audit.Interval{in("W1", 3, 1)}},
		"it began again":              {after: []audit.Interval{in("W1", 3, 2)}, anew: 1},
		"another worker runs it":      {after: []audit.Interval{in("W2", 4, 1)}, moved: 2},
		"it was given up and retaken": {after: []audit.Interval{in("W1", 4, 1)}, moved: 2},
		"nobody runs it":              {moved: 1},
	}
	for name, tc := range cases {
		moved, anew := compare([]audit.Interval{in("W1", 3, 1)}, tc.after)
		if len(moved) != tc.moved || anew != tc.anew {
			t.Errorf("%s: moved %v, %d anew", name, moved, anew)
		}
	}
}
