package vfs

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// disk is a Sim with a small language for tests.
type disk struct {
	*Sim
	t *testing.T
}

func newDisk(t *testing.T) disk { return disk{NewSim(1), t} }

func (d disk) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

// create makes a file that is there for good, with durable content.
func (d disk) create(name, content string) File {
	d.t.Helper()
	f, err := d.Create(name)
	d.must(err)
	d.write(f, 0, content)
	d.must(f.SyncData())
	d.must(d.SyncDir("."))
	return f
}

func (d disk) write(f File, off int64, content string) {
	d.t.Helper()
	n, err := f.WriteAt([]byte(content), off)
	d.must(err)
	if n != len(content) {
		d.t.Fatalf("write: got %d bytes, want %d", n, len(content))
	}
}

// after is the disk after a power cut.
func (d disk) after(v Survival) disk { return disk{d.Crash(v), d.t} }

// want compares all files; a value may shorten a run of bytes as show does.
func (d disk) want(files map[string]string) {
	d.t.Helper()
	got := map[string]string{}
	for name, b := range d.Files() {
		got[name] = string(b)
	}
	if !maps.Equal(got, files) {
		d.t.Fatalf("files:\ngot  %q\nwant %q", got, files)
	}
}

func fill(b byte, n int) string { return strings.Repeat(string(b), n) }

func TestSyncedDataAndNamesSurviveEveryCut(t *testing.T) {
	d := newDisk(t)
	f := d.create("a", "one")
	d.write(f, 3, "two")
	d.must(f.SyncData())
	d.must(d.Mkdir("dir"))
	d.must(d.SyncDir("."))
	for i, v := range Survivals() {
		image := d.after(v)
		image.want(map[string]string{"a": "onetwo"})
		if _, err := image.ReadDir("dir"); err != nil {
			t.Errorf("survival %d: %v", i, err)
		}
	}
}

func TestDropAllLosesWhatWasNotSynced(t *testing.T) {
	d := newDisk(t)
	f := d.create("a", "one")
	d.write(f, 1, "xxxx")
	if _, err := d.Create("b"); err != nil {
		t.Fatal(err)
	}
	d.must(d.Remove("a"))
	d.want(map[string]string{"b": ""})
	d.after(Survival{Mode: DropAll}).want(map[string]string{"a": "one"})
}

func TestKeepAllKeepsWhatWasNotSynced(t *testing.T) {
	d := newDisk(t)
	f := d.create("a", "one")
	d.write(f, 1, "xxxx")
	d.must(d.Rename("a", "c"))
	if _, err := d.Create("b"); err != nil {
		t.Fatal(err)
	}
	d.after(Survival{Mode: KeepAll}).want(map[string]string{"b": "", "c": "oxxxx"})
}

func TestFailedSyncLosesTheBytesAndSucceedsNext(t *testing.T) {
	for _, sync := range []struct {
		name string
		call func(d disk, f File) error
	}{
		{"SyncData", func(_ disk, f File) error { return f.SyncData() }},
		{"Sync", func(_ disk, f File) error { return f.Sync() }},
		{"SyncAll", func(d disk, _ File) error { return d.SyncAll() }},
	} {
		t.Run(sync.name, func(t *testing.T) {
			d := newDisk(t)
			f := d.create("a", fill('.', 1024))
			d.write(f, 0, "lost")
			d.Inject(Fault{At: d.Ops(), Err: syscall.EIO})
			wantErr(t, "first sync", sync.call(d, f), syscall.EIO)
			d.must(sync.call(d, f))
			d.write(f, 512, "kept")
			disk{d.Crash(Survival{Mode: KeepAll}), t}.want(map[string]string{
				"a": fill('.', 512) + "kept" + fill('.', 508),
			})
			d.must(sync.call(d, f))

			lost := fill('.', 512) + "kept" + fill('.', 508)
			both := "lost" + fill('.', 508) + "kept" + fill('.', 508)
			d.want(map[string]string{"a": both})
			for _, v := range Survivals() {
				d.after(v).want(map[string]string{"a": lost})
				disk{d.Kill().Crash(v), t}.want(map[string]string{"a": lost})
			}
			disk{d.Kill(), t}.want(map[string]string{"a": both})
		})
	}
}

