//go:build linux || darwin || freebsd

package vfs

import (
	"os"

	"golang.org/x/sys/unix"
)

// freeBytes is what an ordinary user may still write.
func freeBytes(dir *os.File) (int64, error) {
	var stat unix.Statfs_t
	err := withFD(dir, func(fd int) error { return unix.Fstatfs(fd, &stat) })
	if err != nil {
		return 0, err
	}
	return max(0, int64(stat.Bavail)) * int64(stat.Bsize), nil
}
