// Package yield lets other goroutines run.
package yield

import (
	"runtime"
	"time"
)

// Yielder is for work that takes long and is done in small pieces. Its zero
// value is ready.
type Yielder struct {
	free time.Time // until then the processor is ours
	now  func() time.Time
	let  func()
}

// Yield lets whoever is ready to run go first. Those who only have something
// short to do take next to no time. Those who compute keep a processor for ten
// milliseconds each: then the work goes on for as long as they have taken before
// it lets them go first again. Were it done a piece at a time, as many of them as
// there are processors would bring it to a standstill.
func (y *Yielder) Yield() {
	if y.now == nil {
		y.now, y.let = time.Now, runtime.Gosched
	}
	began := y.now()
	if began.Before(y.free) {
		return
	}
	y.let()
	ended := y.now()
	y.free = ended.Add(ended.Sub(began))
}
