package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/seglog/seglog/cursor"
	"github.com/seglog/seglog/index"
	"github.com/seglog/seglog/internal/vfs"
	"github.com/seglog/seglog/segment"
	"github.com/seglog/seglog/wal"
)

// A checkpoint moves what the tails hold into segment files, or into the carry
// file where it is too little for a block, and lets the WAL be used again. The
// order of its writes is what makes it safe:
//
//  1. cut: note where the log ends, and what each changed topic has;
//  2. make the WAL durable up to there, where the sync policy has not;
//  3. write blocks behind the durable length of files, or into new files;
//  4. sync those files, then the directories of new ones;
//  5. append one manifest edit that says all of it, and sync it;
//  6. let readers see the new blocks, and cut the tails;
//  7. free the WAL below the cut, and unlink what the edit dropped.
//
// Until 5 is done the old manifest and the WAL hold everything; what 3 wrote is
// leftovers. After an error in 3 or 4 nothing that it touched is written to
// again: a page whose write failed may be marked clean.

type checkpointMode int

const (
	checkpointInTurn   checkpointMode = iota
	checkpointRecovery                // at open: into a new manifest, whether or not there is something to do
)

// checkpointCut is the state that a checkpoint makes durable.
type checkpointCut struct {
	start    wal.Start
	position uint64
	topics   []topicCut
	cursors  []cursor.Entry
}

type topicCut struct {
	t           *topicState
	chunks      []chunk
	latest, low uint64
}

// checkpoint runs one checkpoint. ErrNoSpace leaves the log as it was, to be
// tried again; other errors stop it.
func (e *Engine) checkpoint(mode checkpointMode) error {
	e.checkpointMu.Lock()
	defer e.checkpointMu.Unlock()
	if e.needsRecovery.Load() {
		mode = checkpointRecovery
	}
	err := e.checkpointTwice(mode)
	if errors.Is(err, ErrNoSpace) && e.giveUpReserve() {
		err = e.checkpointTwice(mode)
	}
	if err == nil {
		e.restoreReserve()
	}
	return err
}

// checkpointTwice tries once more where a segment cannot be written or synced:
// then in a new file.
func (e *Engine) checkpointTwice(mode checkpointMode) error {
	var err error
	for range 2 {
		if err = e.tryCheckpoint(mode); err == nil {
			e.stats.checkpoints.Add(1)
			return nil
		}
		var fatal *fatalError
		if errors.Is(err, ErrNoSpace) || errors.Is(err, ErrFailed) || errors.Is(err, ErrClosed) || errors.As(err, &fatal) {
			break
		}
		e.log("checkpoint failed", "cause", err)
	}
	if errors.Is(err, ErrNoSpace) || errors.Is(err, ErrClosed) {
		return err
	}
	return e.fail(fmt.Errorf("checkpoint: %w", err))
}

// fatalError marks an error that must not be tried again.
type fatalError struct{ err error }

func (e *fatalError) Error() string { return e.err.Error() }
func (e *fatalError) Unwrap() error { return e.err }

func (e *Engine) tryCheckpoint(mode checkpointMode) error {
	cut := e.cut()
	if mode != checkpointRecovery {
		if e.nothingToDo(cut) {
			return nil
		}
		if err := e.syncWAL(); err != nil {
			e.uncut(cut)
			return &fatalError{err}
		}
	}
	w := newFlush(e)
	err := w.run(cut)
	if err == nil {
		err = w.sync()
	}
	if err != nil {
		w.abandon()
		e.uncut(cut)
		return noSpace(err)
	}
	if err := e.record(w, cut, mode); err != nil {
		w.distrust()
		e.uncut(cut)
		return err
	}
	e.install(w, cut)
	e.needsRecovery.Store(false)
	return e.cleanUp(cut)
}

