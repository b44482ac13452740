package engine

import (
	"fmt"
	"testing"

	"github.com/seglog/seglog/internal/env"
	"github.com/seglog/seglog/internal/vfs"
)

// Spare files that a clean close has left are not used again, and count: where
// the log is full of them, the first append has them removed.
func TestAppendBehindACleanCloseWithSpareFiles(t *testing.T) {
	disk := vfs.NewSim(1)
	open := func() *Engine {
		world := env.OS(disk)
		world.Inline = true
		e, err := OpenEnv(world, "sim", Options{WALBytes: 64 << 10})
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	event, err := NewEvent("k", 1)
	if err != nil {
		t.Fatal(err)
	}
	for life := range 2 {
		e := open()
		if _, err := e.Append(t.Context(), MustTopic("a"), event); err != nil {
			t.Fatalf("life %d: %v", life, err)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		room := 64 << 10
		for name, b := range disk.Files() {
			if len(name) > 4 && name[:4] == "wal-" {
				room -= len(b)
			}
		}
		for n := 0x100; room > 0; n++ {
			disk.SetFile(fmt.Sprintf("wal-%016x", n), make([]byte, min(room, 16<<10)))
			room -= 16 << 10
		}
	}
}
