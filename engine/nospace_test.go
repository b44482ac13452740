package engine_test

import (
	"errors"
	"strings"
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

// ENOSPC from the sync of the manifest stops the log like any failed sync.
func TestNoSpaceFromManifestSyncStopsLog(t *testing.T) {
	disk := vfs.NewSim(1)
	l := openSim(t, disk, engine.Options{})
	l.fill("t", 1, 3)
	var name string
	for n := range disk.Files() {
		if strings.HasPrefix(n, "manifest-") {
			name = n
		}
	}
	disk.Inject(vfs.Fault{At: 0, Err: vfs.ErrNoSpace, Count: 1, Kind: "sync", Name: name})
	err := l.Checkpoint(t.Context())
	if !errors.Is(err, engine.ErrFailed) {
		t.Errorf("got %v, want ErrFailed", err)
	}
	if _, err := l.Append(t.Context(), engine.MustTopic("t"), mustEvent(t, "k", 1)); !errors.Is(err, engine.ErrFailed) {
		t.Errorf("append: got %v, want ErrFailed", err)
	}
}

// What a failed manifest write leaves behind is removed with the next one.
func TestNoSpaceForManifestLeavesNoFiles(t *testing.T) {
	disk := vfs.NewSim(1)
	l := openSim(t, disk, engine.Options{})
	l.fill("t", 1, 3)
	var name string
	for n := range disk.Files() {
		if strings.HasPrefix(n, "manifest-") {
			name = n
		}
	}
	for range 3 {
		disk.Inject(vfs.Fault{At: 0, Err: vfs.ErrNoSpace, Count: 2, Kind: "write", Name: name})
		if err := l.Checkpoint(t.Context()); !errors.Is(err, engine.ErrNoSpace) {
			t.Fatalf("got %v, want ErrNoSpace", err)
		}
		disk.ClearFaults()
	}
	l.fill("t", 4, 4)
	if err := l.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	carries := 0
	for n := range disk.Files() {
		if strings.HasPrefix(n, "carry-") {
			carries++
		}
	}
	if carries != 1 {
		t.Errorf("%d carry files, want 1", carries)
	}
}

// What a log shows that was opened on a full disk survives power loss, whatever
// the process before it had synced.
func TestOpenOnFullDiskShowsOnlyWhatIsDurable(t *testing.T) {
	disk := vfs.NewSim(1)
	l := openSim(t, disk, engine.Options{Sync: engine.SyncNever})
	l.fill("t", 1, 3)
	disk = disk.Kill()
	disk.SetCapacity(1)
	l = openSim(t, disk, engine.Options{})
	latest, _, err := l.Latest(t.Context(), engine.MustTopic("t"))
	if err != nil || latest != 3 {
		t.Fatalf("latest is %d, %v, want 3", latest, err)
	}
	disk = disk.Crash(vfs.Survival{Mode: vfs.DropAll})
	disk.SetCapacity(0)
	l = openSim(t, disk, engine.Options{})
	if again, _, err := l.Latest(t.Context(), engine.MustTopic("t")); err != nil || again != latest {
		t.Errorf("latest was %d, and is %d, %v, after power loss", latest, again, err)
	}
}
