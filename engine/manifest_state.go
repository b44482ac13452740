package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"sort"

	"github.com/seglog/seglog/cursor"
	"github.com/seglog/seglog/segment"
	"github.com/seglog/seglog/wal"
)

// manifestState is what the manifest says: everything about the log but the
// events themselves and what the WAL holds behind the checkpoint. Its parts
// are values that are never changed once they are in it, so that readers may
// hold on to them.
type manifestState struct {
	uuid        [16]byte
	checkpoint  wal.Start // replay begins here
	position    uint64    // of the last event below the checkpoint
	nextTopic   uint64
	nextSegment uint64
	topics      map[uint64]*topicMeta
	carries     map[uint64]*carryMeta
	cursors     *cursor.Table
	// tombstones are files that were dropped and may not be unlinked yet.
	tombstones map[uint64]segment.Identity
}

func newManifestState(uuid [16]byte) *manifestState {
	return &manifestState{
		uuid: uuid, nextTopic: 1, nextSegment: 1,
		topics: map[uint64]*topicMeta{}, carries: map[uint64]*carryMeta{},
		cursors: cursor.New(), tombstones: map[uint64]segment.Identity{},
	}
}

// topicMeta is one topic as of the checkpoint. It is immutable.
type topicMeta struct {
	place
	name   Topic
	latest uint64 // highest id below the checkpoint; 0: none
	low    uint64 // lowest readable id, from 1
	// segments hold ids in rising order, without a hole between them.
	segments []*segmentMeta
	// carried are the topic's blocks in carry files, behind all segments.
	carried []carriedBlock
	// lost are events that were carried and no longer verified when they were
	// to be moved. They lie between segments, in rising order.
	lost []*lostEvents
}

// lostEvents are reported wherever they are read; the file with what is left
// of them is kept.
type lostEvents struct {
	first, last uint64
	carry       uint64
	offset      int64
	reason      string
}

// last is the highest id on disk, in segments or carried; 0: none.
func (m *topicMeta) last() uint64 {
	last := uint64(0)
	if n := len(m.carried); n > 0 {
		last = m.carried[n-1].Last
	} else if n := len(m.segments); n > 0 {
		last = m.segments[n-1].last
	}
	if n := len(m.lost); n > 0 {
		last = max(last, m.lost[n-1].last)
	}
	return last
}

// firstStored is the lowest id that a segment or a carried block holds; the
// highest id of all where none does.
func (m *topicMeta) firstStored() uint64 {
	if len(m.segments) > 0 {
		return m.segments[0].first
	}
	if len(m.carried) > 0 {
		return m.carried[0].First
	}
	return math.MaxUint64
}

// carriedAt returns the carried block with the event id; nil: none.
func (m *topicMeta) carriedAt(id uint64) *carriedBlock {
	i := sort.Search(len(m.carried), func(i int) bool { return m.carried[i].Last >= id })
	if i < len(m.carried) && m.carried[i].First <= id {
		return &m.carried[i]
	}
	return nil
}

// withLost returns lost with one range more, in its place: blocks are not found
// to be damaged in the order of their events. The old slice is left as it is.
func withLost(lost []*lostEvents, more *lostEvents) []*lostEvents {
	i := sort.Search(len(lost), func(i int) bool { return lost[i].first > more.first })
	return slices.Insert(slices.Clone(lost), i, more)
}

// segmentMeta is one segment file. It is immutable.
type segmentMeta struct {
	id                          segment.Identity // without UUID
	durable                     int64            // bytes that must verify
	sealed                      bool
	footer                      segment.Footer // of a sealed segment
	first, last                 uint64
	firstPosition, lastPosition uint64
	minTime, maxTime            int64
	kinds                       uint64
}

// carriedBlock is where some of a small topic's events stand in a carry file.
// There are so many that they stand in slices by value, without a pointer in
// them: the garbage collector and walks over all topics pass them quickly.
type carriedBlock struct {
	carry uint64 // id of the carry file
	segment.Block
}

// carryMeta is one carry file.
type carryMeta struct {
	id      uint64
	durable int64
}

func (c *carryMeta) identity() segment.Identity { return segment.Identity{ID: c.id} }

// A manifest edit is a sequence of items, each a tag and its fields; a
// snapshot is the edit that leads from nothing to a state (see FORMAT.md).
const (
	itemLog         = 1
	itemTopic       = 2
	itemSegment     = 3
	itemDropSegment = 4
	itemCarry       = 5
	itemDropCarry   = 6
	itemCursor      = 7
	itemForget      = 8
	itemTombstone   = 9
	itemLost        = 10
	itemCarried     = 11
)

