package engine

import (
	"sync"

	"github.com/seglog/seglog/index"
)

// loadedSegments bounds what the indexes of all topics hold in memory: past
// the bound, the sealed segments whose blocks were loaded first become spans
// again. Their footers have the blocks, should they be needed once more.
type loadedSegments struct {
	mu     sync.Mutex // guards the fields below; an index's mutex is taken under it
	queue  []loadedSegment
	blocks map[loadedSegment]int // of those in the queue
	count  int                   // of blocks
	most   int                   // 0: loadedBlocksMax
}

type loadedSegment struct {
	index *index.Index
	id    uint64
}

// loadedBlocksMax is 100 MB of memory, and with blocks of the default size the
// way to 8 GiB of events.
const loadedBlocksMax = 1 << 20

// add notes that a sealed segment's blocks are in an index.
func (l *loadedSegments) add(s loadedSegment, blocks int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.blocks[s]; ok {
		return
	}
	if l.blocks == nil {
		l.blocks = map[loadedSegment]int{}
	}
	l.queue = append(l.queue, s)
	l.blocks[s] = blocks
	l.count += blocks
	most := l.most
	if most == 0 {
		most = loadedBlocksMax
	}
	for l.count > most && len(l.queue) > 1 {
		first := l.queue[0]
		l.queue = l.queue[1:]
		l.count -= l.blocks[first]
		delete(l.blocks, first)
		first.index.Collapse(first.id)
	}
}
