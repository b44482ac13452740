package engine_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/seglog/seglog/engine"
	"github.com/seglog/seglog/internal/vfs"
)

func openFollower(t *testing.T, disk *vfs.Sim) *simLog {
	t.Helper()
	return openSim(t, disk, engine.Options{ReadOnly: true})
}

func ids(t *testing.T, l *simLog, topic string) (n int) {
	t.Helper()
	for _, err := range l.Read(t.Context(), engine.MustTopic(topic), engine.ReadOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}

// A follower sees a writer that came and went between two looks.
func TestFollowerSeesShortWriter(t *testing.T) {
	disk := vfs.NewSim(1)
	w := openSim(t, disk, engine.Options{})
	w.fill("t", 1, 3)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r := openFollower(t, disk)
	defer r.Close()
	if n := ids(t, r, "t"); n != 3 {
		t.Fatalf("%d events, want 3", n)
	}
	w = openSim(t, disk, engine.Options{})
	w.fill("t", 4, 5)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if n := ids(t, r, "t"); n != 5 {
		t.Errorf("%d events, want 5", n)
	}
}

// The cursor that a follower shows does not go back to that of an older
// checkpoint.
func TestFollowerKeepsNewestCursor(t *testing.T) {
	disk := vfs.NewSim(1)
	w := openSim(t, disk, engine.Options{})
	topic, consumer := engine.MustTopic("t"), engine.MustConsumerID("c")
	ack := func(id engine.EventID) {
		t.Helper()
		if err := w.Ack(t.Context(), topic, consumer, id); err != nil {
			t.Fatal(err)
		}
	}
	w.fill("t", 1, 9)
	r := openFollower(t, disk)
	defer r.Close()
	ack(5)
	ack(7)
	if err := w.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	ack(9)
	ack(2) // proves the one before
	if id, _, err := r.Cursor(t.Context(), topic, consumer); err != nil || id != 9 {
		t.Errorf("cursor is %d, %v, want 9", id, err)
	}
	if err := w.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := w.DeleteCursor(t.Context(), topic, consumer); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if id, ok, err := r.Cursor(t.Context(), topic, consumer); err != nil || ok {
		t.Errorf("deleted cursor is %d, %v", id, err)
	}
}

// Reads beside Close end with ErrClosed or not at all.
func TestReadOnlyReadsBesideClose(t *testing.T) {
	dir := t.TempDir()
	w := mustOpen(t, dir, engine.Options{})
	defer w.Close()
	topic := engine.MustTopic("t")
	for range 5 {
		if _, err := w.Append(t.Context(), topic, mustEvent(t, "k", 1)); err != nil {
			t.Fatal(err)
		}
	}
	for range 20 {
		r := mustOpen(t, dir, engine.Options{ReadOnly: true})
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for {
					_, _, err := r.Latest(context.Background(), topic)
					if errors.Is(err, engine.ErrClosed) {
						return
					}
					if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
	}
}

func TestClosedReadOnlyLogIsClosed(t *testing.T) {
	disk := vfs.NewSim(1)
	w := openSim(t, disk, engine.Options{})
	w.fill("t", 1, 1)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r := openFollower(t, disk)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Append(t.Context(), engine.MustTopic("t"), mustEvent(t, "k", 1)); !errors.Is(err, engine.ErrClosed) {
		t.Errorf("append: got %v, want ErrClosed", err)
	}
	if _, _, err := r.Latest(t.Context(), engine.MustTopic("t")); !errors.Is(err, engine.ErrClosed) {
		t.Errorf("latest: got %v, want ErrClosed", err)
	}
}

// A subscriber hears that its log can no longer be followed.
func TestSubscriberHearsThatFollowingFailed(t *testing.T) {
	dir := t.TempDir()
	w := mustOpen(t, dir, engine.Options{})
	defer w.Close()
	topic := engine.MustTopic("t")
	if _, err := w.Append(t.Context(), topic, mustEvent(t, "k", 1)); err != nil {
		t.Fatal(err)
	}
	r := mustOpen(t, dir, engine.Options{ReadOnly: true})
	defer r.Close()
	if err := os.Remove(dir + "/LOCK"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir+"/LOCK", 0o755); err != nil {
		t.Fatal(err)
	}
	var last error
	for _, err := range r.Subscribe(t.Context(), engine.MustTopic("none"), engine.SubscribeOptions{}) {
		last = err
	}
	if !errors.Is(last, engine.ErrIO) {
		t.Errorf("got %v, want ErrIO", last)
	}
}

// A follower does not hold files that were removed: they take up the disk for as
// long as somebody has them open.
func TestFollowerLetsGoOfRemovedFiles(t *testing.T) {
	disk := vfs.NewSim(1)
	w := openSim(t, disk, engine.Options{SegmentBytes: 16 << 10, BlockBytes: 1 << 10, Compression: engine.CompressionNone})
	defer w.Close()
	topic := engine.MustTopic("t")
	fill := func() {
		t.Helper()
		for range 10 {
			var batch []engine.Event
			for range 20 {
				batch = append(batch, mustEvent(t, "k", strings.Repeat("x", 1000)))
			}
			if _, _, err := w.AppendBatch(t.Context(), topic, batch); err != nil {
				t.Fatal(err)
			}
			if err := w.Checkpoint(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	fill()
	r := openFollower(t, disk)
	defer r.Close()
	if n := ids(t, r, "t"); n == 0 {
		t.Fatal("no events")
	}
	open := r.Stats().OpenFiles
	latest, _, _ := w.Latest(t.Context(), topic)
	if _, err := w.Compact(t.Context(), topic, latest); err != nil {
		t.Fatal(err)
	}
	w.fill("u", 1, 3) // proves what was before
	if err := w.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.fill("u", 4, 6)
	if n := ids(t, r, "t"); n != 0 {
		t.Fatalf("%d events, want none", n)
	}
	if left := r.Stats().OpenFiles; open < 5 || left > 1 {
		t.Errorf("the follower has %d of %d files open after all were dropped, want one at most", left, open)
	}
}
