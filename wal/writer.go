package wal

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/seglog/seglog/internal/vfs"
)

// Writer appends to the log. Write, Sync, Seal, CloseClean and Close are for
// one goroutine at a time. Prepare and Free may run beside them in another, and
// all that only asks in any.
type Writer struct {
	cfg       Config
	recovered bool // the log did not end clean, and nothing was written since

	// Owned by the goroutine that writes.
	use     use    // of the file that is written; use.file is nil before the first
	chain   uint64 // of the last frame, 0 where that is not known
	covered bool   // the last frame proves all before it durable, or holds nothing
	partial bool   // there are bytes of a frame at end, for which there was no space
	closed  bool   // by CloseClean

	end     atomic.Uint64
	durable atomic.Uint64
	// failed is the first failure. Nothing is written after it.
	failed atomic.Pointer[error]

	positionMu sync.Mutex // guards position
	position   Start

	space space
}

// use is one generation: one use of a file.
type use struct {
	file   *file
	header fileHeader
	begun  bool // a frame of it is durable, and with it the header page
}

// room is how many bytes fit behind an LSN.
func (u *use) room(end LSN) int64 {
	if u.file == nil {
		return 0
	}
	return u.header.bytes - u.header.offset(end)
}

// NewWriter continues a log after what a scan found, in a new generation. It
// touches nothing before the first Write or Prepare.
//
// Where the log did not end clean, what was scanned must be made durable before
// the first Write, by [Settle], or elsewhere with a checkpoint at Position: the
// page cache may have shown frames that are not on the disk, after a sync that
// failed, and the new generation claims that they are. None of the old files is
// written to again; Free removes them once a checkpoint is past them.
func NewWriter(cfg Config, after ScanResult) (*Writer, error) {
	if len(after.Damage) > 0 {
		return nil, fmt.Errorf("write after a salvage: %w", after.Damage[0])
	}
	cfg = cfg.withDefaults()
	w := &Writer{cfg: cfg, chain: after.Chain}
	w.recovered = !after.Clean && (after.End > 0 || len(after.Files) > 0)
	w.covered = !w.recovered || !after.unsealed
	w.end.Store(uint64(after.End))
	w.durable.Store(uint64(after.End))
	w.space.init(w, after)
	w.position = Start{LSN: after.End.nextPage(), Generation: w.space.next | unbegun}
	return w, nil
}

// Write appends one frame. It is durable after the next Sync. Nothing was
// written where the error is [ErrFull] or matches vfs.ErrNoSpace: the caller
// may try again later. A write that is urgent may use the reserve.
func (w *Writer) Write(b *Buffer, h Header, urgent bool) (start, end LSN, err error) {
	if err := w.usable(); err != nil {
		return 0, 0, err
	}
	if b.Len() > payloadBytesMax {
		return 0, 0, fmt.Errorf("write-ahead log frame of %d bytes, at most %d", b.Len(), payloadBytesMax)
	}
	h.Flags &^= flagsOwn
	return w.append(b, h, urgent)
}

func (w *Writer) usable() error {
	if err := w.Err(); err != nil {
		return err
	}
	if w.closed {
		return errClosed
	}
	return nil
}

// append writes a frame into the current file, or into the next.
func (w *Writer) append(b *Buffer, h Header, urgent bool) (start, end LSN, err error) {
	next, err := w.space.room(&w.use, w.next(), frameBytes(w.cfg.version(), int64(b.Len())), urgent)
	if err != nil {
		return 0, 0, err
	}
	if next == nil {
		return w.put(w.use, b, h)
	}
	u, err := w.begin(next)
	if err == nil {
		start, end, err = w.put(u, b, h)
	}
	if err != nil {
		w.space.giveBack(next)
	}
	return start, end, err
}

