//go:build unix

package bench

import (
	"io/fs"
	"syscall"
)

// allocatedBytes is what the file system gave the file.
func allocatedBytes(info fs.FileInfo) int64 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return int64(stat.Blocks) * 512
	}
	return info.Size()
}
