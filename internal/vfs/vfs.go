// Package vfs is the seam between seglog and the file system: a small
// interface, the operating system behind it ([Dir]), and a simulated disk
// ([Sim]) that loses, tears and reorders what was not synced.
//
// Names are relative to a root and use '/'. There is no append mode, no seek
// and no memory mapping: a mapped file turns a bad disk into a dead process.
package vfs

import (
	"errors"
	"fmt"
	"io"
)

// FS is one directory tree. All methods are safe for concurrent use.
type FS interface {
	// Create makes a new regular file, open for reading and writing. It fails
	// with fs.ErrExist where the name is taken.
	Create(name string) (File, error)
	// Open opens an existing regular file for reading and writing; anything
	// but a regular file is refused.
	Open(name string) (File, error)
	// OpenDirect is Open for a file whose writes are synced one by one: where
	// the platform can, they go around the page cache, which saves a copy and
	// leaves the sync little to do. That takes memory from [DirectBuffer], and
	// whole pages at page boundaries; the first call that the file system
	// refuses for want of that makes the file an ordinary one. Nothing is
	// durable without a sync.
	OpenDirect(name string) (File, error)
	// OpenRead opens an existing regular file for reading.
	OpenRead(name string) (File, error)
	// OpenUncached opens an existing regular file for reading what the disk has
	// of it: the page cache writes what it has not written yet and is not asked,
	// since after a write that failed it may show what is nowhere else. Nothing
	// is durable without a sync. It fails with errors.ErrUnsupported where the
	// platform cannot promise that.
	OpenUncached(name string) (File, error)
	// Mkdir makes a directory; fs.ErrExist where the name is taken.
	Mkdir(name string) error
	// ReadDir lists a directory, sorted by name; "." is the root.
	ReadDir(name string) ([]Entry, error)
	// Stat does not follow links.
	Stat(name string) (Entry, error)
	// Rename replaces newName at once, but not durably: see SyncDir.
	Rename(oldName, newName string) error
	// Remove unlinks a file or an empty directory, not durably: see SyncDir.
	Remove(name string) error
	// SyncDir makes creations, renames and removals in a directory durable.
	// It does nothing where the platform has no such call (Windows).
	SyncDir(name string) error
	// SyncAll makes all files' data durable in one call, where the platform
	// can (syncfs); else it fails with errors.ErrUnsupported.
	SyncAll() error
	// Lock takes an exclusive lock on a file, which it creates where it is
	// missing, without waiting. It fails with a *LockedError.
	Lock(name string) (io.Closer, error)
	// Locked says whether somebody holds the lock. It changes nothing.
	Locked(name string) (bool, error)
	// Free is the space left, in bytes.
	Free() (int64, error)
	// Close releases the root. Open files stay open.
	Close() error
}

// File is an open file. Reads and writes at distinct offsets may run
// concurrently.
type File interface {
	io.ReaderAt // short only with io.EOF
	io.WriterAt // loops over short writes; n < len(p) only with an error
	io.Closer
	Size() (int64, error)
	Truncate(size int64) error
	// SyncData makes the data, and the size needed to read it, durable.
	SyncData() error
	// Sync makes data and metadata durable, but not the file's name.
	Sync() error
}

// Entry describes a name in a directory.
type Entry struct {
	Name    string
	Size    int64
	Dir     bool
	Regular bool
}

// LockedError says who holds a lock.
type LockedError struct {
	Name   string
	Holder string // "pid 123 on host", or empty
}

func (e *LockedError) Error() string {
	if e.Holder == "" {
		return fmt.Sprintf("%s is locked", e.Name)
	}
	return fmt.Sprintf("%s is locked by %s", e.Name, e.Holder)
}

// ErrNoSpace is matched by errors of a full disk or quota, on any platform.
var ErrNoSpace = errors.New("no space left on device")
