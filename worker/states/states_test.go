package states

import "testing"

func TestOnlyRunningPausedAndStoppedCanBeWanted(t *testing.T) {
	for word, want := range map[Wanted]bool{
		"Running": true, "Paused": true, "Stopped": true,
		"": false, "running": false, Wanted(Failed): false, Wanted(Unassigned): false, Wanted(Restarting): false,
	} {
		if got := word.Known(); got != want {
			t.Errorf("%q is known: %t", word, got)
		}
	}
}

func TestWhatIsWantedIsObservedUnderTheSameWord(t *testing.T) {
	for wanted, observed := range map[Wanted]Observed{WantRunning: Running, WantPaused: Paused, WantStopped: Stopped} {
		if string(wanted) != string(observed) {
			t.Errorf("%q is observed as %q", wanted, observed)
		}
	}
}
