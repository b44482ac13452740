package vfs

import (
	"os"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func TestAtLeastComparesReleases(t *testing.T) {
	for _, test := range []struct {
		release string
		want    bool
	}{
		{"5.8.0", true}, {"5.7.19", false}, {"6.1.0-2-amd64", true}, {"4.19", false}, {"10.0", true}, {"", false}, {"x.y", false},
	} {
		if got := atLeast(test.release, 5, 8); got != test.want {
			t.Errorf("%q: got %v, want %v", test.release, got, test.want)
		}
	}
}

// A file goes around the page cache until it is asked for what cannot.
func TestDirectFilesAreDirectUntilRefused(t *testing.T) {
	fsys, _ := openDir(t)
	put(t, fsys, "a", strings.Repeat("0", 2*directAlign))
	f, err := fsys.OpenDirect("a")
	must(t, err)
	defer closing(t, f)
	direct := f.(*directFile)
	if !isDirect(t, direct.f) {
		t.Skip("the file system of the temporary directory has no direct writes")
	}
	if _, err := f.WriteAt(DirectBuffer(directAlign), directAlign); err != nil || !isDirect(t, direct.f) {
		t.Fatalf("aligned write: error %v, direct %v", err, isDirect(t, direct.f))
	}
	if _, err := f.WriteAt([]byte("x"), 1); err != nil || isDirect(t, direct.f) {
		t.Fatalf("write of a byte: error %v, direct %v", err, isDirect(t, direct.f))
	}
}

// Whoever is refused, nobody beside him is.
func TestDirectFilesAreRefusedOnce(t *testing.T) {
	fsys, _ := openDir(t)
	put(t, fsys, "a", strings.Repeat("0", 2*directAlign))
	for range 500 {
		f, err := fsys.OpenDirect("a")
		must(t, err)
		var g sync.WaitGroup
		g.Go(func() {
			if _, err := f.ReadAt(make([]byte, 3), 1); err != nil {
				t.Error(err)
			}
		})
		g.Go(func() {
			if _, err := f.WriteAt([]byte("x"), 1); err != nil {
				t.Error(err)
			}
		})
		g.Wait()
		must(t, f.Close())
	}
}

func isDirect(t *testing.T, f *os.File) (on bool) {
	t.Helper()
	must(t, withFD(f, func(fd int) error {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
		on = flags&unix.O_DIRECT != 0
		return err
	}))
	return on
}
