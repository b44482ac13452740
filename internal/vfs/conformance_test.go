package vfs

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unsafe"
)

// each runs a test on the operating system and on the simulated disk.
func each(t *testing.T, test func(t *testing.T, fsys FS)) {
	t.Run("os", func(t *testing.T) {
		fsys, err := Dir(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer closing(t, fsys)
		test(t, fsys)
	})
	t.Run("sim", func(t *testing.T) {
		sim := NewSim(1)
		test(t, sim)
		if n := sim.OpenFiles(); n != 0 {
			t.Errorf("open descriptors at the end: got %d, want 0", n)
		}
	})
}

func closing(t *testing.T, c io.Closer) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: got error %v, want %v", what, got, want)
	}
}

// put makes a file with content.
func put(t *testing.T, fsys FS, name, content string) {
	t.Helper()
	f, err := fsys.Create(name)
	must(t, err)
	defer closing(t, f)
	n, err := f.WriteAt([]byte(content), 0)
	must(t, err)
	if n != len(content) {
		t.Fatalf("write %s: got %d bytes, want %d", name, n, len(content))
	}
	must(t, f.Sync())
}

func get(t *testing.T, fsys FS, name string) string {
	t.Helper()
	f, err := fsys.OpenRead(name)
	must(t, err)
	defer closing(t, f)
	return read(t, f)
}

func read(t *testing.T, f File) string {
	t.Helper()
	size, err := f.Size()
	must(t, err)
	b := make([]byte, size)
	if n, err := f.ReadAt(b, 0); n != len(b) || err != nil && err != io.EOF {
		t.Fatalf("read: got %d bytes and error %v, want %d", n, err, len(b))
	}
	return string(b)
}

func names(t *testing.T, fsys FS, dir string) []string {
	t.Helper()
	list, err := fsys.ReadDir(dir)
	must(t, err)
	var names []string
	for _, e := range list {
		names = append(names, e.Name)
	}
	return names
}

func TestCreateRefusesATakenName(t *testing.T) {
	each(t, func(t *testing.T, fsys FS) {
		put(t, fsys, "a", "x")
		_, err := fsys.Create("a")
		wantErr(t, "create", err, fs.ErrExist)
		must(t, fsys.Mkdir("d"))
		wantErr(t, "mkdir", fsys.Mkdir("d"), fs.ErrExist)
		wantErr(t, "mkdir", fsys.Mkdir("a"), fs.ErrExist)
		_, err = fsys.Create("d")
		wantErr(t, "create", err, fs.ErrExist)
	})
}

func TestMissingNamesAreNotExist(t *testing.T) {
	each(t, func(t *testing.T, fsys FS) {
		_, err := fsys.Open("a")
		wantErr(t, "open", err, fs.ErrNotExist)
		_, err = fsys.OpenRead("a")
		wantErr(t, "openread", err, fs.ErrNotExist)
		_, err = fsys.Create("d/a")
		wantErr(t, "create", err, fs.ErrNotExist)
		_, err = fsys.ReadDir("d")
		wantErr(t, "readdir", err, fs.ErrNotExist)
		_, err = fsys.Stat("a")
		wantErr(t, "stat", err, fs.ErrNotExist)
		wantErr(t, "mkdir", fsys.Mkdir("d/e"), fs.ErrNotExist)
		wantErr(t, "rename", fsys.Rename("a", "b"), fs.ErrNotExist)
		wantErr(t, "remove", fsys.Remove("a"), fs.ErrNotExist)
	})
}

func TestNamesThatLeadOutAreInvalid(t *testing.T) {
	each(t, func(t *testing.T, fsys FS) {
		for _, name := range []string{"", "/a", "../a", "a/../b", "./a", "a/"} {
			_, err := fsys.Create(name)
			wantErr(t, "create "+name, err, fs.ErrInvalid)
			_, err = fsys.Open(name)
			wantErr(t, "open "+name, err, fs.ErrInvalid)
			_, err = fsys.Stat(name)
			wantErr(t, "stat "+name, err, fs.ErrInvalid)
			wantErr(t, "mkdir "+name, fsys.Mkdir(name), fs.ErrInvalid)
			wantErr(t, "remove "+name, fsys.Remove(name), fs.ErrInvalid)
			wantErr(t, "rename "+name, fsys.Rename(name, "b"), fs.ErrInvalid)
			_, err = fsys.Lock(name)
			wantErr(t, "lock "+name, err, fs.ErrInvalid)
		}
	})
}

