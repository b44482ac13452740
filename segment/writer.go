package segment

import (
	"errors"
	"fmt"
	"sync"

	"github.com/seglog/seglog/internal/vfs"
)

const (
	// writeBytes is how much a writer gathers before it writes.
	writeBytes = 256 << 10
	// keepBytes is the largest buffer that goes back to the pool.
	keepBytes = 16 * writeBytes
)

// buffers are shared by all writers: there may be one for each of very many
// topics, but few are in a run at a time.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// Writer appends blocks to one segment file.
type Writer struct {
	file  vfs.File
	name  string
	id    Identity
	seed  uint64
	codec Codec

	start  int64   // offset in the file of buf[0]
	buf    *[]byte // what is not yet written; nil where that is nothing
	begun  bool    // the next block starts a run
	synced bool    // the file's metadata was synced once
	sealed bool
	last   uint64 // last event id that this writer added
	err    error  // the first failure; every later call returns it
}

// Footer is where a sealed file's footer is, and what it must be: one fact,
// kept outside the file, that proves all its blocks.
type Footer struct {
	Offset   int64
	Length   int64
	Checksum uint64
	Blocks   int
}

// Create makes the file of id, which must not exist, with its header page.
// Neither file nor name is durable: see [Writer.Sync] and vfs.FS.SyncDir.
func Create(fs vfs.FS, id Identity, codec Codec) (*Writer, error) {
	name := FileName(id)
	f, err := fs.Create(name)
	if err != nil {
		return nil, fmt.Errorf("create segment %s: %w", name, err)
	}
	if _, err := f.WriteAt(appendPage(nil, id), 0); err != nil {
		err = errors.Join(fmt.Errorf("write header page of %s: %w", name, err), f.Close())
		// The name was free a moment ago, so nothing of anyone's is lost.
		return nil, errors.Join(err, fs.Remove(name))
	}
	return newWriter(f, id, codec, PageBytes), nil
}

// Continue opens the file of id to add blocks behind its durable length, and
// cuts off what is beyond: leftovers of a write that was never relied on.
func Continue(fs vfs.FS, id Identity, codec Codec, durable int64) (*Writer, error) {
	name := FileName(id)
	f, err := fs.Open(name)
	if err != nil {
		return nil, fmt.Errorf("open segment %s: %w", name, err)
	}
	if err := prepare(f, id, durable); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return newWriter(f, id, codec, durable), nil
}

// prepare verifies that the file can be continued, and cuts it to durable.
func prepare(f vfs.File, id Identity, durable int64) error {
	r := newReader(f, id)
	if err := r.checkPage(durable); err != nil {
		return err
	}
	size, err := f.Size()
	if err != nil {
		return fmt.Errorf("size of %s: %w", r.name, err)
	}
	if size < durable {
		return r.failed(size, Block{}, damagef("file has %d bytes, want %d", size, durable))
	}
	if size == durable {
		return nil
	}
	if err := f.Truncate(durable); err != nil {
		return fmt.Errorf("truncate %s from %d to %d bytes: %w", r.name, size, durable, err)
	}
	return nil
}

func newWriter(f vfs.File, id Identity, codec Codec, size int64) *Writer {
	return &Writer{file: f, name: FileName(id), id: id, seed: id.seed(), codec: codec, start: size, begun: true}
}

// Begin starts a run: the next block is put on a page boundary. A run has to
// begin before blocks are added behind bytes that someone relies on. The first
// block of a Writer, and the first behind a Sync, begin one without it.
func (w *Writer) Begin() { w.begun = true }

// Add appends a block of raw bytes, and returns b with Offset, Stored, Raw and
// Checksum filled in, and Topic and Incarnation where both are zero. It writes
// when much has gathered. raw is not kept.
func (w *Writer) Add(b Block, raw []byte) (Block, error) {
	if err := w.beginBlock(&b, len(raw)); err != nil {
		return Block{}, err
	}
	var p []byte
	var facts bodyFacts
	p, b.Checksum, facts = packBody(*w.buf, raw, w.codec)
	return w.endBlock(b, p, facts)
}

// AddBody is Add of a block b whose body was made by [Pack], or stands in another
// file and is copied as it is.
func (w *Writer) AddBody(b Block, body Body) (Block, error) {
	if err := w.beginBlock(&b, int(b.Raw)); err != nil {
		return Block{}, err
	}
	return w.endBlock(b, append(*w.buf, body.bytes...), body.facts)
}

// beginBlock makes room for the header of a block of so many raw bytes.
func (w *Writer) beginBlock(b *Block, raw int) error {
	if w.err != nil {
		return w.err
	}
	if b.Topic == 0 && b.Incarnation == 0 {
		b.Topic, b.Incarnation = w.id.Topic, w.id.Incarnation
	}
	w.checkAdd(*b, raw)
	if w.begun {
		w.align()
		w.begun = false
	}
	b.Offset, b.Raw = w.Size(), uint32(raw)
	buf := w.buffer()
	*buf = append(*buf, make([]byte, blockHeaderBytes)...)
	return nil
}

