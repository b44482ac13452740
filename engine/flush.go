package engine

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/seglog/seglog/index"
	"github.com/seglog/seglog/internal/yield"
	"github.com/seglog/seglog/segment"
)

// flush is the writing half of one checkpoint. A topic's new events go to the
// carry file, which all topics share, as long as they are few; once a topic has
// enough in carry files, all of that is moved into its own segment. When there
// are too many carry files, the oldest are emptied: what is left in them is moved
// into segments, or carried once more where it is less than a block. What a
// checkpoint moves of what was carried is about as much as what is new, so that
// topics which have grown alike do not all move at once, and a few times as much
// where it empties files. So a checkpoint opens few files, however many topics it
// touches.
type flush struct {
	e      *Engine
	state  *manifestState
	nextID uint64
	edit   edit
	topics []flushedTopic
	// edit.b[topicsFrom:topicsTo] is about topics.
	topicsFrom, topicsTo int

	files   []*openSegment // all that were written to
	carry   *openSegment   // the last of carries, while it has room
	carries []*openSegment
	used    map[uint64]int  // parts of topics in each carry file, as of here; nil: not known
	evicted uint64          // the last of the carry files that are emptied; 0: none
	leaving map[uint64]bool // topics that leave them now
	moving  map[uint64]bool // topics that may move into their own segments now
	builder blockBuilder
	added   []carriedBlock // of the topic that is being written
	stored  segment.Buffer // of the carried block that is looked at
	raw     []byte
	others  yield.Yielder
	created bool // a file in seg/
	newRoot bool // a file in the root
}

// flushedTopic is what becomes of one topic.
type flushedTopic struct {
	cut     *topicCut
	meta    *topicMeta
	blocks  []index.Entry // new ones
	flushed uint64        // the tail is on disk up to this id
	dropped []*segmentMeta
	lost    []*lostEvents // what was carried and does not verify
}

// openSegment is a segment or carry file while a checkpoint writes to it.
type openSegment struct {
	w      *segment.Writer // nil: synced and closed
	id     segment.Identity
	fresh  bool // made by this checkpoint
	size   int64
	blocks []segment.Block // of a segment
}

const (
	// moveBlocks is how many blocks' worth of events a topic has when they are
	// moved into its own segment.
	moveBlocks = 16
	// carryFileBytesMax is the size at which the next carry file is begun.
	carryFileBytesMax = 16 << 20
	// carryFilesMax is the number of carry files above which the oldest are
	// emptied, where all topics together have little to stay there.
	carryFilesMax = 8
	// evictAtOnce bounds how many times as much as is new leaves carry files that
	// are emptied, at a checkpoint.
	evictAtOnce = 2
	// openFilesAtOnce bounds the files that a checkpoint holds open.
	openFilesAtOnce = 128
	// syncManyFiles is the number of files from which one sync of the whole
	// file system is cheaper than one of each.
	syncManyFiles = 32
	// editBytes is what the edit of a topic takes that has one block more.
	editBytes = 80
)

func newFlush(e *Engine) *flush {
	w := &flush{e: e, state: e.manifest.state, nextID: max(e.manifest.state.nextSegment, e.writers.next)}
	if e.writers.used == nil {
		e.writers.used = w.state.carryUses()
	}
	w.used = maps.Clone(e.writers.used)
	return w
}

func (w *flush) carryFileBytes() int64 { return min(w.e.opts.SegmentBytes, carryFileBytesMax) }

// run writes the blocks of all topics of the cut.
func (w *flush) run(cut *checkpointCut) error {
	// Always in the same order, what is next to one another in memory and in
	// carry files is looked at together.
	slices.SortFunc(cut.topics, func(a, b topicCut) int { return cmp.Compare(a.t.topic, b.t.topic) })
	budget := int64(0)
	for i := range cut.topics {
		c := &cut.topics[i]
		c.old = w.state.topics[c.t.topic]
		budget += chunkBytes(c.chunks)
	}
	w.admitMoves(cut, budget)
	cuts := append(cut.topics, w.evict(cut, budget)...)
	w.topics = make([]flushedTopic, 0, len(cuts))
	for i := range cuts {
		if err := w.topic(&cuts[i]); err != nil {
			return fmt.Errorf("write topic %s: %w", cuts[i].t.name, err)
		}
	}
	return nil
}

