//go:build !unix

package bench

import "io/fs"

// allocatedBytes takes the size for it.
func allocatedBytes(info fs.FileInfo) int64 { return info.Size() }
