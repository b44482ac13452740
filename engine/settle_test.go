package engine

import (
	"context"
	"testing"

	"github.com/seglog/seglog/internal/env"
	"github.com/seglog/seglog/internal/vfs"
)

// After a kill the last commit is where it was, and nothing in the log says
// that it is durable: whoever follows sees it once the writer is idle.
func TestFollowerSeesWhatWasRecovered(t *testing.T) {
	disk := vfs.NewSim(1)
	open := func(o Options) *Engine {
		world := env.OS(disk)
		world.Inline = true
		e, err := OpenEnv(world, "sim", o)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	topic := MustTopic("a")
	latest := func(e *Engine) EventID {
		id, _, err := e.Latest(t.Context(), topic)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	e := open(Options{})
	for range 3 {
		event, err := NewEvent("k", 1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Append(context.Background(), topic, event); err != nil {
			t.Fatal(err)
		}
	}
	disk = disk.Kill()
	e = open(Options{})
	follower := open(Options{ReadOnly: true})
	if id := latest(follower); id != 2 {
		t.Errorf("a follower sees event %d, want 2: the last is not proven", id)
	}
	e.seal()
	if id := latest(follower); id != 3 {
		t.Errorf("behind a seal a follower sees event %d, want 3", id)
	}
	ops := disk.Ops()
	e.seal()
	if n := disk.Ops() - ops; n != 0 {
		t.Errorf("%d operations for another seal", n)
	}
	disk = disk.Kill()
	e = open(Options{})
	ops = disk.Ops()
	e.seal()
	if n := disk.Ops() - ops; n != 0 || latest(e) != 3 {
		t.Errorf("event %d is the latest, want 3; %d operations to seal what is sealed", latest(e), n)
	}
}
