package bench

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// DiskUsage is the space of a log's files, in bytes: what the file system
// allocated, what the files' sizes say, and how much of the former is our
// write-ahead log and reserve, whose size does not depend on the events.
type DiskUsage struct{ Allocated, Apparent, WAL int64 }

// DiskUse adds up the files below dir. One that is removed meanwhile does not
// count.
func DiskUse(dir string) (DiskUsage, error) {
	var u DiskUsage
	err := filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		allocated := allocatedBytes(info)
		u.Allocated += allocated
		u.Apparent += info.Size()
		if strings.HasPrefix(entry.Name(), "wal-") || entry.Name() == "reserve" {
			u.WAL += allocated
		}
		return nil
	})
	return u, err
}

// ProbeSync measures what the disk itself takes: writes of 4 KiB into a file
// that was zeroed before, each followed by a sync of its data.
func ProbeSync(dir string, d time.Duration) (latency Histogram, err error) {
	file, err := os.CreateTemp(dir, "probe-*.tmp")
	if err != nil {
		return latency, err
	}
	defer os.Remove(file.Name())
	defer file.Close()
	const pages = 256
	page := make([]byte, 4<<10)
	for i := range int64(pages) {
		if _, err := file.WriteAt(page, i*int64(len(page))); err != nil {
			return latency, err
		}
	}
	if err := file.Sync(); err != nil {
		return latency, err
	}
	result, err := Crowd(1, During(d), func(_, turn int) error {
		page[0]++
		if _, err := file.WriteAt(page, int64(turn%pages)*int64(len(page))); err != nil {
			return err
		}
		return syncData(file)
	})
	return result.Latency, err
}
