package engine

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"sync"

	"github.com/seglog/seglog/index"
	"github.com/seglog/seglog/segment"
)

// reader goes through one topic's events in id order: through blocks on disk,
// then through the tail. It takes no lock, and holds a block or a part of the
// tail at a time, and in a long read a few blocks more (see readAhead). Who is
// done with a reader calls release.
type reader struct {
	e     *Engine
	t     *topicState
	next  uint64 // id of the event to deliver next
	until uint64 // id of the last event that may be asked for

	it     eventIter
	from   source  // of it
	chunks []chunk // of the tail, behind what it is at
	buf    *segment.Buffer
	ahead  readAhead
	streak int  // blocks read one after another
	fresh  bool // read from disk what is in the cache, too
}

// blockBuffers are for readers that read a block.
var blockBuffers = sync.Pool{New: func() any { return &segment.Buffer{} }}

// leave is release while the caller may still look at the record that it was
// lent last: a loop that was left early has asked for no next one.
func (r *reader) leave() {
	r.buf, r.ahead.taken = nil, nil
	r.release()
}

// release gives back what the reader holds. It may be used again.
func (r *reader) release() {
	r.ahead.drop()
	if r.buf != nil && r.buf.Cap() <= roomBytesMax {
		blockBuffers.Put(r.buf)
	}
	r.buf = nil
	r.it, r.chunks, r.streak = eventIter{id: 1}, nil, 0
}

// source says where a reader's present events come from, for errors.
type source struct {
	file   segment.Identity // zero: memory
	offset int64
}

func (s *source) name() string {
	if s.file.ID == 0 {
		return ""
	}
	return segment.FileName(s.file)
}

// read delivers the event r.next, which the caller knows to be there or to have
// been there.
func (r *reader) read(raw *RawRecord) error {
	if !r.it.more() || r.it.id != r.next {
		if err := r.fill(); err != nil {
			return err
		}
	}
	if err := r.it.next(raw); err != nil {
		return r.damaged(err)
	}
	r.next++
	return nil
}

// damaged reports the event r.next, whose bytes are not as they were written.
func (r *reader) damaged(err error) error {
	bad := &CorruptError{
		Topic: r.t.name.name, File: r.from.name(), Offset: r.from.offset,
		FirstID: EventID(r.next), LastID: EventID(r.next), Reason: err.Error(),
	}
	if bad.File == "" {
		bad.File, bad.Reason = "(memory)", "in memory: "+bad.Reason
	}
	r.it = eventIter{id: 1}
	return bad
}

// fill finds the block or chunk with the event r.next. A checkpoint may have
// moved the event since the view was loaded, and removed the file that it was
// in: then it is looked for again.
func (r *reader) fill() error {
	for {
		tail := r.t.tail.Load() // before the disk: what leaves the tail is on disk by then
		v := r.t.disk.Load()
		err := r.fillFrom(tail, v)
		if err == nil || !errors.Is(err, ErrCorrupt) {
			return err
		}
		moved, lookErr := r.e.moved(r.t, v)
		if lookErr != nil {
			return lookErr
		}
		if !moved {
			return err
		}
	}
}

