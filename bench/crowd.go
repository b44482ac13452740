package bench

import (
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

// CrowdResult is what a crowd did.
type CrowdResult struct {
	Operations int64
	Elapsed    time.Duration
	Latency    Histogram
}

// PerSecond is the rate of operations.
func (r CrowdResult) PerSecond() float64 { return float64(r.Operations) / r.Elapsed.Seconds() }

// Crowd runs op in a closed loop on each of the given number of workers for as
// long as more allows it, and stops at the first error. Workers and each
// worker's turns count from 0. All workers start at once.
func Crowd(workers int, more func() bool, op func(worker, turn int) error) (CrowdResult, error) {
	var (
		start   = make(chan struct{})
		done    sync.WaitGroup
		failed  atomic.Bool
		once    sync.Once
		failure error
		results = make([]CrowdResult, workers)
	)
	for w := range workers {
		done.Go(func() {
			r := &results[w]
			<-start
			last := time.Now()
			for turn := 0; more() && !failed.Load(); turn++ {
				if err := op(w, turn); err != nil {
					once.Do(func() { failure = err })
					failed.Store(true)
					return
				}
				now := time.Now()
				r.Latency.add(int64(now.Sub(last)))
				r.Operations++
				last = now
			}
		})
	}
	began := time.Now()
	close(start)
	done.Wait()
	total := CrowdResult{Elapsed: time.Since(began)}
	for i := range results {
		total.Operations += results[i].Operations
		total.Latency.merge(&results[i].Latency)
	}
	return total, failure
}

// Times allows count turns in all, whoever takes them.
func Times(count int) func() bool {
	var left atomic.Int64
	left.Store(int64(count))
	return func() bool { return left.Add(-1) >= 0 }
}

// During allows turns until the duration is over, counted from the first one,
// which is always allowed.
func During(d time.Duration) func() bool {
	var began, over atomic.Bool
	return func() bool {
		if !began.Load() && began.CompareAndSwap(false, true) {
			time.AfterFunc(d, func() { over.Store(true) })
			return true
		}
		return !over.Load()
	}
}

// Histogram counts durations in steps of a sixteenth of their power of two.
type Histogram struct {
	counts [histogramSteps * (histogramPowers + 1)]uint32
}

const (
	histogramSteps  = 16
	histogramShift  = 6  // the finest step is 64 ns
	histogramPowers = 26 // up to about a minute
)

func (h *Histogram) add(nanoseconds int64) {
	h.counts[histogramSlot(nanoseconds)]++
}

func histogramSlot(nanoseconds int64) int {
	steps := uint64(max(nanoseconds, 0)) >> histogramShift
	if steps < histogramSteps {
		return int(steps)
	}
	power := bits.Len64(steps) - 5 // the top five bits of steps are 1xxxx
	slot := (power+1)*histogramSteps + int(steps>>power) - histogramSteps
	return min(slot, histogramSteps*(histogramPowers+1)-1)
}

// histogramMiddle is the duration in the middle of a slot.
func histogramMiddle(slot int) time.Duration {
	if slot < histogramSteps {
		return time.Duration(slot<<histogramShift + 1<<histogramShift/2)
	}
	power := slot/histogramSteps - 1
	low := int64(histogramSteps+slot%histogramSteps) << power
	return time.Duration((low<<histogramShift + 1<<(power+histogramShift)/2))
}

func (h *Histogram) merge(from *Histogram) {
	for i, n := range from.counts {
		h.counts[i] += n
	}
}

// Quantile returns the duration below which the fraction q of all lies; 0 where
// nothing was counted.
func (h *Histogram) Quantile(q float64) time.Duration {
	total := 0.0
	for _, n := range h.counts {
		total += float64(n)
	}
	reached, last := 0.0, 0
	for slot, n := range h.counts {
		if n == 0 {
			continue
		}
		reached, last = reached+float64(n), slot
		if reached >= q*total {
			break
		}
	}
	if total == 0 {
		return 0
	}
	return histogramMiddle(last)
}
