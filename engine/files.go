package engine

import (
	"container/list"
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"github.com/seglog/seglog/index"
	"github.com/seglog/seglog/internal/vfs"
	"github.com/seglog/seglog/segment"
	"github.com/seglog/seglog/wal"
)

var errNotExist = fs.ErrNotExist

// fileCache keeps segment files open for reading, the last used ones.
type fileCache struct {
	fs vfs.FS

	mu     sync.Mutex // guards the fields below
	open   map[uint64]*openFile
	recent *list.List // of *openFile; the front was used last
	closed bool
	inUse  sync.WaitGroup
}

// openFile is one open segment. It is closed when nobody uses it and it is not
// in the cache any more.
type openFile struct {
	id     uint64
	reader *segment.Reader
	refs   int // the cache counts as one
	elem   *list.Element
}

// openFilesMax bounds the segment files kept open for reading.
const openFilesMax = 256

func newFileCache(fs vfs.FS) *fileCache {
	return &fileCache{fs: fs, open: map[uint64]*openFile{}, recent: list.New()}
}

// acquire returns the open file; the caller releases it.
func (c *fileCache) acquire(id segment.Identity) (*openFile, error) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil, ErrClosed
	}
	if f := c.open[id.ID]; f != nil {
		f.refs++
		c.inUse.Add(1)
		c.recent.MoveToFront(f.elem)
		c.mu.Unlock()
		return f, nil
	}
	c.inUse.Add(1)
	c.mu.Unlock()
	r, err := segment.OpenReader(c.fs, id) // no lock is held over I/O
	if err != nil {
		c.inUse.Done()
		return nil, err
	}
	return c.insert(&openFile{id: id.ID, reader: r}), nil
}

func (c *fileCache) insert(f *openFile) *openFile {
	c.mu.Lock()
	defer c.mu.Unlock()
	f.refs = 1
	if c.closed || c.open[f.id] != nil { // somebody else was faster: this one goes when it is released
		return f
	}
	f.refs = 2
	c.open[f.id] = f
	f.elem = c.recent.PushFront(f)
	if c.recent.Len() > openFilesMax {
		c.dropLocked(c.recent.Back().Value.(*openFile))
	}
	return f
}

func (c *fileCache) dropLocked(f *openFile) {
	c.recent.Remove(f.elem)
	delete(c.open, f.id)
	c.unrefLocked(f)
}

func (c *fileCache) unrefLocked(f *openFile) {
	f.refs--
	if f.refs == 0 {
		_ = f.reader.Close() // read only
	}
}

func (c *fileCache) release(f *openFile) {
	c.mu.Lock()
	c.unrefLocked(f)
	c.mu.Unlock()
	c.inUse.Done()
}

func (c *fileCache) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.open)
}

// forget closes a file that will be removed.
func (c *fileCache) forget(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.open[id]; f != nil {
		c.dropLocked(f)
	}
}

// forgetDropped closes the files that the log had before and has no more: the
// writer removes them, but what is open takes up the disk all the same.
func (c *fileCache) forgetDropped(before, now *manifestState) {
	for id := range before.carries {
		if now.carries[id] == nil {
			c.forget(id)
		}
	}
	for num, old := range before.topics {
		m := now.topics[num]
		for _, s := range old.segments { // they are dropped from the front
			if m != nil && len(m.segments) > 0 && m.segments[0].id.ID <= s.id.ID {
				break
			}
			c.forget(s.id.ID)
		}
	}
}

// close closes all files, and waits for those who still read.
func (c *fileCache) close() {
	c.mu.Lock()
	c.closed = true
	for _, f := range c.open {
		c.dropLocked(f)
	}
	c.mu.Unlock()
	c.inUse.Wait()
}

// read reads and verifies one block into buf.
func (c *fileCache) read(id segment.Identity, b segment.Block, buf *segment.Buffer) (raw []byte, err error) {
	err = c.with(id, b, func(r *segment.Reader) error {
		raw, err = r.Read(b, buf)
		return err
	})
	return raw, err
}

