//go:build race

package member

// simSeeds is lower here: the machine has no concurrency for the race detector to look at.
const (
	simSeeds    = 60
	raceEnabled = true
)
