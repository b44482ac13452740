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
