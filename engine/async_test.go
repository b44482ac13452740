package engine_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seglog/seglog/engine"
	"github.com/seglog/seglog/internal/env"
	"github.com/seglog/seglog/internal/vfs"
)

// A group that asynchronous appends have begun is led by a goroutine of the
// engine's. A synchronous append that joins it before that goroutine has begun
// must not take itself for the leader.
func TestAppendsJoinGroupThatIsLedInTheBackground(t *testing.T) {
	e, err := engine.OpenEnv(env.OS(vfs.NewSim(1)), "sim", engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	topic := engine.MustTopic("t")
	event := mustEvent(t, "k", 1)
	var wg sync.WaitGroup
	var hung atomic.Bool
	for range 4 {
		wg.Go(func() {
			for i := 0; i < 5000 && !hung.Load(); i++ {
				p := e.AppendAsync(context.Background(), topic, event)
				if i%8 == 0 {
					if _, err := p.Wait(context.Background()); err != nil {
						t.Error(err)
					}
				}
			}
		})
		wg.Go(func() {
			for i := 0; i < 5000 && !hung.Load(); i++ {
				ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
				_, err := e.Append(ctx, topic, event)
				cancel()
				if errors.Is(err, context.DeadlineExceeded) {
					if hung.CompareAndSwap(false, true) {
						t.Error("append waited for 5 s on a disk in memory")
					}
					return
				}
			}
		})
	}
	wg.Wait()
	if !hung.Load() { // else Close would wait for ever
		_ = e.Close()
	}
}

// The same where all callers append asynchronously: then it is the engine's own
// background goroutine that joins, with the sync of SyncInterval.
func TestIntervalSyncJoinsGroupThatIsLedInTheBackground(t *testing.T) {
	e, err := engine.OpenEnv(env.OS(vfs.NewSim(1)), "sim", engine.Options{Sync: engine.SyncInterval, SyncEvery: 50 * time.Microsecond})
	if err != nil {
		t.Fatal(err)
	}
	topic, event := engine.MustTopic("t"), mustEvent(t, "k", 1)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 20_000 {
				p := e.AppendAsync(context.Background(), topic, event)
				if i%4 == 0 {
					if _, err := p.Wait(context.Background()); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	closed := make(chan error)
	go func() { closed <- e.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Error("Close does not end")
	}
}

// Asynchronous events of all sizes share memory on their way.
func TestAsynchronousAppendsOfManySizesAreKept(t *testing.T) {
	e, err := engine.Open(t.TempDir(), engine.Options{Sync: engine.SyncNever})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	sizes := []int{1, 200, 3000, 5000, 1, 70_000, 4090, 200}
	payload := func(i int) string {
		return `"` + strings.Repeat(string(rune('a'+i%26)), sizes[i%len(sizes)]) + `"`
	}
	const count = 400
	var pending []*engine.Pending
	topics := []engine.Topic{engine.MustTopic("a"), engine.MustTopic("b")}
	for i := range count {
		event := engine.Event{Kind: "k", Payload: []byte(payload(i))}
		pending = append(pending, e.AppendAsync(t.Context(), topics[i%2], event))
	}
	for i, p := range pending {
		if id, err := p.Wait(t.Context()); err != nil || id != engine.EventID(i/2+1) {
			t.Fatalf("append %d: event %d, %v", i, id, err)
		}
	}
	for n, topic := range topics {
		records, err := engine.ReadRange(t.Context(), e, topic, 0, count)
		if err != nil || len(records) != count/2 {
			t.Fatalf("read %d events of topic %s: %v", len(records), topic, err)
		}
		for i, r := range records {
			if want := payload(2*i + n); string(r.Payload) != want {
				t.Fatalf("event %d of topic %s has a payload of %d bytes, want %d of %c", r.ID, topic, len(r.Payload), len(want), want[1])
			}
		}
	}
}