// admitMoves picks the topics that may move into their own segments: those that
// have most in carry files, until they have budget bytes there in all.
func (w *flush) admitMoves(cut *checkpointCut, budget int64) {
	type candidate struct {
		topic uint64
		bytes int64
	}
	var grown []candidate
	for i := range cut.topics {
		c := &cut.topics[i]
		if m := c.old; m != nil && len(m.carried) > 0 {
			if bytes := m.carriedBytes(); bytes+chunkBytes(c.chunks) >= w.moveBytes() {
				grown = append(grown, candidate{c.t.topic, bytes})
			}
		}
	}
	slices.SortFunc(grown, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(b.bytes, a.bytes), cmp.Compare(a.topic, b.topic))
	})
	w.moving = map[uint64]bool{}
	for _, c := range grown {
		if budget <= 0 {
			return
		}
		budget -= c.bytes
		w.moving[c.topic] = true
	}
}

// moveBytes is how much a topic has when it moves into its own segment.
func (w *flush) moveBytes() int64 { return moveBlocks * int64(w.e.opts.carryBlockBytes) }

// evict picks the carry files to be emptied, the topics that leave them now, and
// those of them that are not in the cut. The more files there are above the
// limit, the faster they are emptied.
func (w *flush) evict(cut *checkpointCut, budget int64) (more []topicCut) {
	tooMany := w.tooManyCarries()
	if len(tooMany) == 0 {
		return nil
	}
	w.evicted = tooMany[len(tooMany)-1]
	w.leaving = map[uint64]bool{}
	inCut := make(map[uint64]bool, len(cut.topics))
	for i := range cut.topics {
		inCut[cut.topics[i].t.topic] = true
	}
	var there []*topicMeta
	for _, m := range w.state.topics {
		if m.carriedUpTo(w.evicted) {
			there = append(there, m)
		}
	}
	slices.SortFunc(there, func(a, b *topicMeta) int {
		return cmp.Or(cmp.Compare(a.carried[0].carry, b.carried[0].carry), cmp.Compare(a.topic, b.topic))
	})
	budget = int64(min(len(tooMany), evictAtOnce)) * max(budget, w.carryFileBytes()/4)
	w.e.topicsMu.RLock()
	defer w.e.topicsMu.RUnlock()
	for _, m := range there {
		if budget <= 0 {
			break
		}
		if bytes := m.carriedBytes(); bytes < int64(w.e.opts.carryBlockBytes) {
			budget -= bytes
		} else {
			budget -= max(bytes, w.moveBytes()/4) // to open a segment takes as long as to write some blocks
		}
		w.leaving[m.topic] = true
		if !inCut[m.topic] {
			more = append(more, topicCut{t: w.e.byNum[m.topic], old: m, latest: m.latest, low: m.low})
		}
	}
	return more
}

// tooManyCarries are the oldest carry files, those above the limit. What topics
// of less than a block have stays in carry files for ever: were the limit not
// above that, it would be written again at each checkpoint. So at least half of
// what is emptied is bytes that nobody needs, or that move into segments. A file
// that is kept for lost events alone does not count: it cannot be emptied.
func (w *flush) tooManyCarries() []uint64 {
	if len(w.state.carries) <= carryFilesMax {
		return nil
	}
	needed := map[uint64]bool{}
	staying := int64(0)
	for _, m := range w.state.topics {
		small := m.carriedBytes() < int64(w.e.opts.carryBlockBytes)
		for _, c := range m.carried {
			needed[c.carry] = true
			if small {
				staying += int64(c.Stored)
			}
		}
	}
	most := carryFilesMax + int(2*staying/w.carryFileBytes())
	return sortedKeys(needed)[:max(0, len(needed)-most)]
}

// carriedUpTo says whether something of the topic is in a carry file up to that
// one. Later blocks are in later files.
func (m *topicMeta) carriedUpTo(carry uint64) bool {
	return len(m.carried) > 0 && m.carried[0].carry <= carry
}

func (m *topicMeta) carriedBytes() (n int64) {
	for i := range m.carried {
		n += int64(m.carried[i].Raw)
	}
	return n
}

