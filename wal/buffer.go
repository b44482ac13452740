package wal

import "github.com/seglog/seglog/internal/vfs"

// payloadOffset leaves room in front of the payload for the frame's header and
// for a header page, so that the first frame of a file and its header page are
// one write, and nothing is ever copied.
const payloadOffset = PageBytes + headerBytes

// Buffer collects the payload of one frame. The zero value is ready for use;
// reusing one saves its memory.
type Buffer struct {
	buf     []byte // buf[payloadOffset:] is the payload
	records uint32
}

// Reset empties the buffer and keeps its memory.
func (b *Buffer) Reset() {
	if b.buf == nil {
		b.buf = vfs.DirectBuffer(4 * PageBytes)
	}
	b.buf = b.buf[:payloadOffset]
	b.records = 0
}

// Len is the payload's size in bytes.
func (b *Buffer) Len() int { return max(0, len(b.buf)-payloadOffset) }

// Records is how often AddRecord was called.
func (b *Buffer) Records() uint32 { return b.records }

// AddRecord counts one record.
func (b *Buffer) AddRecord() { b.records++ }

// Extend grows the payload by n bytes and returns them to be filled. They hold
// anything, and are valid until the next Extend.
func (b *Buffer) Extend(n int) []byte {
	if b.buf == nil {
		b.Reset()
	}
	from := len(b.buf)
	b.grow(from + n)
	b.buf = b.buf[:from+n]
	return b.buf[from : from+n : from+n]
}

// grow makes room for n bytes in all, in memory that direct writes may start at.
func (b *Buffer) grow(n int) {
	if n <= cap(b.buf) {
		return
	}
	more := vfs.DirectBuffer(max(n, 2*cap(b.buf)))
	b.buf = more[:copy(more, b.buf)]
}

// Payload is what was collected; valid until the next Extend.
func (b *Buffer) Payload() []byte {
	if b.buf == nil {
		return nil
	}
	return b.buf[payloadOffset:]
}

// frame is the room of a header page and of size bytes behind it, with the
// payload of the frame in place. The buffer's length does not change.
func (b *Buffer) frame(size int64) []byte {
	if b.buf == nil {
		b.Reset()
	}
	b.grow(PageBytes + int(size))
	return b.buf[:PageBytes+int(size)]
}
