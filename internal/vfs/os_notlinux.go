//go:build !linux

package vfs

import (
	"errors"
	"os"
)

// syncData is Sync: on darwin fdatasync leaves the data in the drive's cache.
func syncData(f *os.File) error { return f.Sync() }

func syncAll(*os.File) error { return errors.ErrUnsupported }

func startWrite(*os.File, int64, int) {}
