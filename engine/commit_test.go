package engine

import (
	"runtime"
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
