package bench

import (
	"fmt"
	"syscall"
)

const tmpfsMagic = 0x01021994

// InMemory reports whether dir is on a file system in memory, where a sync costs
// nothing.
func InMemory(dir string) (bool, error) {
	var stat syscall.Statfs_t
	if err := syscall.Statfs(dir, &stat); err != nil {
		return false, fmt.Errorf("look at the file system of %s: %w", dir, err)
	}
	return stat.Type == tmpfsMagic, nil
}
