//go:build race

package member

// simSeeds is lower here: the machine has no concurrency for the race detector to look at.
const (
	simSeeds    = 30
	raceEnabled = true
)
