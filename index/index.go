// Package index keeps one topic's way from an event id, or a time, to the
// block that holds it: a copy-on-write B-tree in memory, of blocks, and of
// segments whose blocks are listed elsewhere. It is a cache of what segment
// files say of themselves, and holds nothing that cannot be read again.
//
// # Concurrency
//
// Any number of goroutines may use an [Index]. Changes take a mutex, one after
// another. Readers take none: each change is made to a tree that only the
// holder of the mutex ever sees, and ends with publishing a clone of it. A
// clone is never changed, and shares its nodes with the tree until the tree
// changes them, which it does in copies of its own; so a [Snapshot] stays what
// it was, for as long as someone holds it.
package index

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"sync"
	"sync/atomic"

	"github.com/google/btree"
)

// Entry says where a dense range of one topic's events is.
type Entry struct {
	// First and Last are event ids.
	First, Last uint64
	// Segment is the id of the file.
	Segment uint64
	// Offset, Stored, Raw and Checksum are the block's; they mean nothing in a
	// span.
	Offset      int64
	Stored, Raw uint32
	Checksum    uint64
	// FirstPosition and LastPosition are positions over all topics.
	FirstPosition, LastPosition uint64
	// MinTime and MaxTime bound the events' times.
	MinTime, MaxTime int64
	// Kinds has the bits of the events' kinds.
	Kinds uint64
	// Span: the entry stands for all blocks of a segment, which are not loaded.
	Span bool
}

// Blocks are the entries of one segment's blocks, in order. They never change.
type Blocks interface {
	Len() int
	// Entry returns entry i, from 0.
	Entry(i int) Entry
	// Last is the last event id of entry i.
	Last(i int) uint64
}

// leaf is what an item of the tree stands for: a block, or all blocks of a
// segment, together. Loaded, they take a look-up more, but neither the time nor
// the room that an item each would.
type leaf struct {
	Entry
	blocks Blocks // of a span; nil where they are not loaded
}

// find returns the index of the first of the leaf's blocks that has an event
// at or above id.
func (l *leaf) find(id uint64) int {
	return sort.Search(l.blocks.Len(), func(i int) bool { return l.blocks.Last(i) >= id })
}

// at returns the entry with the event id, which is one of the leaf's.
func (l *leaf) at(id uint64) Entry {
	if l.blocks == nil {
		return l.Entry
	}
	return l.blocks.Entry(l.find(id))
}

// item is an entry's place in the tree: only what decides its order, so that
// changing the tree copies little and looking something up touches little.
type item struct {
	first, last uint64
	// An item is the first one to reach the times in (before, reach], where
	// reach is the highest MaxTime up to here and before that up to the item
	// before. So each time has at most one item, and times order the same tree
	// as ids do.
	before, reach int64
	leaf          *leaf // never changed; nil or timeProbe in what is only compared with
}

// timeProbe marks an item that looks for the one that first reaches a time.
var timeProbe = new(leaf)

// less orders items, which never overlap. Those that overlap are equal: so
// looking for an item of a single id finds the one that contains it.
func less(a, b item) bool {
	switch {
	case a.leaf == timeProbe:
		return a.reach <= b.before
	case b.leaf == timeProbe:
		return a.reach < b.reach
	}
	return a.last < b.first
}

func atID(id uint64) item { return item{first: id, last: id} }

func atTime(ms int64) item { return item{reach: ms, leaf: timeProbe} }

// tree is the B-tree of one index.
type tree = btree.BTreeG[item]

// degree makes nodes of 15 to 31 items: a change copies about 1 KiB a level,
// and a topic with one block takes the room of that one item.
const degree = 16

// nodes are shared by all indexes: those that one gives back serve another.
var nodes = btree.NewFreeListG[item](256)

func newTree() *tree { return btree.NewWithFreeListG(degree, less, nodes) }

// empty is what an index without entries publishes. It is never changed.
var empty = newTree()

// Index is the index of one topic.
type Index struct {
	mu   sync.Mutex // guards tree
	tree *tree      // nil until there is an entry

	published atomic.Pointer[tree] // a clone of tree that nobody changes
}

// New returns an index without entries.
func New() *Index {
	x := &Index{}
	x.published.Store(empty)
	return x
}

// Snapshot returns the entries as they are now.
func (x *Index) Snapshot() Snapshot { return Snapshot{x.published.Load()} }

