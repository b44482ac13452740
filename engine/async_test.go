package engine_test

import (
	"context"
	"errors"
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
