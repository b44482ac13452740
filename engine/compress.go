package engine

import (
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/seglog/seglog/segment"
)

// A checkpoint spends most of its time compressing, and one processor does so at
// the pace of a single appender of large batches. So the blocks of a topic may be
// compressed by others while the checkpoint builds the next ones; they are
// written in order all the same.

// packedBlock is a block on its way into a segment.
type packedBlock struct {
	block segment.Block
	raw   []byte
	codec segment.Codec

	begun atomic.Bool // by a goroutine, or by the checkpoint itself
	buf   segment.Buffer
	body  segment.Body
	done  chan struct{} // has room for one: it says that body is set
	start func()        // pack, as a value that a go statement need not make
}

var packedPool = sync.Pool{New: func() any {
	p := &packedBlock{done: make(chan struct{}, 1)}
	p.start = p.pack
	return p
}}

// pack compresses the block, unless somebody else does.
func (p *packedBlock) pack() {
	if !p.begun.CompareAndSwap(false, true) {
		return
	}
	p.block, p.body = segment.Pack(p.block, p.raw, p.codec, &p.buf)
	p.done <- struct{}{}
}

const (
	// packersMax bounds the processors that compress beside a checkpoint.
	packersMax = 8
	// packedAhead is how many blocks are ready for each of them: to wake a
	// processor takes longer than to compress one.
	packedAhead = 4
	// packedBytesMax is the largest block that is compressed beside the
	// checkpoint: of larger ones a few are much memory.
	packedBytesMax = 1 << 20
	// behindShare is the part of the tails, or of the write-ahead log, that is
	// used when appends will soon have to wait for the checkpoint.
	behindShare = 2
)

// packers is how many processors may compress beside the checkpoint: half of
// those that it leaves; all of them where it falls behind, since appends are
// about to wait for it then.
func (w *flush) packers() int {
	e := w.e
	if e.env.Inline {
		return 1 // which is ourselves, later
	}
	others := runtime.GOMAXPROCS(0) - 1
	if e.tailBytes.Load() < e.opts.TailBytes/behindShare && e.wal.Used() < e.opts.WALBytes*3/4 {
		others /= 2
	}
	return min(others, packersMax)
}