// begin makes a generation of a file. A file is left only once all of it is
// durable: then a later generation proves where this one ended.
func (w *Writer) begin(f *file) (use, error) {
	if err := w.erasePartial(); err != nil {
		return use{}, err
	}
	if err := w.Sync(); err != nil {
		return use{}, err
	}
	if err := f.open(w.cfg); err != nil {
		return use{}, err
	}
	u := use{file: f, header: fileHeader{
		version: w.cfg.version(), uuid: w.cfg.UUID, generation: w.space.nextGeneration(), salt: w.cfg.Rand(),
		start: w.next(), chain: w.chain, number: f.number, bytes: f.size,
	}}
	if w.recovered {
		u.header.flags |= fileRecovered
	}
	if w.chain == 0 {
		u.header.flags |= fileUnchained
	}
	if f.used {
		u.header.flags |= fileRecycled
	}
	return u, nil
}

// next is where the next frame goes: right behind the last one, or on the next
// page where a sync has made that one durable.
func (w *Writer) next() LSN {
	if end := w.End(); end != w.Durable() {
		return end
	}
	return w.End().nextPage()
}

// erasePartial makes sure that a frame for which there was no space is none
// when the next one goes elsewhere: two frames must never claim one LSN, and
// what is left of a page is zeros.
func (w *Writer) erasePartial() error {
	if !w.partial {
		return nil
	}
	at := w.next()
	zeros := vfs.DirectBuffer(PageBytes)[:at.page()+PageBytes-at]
	if err := w.writeAt(w.use.file, zeros, w.use.header.offset(at), false); err != nil {
		return err
	}
	if err := w.use.file.f.SyncData(); err != nil {
		return w.fail(fmt.Errorf("sync %s: %w", w.use.file.name, err))
	}
	w.partial = false
	return nil
}

// put writes the frame at the end of u, after its header page if it is the
// first, in one write. The first frame in a page is written with zeros up to the
// page's end, where there may be bytes of an earlier use: the next one then
// writes no byte but its own.
func (w *Writer) put(u use, b *Buffer, h Header) (start, end LSN, err error) {
	start = w.next()
	n := int64(b.Len())
	end = start + LSN(frameBytes(u.header.version, n))
	if end > w.End().nextPage() || w.partial {
		end = end.nextPage()
	}
	buf := b.frame(int64(end - start))
	first := u.file != w.use.file
	prev := w.chain
	off := u.header.offset(start)
	if first {
		u.header.encode(buf)
		off -= PageBytes
	}
	if start == u.header.start {
		prev = u.header.sum
	}
	if w.recovered {
		h.Flags |= FlagRecovered
	}
	fh := frameHeader{
		version: u.header.version, flags: h.Flags, uuid: w.cfg.UUID,
		generation: u.header.generation, salt: u.header.salt,
		lsn: start, durable: w.Durable(), prev: prev,
		position: h.Position, manifestGen: h.ManifestGen, manifestLen: uint64(h.ManifestLen),
		payloadBytes: uint32(n), records: b.records,
	}
	frame := buf[PageBytes:]
	fh.table = sealFrame(frame, n)
	fh.encode(frame)
	if !first {
		buf = frame
	}
	if err := w.writeAt(u.file, buf, off, first); err != nil {
		return 0, 0, err
	}
	w.took(u, &fh)
	return start, w.End(), nil
}

// writeAt writes what the next Sync will make durable.
func (w *Writer) writeAt(f *file, b []byte, off int64, first bool) error {
	n, err := f.f.WriteAt(b, off)
	if err == nil {
		return nil
	}
	err = fmt.Errorf("write %s at offset %d: %w", f.name, off, err)
	// Part of a frame for which there was no space is overwritten by the next
	// one, but part of a header page would begin a generation.
	if errors.Is(err, vfs.ErrNoSpace) && (n == 0 || !first) {
		w.partial = w.partial || n > 0
		return err
	}
	return w.fail(err)
}

