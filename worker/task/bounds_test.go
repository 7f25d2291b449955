package task

import (
	"testing"

	"github.com/go-logr/logr"
)

func TestATopicIsMadeWithABoundedNumberOfQueues(t *testing.T) {
	for partitions, want := range map[int]int{1: 1, 1024: 1024, 5000: 1024} {
		h := newHarness(t)
		set, err := parseSettings(nil)
		if err != nil {
			t.Fatal(err)
		}
		env := h.runner.env(h.attempt(nil), set, logr.Discard(), nil, nil)
		if err := env.EnsureTopic(t.Context(), "orders", partitions); err != nil {
			t.Fatal(err)
		}
		if got, err := env.QueueCount(t.Context(), "orders"); got != want || err != nil {
			t.Errorf("%d partitions: %d queues, %v; want %d", partitions, got, err, want)
		}
	}
}
