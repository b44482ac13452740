package vfs

import (
	"cmp"
	"errors"
	"math"
	"os"

	"golang.org/x/sys/windows"
)

// openNonblock is nothing: a named pipe is not a name in a directory here.
const openNonblock = 0

// syncDir does nothing: Windows cannot flush a directory.
func syncDir(func() (*os.File, error)) error { return nil }

// tryLock locks a byte far behind the end of the file: a locked byte cannot be
// read by others, and they shall read who holds the lock.
func tryLock(f *os.File) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = conn.Control(func(fd uintptr) {
		at := windows.Overlapped{OffsetHigh: math.MaxInt32}
		const flags = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
		failed = windows.LockFileEx(windows.Handle(fd), flags, 0, 1, 0, &at)
	})
	if errors.Is(failed, windows.ERROR_LOCK_VIOLATION) || errors.Is(failed, windows.ERROR_IO_PENDING) {
		return errLocked
	}
	return cmp.Or(err, failed)
}

// probeLock fails with errLocked where another process holds the lock. Closing
// the file gives up what it took.
func probeLock(f *os.File) error { return tryLock(f) }

func freeBytes(dir *os.File) (int64, error) {
	name, err := windows.UTF16PtrFromString(dir.Name())
	if err != nil {
		return 0, err
	}
	var free uint64
	if err := windows.GetDiskFreeSpaceEx(name, &free, nil, nil); err != nil {
		return 0, err
	}
	return int64(min(free, math.MaxInt64)), nil
}
