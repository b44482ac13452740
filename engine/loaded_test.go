package engine

import (
	"sync"
	"testing"
)

// TestIndexesForgetBlocks has room for the blocks of a few segments only, and
// reads many of them, as they grow and after reopening.
func TestIndexesForgetBlocks(t *testing.T) {
	const (
		events = 20_000
		rounds = 10
		most   = 200
	)
	dir, ctx, topic := t.TempDir(), t.Context(), MustTopic("a")
	opts := Options{Sync: SyncNever, BlockBytes: 256, SegmentBytes: 16 << 10, Compression: CompressionNone}
	open := func() *Engine {
		e, err := Open(dir, opts)
		if err != nil {
			t.Fatal(err)
		}
		e.loaded.most = most
		return e
	}
	bounded := func(e *Engine, when string, read int) {
		t.Helper()
		v := e.topic(topic).disk.Load()
		blocks := 0
		for _, s := range v.meta.segments {
			blocks = max(blocks, s.footer.Blocks)
		}
		// One segment that was read may be above the bound, one is not sealed yet,
		// and a span stands for each of the others.
		if read > 0 {
			read += blocks
		}
		if got, want := v.index.Snapshot().Len(), read+blocks+len(v.meta.segments); got > want {
			t.Errorf("%s the index has %d entries for %d segments, want at most %d", when, got, len(v.meta.segments), want)
		}
	}
	readAll := func(e *Engine) {
		next := EventID(1)
		for r, err := range e.ReadRaw(ctx, topic, ReadOptions{}) {
			if err != nil || r.ID != next {
				t.Errorf("read event %d, %v; want %d", r.ID, err, next)
				return
			}
			next++
		}
		if next != events+1 {
			t.Errorf("read up to event %d, want %d", next-1, events)
		}
	}
	e := open()
	for range rounds {
		if _, _, err := e.AppendBatch(ctx, topic, numberedEvents(events/rounds)); err != nil {
			t.Fatal(err)
		}
		if err := e.Checkpoint(ctx); err != nil {
			t.Fatal(err)
		}
	}
	bounded(e, "while it grows", 0)
	readAll(e)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = open()
	defer e.Close()
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() { readAll(e) })
	}
	readers.Wait()
	bounded(e, "after reading", most)
}
