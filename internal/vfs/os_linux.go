package vfs

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// syncData leaves out times, and so a commit of the journal where no block was
// allocated.
func syncData(f *os.File) error { return withFD(f, syscall.Fdatasync) }

// setDirect makes reads and writes of f go around the page cache, or no longer.
func setDirect(f *os.File, on bool) error {
	return withFD(f, func(fd int) error {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
		if err != nil {
			return err
		}
		if flags &^= unix.O_DIRECT; on {
			flags |= unix.O_DIRECT
		}
		_, err = unix.FcntlInt(uintptr(fd), unix.F_SETFL, flags)
		return err
	})
}

// readsDirect makes reads of f go around the page cache. Some file systems take
// the flag and read from the cache all the same, so only those count that say
// what direct reads must be aligned to (Linux 6.1 and later: ext4, XFS, and
// others). Ext4 that journals data, tmpfs and older kernels do not.
func readsDirect(f *os.File) error {
	var x unix.Statx_t
	err := withFD(f, func(fd int) error {
		return unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_DIOALIGN, &x)
	})
	if err != nil {
		return err
	}
	fits := func(align uint32) bool { return align > 0 && directAlign%align == 0 }
	if x.Mask&unix.STATX_DIOALIGN == 0 || !fits(x.Dio_mem_align) || !fits(x.Dio_offset_align) {
		return errors.ErrUnsupported
	}
	return setDirect(f, true)
}

// refusesDirect says whether err is what a direct call fails with that is not
// aligned as the file system wants it.
func refusesDirect(err error) bool { return errors.Is(err, syscall.EINVAL) }

// startWrite promises nothing, and takes no error away from the next sync.
func startWrite(f *os.File, off int64, n int) {
	_ = withFD(f, func(fd int) error {
		return unix.SyncFileRange(fd, off, int64(n), unix.SYNC_FILE_RANGE_WRITE)
	})
}

func syncAll(f *os.File) error {
	if !syncfsReports() {
		return errors.ErrUnsupported
	}
	return withFD(f, unix.Syncfs)
}

// syncfsReports says whether syncfs fails where a write failed. Before Linux
// 5.8 it did not.
var syncfsReports = sync.OnceValue(func() bool {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return false
	}
	return atLeast(unix.ByteSliceToString(name.Release[:]), 5, 8)
})

// atLeast says whether a release such as "6.1.0-2-amd64" is no older than that.
func atLeast(release string, major, minor int) bool {
	var gotMajor, gotMinor int
	if _, err := fmt.Sscanf(release, "%d.%d", &gotMajor, &gotMinor); err != nil {
		return false
	}
	return gotMajor > major || gotMajor == major && gotMinor >= minor
}
