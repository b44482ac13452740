package file

import (
	"container/list"
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"github.com/seglog/seglog/engine"
	"github.com/seglog/seglog/internal/vfs"
)

// fileCache keeps topic files open for the next use: those in use, and the most
// recently used ones beside them. Who holds a handle may use it until it is
// released, whatever the cache does meanwhile.
type fileCache struct {
	fs    vfs.FS
	open  func(name string) (vfs.File, error)
	most  int
	mu    sync.Mutex // guards the fields below, and those of handles
	byKey map[string]*handle
	order *list.List // of handles in byKey, the most recently used first
	shut  bool
}

// handle is an open topic file.
type handle struct {
	vfs.File
	stem string
	refs int
	kept bool // in the cache
	at   *list.Element
}

func newFileCache(fs vfs.FS, readOnly bool, most int) *fileCache {
	c := &fileCache{fs: fs, open: fs.Open, most: most, byKey: map[string]*handle{}, order: list.New()}
	if readOnly {
		c.open = fs.OpenRead
	}
	return c
}

// acquire opens a topic's file, or hands out the open one.
func (c *fileCache) acquire(stem string) (*handle, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.shut {
		return nil, engine.ErrClosed
	}
	if h := c.byKey[stem]; h != nil {
		h.refs++
		c.order.MoveToFront(h.at)
		return h, nil
	}
	f, err := c.open(topicFile(stem))
	if err != nil {
		return nil, err // which says what was being done to which file
	}
	return c.keepLocked(stem, f), nil
}

// create makes a topic's file, which is not there yet.
func (c *fileCache) create(stem string) (*handle, error) {
	f, err := c.fs.Create(topicFile(stem))
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", topicFile(stem), err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.keepLocked(stem, f), nil
}

func (c *fileCache) keepLocked(stem string, f vfs.File) *handle {
	h := &handle{File: f, stem: stem, refs: 1, kept: true}
	h.at = c.order.PushFront(h)
	c.byKey[stem] = h
	// What is used stays, so that a topic whose file is being replaced keeps
	// the one that its readers know.
	for at := c.order.Back(); at != nil && c.order.Len() > c.most; {
		old := at.Value.(*handle)
		at = at.Prev()
		if old.refs == 0 {
			c.forgetLocked(old)
		}
	}
	return h
}

// forgetLocked takes a handle out of the cache; who uses it goes on.
func (c *fileCache) forgetLocked(h *handle) {
	h.kept = false
	c.order.Remove(h.at)
	delete(c.byKey, h.stem)
	if h.refs == 0 {
		_ = h.Close() // all that matters was synced
	}
}

func (c *fileCache) release(h *handle) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if h.refs--; h.refs == 0 && !h.kept {
		_ = h.Close() // all that matters was synced
	}
}

// forget makes the next acquire open the file anew.
func (c *fileCache) forget(stem string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if h := c.byKey[stem]; h != nil {
		c.forgetLocked(h)
	}
}

// close forgets all files, and opens no more.
func (c *fileCache) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shut = true
	for _, h := range c.byKey {
		c.forgetLocked(h)
	}
}

// writeNew writes a whole file under a temporary name, syncs it, gives it its
// name and makes that durable. Where it fails before the renaming, nothing has
// changed; else the error is a *renameError.
func writeNew(disk vfs.FS, dir, temp, name string, write func(vfs.File) error) error {
	if err := disk.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove %s: %w", temp, err)
	}
	f, err := disk.Create(temp)
	if err != nil {
		return fmt.Errorf("create %s: %w", temp, err)
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		_ = disk.Remove(temp) // the next writer does, else
		return fmt.Errorf("write %s: %w", temp, err)
	}
	if err := disk.Rename(temp, name); err != nil {
		return &renameError{fmt.Errorf("replace %s: %w", name, err)}
	}
	if err := disk.SyncDir(dir); err != nil {
		return &renameError{fmt.Errorf("sync directory of %s: %w", name, err)}
	}
	return nil
}

// renameError says that it is not known which file has the name.
type renameError struct{ err error }

func (e *renameError) Error() string { return e.err.Error() }
func (e *renameError) Unwrap() error { return e.err }

// classify makes errors of the file system match engine.ErrIO,
// engine.ErrNoSpace or engine.ErrLocked; those that say more are left as they
// are.
func classify(err error) error {
	if err == nil {
		return nil
	}
	for _, known := range []error{
		engine.ErrCorrupt, engine.ErrNoSpace, engine.ErrFailed, engine.ErrClosed, engine.ErrConfig, engine.ErrIO,
		engine.ErrLocked, engine.ErrReadOnly, engine.ErrInvalidTopic, engine.ErrInvalidConsumer, engine.ErrConflict,
		engine.ErrBeyondLatest, engine.ErrTooLarge, engine.ErrInvalidEvent, engine.ErrLagged, engine.ErrCompacted,
		errors.ErrUnsupported,
	} {
		if errors.Is(err, known) {
			return err
		}
	}
	if isContext(err) {
		return err
	}
	if _, ok := errors.AsType[*vfs.LockedError](err); ok {
		return fmt.Errorf("%w: %w", engine.ErrLocked, err)
	}
	if errors.Is(err, vfs.ErrNoSpace) {
		return fmt.Errorf("%w: %w", engine.ErrNoSpace, err)
	}
	return fmt.Errorf("%w: %w", engine.ErrIO, err)
}
