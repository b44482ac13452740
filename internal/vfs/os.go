package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	dirMode  = 0o700
	fileMode = 0o600

	holderBytesMax = 128              // of a lock file that are shown
	lockPause      = time.Millisecond // between attempts at a lock that is held
	lockAttempts   = 10               // while somebody keeps replacing the lock file
	openAttempts   = 100              // the same for any other file, which a writer may do all the time
)

// dir is a directory of the operating system. It goes through os.Root, so that
// no name and no link leads out of it.
type dir struct {
	root *os.Root
	// self is the directory itself, open for as long as dir is: a sync of the
	// whole file system reports what failed since the descriptor was opened.
	self *os.File
}

// Dir opens a directory that exists.
func Dir(path string) (FS, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	self, err := root.Open(".")
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return &dir{root, self}, nil
}

func (d *dir) Create(name string) (File, error) {
	f, err := d.openFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return nil, pathError("create", name, err)
	}
	return &file{f: f, name: name}, nil
}

func (d *dir) Open(name string) (File, error) { return d.openAs("open", name, os.O_RDWR) }

func (d *dir) OpenRead(name string) (File, error) { return d.openAs("openread", name, os.O_RDONLY) }

func (d *dir) openAs(op, name string, flag int) (File, error) {
	f, err := d.openRegular(name, flag)
	if err != nil {
		return nil, pathError(op, name, err)
	}
	return &file{f: f, name: name}, nil
}

func (d *dir) OpenDirect(name string) (File, error) {
	f, err := d.openRegular(name, os.O_RDWR)
	if err != nil {
		return nil, pathError("opendirect", name, err)
	}
	_ = setDirect(f, true) // where it is refused, the file is an ordinary one
	return &directFile{file{f: f, name: name}}, nil
}

func (d *dir) OpenUncached(name string) (File, error) {
	f, err := d.openRegular(name, os.O_RDONLY)
	if err != nil {
		return nil, pathError("openuncached", name, err)
	}
	if err := readsDirect(f); err != nil {
		_ = f.Close() // not written to
		return nil, pathError("openuncached", name, err)
	}
	return &uncachedFile{file{f: f, name: name}}, nil
}

// openFile never waits for the other end of a pipe.
func (d *dir) openFile(name string, flag int) (*os.File, error) {
	if !fs.ValidPath(name) {
		return nil, fs.ErrInvalid
	}
	return d.root.OpenFile(name, flag|openNonblock, fileMode)
}

// openRegular looks at the name first, since to open a device may do something,
// and then at what was opened, since os.Root follows links that stay inside and
// the name may have changed hands. Where a rename came between the two, it looks
// again.
func (d *dir) openRegular(name string, flag int) (*os.File, error) {
	if !fs.ValidPath(name) {
		return nil, fs.ErrInvalid
	}
	for range openAttempts {
		f, err := d.tryOpenRegular(name, flag)
		if !errors.Is(err, errReplaced) {
			return f, err
		}
	}
	return nil, errReplaced
}