// Add puts entries behind the last one. Each must begin with the event after
// the one before it: a gap is the caller's bug, and panics.
func (x *Index) Add(entries ...Entry) {
	if len(entries) == 0 {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.tree == nil {
		x.tree = newTree()
	}
	prev, any := x.tree.Max()
	for i := range entries {
		e := entries[i]
		if e.First > e.Last {
			panic(fmt.Sprintf("index: Add of events %d to %d", e.First, e.Last))
		}
		if any && e.First != prev.last+1 {
			panic(fmt.Sprintf("index: Add of events %d to %d behind event %d", e.First, e.Last, prev.last))
		}
		before := int64(math.MinInt64)
		if any {
			before = prev.reach
		}
		prev, any = newItem(&leaf{Entry: e}, before), true
		x.tree.ReplaceOrInsert(prev)
	}
	x.publishLocked()
}

// newItem makes l, which nobody changes any more, an item behind one that
// reaches the time before.
func newItem(l *leaf, before int64) item {
	return item{first: l.First, last: l.Last, before: before, reach: max(before, l.MaxTime), leaf: l}
}

// Expand loads the blocks that a span stands for. It does nothing where the
// span is not there: it was loaded before, or dropped. Blocks that do not make
// up the span are refused, and change nothing.
func (x *Index) Expand(segment uint64, blocks Blocks) error {
	if blocks.Len() == 0 {
		return fmt.Errorf("expand segment %d: no blocks", segment)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.tree == nil {
		return nil
	}
	span, ok := x.tree.Get(atID(blocks.Entry(0).First))
	if !ok || span.leaf.blocks != nil || !span.leaf.Span || span.leaf.Segment != segment {
		return nil
	}
	if err := checkBlocks(span, blocks); err != nil {
		return fmt.Errorf("expand segment %d: %w", segment, err)
	}
	x.tree.ReplaceOrInsert(newItem(&leaf{span.leaf.Entry, blocks}, span.before))
	x.publishLocked()
	return nil
}

// checkBlocks verifies that blocks make up a span.
func checkBlocks(span item, blocks Blocks) error {
	last, reach := span.first-1, span.before
	for i := range blocks.Len() {
		b := blocks.Entry(i)
		switch {
		case b.First != last+1, b.First > b.Last:
			return fmt.Errorf("block %d has events %d to %d, want from %d", i, b.First, b.Last, last+1)
		case b.Segment != span.leaf.Segment, b.Span:
			return fmt.Errorf("block %d is not one of the segment", i)
		}
		last, reach = b.Last, max(reach, b.MaxTime)
	}
	if last != span.last {
		return fmt.Errorf("blocks end with event %d, want %d", last, span.last)
	}
	if reach != span.reach {
		return fmt.Errorf("times of the blocks reach %d, want %d", reach, span.reach)
	}
	return nil
}

// Collapse puts one span in the place of a segment's blocks, to give memory
// back. It does nothing where the segment is not there or is a span already,
// or where its events are not dense.
func (x *Index) Collapse(segment uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.tree == nil {
		return
	}
	var parts []item
	dense := true
	x.tree.Ascend(func(it item) bool {
		if it.leaf.Segment == segment {
			dense = dense && (len(parts) == 0 || parts[len(parts)-1].last+1 == it.first)
			parts = append(parts, it)
		}
		return true
	})
	if len(parts) == 0 || parts[0].leaf.Span && parts[0].leaf.blocks == nil || !dense {
		return
	}
	for _, it := range parts {
		x.tree.Delete(it)
	}
	x.tree.ReplaceOrInsert(spanOf(parts))
	x.publishLocked()
}

// spanOf is the span that stands for all parts of a segment.
func spanOf(parts []item) item {
	first, last := parts[0].leaf, parts[len(parts)-1].leaf
	span := Entry{
		First: first.First, Last: last.Last, Segment: first.Segment,
		FirstPosition: first.FirstPosition, LastPosition: last.LastPosition,
		MinTime: first.MinTime, MaxTime: first.MaxTime, Span: true,
	}
	for _, it := range parts {
		span.MinTime, span.MaxTime = min(span.MinTime, it.leaf.MinTime), max(span.MaxTime, it.leaf.MaxTime)
		span.Kinds |= it.leaf.Kinds
	}
	return newItem(&leaf{Entry: span}, parts[0].before)
}

// DropSegments takes away the segments from the front whose last event is
// below before, and returns their ids in order. A segment is dropped whole or
// not at all.
func (x *Index) DropSegments(before uint64) []uint64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.tree == nil {
		return nil
	}
	segments, end := wholeBelow(x.tree, before)
	if len(segments) == 0 {
		return nil
	}
	for {
		it, ok := x.tree.Min()
		if !ok || it.last > end {
			break
		}
		x.tree.DeleteMin()
	}
	x.publishLocked()
	return segments
}

// wholeBelow returns the segments from the front that end below before, and
// the last event id of the last of them. Where a segment has events behind
// another one's, both stay or go together.
func wholeBelow(t *tree, before uint64) (segments []uint64, end uint64) {
	if it, ok := t.Min(); !ok || it.last >= before {
		return nil, 0
	}
	last := make(map[uint64]uint64)
	t.Ascend(func(it item) bool {
		last[it.leaf.Segment] = it.last
		return true
	})
	var pending []uint64 // segments since the last place that cuts none in two
	var reach uint64     // the last event of all segments so far
	t.Ascend(func(it item) bool {
		segment := it.leaf.Segment
		reach = max(reach, last[segment])
		if reach >= before {
			return false
		}
		if !slices.Contains(pending, segment) {
			pending = append(pending, segment)
		}
		if it.last == reach {
			segments, pending, end = append(segments, pending...), nil, reach
		}
		return true
	})
	return segments, end
}

func (x *Index) publishLocked() { x.published.Store(x.tree.Clone()) }
