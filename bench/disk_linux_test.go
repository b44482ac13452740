package bench

import (
	"fmt"
	"syscall"
)

const tmpfsMagic = 0x01021994

func isMemoryDir(dir string) (bool, error) {
	var stat syscall.Statfs_t
	if err := syscall.Statfs(dir, &stat); err != nil {
		return false, fmt.Errorf("look at the file system of %s: %w", dir, err)
	}
	return stat.Type == tmpfsMagic, nil
}
