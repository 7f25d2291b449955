//go:build !race

package member

const (
	simSeeds    = 100
	raceEnabled = false
)
