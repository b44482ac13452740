package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"

	"github.com/seglog/seglog/internal/vfs"
	"github.com/seglog/seglog/internal/yield"
)

// spareBytesMin is the least that is worth being made a file before a frame
// needs it.
const spareBytesMin = 64 << 10

// file is a file that a Writer may write to.
type file struct {
	name   string
	number uint64
	size   int64
	f      vfs.File // nil until it is first needed
	used   bool     // it has had a generation
	left   bool     // the writer has gone on to another file, at end

	generation uint64 // the last one
	start, end LSN    // of it
}

func (f *file) open(cfg Config) error {
	if f.f != nil {
		return nil
	}
	open := cfg.FS.Open
	if cfg.Direct {
		open = cfg.FS.OpenDirect
	}
	h, err := open(f.name)
	if err != nil {
		return fmt.Errorf("open %s: %w", f.name, err)
	}
	f.f = h
	return nil
}

func (f *file) close() error {
	if f.f == nil {
		return nil
	}
	err := f.f.Close()
	f.f = nil
	return err
}

// space keeps the files of a Writer.
type space struct {
	w           *Writer
	cleanBefore bool // the log ended clean when the Writer was made

	// making is held while a file is created, zeroed and synced, so that a
	// Write that needs a file waits for one that Prepare is making. It is taken
	// before mu.
	making sync.Mutex

	mu       sync.Mutex // guards the fields below; never held over I/O
	inUse    []*file    // in the order of the log; the last is current
	ready    []*file    // to be used next
	retired  []*file    // to be removed
	bytes    int64      // of all these and the file being made
	freed    LSN        // nothing below is needed
	nextSize int64      // of the next file
	next     uint64     // number or generation
}

func (s *space) init(w *Writer, after ScanResult) {
	s.w = w
	s.cleanBefore = after.Clean
	s.freed = after.Start.LSN
	s.next = max(after.Generation, after.number, after.Start.lowest()) + 1
	s.nextSize = min(firstFileBytes, w.cfg.FileBytes)
	for i := range after.Files {
		s.inherit(&after.Files[i], after)
	}
	slices.SortStableFunc(s.inUse, func(a, b *file) int { return int(int64(a.end) - int64(b.end)) })
}

// inherit sorts a file of an earlier process in. Only behind a clean close was
// every sync of that process good, and may its files be used again.
func (s *space) inherit(i *FileInfo, after ScanResult) {
	f := &file{name: i.Name, number: i.Number, size: i.Size, used: true, left: true, generation: i.Generation, start: i.Start, end: i.End}
	switch {
	case i.state == stateForeign || i.state == stateNewer || i.state == stateRenamed:
		return // not ours to touch
	case !after.Clean || i.state != stateValid || i.Size != i.header.bytes:
		s.retired = append(s.retired, f)
		s.bytes += f.size
		return
	case i.Generation < after.Start.lowest():
		s.ready = append(s.ready, f)
	default:
		s.inUse = append(s.inUse, f)
	}
	s.bytes += f.size
	s.nextSize = max(s.nextSize, min(2*f.size, s.w.cfg.FileBytes))
}

// room finds where a frame fits: nil for the current file, or the next one,
// which is then no longer ready. What is not urgent must leave the reserve, in
// space that is there already.
func (s *space) room(u *use, end LSN, size int64, urgent bool) (*file, error) {
	for {
		f, left, ok := s.pick(u, end, size)
		if ok && (urgent || left >= s.w.cfg.ReserveBytes) {
			return f, nil
		}
		if ok && f != nil {
			s.giveBack(f)
		}
		need := PageBytes + roundUp(size)
		if ok {
			need = 2 * PageBytes
		}
		if err := s.make(need, s.readyCount(), !ok); err != nil {
			return nil, err
		}
	}
}

// pick takes the first file in which a frame fits, and says how much is left
// after it, there and in files that are ready.
func (s *space) pick(u *use, end LSN, size int64) (f *file, left int64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if left = u.room(end) - size; left >= 0 && u.file != nil {
		return nil, left + s.readyBytesLocked(), true
	}
	for i, f := range s.ready {
		if left = f.size - PageBytes - size; left >= 0 {
			s.ready = slices.Delete(s.ready, i, i+1)
			return f, left + s.readyBytesLocked(), true
		}
	}
	return nil, 0, false
}

