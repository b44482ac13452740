package engine_test

import (
	"errors"
	"testing"

	"github.com/seglog/seglog/engine"
	"github.com/seglog/seglog/internal/vfs"
)

// refuseNextAppend makes the disk full for one write.
func refuseNextAppend(l *simLog) {
	l.disk.Inject(vfs.Fault{At: 0, Err: vfs.ErrNoSpace, Count: 1, Kind: "write"})
}

// A topic whose first append was refused does not exist.
func TestCompactOfRefusedTopicWritesNothing(t *testing.T) {
	for _, clean := range []bool{true, false} {
		disk := vfs.NewSim(1)
		l := openSim(t, disk, engine.Options{})
		l.fill("other", 1, 1)
		topic := engine.MustTopic("new")
		refuseNextAppend(l)
		if _, err := l.Append(t.Context(), topic, mustEvent(t, "k", 1)); !errors.Is(err, engine.ErrNoSpace) {
			t.Fatalf("got %v, want ErrNoSpace", err)
		}
		disk.ClearFaults()
		rep, err := l.Compact(t.Context(), topic, 5)
		if err != nil || rep != (engine.CompactReport{}) {
			t.Fatalf("compact: %+v, %v", rep, err)
		}
		if !clean {
			if err := l.Checkpoint(t.Context()); err != nil {
				t.Fatal(err)
			}
			l.fill("new", 1, 1)
		}
		openSim(t, disk.Kill(), engine.Options{})
	}
}
