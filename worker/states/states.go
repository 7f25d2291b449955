// Package states names the states of connectors and tasks: what users want, and what workers observe. The words are
// what is stored in topics and what the REST API answers with, so none of them changes.
package states

// Wanted is what a user wants of a connector. "" wants nothing: a change leaves what is wanted as it is.
type Wanted string

// What can be wanted.
const (
	WantRunning Wanted = "Running"
	// WantPaused keeps tasks with their workers but moves nothing.
	WantPaused Wanted = "Paused"
	// WantStopped has no tasks; config and positions are kept.
	WantStopped Wanted = "Stopped"
)

// Known says whether it is one of those that can be wanted; "" is not.
func (w Wanted) Known() bool { return w == WantRunning || w == WantPaused || w == WantStopped }

// Observed is what workers see of a connector or task. A worker of another version may have stored other words.
type Observed string

// What is observed.
const (
	Running Observed = "Running"
	Paused  Observed = "Paused"
	Stopped Observed = "Stopped"
	Failed  Observed = "Failed"
	// Unassigned means that no worker has it just now, or that the one that has it has not opened it yet.
	Unassigned Observed = "Unassigned"
	// Restarting means that it failed and waits for its next attempt.
	Restarting Observed = "Restarting"
)