// topic writes one topic's events into its segment, or into the carry file.
func (w *flush) topic(c *topicCut) error {
	t := c.t
	f := flushedTopic{cut: c, meta: &topicMeta{place: t.place, name: t.name}, flushed: c.latest}
	if c.old != nil {
		*f.meta = *c.old
	}
	m := f.meta
	m.latest, m.low = c.latest, c.low
	f.dropBelow(m)
	chunks := c.chunks[searchChunk(c.chunks, max(m.last()+1, m.low)):]
	leaving := w.leaving[t.topic] && m.carriedUpTo(w.evicted)
	fresh := chunkBytes(chunks)
	var err error
	switch {
	case len(chunks) == 0 && !leaving:
	case fresh >= w.moveBytes(), w.moving[t.topic], leaving && fresh+m.carriedBytes() >= int64(w.e.opts.carryBlockBytes):
		err = w.intoSegment(&f, chunks)
	case leaving:
		err = w.intoCarry(&f, 0, chunks)
	default:
		err = w.intoCarry(&f, m.keptBlocks(w.e.opts.carryBlockBytes, fresh), chunks)
	}
	w.topics = append(w.topics, f)
	w.countUse(c.old, m)
	return err
}

// keptBlocks is the number of carried blocks that stay where they are when fresh
// bytes are carried behind them. Small ones at the end are merged with what
// follows as long as that has no fewer bytes, so that events which come one by
// one are not written again at every checkpoint.
func (m *topicMeta) keptBlocks(blockBytes int, fresh int64) int {
	n := len(m.carried)
	for n > 0 && int(m.carried[n-1].Raw) < blockBytes/4 && int64(m.carried[n-1].Raw) <= fresh {
		n--
		fresh += int64(m.carried[n].Raw)
	}
	return n
}

// movesWhole says whether a carried block is copied as it is stored when it
// moves. Smaller ones are merged.
func (w *flush) movesWhole(c *carriedBlock, low uint64) bool {
	return int(c.Raw) >= w.e.opts.carryBlockBytes/2 && c.First >= low
}

// dropBelow takes away what is wholly below the topic's low watermark.
func (f *flushedTopic) dropBelow(m *topicMeta) {
	for len(m.segments) > 0 && m.segments[0].last < m.low {
		f.dropped = append(f.dropped, m.segments[0])
		m.segments = m.segments[1:]
	}
	for len(m.carried) > 0 && m.carried[0].Last < m.low {
		m.carried = m.carried[1:]
	}
	for len(m.lost) > 0 && m.lost[0].last < m.low {
		m.lost = m.lost[1:]
	}
}

// eachPart goes through what is carried, and then through chunks: it calls whole
// for blocks that are to be copied, and event for all other events.
func (w *flush) eachPart(
	f *flushedTopic, carried []carriedBlock, chunks []chunk,
	whole func(c *carriedBlock, body segment.Body) error, event func(encoded []byte, r *RawRecord) error,
) error {
	for i := range carried {
		c := &carried[i]
		if w.movesWhole(c, f.meta.low) {
			body, err := w.e.files.readBody(w.carryIdentity(c), c.Block, &w.stored)
			if err == nil {
				err = whole(c, body)
			} else {
				err = w.giveUp(f, c, err)
			}
			if err != nil {
				return err
			}
			continue
		}
		it, err := w.readCarried(f, c)
		if err == nil {
			err = eachEvent(it, f.meta.low, event)
		}
		if err != nil {
			return err
		}
	}
	for i := range chunks {
		if err := eachEvent(chunkIter(f.meta.place, &chunks[i]), f.meta.low, event); err != nil {
			return err
		}
	}
	return nil
}

func eachEvent(it eventIter, low uint64, fn func(encoded []byte, r *RawRecord) error) error {
	it.trusted = true // the events keep their checks
	if err := it.skipTo(low); err != nil {
		return err
	}
	var r RawRecord
	for it.more() {
		if err := it.next(&r); err != nil {
			return err
		}
		if err := fn(it.encoded(), &r); err != nil {
			return err
		}
	}
	return nil
}

