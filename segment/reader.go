package segment

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"
	"github.com/seglog/seglog/internal/vfs"
)

// Reader reads one segment file.
type Reader struct {
	file vfs.File
	name string
	id   Identity
	seed uint64
	// size is the largest size that the file was seen to have. It bounds what
	// is allocated on the word of bytes from disk.
	size atomic.Int64
}

// OpenReader opens the file of id. Nothing is read yet: each block proves by
// itself that it belongs here, so a damaged header page, which [Reader.Walk]
// and [Reader.Footer] report, does not take the blocks away.
func OpenReader(fs vfs.FS, id Identity) (*Reader, error) {
	name := FileName(id)
	f, err := fs.OpenRead(name)
	if err != nil {
		return nil, fmt.Errorf("open segment %s: %w", name, err)
	}
	return newReader(f, id), nil
}

func newReader(f vfs.File, id Identity) *Reader {
	return &Reader{file: f, name: FileName(id), id: id, seed: id.seed()}
}

// Read returns the raw bytes of b, as [Writer.Add], [Reader.Walk] or
// [Reader.Footer] told of it. They are valid until dst is used again.
func (r *Reader) Read(b Block, dst *Buffer) ([]byte, error) {
	raw, err := r.read(b, dst)
	if err != nil {
		return nil, r.failed(b.Offset, b, err)
	}
	return raw, nil
}

func (r *Reader) read(b Block, dst *Buffer) ([]byte, error) {
	if err := r.readBlock(b, dst); err != nil {
		return nil, err
	}
	return r.decode(dst.stored, b, dst)
}

// readBlock reads b as it is stored, into dst.stored.
func (r *Reader) readBlock(b Block, dst *Buffer) error {
	if b.Stored < blockHeaderBytes {
		return damagef("block is said to have %d bytes, fewer than its header", b.Stored)
	}
	if err := r.checkFits(b.Offset, int64(b.Stored)); err != nil {
		return err
	}
	dst.stored = resize(dst.stored, int(b.Stored))
	return r.readFull(dst.stored, b.Offset)
}

// decode verifies a block as it is stored, and returns its raw bytes, which are
// in stored or in dst.
func (r *Reader) decode(stored []byte, b Block, dst *Buffer) ([]byte, error) {
	body, err := r.verify(stored, b)
	if err != nil {
		return nil, err
	}
	return decodeBody(body.bytes, b, body.facts, dst)
}

// verify verifies a block as it is stored.
func (r *Reader) verify(stored []byte, b Block) (Body, error) {
	found, facts, err := parseBlockHeader(stored[:blockHeaderBytes], r.id, r.seed, b.Offset)
	if err != nil {
		return Body{}, err
	}
	if err := checkSame(found, b); err != nil {
		return Body{}, err
	}
	body := stored[blockHeaderBytes:]
	if got := xxhash.Sum64(body); got != b.Checksum {
		return Body{}, damagef("checksum of block is %016x, want %016x", got, b.Checksum)
	}
	return Body{body, facts}, nil
}

// Body is what a block holds, as it is stored, for [Writer.AddBody].
type Body struct {
	bytes []byte
	facts bodyFacts
}

// ReadBody reads b for another file. Its bytes are verified as they are stored,
// and not decompressed. It is valid until dst is used again.
func (r *Reader) ReadBody(b Block, dst *Buffer) (Body, error) {
	err := r.readBlock(b, dst)
	var body Body
	if err == nil {
		body, err = r.verify(dst.stored, b)
	}
	if err != nil {
		return Body{}, r.failed(b.Offset, b, err)
	}
	return body, nil
}

// ReadRun is Read of blocks that stand in the file in this order, with no more
// than a page between two of them: in one read. It returns the raw bytes of
// each, which are valid until dst is used again.
func (r *Reader) ReadRun(blocks []Block, dst *RunBuffer) ([][]byte, error) {
	first, last := &blocks[0], &blocks[len(blocks)-1]
	n := last.Offset + int64(last.Stored) - first.Offset
	if most := int64(len(blocks)) * (PageBytes + MaxRaw); n < 0 || n > most {
		return nil, r.failed(first.Offset, *first, damagef("run of %d blocks has %d bytes", len(blocks), n))
	}
	if err := r.checkFits(first.Offset, n); err != nil {
		return nil, r.failed(first.Offset, *first, err)
	}
	dst.reset(int(n), len(blocks))
	if err := r.readFull(dst.stored, first.Offset); err != nil {
		return nil, r.failed(first.Offset, *first, err)
	}
	for i, b := range blocks {
		at := b.Offset - first.Offset
		if b.Stored < blockHeaderBytes || at < 0 || at+int64(b.Stored) > n {
			return nil, r.failed(b.Offset, b, damagef("block is said to have %d bytes, outside of its run", b.Stored))
		}
		raw, err := r.decode(dst.stored[at:at+int64(b.Stored)], b, &dst.blocks[i])
		if err != nil {
			return nil, r.failed(b.Offset, b, err)
		}
		dst.raws[i] = raw
	}
	return dst.raws, nil
}