// edit builds the bytes of a manifest edit.
type edit struct{ b []byte }

func (e *edit) uint(vs ...uint64) {
	for _, v := range vs {
		e.b = binary.AppendUvarint(e.b, v)
	}
}

func (e *edit) log(s *manifestState) {
	e.b = append(e.b, itemLog)
	e.uint(uint64(s.checkpoint.LSN), s.checkpoint.Generation, s.position, s.nextTopic, s.nextSegment)
}

func (e *edit) topic(m *topicMeta) {
	e.b = append(e.b, itemTopic)
	e.uint(m.topic, uint64(m.incarnation))
	e.b = appendString(e.b, m.name.name)
	e.uint(m.latest, m.low)
	e.carriedBlocks(m.carried)
}

func (e *edit) carriedBlocks(blocks []carriedBlock) {
	e.uint(uint64(len(blocks)))
	for i := range blocks {
		c := &blocks[i]
		e.uint(c.carry)
		e.block(&c.Block)
	}
}

// changedTopic is topic where the manifest knows the topic as old: it says only
// which of the carried blocks stay, and which are new.
func (e *edit) changedTopic(old, m *topicMeta) {
	drop := 0
	if len(m.carried) > 0 {
		drop = max(0, slices.Index(old.carried, m.carried[0]))
	}
	keep := 0
	for keep < len(m.carried) && drop+keep < len(old.carried) && old.carried[drop+keep] == m.carried[keep] {
		keep++
	}
	e.b = append(e.b, itemCarried)
	e.uint(m.topic, m.latest, m.low, uint64(drop), uint64(keep))
	e.carriedBlocks(m.carried[keep:])
}

func (e *edit) block(b *segment.Block) {
	e.uint(b.First, b.Last, b.FirstPosition, b.LastPosition, zigzag(b.MinTime), zigzag(b.MaxTime),
		b.Kinds, uint64(b.Offset), uint64(b.Stored), uint64(b.Raw), b.Checksum)
}

func (e *edit) segment(m *segmentMeta) {
	e.b = append(e.b, itemSegment)
	e.uint(m.id.Topic, uint64(m.id.Incarnation), m.id.ID, m.id.Base, uint64(m.durable))
	sealed := uint64(0)
	if m.sealed {
		sealed = 1
	}
	e.uint(sealed, uint64(m.footer.Offset), uint64(m.footer.Length), m.footer.Checksum, uint64(m.footer.Blocks))
	e.uint(m.first, m.last, m.firstPosition, m.lastPosition, zigzag(m.minTime), zigzag(m.maxTime), m.kinds)
}

func (e *edit) dropSegment(m *segmentMeta) {
	e.b = append(e.b, itemDropSegment)
	e.identity(m.id)
}

func (e *edit) identity(id segment.Identity) {
	e.uint(id.Topic, uint64(id.Incarnation), id.ID, id.Base)
}

func (e *edit) carry(c *carryMeta) {
	e.b = append(e.b, itemCarry)
	e.uint(c.id, uint64(c.durable))
}

func (e *edit) dropCarry(id uint64) {
	e.b = append(e.b, itemDropCarry)
	e.uint(id)
}

func (e *edit) cursor(c cursor.Entry) {
	e.b = append(e.b, itemCursor)
	e.b = cursor.AppendEntry(e.b, c)
}

func (e *edit) forget(id uint64) {
	e.b = append(e.b, itemForget)
	e.uint(id)
}

func (e *edit) lost(topic uint64, l *lostEvents) {
	e.b = append(e.b, itemLost)
	e.uint(topic, l.first, l.last, l.carry, uint64(l.offset))
	e.b = appendString(e.b, l.reason)
}

func (e *edit) tombstone(id segment.Identity) {
	e.b = append(e.b, itemTombstone)
	e.identity(id)
}

// snapshot is the edit that makes s out of nothing.
func (s *manifestState) snapshot() []byte {
	var e edit
	e.log(s)
	for _, num := range sortedKeys(s.topics) {
		m := s.topics[num]
		e.topic(m)
		for _, seg := range m.segments {
			e.segment(seg)
		}
		for _, l := range m.lost {
			e.lost(num, l)
		}
		for _, c := range s.cursors.List(num) {
			e.cursor(c)
		}
	}
	for _, id := range sortedKeys(s.carries) {
		e.carry(s.carries[id])
	}
	for _, id := range sortedKeys(s.tombstones) {
		e.tombstone(s.tombstones[id])
	}
	return e.b
}

