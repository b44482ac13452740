//go:build unix

package vfs

import (
	"errors"
	"syscall"
)

// isNoSpace counts a file past its size limit as a full disk: to the log it is
// the same thing, and it ends when the limit is lifted.
func isNoSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}
