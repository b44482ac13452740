//go:build unix

package vfs

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

const openNonblock = syscall.O_NONBLOCK

func syncDir(open func() (*os.File, error)) (err error) {
	f, err := open()
	if err != nil {
		return err
	}
	defer closeInto(&err, f)
	return f.Sync()
}

// tryLock uses flock: a lock of fcntl would be lost when any descriptor of the
// file is closed.
func tryLock(f *os.File) error {
	err := withFD(f, func(fd int) error { return syscall.Flock(fd, syscall.LOCK_EX|syscall.LOCK_NB) })
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return errLocked
	}
	return err
}

// probeLock fails with errLocked where another process holds the lock.
func probeLock(f *os.File) error {
	err := withFD(f, func(fd int) error { return syscall.Flock(fd, syscall.LOCK_SH|syscall.LOCK_NB) })
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return errLocked
	}
	return err // closing f unlocks it
}

// withFD calls f again after signals.
func withFD(file *os.File, f func(fd int) error) error {
	conn, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = conn.Control(func(fd uintptr) {
		for {
			if failed = f(int(fd)); !errors.Is(failed, syscall.EINTR) {
				return
			}
		}
	})
	if err != nil {
		return fs.ErrClosed // the one reason there is; package os has no name for it here
	}
	return failed
}
