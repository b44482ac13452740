//go:build !linux

package vfs

import (
	"errors"
	"os"
)

// syncData is Sync: on darwin fdatasync leaves the data in the drive's cache.
func syncData(f *os.File) error { return f.Sync() }

func syncAll(*os.File) error { return errors.ErrUnsupported }

func setDirect(*os.File, bool) error { return errors.ErrUnsupported }

func readsDirect(*os.File) error { return errors.ErrUnsupported }

func refusesDirect(error) bool { return false }

func startWrite(*os.File, int64, int) {}
