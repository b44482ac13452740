package vfs

import (
	"errors"
	"syscall"
)

// isNoSpace knows the system's numbers, and the names that package syscall
// gives to errors of unix.
func isNoSpace(err error) bool {
	const (
		handleDiskFull    = syscall.Errno(39)
		diskFull          = syscall.Errno(112)
		fileTooLarge      = syscall.Errno(223)
		diskQuotaExceeded = syscall.Errno(1295)
	)
	for _, full := range []error{
		handleDiskFull, diskFull, fileTooLarge, diskQuotaExceeded,
		syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG,
	} {
		if errors.Is(err, full) {
			return true
		}
	}
	return false
}