func (w *flush) carryIdentity(c *carriedBlock) segment.Identity {
	return segment.Identity{UUID: w.state.uuid, ID: c.carry}
}

// readCarried reads a carried block, all of which must verify.
func (w *flush) readCarried(f *flushedTopic, c *carriedBlock) (eventIter, error) {
	raw, err := w.e.files.read(w.carryIdentity(c), c.Block, &w.stored)
	if err == nil {
		it, bad := verifiedIter(f.meta.place, c, raw)
		if bad == nil {
			return it, nil
		}
		err = &CorruptError{File: segment.FileName(w.carryIdentity(c)), Offset: c.Offset, Reason: bad.Error()}
	}
	return eventIter{id: 1}, w.giveUp(f, c, err)
}

// giveUp gives up a carried block that was read with an error, with its place,
// so that it does not hold up the rest of the log. What is no damage is returned.
func (w *flush) giveUp(f *flushedTopic, c *carriedBlock, err error) error {
	if errors.Is(err, errNotExist) {
		err = &CorruptError{File: segment.FileName(w.carryIdentity(c)), Offset: c.Offset, Reason: "file is missing"}
	}
	bad := corruption(err)
	if bad == nil {
		return err
	}
	lost := &lostEvents{first: c.First, last: c.Last, carry: c.carry, offset: bad.Offset, reason: bad.Reason}
	f.lost = append(f.lost, lost)
	f.meta.lost = withLost(f.meta.lost, lost)
	w.e.log("events are lost to damage", "topic", f.meta.name, "first", c.First, "last", c.Last, "cause", err)
	return nil
}

func verifiedIter(p place, c *carriedBlock, raw []byte) (eventIter, error) {
	it, err := blockIter(p, c.First, c.Last, c.FirstPosition, raw)
	var r RawRecord
	for check := it; err == nil && check.more(); {
		err = check.next(&r)
	}
	return it, err
}

// intoSegment moves all that is carried, and the chunks, into blocks of the
// topic's own.
func (w *flush) intoSegment(f *flushedTopic, chunks []chunk) error {
	s := segmentRun{w: w, f: f}
	defer s.forget()
	carried := f.meta.carried
	f.meta.carried = nil
	if n := len(f.meta.segments); n > 0 {
		s.last = f.meta.segments[n-1].last
	}
	w.builder.reset(f.meta.place)
	if err := w.eachPart(f, carried, chunks, s.copy, s.add); err != nil {
		return err
	}
	if err := s.writeAll(); err != nil {
		return err
	}
	return w.settle(openFilesAtOnce)
}

// segmentRun writes one topic's blocks.
type segmentRun struct {
	w    *flush
	f    *flushedTopic
	seg  *openSegment // nil: none is open
	last uint64       // id of the last event; 0: the topic had no segment
	gap  bool         // the next block must not stand in an older segment

	packed []*packedBlock // which others compress, in order; not written yet
}

func (s *segmentRun) add(encoded []byte, r *RawRecord) error {
	if err := s.goOn(uint64(r.ID), uint64(r.ID)); err != nil {
		return err
	}
	if !s.w.builder.fits(encoded, s.w.e.opts.BlockBytes) {
		if err := s.write(); err != nil {
			return err
		}
	}
	s.w.builder.add(encoded, r)
	return nil
}

// copy takes a block as it is stored.
func (s *segmentRun) copy(c *carriedBlock, body segment.Body) error {
	if err := s.goOn(c.First, c.Last); err != nil {
		return err
	}
	if err := s.writeAll(); err != nil {
		return err
	}
	return s.put(c.First, func(seg *openSegment) (segment.Block, error) { return seg.w.AddBody(c.Block, body) })
}

// goOn notes that events from first to last come next.
func (s *segmentRun) goOn(first, last uint64) error {
	if s.last != 0 && first != s.last+1 {
		if err := s.skip(first); err != nil {
			return err
		}
	}
	s.last = last
	return nil
}

