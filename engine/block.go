package engine

import (
	"encoding/binary"
	"fmt"

	"github.com/seglog/seglog/segment"
)

// The raw bytes of a block (see FORMAT.md):
//
//	length of the positions, uvarint
//	positions: for each event but the first, what its position exceeds the one before by, uvarint
//	events, as in tails and WAL records
//
// The block's header has the ids and the position of the first event.

// blockBuilder collects the events of one block.
type blockBuilder struct {
	block     segment.Block
	positions []byte
	events    []byte
}

func (b *blockBuilder) reset(p place) {
	b.block = segment.Block{Topic: p.topic, Incarnation: p.incarnation}
	b.positions, b.events = b.positions[:0], b.events[:0]
}

func (b *blockBuilder) empty() bool { return b.block.First == 0 }

// fits says whether one more event leaves the raw bytes within most. A block of
// less than 16 KiB is worth aiming at: for those s2 has a smaller hash table,
// which made it a tenth faster and its output a twentieth smaller.
func (b *blockBuilder) fits(encoded []byte, most int) bool {
	return len(b.positions)+len(b.events)+len(encoded)+2*binary.MaxVarintLen64 <= most
}

// add puts one encoded event behind the others; raw has its parsed body.
func (b *blockBuilder) add(encoded []byte, raw *RawRecord) {
	k := &b.block
	id, t := uint64(raw.ID), raw.OccurredAtMS
	if b.empty() {
		k.First, k.FirstPosition = id, raw.Position
		k.MinTime, k.MaxTime = t, t
	} else {
		b.positions = binary.AppendUvarint(b.positions, raw.Position-k.LastPosition)
	}
	k.Last, k.LastPosition = id, raw.Position
	k.MinTime, k.MaxTime = min(k.MinTime, t), max(k.MaxTime, t)
	k.Kinds |= segment.KindBit(raw.Kind)
	b.events = append(b.events, encoded...)
}

// raw puts the block together behind dst.
func (b *blockBuilder) raw(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(b.positions)))
	dst = append(dst, b.positions...)
	return append(dst, b.events...)
}

// eventIter walks over encoded events: those of a block, or of a chunk, whose
// positions are consecutive.
type eventIter struct {
	place
	id       uint64 // of the next event
	position uint64 // of the next event
	last     uint64 // id
	dense    bool   // positions are consecutive
	trusted  bool   // the events were verified, or are by who delivers them

	// An event moves numbers and no pointers: while the collector marks, it
	// looks at every pointer that is written to the heap.
	events    []byte
	from, at  int    // the event that next returned is events[from:at]
	positions []byte // deltas; nil in a chunk
	delta     int    // where the next one is
}

func chunkIter(p place, c *chunk) eventIter {
	return eventIter{place: p, id: c.first, position: c.position, last: c.last(), dense: true, events: c.data}
}

// blockIter takes the raw bytes of a block that verified.
func blockIter(p place, first, last, firstPosition uint64, raw []byte) (eventIter, error) {
	positions, events, err := cutBytes(raw)
	if err != nil {
		return eventIter{}, fmt.Errorf("positions: %w", err)
	}
	return eventIter{place: p, id: first, position: firstPosition, last: last, positions: positions, events: events}, nil
}

func (it *eventIter) more() bool { return it.id <= it.last }

// encoded is the event that next returned.
func (it *eventIter) encoded() []byte { return it.events[it.from:it.at] }

// next reads the next event into r, whose slices point into the block, after
// it has verified it. The caller asked more before.
func (it *eventIter) next(r *RawRecord) error {
	check, body, size, err := splitEvent(it.events[it.at:])
	if err != nil {
		return fmt.Errorf("event %d: %w", it.id, err)
	}
	if !it.trusted {
		if err := verifyEvent(check, body, it.place, it.id, it.position); err != nil {
			return err
		}
	}
	if err := parseBody(body, r); err != nil {
		return fmt.Errorf("event %d: %w", it.id, err)
	}
	r.ID, r.Position = EventID(it.id), it.position
	return it.step(size)
}

// verify goes to the end, and verifies each event that it passes.
func (it *eventIter) verify() error {
	for it.more() {
		check, body, size, err := splitEvent(it.events[it.at:])
		if err == nil {
			err = verifyEvent(check, body, it.place, it.id, it.position)
		}
		if err == nil {
			err = it.step(size)
		}
		if err != nil {
			return fmt.Errorf("event %d: %w", it.id, err)
		}
	}
	return nil
}

// skipTo moves on to the event with the given id without reading those before.
func (it *eventIter) skipTo(id uint64) error {
	for it.id < id && it.more() {
		_, _, size, err := splitEvent(it.events[it.at:])
		if err != nil {
			return fmt.Errorf("event %d: %w", it.id, err)
		}
		if err := it.step(size); err != nil {
			return err
		}
	}
	return nil
}

// step moves over an event of that size.
func (it *eventIter) step(size int) error {
	it.from, it.at = it.at, it.at+size
	it.id++
	if it.dense || it.id > it.last {
		it.position++
		return nil
	}
	if it.delta < len(it.positions) && it.positions[it.delta] < 0x80 { // one byte: the common case
		it.position += uint64(it.positions[it.delta])
		it.delta++
		return nil
	}
	delta, n := binary.Uvarint(it.positions[it.delta:])
	if n <= 0 {
		return fmt.Errorf("event %d has no position", it.id)
	}
	it.position += delta
	it.delta += n
	return nil
}
