//go:build !race

package segment

const (
	raceEnabled = false
	sweepStep   = 1
)
