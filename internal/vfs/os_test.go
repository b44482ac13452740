package vfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func openDir(t *testing.T) (FS, string) {
	t.Helper()
	path := t.TempDir()
	fsys, err := Dir(path)
	must(t, err)
	t.Cleanup(func() { closing(t, fsys) })
	return fsys, path
}

func TestDirRefusesAMissingDirectory(t *testing.T) {
	_, err := Dir(filepath.Join(t.TempDir(), "none"))
	wantErr(t, "dir", err, fs.ErrNotExist)
}

func TestLinksAreRefused(t *testing.T) {
	fsys, path := openDir(t)
	put(t, fsys, "a", "x")
	if err := os.Symlink("a", filepath.Join(path, "link")); err != nil {
		t.Skip(err)
	}
	_, err := fsys.Open("link")
	wantErr(t, "open", err, errNotRegular)
	_, err = fsys.OpenRead("link")
	wantErr(t, "openread", err, errNotRegular)
	_, err = fsys.Lock("link")
	wantErr(t, "lock", err, errNotRegular)
	_, err = fsys.Create("link")
	wantErr(t, "create", err, fs.ErrExist)
	if e, err := fsys.Stat("link"); err != nil || e.Regular || e.Dir {
		t.Errorf("stat: got %+v, %v, want neither a file nor a directory", e, err)
	}
}

func TestModesKeepOthersOut(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no modes")
	}
	fsys, path := openDir(t)
	must(t, fsys.Mkdir("d"))
	put(t, fsys, "a", "x")
	lock, err := fsys.Lock("LOCK")
	must(t, err)
	defer closing(t, lock)
	for name, want := range map[string]fs.FileMode{"d": dirMode, "a": fileMode, "LOCK": fileMode} {
		info, err := os.Stat(filepath.Join(path, name))
		must(t, err)
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s: got mode %o, want %o", name, got, want)
		}
	}
}

func TestLockShowsAHoldersTextOnly(t *testing.T) {
	fsys, path := openDir(t)
	lock, err := fsys.Lock("LOCK")
	must(t, err)
	defer closing(t, lock)
	must(t, os.WriteFile(filepath.Join(path, "LOCK"), []byte("pid 1\n\x1b[31m"+strings.Repeat("x", 9999)), 0o600))
	_, err = fsys.Lock("LOCK")
	locked, ok := errors.AsType[*LockedError](err)
	if !ok {
		t.Fatalf("got error %v, want a LockedError", err)
	}
	if got := locked.Holder; !strings.HasPrefix(got, "pid 1[31mxxx") || len(got) > holderBytesMax {
		t.Errorf("got holder %q", got)
	}
}

func TestLockHoldsThroughAnotherRoot(t *testing.T) {
	fsys, path := openDir(t)
	lock, err := fsys.Lock("LOCK")
	must(t, err)
	other, err := Dir(path)
	must(t, err)
	defer closing(t, other)
	if _, err := other.Lock("LOCK"); !isLocked(err) {
		t.Errorf("got error %v, want a LockedError", err)
	}
	must(t, lock.Close())
	lock, err = other.Lock("LOCK")
	must(t, err)
	must(t, lock.Close())
}

func isLocked(err error) bool {
	_, ok := errors.AsType[*LockedError](err)
	return ok
}

func TestMkdirAllSyncMakesParents(t *testing.T) {
	root := t.TempDir()
	path := filepath.Join(root, "a", "b", "c")
	must(t, MkdirAllSync(path))
	must(t, MkdirAllSync(path))
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		t.Fatalf("got %v, %v, want a directory", info, err)
	}
	must(t, os.WriteFile(filepath.Join(root, "f"), nil, 0o600))
	if err := MkdirAllSync(filepath.Join(root, "f")); err == nil {
		t.Error("a file passed for a directory")
	}
	if err := MkdirAllSync(filepath.Join(root, "f", "d")); err == nil {
		t.Error("made a directory in a file")
	}
}

// TestOpenBesideRenames: a file that is replaced while it is opened is one of
// those that had the name.
func TestOpenBesideRenames(t *testing.T) {
	fsys, _ := openDir(t)
	put(t, fsys, "a", "x")
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
			}
			f, err := fsys.Create("new")
			if err == nil {
				err = errors.Join(f.Close(), fsys.Rename("new", "a"))
			}
			if err != nil {
				t.Error(err)
				return
			}
		}
	}()
	defer func() { close(stop); <-stopped }()
	for range 5000 {
		f, err := fsys.OpenRead("a")
		if err != nil {
			t.Fatal(err)
		}
		closing(t, f)
	}
}
