package bench

import (
	"errors"
	"os"
	"syscall"
)

// syncData makes the file's data durable with fdatasync.
func syncData(file *os.File) error {
	for {
		err := syscall.Fdatasync(int(file.Fd()))
		if !errors.Is(err, syscall.EINTR) {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}