// skip leaves out lost events before id. Ids are dense inside a segment, so the
// next one begins behind them.
func (s *segmentRun) skip(id uint64) error {
	if err := s.writeAll(); err != nil {
		return err
	}
	for _, l := range s.f.meta.lost {
		if l.first > s.last && l.last < id {
			s.f.blocks = append(s.f.blocks, l.entry())
		}
	}
	if s.seg != nil {
		s.w.e.writers.distrust(s.seg.id.ID) // it is not continued
	}
	s.seg, s.gap = nil, true
	return nil
}

// write writes the builder's block, if there is one, or has it compressed and
// writes one from before.
func (s *segmentRun) write() error {
	w, b := s.w, &s.w.builder
	if b.empty() {
		return nil
	}
	defer b.reset(s.f.meta.place)
	packers := w.packers()
	if len(b.events) > packedBytesMax {
		packers = 0
		if err := s.writePacked(0); err != nil {
			return err
		}
	}
	if packers == 0 && len(s.packed) == 0 {
		w.raw = b.raw(w.raw[:0])
		return s.put(b.block.First, func(seg *openSegment) (segment.Block, error) { return seg.w.Add(b.block, w.raw) })
	}
	p := packedPool.Get().(*packedBlock)
	p.block, p.raw, p.codec = b.block, b.raw(p.raw[:0]), w.e.codec()
	p.begun.Store(false)
	if !w.e.env.Inline {
		go p.start()
	}
	s.packed = append(s.packed, p)
	return s.writePacked(packedAhead * packers)
}

// writePacked writes blocks that others compress, until no more than left are
// not written, and lends a hand where they have not begun.
func (s *segmentRun) writePacked(left int) error {
	for len(s.packed) > left {
		p := s.packed[0]
		s.packed = s.packed[1:]
		p.pack()
		<-p.done
		err := s.put(p.block.First, func(seg *openSegment) (segment.Block, error) { return seg.w.AddBody(p.block, p.body) })
		packedPool.Put(p)
		if err != nil {
			return err
		}
	}
	return nil
}

// writeAll writes what was added.
func (s *segmentRun) writeAll() error {
	if err := s.write(); err != nil {
		return err
	}
	return s.writePacked(0)
}

// forget waits for those who compress blocks that will not be written.
func (s *segmentRun) forget() {
	for _, p := range s.packed {
		p.pack()
		<-p.done
		packedPool.Put(p)
	}
}

// put adds a block that begins with the event first to the topic's segment.
func (s *segmentRun) put(first uint64, add func(*openSegment) (segment.Block, error)) (err error) {
	s.w.makeWay()
	if s.seg == nil {
		if s.seg, err = s.w.openSegment(s.f, first, s.gap); err != nil {
			return err
		}
		s.gap = false
	}
	block, err := add(s.seg)
	if err != nil {
		return err
	}
	s.w.extend(s.f, s.seg, block)
	if s.seg.size >= s.w.e.opts.SegmentBytes {
		err = s.w.seal(s.f.meta, s.seg)
		s.seg = nil
	}
	return err
}

// extend makes the topic's last segment longer by a block.
func (w *flush) extend(f *flushedTopic, seg *openSegment, block segment.Block) {
	seg.size = seg.w.Size()
	seg.blocks = append(seg.blocks, block)
	f.blocks = append(f.blocks, blockEntry(seg.id.ID, &block))
	m := f.meta
	s := &segmentMeta{
		id: seg.id, first: block.First, firstPosition: block.FirstPosition,
		minTime: block.MinTime, maxTime: block.MaxTime,
	}
	if n := len(m.segments); n > 0 && m.segments[n-1].id.ID == seg.id.ID {
		*s = *m.segments[n-1]
	}
	s.id.UUID = [16]byte{}
	s.last, s.lastPosition = block.Last, block.LastPosition
	s.minTime, s.maxTime = min(s.minTime, block.MinTime), max(s.maxTime, block.MaxTime)
	s.kinds |= block.Kinds
	s.durable = seg.size
	m.segments = replaceSegment(m.segments, s)
	w.e.stats.blocks.Add(1)
}

// makeWay lets appenders that are ready to run go first. Between two blocks a
// checkpoint has nothing in hand that others wait for, and left to itself the
// scheduler would let it keep a processor for ten milliseconds.
func (w *flush) makeWay() {
	if !w.e.env.Inline {
		w.others.Yield()
	}
}

