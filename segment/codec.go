package segment

import (
	"runtime"
	"slices"
	"sync"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
)

// zstdMaxRaw bounds what zstd is given, and with it what decoding hostile
// bytes can ask for. Larger blocks are rare, and s2 does them.
const zstdMaxRaw = 64 << 20

// The coders are safe for concurrent use, keep pools of their own, and start
// no goroutine for whole buffers.
var (
	zstdEncoder = sync.OnceValue(func() *zstd.Encoder {
		e, err := zstd.NewWriter(nil,
			zstd.WithEncoderLevel(zstd.SpeedDefault), // a twentieth smaller than the fastest, in the same time
			zstd.WithEncoderConcurrency(runtime.GOMAXPROCS(0)),
			zstd.WithEncoderCRC(false), // a block has two checksums already
			zstd.WithSingleSegment(true),
			zstd.WithWindowSize(1<<20),
			zstd.WithLowerEncoderMem(true))
		if err != nil {
			panic("segment: zstd encoder: " + err.Error())
		}
		return e
	})
	zstdDecoder = sync.OnceValue(func() *zstd.Decoder {
		d, err := zstd.NewReader(nil,
			zstd.WithDecoderConcurrency(runtime.GOMAXPROCS(0)),
			zstd.WithDecoderMaxMemory(zstdMaxRaw),
			zstd.WithDecodeAllCapLimit(true))
		if err != nil {
			panic("segment: zstd decoder: " + err.Error())
		}
		return d
	})
)

// Pack compresses raw into dst, as [Writer.Add] would, for a block b that is
// added later: b with Raw and Checksum filled in. It may run beside the writer;
// the body is valid until dst is used again.
func Pack(b Block, raw []byte, codec Codec, dst *Buffer) (Block, Body) {
	p, checksum, facts := packBody(dst.stored[:0], raw, codec)
	dst.stored = p
	b.Raw, b.Checksum = uint32(len(raw)), checksum
	return b, Body{p, facts}
}

// packBody appends raw as it is to be stored, and returns the checksum of that.
func packBody(dst, raw []byte, codec Codec) (p []byte, checksum uint64, facts bodyFacts) {
	p, facts.codec = appendBody(dst, raw, codec)
	checksum = xxhash.Sum64(p[len(dst):])
	facts.rawChecksum = checksum
	if facts.codec != None {
		facts.rawChecksum = xxhash.Sum64(raw)
	}
	return p, checksum, facts
}

// appendBody appends raw in the form that codec asks for, or as it is where
// that saves less than a sixteenth.
func appendBody(dst, raw []byte, codec Codec) ([]byte, Codec) {
	at := len(dst)
	if codec == Zstd && len(raw) > zstdMaxRaw {
		codec = S2
	}
	switch codec {
	case S2:
		n := s2.MaxEncodedLen(len(raw))
		dst = slices.Grow(dst, n)
		// It encodes into the room behind dst, which is large enough.
		dst = dst[:at+len(s2.Encode(dst[at:at+n], raw))]
	case Zstd:
		dst = zstdEncoder().EncodeAll(raw, dst)
	}
	if codec != None && len(dst)-at <= len(raw)-max(1, len(raw)/16) {
		return dst, codec
	}
	return append(dst[:at], raw...), None
}

// decodeBody decodes a body whose checksum was verified into room from dst.
// b.Raw is bounded by MaxRaw, and must agree with what the compressed bytes
// say of themselves before room is made for it.
func decodeBody(body []byte, b Block, facts bodyFacts, dst *Buffer) ([]byte, error) {
	if facts.codec == None {
		if facts.rawChecksum != b.Checksum {
			return nil, damagef("block stored as it is has checksums %016x and %016x", facts.rawChecksum, b.Checksum)
		}
		return body, nil
	}
	raw, err := decompress(body, int(b.Raw), facts.codec, dst)
	if err != nil {
		return nil, err
	}
	if len(raw) != int(b.Raw) {
		return nil, damagef("%v block has %d bytes, want %d", facts.codec, len(raw), b.Raw)
	}
	if got := xxhash.Sum64(raw); got != facts.rawChecksum {
		return nil, damagef("checksum of decompressed block is %016x, want %016x", got, facts.rawChecksum)
	}
	return raw, nil
}

func decompress(body []byte, n int, codec Codec, dst *Buffer) (raw []byte, err error) {
	switch codec {
	case S2:
		got, err := s2.DecodedLen(body)
		if err != nil || got != n {
			return nil, damagef("s2 body is of %d bytes, want %d", got, n)
		}
		raw, err = s2.Decode(dst.room(n), body)
		if err != nil {
			return nil, damagef("s2: %v", err)
		}
	case Zstd:
		var h zstd.Header
		if err := h.Decode(body); err != nil {
			return nil, damagef("zstd header: %v", err)
		}
		if !h.HasFCS || h.FrameContentSize != uint64(n) || n > zstdMaxRaw {
			return nil, damagef("zstd body is of %d bytes, want %d", h.FrameContentSize, n)
		}
		raw, err = zstdDecoder().DecodeAll(body, dst.room(n)[:0])
		if err != nil {
			return nil, damagef("zstd: %v", err)
		}
	}
	return raw, nil
}

// Buffer is room for one block at a time, used again and again. The zero
// Buffer is ready.
type Buffer struct {
	stored []byte // header and body as read
	raw    []byte // decompressed
}

// Cap is how much memory the buffer holds, in bytes.
func (b *Buffer) Cap() int { return cap(b.stored) + cap(b.raw) }

// RunBuffer is room for one run of blocks at a time, used again and again. The
// zero RunBuffer is ready.
type RunBuffer struct {
	stored []byte
	blocks []Buffer // of which only raw is used
	raws   [][]byte
}

// reset makes room for a run of that many bytes, as stored, and blocks.
func (b *RunBuffer) reset(bytes, blocks int) {
	b.stored = resize(b.stored, bytes)
	for len(b.blocks) < blocks {
		b.blocks = append(b.blocks, Buffer{})
	}
	if cap(b.raws) < blocks {
		b.raws = make([][]byte, blocks)
	}
	b.raws = b.raws[:blocks]
}

// room returns n bytes of b.raw with no capacity beyond them: a decoder cannot
// be made to go on.
func (b *Buffer) room(n int) []byte {
	b.raw = resize(b.raw, n)
	return b.raw[:n:n]
}

// resize returns n bytes, from p where they fit.
func resize(p []byte, n int) []byte {
	if cap(p) < n {
		return make([]byte, n)
	}
	return p[:n]
}
