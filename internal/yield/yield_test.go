package yield

import (
	"testing"
	"time"
)

// Work of pieces of 20 µs has at least half of the time, whoever else is there;
// and waits for no more than one of its pieces where others are short.
func TestYieldSharesTime(t *testing.T) {
	const piece, pieces = 20 * time.Microsecond, 1000
	for _, others := range []time.Duration{0, time.Microsecond, 30 * time.Microsecond, 10 * time.Millisecond, 40 * time.Millisecond} {
		var now time.Time
		turns := 0
		y := Yielder{now: func() time.Time { return now }, let: func() { now = now.Add(others); turns++ }}
		for range pieces {
			y.Yield()
			now = now.Add(piece)
		}
		work, waited := pieces*piece, time.Duration(turns)*others
		if waited > work+others {
			t.Errorf("others take %v each time: %v of work waited for %v", others, work, waited)
		}
		if others <= piece && turns != pieces {
			t.Errorf("others take %v each time, and have %d turns beside %d pieces of %v, want as many", others, turns, pieces, piece)
		}
	}
}