func TestUncachedReadsShowWhatTheDiskHas(t *testing.T) {
	d := newDisk(t)
	f := d.create("a", "........")
	d.write(f, 0, "lost")
	d.Inject(Fault{At: d.Ops(), Err: syscall.EIO})
	wantErr(t, "sync", f.SyncData(), syscall.EIO)
	d.write(f, 4, "kept")
	u, err := d.OpenUncached("a")
	d.must(err)
	for what, want := range map[File]string{f: "lostkept", u: "....kept"} {
		if got := read(t, what); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	d.after(Survival{Mode: DropAll}).want(map[string]string{"a": "........"}) // the disk has its own cache
	d.must(u.SyncData())
	d.after(Survival{Mode: DropAll}).want(map[string]string{"a": "....kept"})
	d.want(map[string]string{"a": "lostkept"})

	d.write(f, 4, "gone")
	d.Inject(Fault{At: d.Ops(), Err: syscall.EIO, Kind: "read"})
	_, err = u.ReadAt(make([]byte, 8), 0)
	wantErr(t, "read of what cannot be written", err, syscall.EIO)
	if got := read(t, u); got != "....kept" {
		t.Errorf("after a write that failed: got %q, want %q", got, "....kept")
	}
	d.want(map[string]string{"a": "lostgone"})
	d.must(errors.Join(f.Close(), u.Close()))
}

func TestFailedDirectorySyncKeepsTheChangesForTheNext(t *testing.T) {
	d := newDisk(t)
	if _, err := d.Create("a"); err != nil {
		t.Fatal(err)
	}
	d.Inject(Fault{At: d.Ops(), Err: syscall.EIO})
	wantErr(t, "first sync", d.SyncDir("."), syscall.EIO)
	d.after(Survival{Mode: DropAll}).want(map[string]string{})
	d.must(d.SyncDir("."))
	d.after(Survival{Mode: DropAll}).want(map[string]string{"a": ""})
}

func TestKillKeepsWhatWasWrittenAndNoMoreIsDurable(t *testing.T) {
	d := newDisk(t)
	f := d.create("a", "one")
	d.write(f, 0, "two")
	if _, err := d.Lock("LOCK"); err != nil {
		t.Fatal(err)
	}
	killed := disk{d.Kill(), t}
	killed.want(map[string]string{"a": "two", "LOCK": simHolder})
	if got := killed.OpenFiles(); got != 0 {
		t.Errorf("open files: got %d, want 0", got)
	}
	if _, err := killed.Lock("LOCK"); err != nil {
		t.Errorf("the lock outlived its holder: %v", err)
	}
	killed.after(Survival{Mode: DropAll}).want(map[string]string{"a": "one"})
	g, err := killed.Open("a")
	killed.must(err)
	killed.must(g.Sync())
	killed.after(Survival{Mode: DropAll}).want(map[string]string{"a": "two"})
}

func TestEveryCallIsAnOperation(t *testing.T) {
	d := newDisk(t)
	var hooked []string
	d.OnOp(func(op int, kind, name string) { hooked = append(hooked, fmt.Sprintf("%d %s %s", op, kind, name)) })
	d.must(d.Mkdir("d"))
	f, err := d.Create("d/a")
	d.must(err)
	d.write(f, 3, "xy")
	_, err = f.ReadAt(make([]byte, 9), 4)
	wantErr(t, "read", err, io.EOF)
	_, err = f.Size()
	d.must(err)
	d.must(f.Truncate(1))
	d.must(f.SyncData())
	d.must(f.Sync())
	d.must(f.Close())
	f, err = d.Open("d/a")
	d.must(err)
	d.must(f.Close())
	f, err = d.OpenRead("d/a")
	d.must(err)
	d.must(f.Close())
	f, err = d.OpenUncached("d/a")
	d.must(err)
	d.must(f.Close())
	d.must(d.Rename("d/a", "d/b"))
	_, err = d.Stat("d/b")
	d.must(err)
	_, err = d.ReadDir("d")
	d.must(err)
	d.must(d.Remove("d/b"))
	d.must(d.SyncDir("d"))
	d.must(d.SyncAll())
	l, err := d.Lock("LOCK")
	d.must(err)
	d.must(l.Close())
	_, err = d.Free()
	d.must(err)

	want := []string{
		"0 mkdir d", "1 create d/a", "2 write d/a at=3 bytes=2", "3 read d/a at=4 bytes=1: EOF", "4 size d/a",
		"5 truncate d/a size=1", "6 syncdata d/a", "7 sync d/a", "8 close d/a", "9 open d/a", "10 close d/a",
		"11 openread d/a", "12 close d/a", "13 openuncached d/a", "14 close d/a", "15 rename d/a to d/b", "16 stat d/b",
		"17 readdir d", "18 remove d/b", "19 syncdir d", "20 syncall .", "21 lock LOCK", "22 unlock LOCK", "23 free .",
	}
	if got := d.Log(); !slices.Equal(got, want) {
		t.Errorf("log:\ngot  %q\nwant %q", got, want)
	}
	if d.Ops() != len(want) || len(hooked) != len(want) || hooked[15] != "15 rename d/a" {
		t.Errorf("got %d operations and %d calls of the hook, want %d", d.Ops(), len(hooked), len(want))
	}
	if got := d.OpenFiles(); got != 0 {
		t.Errorf("open files: got %d, want 0", got)
	}
	d.ResetOps()
	if d.Ops() != 0 || len(d.Log()) != 0 {
		t.Error("ResetOps left something")
	}
	d.KeepLog(false)
	d.must(d.SyncAll())
	if d.Ops() != 1 || len(d.Log()) != 0 {
		t.Error("an operation is not counted, or logged with the log off")
	}
}

// everyOp does one of each operation and returns their errors.
func everyOp(fsys FS) []error {
	var errs []error
	note := func(err error) { errs = append(errs, err) }
	note(fsys.Mkdir("d"))
	f, err := fsys.Create("a")
	note(err)
	if f == nil {
		f, _ = fsys.Open("a")
	}
	if f != nil {
		_, err = f.WriteAt([]byte("xxxx"), 0)
		note(err)
		_, err = f.ReadAt(make([]byte, 1), 0)
		note(err)
		note(f.Truncate(2))
		note(f.SyncData())
		note(f.Close())
	}
	note(fsys.Rename("a", "b"))
	note(fsys.SyncDir("."))
	l, err := fsys.Lock("LOCK")
	note(err)
	if l != nil {
		note(l.Close())
	}
	return append(errs, fsys.Remove("b"))
}

func TestInjectedErrorsStrikeOnce(t *testing.T) {
	clean := NewSim(1)
	everyOp(clean)
	for at := range clean.Ops() {
		s := NewSim(1)
		s.Inject(Fault{At: at, Err: syscall.EIO})
		struck := 0
		for _, err := range everyOp(s) {
			if errors.Is(err, syscall.EIO) {
				struck++
			}
		}
		if struck != 1 {
			t.Errorf("fault at %d: struck %d times, want 1\n%s", at, struck, strings.Join(s.Log(), "\n"))
		}
		if got := s.OpenFiles(); got != 0 {
			t.Errorf("fault at %d: %d files stay open", at, got)
		}
	}
}

func TestInjectedErrorsStrikeAsOftenAsAsked(t *testing.T) {
	for count, want := range map[int]int{0: 1, 1: 1, 2: 2, -1: 5} {
		s := NewSim(1)
		s.Inject(Fault{At: 1, Err: syscall.EIO, Count: count, Kind: "mkdir"})
		failed := 0
		for i := range 6 {
			if s.Mkdir(fmt.Sprint("d", i)) != nil {
				failed++
			}
			if _, err := s.Stat("."); err != nil {
				t.Errorf("count %d: a fault of mkdir struck stat: %v", count, err)
			}
			if i == 0 && failed > 0 {
				t.Errorf("count %d: struck before its time", count)
			}
		}
		if failed != want {
			t.Errorf("count %d: got %d failures, want %d", count, failed, want)
		}
		s.ClearFaults()
		if err := s.Mkdir("later"); err != nil {
			t.Errorf("count %d: a cleared fault struck: %v", count, err)
		}
	}
}

func TestFailedWriteIsShort(t *testing.T) {
	d := newDisk(t)
	f := d.create("a", "......")
	d.Inject(Fault{At: d.Ops(), Err: syscall.ENOSPC, Short: 2, Kind: "write", Name: "a"})
	n, err := f.WriteAt([]byte("xxxx"), 0)
	wantErr(t, "write", err, ErrNoSpace)
	wantErr(t, "write", err, syscall.ENOSPC)
	if n != 2 {
		t.Errorf("got %d bytes, want 2", n)
	}
	d.want(map[string]string{"a": "xx...."})
}

func TestFullDiskTakesNoMore(t *testing.T) {
	d := newDisk(t)
	d.SetCapacity(10)
	f := d.create("a", "123456")
	n, err := f.WriteAt([]byte("abcdef"), 6)
	wantErr(t, "write", err, ErrNoSpace)
	if n != 4 {
		t.Errorf("got %d bytes, want the 4 that fit", n)
	}
	d.write(f, 0, "654321") // what is there can be written over
	_, err = d.Create("b")
	wantErr(t, "create", err, ErrNoSpace)
	wantErr(t, "mkdir", d.Mkdir("d"), ErrNoSpace)
	wantErr(t, "truncate", f.Truncate(11), ErrNoSpace)
	if free, err := d.Free(); free != 0 || err != nil {
		t.Errorf("free: got %d, %v, want 0", free, err)
	}
	if free, _ := d.Crash(Survival{Mode: KeepAll}).Free(); free != 0 {
		t.Errorf("free after a cut: got %d, want 0", free)
	}
	if free, _ := d.Kill().Free(); free != 0 {
		t.Errorf("free after a kill: got %d, want 0", free)
	}
	d.must(d.Remove("a"))
	if free, _ := d.Free(); free != 0 {
		t.Errorf("free while a removed file is open: got %d, want 0", free)
	}
	d.must(f.Close())
	if free, _ := d.Free(); free != 10 {
		t.Errorf("free: got %d, want 10", free)
	}
	d.must(d.create("b", "12345").Close())
	d.must(d.create("c", "12345").Close())
	d.must(d.Rename("b", "c"))
	if free, _ := d.Free(); free != 5 {
		t.Errorf("free after a renaming over a file: got %d, want 5", free)
	}
}

func TestWritesPastAnyFileSizeFail(t *testing.T) {
	d := newDisk(t)
	f := d.create("a", "")
	_, err := f.WriteAt([]byte("x"), 1<<62)
	wantErr(t, "write", err, ErrNoSpace)
	wantErr(t, "truncate", f.Truncate(1<<62), ErrNoSpace)
	d.want(map[string]string{"a": ""})
}

func TestNothingWorksAfterTheCrash(t *testing.T) {
	clean := NewSim(1)
	everyOp(clean)
	for at := range clean.Ops() {
		s := NewSim(1)
		s.CrashAt(at)
		errs := everyOp(s)
		for i, err := range errs {
			if dead := i >= at; errors.Is(err, ErrCrashed) != dead {
				t.Errorf("crash at %d, operation %d: got error %v", at, i, err)
			}
		}
		if got := s.OpenFiles(); at < 1 && got != 0 {
			t.Errorf("crash at %d: %d files are open", at, got)
		}
		if _, err := s.Kill().ReadDir("."); err != nil {
			t.Errorf("crash at %d: the next process fails: %v", at, err)
		}
	}
}

func TestCrashingOperationIsDoneButNotDurable(t *testing.T) {
	d := newDisk(t)
	f := d.create("a", "one")
	d.CrashAt(d.Ops())
	wantErr(t, "rename", d.Rename("a", "b"), ErrCrashed)
	wantErr(t, "sync", d.SyncDir("."), ErrCrashed)
	for range 10 {
		_, err := f.WriteAt([]byte("never"), 0)
		wantErr(t, "write", err, ErrCrashed)
	}
	wantErr(t, "mkdir", d.Mkdir("d"), ErrCrashed)
	if got := d.Unsynced(); got != 1 {
		t.Errorf("unsynced: got %d effects, want the renaming", got)
	}
	d.after(Survival{Mode: DropAll}).want(map[string]string{"a": "one"})
	d.after(Survival{Mode: KeepAll}).want(map[string]string{"b": "one"})
}

func TestCrashingWriteIsSometimesTorn(t *testing.T) {
	lengths := map[int]int{}
	for seed := range uint64(100) {
		d := disk{NewSim(seed), t}
		f := d.create("a", "")
		d.CrashAt(d.Ops())
		_, err := f.WriteAt([]byte(fill('x', 100)), 0)
		wantErr(t, "write", err, ErrCrashed)
		lengths[len(d.Files()["a"])]++
	}
	if lengths[100] < 50 || len(lengths) < 10 {
		t.Errorf("got lengths %v, want most whole and some torn", lengths)
	}
}

func TestCrashingSyncMakesNothingDurable(t *testing.T) {
	d := newDisk(t)
	f := d.create("a", "one")
	d.write(f, 0, "two")
	d.CrashAt(d.Ops())
	wantErr(t, "sync", f.SyncData(), ErrCrashed)
	d.after(Survival{Mode: DropAll}).want(map[string]string{"a": "one"})
	d.after(Survival{Mode: KeepAll}).want(map[string]string{"a": "two"})
}

func TestHookMayCutThePower(t *testing.T) {
	d := newDisk(t)
	var image *Sim
	d.OnOp(func(op int, kind, _ string) {
		if kind == "rename" {
			image = d.Crash(Survival{Mode: KeepAll})
			d.CrashAt(op)
		}
	})
	d.create("a", "x")
	wantErr(t, "rename", d.Rename("a", "b"), ErrCrashed)
	disk{image, t}.want(map[string]string{"a": "x"})
	d.want(map[string]string{"b": "x"})
}

func TestCorruptChangesBothViews(t *testing.T) {
	d := newDisk(t)
	f := d.create("a", "abc")
	d.Corrupt("a", 1, 0x20)
	d.want(map[string]string{"a": "aBc"})
	d.after(Survival{Mode: DropAll}).want(map[string]string{"a": "aBc"})
	d.write(f, 3, "d")
	d.Corrupt("a", 0, 0x20)
	d.want(map[string]string{"a": "ABcd"})
	d.after(Survival{Mode: DropAll}).want(map[string]string{"a": "ABc"})
	d.must(f.Sync())
	d.after(Survival{Mode: DropAll}).want(map[string]string{"a": "ABcd"})
}

func TestSetFileIsDurable(t *testing.T) {
	d := newDisk(t)
	f := d.create("a", "old")
	d.write(f, 0, "un-synced")
	d.SetFile("a", []byte("new"))
	d.SetFile("d/b", []byte("b"))
	d.SetDir("e")
	d.SetOdd("pipe")
	for _, v := range Survivals() {
		image := d.after(v)
		image.want(map[string]string{"a": "new", "d/b": "b"})
		_, err := image.Open("pipe")
		wantErr(t, "open a pipe", err, errNotRegular)
		if e, err := image.Stat("e"); err != nil || !e.Dir {
			t.Errorf("stat: got %+v, %v, want a directory", e, err)
		}
	}
	d.RemoveFile("d")
	d.RemoveFile("none")
	d.want(map[string]string{"a": "new"})
	d.after(Survival{Mode: DropAll}).want(map[string]string{"a": "new"})
	if got := d.used; got != 3 {
		t.Errorf("used: got %d bytes, want 3", got)
	}
}

func TestFormerFilesAreForgotten(t *testing.T) {
	d := newDisk(t)
	for range 100 {
		d.must(d.create("a", "x").Close())
		d.must(d.Remove("a"))
		d.must(d.SyncDir("."))
	}
	if got := len(d.nodes); got != 1 {
		t.Errorf("got %d nodes, want the root alone", got)
	}
	if got := len(d.old); got != oldContents {
		t.Errorf("got %d former contents, want %d", got, oldContents)
	}
}

func TestCloneIsTheSameDisk(t *testing.T) {
	d := newDisk(t)
	f := d.create("a", "one")
	d.write(f, 0, "two")
	d.Inject(Fault{At: d.Ops(), Err: syscall.EIO})
	clone := disk{d.Clone(), t}
	if clone.Ops() != d.Ops() || !slices.Equal(clone.Log(), d.Log()) || clone.OpenFiles() != 0 {
		t.Error("the clone counts or logs otherwise")
	}
	for _, v := range Survivals() {
		if !equalFiles(clone.Crash(v).Files(), d.Crash(v).Files()) {
			t.Errorf("survival %+v: the clone's image differs", v)
		}
	}
	wantErr(t, "clone", clone.SyncDir("."), syscall.EIO)
	wantErr(t, "original", d.SyncDir("."), syscall.EIO)
}

func TestConcurrentCallsDoNotDisturbEachOther(t *testing.T) {
	d := newDisk(t)
	f := d.create("a", "")
	var wait sync.WaitGroup
	for i := range int64(8) {
		wait.Go(func() {
			for j := range int64(50) {
				if _, err := f.WriteAt([]byte{byte('0' + i)}, i*50+j); err != nil {
					t.Error(err)
				}
				if err := f.SyncData(); err != nil {
					t.Error(err)
				}
				d.Crash(Survival{Mode: Random})
			}
		})
	}
	wait.Wait()
	var want strings.Builder
	for i := range 8 {
		want.WriteString(fill(byte('0'+i), 50))
	}
	d.after(Survival{Mode: DropAll}).want(map[string]string{"a": want.String()})
}
