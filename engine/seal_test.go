package engine_test

import (
	"testing"
	"time"

	"github.com/seglog/seglog/engine"
)

// A follower sees an event that was synced long after it was appended, though
// nothing is appended behind it.
func TestFollowerSeesTheLastEventOnceItIsSynced(t *testing.T) {
	for _, opts := range []engine.Options{{Sync: engine.SyncInterval, SyncEvery: time.Second}, {Sync: engine.SyncNever}} {
		dir, topic := t.TempDir(), engine.MustTopic("t")
		log, err := engine.Open(dir, opts)
		if err != nil {
			t.Fatal(err)
		}
		follower, err := engine.Open(dir, engine.Options{ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := log.Append(t.Context(), topic, mustEvent(t, "k", 1)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(500 * time.Millisecond) // longer than until a seal
		if opts.Sync == engine.SyncNever {
			if err := log.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		latest := engine.EventID(0)
		for start := time.Now(); latest == 0 && time.Since(start) < 10*time.Second; time.Sleep(10 * time.Millisecond) {
			if latest, _, err = follower.Latest(t.Context(), topic); err != nil {
				t.Fatal(err)
			}
		}
		if latest != 1 {
			t.Errorf("policy %d: the follower's latest event is %d, want 1", opts.Sync, latest)
		}
		if err := follower.Close(); err != nil {
			t.Fatal(err)
		}
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