// openSegment opens the topic's last segment for more, or makes a new one, for
// events from first on.
func (w *flush) openSegment(f *flushedTopic, first uint64, fresh bool) (*openSegment, error) {
	m := f.meta
	if n := len(m.segments); n > 0 && !fresh && !m.segments[n-1].sealed && w.e.writers.trusted(m.segments[n-1].id.ID) {
		seg, err := w.continueSegment(f.cut.t, m.segments[n-1])
		if seg != nil || err != nil {
			return seg, err
		}
	}
	w.created = true
	return w.create(segment.Identity{Topic: m.topic, Incarnation: m.incarnation, Base: first})
}

// continueSegment opens a segment for more; nil where it is damaged, and so is
// left as it is.
func (w *flush) continueSegment(t *topicState, m *segmentMeta) (*openSegment, error) {
	blocks, err := w.e.segmentBlocks(t, m)
	if v := t.disk.Load(); err == nil && v != nil && v.index != nil {
		err = v.expand(m, segment.NewList(blocks)) // what is added must not stand behind a span of the same segment
	}
	if err == nil && !slices.ContainsFunc(blocks, lostBlock) {
		id := m.id
		id.UUID = w.state.uuid
		var sw *segment.Writer
		if sw, err = segment.Continue(w.e.env.FS, id, w.e.codec(), m.durable); err == nil {
			return w.opened(&openSegment{w: sw, id: id, size: m.durable, blocks: blocks}), nil
		}
	}
	if err != nil && corruption(err) == nil && !errors.Is(err, errNotExist) {
		return nil, err
	}
	w.e.writers.distrust(m.id.ID)
	return nil, nil // damage is no failure: the caller begins another file
}

// create makes a file with an id that no other one has.
func (w *flush) create(id segment.Identity) (*openSegment, error) {
	id.UUID = w.state.uuid
	for {
		id.ID = w.nextID
		w.nextID++
		sw, err := segment.Create(w.e.env.FS, id, w.e.codec())
		if errors.Is(err, errExist) {
			continue // the leftover of a checkpoint that failed
		}
		if err != nil {
			return nil, err
		}
		w.e.writers.trust(id.ID)
		return w.opened(&openSegment{w: sw, id: id, fresh: true}), nil
	}
}

func (w *flush) opened(s *openSegment) *openSegment {
	w.files = append(w.files, s)
	s.w.Begin()
	return s
}

// seal ends a full segment with its footer.
func (w *flush) seal(m *topicMeta, seg *openSegment) error {
	footer, err := seg.w.Seal(seg.blocks)
	if err != nil {
		return err
	}
	seg.size = seg.w.Size()
	n := len(m.segments)
	s := *m.segments[n-1]
	s.sealed, s.footer, s.durable = true, footer, seg.size
	m.segments = replaceSegment(m.segments, &s)
	w.e.stats.sealed.Add(1)
	return nil
}

// intoCarry writes the chunks into the carry file, together with the carried
// blocks but for the first keep of them.
func (w *flush) intoCarry(f *flushedTopic, keep int, chunks []chunk) error {
	m := f.meta
	w.added = w.added[:0]
	b := &w.builder
	b.reset(m.place)
	write := func() error {
		if b.empty() {
			return nil
		}
		w.raw = b.raw(w.raw[:0])
		err := w.carryBlock(func(file *segment.Writer) (segment.Block, error) { return file.Add(b.block, w.raw) })
		b.reset(m.place)
		return err
	}
	last := uint64(0)
	whole := func(c *carriedBlock, body segment.Body) error {
		if err := write(); err != nil {
			return err
		}
		last = c.Last
		return w.carryBlock(func(file *segment.Writer) (segment.Block, error) { return file.AddBody(c.Block, body) })
	}
	err := w.eachPart(f, m.carried[keep:], chunks, whole, func(encoded []byte, r *RawRecord) error {
		id := uint64(r.ID)
		lost := last != 0 && id != last+1 // between the two
		if lost || !b.fits(encoded, w.e.opts.carryBlockBytes) {
			if err := write(); err != nil {
				return err
			}
		}
		last = id
		b.add(encoded, r)
		return nil
	})
	if err == nil {
		err = write()
	}
	m.carried = slices.Concat(m.carried[:keep], w.added)
	return err
}