func TestReadIsShortOnlyAtTheEnd(t *testing.T) {
	each(t, func(t *testing.T, fsys FS) {
		put(t, fsys, "a", "0123456789")
		f, err := fsys.OpenRead("a")
		must(t, err)
		defer closing(t, f)
		for _, test := range []struct {
			off    int64
			length int
			want   string
			err    error
		}{
			{0, 4, "0123", nil}, {6, 4, "6789", nil}, {8, 4, "89", io.EOF}, {10, 1, "", io.EOF}, {99, 1, "", io.EOF},
		} {
			b := make([]byte, test.length)
			n, err := f.ReadAt(b, test.off)
			if string(b[:n]) != test.want || err != nil && err != test.err || test.err != nil && err == nil {
				t.Errorf("read %d at %d: got %q, %v, want %q, %v", test.length, test.off, b[:n], err, test.want, test.err)
			}
		}
	})
}

func TestWritesAnywhereMakeOneFile(t *testing.T) {
	each(t, func(t *testing.T, fsys FS) {
		f, err := fsys.Create("a")
		must(t, err)
		defer closing(t, f)
		want := make([]byte, 3*pageSize)
		for _, at := range []struct{ off, n int }{
			{0, 1}, {pageSize - 1, 2}, {2 * pageSize, pageSize}, {100, 2 * pageSize}, {5, 0}, {7, 3},
		} {
			p := bytes.Repeat([]byte{byte(at.n)}, at.n)
			copy(want[at.off:], p)
			_, err := f.WriteAt(p, int64(at.off))
			must(t, err)
		}
		if read(t, f) != string(want) {
			t.Error("the file is not what was written")
		}
	})
}

func TestTruncatedBytesAreZerosWhenTheFileGrows(t *testing.T) {
	each(t, func(t *testing.T, fsys FS) {
		put(t, fsys, "a", fill('x', 2*pageSize))
		f, err := fsys.Open("a")
		must(t, err)
		defer closing(t, f)
		must(t, f.Truncate(10))
		must(t, f.SyncData())
		must(t, f.Truncate(pageSize+10))
		if want := fill('x', 10) + fill(0, pageSize); read(t, f) != want {
			t.Error("bytes that were cut off are there again")
		}
		must(t, f.Truncate(10))
		_, err = f.WriteAt([]byte("y"), 2*pageSize)
		must(t, err)
		if want := fill('x', 10) + fill(0, 2*pageSize-10) + "y"; read(t, f) != want {
			t.Error("bytes that were cut off are there again, before a write")
		}
	})
}

func TestReadDirIsSorted(t *testing.T) {
	each(t, func(t *testing.T, fsys FS) {
		must(t, fsys.Mkdir("d"))
		for _, name := range []string{"d/c", "d/a", "d/b"} {
			put(t, fsys, name, "123")
		}
		must(t, fsys.Mkdir("d/aa"))
		list, err := fsys.ReadDir("d")
		must(t, err)
		list[1].Size = 0 // a directory's is its own affair
		want := []Entry{
			{"a", 3, false, true}, {"aa", 0, true, false}, {"b", 3, false, true}, {"c", 3, false, true},
		}
		if !slices.Equal(list, want) {
			t.Errorf("got %v, want %v", list, want)
		}
		if got := names(t, fsys, "."); !slices.Equal(got, []string{"d"}) {
			t.Errorf("root: got %v, want [d]", got)
		}
		if e, err := fsys.Stat("d/b"); err != nil || e != want[2] {
			t.Errorf("stat: got %v, %v, want %v", e, err, want[2])
		}
	})
}

func TestRenameReplaces(t *testing.T) {
	each(t, func(t *testing.T, fsys FS) {
		put(t, fsys, "a", "new")
		put(t, fsys, "b", "old")
		must(t, fsys.Rename("a", "b"))
		must(t, fsys.Mkdir("d"))
		must(t, fsys.SyncDir("."))
		if got := get(t, fsys, "b"); got != "new" {
			t.Errorf("got %q, want new", got)
		}
		must(t, fsys.Rename("b", "d/c"))
		if got := get(t, fsys, "d/c"); got != "new" {
			t.Errorf("got %q, want new", got)
		}
		if got := names(t, fsys, "."); !slices.Equal(got, []string{"d"}) {
			t.Errorf("root: got %v, want [d]", got)
		}
		if err := fsys.Rename("d/c", "d"); err == nil {
			t.Error("a file took the name of a directory")
		}
	})
}