// readBody reads one block as it is stored into buf.
func (c *fileCache) readBody(id segment.Identity, b segment.Block, buf *segment.Buffer) (body segment.Body, err error) {
	err = c.with(id, b, func(r *segment.Reader) error {
		body, err = r.ReadBody(b, buf)
		return err
	})
	return body, err
}

// with calls fn with the file that b is in.
func (c *fileCache) with(id segment.Identity, b segment.Block, fn func(*segment.Reader) error) error {
	if lostBlock(b) {
		return &CorruptError{File: segment.FileName(id), Offset: b.Offset, Reason: "no block header that verifies"}
	}
	f, err := c.acquire(id)
	if err != nil {
		return err
	}
	defer c.release(f)
	return fn(f.reader)
}

// blocks lists a segment's blocks: from its footer where it has one that
// verifies, else from their headers. What is damaged is in the list as a block
// without bytes, so that the rest stays readable.
func (c *fileCache) blocks(id segment.Identity, m *segmentMeta) (segment.List, error) {
	f, err := c.acquire(id)
	if err != nil {
		return segment.List{}, err
	}
	defer c.release(f)
	end := m.durable
	if m.sealed {
		list, err := f.reader.Footer(m.footer, m.durable)
		if err == nil || corruption(err) == nil {
			return list, err
		}
		end = m.footer.Offset // the blocks may be whole; Verify reports the footer
	}
	w := blockWalk{m: m}
	if err := f.reader.WalkSalvage(end, w.block, w.damaged); err != nil {
		return segment.List{}, err
	}
	w.fillTo(m.last)
	return segment.NewList(w.blocks), nil
}

// blockWalk collects a segment's blocks, which have dense ids, and puts
// something in the place of those that are damaged.
type blockWalk struct {
	m      *segmentMeta
	blocks []segment.Block
	damage int64 // offset of the last damage
}

func (w *blockWalk) block(b segment.Block) error {
	if b.First < w.next() || b.Last > w.m.last || b.Last < b.First {
		return &CorruptError{File: segment.FileName(w.m.id), Offset: b.Offset, Reason: fmt.Sprintf("block of events %d to %d, want event %d", b.First, b.Last, w.next())}
	}
	w.fillTo(b.First - 1)
	w.blocks = append(w.blocks, b)
	return nil
}

func (w *blockWalk) damaged(c *segment.CorruptError) error {
	w.damage = c.Offset
	return nil
}

// next is the id that the next block begins with.
func (w *blockWalk) next() uint64 {
	if n := len(w.blocks); n > 0 {
		return w.blocks[n-1].Last + 1
	}
	return w.m.first
}

// fillTo puts a block without bytes in the place of missing events.
func (w *blockWalk) fillTo(last uint64) {
	if first := w.next(); first <= last {
		w.blocks = append(w.blocks, segment.Block{
			Topic: w.m.id.Topic, Incarnation: w.m.id.Incarnation, First: first, Last: last, Offset: w.damage,
			FirstPosition: w.m.firstPosition, LastPosition: w.m.lastPosition, MinTime: w.m.minTime, MaxTime: w.m.maxTime, Kinds: w.m.kinds,
		})
	}
}

func lostBlock(b segment.Block) bool { return b.Stored == 0 }

func blockEntry(segmentID uint64, b *segment.Block) index.Entry {
	return index.Entry{
		First: b.First, Last: b.Last, Segment: segmentID, Offset: b.Offset, Stored: b.Stored, Raw: b.Raw,
		FirstPosition: b.FirstPosition, LastPosition: b.LastPosition, MinTime: b.MinTime, MaxTime: b.MaxTime,
		Kinds: b.Kinds, Checksum: b.Checksum,
	}
}

