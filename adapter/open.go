package adapter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/seglog/seglog/adapter/file"
	"github.com/seglog/seglog/adapter/memory"
	"github.com/seglog/seglog/adapter/sqlite"
	"github.com/seglog/seglog/engine"
)

// Open opens the log that c names, and makes it where there is none. The
// errors are those of the backend, and [engine.ErrConfig] where c makes no
// sense or the log would hide another one (see the package's comment). A
// backend that is not built yet is refused with [errors.ErrUnsupported].
func Open(c Config) (engine.EventLog, error) {
	if _, err := c.Exists(); err != nil {
		return nil, err
	}
	switch c.kind() {
	case engine.BackendSegment:
		return opened(engine.Open(c.SegmentDir, engine.Options{QueueDepth: c.QueueDepth, MaxEventBytes: c.MaxEventBytes, ReadOnly: c.ReadOnly}))
	case engine.BackendFile:
		return opened(file.Open(c.FileDir, file.Options{QueueDepth: c.QueueDepth, MaxEventBytes: c.MaxEventBytes, ReadOnly: c.ReadOnly}))
	case engine.BackendSQLite:
		log, err := sqlite.Open(c.SQLitePath, sqlite.Options{QueueDepth: c.QueueDepth, MaxEventBytes: c.MaxEventBytes, ReadOnly: c.ReadOnly})
		if errors.Is(err, engine.ErrCorrupt) && isText(c.SQLitePath) {
			// Not damage: it never was a log.
			return nil, fmt.Errorf("%w: %s is a text, and not an SQLite database", engine.ErrConfig, c.SQLitePath)
		}
		return opened(log, err)
	default: // check has refused all others
		return memory.New(memory.Options{QueueDepth: c.QueueDepth, MaxEventBytes: c.MaxEventBytes}), nil
	}
}

// opened keeps a nil pointer from becoming an interface that is not nil.
func opened[L engine.EventLog](log L, err error) (engine.EventLog, error) {
	if err != nil {
		return nil, err
	}
	return log, nil
}

// isText reports whether a file that is no database begins without a zero byte,
// as no database does, however damaged, that was not written over.
func isText(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close() // it was only read
	begin := make([]byte, 512)
	n, err := io.ReadFull(f, begin)
	return (err == nil || errors.Is(err, io.ErrUnexpectedEOF)) && !slices.Contains(begin[:n], 0)
}

// OpenContext opens the log that the environment names for baseDir, and
// returns a context that carries it as the active one: [engine.FromContext].
// The caller closes it. With an error the context is ctx.
func OpenContext(ctx context.Context, baseDir string) (context.Context, engine.EventLog, error) {
	c, err := FromEnv(baseDir, os.Getenv)
	if err != nil {
		return ctx, nil, err
	}
	log, err := Open(c)
	if err != nil {
		return ctx, nil, err
	}
	return engine.NewContext(ctx, log), log, nil
}

// Describe says what the log that c names is and where, without opening it:
// one that was never opened has size 0 and is not made. The size is that of
// all the files at the place.
func Describe(c Config) (engine.Description, error) {
	if err := c.check(); err != nil {
		return engine.Description{}, fmt.Errorf("describe: %w", err)
	}
	d := engine.Description{
		Backend:    c.kind(),
		Location:   c.Location(),
		QueueDepth: max(1, cmp.Or(c.QueueDepth, engine.DefaultQueueDepth)),
	}
	var size uint64
	var err error
	switch d.Backend {
	case engine.BackendSegment, engine.BackendFile:
		size, err = treeBytes(d.Location)
	case engine.BackendSQLite:
		size, err = sqliteBytes(d.Location)
	default: // in memory
		return d, nil
	}
	if err != nil {
		return engine.Description{}, fmt.Errorf("describe the log at %s: %w", d.Location, err)
	}
	d.SizeBytes = &size
	return d, nil
}

// treeBytes adds up the files below dir. Those that go away meanwhile, as a
// running writer's do, count nothing.
func treeBytes(dir string) (uint64, error) {
	var size uint64
	err := filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			var info fs.FileInfo
			if info, err = entry.Info(); err == nil {
				size += uint64(info.Size())
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("%w: %w", engine.ErrIO, err)
	}
	return size, nil
}