func (s *space) readyBytesLocked() int64 {
	n := int64(0)
	for _, f := range s.ready {
		n += f.size - PageBytes
	}
	return n
}

// giveBack makes a file ready that was picked and not used.
func (s *space) giveBack(f *file) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ready = slices.Insert(s.ready, 0, f)
}

// entered makes f the current file.
func (s *space) entered(f *file, generation uint64, start LSN) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.inUse); n > 0 && !s.inUse[n-1].left {
		s.inUse[n-1].left, s.inUse[n-1].end = true, start
	}
	f.used, f.left, f.generation, f.start = true, false, generation, start
	s.inUse = append(s.inUse, f)
}

func (s *space) nextGeneration() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	return s.next - 1
}

// make makes a file of at least need bytes ready, unless there are no longer
// as many as the caller has seen: then it looks again. Where evict is set,
// files that are ready and too small are given up for it.
func (s *space) make(need int64, seen int, evict bool) error {
	s.making.Lock()
	defer s.making.Unlock()
	f, drop, err := s.plan(need, seen, evict)
	if f == nil || err != nil {
		return err
	}
	err = s.remove(drop)
	if err == nil {
		err = s.create(f)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.bytes -= f.size
		return err
	}
	s.ready = append(s.ready, f)
	s.nextSize = min(2*max(f.size, s.nextSize), s.w.cfg.FileBytes)
	return nil
}

// plan gives a new file its name and size.
func (s *space) plan(need int64, seen int, evict bool) (f *file, drop []*file, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.ready) != seen {
		return nil, nil, nil
	}
	room := (s.w.cfg.MaxBytes - s.bytes) &^ (PageBytes - 1)
	kept := len(s.ready)
	for evict && room < need && kept > 0 {
		kept--
		room += s.ready[kept].size
	}
	if room < need {
		return nil, nil, fmt.Errorf("%w: %d bytes of files, at most %d", ErrFull, s.bytes, s.w.cfg.MaxBytes)
	}
	drop = slices.Clone(s.ready[kept:])
	s.ready = s.ready[:kept]
	for _, d := range drop {
		s.bytes -= d.size
	}
	size := min(max(need, s.nextSize), room)
	f = &file{name: fileName(s.next), number: s.next, size: size}
	s.next++
	s.bytes += size
	return f, drop, nil
}

// create makes a file of zeros durable, so that later syncs move no metadata
// and its name cannot be lost. What fails is removed, and its name is not used
// again: pages whose write failed are not to be trusted.
func (s *space) create(f *file) error {
	h, err := s.w.cfg.FS.Create(f.name)
	if err != nil {
		return fmt.Errorf("create %s: %w", f.name, err)
	}
	f.f = h
	if err = zero(h, f.size); err != nil {
		err = fmt.Errorf("zero %s: %w", f.name, err)
	} else if err = h.Sync(); err != nil {
		err = fmt.Errorf("sync %s: %w", f.name, err)
		if !errors.Is(err, vfs.ErrNoSpace) {
			err = s.w.fail(err)
		}
	} else {
		err = s.syncDir()
	}
	if err == nil && s.w.cfg.Direct {
		err = s.reopen(f)
	}
	if err != nil {
		return s.abandon(f, err)
	}
	return nil
}

// reopen opens a file that was just made as frames are written to it: now, so
// that no frame has to wait for that, or fails for want of descriptors.
func (s *space) reopen(f *file) error {
	if err := f.close(); err != nil {
		return fmt.Errorf("close %s: %w", f.name, err)
	}
	return f.open(s.w.cfg)
}

// zero fills a file with zeros, with a sync now and then: a disk that is given
// all of a file at once lets the syncs of others wait for it.
func zero(h vfs.File, size int64) error {
	var zeros [zeroBytes]byte
	var others yield.Yielder
	for off := int64(0); off < size; off += zeroBytes {
		if _, err := h.WriteAt(zeros[:min(zeroBytes, size-off)], off); err != nil {
			return err
		}
		if (off+zeroBytes)%zeroSyncBytes != 0 {
			others.Yield() // short system calls alone would keep a processor from others
			continue
		}
		if err := h.SyncData(); err != nil {
			return err
		}
	}
	return nil
}