func TestOpenFilesOutliveTheirNames(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a name is taken until the last descriptor is closed")
	}
	each(t, func(t *testing.T, fsys FS) {
		put(t, fsys, "a", "old")
		f, err := fsys.Open("a")
		must(t, err)
		defer closing(t, f)
		must(t, fsys.Remove("a"))
		put(t, fsys, "a", "new")
		if got := read(t, f); got != "old" {
			t.Errorf("got %q, want old", got)
		}
		if got := get(t, fsys, "a"); got != "new" {
			t.Errorf("got %q, want new", got)
		}
	})
}

func TestRemoveRefusesAFullDirectory(t *testing.T) {
	each(t, func(t *testing.T, fsys FS) {
		must(t, fsys.Mkdir("d"))
		put(t, fsys, "d/a", "")
		if err := fsys.Remove("d"); err == nil {
			t.Error("removed a directory with a file in it")
		}
		must(t, fsys.Remove("d/a"))
		must(t, fsys.Remove("d"))
		if got := names(t, fsys, "."); len(got) != 0 {
			t.Errorf("got %v, want nothing", got)
		}
	})
}

func TestOpenRefusesADirectory(t *testing.T) {
	each(t, func(t *testing.T, fsys FS) {
		must(t, fsys.Mkdir("d"))
		_, err := fsys.Open("d")
		wantErr(t, "open", err, errNotRegular)
		_, err = fsys.OpenRead("d")
		wantErr(t, "openread", err, errNotRegular)
		if _, err := fsys.Lock("d"); err == nil {
			t.Error("locked a directory")
		}
	})
}

func TestOpenReadRefusesWrites(t *testing.T) {
	each(t, func(t *testing.T, fsys FS) {
		put(t, fsys, "a", "old")
		f, err := fsys.OpenRead("a")
		must(t, err)
		defer closing(t, f)
		if _, err := f.WriteAt([]byte("new"), 0); err == nil {
			t.Error("wrote")
		}
		if err := f.Truncate(0); err == nil {
			t.Error("truncated")
		}
		if got := read(t, f); got != "old" {
			t.Errorf("got %q, want old", got)
		}
	})
}

func TestClosedFilesFail(t *testing.T) {
	each(t, func(t *testing.T, fsys FS) {
		f, err := fsys.Create("a")
		must(t, err)
		must(t, f.Close())
		_, err = f.ReadAt(make([]byte, 1), 0)
		wantErr(t, "read", err, fs.ErrClosed)
		_, err = f.WriteAt(make([]byte, 1), 0)
		wantErr(t, "write", err, fs.ErrClosed)
		wantErr(t, "syncdata", f.SyncData(), fs.ErrClosed)
		wantErr(t, "sync", f.Sync(), fs.ErrClosed)
		wantErr(t, "close", f.Close(), fs.ErrClosed)
	})
}

func TestLockIsForOne(t *testing.T) {
	each(t, func(t *testing.T, fsys FS) {
		lock, err := fsys.Lock("LOCK")
		must(t, err)
		_, err = fsys.Lock("LOCK")
		locked, ok := errors.AsType[*LockedError](err)
		if !ok {
			t.Fatalf("second lock: got error %v, want a LockedError", err)
		}
		if want := get(t, fsys, "LOCK"); locked.Name != "LOCK" || locked.Holder != want || want == "" {
			t.Errorf("got %+v, want LOCK and %q", locked, want)
		}
		must(t, lock.Close())
		if got := names(t, fsys, "."); !slices.Equal(got, []string{"LOCK"}) {
			t.Errorf("after unlock: got %v, want [LOCK]", got)
		}
		lock, err = fsys.Lock("LOCK")
		must(t, err)
		must(t, lock.Close())
	})
}

func TestSyncCallsAccept(t *testing.T) {
	each(t, func(t *testing.T, fsys FS) {
		must(t, fsys.Mkdir("d"))
		put(t, fsys, "d/a", "x")
		must(t, fsys.SyncDir("d"))
		must(t, fsys.SyncDir("."))
		if err := fsys.SyncAll(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
			t.Error(err)
		}
		if free, err := fsys.Free(); err != nil || free <= 0 {
			t.Errorf("free: got %d, %v", free, err)
		}
	})
}