func (d *dir) tryOpenRegular(name string, flag int) (*os.File, error) {
	named, err := d.root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !named.Mode().IsRegular() {
		return nil, errNotRegular
	}
	f, err := d.openFile(name, flag)
	if err != nil {
		return nil, err
	}
	opened, err := f.Stat()
	if err == nil && !os.SameFile(named, opened) {
		err = errReplaced
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (d *dir) Mkdir(name string) error {
	if !fs.ValidPath(name) {
		return pathError("mkdir", name, fs.ErrInvalid)
	}
	return pathError("mkdir", name, d.root.Mkdir(name, dirMode))
}

func (d *dir) ReadDir(name string) ([]Entry, error) {
	list, err := d.readDir(name)
	if err != nil {
		return nil, pathError("readdir", name, err)
	}
	return list, nil
}

func (d *dir) readDir(name string) (list []Entry, err error) {
	if !fs.ValidPath(name) {
		return nil, fs.ErrInvalid
	}
	sub, err := d.root.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	defer closeInto(&err, sub)
	names, err := namesIn(sub)
	if err != nil {
		return nil, err
	}
	for _, base := range names {
		info, err := sub.Lstat(base)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		list = append(list, entryOf(base, info))
	}
	return list, nil
}

func namesIn(root *os.Root) (names []string, err error) {
	f, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	defer closeInto(&err, f)
	names, err = f.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

func closeInto(err *error, c io.Closer) {
	if closed := c.Close(); *err == nil {
		*err = closed
	}
}

func entryOf(base string, info fs.FileInfo) Entry {
	return Entry{Name: base, Size: info.Size(), Dir: info.IsDir(), Regular: info.Mode().IsRegular()}
}

func (d *dir) Stat(name string) (Entry, error) {
	if !fs.ValidPath(name) {
		return Entry{}, pathError("stat", name, fs.ErrInvalid)
	}
	info, err := d.root.Lstat(name)
	if err != nil {
		return Entry{}, pathError("stat", name, err)
	}
	return entryOf(path.Base(name), info), nil
}

func (d *dir) Rename(oldName, newName string) error {
	op := oldName + " to " + newName
	if !fs.ValidPath(oldName) || !fs.ValidPath(newName) {
		return pathError("rename", op, fs.ErrInvalid)
	}
	return pathError("rename", op, d.root.Rename(oldName, newName))
}

func (d *dir) Remove(name string) error {
	if !fs.ValidPath(name) || name == "." {
		return pathError("remove", name, fs.ErrInvalid)
	}
	return pathError("remove", name, d.root.Remove(name))
}

func (d *dir) SyncDir(name string) error {
	if !fs.ValidPath(name) {
		return pathError("syncdir", name, fs.ErrInvalid)
	}
	return pathError("syncdir", name, syncDir(func() (*os.File, error) { return d.root.Open(name) }))
}

func (d *dir) SyncAll() error { return pathError("syncall", ".", syncAll(d.self)) }

func (d *dir) Free() (int64, error) {
	free, err := freeBytes(d.self)
	if err != nil {
		return 0, pathError("free", ".", err)
	}
	return free, nil
}

func (d *dir) Close() error { return errors.Join(d.self.Close(), d.root.Close()) }

// file is an open regular file. os.File goes on after short counts and signals.
type file struct {
	f    *os.File
	name string
	// started is the offset up to which what was written is on its way to the
	// disk. It is a guess: files are written from start to end.
	started atomic.Int64
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.f.ReadAt(p, off)
	if err == nil || err == io.EOF {
		return n, err
	}
	return n, pathError("read", f.name, err)
}

func (f *file) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.f.WriteAt(p, off)
	f.startWrites(off, int64(n))
	return n, pathError("write", f.name, err)
}

// Writes of startWriteBytes are handed to the disk at once, where the platform
// can, and smaller ones once they come to startBytes: the sync that follows many
// of them then does not keep the disk from others for long, nor does whoever
// waits for it wait for long.
const (
	startWriteBytes = 64 << 10
	startBytes      = 1 << 20
)

func (f *file) startWrites(off, n int64) {
	from, end := f.started.Load(), off+n
	switch {
	case n >= startWriteBytes:
		startWrite(f.f, off, int(n))
	case off < from: // the file is used again
	case end-from < startBytes:
		return
	default:
		end &^= directAlign - 1 // more is likely to come into the last page
		startWrite(f.f, from, int(end-from))
	}
	f.started.Store(end)
}

func (f *file) Size() (int64, error) {
	info, err := f.f.Stat()
	if err != nil {
		return 0, pathError("size", f.name, err)
	}
	return info.Size(), nil
}

func (f *file) Truncate(size int64) error {
	return pathError("truncate", f.name, f.f.Truncate(size))
}

func (f *file) SyncData() error { return pathError("syncdata", f.name, syncData(f.f)) }

// Sync is os.File's, which on darwin makes the drive write its cache too.
func (f *file) Sync() error { return pathError("sync", f.name, f.f.Sync()) }

func (f *file) Close() error { return pathError("close", f.name, f.f.Close()) }

// held is the locks of this process. A second lock must fail in the same
// process too, whatever the platform's locks do there.
var held struct {
	mu    sync.Mutex // guards the field below
	files []*lock
}

// lock is a held lock.
type lock struct {
	f    *os.File
	info fs.FileInfo
}

// Lock tries again where the file was replaced between its opening and its
// locking: two processes would then hold locks on two files of one name.
func (d *dir) Lock(name string) (io.Closer, error) {
	for range lockAttempts {
		l, err := d.lock(name)
		if err != nil {
			if locked, ok := errors.AsType[*LockedError](err); ok {
				return nil, locked
			}
			return nil, pathError("lock", name, err)
		}
		if named, err := d.root.Lstat(name); err == nil && os.SameFile(named, l.info) {
			l.sign()
			return l, nil
		}
		if err := l.Close(); err != nil {
			return nil, pathError("lock", name, err)
		}
	}
	return nil, pathError("lock", name, errReplaced)
}

func (d *dir) lock(name string) (*lock, error) {
	f, err := d.openLock(name)
	if err != nil {
		return nil, err
	}
	l := &lock{f: f}
	if l.info, err = f.Stat(); err == nil {
		err = l.take()
	}
	if err == nil {
		return l, nil
	}
	if errors.Is(err, errLocked) {
		err = &LockedError{Name: name, Holder: holder(f)}
	}
	return nil, errors.Join(err, f.Close())
}

// openLock opens the lock file, or makes it.
func (d *dir) openLock(name string) (*os.File, error) {
	f, err := d.openRegular(name, os.O_RDWR)
	if !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	f, err = d.openFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if errors.Is(err, fs.ErrExist) {
		return d.openRegular(name, os.O_RDWR)
	}
	return f, err
}

// errLocked is what tryLock fails with where another process holds the lock.
var errLocked = errors.New("locked")

func (l *lock) take() error {
	held.mu.Lock()
	defer held.mu.Unlock()
	for _, other := range held.files {
		if os.SameFile(other.info, l.info) {
			return errLocked
		}
	}
	if err := tryLockPatiently(l.f); err != nil {
		return err
	}
	held.files = append(held.files, l)
	return nil
}

// tryLockPatiently tells a process that keeps the lock from one that only
// looks whether somebody does, see Locked.
func tryLockPatiently(f *os.File) error {
	err := tryLock(f)
	for range lockAttempts {
		if !errors.Is(err, errLocked) {
			break
		}
		time.Sleep(lockPause)
		err = tryLock(f)
	}
	return err
}

// Locked looks whether a lock can be had, by holding a shared one for a moment.
func (d *dir) Locked(name string) (bool, error) {
	f, err := d.openRegular(name, os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, pathError("look at lock", name, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return false, pathError("look at lock", name, err)
	}
	held.mu.Lock()
	defer held.mu.Unlock()
	for _, l := range held.files {
		if os.SameFile(l.info, info) {
			return true, nil
		}
	}
	err = probeLock(f)
	if errors.Is(err, errLocked) {
		return true, nil
	}
	if err != nil {
		return false, pathError("look at lock", name, err)
	}
	return false, nil
}

// sign writes who holds the lock. That it fails, as on a full disk, is no
// reason not to hold it.
func (l *lock) sign() {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	text := fmt.Sprintf("pid %d on %s", os.Getpid(), host)
	if n, err := l.f.WriteAt([]byte(text), 0); err == nil {
		_ = l.f.Truncate(int64(n))
	}
}

// holder reads what sign wrote, or what else is there, as a line of text.
func holder(f *os.File) string {
	b := make([]byte, holderBytesMax)
	n, _ := f.ReadAt(b, 0)
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, string(b[:n]))
}

// Close gives the lock up. The file stays: to remove it would let two processes
// lock two files of one name.
func (l *lock) Close() error {
	held.mu.Lock()
	defer held.mu.Unlock()
	held.files = slices.DeleteFunc(held.files, func(other *lock) bool { return other == l })
	return l.f.Close()
}

// MkdirAllSync makes a directory and the missing ones it is in, and makes each
// durable before it makes the next.
func MkdirAllSync(path string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err == nil && !info.IsDir() {
		return pathError("mkdir", path, fs.ErrExist)
	}
	if err == nil {
		return syncFound(path)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(path)
	if err := MkdirAllSync(parent); err != nil {
		return err
	}
	if err := os.Mkdir(path, dirMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return pathError("mkdir", path, err)
	}
	return pathError("syncdir", parent, syncPath(parent))
}

// syncFound makes a directory durable that was there: a process that was killed
// may have made it and not synced its parent. A parent that we may not open is
// not one that such a process made a directory in.
func syncFound(path string) error {
	parent := filepath.Dir(path)
	err := syncPath(parent)
	if errors.Is(err, fs.ErrPermission) {
		return nil
	}
	return pathError("syncdir", parent, err)
}

func syncPath(path string) error {
	return syncDir(func() (*os.File, error) { return os.Open(path) })
}