func (s *space) syncDir() error {
	if err := s.w.cfg.FS.SyncDir("."); err != nil {
		return s.w.fail(fmt.Errorf("sync directory of write-ahead log: %w", err))
	}
	return nil
}

// abandon removes a file that could not be made. One that stays must never
// pass for a good one, so then there is no clean close either.
func (s *space) abandon(f *file, cause error) error {
	f.close()
	if err := s.w.cfg.FS.Remove(f.name); err != nil {
		return s.w.fail(errors.Join(cause, fmt.Errorf("remove %s: %w", f.name, err)))
	}
	return cause
}

// remove removes files and makes that durable.
func (s *space) remove(files []*file) error {
	for _, f := range files {
		f.close() // Windows does not remove open files
		if err := s.w.cfg.FS.Remove(f.name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.retire(files)
			return fmt.Errorf("remove %s: %w", f.name, err)
		}
	}
	if len(files) == 0 {
		return nil
	}
	return s.syncDir()
}

// retire has files removed later.
func (s *space) retire(files []*file) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retired = append(s.retired, files...)
	for _, f := range files {
		s.bytes += f.size
	}
}

func (s *space) close() error {
	s.making.Lock()
	defer s.making.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, list := range [][]*file{s.inUse, s.ready, s.retired} {
		for _, f := range list {
			if err := f.close(); err != nil {
				errs = append(errs, fmt.Errorf("close %s: %w", f.name, err))
			}
		}
	}
	return errors.Join(errs...)
}

// Free gives up everything below upTo, which a durable checkpoint records.
// Files of this Writer are used again; files of an unclean end are removed.
func (w *Writer) Free(upTo Start) error {
	if err := w.Err(); err != nil {
		return err
	}
	return w.space.remove(w.space.release(upTo))
}

// release makes files ready and returns those to be removed.
//
// The generation that the checkpoint names stays even if nothing in it is
// needed: that the file is there says that it was not lost. So does the current
// file, which is the last one.
func (s *space) release(upTo Start) (drop []*file) {
	s.mu.Lock()
	defer s.mu.Unlock()
	needless := func(f *file) bool { return f.left && f.end <= upTo.LSN && f.generation < upTo.lowest() }
	s.freed = max(s.freed, upTo.LSN)
	for len(s.inUse) > 0 && needless(s.inUse[0]) {
		f := s.inUse[0]
		s.inUse = s.inUse[1:]
		if f.size > s.w.cfg.FileBytes || s.bytes > s.w.cfg.MaxBytes {
			s.bytes -= f.size
			drop = append(drop, f)
			continue
		}
		s.ready = append(s.ready, f)
	}
	s.retired = slices.DeleteFunc(s.retired, func(f *file) bool {
		if needless(f) {
			s.bytes -= f.size
			drop = append(drop, f)
			return true
		}
		return false
	})
	return drop
}

// Prepare makes sure that a zeroed file is ready for when the current one is
// full, within MaxBytes. It is called in the background, beside Write.
func (w *Writer) Prepare() error {
	if err := w.Err(); err != nil {
		return err
	}
	if w.space.readyCount() > 0 {
		return nil
	}
	err := w.space.make(min(spareBytesMin, w.cfg.FileBytes), 0, false)
	if errors.Is(err, ErrFull) {
		return nil
	}
	return err
}

func (s *space) readyCount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.ready)
}

// NeedsSpare says whether it is time for Prepare: more than a quarter of the
// current file is used, no file is ready, and there is room for one.
func (w *Writer) NeedsSpare() bool {
	s := &w.space
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.inUse)
	if n == 0 || s.inUse[n-1].left || len(s.ready) > 0 || w.cfg.MaxBytes-s.bytes < min(spareBytesMin, w.cfg.FileBytes) {
		return false
	}
	f := s.inUse[n-1]
	return int64(w.End()-f.start) > f.size/4
}

// Used is how many bytes of the log are not yet freed.
func (w *Writer) Used() int64 {
	s := &w.space
	s.mu.Lock()
	defer s.mu.Unlock()
	return int64(w.End()) - int64(min(s.freed, w.End()))
}

// DiskBytes is the size of all files.
func (w *Writer) DiskBytes() int64 {
	s := &w.space
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bytes
}
