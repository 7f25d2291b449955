package lane

import "testing"

func isOver(w *Wave) bool {
	select {
	case <-w.Over():
		return true
	default:
		return false
	}
}

func TestAWaveIsOverOnceItHasEndedAndAllHasLeft(t *testing.T) {
	w := NewWave(nil)
	w.Join()
	w.Join()
	w.Leave()
	w.End()
	if isOver(w) {
		t.Error("a wave with a record left is over")
	}
	w.Leave()
	if !isOver(w) {
		t.Error("a wave that all have left is not over")
	}
	if empty := NewWave(w); isOver(empty) {
		t.Error("a wave that has not ended is over")
	}
}

func TestAWaveKnowsTheNewestBeforeItThatIsNotOver(t *testing.T) {
	first := NewWave(nil)
	second := NewWave(first)
	third := NewWave(second)
	newest := NewWave(third)
	third.End()
	if newest.Before() != second {
		t.Error("the newest wave before is not the second, which has not ended")
	}
	second.End()
	first.Join()
	first.End()
	if newest.Before() != first {
		t.Error("the newest wave before is not the first, which a record has not left")
	}
	first.Leave()
	if newest.Before() != nil {
		t.Error("there is a wave before, though all are over")
	}
}