// checkSame verifies that the block in the file is the one that was asked for.
func checkSame(found, b Block) error {
	switch {
	case found.Topic != b.Topic, found.Incarnation != b.Incarnation:
		return damagef("block of topic %d.%d, want %d.%d", found.Topic, found.Incarnation, b.Topic, b.Incarnation)
	case found.First != b.First, found.Last != b.Last:
		return damagef("block of events %d to %d, want %d to %d", found.First, found.Last, b.First, b.Last)
	case found.Stored != b.Stored, found.Raw != b.Raw:
		return damagef("block of %d bytes stored in %d, want %d in %d", found.Raw, found.Stored, b.Raw, b.Stored)
	case found.Checksum != b.Checksum:
		return damagef("block with checksum %016x, want %016x", found.Checksum, b.Checksum)
	}
	return nil
}

// Footer returns the blocks of a sealed file of size bytes: exactly those that
// [Writer.Seal] was given when it returned f, or an error.
func (r *Reader) Footer(f Footer, size int64) (List, error) {
	if err := r.checkPage(size); err != nil {
		return List{}, err
	}
	if f.Offset < PageBytes || f.Offset > size || f.Length != size-f.Offset {
		return List{}, r.failed(f.Offset, Block{}, damagef("footer of %d bytes is said to end a file of %d", f.Length, size))
	}
	list, found, err := r.readFooter(f.Offset, f.Length)
	if err == nil && found != f {
		err = damagef("footer of %d blocks with checksum %016x, want %d with %016x", found.Blocks, found.Checksum, f.Blocks, f.Checksum)
	}
	if err != nil {
		return List{}, r.failed(f.Offset, Block{}, err)
	}
	return list, nil
}

// FindFooter asks a sealed file of size bytes where its footer is. The answer
// proves nothing: it is for a file whose log has lost track of it.
func (r *Reader) FindFooter(size int64) (Footer, error) {
	at := size - footerTrailerBytes
	if at < PageBytes {
		return Footer{}, r.failed(size, Block{}, damagef("file of %d bytes has no room for a footer", size))
	}
	t := make([]byte, footerTrailerBytes)
	if err := r.readFull(t, at); err != nil {
		return Footer{}, r.failed(at, Block{}, err)
	}
	f, err := parseTrailer(t)
	if err != nil {
		return Footer{}, r.failed(at, Block{}, err)
	}
	return f, nil
}

// readFooter reads a footer and verifies it by what it says of itself.
func (r *Reader) readFooter(offset, length int64) (List, Footer, error) {
	if err := r.checkFits(offset, length); err != nil {
		return List{}, Footer{}, err
	}
	p := make([]byte, length)
	if err := r.readFull(p, offset); err != nil {
		return List{}, Footer{}, err
	}
	return parseFooter(p, r.id, r.seed, offset)
}

// checkPage verifies the header page of a file that is durable to a length.
func (r *Reader) checkPage(durable int64) error {
	if durable < PageBytes {
		return r.failed(0, Block{}, damagef("file is said to have %d bytes, fewer than its header page", durable))
	}
	p := make([]byte, PageBytes)
	err := r.readFull(p, 0)
	if err == nil {
		err = checkPage(p, r.id)
	}
	if err != nil {
		return r.failed(0, Block{}, err)
	}
	return nil
}

// checkFits verifies that the file has n bytes from an offset.
func (r *Reader) checkFits(offset, n int64) error {
	if offset >= 0 && n <= r.size.Load()-offset {
		return nil
	}
	size, err := r.file.Size()
	if err != nil {
		return err
	}
	r.size.Store(size)
	if offset < 0 || n > size-offset {
		return damagef("file has %d bytes, want %d from %d", size, n, offset)
	}
	return nil
}

// readFull fills p. A file that ends early is damaged; a read that fails says
// nothing about the file.
func (r *Reader) readFull(p []byte, offset int64) error {
	n, err := r.file.ReadAt(p, offset)
	if n == len(p) {
		return nil
	}
	if errors.Is(err, io.EOF) {
		return damagef("file ends at %d, want %d bytes from %d", offset+int64(n), len(p), offset)
	}
	if err == nil {
		err = io.ErrNoProgress // against the contract of io.ReaderAt
	}
	return err
}

// failed gives err its place: damage becomes a *CorruptError about b, anything
// else says what was being read.
func (r *Reader) failed(offset int64, b Block, err error) error {
	var d damage
	if !errors.As(err, &d) {
		return fmt.Errorf("read %s at %d: %w", r.name, offset, err)
	}
	topic := b.Topic
	if topic == 0 {
		topic = r.id.Topic
	}
	return &CorruptError{File: r.name, Offset: offset, Topic: topic, First: b.First, Last: b.Last, Reason: err.Error()}
}

// Close closes the file.
func (r *Reader) Close() error {
	if err := r.file.Close(); err != nil {
		return fmt.Errorf("close %s: %w", r.name, err)
	}
	return nil
}