// bytes is the size of all segment and carry files.
func (s *manifestState) bytes() int64 {
	var n int64
	for _, c := range s.carries {
		n += c.durable
	}
	for _, m := range s.topics {
		for _, seg := range m.segments {
			n += seg.durable
		}
	}
	return n
}

func sortedKeys[V any](m map[uint64]V) []uint64 {
	keys := make([]uint64, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

var errShortEdit = errors.New("edit is cut short")

// editReader takes an edit apart; the first error sticks.
type editReader struct {
	b   []byte
	err error
}

func (r *editReader) uint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail(errShortEdit)
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *editReader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.b = nil
}

func (r *editReader) u32(what string) uint32 {
	v := r.uint()
	if v > 1<<32-1 {
		r.fail(fmt.Errorf("%s %d does not fit 32 bits", what, v))
	}
	return uint32(v)
}

func (r *editReader) offset(what string) int64 {
	v := r.uint()
	if v > 1<<62 {
		r.fail(fmt.Errorf("%s %d is out of range", what, v))
	}
	return int64(v)
}

func (r *editReader) identity() segment.Identity {
	return segment.Identity{Topic: r.uint(), Incarnation: r.u32("incarnation"), ID: r.uint(), Base: r.uint()}
}

// apply changes s as the edit says. Where it fails, s is spoiled.
func (s *manifestState) apply(b []byte) error {
	r := &editReader{b: b}
	for len(r.b) > 0 && r.err == nil {
		tag := r.b[0]
		r.b = r.b[1:]
		if err := s.applyItem(tag, r); err != nil {
			return err
		}
	}
	return r.err
}

func (s *manifestState) applyItem(tag byte, r *editReader) error {
	switch tag {
	case itemLog:
		s.checkpoint = wal.Start{LSN: wal.LSN(r.uint()), Generation: r.uint()}
		s.position, s.nextTopic, s.nextSegment = r.uint(), r.uint(), r.uint()
	case itemTopic:
		return s.applyTopic(r)
	case itemSegment:
		return s.applySegment(r)
	case itemDropSegment:
		return s.applyDropSegment(r)
	case itemCarry:
		c := &carryMeta{id: r.uint(), durable: r.offset("carry file length")}
		s.carries[c.id] = c
	case itemDropCarry:
		id := r.uint()
		if s.carries[id] == nil && r.err == nil {
			return fmt.Errorf("drops the unknown carry file %d", id)
		}
		delete(s.carries, id)
		s.tombstones[id] = segment.Identity{ID: id}
	case itemCursor:
		entry, rest, err := cursor.DecodeEntry(r.b)
		if err != nil {
			return err
		}
		r.b = rest
		applyCursor(s.cursors, entry)
	case itemForget:
		delete(s.tombstones, r.uint())
	case itemLost:
		return s.applyLost(r)
	case itemCarried:
		return s.applyCarried(r)
	case itemTombstone:
		id := r.identity()
		s.tombstones[id.ID] = id
	default:
		return fmt.Errorf("%w: manifest item %d", ErrVersion, tag)
	}
	return r.err
}

func (s *manifestState) applyTopic(r *editReader) error {
	m := &topicMeta{place: place{r.uint(), r.u32("incarnation")}}
	name, rest, err := cutBytes(r.b)
	if err != nil {
		return errShortEdit
	}
	r.b = rest
	if old := s.topics[m.topic]; old != nil {
		m.segments, m.lost = old.segments, old.lost
		m.name = old.name
		if old.incarnation != m.incarnation || old.name.name != string(name) {
			return fmt.Errorf("topic %d changes from %s to %q", m.topic, old.name, name)
		}
	} else if m.name, err = NewTopic(string(name)); err != nil {
		return err
	}
	m.latest, m.low = r.uint(), r.uint()
	s.applyBlocks(m, r)
	return r.err
}

// applyBlocks adds carried blocks to a topic that is about to be part of s.
func (s *manifestState) applyBlocks(m *topicMeta, r *editReader) {
	for len(m.lost) > 0 && m.lost[0].last < m.low {
		m.lost = m.lost[1:]
	}
	for n := r.uint(); n > 0 && r.err == nil; n-- {
		m.carried = append(m.carried, carriedBlock{carry: r.uint(), Block: r.block(m.place)})
	}
	if r.err == nil {
		s.topics[m.topic] = m
	}
}

func (s *manifestState) applyCarried(r *editReader) error {
	topic := r.uint()
	latest, low := r.uint(), r.uint()
	drop, keep := r.uint(), r.uint()
	if r.err != nil {
		return r.err
	}
	old := s.topics[topic]
	if old == nil {
		return fmt.Errorf("carried blocks of the unknown topic %d", topic)
	}
	if n := uint64(len(old.carried)); drop > n || keep > n-drop {
		return fmt.Errorf("keeps carried blocks %d to %d of topic %d, which has %d", drop, drop+keep, topic, n)
	}
	m := *old
	m.latest, m.low = latest, low
	m.carried = slices.Clip(old.carried[drop : drop+keep])
	s.applyBlocks(&m, r)
	return r.err
}

func (r *editReader) block(p place) segment.Block {
	b := segment.Block{Topic: p.topic, Incarnation: p.incarnation, First: r.uint(), Last: r.uint()}
	b.FirstPosition, b.LastPosition = r.uint(), r.uint()
	b.MinTime, b.MaxTime = unzigzag(r.uint()), unzigzag(r.uint())
	b.Kinds = r.uint()
	b.Offset = r.offset("block offset")
	b.Stored, b.Raw = r.u32("stored length"), r.u32("raw length")
	b.Checksum = r.uint()
	if r.err == nil && (b.First == 0 || b.Last < b.First) {
		r.fail(fmt.Errorf("block of events %d to %d", b.First, b.Last))
	}
	return b
}

func (s *manifestState) applySegment(r *editReader) error {
	m := &segmentMeta{id: r.identity(), durable: r.offset("segment length")}
	m.sealed = r.uint() != 0
	m.footer = segment.Footer{
		Offset: r.offset("footer offset"), Length: r.offset("footer length"),
		Checksum: r.uint(), Blocks: int(r.u32("block count")),
	}
	m.first, m.last, m.firstPosition, m.lastPosition = r.uint(), r.uint(), r.uint(), r.uint()
	m.minTime, m.maxTime, m.kinds = unzigzag(r.uint()), unzigzag(r.uint()), r.uint()
	if r.err != nil {
		return r.err
	}
	old := s.topics[m.id.Topic]
	if old == nil {
		return fmt.Errorf("segment %d of the unknown topic %d", m.id.ID, m.id.Topic)
	}
	if m.first == 0 || m.last < m.first {
		return fmt.Errorf("segment %d of events %d to %d", m.id.ID, m.first, m.last)
	}
	t := *old
	t.segments = replaceSegment(old.segments, m)
	s.topics[t.topic] = &t
	return nil
}

// replaceSegment returns segments with m in the place of its older form, or at
// the end. The old slice is left as it is.
func replaceSegment(segments []*segmentMeta, m *segmentMeta) []*segmentMeta {
	if n := len(segments); n > 0 && segments[n-1].id.ID == m.id.ID {
		segments = slices.Clone(segments)
		segments[n-1] = m
		return segments
	}
	return append(slices.Clip(segments), m)
}

func (s *manifestState) applyLost(r *editReader) error {
	topic := r.uint()
	l := &lostEvents{first: r.uint(), last: r.uint(), carry: r.uint(), offset: r.offset("offset of lost events")}
	reason, rest, err := cutBytes(r.b)
	if r.err != nil || err != nil {
		return errShortEdit
	}
	l.reason, r.b = string(reason), rest
	old := s.topics[topic]
	if old == nil || l.first == 0 || l.last < l.first {
		return fmt.Errorf("events %d to %d of topic %d are lost", l.first, l.last, topic)
	}
	t := *old
	t.lost = withLost(old.lost, l)
	s.topics[topic] = &t
	return nil
}

func (s *manifestState) applyDropSegment(r *editReader) error {
	id := r.identity()
	if r.err != nil {
		return r.err
	}
	old := s.topics[id.Topic]
	if old == nil || len(old.segments) == 0 || old.segments[0].id.ID != id.ID {
		return fmt.Errorf("drops segment %d, which is not the first one of topic %d", id.ID, id.Topic)
	}
	t := *old
	t.segments = old.segments[1:]
	s.topics[t.topic] = &t
	s.tombstones[id.ID] = id
	return nil
}

// applyCursor sets or deletes what entry says.
func applyCursor(table *cursor.Table, entry cursor.Entry) {
	if entry.Deleted {
		table.Delete(entry.Topic, entry.Consumer)
		return
	}
	table.Set(entry.Topic, entry.Consumer, entry.Cursor)
}
