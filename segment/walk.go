package segment

import (
	"bytes"
	"errors"
	"fmt"
)

// windowBytes is how much a walk reads at once: a few small blocks, while the
// bodies of large ones are stepped over.
const windowBytes = 32 << 10

// Walk calls fn for each block up to the durable length, in order, and ends
// with the first error. Headers, gaps and the footer of a sealed file are
// verified here; bodies are by [Reader.Read].
//
// durable is the file's length after a flush, which ends with a block or with
// the footer; or it is the footer's offset, to do without a damaged footer.
func (r *Reader) Walk(durable int64, fn func(Block) error) error {
	return r.walk(durable, fn, func(c *CorruptError) error { return c })
}

// WalkSalvage is a Walk that reports damage and goes on with the next block
// that verifies. In a topic's own file a report bounds the events that are
// lost by the blocks around the damage. The walk ends with the first error of
// a callback or of the file system, which says nothing about the bytes.
func (r *Reader) WalkSalvage(durable int64, fn func(Block) error, damaged func(*CorruptError) error) error {
	return r.walk(durable, fn, damaged)
}

func (r *Reader) walk(durable int64, fn func(Block) error, damaged func(*CorruptError) error) error {
	if err := caught(r.checkPage(durable), damaged); err != nil {
		return err
	}
	size, err := r.file.Size()
	if err != nil {
		return fmt.Errorf("size of %s: %w", r.name, err)
	}
	w := &walker{r: r, limit: min(durable, size), at: PageBytes}
	for w.at < w.limit {
		b, err := w.next()
		if errors.Is(err, errEnd) {
			break
		}
		if err == nil {
			err = fn(b)
		} else {
			err = w.resume(err, damaged)
		}
		if err != nil {
			return err
		}
	}
	if size < durable {
		return caught(r.failed(size, w.lost(0), damagef("file has %d bytes, want %d", size, durable)), damaged)
	}
	return nil
}

// caught hands damage to its callback, and returns other errors.
func caught(err error, damaged func(*CorruptError) error) error {
	var c *CorruptError
	if errors.As(err, &c) {
		return damaged(c)
	}
	return err
}

// errEnd ends a walk: the footer was there, and agreed, or is not walked.
var errEnd = errors.New("no block is next")

// walker is the state of one walk.
type walker struct {
	r     *Reader
	limit int64 // end of the bytes that are walked

	at    int64  // where the next block, gap or footer is
	last  uint64 // the last block's last event id
	count int    // blocks so far
	lossy bool   // damage was stepped over

	window []byte // bytes of the file from offset start
	start  int64
}

// next returns the block at w.at or, behind a gap, at the next page boundary,
// and moves behind it. On an error w.at is where the bytes do not verify.
func (w *walker) next() (Block, error) {
	if err := w.skipGap(); err != nil {
		return Block{}, err
	}
	if w.at == w.limit {
		return Block{}, errEnd
	}
	if err := w.footer(); err != nil {
		return Block{}, err
	}
	h, err := w.bytes(blockHeaderBytes)
	if err != nil {
		return Block{}, err
	}
	b, _, err := parseBlockHeader(h, w.r.id, w.r.seed, w.at)
	if err != nil {
		return Block{}, err
	}
	if err := b.checkPlace(w.r.id, w.at, w.limit, w.last); err != nil {
		return Block{}, err
	}
	w.at, w.last = b.end(), b.Last
	w.count++
	return b, nil
}

// skipGap moves over zeros to the next page boundary. A gap is never the last
// thing unless a footer was behind it: else a last block that was zeroed would
// pass for one.
func (w *walker) skipGap() error {
	end := alignUp(w.at)
	if end == w.at || end > w.limit {
		return nil
	}
	if first, err := w.bytes(1); err != nil || first[0] != 0 {
		return err
	}
	gap, err := w.bytes(int(end - w.at))
	if err != nil {
		return err
	}
	for i, c := range gap {
		if c != 0 {
			w.at += int64(i)
			return damagef("byte %#02x in a gap, want 0", c)
		}
	}
	w.at = end
	return nil
}

