//go:build race

package segment

// Under the race detector pools lose what they hold, by design, and sweeps
// over every byte take a minute: they look at one byte in sweepStep.
const (
	raceEnabled = true
	sweepStep   = 17
)
