package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	driver "zombiezen.com/go/sqlite"

	"github.com/seglog/seglog/engine"
	"github.com/seglog/seglog/internal/vfs"
)

// Log is an [engine.EventLog] in a SQLite database.
type Log struct {
	path string // as it was given
	file string // absolute
	opts Options

	pool    *pool
	writer  *writer // nil: read-only
	watches *watches

	closed   chan struct{} // closed when reads and subscriptions are to end
	closing  sync.Once
	closeErr error
}

var (
	_ engine.EventLog = (*Log)(nil)
	_ engine.Restorer = (*Log)(nil)
)

// Open opens the database at path, and makes it, with its directory, where
// there is none. With [Options.ReadOnly] it must exist.
//
// A file that is not a database, or not an event log's, is refused with an
// error that matches [engine.ErrSQLite] and names the file, and is not changed.
func Open(path string, opts Options) (*Log, error) {
	l, err := open(path, opts)
	if err != nil {
		return nil, fmt.Errorf("open log %s: %w", path, err)
	}
	return l, nil
}

func open(path string, opts Options) (*Log, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	if path == "" {
		return nil, fmt.Errorf("%w: the path is empty", engine.ErrConfig)
	}
	file, err := filepath.Abs(path) // to SQLite some relative names mean something else
	if err != nil {
		return nil, fmt.Errorf("%w: %w", engine.ErrIO, err)
	}
	l := &Log{path: path, file: file, opts: opts, closed: make(chan struct{})}
	l.pool = newPool(l.openReader, l.closed)
	l.watches = newWatches(l.openReader, l.closed)
	if opts.ReadOnly {
		return l, l.inspectReadOnly()
	}
	return l, l.startWriter()
}

func (l *Log) openReader() (*conn, error) {
	return openConn(l.file, driver.OpenReadOnly)
}

func (l *Log) inspectReadOnly() error {
	if _, err := os.Stat(l.file); err != nil {
		return fmt.Errorf("%w: %w: %w", engine.ErrSQLite, engine.ErrIO, err)
	}
	found, err := inspectFile(l.file)
	if err == nil && found.empty {
		err = foreign("the database is empty")
	}
	return err
}

func (l *Log) startWriter() error {
	if err := vfs.MkdirAllSync(filepath.Dir(l.file)); err != nil {
		return fmt.Errorf("%w: %w", engine.ErrIO, err)
	}
	if _, err := inspectFile(l.file); err != nil {
		return err
	}
	c, err := openConn(l.file, driver.OpenReadWrite|driver.OpenCreate)
	if err != nil {
		return err
	}
	found, err := c.prepareToWrite(l.opts.Sync)
	if err != nil {
		_ = c.close() // the first error says more
		return err
	}
	l.writer = newWriter(l, c, found)
	return nil
}

// prepareToWrite makes the tables where there are none. It looks at what is
// there once more: another process may have been first.
func (c *conn) prepareToWrite(policy engine.SyncPolicy) (layout, error) {
	if err := c.setWAL(); err != nil {
		return layout{}, err
	}
	if err := c.setSync(policy); err != nil {
		return layout{}, err
	}
	found, err := c.inspect()
	if err != nil || !found.empty {
		return found, err
	}
	if err := c.create(); err != nil {
		return layout{}, err
	}
	return c.inspect()
}

// ready reports why nothing can be read.
func (l *Log) ready(ctx context.Context) error {
	select {
	case <-l.closed:
		return engine.ErrClosed
	default:
		return ctx.Err()
	}
}

// submit hands r to the writer.
func (l *Log) submit(ctx context.Context, r *request) error {
	if l.writer == nil {
		if err := l.ready(ctx); err != nil {
			return r.failed(err)
		}
		return r.failed(engine.ErrReadOnly)
	}
	return l.writer.submit(ctx, r)
}

// Flush copies the write-ahead log into the database, and returns once
// everything is durable that was appended before it, by other processes too.
// Where a reader of another process is in the way, the write-ahead log is only
// synced, which is as durable.
func (l *Log) Flush(ctx context.Context) error {
	err := l.ready(ctx)
	if err == nil && l.writer != nil {
		err = l.submit(ctx, &request{outside: l.writer.flush})
	}
	if err != nil {
		return fmt.Errorf("flush %s: %w", l.path, err)
	}
	return nil
}

// Describe says where the database is, and how large with its write-ahead log.
func (l *Log) Describe(ctx context.Context) (engine.Description, error) {
	if err := l.ready(ctx); err != nil {
		return engine.Description{}, fmt.Errorf("describe log %s: %w", l.path, err)
	}
	return describe(l.path, l.file, l.opts.QueueDepth)
}

// Describe says what [Log.Describe] would, without opening the database. One
// that does not exist has size 0.
func Describe(path string, opts Options) (engine.Description, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return engine.Description{}, fmt.Errorf("describe log %s: %w", path, err)
	}
	return describe(path, path, opts.QueueDepth)
}

func describe(path, file string, queueDepth int) (engine.Description, error) {
	var size uint64
	for _, name := range []string{file, file + "-wal"} {
		n, err := fileSize(name)
		if err != nil {
			return engine.Description{}, fmt.Errorf("describe log %s: %w", path, err)
		}
		size += n
	}
	return engine.Description{Backend: engine.BackendSQLite, Location: path, SizeBytes: &size, QueueDepth: queueDepth}, nil
}

// Close waits for appends in flight, makes them durable whatever the sync
// policy, ends subscriptions and releases the database. Calling it again is
// harmless, and returns the same error.
func (l *Log) Close() error {
	l.closing.Do(func() {
		if err := l.close(); err != nil {
			l.closeErr = fmt.Errorf("close log %s: %w", l.path, err)
		}
	})
	return l.closeErr
}

func (l *Log) close() error {
	if l.writer != nil {
		l.writer.close()
	}
	close(l.closed)
	l.watches.close()
	err := l.pool.close()
	if l.writer != nil {
		err = errors.Join(l.writer.release(), err)
	}
	return err
}
