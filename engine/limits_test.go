package engine_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/seglog/seglog/engine"
	"github.com/seglog/seglog/internal/vfs"
)

func TestManyAcksInOneBatchAreTooLarge(t *testing.T) {
	l := openSim(t, vfs.NewSim(1), engine.Options{WALBytes: 64 << 10})
	topic := engine.MustTopic("t")
	l.fill("t", 1, 1)
	var b engine.Batch
	for i := range 200 {
		b.Ack(topic, engine.MustConsumerID(fmt.Sprint(i, strings.Repeat("c", 900))), 1)
	}
	_, err := l.Commit(t.Context(), &b)
	if !errors.Is(err, engine.ErrTooLarge) {
		t.Fatalf("got %v, want ErrTooLarge", err)
	}
	l.fill("t", 2, 2)
}

func TestManySmallRunsAreTooLarge(t *testing.T) {
	l := openSim(t, vfs.NewSim(1), engine.Options{WALBytes: 64 << 10})
	var b engine.Batch
	for i := range 150 {
		b.Append(engine.MustTopic(fmt.Sprint("t", i)), mustEvent(t, "k", 1))
	}
	_, err := l.Commit(t.Context(), &b)
	if !errors.Is(err, engine.ErrTooLarge) {
		t.Fatalf("got %v, want ErrTooLarge", err)
	}
	l.fill("t0", 1, 1)
}

// Appends that fit a small log one by one fit it together.
func TestConcurrentAppendsFitSmallLog(t *testing.T) {
	l := mustOpen(t, t.TempDir(), engine.Options{WALBytes: 64 << 10})
	defer l.Close()
	large := mustEvent(t, "k", strings.Repeat("x", 6000))
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			for range 5 {
				if _, err := l.Append(t.Context(), engine.MustTopic("t"), large); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestAsyncAppendsFitSmallLog(t *testing.T) {
	l := mustOpen(t, t.TempDir(), engine.Options{WALBytes: 64 << 10})
	defer l.Close()
	large := mustEvent(t, "k", strings.Repeat("x", 3000))
	var ps []*engine.Pending
	for range 200 {
		ps = append(ps, l.AppendAsync(t.Context(), engine.MustTopic("t"), large))
	}
	for _, p := range ps {
		if _, err := p.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}
