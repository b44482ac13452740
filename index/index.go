// Package index keeps one topic's way from an event id, or a time, to the
// block that holds it: a copy-on-write B-tree in memory. It is a cache of what
// segment files say of themselves, and holds nothing that cannot be read again.
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
	// RunningMax is the highest MaxTime up to here. The index fills it in.
	RunningMax int64
	// Kinds has the bits of the events' kinds.
	Kinds uint64
	// Span: the entry stands for all blocks of a sealed segment.
	Span bool

	probe probe
	// before is the RunningMax of the entry before. So an entry is the first
	// to reach the times in (before, RunningMax], and each time has at most
	// one such entry: times order the same tree as ids do.
	before int64
}

// probe marks an Entry that is only compared with, never stored.
type probe uint8

const (
	stored probe = iota
	byTime       // RunningMax is the time that is looked for
)

// less orders entries, which never overlap. One that overlaps both ways is
// equal: looking for the entry of a single id finds the one that contains it.
func less(a, b Entry) bool {
	switch {
	case a.probe == byTime:
		return a.RunningMax <= b.before
	case b.probe == byTime:
		return a.RunningMax < b.RunningMax
	}
	return a.Last < b.First
}

// degree makes nodes of 15 to 31 entries: a change copies about 4 KiB a level,
// and a topic with one block still takes only that one entry's room.
const degree = 16

// nodes are shared by all indexes: those of a topic that compacts serve others.
var nodes = btree.NewFreeListG[Entry](256)

// empty is what an index without entries publishes. It is never changed.
var empty = btree.NewWithFreeListG(degree, less, nodes)

// Index is the index of one topic.
type Index struct {
	mu   sync.Mutex           // guards tree
	tree *btree.BTreeG[Entry] // nil until there is an entry; its holder's alone

	published atomic.Pointer[btree.BTreeG[Entry]] // a clone of tree that nobody changes
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
		x.tree = btree.NewWithFreeListG(degree, less, nodes)
	}
	prev, any := x.tree.Max()
	for _, e := range entries {
		if e.First > e.Last {
			panic(fmt.Sprintf("index: Add of events %d to %d", e.First, e.Last))
		}
		if any && e.First != prev.Last+1 {
			panic(fmt.Sprintf("index: Add of events %d to %d behind event %d", e.First, e.Last, prev.Last))
		}
		e = e.behind(prev, any)
		x.tree.ReplaceOrInsert(e)
		prev, any = e, true
	}
	x.publishLocked()
}

// behind fills in what follows from the entry before, if there is one.
func (e Entry) behind(prev Entry, any bool) Entry {
	e.probe = stored
	e.before = math.MinInt64
	if any {
		e.before = prev.RunningMax
	}
	e.RunningMax = max(e.before, e.MaxTime)
	return e
}

// Expand puts a span's blocks in its place. It does nothing where the span is
// not there: it was expanded before, or dropped. Blocks that do not make up
// the span are refused, and change nothing.
func (x *Index) Expand(segment uint64, blocks []Entry) error {
	if len(blocks) == 0 {
		return fmt.Errorf("expand segment %d: no blocks", segment)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.tree == nil {
		return nil
	}
	span, ok := x.tree.Get(Entry{First: blocks[0].First, Last: blocks[0].First})
	if !ok || !span.Span || span.Segment != segment {
		return nil
	}
	blocks, err := fill(span, blocks)
	if err != nil {
		return fmt.Errorf("expand segment %d: %w", segment, err)
	}
	x.tree.Delete(span)
	for _, b := range blocks {
		x.tree.ReplaceOrInsert(b)
	}
	x.publishLocked()
	return nil
}

// fill returns the blocks as they take the place of span.
func fill(span Entry, blocks []Entry) ([]Entry, error) {
	filled := make([]Entry, len(blocks))
	prev := Entry{Last: span.First - 1, RunningMax: span.before}
	for i, b := range blocks {
		switch {
		case b.First != prev.Last+1, b.First > b.Last:
			return nil, fmt.Errorf("block %d has events %d to %d, want from %d", i, b.First, b.Last, prev.Last+1)
		case b.Segment != span.Segment, b.Span:
			return nil, fmt.Errorf("block %d is not one of the segment", i)
		}
		filled[i] = b.behind(prev, true)
		prev = filled[i]
	}
	if prev.Last != span.Last {
		return nil, fmt.Errorf("blocks end with event %d, want %d", prev.Last, span.Last)
	}
	if prev.RunningMax != span.RunningMax {
		return nil, fmt.Errorf("times of the blocks reach %d, want %d", prev.RunningMax, span.RunningMax)
	}
	return filled, nil
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
	var blocks []Entry
	dense := true
	x.tree.Ascend(func(e Entry) bool {
		if e.Segment == segment {
			dense = dense && (len(blocks) == 0 || blocks[len(blocks)-1].Last+1 == e.First)
			blocks = append(blocks, e)
		}
		return true
	})
	if len(blocks) == 0 || blocks[0].Span || !dense {
		return
	}
	for _, b := range blocks {
		x.tree.Delete(b)
	}
	x.tree.ReplaceOrInsert(spanOf(blocks))
	x.publishLocked()
}

// spanOf is the span that stands for blocks.
func spanOf(blocks []Entry) Entry {
	first, last := blocks[0], blocks[len(blocks)-1]
	span := Entry{
		First: first.First, Last: last.Last, Segment: first.Segment,
		FirstPosition: first.FirstPosition, LastPosition: last.LastPosition,
		MinTime: first.MinTime, MaxTime: first.MaxTime,
		RunningMax: last.RunningMax, Span: true, before: first.before,
	}
	for _, b := range blocks {
		span.MinTime, span.MaxTime = min(span.MinTime, b.MinTime), max(span.MaxTime, b.MaxTime)
		span.Kinds |= b.Kinds
	}
	return span
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
		e, ok := x.tree.Min()
		if !ok || e.Last > end {
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
func wholeBelow(tree *btree.BTreeG[Entry], before uint64) (segments []uint64, end uint64) {
	if e, ok := tree.Min(); !ok || e.Last >= before {
		return nil, 0
	}
	last := make(map[uint64]uint64)
	tree.Ascend(func(e Entry) bool {
		last[e.Segment] = e.Last
		return true
	})
	var pending []uint64 // segments since the last place that cuts none in two
	var reach uint64     // the last event of all segments so far
	seen := make(map[uint64]bool)
	tree.Ascend(func(e Entry) bool {
		reach = max(reach, last[e.Segment])
		if reach >= before {
			return false
		}
		if !seen[e.Segment] {
			seen[e.Segment] = true
			pending = append(pending, e.Segment)
		}
		if e.Last == reach {
			segments, pending, end = append(segments, pending...), nil, reach
		}
		return true
	})
	return segments, end
}

func (x *Index) publishLocked() { x.published.Store(x.tree.Clone()) }