// What goes around the page cache and what does not is the same file, whichever
// way it is written and read, in any order.
func TestDirectFilesHoldWhatWasWritten(t *testing.T) {
	each(t, func(t *testing.T, fsys FS) {
		const page = 4096
		put(t, fsys, "a", strings.Repeat("0", 4*page))
		want := []byte(strings.Repeat("0", 4*page))
		for _, step := range []struct{ off, skip, n int }{
			{page, 0, 2 * page},   // aligned
			{0, 0, page},          // again
			{3 * page, 8, page},   // memory is not
			{page + 100, 0, 50},   // nor is the place
			{2 * page, 0, page},   // aligned, on an ordinary file by now
			{4 * page, 0, page},   // behind the end
			{5*page - 1, 3, page}, // across it
		} {
			f, err := fsys.OpenDirect("a")
			must(t, err)
			for i := range 2 { // the second is after a refusal, where there was one
				p := DirectBuffer(step.skip + step.n)[step.skip:]
				for j := range p {
					p[j] = byte('a' + (step.off+j+i)%26)
				}
				n, err := f.WriteAt(p, int64(step.off))
				must(t, err)
				if n != len(p) {
					t.Fatalf("%+v: wrote %d bytes", step, n)
				}
				want = append(want, make([]byte, max(0, step.off+step.n-len(want)))...)
				copy(want[step.off:], p)
				must(t, f.SyncData())
				if got := get(t, fsys, "a"); got != string(want) {
					t.Fatalf("%+v: other bytes than were written", step)
				}
				if got := read(t, f); got != string(want) {
					t.Fatalf("%+v: the file itself reads other bytes than were written", step)
				}
			}
			must(t, f.Close())
		}
		_, err := fsys.OpenDirect("missing")
		wantErr(t, "opendirect", err, fs.ErrNotExist)
		must(t, fsys.Mkdir("d"))
		_, err = fsys.OpenDirect("d")
		wantErr(t, "opendirect", err, errNotRegular)
	})
}

func TestUncachedFilesReadWhatWasWritten(t *testing.T) {
	each(t, func(t *testing.T, fsys FS) {
		const page = 4096
		put(t, fsys, "a", strings.Repeat("0", 3*page))
		f, err := fsys.OpenUncached("a")
		if errors.Is(err, errors.ErrUnsupported) {
			t.Skip("the file system of the temporary directory does not say that it reads from the disk")
		}
		must(t, err)
		w, err := fsys.Open("a")
		must(t, err)
		want := []byte(strings.Repeat("0", 3*page))
		for i, off := range []int64{0, page, 2*page - 1, page + 100} { // none is synced
			_, err := w.WriteAt([]byte{byte('a' + i), 'x'}, off)
			must(t, err)
			copy(want[off:], []byte{byte('a' + i), 'x'})
			if got := read(t, f); got != string(want) {
				t.Fatalf("write %d: other bytes than were written", i)
			}
		}
		for _, part := range []struct{ off, n, want int }{{1, 1, 1}, {page - 1, 2, 2}, {page + 5, page, page}, {3*page - 2, 5, 2}, {3 * page, 1, 0}, {2 * page, 3 * page, page}} {
			p := make([]byte, part.n)
			n, err := f.ReadAt(p, int64(part.off))
			if n != part.want || string(p[:n]) != string(want[part.off:][:n]) || (n < part.n) != errors.Is(err, io.EOF) || n == part.n && err != nil {
				t.Errorf("%d bytes at %d: got %d and error %v, want %d", part.n, part.off, n, err, part.want)
			}
		}
		if _, err := f.WriteAt([]byte("x"), 0); err == nil {
			t.Error("it takes writes")
		}
		must(t, f.SyncData())
		must(t, errors.Join(f.Close(), w.Close()))
		_, err = fsys.OpenUncached("missing")
		wantErr(t, "openuncached", err, fs.ErrNotExist)
		must(t, fsys.Mkdir("d"))
		_, err = fsys.OpenUncached("d")
		wantErr(t, "openuncached", err, errNotRegular)
	})
}

func TestDirectBuffersAreAligned(t *testing.T) {
	for _, n := range []int{1, directAlign - 1, directAlign, 100_000} {
		b := DirectBuffer(n)
		if at := uintptr(unsafe.Pointer(unsafe.SliceData(b))); at%directAlign != 0 || len(b) != n || cap(b) != n {
			t.Errorf("%d bytes: at %x, length %d, capacity %d", n, at, len(b), cap(b))
		}
	}
}
