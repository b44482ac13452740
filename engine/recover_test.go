package engine_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/seglog/seglog/engine"
	"github.com/seglog/seglog/internal/vfs"
)

// made counts the files that a disk was asked to make.
func made(disk *vfs.Sim, prefix string) int {
	n := 0
	for _, line := range disk.Log() {
		if words := strings.Fields(line); words[1] == "create" && strings.HasPrefix(words[2], prefix) {
			n++
		}
	}
	return n
}

// What a killed process leaves is not written again where the disk has it, and
// is where it cannot be asked, or has something else.
func TestOpenAfterAKillWritesWhatTheDiskDoesNotHave(t *testing.T) {
	refused := vfs.Fault{Err: errors.ErrUnsupported, Kind: "openuncached", Count: -1}
	unread := vfs.Fault{Err: errors.New("boom"), Kind: "read", Name: "wal-0000000000000001", Count: -1}
	for _, test := range []struct {
		name    string
		lose    bool // the sync of the last append
		fault   *vfs.Fault
		rewrite bool
	}{
		{name: "as it was"},
		{name: "lost by a sync", lose: true, rewrite: true},
		{name: "refused", fault: &refused, rewrite: true},
		{name: "unread", fault: &unread, rewrite: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := openSim(t, vfs.NewSim(1), engine.Options{})
			l.fill("a", 1, 20)
			if test.lose {
				boom := errors.New("boom")
				l.disk.Inject(vfs.Fault{At: l.disk.Ops(), Err: boom, Kind: "syncdata"})
				if _, err := l.Append(t.Context(), engine.MustTopic("a"), mustEvent(t, "k", "a 21")); !errors.Is(err, boom) {
					t.Fatal(err)
				}
			} else {
				l.fill("a", 21, 21)
			}
			disk := l.disk.Kill()
			if test.fault == &unread {
				disk.OnOp(func(op int, kind, _ string) {
					if kind == "openuncached" {
						f := unread
						f.At = op
						disk.Inject(f)
					}
				})
			} else if test.fault != nil {
				disk.Inject(*test.fault)
			}
			l = openSim(t, disk, engine.Options{})
			if r := l.OpenReport(); r.Clean || r.Events != 21 {
				t.Errorf("report %+v, want 21 events", r)
			}
			if made(disk, "manifest-") != 1 {
				t.Errorf("%d manifests were begun, want one", made(disk, "manifest-"))
			}
			if wrote := made(disk, "carry-")+made(disk, "seg/") > 0; wrote != test.rewrite {
				t.Errorf("events were written again: %v, want %v", wrote, test.rewrite)
			}
			disk.ClearFaults()
			disk.OnOp(nil)
			for _, more := range []int{21, 22, 23} { // and nothing is lost, however often it is opened
				l.fill("a", more+1, more+1)
				l = openSim(t, l.disk.Crash(vfs.Survival{Mode: vfs.DropAll}), engine.Options{})
				if read, lost, _ := l.readAround("a"); read != more+1 || lost != 0 {
					t.Fatalf("%d events, %d lost, want %d", read, lost, more+1)
				}
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			l = openSim(t, l.disk.Kill(), engine.Options{})
			if read, _, _ := l.readAround("a"); read != 24 || !l.OpenReport().Clean {
				t.Errorf("after a clean close: %d events, clean %v", read, l.OpenReport().Clean)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// Files of a checkpoint that was interrupted are dropped, by a manifest that
// says so.
func TestLeftoversOfACheckpointAreRemoved(t *testing.T) {
	l := openSim(t, vfs.NewSim(1), engine.Options{})
	l.fill("a", 1, 20)
	l.disk.Inject(vfs.Fault{Err: vfs.ErrCrashed, Kind: "write", Name: "manifest-0000000000000001", Count: -1})
	if err := l.Checkpoint(t.Context()); err == nil {
		t.Fatal("the checkpoint was not interrupted")
	}
	disk := l.disk.Kill()
	left := ""
	for name := range disk.Files() {
		if strings.HasPrefix(name, "carry-") || strings.HasPrefix(name, "seg/") {
			left = name
		}
	}
	if left == "" {
		t.Fatal("the checkpoint left nothing")
	}
	l = openSim(t, disk, engine.Options{})
	defer l.Close()
	if _, ok := disk.Files()[left]; ok {
		t.Errorf("%s is still there", left)
	}
	if unknown := l.OpenReport().Unknown; len(unknown) > 0 {
		t.Errorf("unknown files %q", unknown)
	}
	if read, lost, _ := l.readAround("a"); read != 20 || lost != 0 {
		t.Errorf("%d events, %d lost, want 20", read, lost)
	}
}
