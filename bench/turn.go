package bench

import (
	"runtime"
	"time"
)

// Turn is what one store did in one turn. Allocations and processor time are of
// the whole process, an operation.
type Turn struct {
	CrowdResult
	Allocs float64
	CPU    time.Duration
}

// TakeTurn runs op on workers in a closed loop: for a fifth of d as a warm-up,
// and then for d, which is measured.
func TakeTurn(workers int, d time.Duration, op func(worker, turn int) error) (Turn, error) {
	if _, err := Crowd(workers, During(d/5), op); err != nil {
		return Turn{}, err
	}
	return Count(func() (CrowdResult, error) { return Crowd(workers, During(d), op) })
}

// Count runs something and says what an operation of it costs.
func Count(run func() (CrowdResult, error)) (Turn, error) {
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	cpu := ProcessTime()
	result, err := run()
	cpu = ProcessTime() - cpu
	runtime.ReadMemStats(&after)
	operations := float64(max(1, result.Operations))
	return Turn{
		CrowdResult: result,
		Allocs:      float64(after.Mallocs-before.Mallocs) / operations,
		CPU:         time.Duration(float64(cpu) / operations),
	}, err
}
