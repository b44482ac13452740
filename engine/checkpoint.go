package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

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
	checkpointFull                    // the WAL is full: even if all that is left to do is to give up its files
)

// checkpointCut is the state that a checkpoint makes durable.
type checkpointCut struct {
	start    wal.Start
	position uint64
	topics   []topicCut
	cursors  map[cursorKey]cursor.Entry
}

// cursorKey names one cursor.
type cursorKey struct {
	topic    uint64
	consumer string
}

type topicCut struct {
	t           *topicState
	old         *topicMeta // what the manifest knows; nil: nothing
	chunks      []chunk
	latest, low uint64
}

// checkpoint runs one checkpoint. ErrNoSpace leaves the log as it was, to be
// tried again; other errors stop it.
func (e *Engine) checkpoint(mode checkpointMode) error {
	e.checkpointMu.Lock()
	defer e.checkpointMu.Unlock()
	if e.ended {
		return ErrClosed
	}
	return e.checkpointLocked(mode)
}

func (e *Engine) checkpointLocked(mode checkpointMode) error {
	if err := e.hasFailed(); err != nil {
		return err // what a failed checkpoint has left behind is for the next open
	}
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
		if e.nothingToDo(cut, mode) {
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
		w.orphan()
		e.uncut(cut)
		return err
	}
	e.install(w, cut)
	e.needsRecovery.Store(false)
	if err := e.rotateGrown(); err != nil {
		return err // the checkpoint stands: readers know of it, and its files stay
	}
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
	newer := e.dirtyCursors
	e.dirtyCursors = c.cursors
	for _, entry := range newer {
		e.markCursorLocked(entry)
	}
}

func (e *Engine) nothingToDo(c *checkpointCut, mode checkpointMode) bool {
	return len(c.topics) == 0 && len(c.cursors) == 0 && len(e.writers.forget) == 0 &&
		(c.start == e.manifest.state.checkpoint || mode != checkpointFull && e.unchanged())
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
	w.editCursors(cut.cursors)
	w.editCarries()
	for _, id := range e.writers.orphans {
		w.edit.tombstone(id)
	}
	for _, id := range e.writers.forget {
		w.edit.forget(id)
	}
	if mode == checkpointRecovery {
		if err := e.rotateManifest(w.edit.b, true); err != nil {
			return err
		}
		e.manifest.state.take(w.topics) // so that it and readers share them
		return nil
	}
	return e.appendEdit(w)
}

// editCursors writes where each cursor that moved is now. A topic's creation
// and its cursors come in one record order, so the topic is in the manifest or
// in this edit.
func (w *flush) editCursors(moved map[cursorKey]cursor.Entry) {
	if len(moved) == 0 {
		return
	}
	known := make(map[uint64]bool, len(w.topics))
	for i := range w.topics {
		known[w.topics[i].meta.topic] = true
	}
	keys := slices.SortedFunc(maps.Keys(moved), func(a, b cursorKey) int {
		return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.consumer, b.consumer))
	})
	for _, k := range keys {
		if known[k.topic] || w.state.topics[k.topic] != nil {
			w.edit.cursor(moved[k])
		}
	}
}

// appendEdit writes an edit to the manifest, and then applies it: what it says
// of topics is known, and so is not taken apart again.
func (e *Engine) appendEdit(w *flush) error {
	m := e.manifest
	if err := m.append(frameEdit, w.edit.b); err != nil {
		var s *syncError
		if errors.Is(err, vfs.ErrNoSpace) && !errors.As(err, &s) {
			return noSpace(err)
		}
		return &fatalError{err}
	}
	for _, part := range [][]byte{w.edit.b[:w.topicsFrom], w.edit.b[w.topicsTo:]} {
		if err := m.state.apply(part); err != nil {
			panic("engine: own manifest edit does not apply: " + err.Error())
		}
	}
	m.state.take(w.topics)
	e.noteManifest(m)
	return nil
}

// take makes topics part of s as they were flushed: what apply makes of the edit
// that tells of them.
func (s *manifestState) take(topics []flushedTopic) {
	for i := range topics {
		f := &topics[i]
		s.topics[f.meta.topic] = f.meta
		for _, dropped := range f.dropped {
			s.tombstones[dropped.id.ID] = dropped.id
		}
	}
}

// rotateGrown replaces the manifest where its edits have outgrown its snapshot.
func (e *Engine) rotateGrown() error {
	m := e.manifest
	if !m.wantsRotation() {
		return nil
	}
	if free, err := e.env.FS.Free(); err != nil || free <= 8*m.size {
		return nil //nolint:nilerr // another time
	}
	return e.rotateManifest(nil, false)
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
	e.noteManifest(m)
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
	w.close() // all is synced
	e.writers.next = max(e.writers.next, w.nextID)
	e.writers.used = w.used
	e.writers.orphans, e.writers.forget = nil, nil
	e.stats.segmentBytes.Store(e.manifest.state.bytes())
	e.publishMu.Lock()
	for i := range w.topics {
		f := &w.topics[i]
		t := f.cut.t
		t.disk.Store(e.viewAfter(t, f))
		e.cutTailLocked(t, f.flushed)
	}
	e.publishMu.Unlock()
	for i := range w.topics {
		e.forgetSealed(&w.topics[i])
	}
}

