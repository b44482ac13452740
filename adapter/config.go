package adapter

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/seglog/seglog/engine"
)

// The variables that [FromEnv] reads.
const (
	BackendVariable    = "HARN_EVENT_LOG_BACKEND"
	segmentDirVariable = "HARN_EVENT_LOG_SEGMENT_DIR"
	fileDirVariable    = "HARN_EVENT_LOG_DIR"
	sqlitePathVariable = "HARN_EVENT_LOG_SQLITE_PATH"
	queueDepthVariable = "HARN_EVENT_LOG_QUEUE_DEPTH"
	stateDirVariable   = "HARN_STATE_DIR"
)

// queueDepthMax is the highest queue depth that every backend takes.
const queueDepthMax = 1 << 30

// Config names a log and says how to open it.
type Config struct {
	// Backend is the kind of log. Empty: nothing has chosen one, and it is a
	// segmented log unless that would be an empty one over somebody's data.
	Backend engine.BackendKind
	// SegmentDir, FileDir and SQLitePath are where the log of each kind is.
	SegmentDir, FileDir, SQLitePath string
	// QueueDepth is how many events may wait for an [engine.LagFail]
	// subscriber; 0: [engine.DefaultQueueDepth].
	QueueDepth int
	// MaxEventBytes bounds one event, as the backend measures it; 0: 16 MiB, at
	// most 128 MiB.
	MaxEventBytes int
	// ReadOnly opens a log that is there without changing it, also beside the
	// process that writes it. A log in memory cannot be opened so.
	ReadOnly bool

	// defaulted: the environment left the choice of Backend open.
	defaulted bool
}

// FromEnv is the configuration that the environment gives programs with this
// base directory. Its paths are absolute if baseDir is. A backend that does not
// exist is refused with [engine.ErrConfig]; a queue depth that is no unsigned
// number is the default, and 0 is 1.
func FromEnv(baseDir string, getenv func(string) string) (Config, error) {
	state := orDefault(getenv(stateDirVariable), ".harn")
	place := func(variable, name string) string {
		path := orDefault(getenv(variable), filepath.Join(state, name))
		if filepath.IsAbs(path) {
			return path
		}
		return filepath.Join(baseDir, path)
	}
	c := Config{
		Backend:    engine.BackendSegment,
		SegmentDir: place(segmentDirVariable, "events.seglog"),
		FileDir:    place(fileDirVariable, "events"),
		SQLitePath: place(sqlitePathVariable, "events.sqlite"),
		QueueDepth: queueDepth(getenv(queueDepthVariable)),
	}
	kind := getenv(BackendVariable)
	if strings.TrimSpace(kind) == "" {
		c.defaulted = true
		return c, nil
	}
	var err error
	if c.Backend, err = engine.ParseBackendKind(kind); err != nil {
		return Config{}, fmt.Errorf("%s: %w", BackendVariable, err)
	}
	return c, nil
}

func orDefault(s, or string) string {
	if strings.TrimSpace(s) == "" {
		return or
	}
	return s
}

func queueDepth(value string) int {
	n, err := strconv.ParseUint(strings.TrimPrefix(value, "+"), 10, 64)
	if err != nil {
		return engine.DefaultQueueDepth
	}
	return int(min(max(n, 1), queueDepthMax))
}

// kind is the backend that c comes to.
func (c Config) kind() engine.BackendKind {
	if c.Backend == "" {
		return engine.BackendSegment
	}
	return c.Backend
}

// Location is where the log is; empty for a log in memory.
func (c Config) Location() string { return c.at(c.kind()) }

func (c Config) at(kind engine.BackendKind) string {
	switch kind {
	case engine.BackendSegment:
		return c.SegmentDir
	case engine.BackendFile:
		return c.FileDir
	case engine.BackendSQLite:
		return c.SQLitePath
	}
	return ""
}

// Exists reports whether there is a log to open, without opening it. Where
// [Open] would refuse to begin one over somebody's data, or at a place that
// holds a log of another kind, it returns that error.
func (c Config) Exists() (bool, error) {
	if err := c.check(); err != nil {
		return false, err
	}
	exists, err := holdsLog(c.kind(), c.Location())
	if err == nil && !exists {
		err = checkPlace(c.kind(), c.Location())
	}
	if err != nil || exists || c.Backend != "" && !c.defaulted {
		return exists, err
	}
	for _, older := range []engine.BackendKind{engine.BackendSQLite, engine.BackendFile} {
		held, err := holdsLog(older, c.at(older))
		if err != nil {
			return false, err
		}
		if held {
			return false, c.over(older)
		}
	}
	return false, nil
}

