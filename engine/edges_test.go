package engine_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/seglog/seglog/engine"
	"github.com/seglog/seglog/internal/vfs"
)

// TestCloseReportsThatTheLogHasFailed: without a sync for every append, Close
// is where the caller hears that acknowledged events may be lost.
func TestCloseReportsThatTheLogHasFailed(t *testing.T) {
	l := openSim(t, vfs.NewSim(1), engine.Options{Sync: engine.SyncNever})
	l.fill("a", 1, 3)
	l.disk.Inject(vfs.Fault{At: l.disk.Ops(), Kind: "syncdata", Err: errors.New("medium error"), Count: -1})
	if err := l.Flush(t.Context()); !errors.Is(err, engine.ErrFailed) {
		t.Fatalf("flush: got %v, want ErrFailed", err)
	}
	if err := l.Close(); !errors.Is(err, engine.ErrFailed) {
		t.Fatalf("close: got %v, want ErrFailed", err)
	}
	if open := l.disk.OpenFiles(); open != 0 {
		t.Errorf("%d files are open after Close", open)
	}
}

// Checkpoints beside Close do nothing to a log that is closed.
func TestCheckpointBesideClose(t *testing.T) {
	for range 30 {
		dir := t.TempDir()
		l := mustOpen(t, dir, engine.Options{SegmentBytes: 16 << 10, BlockBytes: 256})
		topic := engine.MustTopic("t")
		for i := range 20 {
			if _, err := l.Append(t.Context(), topic, mustEvent(t, "k", strings.Repeat("x", 1000*(i%3)))); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.Checkpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Compact(t.Context(), topic, 20); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for {
					err := l.Checkpoint(context.Background())
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
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
		l = mustOpen(t, dir, engine.Options{})
		if !l.OpenReport().Clean {
			t.Error("not closed clean")
		}
		l.Close()
	}
}

// A checkpoint of a log that nobody has changed leaves it closed clean.
func TestIdleCheckpointKeepsLogClean(t *testing.T) {
	disk := vfs.NewSim(1)
	for i := range 3 {
		l := openSim(t, disk, engine.Options{})
		if i == 0 {
			l.fill("t", 1, 3)
		} else if !l.OpenReport().Clean {
			t.Errorf("open %d: not clean", i)
		}
		if err := l.Checkpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A configuration error leaves no directory behind.
func TestConfigErrorMakesNothing(t *testing.T) {
	dir := t.TempDir() + "/new"
	if _, err := engine.Open(dir, engine.Options{BlockBytes: -1}); !errors.Is(err, engine.ErrConfig) {
		t.Fatal(err)
	}
	if l, err := engine.Open(dir, engine.Options{ReadOnly: true}); err == nil {
		l.Close()
		t.Fatal("a directory was made")
	}
}

// A subscription to a topic to come is overtaken by compaction like any other.
func TestSubscriberOfNewTopicIsOvertaken(t *testing.T) {
	l := openSim(t, vfs.NewSim(1), engine.Options{})
	seq := l.Subscribe(t.Context(), engine.MustTopic("t"), engine.SubscribeOptions{})
	l.fill("t", 1, 10)
	if _, err := l.Compact(t.Context(), engine.MustTopic("t"), 5); err != nil {
		t.Fatal(err)
	}
	for r, err := range seq {
		var lag *engine.LaggedError
		if !errors.As(err, &lag) || lag.LastID != 0 || lag.First != 6 {
			t.Errorf("got event %d, %v, want a LaggedError after 0, first 6", r.ID, err)
		}
		break
	}
}

// A hostile file name does not make numbers wrap around.
func TestHighestFileNumbersAreNotOurs(t *testing.T) {
	for _, name := range []string{"wal-ffffffffffffffff", "wal-7fffffffffffffff", "manifest-ffffffffffffffff", "carry-ffffffffffffffff", "seg/0000000000000001-0000000000000001-ffffffffffffffff.seg"} {
		disk := vfs.NewSim(1)
		l := openSim(t, disk, engine.Options{})
		l.fill("t", 1, 3)
		disk = disk.Kill()
		disk.SetFile(name, nil)
		l = openSim(t, disk, engine.Options{})
		l.fill("t", 4, 5)
		disk = disk.Kill()
		l = &simLog{t: t, disk: disk}
		if err := l.tryOpen(engine.Options{}); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if n := ids(t, l, "t"); n != 5 {
			t.Errorf("%s: %d events, want 5", name, n)
		}
	}
}

// A commit's cursors, ids and events are seen together.
func TestCommitIsVisibleAtOnce(t *testing.T) {
	l := mustOpen(t, t.TempDir(), engine.Options{Sync: engine.SyncNever})
	defer l.Close()
	inbox, a, b := engine.MustTopic("inbox"), engine.MustTopic("a"), engine.MustTopic("b")
	worker := engine.MustConsumerID("w")
	const n = 2000
	if _, _, err := l.AppendBatch(t.Context(), inbox, manyEvents(t, n)); err != nil {
		t.Fatal(err)
	}
	event := mustEvent(t, "k", 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range n {
			var batch engine.Batch
			batch.Ack(inbox, worker, engine.EventID(i+1))
			batch.Append(a, event)
			batch.Append(b, event)
			if _, err := l.Commit(context.Background(), &batch); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	for cursor := engine.EventID(0); cursor < n && !t.Failed(); {
		cursor, _, _ = l.Cursor(t.Context(), inbox, worker)
		inA, _, _ := l.Latest(t.Context(), a)
		inB, _, _ := l.Latest(t.Context(), b)
		if inA < cursor || inB < inA {
			t.Errorf("the cursor is at %d, topic a then at %d, topic b then at %d", cursor, inA, inB)
		}
		records, err := engine.ReadRange(t.Context(), l, b, max(inA, 1)-1, 1)
		if err != nil || inA > 0 && len(records) == 0 {
			t.Errorf("topic b does not have event %d: %v", inA, err)
		}
	}
	<-done
}

func manyEvents(t *testing.T, n int) []engine.Event {
	events := make([]engine.Event, n)
	for i := range events {
		events[i] = mustEvent(t, "k", i)
	}
	return events
}
