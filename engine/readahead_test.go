package engine_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"testing"

	"github.com/seglog/seglog/engine"
)

// longTopic is a closed log with a topic of so many blocks that a read of it
// reads ahead. The payload of event n is n.
func longTopic(t *testing.T, events int, segmentBytes int64) (dir string, opts engine.Options) {
	t.Helper()
	dir = t.TempDir()
	opts = engine.Options{BlockBytes: 512, SegmentBytes: segmentBytes, Compression: engine.CompressionNone}
	log, err := engine.Open(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	batch := make([]engine.Event, events)
	for i := range batch {
		batch[i] = mustEvent(t, "k", i+1)
	}
	if _, _, err := log.AppendBatch(t.Context(), engine.MustTopic("long"), batch); err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, opts
}

func TestLongReadsStopAtDamageAndGoOnBehindIt(t *testing.T) {
	const events = 20_000
	dir, opts := longTopic(t, events, 16<<10)
	files, err := filepath.Glob(filepath.Join(dir, "seg", "*.seg"))
	if err != nil || len(files) < 5 {
		t.Fatalf("%d segments, %v: want several", len(files), err)
	}
	for _, name := range []string{files[1], files[len(files)-2]} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)/2] ^= 1
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	log, err := engine.Open(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	next, damaged := engine.EventID(1), 0
	for again := true; again; {
		again = false
		for r, err := range log.ReadRaw(t.Context(), engine.MustTopic("long"), engine.ReadOptions{After: next - 1}) {
			var bad *engine.CorruptError
			if errors.As(err, &bad) {
				if bad.FirstID != next || bad.LastID < next || bad.LastID > next+200 {
					t.Fatalf("damage of events %d to %d is reported, want them from %d on, and few", bad.FirstID, bad.LastID, next)
				}
				damaged++
				next, again = bad.LastID+1, true
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if r.ID != next || string(r.Payload) != strconv.FormatUint(uint64(next), 10) {
				t.Fatalf("got event %d with payload %s, want %d", r.ID, r.Payload, next)
			}
			next++
		}
	}
	if next != events+1 || damaged != 2 {
		t.Errorf("read up to event %d with %d damages, want %d with 2", next-1, damaged, events)
	}
}

// Readers run, begin in the middle and stop early, while a compaction takes
// what they read ahead.
func TestLongReadsBesideCompaction(t *testing.T) {
	const events = 20_000
	dir, opts := longTopic(t, events, 16<<10)
	log, err := engine.Open(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	topic := engine.MustTopic("long")
	var readers sync.WaitGroup
	for i := range 4 {
		readers.Go(func() {
			for round := range 20 {
				next := engine.EventID(i*1000 + round*300 + 1)
				for r, err := range log.Read(t.Context(), topic, engine.ReadOptions{After: next - 1}) {
					var gone *engine.CompactedError
					if errors.As(err, &gone) && gone.First > next {
						break
					}
					if err != nil {
						t.Errorf("reading event %d: %v", next, err)
						return
					}
					if r.ID < next || string(r.Payload) != strconv.FormatUint(uint64(r.ID), 10) {
						t.Errorf("got event %d with payload %s, want %d or, where it was compacted, a later one", r.ID, r.Payload, next)
						return
					}
					if next = r.ID + 1; next%5000 == engine.EventID(round) {
						break
					}
				}
			}
		})
	}
	for before := engine.EventID(500); before < events; before += 500 {
		if _, err := log.Compact(t.Context(), topic, before); err != nil {
			t.Fatal(err)
		}
	}
	readers.Wait()
}

// A loop that is left with break has not asked for the next step: what it was
// lent last stays as it is.
func TestRawRecordStaysAfterBreak(t *testing.T) {
	dir, opts := longTopic(t, 3000, 16<<10)
	e, err := engine.Open(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	topic := engine.MustTopic("long")
	for range 50 {
		var kept engine.RawRecord
		for r, err := range e.ReadRaw(t.Context(), topic, engine.ReadOptions{After: 100}) {
			if err != nil {
				t.Fatal(err)
			}
			kept = r
			break
		}
		was := string(kept.Payload)
		for _, err := range e.Read(t.Context(), topic, engine.ReadOptions{After: 2000, Limit: 1}) {
			if err != nil {
				t.Fatal(err)
			}
		}
		if string(kept.Payload) != was {
			t.Fatalf("event %d was %.10q, and is %.10q after a read of something else", kept.ID, was, kept.Payload)
		}
	}
}

// Logs share the memory of what they read ahead: a goroutine that comes so late
// that its run is another log's by now must not touch the files of its own.
func TestRunsThatWereDroppedGoToOtherLogs(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // goroutines come late
	dir, opts := longTopic(t, 20_000, 1<<20)
	opts.ReadOnly = true
	open := func() *engine.Engine {
		log, err := engine.Open(dir, opts)
		if err != nil {
			t.Fatal(err)
		}
		return log
	}
	logs := []*engine.Engine{open(), open()}
	for i := range 200 {
		n := 0
		for _, err := range logs[i%2].ReadRaw(t.Context(), engine.MustTopic("long"), engine.ReadOptions{}) {
			if err != nil {
				t.Fatal(err)
			}
			if n++; n > 200 {
				break
			}
			if n == 190 && i%2 == 1 {
				runtime.Gosched()
			}
		}
	}
	for _, log := range logs {
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