// moved says whether the topic's events may be elsewhere than in v by now. A
// follower asks the manifest, which knows before a file is removed.
func (e *Engine) moved(t *topicState, v *diskView) (bool, error) {
	f := e.follower
	if f == nil || t.disk.Load() != v {
		return t.disk.Load() != v, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	known := f.manifest
	if known == nil || t.disk.Load() != v {
		return t.disk.Load() != v, nil
	}
	if err := e.rereadManifest(); err != nil {
		return false, err
	}
	return f.manifest.gen != known.gen || f.manifest.size != known.size, nil
}

func (r *reader) fillFrom(tail *tail, v *diskView) error {
	if low := r.t.low.Load(); r.next < low {
		return &CompactedError{First: EventID(low)}
	}
	if len(r.chunks) > 0 && r.chunks[0].first == r.next {
		r.it = chunkIter(r.t.place, &r.chunks[0])
		r.chunks = r.chunks[1:]
		return nil
	}
	if v != nil {
		if g := v.gapAt(r.next); g != nil {
			return g.errorFor(r.t, r.next)
		}
		if r.next <= v.last {
			return r.fillFromDisk(v)
		}
	}
	chunks := tail.published()
	i := searchChunk(chunks, r.next)
	if i == len(chunks) || chunks[i].first > r.next {
		return r.missing(r.next, "neither on disk nor in memory")
	}
	r.from, r.streak = source{}, 0
	r.ahead.drop()
	r.it = chunkIter(r.t.place, &chunks[i])
	r.chunks = chunks[i+1:]
	return r.it.skipTo(r.next)
}

// missing reports an event that must be there and is not, unless compaction
// has just taken it.
func (r *reader) missing(id uint64, why string) error {
	if low := r.t.low.Load(); id < low {
		return &CompactedError{First: EventID(low)}
	}
	return &CorruptError{Topic: r.t.name.name, File: r.from.name(), FirstID: EventID(id), LastID: EventID(id), Reason: why}
}

// gapAt returns the gap that holds id; nil: none.
func (v *diskView) gapAt(id uint64) *gap {
	for i := range v.gaps {
		if g := &v.gaps[i]; g.first <= id && id <= g.last {
			return g
		}
	}
	return nil
}

func (g *gap) errorFor(t *topicState, id uint64) error {
	return &CorruptError{
		Topic: t.name.name, File: g.err.File, Offset: g.err.Offset,
		FirstID: EventID(id), LastID: EventID(g.last), Reason: g.err.Reason,
	}
}

// fillFromDisk reads the block with the event r.next.
func (r *reader) fillFromDisk(v *diskView) error {
	if c := v.meta.carriedAt(r.next); c != nil {
		return r.fillFromBlock(segment.Identity{UUID: r.e.uuid, ID: c.carry}, c.Block)
	}
	if v.index == nil {
		return r.missing(r.next, "no segment holds the event")
	}
	if ok, err := r.fillFromAhead(v); ok || err != nil {
		return err
	}
	n, ok := v.index.Snapshot().Seek(r.next)
	for ok && n.Span { // more than once only where others load very much just now
		if err := r.expand(v, n); err != nil {
			return err
		}
		n, ok = v.index.Snapshot().Seek(r.next)
	}
	if !ok || n.First > r.next {
		return r.missing(r.next, "no block holds the event")
	}
	m := v.meta.segment(n.Segment)
	if m == nil {
		return r.missing(r.next, fmt.Sprintf("segment %d is gone", n.Segment))
	}
	id := m.id
	id.UUID = r.e.uuid
	return r.fillFromBlock(id, entryBlock(r.t.place, &n))
}

// fillFromAhead takes the block with the event r.next where it was read ahead.
func (r *reader) fillFromAhead(v *diskView) (bool, error) {
	if r.streak++; r.streak <= aheadAfter || r.e.env.Inline {
		return false, nil
	}
	run, b, raw := r.ahead.take(r.next)
	if run == nil {
		r.ahead.extend(r, v, r.next, min(r.until, v.last))
		if run, b, raw = r.ahead.take(r.next); run == nil {
			return false, nil
		}
	}
	r.ahead.extend(r, v, run.blocks[len(run.blocks)-1].Last+1, min(r.until, v.last))
	if err := r.enter(run.id, b, raw); err != nil {
		return true, err
	}
	r.it.trusted = true // the run's events were verified with its blocks
	return true, nil
}

func (m *topicMeta) segment(id uint64) *segmentMeta {
	for _, s := range m.segments {
		if s.id.ID == id {
			return s
		}
	}
	return nil
}

func (r *reader) fillFromBlock(id segment.Identity, b segment.Block) error {
	key := blockKey{id.ID, b.Offset, b.Checksum}
	cached, keep := r.e.cache.get(key, b.Raw)
	if cached != nil && !r.fresh {
		return r.enter(id, &b, cached)
	}
	if r.buf == nil {
		r.buf = blockBuffers.Get().(*segment.Buffer)
	}
	raw, err := r.e.files.read(id, b, r.buf)
	if err != nil {
		return r.e.readError(r.t, id, r.next, b.Last, err)
	}
	if keep {
		r.e.cache.put(key, raw)
	}
	return r.enter(id, &b, raw)
}

// enter goes to the event r.next in a block whose raw bytes verified.
func (r *reader) enter(id segment.Identity, b *segment.Block, raw []byte) (err error) {
	r.from = source{id, b.Offset}
	r.it, err = blockIter(r.t.place, b.First, b.Last, b.FirstPosition, raw)
	if err == nil {
		err = r.it.skipTo(r.next)
	}
	if err != nil {
		return r.e.readError(r.t, id, r.next, b.Last, &CorruptError{File: r.from.name(), Offset: b.Offset, Reason: err.Error()})
	}
	r.chunks = nil
	return nil
}

// expand loads the blocks of the segment that n stands for into the index.
func (r *reader) expand(v *diskView, n index.Entry) error {
	m := v.meta.segment(n.Segment)
	if m == nil {
		return r.missing(r.next, fmt.Sprintf("segment %d is gone", n.Segment))
	}
	id := m.id
	id.UUID = r.e.uuid
	list, err := r.e.files.blocks(id, m)
	if err != nil {
		return r.e.readError(r.t, id, r.next, m.last, err)
	}
	if err := v.expand(m, list); err != nil {
		return r.e.readError(r.t, id, r.next, m.last, err)
	}
	if m.sealed {
		r.e.loaded.add(loadedSegment{v.index, m.id.ID}, list.Len())
	}
	return nil
}

// newReader fixes the bounds of a read: what is visible now.
func (e *Engine) newReader(ctx context.Context, topic Topic, opts ReadOptions) (reader, error) {
	r := reader{e: e, next: 1} // has nothing to read
	if err := e.readyFor(ctx, topic); err != nil {
		return r, err
	}
	if opts.Limit < 0 {
		return r, fmt.Errorf("%w: negative limit %d", ErrConfig, opts.Limit)
	}
	visible := e.visible.Load()
	t := e.topic(topic)
	if t == nil || uint64(opts.After) == math.MaxUint64 {
		return r, nil
	}
	r.t, r.next, r.until = t, max(uint64(opts.After)+1, t.low.Load()), t.visibleLatest(visible)
	if n := uint64(opts.Limit); n > 0 && r.next <= r.until && n <= r.until-r.next {
		r.until = r.next + n - 1
	}
	return r, nil
}

// more says whether there is an event to read within the reader's bounds.
func (r *reader) more() bool { return r.next <= r.until }

// readFor is read for a caller who may give up, or outlive the log.
func (r *reader) readFor(ctx context.Context, raw *RawRecord) error {
	if !r.it.more() { // once a block or chunk
		if err := r.e.ready(ctx); err != nil {
			return err
		}
	}
	return r.read(raw)
}

// Read implements [EventLog]. Memory does not grow with the range: a block is
// held at a time, and in a long read a few more, which are read ahead.
func (e *Engine) Read(ctx context.Context, topic Topic, opts ReadOptions) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		r, err := e.newReader(ctx, topic, opts)
		defer r.release() // also where the caller's loop panics
		var raw RawRecord
		var own owner
		for err == nil && r.more() {
			if err = r.readFor(ctx, &raw); err == nil && !yield(own.own(topic, &raw, r.until+1-r.next), nil) {
				return
			}
		}
		if err != nil {
			yield(Record{}, fmt.Errorf("read topic %s: %w", topic, err))
		}
	}
}

// ReadRaw is [Engine.Read] without copies: the records' slices are lent until
// the iteration's next step, and nothing is allocated for an event. The payload
// is not parsed.
func (e *Engine) ReadRaw(ctx context.Context, topic Topic, opts ReadOptions) iter.Seq2[RawRecord, error] {
	return func(yield func(RawRecord, error) bool) {
		r, err := e.newReader(ctx, topic, opts)
		defer r.leave() // also where the caller's loop panics
		var raw RawRecord
		for err == nil && r.more() {
			if err = r.readFor(ctx, &raw); err == nil && !yield(raw, nil) {
				return
			}
		}
		r.release()
		if err != nil {
			yield(RawRecord{}, fmt.Errorf("read topic %s: %w", topic, err))
		}
	}
}
