package engine_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/seglog/seglog/engine"
	"github.com/seglog/seglog/internal/env"
	"github.com/seglog/seglog/internal/vfs"
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

// openHook is a disk that calls before, once, when a carry file is to be opened
// for reading.
type openHook struct {
	vfs.FS
	before func()
}

func (h *openHook) OpenRead(name string) (vfs.File, error) {
	if before := h.before; before != nil && strings.HasPrefix(name, "carry-") {
		h.before = nil
		before()
	}
	return h.FS.OpenRead(name)
}

// TestReadFindsWhatACheckpointMoves moves an event, and removes the file that
// held it, after a reader has looked up where it is.
func TestReadFindsWhatACheckpointMoves(t *testing.T) {
	for _, readOnly := range []bool{false, true} {
		t.Run(fmt.Sprintf("readOnly=%v", readOnly), func(t *testing.T) {
			hook := &openHook{FS: vfs.NewSim(1)}
			world := env.OS(hook)
			world.Inline = true
			open := func(o engine.Options) *engine.Engine {
				log, err := engine.OpenEnv(world, "sim", o)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { log.Close() })
				return log
			}
			w := open(engine.Options{WALBytes: 1 << 20, BlockBytes: 512})
			topic := engine.MustTopic("jobs")
			fill := func(from, to int) {
				for i := from; i <= to; i++ {
					if _, err := w.Append(t.Context(), topic, mustEvent(t, "job", i)); err != nil {
						t.Fatal(err)
					}
				}
				if err := w.Checkpoint(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			fill(1, 3)
			r := w
			if readOnly {
				r = open(engine.Options{ReadOnly: true})
			}
			carry := carryFiles(t, hook)
			hook.before = func() {
				fill(4, 1000)
				fill(1001, 1001)
			}
			next := engine.EventID(1)
			for rec, err := range r.Read(t.Context(), topic, engine.ReadOptions{}) {
				if err != nil {
					t.Fatal(err)
				}
				if rec.ID != next || string(rec.Payload) != fmt.Sprint(next) {
					t.Fatalf("event %d has payload %s, want event %d", rec.ID, rec.Payload, next)
				}
				next++
			}
			if next != 4 {
				t.Fatalf("read %d events, want the 3 that were there", next-1)
			}
			if now := carryFiles(t, hook); slices.ContainsFunc(carry, func(name string) bool { return slices.Contains(now, name) }) {
				t.Fatalf("carry files were %v and are %v: nothing moved", carry, now)
			}
		})
	}
}

func carryFiles(t *testing.T, fs vfs.FS) (names []string) {
	t.Helper()
	entries, err := fs.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name, "carry-") {
			names = append(names, e.Name)
		}
	}
	return names
}
