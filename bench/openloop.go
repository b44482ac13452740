package bench

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"time"
)

// openLoopWorkers bounds the operations in flight of an open loop. What is due
// while all are taken waits, and its wait counts.
const openLoopWorkers = 2048

// OpenLoop starts operations at perSecond for d whether or not those before are
// done, as independent callers do: the gaps between them are random, the same
// ones each time. A latency is counted from the moment at which the operation
// was due, so a store that falls behind is charged for all who wait.
func OpenLoop(perSecond float64, d time.Duration, op func(worker, turn int) error) (CrowdResult, error) {
	if !(perSecond > 0) {
		return CrowdResult{}, fmt.Errorf("open loop of %v operations a second", perSecond)
	}
	var (
		due     = make(chan time.Time, openLoopWorkers)
		done    sync.WaitGroup
		results = make([]CrowdResult, openLoopWorkers)
		errs    = make([]error, openLoopWorkers)
	)
	for w := range openLoopWorkers {
		done.Go(func() {
			for at := range due {
				if errs[w] != nil {
					continue // drained, so that the dispatcher never hangs
				}
				errs[w] = op(w, int(results[w].Operations))
				results[w].Latency.add(int64(time.Since(at)))
				results[w].Operations++
			}
		})
	}
	began := time.Now()
	dispatch(due, began, perSecond, d)
	close(due)
	done.Wait()
	total := CrowdResult{Elapsed: time.Since(began)}
	for i := range results {
		total.Operations += results[i].Operations
		total.Latency.merge(&results[i].Latency)
	}
	return total, errors.Join(errs...)
}

// dispatch sends the times at which operations are due, when they are due.
func dispatch(due chan<- time.Time, began time.Time, perSecond float64, d time.Duration) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	random := rand.New(rand.NewPCG(3, 3))
	for at := time.Duration(0); at < d; at += time.Duration(random.ExpFloat64() / perSecond * 1e9) {
		if wait := at - time.Since(began); wait > 0 {
			pause(wait)
		}
		due <- began.Add(at)
	}
}
