package engine_test

import (
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/seglog/seglog/engine"
	"github.com/seglog/seglog/internal/vfs"
)

// TestFailedManifestRotationKeepsTheCheckpoint: the edit of a checkpoint is
// durable when the manifest is found to have grown, and cannot be replaced.
func TestFailedManifestRotationKeepsTheCheckpoint(t *testing.T) {
	o := engine.Options{WALBytes: 1 << 20, SegmentBytes: 16 << 10, BlockBytes: 512, Compression: engine.CompressionNone}
	l := openSim(t, vfs.NewSim(1), o)
	l.disk.Inject(vfs.Fault{Err: syscall.EIO, Kind: "create", Name: fmt.Sprintf("manifest-%016x", 2)})
	n := 0
	var failed error
	for failed == nil && n < 10_000 {
		l.fill("a", n+1, n+20)
		n += 20
		failed = l.Checkpoint(t.Context())
	}
	if !errors.Is(failed, engine.ErrFailed) {
		t.Fatalf("after %d events: got error %v, want ErrFailed", n, failed)
	}
	if err := l.Checkpoint(t.Context()); !errors.Is(err, engine.ErrFailed) {
		t.Fatalf("checkpoint of a failed log: got error %v, want ErrFailed", err)
	}
	if read, lost, places := l.readAround("a"); read != n || lost != 0 {
		t.Fatalf("%d events read, %d lost (%v), want %d", read, lost, places, n)
	}
	_ = l.Close() // says that the log has failed
	again := openSim(t, l.disk, o)
	if read, lost, places := again.readAround("a"); read != n || lost != 0 {
		t.Fatalf("opened again: %d events read, %d lost (%v), want %d", read, lost, places, n)
	}
	again.fill("a", n+1, n+20)
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
}
