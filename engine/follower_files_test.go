package engine

import (
	"strings"
	"testing"

	"github.com/seglog/seglog/internal/env"
	"github.com/seglog/seglog/internal/vfs"
)

// A follower whose place was recycled gives back the file that it was in.
func TestFollowerClosesRecycledFiles(t *testing.T) {
	disk := vfs.NewSim(1)
	open := func(readOnly bool) *Engine {
		world := env.OS(disk)
		world.Inline = true
		e, err := OpenEnv(world, "sim", Options{WALBytes: 64 << 10, ReadOnly: readOnly})
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	event, err := NewEvent("k", strings.Repeat("x", 3000))
	if err != nil {
		t.Fatal(err)
	}
	e := open(false)
	var follower *Engine
	for i := range 100 {
		if _, err := e.Append(t.Context(), MustTopic("a"), event); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			follower = open(true)
		}
		if i%30 == 29 {
			if _, _, err := follower.Latest(t.Context(), MustTopic("a")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if err := follower.Close(); err != nil {
		t.Fatal(err)
	}
	if n := disk.OpenFiles(); n != 0 {
		t.Errorf("%d files are open behind both", n)
	}
}
