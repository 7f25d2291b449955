//go:build !race

package member

const (
	simSeeds    = 500
	raceEnabled = false
)
