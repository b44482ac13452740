package engine

import (
	"encoding/json"
	"math/rand/v2"
	"runtime"
	"testing"
)

// A checkpoint of few, large events does not have all of them in memory once
// more, and compressed beside that.
func TestCheckpointOfLargeEventsTakesLittleMemory(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(8))
	const events, size = 12, 4 << 20
	e, err := Open(t.TempDir(), Options{Sync: SyncNever, TailBytes: 1 << 30, WALBytes: 512 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	payload := make([]byte, size)
	for i := range payload {
		payload[i] = byte('a' + rand.IntN(26))
	}
	payload[0], payload[size-1] = '"', '"'
	for range events {
		if _, err := e.Append(t.Context(), MustTopic("t"), Event{Kind: "k", Payload: json.RawMessage(payload)}); err != nil {
			t.Fatal(err)
		}
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := e.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	got := (after.TotalAlloc - before.TotalAlloc) >> 20
	if got > 5*events*size>>21 { // 3 times as much where several are ready
		t.Errorf("a checkpoint of %d MiB allocates %d", events*size>>20, got)
	}
}