// took accounts for a frame that was written.
func (w *Writer) took(u use, h *frameHeader) {
	if u.file != w.use.file {
		w.space.entered(u.file, u.header.generation, h.lsn)
	}
	w.use = u
	w.recovered, w.partial = false, false
	w.covered = h.durable == w.End() && h.records == 0 && h.payloadBytes == 0
	if h.flags&FlagClean != 0 {
		return // it takes no room, and nothing builds on it
	}
	w.chain = h.sum
	w.end.Store(uint64(h.lsn) + uint64(h.bytes()))
	w.place()
}

// place sets what Position returns.
func (w *Writer) place() {
	s := Start{LSN: w.End(), Generation: w.use.header.generation}
	if !w.use.begun {
		s.Generation |= unbegun
	}
	w.positionMu.Lock()
	w.position = s
	w.positionMu.Unlock()
}

// Sync makes all that was written durable.
func (w *Writer) Sync() error {
	if err := w.Err(); err != nil {
		return err
	}
	end := w.End()
	if end == w.Durable() {
		return nil
	}
	if end != end.nextPage() { // the next frame will not write over it
		if err := w.erasePartial(); err != nil {
			return err
		}
	}
	return w.sync(end)
}

func (w *Writer) sync(end LSN) error {
	if err := w.use.file.f.SyncData(); err != nil {
		return w.fail(fmt.Errorf("sync %s: %w", w.use.file.name, err))
	}
	w.use.begun = true
	w.durable.Store(uint64(end))
	w.place()
	return nil
}

// End is the end of the last frame.
func (w *Writer) End() LSN { return LSN(w.end.Load()) }

// Durable is the end of what is durable.
func (w *Writer) Durable() LSN { return LSN(w.durable.Load()) }

// Err is the failure that stopped the writer, or nil.
func (w *Writer) Err() error {
	if p := w.failed.Load(); p != nil {
		return *p
	}
	return nil
}

// Failed says whether a failure has stopped the writer. [ErrFull] and a full
// disk do not.
func (w *Writer) Failed() bool { return w.Err() != nil }

// fail stops the writer for good, and returns the first failure.
func (w *Writer) fail(err error) error {
	w.failed.CompareAndSwap(nil, &err)
	return w.Err()
}

// Seal writes an empty frame that proves the last one durable, unless that is
// proven. It is worth calling when nothing was written for a while: from then
// on, damage to the last frame cannot be taken for a torn write. The frame
// itself is not synced, and it is no error if there is no room for it.
func (w *Writer) Seal(h Header) error {
	if err := w.usable(); err != nil {
		return err
	}
	if w.covered || w.Durable() != w.End() {
		return nil
	}
	var b Buffer
	h.Flags = h.Flags&^flagsOwn | FlagSeal
	_, _, err := w.append(&b, h, true)
	if errors.Is(err, ErrFull) || errors.Is(err, vfs.ErrNoSpace) {
		return nil
	}
	return err
}

// CloseClean ends the log in a frame that says that all is durable, and that
// nothing follows. Only Close may be called after it.
func (w *Writer) CloseClean(h Header) error {
	if err := w.usable(); err != nil {
		return err
	}
	if err := w.Sync(); err != nil {
		return err
	}
	if w.use.file == nil && w.space.cleanBefore {
		w.closed = true
		return nil // nothing was written since the last clean close
	}
	var b Buffer
	h.Flags = h.Flags&^flagsOwn | FlagClean
	if _, _, err := w.append(&b, h, true); err != nil {
		return err
	}
	w.closed = true
	return w.sync(w.End())
}

// Position is where a log that was written up to End is to be read from: what
// a checkpoint records.
func (w *Writer) Position() Start {
	w.positionMu.Lock()
	defer w.positionMu.Unlock()
	return w.position
}

// Close closes the descriptors, and nothing else.
func (w *Writer) Close() error {
	_ = w.fail(errClosed) // from now on every call returns it
	return w.space.close()
}