// carryBlock adds a block to the carry file, and notes it in w.added.
func (w *flush) carryBlock(add func(*segment.Writer) (segment.Block, error)) error {
	w.makeWay()
	if err := w.openCarry(); err != nil {
		return err
	}
	block, err := add(w.carry.w)
	if err != nil {
		return err
	}
	w.carry.size = w.carry.w.Size()
	w.added = append(w.added, carriedBlock{carry: w.carry.id.ID, Block: block})
	if w.carry.size >= w.carryFileBytes() {
		w.carry = nil
	}
	return nil
}

// openCarry opens the newest carry file for more, or makes a new one.
func (w *flush) openCarry() (err error) {
	if w.carry != nil {
		return nil
	}
	if w.carry, err = w.continueCarry(); err != nil {
		return err
	}
	if w.carry == nil {
		w.newRoot = true
		if w.carry, err = w.create(segment.Identity{}); err != nil {
			return err
		}
	}
	w.carries = append(w.carries, w.carry)
	return nil
}

// continueCarry opens the newest carry file for more; nil where it is full, or
// may not be written to.
func (w *flush) continueCarry() (*openSegment, error) {
	if len(w.carries) > 0 || len(w.state.carries) == 0 {
		return nil, nil
	}
	ids := sortedKeys(w.state.carries)
	newest := w.state.carries[ids[len(ids)-1]]
	if newest.durable >= w.carryFileBytes() || !w.e.writers.trusted(newest.id) {
		return nil, nil
	}
	id := segment.Identity{UUID: w.state.uuid, ID: newest.id}
	sw, err := segment.Continue(w.e.env.FS, id, w.e.codec(), newest.durable)
	if err == nil {
		return w.opened(&openSegment{w: sw, id: id, size: newest.durable}), nil
	}
	w.e.writers.distrust(newest.id)
	if corruption(err) == nil && !errors.Is(err, errNotExist) {
		return nil, err
	}
	return nil, nil // its damage is reported when it is read
}

// settle syncs and closes the files, once there are as many as most, but for
// the carry file that is written to.
func (w *flush) settle(most int) error {
	var files []*openSegment
	for _, f := range w.files {
		if f.w != nil && f != w.carry {
			files = append(files, f)
		}
	}
	if len(files) < most {
		return nil
	}
	if err := w.syncFiles(files); err != nil {
		return err
	}
	for _, f := range files {
		_ = f.w.Close() // synced
		f.w = nil
	}
	return nil
}

// sync makes all that was written durable, names included.
func (w *flush) sync() error {
	w.carry = nil
	if err := w.settle(1); err != nil {
		return err
	}
	if w.created {
		if err := w.e.env.FS.SyncDir(segmentDir); err != nil {
			return fmt.Errorf("sync directory %s: %w", segmentDir, err)
		}
	}
	if w.newRoot {
		if err := w.e.env.FS.SyncDir("."); err != nil {
			return fmt.Errorf("sync directory of the log: %w", err)
		}
	}
	return nil
}

func (w *flush) syncFiles(files []*openSegment) error {
	for _, f := range files {
		if err := f.w.Flush(); err != nil {
			return fmt.Errorf("write %s: %w", segment.FileName(f.id), err)
		}
	}
	if len(files) > syncManyFiles {
		err := w.e.env.FS.SyncAll()
		if !errors.Is(err, errors.ErrUnsupported) {
			w.e.stats.syncs.Add(1)
			return err
		}
	}
	for _, f := range files {
		if err := f.w.Sync(); err != nil {
			return fmt.Errorf("sync %s: %w", segment.FileName(f.id), err)
		}
		w.e.stats.syncs.Add(1)
	}
	return nil
}

// abandon takes back a checkpoint that the manifest has not heard of: files
// that it made are removed, the others are not written to again.
func (w *flush) abandon() {
	w.distrust()
	for _, f := range w.files {
		if f.fresh {
			_ = w.e.env.FS.Remove(segment.FileName(f.id)) // what stays behind is found at the next open
		}
	}
}