// check refuses what could never be opened.
func (c Config) check() error {
	switch kind := c.kind(); kind {
	case engine.BackendSegment, engine.BackendFile, engine.BackendSQLite:
		if c.Location() == "" {
			return fmt.Errorf("%w: a log of kind %s has no location", engine.ErrConfig, kind)
		}
	case engine.BackendMemory:
		if c.ReadOnly {
			return fmt.Errorf("%w: a log in memory is always new, and cannot be opened read-only", engine.ErrConfig)
		}
	case engine.BackendJetStream:
		return fmt.Errorf("a log of kind %s: %w", kind, errors.ErrUnsupported)
	default:
		_, err := engine.ParseBackendKind(string(kind))
		return err
	}
	return nil
}

// over is the refusal to begin a segmented log where one of another kind is.
func (c Config) over(older engine.BackendKind) error {
	return fmt.Errorf("%w: no event log backend is chosen, and there is already a log of kind %s at %s: "+
		"to go on with it, set %s=%s (or give seglog --backend %s); "+
		"to move it, run 'seglog copy --from %s:%s --to segment:%s'; "+
		"to begin an empty log beside it, set %s=segment (or give seglog --backend segment)",
		engine.ErrConfig, older, c.at(older), BackendVariable, older, older,
		older, c.at(older), c.SegmentDir, BackendVariable)
}

// checkPlace refuses to begin a log of a kind where something else is.
func checkPlace(kind engine.BackendKind, place string) error {
	if place == "" {
		return nil // in memory
	}
	info, err := os.Stat(place)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for a log at %s: %w: %w", place, engine.ErrIO, err)
	}
	// A file is not opened to see whether it is a database: to close it again
	// would drop the locks that this process may have on it.
	if kind != engine.BackendSQLite && !info.IsDir() {
		return fmt.Errorf("%w: %s is a file, and a log of kind %s is a directory; if it is an SQLite database, open it as that (seglog --backend sqlite --path %s)",
			engine.ErrConfig, place, kind, place)
	}
	if !info.IsDir() {
		return nil
	}
	for _, other := range []engine.BackendKind{engine.BackendSegment, engine.BackendFile} {
		held, err := holdsLog(other, place)
		if err != nil {
			return err
		}
		if held && other != kind {
			return fmt.Errorf("%w: there is a log of kind %s at %s, and none of kind %s: open it as what it is (seglog --backend %s --dir %s), or choose another place",
				engine.ErrConfig, other, place, kind, other, place)
		}
	}
	if kind == engine.BackendSQLite {
		return fmt.Errorf("%w: %s is a directory, and a log of kind sqlite is a file", engine.ErrConfig, place)
	}
	return nil
}

// holdsLog reports whether a log of a kind is at a place. In doubt a file or an
// SQLite log is there and a segmented one is not: so nothing is hidden.
func holdsLog(kind engine.BackendKind, location string) (bool, error) {
	if location == "" || kind != engine.BackendSQLite && isFile(location) {
		return false, nil
	}
	switch kind {
	case engine.BackendSegment:
		return anyEntry(location, isSegmentedLogs)
	case engine.BackendFile:
		anyName := func(string) bool { return true }
		held, err := anyEntry(filepath.Join(location, "topics"), anyName)
		if err != nil || held {
			return held, err
		}
		return anyEntry(filepath.Join(location, "consumers"), anyName)
	case engine.BackendSQLite:
		size, err := sqliteBytes(location)
		return size > 0, err
	}
	return false, nil
}

// isSegmentedLogs reports whether a file of this name holds part of a segmented
// log. LOCK and seg do not: an open that made nothing yet leaves them.
func isSegmentedLogs(name string) bool {
	return slices.ContainsFunc([]string{"manifest-", "wal-", "carry-"}, func(prefix string) bool {
		return strings.HasPrefix(name, prefix)
	})
}

// anyEntry reports whether dir is there and has an entry with such a name.
func anyEntry(dir string, such func(name string) bool) (bool, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("look for a log in %s: %w: %w", dir, engine.ErrIO, err)
	}
	for _, e := range entries {
		if such(e.Name()) {
			return true, nil
		}
	}
	return false, nil
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir()
}

// sqliteBytes is the size of a database with what it keeps beside itself.
func sqliteBytes(path string) (uint64, error) {
	var size uint64
	for _, file := range []string{path, path + "-wal", path + "-shm"} {
		info, err := os.Stat(file)
		switch {
		case err == nil && info.Mode().IsRegular():
			size += uint64(info.Size())
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return 0, fmt.Errorf("look for a log at %s: %w: %w", path, engine.ErrIO, err)
		}
	}
	return size, nil
}
