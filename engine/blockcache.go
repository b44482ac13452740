package engine

import (
	"container/list"
	"slices"
	"sync"
)

// blockCache keeps blocks that short reads came back to, verified and
// decompressed: pages of a topic that are asked for one after another, or by
// one consumer after another. A block is kept when it is read again soon; so
// reads that go everywhere, and those that go through everything, neither pay
// for the cache nor empty it.
type blockCache struct {
	most int64 // bytes

	mu     sync.Mutex // guards the fields below
	blocks map[blockKey]*list.Element
	recent *list.List // of *cachedBlock; the front was used last
	bytes  int64      // that they take
	// seen has blocks that were read once, each in the slot of its hash.
	seen [seenSlots]blockKey
}

// blockKey is a block's place. Its checksum is part of it: what a checkpoint
// wrote that failed is written over by the next one.
type blockKey struct {
	segment  uint64
	offset   int64
	checksum uint64
}

func (k *blockKey) slot() uint64 {
	return (k.checksum ^ uint64(k.offset) ^ k.segment) % seenSlots
}

const (
	seenSlots = 1024
	// cachedBlockBytes is about what a block takes beside its bytes.
	cachedBlockBytes = 200
)

type cachedBlock struct {
	key blockKey
	raw []byte // never changed
}

func (b *cachedBlock) bytes() int64 { return cachedBlockBytes + int64(len(b.raw)) }

func newBlockCache(most int64) *blockCache {
	return &blockCache{most: most, blocks: map[blockKey]*list.Element{}, recent: list.New()}
}

// get returns the raw bytes of a block; nil: it must be read, and where keep is
// true, put into the cache.
func (c *blockCache) get(k blockKey, size uint32) (raw []byte, keep bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.blocks[k]; e != nil {
		c.recent.MoveToFront(e)
		return e.Value.(*cachedBlock).raw, false
	}
	s := &c.seen[k.slot()]
	keep = *s == k && int64(size)+cachedBlockBytes <= c.most/8
	*s = k
	return nil, keep
}

// put keeps a copy of a block's raw bytes, which verified.
func (c *blockCache) put(k blockKey, raw []byte) {
	b := &cachedBlock{k, slices.Clone(raw)}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.blocks[k] != nil {
		return
	}
	c.blocks[k] = c.recent.PushFront(b)
	for c.bytes += b.bytes(); c.bytes > c.most; {
		last := c.recent.Remove(c.recent.Back()).(*cachedBlock)
		delete(c.blocks, last.key)
		c.bytes -= last.bytes()
	}
}

// size is how many bytes the cached blocks take.
func (c *blockCache) size() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bytes
}
