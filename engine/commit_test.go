package engine

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// What a flood of the smallest events leaves behind is no memory of its size.
func TestSmallEventsLeaveNoMemoryBehind(t *testing.T) {
	e, err := Open(t.TempDir(), Options{Sync: SyncNever, TailBytes: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	heap := func() int64 {
		if err := e.Checkpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
		runtime.GC()
		runtime.GC() // pools
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	flood := func(n int) {
		var last *Pending
		for range n {
			last = e.AppendAsync(t.Context(), MustTopic("t"), Event{Payload: []byte("1")})
		}
		if _, err := last.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	flood(1000)
	before := heap()
	flood(1_000_000)
	if more := heap() - before; more > 18<<20 {
		t.Errorf("%d MiB stay in memory", more>>20)
	}
}

// A leader lets those go first who are ready to run, but does not wait for those
// who compute at every group.
func TestLeadersGoOnBesideThoseWhoCompute(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var last, turns atomic.Int64
	var done atomic.Bool
	var computing sync.WaitGroup
	for who := range int64(2) {
		computing.Go(func() {
			for !done.Load() {
				if last.Swap(who+1) != who+1 {
					turns.Add(1)
				}
			}
		})
	}
	const groups = 20
	c := committer{yields: groups}
	for range groups {
		c.yield()
	}
	n := turns.Load()
	done.Store(true)
	computing.Wait()
	if n == 0 || n > groups/2 {
		t.Errorf("those who compute had the processor %d times during %d groups, want some and half as often at most", n, groups)
	}
}