func entryBlock(p place, n *index.Entry) segment.Block {
	return segment.Block{
		Topic: p.topic, Incarnation: p.incarnation, First: n.First, Last: n.Last,
		FirstPosition: n.FirstPosition, LastPosition: n.LastPosition, MinTime: n.MinTime, MaxTime: n.MaxTime,
		Kinds: n.Kinds, Offset: n.Offset, Stored: n.Stored, Raw: n.Raw, Checksum: n.Checksum,
	}
}

// spanEntry stands for a segment whose blocks are not loaded.
func spanEntry(m *segmentMeta) index.Entry {
	return index.Entry{
		First: m.first, Last: m.last, Segment: m.id.ID, FirstPosition: m.firstPosition, LastPosition: m.lastPosition,
		MinTime: m.minTime, MaxTime: m.maxTime, Kinds: m.kinds, Span: true,
	}
}

// segmentBlocks lists a segment's blocks, from the index where it has them.
func (e *Engine) segmentBlocks(t *topicState, m *segmentMeta) ([]segment.Block, error) {
	if v := t.disk.Load(); v != nil && v.index != nil {
		var blocks []segment.Block
		v.index.Snapshot().Ascend(m.first, func(n index.Entry) bool {
			if n.Segment != m.id.ID || n.Span {
				return false
			}
			blocks = append(blocks, entryBlock(t.place, &n))
			return true
		})
		if n := len(blocks); n > 0 && blocks[0].First == m.first && blocks[n-1].Last == m.last {
			return blocks, nil
		}
	}
	id := m.id
	id.UUID = e.uuid
	list, err := e.files.blocks(id, m)
	return list.Blocks(), err
}

// listedBlocks is a segment's list of blocks for the index.
type listedBlocks struct {
	segment.List
	segment uint64
}

// Entry implements [index.Blocks].
func (l listedBlocks) Entry(i int) index.Entry {
	b := l.Block(i)
	return blockEntry(l.segment, &b)
}

// expand loads a segment's blocks into the topic's index, where a span stands
// for them.
func (v *diskView) expand(m *segmentMeta, list segment.List) error {
	if err := v.index.Expand(m.id.ID, listedBlocks{list, m.id.ID}); err != nil {
		return &CorruptError{File: segment.FileName(m.id), Reason: err.Error()}
	}
	return nil
}

// corruption returns err as a *CorruptError where it, or what it wraps, says
// that stored bytes do not verify; else nil.
func corruption(err error) *CorruptError {
	var c *CorruptError
	var w *wal.CorruptError
	var s *segment.CorruptError
	switch {
	case errors.As(err, &c):
		return c
	case errors.As(err, &w):
		return &CorruptError{File: w.File, Offset: w.Offset, Reason: w.Reason}
	case errors.As(err, &s):
		return &CorruptError{File: s.File, Offset: s.Offset, FirstID: EventID(s.First), LastID: EventID(s.Last), Reason: s.Reason}
	}
	return nil
}

func isNewerVersion(err error) bool {
	return errors.Is(err, wal.ErrVersion) || errors.Is(err, segment.ErrVersion) || errors.Is(err, ErrVersion)
}

// readError says what a failed read of events first to last of a topic means.
func (e *Engine) readError(t *topicState, id segment.Identity, first, last uint64, err error) error {
	select {
	case <-e.closed:
		return ErrClosed
	default:
	}
	if low := t.low.Load(); first < low {
		return &CompactedError{First: EventID(low)} // and its file was removed
	}
	if errors.Is(err, errNotExist) {
		err = &CorruptError{File: segment.FileName(id), Reason: "file is missing"}
	}
	if c := corruption(err); c != nil {
		return &CorruptError{Topic: t.name.name, File: c.File, Offset: c.Offset, FirstID: EventID(first), LastID: EventID(last), Reason: c.Reason}
	}
	if isNewerVersion(err) {
		return fmt.Errorf("%w: %w", ErrVersion, err)
	}
	return classify(err)
}
