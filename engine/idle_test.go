package engine_test

import (
	"context"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seglog/seglog/engine"
)

// A subscriber that has caught up and waits needs no block of the history that
// it has read, and nothing that was read ahead for it.
func TestIdleSubscribersHoldNoBlocks(t *testing.T) {
	const subscribers, events = 200, 3000
	dir, topic := t.TempDir(), engine.MustTopic("t")
	log, err := engine.Open(dir, engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	batch := make([]engine.Event, events)
	for i := range batch {
		batch[i] = mustEvent(t, "k", strings.Repeat("x", 300))
	}
	if _, _, err := log.AppendBatch(t.Context(), topic, batch); err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	if log, err = engine.Open(dir, engine.Options{}); err != nil {
		t.Fatal(err)
	}
	defer log.Close()

	before := liveHeap()
	ctx, cancel := context.WithCancel(t.Context())
	var ready, gone sync.WaitGroup
	ready.Add(subscribers)
	for range subscribers {
		gone.Go(func() {
			got := 0
			for _, err := range log.Subscribe(ctx, topic, engine.SubscribeOptions{}) {
				if err != nil {
					return
				}
				if got++; got == events {
					ready.Done()
				}
			}
		})
	}
	defer gone.Wait()
	defer cancel()
	ready.Wait()
	each := int64(0)
	for start := time.Now(); time.Since(start) < 30*time.Second; { // until all have begun to wait
		if each = (liveHeap() - before) / subscribers; each <= 16<<10 {
			return
		}
	}
	t.Errorf("%d bytes for each idle subscriber, want less than a block", each)
}

func liveHeap() int64 {
	var m runtime.MemStats
	for range 3 { // what pools keep goes with the second
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// The next file of the write-ahead log is made before it is needed: whoever
// needs it would wait until it is zeroed and synced.
func TestNextFileOfTheWALIsMadeAhead(t *testing.T) {
	log, err := engine.Open(t.TempDir(), engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	topic := engine.MustTopic("t")
	for range 100 { // of a page each
		if _, err := log.Append(t.Context(), topic, mustEvent(t, "k", "x")); err != nil {
			t.Fatal(err)
		}
	}
	used, first := log.Stats().WALBytes, int64(1<<20)
	if used >= first {
		t.Fatalf("%d bytes are used, so the first file is full", used)
	}
	for end := time.Now().Add(30 * time.Second); log.Stats().WALDiskBytes == first; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("there is no second file, with %d of %d bytes used", used, first)
		}
	}
}
