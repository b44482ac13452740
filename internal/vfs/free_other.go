//go:build unix && !linux && !darwin && !freebsd

package vfs

import (
	"errors"
	"os"
)

func freeBytes(*os.File) (int64, error) { return 0, errors.ErrUnsupported }