// viewAfter is what readers see of a topic after a checkpoint.
func (e *Engine) viewAfter(t *topicState, f *flushedTopic) *diskView {
	meta := f.meta
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

// forgetSealed has the index forget the blocks of segments that this checkpoint
// sealed: their footers have them, in less memory, should they be read. Readers
// know them to be sealed by now.
func (e *Engine) forgetSealed(f *flushedTopic) {
	if len(f.blocks) == 0 {
		return
	}
	v := f.cut.t.disk.Load()
	for _, s := range slices.Backward(v.meta.segments) {
		if s.last < f.blocks[0].First {
			return
		}
		if s.sealed {
			v.index.Collapse(s.id.ID)
		}
	}
}

// cleanUp frees the WAL below the cut and unlinks what was dropped. All of it
// can be done later just as well.
func (e *Engine) cleanUp(cut *checkpointCut) error {
	if err := e.wal.Free(cut.start); err != nil {
		return &fatalError{fmt.Errorf("free write-ahead log: %w", err)}
	}
	e.askToRemove()
	return nil
}

// askToRemove has the files removed that the manifest has dropped. The caller
// holds checkpointMu.
func (e *Engine) askToRemove() {
	if e.env.Inline || e.ended {
		e.removeDropped()
		return
	}
	select {
	case e.unlink <- struct{}{}:
	default:
	}
}

// removeDropped removes the files that the manifest has dropped. The caller
// holds checkpointMu.
func (e *Engine) removeDropped() {
	e.writers.forget = append(e.writers.forget, e.removeFiles(e.droppedFiles(), nil)...)
}

// unlinkDropped removes files beside checkpoints: those of a large topic take
// seconds, in which the tails would fill up.
func (e *Engine) unlinkDropped() {
	for {
		select {
		case <-e.stop:
			return
		case <-e.unlink:
		}
		e.checkpointMu.Lock()
		dropped := e.droppedFiles()
		e.checkpointMu.Unlock()
		gone := e.removeFiles(dropped, e.stop)
		e.checkpointMu.Lock()
		e.writers.forget = append(e.writers.forget, gone...)
		e.checkpointMu.Unlock()
	}
}

// droppedFiles are the tombstones whose files may still be there. The caller
// holds checkpointMu.
func (e *Engine) droppedFiles() (files []segment.Identity) {
	s := e.manifest.state
	for _, num := range sortedKeys(s.tombstones) {
		if !slices.Contains(e.writers.forget, num) {
			id := s.tombstones[num]
			id.UUID = s.uuid
			files = append(files, id)
		}
	}
	return files
}

// removeFiles unlinks segment and carry files, until stop is closed, and returns
// those whose absence is durable: the manifest forgets them with a later edit.
func (e *Engine) removeFiles(files []segment.Identity, stop <-chan struct{}) (gone []uint64) {
	for _, id := range files {
		if isClosed(stop) {
			break
		}
		e.files.forget(id.ID)
		err := e.env.FS.Remove(segment.FileName(id))
		if err == nil || errors.Is(err, errNotExist) {
			gone = append(gone, id.ID)
		}
		if err == nil {
			e.stats.unlinked.Add(1)
		}
	}
	if len(gone) > 0 && (e.env.FS.SyncDir(segmentDir) != nil || e.env.FS.SyncDir(".") != nil) {
		return nil
	}
	return gone
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// segmentWriters is what checkpoints know beyond the manifest. Guarded by
// checkpointMu.
type segmentWriters struct {
	next        uint64 // lowest segment id that no file has
	manifestGen uint64 // highest generation that a file has
	clean       bool   // files of earlier processes may be continued
	known       map[uint64]bool
	orphans     []segment.Identity // files that no manifest knows, to be dropped
	forget      []uint64           // tombstones whose files are gone for good
	// used is how many parts of topics are in each carry file, by the manifest;
	// nil: not counted yet.
	used map[uint64]int
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

// keepSpare makes files of the write-ahead log before somebody has to wait for
// one. Where that fails, as on a full disk, it pauses: whoever needs a file
// tries for himself.
func (e *Engine) keepSpare() {
	for {
		select {
		case <-e.stop:
			return
		case <-e.spare:
		}
		if err := e.wal.Prepare(); err != nil {
			e.log("cannot make a spare file for the write-ahead log", "cause", err)
			select {
			case <-e.stop:
				return
			case <-time.After(sparePause):
			}
		}
	}
}

const sparePause = time.Second

// maybePrepare asks for a spare file of the write-ahead log where it is time.
func (e *Engine) maybePrepare() {
	if e.env.Inline || !e.wal.NeedsSpare() {
		return
	}
	select {
	case e.spare <- struct{}{}:
	default:
	}
}

// maybeCheckpoint starts a checkpoint where the tails or the WAL are half
// full.
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

func (e *Engine) runCheckpoints() {
	for {
		select {
		case <-e.stop:
			return
		case <-e.kick:
			e.checkpointInBackground()
		}
	}
}

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
