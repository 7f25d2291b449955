package track

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/record"
)

func TestOnlyAFlushMovesWhatASinkMayStore(t *testing.T) {
	m := NewMarks()
	if m.Flushed() {
		t.Error("a flush of nothing moved something")
	}
	m.Put("q0", "5")
	m.Put("q0", "9")
	m.Put("q1", "3")
	if got := m.Positions(); len(got) > 0 {
		t.Errorf("before the flush %v may be stored, want nothing", got)
	}
	if !m.Pending() {
		t.Error("nothing waits for the flush")
	}
	if !m.Flushed() || m.Pending() {
		t.Error("the flush moved nothing, or left something")
	}
	m.Put("q1", "4")
	if diff := cmp.Diff(record.Positions{"q0": "9", "q1": "3"}, m.Positions()); diff != "" {
		t.Errorf("what may be stored (-want +got):\n%s", diff)
	}
	if m.Flushed(); m.Flushed() {
		t.Error("a second flush moved something")
	}
	if diff := cmp.Diff(record.Positions{"q0": "9", "q1": "4"}, m.Positions()); diff != "" {
		t.Errorf("what may be stored (-want +got):\n%s", diff)
	}
}
