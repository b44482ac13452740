package engine_test

import (
	"errors"
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
