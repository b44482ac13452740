package fuzz

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"runtime"
	"strings"
	"testing"

	"github.com/seglog/seglog/engine"
	"github.com/seglog/seglog/fuzz/rig"
	"github.com/seglog/seglog/fuzz/script"
	"github.com/seglog/seglog/internal/vfs"
)

// Promises that need a story of their own.

// must parses and does operations, and fails the test where one of them breaks
// a promise.
func must(t *testing.T, r *rig.Rig, text string) {
	t.Helper()
	s, err := script.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Run(s.Ops); err != nil {
		t.Fatalf("%v\nlast file operations:\n%s", err, tail(r.Disk, 25))
	}
}

// TestFailedSyncIsFinal lets one sync of each kind of file fail: nothing is
// acknowledged after it until the log is opened again.
func TestFailedSyncIsFinal(t *testing.T) {
	for _, file := range []string{"wal-", "manifest-"} {
		t.Run(file, func(t *testing.T) {
			r := rig.New(engineTarget(), tiny, 1)
			must(t, r, "append t0 1:10\nappend t1 2:2000\ncheckpoint\nappend t0 3:10")
			failed := false
			r.Disk.OnOp(func(op int, kind, name string) {
				if !failed && strings.HasPrefix(kind, "sync") && strings.HasPrefix(path.Base(name), file) {
					failed = true
					r.Disk.Inject(vfs.Fault{At: op, Err: rig.ErrorOf("eio"), Count: 1})
				}
			})
			must(t, r, "fault 999999 eio 1") // faults are to be expected from now on
			before := r.Counts.Acked
			for i := 0; !failed && i < 60; i++ {
				before = r.Counts.Acked
				must(t, r, fmt.Sprintf("append t0 %d:2000", i))
			}
			if !failed {
				t.Fatalf("no sync of a %s file in 60 appends", file)
			}
			acked := r.Counts.Acked
			if acked > before+1 {
				t.Errorf("%d appends were acknowledged by the call whose sync failed", acked-before)
			}
			for _, op := range []string{"append t0 9:9", "batch t1 9:9 8:8", "ack t0 c0 1", "compact t0 1", "commit append t0 1:1"} {
				must(t, r, op)
			}
			if _, err := r.Log.Append(context.Background(), engine.MustTopic("t0"), script.Seed{N: 1, Size: 1}.Event()); !errors.Is(err, engine.ErrFailed) {
				t.Errorf("append after a failed sync: got %v, want ErrFailed", err)
			}
			if r.Counts.Acked != acked {
				t.Errorf("%d changes were acknowledged after a failed sync", r.Counts.Acked-acked)
			}
			must(t, r, "check")
			if err := r.Finish(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestFullDiskIsNotTheEnd fills the disk, uses the log, kills it and opens it
// while the disk is full, and then makes room.
func TestFullDiskIsNotTheEnd(t *testing.T) {
	r := rig.New(engineTarget(), tiny, 1)
	must(t, r, "append t0 1:10\nappend t1 2:2000\nack t0 c0 1\ncheckpoint")
	used := int64(0)
	for _, b := range r.Disk.Files() {
		used += int64(len(b))
	}
	r.Disk.SetCapacity(used)
	must(t, r, "fault 999999 enospc 1")
	ctx := context.Background()
	full := 0
	for i := 0; full < 3 && i < 500; i++ {
		failed := r.Counts.Failed
		must(t, r, fmt.Sprintf("append t%d %d:3000", i%2, i))
		if r.Counts.Failed > failed {
			full++
		}
	}
	if full < 3 {
		t.Fatal("the disk never was full")
	}
	_, err := r.Log.Append(ctx, engine.MustTopic("t0"), script.Seed{N: 1, Size: 3000}.Event())
	if !errors.Is(err, engine.ErrNoSpace) || errors.Is(err, engine.ErrFailed) {
		t.Errorf("append on a full disk: got %v, want ErrNoSpace", err)
	}
	must(t, r, "check")
	acked := r.Counts.Acked
	must(t, r, "ack t0 c0 2") // the smallest log that options allow has room for little more
	if r.Counts.Acked == acked {
		t.Error("an ack on a full disk failed")
	}
	must(t, r, "kill\ncheck")
	if r.Log == nil {
		t.Error("a log cannot be opened while the disk is full")
	}
	must(t, r, "reopen\ncheck")
	must(t, r, "check")
	r.Disk.SetCapacity(0)
	acked = r.Counts.Acked
	must(t, r, "append t0 1:3000\nappend t1 1:3000")
	if r.Counts.Acked != acked+2 {
		t.Error("the log does not go on once there is room")
	}
	if err := r.Finish(); err != nil {
		t.Error(err)
	}
}

// TestLogGoesOnByItselfAfterAFullDisk makes room without a new opening.
func TestLogGoesOnByItselfAfterAFullDisk(t *testing.T) {
	r := rig.New(engineTarget(), tiny, 1)
	must(t, r, "append t0 1:10\nappend t1 2:2000\ncheckpoint")
	used := int64(0)
	for _, b := range r.Disk.Files() {
		used += int64(len(b))
	}
	r.Disk.SetCapacity(used)
	must(t, r, "fault 999999 enospc 1")
	for i := range 200 {
		must(t, r, fmt.Sprintf("append t%d %d:3000", i%2, i))
	}
	if r.Counts.Failed == 0 {
		t.Fatal("the disk never was full")
	}
	r.Disk.SetCapacity(0)
	opens, acked := r.Counts.Opens, r.Counts.Acked
	must(t, r, "append t0 1:3000\nappend t1 1:3000\ncheck")
	if r.Counts.Acked != acked+2 || r.Counts.Opens != opens {
		t.Errorf("%d of 2 appends were acknowledged, after %d opens", r.Counts.Acked-acked, r.Counts.Opens-opens)
	}
	if err := r.Finish(); err != nil {
		t.Error(err)
	}
}

// TestReadErrorIsNotTheEnd lets every read of a reopened log fail, one at a
// time: it is reported as what it is, and nothing is taken for missing.
func TestReadErrorIsNotTheEnd(t *testing.T) {
	p, err := newPatient(engineTarget(), true, engine.SyncAlways)
	if err != nil {
		t.Fatal(err)
	}
	reads := 0
	for at := 0; ; at++ {
		r := rig.New(engineTarget(), tiny, 1)
		r.Disk = p.disk.Clone()
		n := 0
		r.Disk.OnOp(func(op int, kind, _ string) {
			if kind == "read" {
				if n == at {
					r.Disk.Inject(vfs.Fault{At: op + 1, Err: rig.ErrorOf("eio"), Kind: "read", Count: 1})
				}
				n++
			}
		})
		log, err := r.Target.Open(r.Env(), r.Opts)
		if err == nil {
			_, err = p.survey(log, false)
			if cerr := log.Close(); err == nil && cerr != nil {
				err = cerr
			}
		}
		if err != nil && (!errors.Is(err, engine.ErrIO) || errors.Is(err, engine.ErrCorrupt)) {
			t.Fatalf("read %d failed: got %v, want ErrIO", at, err)
		}
		if n <= at+1 {
			break
		}
		reads++
	}
	if reads < 5 {
		t.Errorf("only %d reads were made to fail", reads)
	}
}

// TestReadOnlyOpenChangesNothing opens what a kill and what a close left.
func TestReadOnlyOpenChangesNothing(t *testing.T) {
	for _, closed := range []bool{true, false} {
		p, err := newPatient(engineTarget(), closed, engine.SyncAlways)
		if err != nil {
			t.Fatal(err)
		}
		o := tiny
		o.ReadOnly = true
		r := rig.New(engineTarget(), o, 1)
		r.Disk = p.disk.Clone()
		r.Disk.OnOp(func(_ int, kind, name string) {
			switch kind {
			case "read", "open", "openread", "readdir", "stat", "size", "close", "locked", "syncdata":
			default:
				t.Errorf("closed=%v: read-only open does %s %s", closed, kind, name)
			}
		})
		before := r.Disk.Files()
		log, err := r.Target.Open(r.Env(), o)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := p.survey(log, true); err != nil || got != harmless {
			t.Errorf("closed=%v: %v, outcome %d", closed, err, got)
		}
		if _, err := log.Append(context.Background(), engine.MustTopic("t0"), script.Seed{N: 1, Size: 1}.Event()); !errors.Is(err, engine.ErrReadOnly) {
			t.Errorf("append: got %v, want ErrReadOnly", err)
		}
		if err := log.Close(); err != nil {
			t.Error(err)
		}
		if diff := changed(before, r.Disk.Files()); diff != "" {
			t.Errorf("closed=%v: %s was changed", closed, diff)
		}
		if n := r.Disk.OpenFiles(); n != 0 {
			t.Errorf("closed=%v: %d files are left open", closed, n)
		}
	}
}

// TestSecondWriterIsRefused and has changed nothing.
func TestSecondWriterIsRefused(t *testing.T) {
	r := rig.New(engineTarget(), tiny, 1)
	must(t, r, "append t0 1:10")
	before := r.Disk.Files()
	if _, err := r.Target.Open(r.Env(), tiny); !errors.Is(err, engine.ErrLocked) {
		t.Errorf("second open: got %v, want ErrLocked", err)
	}
	if diff := changed(before, r.Disk.Files()); diff != "" {
		t.Errorf("%s was changed", diff)
	}
	must(t, r, "append t0 2:10\ncheck")
	if err := r.Finish(); err != nil {
		t.Error(err)
	}
}

// TestUnknownFilesAreLeftAlone puts files of other people into the directory.
func TestUnknownFilesAreLeftAlone(t *testing.T) {
	p, err := newPatient(engineTarget(), false, engine.SyncAlways)
	if err != nil {
		t.Fatal(err)
	}
	strange := map[string][]byte{
		"notes.txt": []byte("mine"), "wal-zz": []byte("mine"), "seg/0-0-0.seg": []byte("mine"), "seg/notes": nil,
		"manifest-x": []byte("mine"), "core": make([]byte, 5000),
		"seg/00000000000000ff-0000000000000001-00000000000000ff.seg": bytes.Repeat([]byte("mine"), 2048),
	}
	r := rig.New(engineTarget(), tiny, 1)
	r.Disk = p.disk.Clone()
	for name, b := range strange {
		r.Disk.SetFile(name, b)
	}
	log, err := r.Target.Open(r.Env(), tiny)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.survey(log, false); err != nil {
		t.Error(err)
	}
	for i := range 40 {
		if _, err := log.Append(context.Background(), engine.MustTopic("t0"), script.Seed{N: uint64(i), Size: 3000}.Event()); err != nil {
			t.Fatal(err)
		}
	}
	if err := log.Close(); err != nil {
		t.Error(err)
	}
	after := r.Disk.Files()
	for name, b := range strange {
		if got, ok := after[name]; !ok || string(got) != string(b) {
			t.Errorf("%s: %d bytes are left, there: %v", name, len(got), ok)
		}
	}
}

// TestRolledBackFileIsFound puts single files back to what they were at an
// earlier clean close, and files of another log in their place.
func TestRolledBackFileIsFound(t *testing.T) {
	r := rig.New(engineTarget(), tiny, 1)
	must(t, r, "append t0 1:700\nbatch t1 2:3000 3:3000\nack t0 c0 1\ncheckpoint\nappend t0 4:10\nreopen")
	early := r.Disk.Files()
	must(t, r, "append t0 5:700\nbatch t1 6:3000 7:3000\nack t0 c0 2\ncheckpoint\nappend t0 8:10\nappend t1 9:10\nreopen")
	p := &patient{target: r.Target, opts: tiny, disk: r.Disk.Kill(), model: r.Model()}
	other := rig.New(engineTarget(), tiny, 2)
	must(t, other, "append t0 11:700\nbatch t1 12:3000 13:3000\ncheckpoint\nappend t0 14:10\nreopen")
	refusals := 0
	for source, files := range map[string]map[string][]byte{"an earlier day": early, "another log": other.Disk.Files()} {
		for name, b := range files {
			if name == "LOCK" || name == "reserve" {
				continue
			}
			got, err := p.examine(damage{file: name, do: func(d *vfs.Sim) { d.SetFile(name, b) }})
			if err != nil {
				t.Errorf("%s from %s: %v", name, source, err)
			}
			if got == refused || got == unopened || got == reported {
				refusals++
			}
		}
	}
	if refusals == 0 {
		t.Error("nothing was found")
	}
}

// TestWriteAfterCleanCloseEndsCleanliness leaves part of a manifest edit behind
// what a clean close left, as a process does that dies before its first commit.
func TestWriteAfterCleanCloseEndsCleanliness(t *testing.T) {
	p, err := newPatient(engineTarget(), true, engine.SyncAlways)
	if err != nil {
		t.Fatal(err)
	}
	r := rig.New(engineTarget(), p.opts, 1)
	r.Disk = p.disk.Clone()
	for name, b := range r.Disk.Files() {
		if strings.HasPrefix(name, "manifest-") {
			r.Disk.SetFile(name, append(b, bytes.Repeat([]byte{7}, 397)...))
		}
	}
	log, err := r.Target.Open(r.Env(), p.opts)
	if err != nil {
		t.Fatal(err)
	}
	if log.(*engine.Engine).OpenReport().Clean {
		t.Error("the log counts as closed clean")
	}
	if got, err := p.survey(log, false); err != nil || got != harmless {
		t.Errorf("outcome %d: %v", got, err)
	}
	if err := log.Close(); err != nil {
		t.Error(err)
	}
}

// TestCloseLeavesNothing counts goroutines of a log on a real disk.
func TestCloseLeavesNothing(t *testing.T) {
	for _, o := range []engine.Options{{}, {Sync: engine.SyncInterval}, {Sync: engine.SyncNever}} {
		log, err := engine.Open(t.TempDir(), o)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		topic := engine.MustTopic("t")
		ended := make(chan error)
		go func() {
			var last error
			for _, err := range log.Subscribe(ctx, topic, engine.SubscribeOptions{}) {
				last = err
			}
			ended <- last
		}()
		for i := range 100 {
			if err := context.Cause(ctx); err != nil {
				t.Fatal(err)
			}
			log.AppendAsync(ctx, topic, script.Seed{N: uint64(i), Size: 100}.Event())
		}
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; !errors.Is(err, engine.ErrClosed) {
			t.Errorf("the subscription ended with %v, want ErrClosed", err)
		}
		cancel()
		if stacks := running("seglog/engine."); stacks != "" {
			t.Errorf("after close, this still runs:\n%s", stacks)
		}
	}
}

// running returns the stacks of goroutines, other than the caller's, that are
// in code whose name holds what.
func running(what string) string {
	var found []string
	for range 1000 { // what has been told to end may need a moment to
		buf := make([]byte, 1<<20)
		stacks := strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n")
		found = nil
		for _, s := range stacks[1:] {
			if strings.Contains(s, what) {
				found = append(found, s)
			}
		}
		if len(found) == 0 {
			return ""
		}
		runtime.Gosched()
	}
	return strings.Join(found, "\n\n")
}
