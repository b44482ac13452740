//go:build !linux

package bench

// isMemoryDir cannot tell here.
func isMemoryDir(string) (bool, error) { return false, nil }