// footer returns errEnd where a footer is next and verifies, and nil where
// something else is next.
func (w *walker) footer() error {
	if w.at%PageBytes != 0 || w.limit-w.at < footerLength(0) {
		return nil
	}
	h, err := w.bytes(footerHeaderBytes)
	if err != nil {
		return err
	}
	if string(h[:4]) != footerMagic {
		return nil
	}
	_, f, err := w.r.readFooter(w.at, w.limit-w.at)
	if err != nil {
		return err
	}
	if f.Blocks != w.count && !w.lossy {
		return damagef("footer speaks of %d blocks, found %d", f.Blocks, w.count)
	}
	return errEnd
}

// resume reports damage at w.at, and moves to the next block or footer that
// verifies, or to the end.
func (w *walker) resume(err error, damaged func(*CorruptError) error) error {
	at := w.at
	var c *CorruptError
	if err := w.r.failed(at, Block{}, err); !errors.As(err, &c) {
		return err
	}
	next, err := w.search()
	if err != nil {
		return w.r.failed(w.at, Block{}, err)
	}
	lost := w.lost(next.First)
	c.First, c.Last = lost.First, lost.Last
	w.lossy = true
	return damaged(c)
}

// lost bounds the events between the last block and the one that begins with
// event next, which may be 0.
func (w *walker) lost(next uint64) Block {
	if w.r.id.Topic == 0 {
		return Block{}
	}
	lost := Block{Topic: w.r.id.Topic, First: max(w.last+1, w.r.id.Base)}
	if next != 0 {
		lost.Last = next - 1
	}
	return lost
}

// search moves behind w.at to the next block that verifies, which it returns,
// or else to a footer or the end. A header holds its own offset under a
// checksum seeded with the log's uuid, so bytes of an event that look like one
// do not pass.
func (w *walker) search() (Block, error) {
	for w.at++; w.limit-w.at >= footerHeaderBytes; {
		n := min(windowBytes, w.limit-w.at)
		p, err := w.bytes(int(n))
		if err != nil {
			return Block{}, err
		}
		if i, b := w.candidate(p); i >= 0 {
			w.at += int64(i)
			return b, nil
		}
		w.at += max(1, n-blockHeaderBytes+1)
	}
	w.at = w.limit
	return Block{}, nil
}

// candidate finds the first header of a block or a footer in p, which is read
// at w.at, that verifies.
func (w *walker) candidate(p []byte) (int, Block) {
	for i := 0; ; i++ {
		j := bytes.Index(p[i:], []byte(blockMagic[:2])) // and footerMagic's
		if j < 0 {
			return -1, Block{}
		}
		i += j
		at, h := w.at+int64(i), p[i:]
		if len(h) >= blockHeaderBytes {
			b, _, err := parseBlockHeader(h[:blockHeaderBytes], w.r.id, w.r.seed, at)
			if err == nil && b.checkPlace(w.r.id, at, w.limit, w.last) == nil {
				return i, b
			}
		}
		if at%PageBytes == 0 && len(h) >= footerHeaderBytes {
			if _, err := checkFooterHeader(h[:footerHeaderBytes], w.r.id, w.r.seed, at); err == nil {
				return i, Block{}
			}
		}
	}
}

// bytes returns n bytes from w.at, valid until the next call.
func (w *walker) bytes(n int) ([]byte, error) {
	if int64(n) > w.limit-w.at {
		return nil, damagef("%d bytes before the end at %d, want %d", w.limit-w.at, w.limit, n)
	}
	if from := w.at - w.start; from >= 0 && from+int64(n) <= int64(len(w.window)) {
		return w.window[from:][:n], nil
	}
	w.window = resize(w.window, int(min(windowBytes, w.limit-w.at)))
	w.start = w.at
	if err := w.r.readFull(w.window, w.at); err != nil {
		w.window = w.window[:0]
		return nil, err
	}
	return w.window[:n], nil
}