// distrust closes all files; none of them is continued. Ids are not used again.
func (w *flush) distrust() {
	w.close()
	for _, f := range w.files {
		w.e.writers.distrust(f.id.ID)
	}
	w.e.writers.next = max(w.e.writers.next, w.nextID)
}

// orphan has the files that this checkpoint made dropped by the next edit: the
// one that names them may be there by now, but the next one takes its place.
func (w *flush) orphan() {
	for _, f := range w.files {
		if f.fresh {
			w.e.writers.orphans = append(w.e.writers.orphans, f.id)
		}
	}
}

func (w *flush) close() {
	for _, f := range w.files {
		if f.w != nil {
			_ = f.w.Close() // it is synced, or not continued
			f.w = nil
		}
	}
}

// editTopics says what has become of the topics.
func (w *flush) editTopics() {
	w.edit.b = slices.Grow(w.edit.b, editBytes*len(w.topics))
	w.topicsFrom = len(w.edit.b)
	for i := range w.topics {
		f := &w.topics[i]
		old := f.cut.old
		if old == nil {
			w.edit.topic(f.meta)
		} else {
			w.edit.changedTopic(old, f.meta)
		}
		for _, s := range f.dropped {
			w.edit.dropSegment(s)
		}
		for _, s := range f.meta.segments {
			if !old.has(s) {
				w.edit.segment(s)
			}
		}
		for _, l := range f.lost {
			w.edit.lost(f.meta.topic, l)
		}
	}
	w.topicsTo = len(w.edit.b)
}

// has says whether the very same segment is part of m, which may be nil.
func (m *topicMeta) has(s *segmentMeta) bool {
	if m == nil {
		return false
	}
	for i := len(m.segments) - 1; i >= 0; i-- {
		if m.segments[i] == s {
			return true
		}
		if m.segments[i].id.ID < s.id.ID {
			return false
		}
	}
	return false
}

// editCarries says how long the carry files are now, and drops those that no
// topic needs.
func (w *flush) editCarries() {
	for _, c := range w.carries {
		w.edit.carry(&carryMeta{id: c.id.ID, durable: c.size})
	}
	for _, id := range sortedKeys(w.state.carries) {
		if w.used[id] != 0 {
			continue
		}
		if parts := w.parts(id); parts != 0 {
			w.e.log("carry file is kept: it was counted as needed by nobody", "file", segment.FileName(segment.Identity{ID: id}), "parts", parts)
			w.used = nil
			return
		}
		w.edit.dropCarry(id)
		delete(w.used, id)
	}
}

// parts counts what topics have in a carry file after this checkpoint: from
// everything, since what is dropped is gone.
func (w *flush) parts(carry uint64) (n int) {
	for _, m := range w.state.topics {
		n += m.parts(carry)
	}
	for i := range w.topics {
		f := &w.topics[i]
		n += f.meta.parts(carry)
		if f.cut.old != nil {
			n -= f.cut.old.parts(carry)
		}
	}
	return n
}

// parts counts the topic's blocks, and places of lost events, in a carry file.
func (m *topicMeta) parts(carry uint64) (n int) {
	for i := range m.carried {
		if m.carried[i].carry == carry {
			n++
		}
	}
	for _, l := range m.lost {
		if l.carry == carry {
			n++
		}
	}
	return n
}

// carryUses counts what topics have in each carry file.
func (s *manifestState) carryUses() map[uint64]int {
	used := map[uint64]int{}
	for _, m := range s.topics {
		addUse(used, m.carried, m.lost, 1)
	}
	return used
}

// countUse notes that a topic, which was old, is m now.
func (w *flush) countUse(old, m *topicMeta) {
	if old == nil {
		addUse(w.used, m.carried, m.lost, 1)
		return
	}
	same := 0 // most stay
	for same < min(len(old.carried), len(m.carried)) && old.carried[same] == m.carried[same] {
		same++
	}
	addUse(w.used, old.carried[same:], old.lost, -1)
	addUse(w.used, m.carried[same:], m.lost, 1)
}

func addUse(used map[uint64]int, carried []carriedBlock, lost []*lostEvents, n int) {
	for i := range carried {
		used[carried[i].carry] += n
	}
	for _, l := range lost {
		used[l.carry] += n
	}
}
