package engine_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/seglog/seglog/engine"
)

func mustEvent(t testing.TB, kind string, payload any) engine.Event {
	t.Helper()
	ev, err := engine.NewEvent(kind, payload)
	if err != nil {
		t.Fatal(err)
	}
	return ev
}

func mustOpen(t testing.TB, dir string, o engine.Options) *engine.Engine {
	t.Helper()
	log, err := engine.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return log
}

// TestReadOnlyFollowsWriter reads beside a running writer that checkpoints and
// recycles all the time, and misses nothing.
func TestReadOnlyFollowsWriter(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	dir := t.TempDir()
	tiny := engine.Options{WALBytes: 256 << 10, SegmentBytes: 16 << 10, BlockBytes: 512, TailBytes: 16 << 10}
	w := mustOpen(t, dir, tiny)
	topic := engine.MustTopic("jobs")
	const total = 3000
	for i := range 10 {
		if _, err := w.Append(ctx, topic, mustEvent(t, "job", i+1)); err != nil {
			t.Fatal(err)
		}
	}
	r := mustOpen(t, dir, engine.Options{ReadOnly: true})
	defer r.Close()
	if _, err := r.Append(ctx, topic, mustEvent(t, "job", 0)); err == nil {
		t.Fatal("a read-only log took an append")
	}
	failed := make(chan error, 1)
	go func() {
		for i := 10; i < total; i++ {
			if _, err := w.Append(ctx, topic, mustEvent(t, "job", i+1)); err != nil {
				failed <- err
				return
			}
		}
		failed <- w.Close()
	}()
	next := 1
	for rec, err := range r.Subscribe(ctx, topic, engine.SubscribeOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		if rec.ID != engine.EventID(next) || string(rec.Payload) != fmt.Sprint(next) {
			t.Fatalf("event %d has payload %s, want event %d", rec.ID, rec.Payload, next)
		}
		if next == total {
			break
		}
		next++
	}
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
}