// endBlock writes the header; p is the buffer with the body at its end.
func (w *Writer) endBlock(b Block, p []byte, facts bodyFacts) (Block, error) {
	at := len(*w.buf) - blockHeaderBytes
	*w.buf = p
	b.Stored = uint32(len(p) - at)
	putBlockHeader(p[at:at+blockHeaderBytes], w.id, w.seed, b, facts)
	w.last = b.Last
	if len(p) < writeBytes {
		return b, nil
	}
	return b, w.Flush()
}

// checkAdd panics on a block that a reader would refuse.
func (w *Writer) checkAdd(b Block, raw int) {
	if w.sealed {
		panic("segment: Add to sealed " + w.name)
	}
	if raw > MaxRaw {
		panic(fmt.Sprintf("segment: Add of %d bytes to %s, the limit is %d", raw, w.name, MaxRaw))
	}
	if err := b.checkFacts(w.id); err != nil {
		panic(fmt.Sprintf("segment: Add to %s: %v", w.name, err))
	}
	if w.id.Topic != 0 && b.First <= w.last {
		panic(fmt.Sprintf("segment: Add of events %d to %d behind event %d to %s", b.First, b.Last, w.last, w.name))
	}
}

// align moves the end to a page boundary. The gap is left as a hole where
// nothing is buffered: the page that it begins in may be durable.
func (w *Writer) align() {
	gap := alignUp(w.Size()) - w.Size()
	if w.buf == nil {
		w.start += gap
		return
	}
	*w.buf = append(*w.buf, make([]byte, gap)...)
}

func (w *Writer) buffer() *[]byte {
	if w.buf == nil {
		w.buf = buffers.Get().(*[]byte)
		*w.buf = (*w.buf)[:0]
	}
	return w.buf
}

// Flush writes what is buffered. It does not sync.
func (w *Writer) Flush() error {
	if w.err != nil || w.buf == nil {
		return w.err
	}
	if _, err := w.file.WriteAt(*w.buf, w.start); err != nil {
		w.err = fmt.Errorf("write %d bytes at %d of %s: %w", len(*w.buf), w.start, w.name, err)
		return w.err
	}
	w.start += int64(len(*w.buf))
	w.release()
	return nil
}

func (w *Writer) release() {
	if w.buf != nil && cap(*w.buf) <= keepBytes {
		buffers.Put(w.buf)
	}
	w.buf = nil
}

// Sync makes all that was added durable, and ends the run. Its name is not
// this file's to sync: see vfs.FS.SyncDir.
func (w *Writer) Sync() error {
	if err := w.Flush(); err != nil {
		return err
	}
	sync := w.file.SyncData
	if !w.synced {
		sync = w.file.Sync
	}
	if err := sync(); err != nil {
		w.err = fmt.Errorf("sync %s: %w", w.name, err)
		return w.err
	}
	w.synced, w.begun = true, true
	return nil
}

// Size is where the file ends once it is flushed. Below it are whole blocks:
// after a Sync it is the file's durable length.
func (w *Writer) Size() int64 {
	if w.buf == nil {
		return w.start
	}
	return w.start + int64(len(*w.buf))
}

// Seal writes the footer for the file's blocks: all of them, in order, also
// those from before Continue. No block may be added afterwards. The caller
// syncs.
func (w *Writer) Seal(blocks []Block) (Footer, error) {
	if w.err != nil {
		return Footer{}, w.err
	}
	w.checkSeal(blocks)
	w.align()
	offset := w.Size()
	p, f := appendFooter(*w.buffer(), w.id, w.seed, offset, blocks)
	*w.buf = p
	w.sealed = true
	return f, w.Flush()
}

// checkSeal panics on a list of blocks that is not this file's.
func (w *Writer) checkSeal(blocks []Block) {
	if w.sealed {
		panic("segment: Seal of sealed " + w.name)
	}
	end, err := NewList(blocks).check(w.id, w.Size())
	if err != nil {
		panic(fmt.Sprintf("segment: Seal of %s: %v", w.name, err))
	}
	if end != w.Size() {
		panic(fmt.Sprintf("segment: Seal of %s: the last block ends at %d, the file at %d", w.name, end, w.Size()))
	}
}

// Close closes the file and forgets what was not flushed.
func (w *Writer) Close() error {
	w.release()
	if w.err == nil {
		w.err = fmt.Errorf("segment %s is closed", w.name)
	}
	if err := w.file.Close(); err != nil {
		return fmt.Errorf("close %s: %w", w.name, err)
	}
	return nil
}
