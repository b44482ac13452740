package engine

import (
	"sort"
	"sync/atomic"
)

// chunk is consecutive events of a topic, those of one append or of a group's
// appends: they stand in memory, which the tail owns, as they stand in the WAL.
type chunk struct {
	first    uint64 // id
	position uint64 // of the first event
	count    uint64
	data     []byte
}

func (c *chunk) last() uint64 { return c.first + c.count - 1 }

// tail is a topic's events that are not in a segment yet, in id order without
// a hole. One goroutine at a time adds to it (it holds Engine.publishMu), any
// number read it without a lock: a slot is written before n covers it, and
// never after.
type tail struct {
	slots []chunk // slots[:n] are published
	n     atomic.Int64
}

// chunkOverhead is what a chunk costs beside its bytes.
const chunkOverhead = 64

// published returns the chunks that readers may see.
func (t *tail) published() []chunk {
	if t == nil {
		return nil
	}
	return t.slots[:t.n.Load()]
}

// with returns a tail with c added: t itself where it has a free slot.
func (t *tail) with(c chunk) *tail {
	have := t.published()
	if t == nil || len(have) == len(t.slots) {
		grown := &tail{slots: make([]chunk, max(1, 2*len(have)))}
		copy(grown.slots, have)
		grown.slots[len(have)] = c
		grown.n.Store(int64(len(have) + 1))
		return grown
	}
	t.slots[len(have)] = c
	t.n.Store(int64(len(have) + 1))
	return t
}

// after returns a tail without the chunks that end at or below id; nil where
// none is left.
func (t *tail) after(id uint64) *tail {
	have := t.published()
	keep := have[searchChunk(have, id+1):]
	if len(keep) == 0 {
		return nil
	}
	if len(keep) == len(have) {
		return t
	}
	cut := &tail{slots: make([]chunk, len(keep), 2*len(keep))}
	cut.slots = cut.slots[:cap(cut.slots)]
	copy(cut.slots, keep)
	cut.n.Store(int64(len(keep)))
	return cut
}

// searchChunk returns the index of the first chunk whose last id is at least
// id.
func searchChunk(chunks []chunk, id uint64) int {
	return sort.Search(len(chunks), func(i int) bool { return chunks[i].last() >= id })
}

func chunkBytes(chunks []chunk) int64 {
	var n int64
	for i := range chunks {
		n += int64(len(chunks[i].data)) + chunkOverhead
	}
	return n
}