// noSpace makes an error of a full disk match ErrNoSpace.
func noSpace(err error) error {
	if errors.Is(err, vfs.ErrNoSpace) && !errors.Is(err, ErrNoSpace) {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return err
}

// cut notes what is published now, and starts the next list of changes.
func (e *Engine) cut() *checkpointCut {
	e.publishMu.Lock()
	defer e.publishMu.Unlock()
	c := &checkpointCut{
		start: e.published, position: e.visible.Load(), cursors: e.dirtyCursors,
		topics: make([]topicCut, len(e.dirty)),
	}
	for i, t := range e.dirty {
		c.topics[i] = topicCut{t: t, chunks: t.tail.Load().published(), latest: t.latest.Load(), low: t.low.Load()}
		t.dirty = false
	}
	e.dirty, e.dirtyCursors = nil, nil
	return c
}

// uncut puts the changes of a cut back onto the list.
func (e *Engine) uncut(c *checkpointCut) {
	e.publishMu.Lock()
	defer e.publishMu.Unlock()
	for i := range c.topics {
		e.markDirtyLocked(c.topics[i].t)
	}
	e.dirtyCursors = append(c.cursors, e.dirtyCursors...)
}

func (e *Engine) nothingToDo(c *checkpointCut) bool {
	return len(c.topics) == 0 && len(c.cursors) == 0 && len(e.writers.forget) == 0 && c.start == e.manifest.state.checkpoint
}

// syncWAL makes the WAL durable up to what is published: the manifest must not
// know of what the WAL could still lose.
func (e *Engine) syncWAL() error {
	if e.opts.Sync == SyncAlways {
		return nil // it is durable
	}
	e.walMu.Lock()
	defer e.walMu.Unlock()
	if err := e.wal.Sync(); err != nil {
		return fmt.Errorf("sync write-ahead log: %w", err)
	}
	return nil
}

// flush is the writing half of one checkpoint.
type flush struct {
	e       *Engine
	state   *manifestState
	nextID  uint64
	edit    edit
	topics  []flushedTopic
	files   []*openSegment // all that were written to
	carry   *openSegment   // nil until the first carried block
	builder blockBuilder
	raw     []byte
	created bool // a file in seg/
	newRoot bool // a file in the root
	dropped []segment.Identity
}

// flushedTopic is what becomes of one topic.
type flushedTopic struct {
	cut     *topicCut
	meta    *topicMeta
	blocks  []index.Entry // new ones
	flushed uint64        // the tail is on disk up to this id
	dropped []*segmentMeta
	lost    *lostEvents // what was carried and does not verify
}

// openSegment is a segment or carry file while a checkpoint writes to it.
type openSegment struct {
	w      *segment.Writer
	id     segment.Identity
	fresh  bool // made by this checkpoint
	blocks []segment.Block
}

func newFlush(e *Engine) *flush {
	return &flush{e: e, state: e.manifest.state, nextID: max(e.manifest.state.nextSegment, e.writers.next)}
}

// run writes the blocks of all topics of the cut, and builds the edit.
func (w *flush) run(cut *checkpointCut) error {
	rewrite := w.carryIsMostlyDead()
	for i := range cut.topics {
		if err := w.topic(&cut.topics[i]); err != nil {
			return fmt.Errorf("write topic %s: %w", cut.topics[i].t.name, err)
		}
	}
	if rewrite {
		if err := w.rewriteCarry(); err != nil {
			return fmt.Errorf("rewrite carry file: %w", err)
		}
	}
	for _, f := range w.files {
		if err := f.w.Flush(); err != nil {
			return fmt.Errorf("write %s: %w", segment.FileName(f.id), err)
		}
	}
	return nil
}

// topic writes one topic's events into its segment, or into the carry file.
func (w *flush) topic(c *topicCut) error {
	t := c.t
	f := flushedTopic{cut: c, meta: &topicMeta{place: t.place, name: t.name}}
	if old := w.state.topics[t.topic]; old != nil {
		*f.meta = *old
	}
	m := f.meta
	m.latest, m.low = c.latest, c.low
	f.dropBelow(m)
	chunks := c.chunks[searchChunk(c.chunks, max(m.last()+1, m.low)):]
	var err error
	if len(chunks) > 0 {
		var carried eventIter
		if carried, err = w.carried(&f); err == nil {
			if w.worthABlock(m, chunks) {
				err = w.intoSegment(&f, carried, chunks)
			} else {
				err = w.intoCarry(&f, carried, chunks)
			}
		}
	}
	f.flushed = c.latest
	w.topics = append(w.topics, f)
	return err
}

// dropBelow takes away the segments and the carried block that are wholly
// below the topic's low watermark.
func (f *flushedTopic) dropBelow(m *topicMeta) {
	for len(m.segments) > 0 && m.segments[0].last < m.low {
		f.dropped = append(f.dropped, m.segments[0])
		m.segments = m.segments[1:]
	}
	if m.carried != nil && m.carried.Last < m.low {
		m.carried = nil
	}
	for len(m.lost) > 0 && m.lost[0].last < m.low {
		m.lost = m.lost[1:]
	}
}

func (w *flush) worthABlock(m *topicMeta, chunks []chunk) bool {
	size := chunkBytes(chunks)
	if m.carried != nil {
		size += int64(m.carried.Raw)
	}
	return size >= int64(w.e.opts.BlockBytes) || w.e.writers.carryLive+w.carryGrowth() > carryBytesMax
}

func (w *flush) carryGrowth() int64 {
	if w.carry == nil {
		return 0
	}
	var n int64
	for i := range w.carry.blocks {
		n += int64(w.carry.blocks[i].Stored)
	}
	return n
}

// events calls fn for each event of the topic that goes into a new block: those
// that were carried, then those of the chunks.
func (w *flush) events(m *topicMeta, carried eventIter, chunks []chunk, fn func(encoded []byte, r *RawRecord) error) error {
	var r RawRecord
	each := func(it eventIter) error {
		it.trusted = true // the events keep their checks
		if err := it.skipTo(m.low); err != nil {
			return err
		}
		for it.more() {
			if err := it.next(&r); err != nil {
				return err
			}
			if err := fn(it.encoded, &r); err != nil {
				return err
			}
		}
		return nil
	}
	if carried.more() {
		if err := each(carried); err != nil {
			return err
		}
	}
	for i := range chunks {
		if err := each(chunkIter(m.place, &chunks[i])); err != nil {
			return err
		}
	}
	return nil
}

// carried reads the topic's carried block, all of which must verify. What does
// not is given up, with its place, so that it does not hold up the rest of the
// log.
func (w *flush) carried(f *flushedTopic) (eventIter, error) {
	c := f.meta.carried
	if c == nil {
		return eventIter{id: 1}, nil
	}
	it, err := w.readCarried(f.meta)
	if err == nil {
		var r RawRecord
		for check := it; check.more() && err == nil; {
			err = check.next(&r)
		}
		if err == nil {
			return it, nil
		}
		err = &CorruptError{File: segment.FileName(segment.Identity{ID: c.carry}), Offset: c.Offset, Reason: err.Error()}
	}
	bad := corruption(err)
	if errors.Is(err, errNotExist) {
		bad = &CorruptError{Offset: c.Offset, Reason: "file is missing"}
	}
	if bad == nil {
		return it, err
	}
	f.lost = &lostEvents{first: c.First, last: c.Last, carry: c.carry, offset: bad.Offset, reason: bad.Reason}
	f.meta.lost = append(slices.Clip(f.meta.lost), f.lost)
	f.meta.carried = nil
	f.blocks = append(f.blocks, f.lost.entry())
	w.e.log("events are lost to damage", "topic", f.meta.name, "first", c.First, "last", c.Last, "cause", err)
	return eventIter{id: 1}, nil
}

func (w *flush) readCarried(m *topicMeta) (eventIter, error) {
	raw, err := w.e.files.read(segment.Identity{UUID: w.state.uuid, ID: m.carried.carry}, m.carried.Block, &segment.Buffer{})
	if err != nil {
		return eventIter{}, err
	}
	return blockIter(m.place, m.carried.First, m.carried.Last, m.carried.FirstPosition, raw)
}

// intoSegment writes events as blocks of the topic's own.
func (w *flush) intoSegment(f *flushedTopic, carried eventIter, chunks []chunk) error {
	m := f.meta
	var seg *openSegment
	b := &w.builder
	b.reset(m.place)
	write := func() (err error) {
		if seg == nil {
			if seg, err = w.openSegment(f); err != nil {
				return err
			}
		}
		if err := w.writeBlock(f, seg); err != nil {
			return err
		}
		b.reset(m.place)
		if seg.w.Size() >= w.e.opts.SegmentBytes {
			err = w.seal(m, seg)
			seg = nil
		}
		return err
	}
	err := w.events(m, carried, chunks, func(encoded []byte, r *RawRecord) error {
		b.add(encoded, r)
		if b.size() >= w.e.opts.BlockBytes {
			return write()
		}
		return nil
	})
	if err == nil && !b.empty() {
		err = write()
	}
	m.carried = nil
	return err
}

// writeBlock writes the builder's block and extends the topic's last segment
// by it.
func (w *flush) writeBlock(f *flushedTopic, seg *openSegment) error {
	w.raw = w.builder.raw(w.raw[:0])
	block, err := seg.w.Add(w.builder.block, w.raw)
	if err != nil {
		return err
	}
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
	s.durable = seg.w.Size()
	m.segments = replaceSegment(m.segments, s)
	w.e.stats.blocks.Add(1)
	return nil
}

// openSegment opens the topic's last segment for more, or makes a new one.
func (w *flush) openSegment(f *flushedTopic) (*openSegment, error) {
	m := f.meta
	if n := len(m.segments); n > 0 && !m.segments[n-1].sealed && w.e.writers.trusted(m.segments[n-1].id.ID) {
		seg, err := w.continueSegment(f.cut.t, m.segments[n-1])
		if seg != nil || err != nil {
			return seg, err
		}
	}
	w.created = true
	return w.create(segment.Identity{Topic: m.topic, Incarnation: m.incarnation, Base: w.builder.block.First})
}

// continueSegment opens a segment for more; nil where it is damaged, and so is
// left as it is.
func (w *flush) continueSegment(t *topicState, m *segmentMeta) (*openSegment, error) {
	blocks, err := w.e.segmentBlocks(t, m)
	if v := t.disk.Load(); err == nil && v != nil && v.index != nil {
		err = v.expand(m, blocks) // what is added must not stand behind a span of the same segment
	}
	if err == nil && !slices.ContainsFunc(blocks, lostBlock) {
		id := m.id
		id.UUID = w.state.uuid
		var sw *segment.Writer
		if sw, err = segment.Continue(w.e.env.FS, id, w.e.codec(), m.durable); err == nil {
			return w.opened(&openSegment{w: sw, id: id, blocks: blocks}), nil
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
		id.ID = w.newID()
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

func (w *flush) newID() uint64 {
	id := w.nextID
	w.nextID++
	return id
}

// seal ends a full segment with its footer.
func (w *flush) seal(m *topicMeta, seg *openSegment) error {
	footer, err := seg.w.Seal(seg.blocks)
	if err != nil {
		return err
	}
	n := len(m.segments)
	s := *m.segments[n-1]
	s.sealed, s.footer, s.durable = true, footer, seg.w.Size()
	m.segments = replaceSegment(m.segments, &s)
	w.e.stats.sealed.Add(1)
	return nil
}

// intoCarry writes a small topic's events as one block of the carry file.
func (w *flush) intoCarry(f *flushedTopic, carried eventIter, chunks []chunk) error {
	m := f.meta
	b := &w.builder
	b.reset(m.place)
	if err := w.events(m, carried, chunks, func(encoded []byte, r *RawRecord) error {
		b.add(encoded, r)
		return nil
	}); err != nil {
		return err
	}
	w.raw = b.raw(w.raw[:0])
	return w.carryBlock(m, b.block, w.raw)
}

func (w *flush) carryBlock(m *topicMeta, block segment.Block, raw []byte) error {
	if err := w.openCarry(); err != nil {
		return err
	}
	block, err := w.carry.w.Add(block, raw)
	if err != nil {
		return err
	}
	w.carry.blocks = append(w.carry.blocks, block)
	m.carried = &carriedBlock{carry: w.carry.id.ID, Block: block}
	return nil
}

// openCarry opens the newest carry file for more, or makes a new one.
func (w *flush) openCarry() error {
	if w.carry != nil {
		return nil
	}
	var newest *carryMeta
	for _, c := range w.state.carries {
		if newest == nil || c.id > newest.id {
			newest = c
		}
	}
	if newest != nil && w.e.writers.trusted(newest.id) {
		id := segment.Identity{UUID: w.state.uuid, ID: newest.id}
		sw, err := segment.Continue(w.e.env.FS, id, w.e.codec(), newest.durable)
		if err != nil {
			return err
		}
		w.carry = w.opened(&openSegment{w: sw, id: id})
		return nil
	}
	w.newRoot = true
	c, err := w.create(segment.Identity{})
	w.carry = c
	return err
}

const (
	// carryBytesMax bounds what is live in carry files; above it small topics
	// get files of their own.
	carryBytesMax = 64 << 20
	// carryRewriteBytes is the least dead weight that is worth a rewrite.
	carryRewriteBytes = 1 << 20
)

// carryIsMostlyDead says whether carry files want to be rewritten; the next
// block then goes into a new one.
func (w *flush) carryIsMostlyDead() bool {
	var total int64
	for _, c := range w.state.carries {
		total += c.durable
	}
	if total <= 2*w.e.writers.carryLive+carryRewriteBytes {
		return false
	}
	for _, c := range w.state.carries {
		w.e.writers.distrust(c.id)
	}
	return true
}

// rewriteCarry copies what is live in older carry files into the new one.
func (w *flush) rewriteCarry() error {
	if err := w.openCarry(); err != nil {
		return err
	}
	done := map[uint64]bool{}
	for i := range w.topics {
		done[w.topics[i].meta.topic] = true
	}
	for _, num := range sortedKeys(w.state.topics) {
		old := w.state.topics[num]
		if done[num] || old.carried == nil {
			continue
		}
		m := *old
		raw, err := w.e.files.read(segment.Identity{UUID: w.state.uuid, ID: m.carried.carry}, m.carried.Block, &segment.Buffer{})
		if err != nil {
			if corruption(err) != nil {
				continue // stays where it is, and is reported when it is read
			}
			return err
		}
		if err := w.carryBlock(&m, m.carried.Block, raw); err != nil {
			return err
		}
		w.e.topicsMu.RLock()
		t := w.e.byNum[num]
		w.e.topicsMu.RUnlock()
		w.topics = append(w.topics, flushedTopic{cut: &topicCut{t: t}, meta: &m})
	}
	// Those of the cut whose block did not change are copied too.
	for i := range w.topics {
		m := w.topics[i].meta
		if m.carried == nil || m.carried.carry == w.carry.id.ID {
			continue
		}
		it := m.carried
		raw, err := w.e.files.read(segment.Identity{UUID: w.state.uuid, ID: it.carry}, it.Block, &segment.Buffer{})
		if err != nil {
			if corruption(err) != nil {
				continue
			}
			return err
		}
		if err := w.carryBlock(m, it.Block, raw); err != nil {
			return err
		}
	}
	return nil
}

// syncManyFiles is the number of files from which one sync of the whole file
// system is cheaper than one of each.
const syncManyFiles = 64

// sync makes all that was written durable, names included.
func (w *flush) sync() error {
	if err := w.syncFiles(); err != nil {
		return err
	}
	if w.created {
		if err := w.e.env.FS.SyncDir("seg"); err != nil {
			return fmt.Errorf("sync directory seg: %w", err)
		}
	}
	if w.newRoot {
		if err := w.e.env.FS.SyncDir("."); err != nil {
			return fmt.Errorf("sync directory of the log: %w", err)
		}
	}
	return nil
}

func (w *flush) syncFiles() error {
	if len(w.files) > syncManyFiles {
		err := w.e.env.FS.SyncAll()
		if !errors.Is(err, errors.ErrUnsupported) {
			w.e.stats.syncs.Add(1)
			return err
		}
	}
	for _, f := range w.files {
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
	for _, f := range w.files {
		_ = f.w.Close() // it is not continued
		w.e.writers.distrust(f.id.ID)
	}
	w.e.writers.next = max(w.e.writers.next, w.nextID)
}

// record writes the manifest edit. After an error the edit may be there.
func (e *Engine) record(w *flush, cut *checkpointCut, mode checkpointMode) error {
	s := *w.state
	s.checkpoint, s.position = cut.start, cut.position
	s.nextSegment = w.nextID
	e.c.mu.Lock()
	s.nextTopic = e.c.nextTopic
	e.c.mu.Unlock()
	w.edit.log(&s)
	w.editTopics()
	for i := range cut.cursors {
		if e.cursorTopicKnown(w, &cut.cursors[i]) {
			w.edit.cursor(cut.cursors[i])
		}
	}
	w.editCarries()
	for _, id := range e.writers.orphans {
		w.edit.tombstone(id)
	}
	for _, id := range e.writers.forget {
		w.edit.forget(id)
	}
	if mode == checkpointRecovery {
		return e.rotateManifest(w.edit.b, true)
	}
	return e.appendEdit(w.edit.b)
}

// cursorTopicKnown: a topic's creation and its cursors come in one record
// order, so the topic is in the manifest or in this edit.
func (e *Engine) cursorTopicKnown(w *flush, c *cursor.Entry) bool {
	if w.state.topics[c.Topic] != nil {
		return true
	}
	for i := range w.topics {
		if w.topics[i].meta.topic == c.Topic {
			return true
		}
	}
	return false
}

func (w *flush) editTopics() {
	for i := range w.topics {
		f := &w.topics[i]
		w.edit.topic(f.meta)
		old := w.state.topics[f.meta.topic]
		for _, s := range f.dropped {
			w.edit.dropSegment(s)
			w.dropped = append(w.dropped, s.id)
		}
		for _, s := range f.meta.segments {
			if !old.has(s) {
				w.edit.segment(s)
			}
		}
		if f.lost != nil {
			w.edit.lost(f.meta.topic, f.lost)
		}
	}
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

// editCarries says how long the carry file is now, and drops those that no
// topic needs.
func (w *flush) editCarries() {
	if w.carry != nil {
		w.edit.carry(&carryMeta{id: w.carry.id.ID, durable: w.carry.w.Size()})
	}
	if len(w.state.carries) == 0 {
		return
	}
	used := map[uint64]bool{}
	if w.carry != nil {
		used[w.carry.id.ID] = true
	}
	changed := map[uint64]bool{}
	for i := range w.topics {
		m := w.topics[i].meta
		changed[m.topic] = true
		m.usedCarries(used)
	}
	for num, m := range w.state.topics {
		if !changed[num] {
			m.usedCarries(used)
		}
	}
	for _, id := range sortedKeys(w.state.carries) {
		if !used[id] {
			w.edit.dropCarry(id)
			w.dropped = append(w.dropped, segment.Identity{ID: id})
		}
	}
}

// usedCarries notes the carry files that the topic needs.
func (m *topicMeta) usedCarries(used map[uint64]bool) {
	if m.carried != nil {
		used[m.carried.carry] = true
	}
	for _, l := range m.lost {
		used[l.carry] = true
	}
}

// appendEdit writes an edit to the manifest, and then applies it.
func (e *Engine) appendEdit(b []byte) error {
	m := e.manifest
	if err := m.append(frameEdit, b); err != nil {
		if err = noSpace(err); errors.Is(err, ErrNoSpace) {
			var s *syncError
			if !errors.As(err, &s) {
				return err
			}
		}
		return &fatalError{err}
	}
	if err := m.state.apply(b); err != nil {
		panic("engine: own manifest edit does not apply: " + err.Error())
	}
	e.manifestLen.Store(m.size)
	if m.wantsRotation() {
		if free, err := e.env.FS.Free(); err == nil && free > 8*m.size {
			return e.rotateManifest(nil, false)
		}
	}
	return nil
}

// rotateManifest applies an edit and writes the outcome as the snapshot of a
// new manifest. Whatever the error, the new file may be the one that the next
// open finds, so nothing may be added to the old one any more: a failure is
// final, but where the log has not been written to yet.
func (e *Engine) rotateManifest(b []byte, recovery bool) error {
	old := e.manifest
	state := old.state
	if len(b) > 0 {
		state = newManifestState(e.uuid)
		for _, part := range [][]byte{old.state.snapshot(), b} {
			if err := state.apply(part); err != nil {
				panic("engine: own manifest edit does not apply: " + err.Error())
			}
		}
	}
	e.writers.manifestGen = max(old.gen, e.writers.manifestGen) + 1
	m, err := createManifest(e.env.FS, e.writers.manifestGen, state)
	if err != nil {
		if recovery && errors.Is(err, vfs.ErrNoSpace) {
			return noSpace(err)
		}
		return &fatalError{err}
	}
	_ = old.close() // it is not written to again
	e.manifest = m
	e.manifestGen.Store(m.gen)
	e.manifestLen.Store(m.size)
	e.removeOldManifests()
	return nil
}

// removeOldManifests keeps the two newest.
func (e *Engine) removeOldManifests() {
	entries, err := e.env.FS.ReadDir(".")
	if err != nil {
		return // next time
	}
	for _, gen := range manifestGens(entries) {
		if gen+1 < e.manifest.gen {
			_ = e.env.FS.Remove(manifestName(gen)) // next time
		}
	}
}

// install shows readers the new blocks and cuts the tails.
func (e *Engine) install(w *flush, cut *checkpointCut) {
	for _, f := range w.files {
		_ = f.w.Close() // synced
	}
	e.writers.next = max(e.writers.next, w.nextID)
	e.writers.orphans, e.writers.forget = nil, nil
	state := e.manifest.state
	e.stats.segmentBytes.Store(state.bytes())
	e.publishMu.Lock()
	defer e.publishMu.Unlock()
	for i := range w.topics {
		f := &w.topics[i]
		t := f.cut.t
		if old := t.disk.Load(); old != nil && old.meta.carried != nil {
			e.writers.carryLive -= int64(old.meta.carried.Stored)
		}
		meta := state.topics[t.topic]
		if meta.carried != nil {
			e.writers.carryLive += int64(meta.carried.Stored)
		}
		t.disk.Store(e.viewAfter(t, f, meta))
		e.cutTailLocked(t, f.flushed)
	}
}

// viewAfter is what readers see of a topic after a checkpoint.
func (e *Engine) viewAfter(t *topicState, f *flushedTopic, meta *topicMeta) *diskView {
	v := &diskView{meta: meta, last: meta.last(), gaps: meta.gaps()}
	old := t.disk.Load()
	if old != nil {
		v.index = old.index
	}
	if v.index == nil && len(meta.segments) == 0 {
		return v
	}
	if v.index == nil && len(meta.lost) > 0 {
		return newDiskView(meta) // some were lost before there was an index
	}
	if len(f.dropped) > 0 && v.index != nil {
		v.index.DropSegments(meta.low)
	}
	if len(f.blocks) > 0 {
		if v.index == nil {
			v.index = index.New()
		}
		v.index.Add(f.blocks...)
	}
	return v
}

// cleanUp frees the WAL below the cut and unlinks what was dropped. All of it
// can be done later just as well.
func (e *Engine) cleanUp(cut *checkpointCut) error {
	if err := e.wal.Free(cut.start); err != nil {
		return &fatalError{fmt.Errorf("free write-ahead log: %w", err)}
	}
	e.unlinkTombstones()
	if !e.env.Inline && e.wal.NeedsSpare() {
		if err := e.wal.Prepare(); err != nil && !errors.Is(err, vfs.ErrNoSpace) && !errors.Is(err, wal.ErrFull) {
			e.log("cannot make a spare file for the write-ahead log", "cause", err)
		}
	}
	return nil
}

// unlinkTombstones removes the files that the manifest has dropped. The
// manifest forgets them with a later edit, once their absence is durable.
func (e *Engine) unlinkTombstones() {
	s := e.manifest.state
	if len(s.tombstones) == 0 {
		return
	}
	var gone []uint64
	for _, num := range sortedKeys(s.tombstones) {
		id := s.tombstones[num]
		id.UUID = s.uuid
		e.files.forget(id.ID)
		err := e.env.FS.Remove(segment.FileName(id))
		if err == nil || errors.Is(err, errNotExist) {
			gone = append(gone, num)
		}
		if err == nil {
			e.stats.unlinked.Add(1)
		}
	}
	if len(gone) == 0 || e.env.FS.SyncDir("seg") != nil || e.env.FS.SyncDir(".") != nil {
		return
	}
	e.writers.forget = append(e.writers.forget, gone...)
}

// segmentWriters is what checkpoints know beyond the manifest. Guarded by
// checkpointMu.
type segmentWriters struct {
	next        uint64 // lowest segment id that no file has
	manifestGen uint64 // highest generation that a file has
	clean       bool   // files of earlier processes may be continued
	known       map[uint64]bool
	carryLive   int64              // bytes of carried blocks
	orphans     []segment.Identity // files that no manifest knows, to be dropped
	forget      []uint64           // tombstones whose files are gone for good
}

// trusted says whether a file may be written to again: this process made it or
// the last one ended clean, and no write or sync of it has failed.
func (w *segmentWriters) trusted(id uint64) bool {
	if known, ok := w.known[id]; ok {
		return known
	}
	return w.clean
}

func (w *segmentWriters) trust(id uint64)    { w.set(id, true) }
func (w *segmentWriters) distrust(id uint64) { w.set(id, false) }

func (w *segmentWriters) set(id uint64, trusted bool) {
	if w.known == nil {
		w.known = map[uint64]bool{}
	}
	w.known[id] = trusted
}

// reclaim drops, in the background, the segments that a compaction left wholly
// below their topic's low watermark.
func (e *Engine) reclaim(t *topicState) {
	v := t.disk.Load()
	if v == nil || len(v.meta.segments) == 0 || v.meta.segments[0].last >= t.low.Load() {
		return
	}
	if e.env.Inline {
		_ = e.checkpoint(checkpointInTurn) // a failure latches the log or is tried again
		return
	}
	e.kickCheckpoint()
}

func (e *Engine) kickCheckpoint() {
	select {
	case e.kick <- struct{}{}:
	default:
	}
}

// maybeCheckpoint starts a checkpoint where the tails or the WAL are half
// full. The caller leads.
func (e *Engine) maybeCheckpoint() {
	if e.tailBytes.Load() < e.opts.TailBytes/checkpointShare && e.wal.Used() < e.opts.WALBytes/2 {
		return
	}
	if e.env.Inline {
		_ = e.checkpoint(checkpointInTurn) // as in reclaim
		return
	}
	e.kickCheckpoint()
}

// checkpointShare is the part of Options.TailBytes at which a checkpoint
// begins.
const checkpointShare = 4

// checkpointRound is one attempt that appends may wait for.
type checkpointRound struct {
	done chan struct{}
	err  error
}

func newCheckpointRound() *checkpointRound { return &checkpointRound{done: make(chan struct{})} }

func (e *Engine) checkpointInBackground() {
	err := e.checkpoint(checkpointInTurn)
	e.roundMu.Lock()
	r := e.round
	e.round = newCheckpointRound()
	e.roundMu.Unlock()
	r.err = err
	close(r.done)
}

// waitForRoom waits until a checkpoint has made room in the tails.
func (e *Engine) waitForRoom(ctx context.Context) error {
	e.stats.stalls.Add(1)
	if e.env.Inline {
		return e.checkpoint(checkpointInTurn)
	}
	e.roundMu.Lock()
	r := e.round
	e.roundMu.Unlock()
	e.kickCheckpoint()
	select {
	case <-r.done:
		return r.err
	case <-e.stop:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Checkpoint moves everything out of the write-ahead log into segment files.
// The log does so by itself; a caller may want to pick the moment.
func (e *Engine) Checkpoint(ctx context.Context) error {
	err := e.ready(ctx)
	if err == nil && e.opts.ReadOnly {
		err = ErrReadOnly
	}
	if err == nil {
		err = e.checkpoint(checkpointInTurn)
	}
	if err != nil {
		return fmt.Errorf("checkpoint log %s: %w", e.dir, classify(err))
	}
	return nil
}
