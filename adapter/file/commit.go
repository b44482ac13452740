package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seglog/seglog/engine"
	"github.com/seglog/seglog/internal/vfs"
)

// The commit pipeline. Callers encode their events outside any lock, and take
// ids and a place in the group that gathers under committer.mu. The first one
// to come leads: it waits for the group before to end, writes each topic's
// lines in one write, syncs each file once, shows them to readers, and wakes
// the others.

// group is what is written, synced and shown together.
type group struct {
	writes  []*write // one a topic, in the order they came in
	bytes   int
	callers atomic.Int64
	done    chan struct{}
	err     error // valid once done is closed
}

// write is one topic's part of a group.
type write struct {
	t     *topic
	first engine.EventID
	buf   []byte // whole lines
	ends  []int  // of the lines in buf

	// Set by the leader.
	at      int64 // offset of buf
	h       *handle
	created bool
	sum     string // of buf
}

type committer struct {
	mu       sync.Mutex // guards the fields below
	group    *group     // that gathers; nil: none
	closed   bool
	failed   error   // the cause, once the log has failed
	spare    encoded // of a former write, to be used again
	inFlight sync.WaitGroup

	// Leaders only.
	crowd     int64         // callers of the last group, and of the one behind it
	syncTakes time.Duration // a running mean
}

const (
	groupBytes  = 8 << 20 // a group that is larger takes no more
	groupTopics = 96      // the journal's frame has room for so many
	keptBytes   = 1 << 20 // buffers that are larger are not kept
	// announcedTopics is how many unsynced files the journal tells of.
	announcedTopics = 200
	// parallelSyncs is how many files of a group are synced at a time.
	parallelSyncs = 8
	// gatherIdle is how long a leader waits for one more caller to come back.
	gatherIdle = 15 * time.Microsecond
)

// Append adds one event and returns its id once it is durable under the log's
// sync policy.
func (l *Log) Append(ctx context.Context, name engine.Topic, event engine.Event, opts ...engine.AppendOption) (engine.EventID, error) {
	_, last, err := l.AppendBatch(ctx, name, []engine.Event{event}, opts...)
	return last, err
}

// AppendBatch adds events with consecutive ids, all or nothing.
func (l *Log) AppendBatch(ctx context.Context, name engine.Topic, events []engine.Event, opts ...engine.AppendOption) (first, last engine.EventID, err error) {
	if first, err = l.append(ctx, name, events, opts); err != nil {
		return 0, 0, fmt.Errorf("append to topic %s: %w", name, classify(err))
	}
	if len(events) == 0 {
		return 0, 0, nil
	}
	return first, first + engine.EventID(len(events)) - 1, nil
}

func (l *Log) append(ctx context.Context, name engine.Topic, events []engine.Event, opts []engine.AppendOption) (engine.EventID, error) {
	if err := l.readyFor(ctx, name); err != nil {
		return 0, err
	}
	if l.opts.ReadOnly {
		return 0, engine.ErrReadOnly
	}
	if err := l.check(events); err != nil || len(events) == 0 {
		return 0, err
	}
	t := l.topic(name)
	if v, err := l.snapshot(t); err != nil {
		return 0, err
	} else if v.broken != nil {
		return 0, v.broken
	}
	if err := l.canHaveFile(t); err != nil {
		return 0, err
	}
	buf := buffers.Get().(*encoded)
	defer buf.free()
	buf.encode(events)
	g, first, leads, err := l.join(ctx, t, buf, engine.NewAppendConfig(opts))
	if err != nil {
		return 0, err
	}
	defer l.c.inFlight.Done()
	if leads {
		return first, l.lead(g)
	}
	select {
	case <-g.done:
		return first, g.err
	case <-ctx.Done():
		return 0, fmt.Errorf("%w; the events may or may not be kept", ctx.Err())
	}
}

// check refuses what is wrong whatever the log holds.
func (l *Log) check(events []engine.Event) error {
	total := 0
	for i := range events {
		e := &events[i]
		size := eventBytes(e)
		if size > l.opts.MaxEventBytes {
			return fmt.Errorf("event %d of %d: %w: %d bytes, the limit is %d", i+1, len(events), engine.ErrTooLarge, size, l.opts.MaxEventBytes)
		}
		if total += size; total > l.opts.MaxCommitBytes {
			return fmt.Errorf("%w: more than %d bytes in one batch", engine.ErrTooLarge, l.opts.MaxCommitBytes)
		}
		if err := e.Validate(); err != nil {
			return fmt.Errorf("event %d of %d: %w", i+1, len(events), err)
		}
	}
	return nil
}

// encoded is events without their ids, back to back.
type encoded struct {
	buf  []byte
	ends []int
}

var buffers = sync.Pool{New: func() any { return new(encoded) }}

func (e *encoded) free() {
	if cap(e.buf) <= keptBytes {
		buffers.Put(e)
	}
}

func (e *encoded) encode(events []engine.Event) {
	e.buf, e.ends = e.buf[:0], e.ends[:0]
	for i := range events {
		e.buf = appendEvent(e.buf, &events[i])
		e.ends = append(e.ends, len(e.buf))
	}
}

// join adds encoded events to the group that gathers, with their ids. Whoever
// opens a group leads it. Without an error, the caller is in flight.
func (l *Log) join(ctx context.Context, t *topic, e *encoded, c engine.AppendConfig) (g *group, first engine.EventID, leads bool, err error) {
	for {
		g, first, leads, err = l.tryJoin(t, e, c)
		again, ok := errors.AsType[*notYet](err)
		if !ok {
			return g, first, leads, err
		}
		select {
		case <-again.after.done:
		case <-ctx.Done():
			return nil, 0, false, ctx.Err()
		}
	}
}

// notYet says that events cannot join before a group has ended.
type notYet struct{ after *group }

func (*notYet) Error() string { return "not yet" }

func (l *Log) tryJoin(t *topic, e *encoded, conf engine.AppendConfig) (*group, engine.EventID, bool, error) {
	c := &l.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, 0, false, engine.ErrClosed
	}
	if c.failed != nil {
		return nil, 0, false, c.failed
	}
	if g := c.group; g != nil && (g.bytes > groupBytes || len(g.writes) >= groupTopics) {
		return nil, 0, false, &notYet{g}
	}
	t.mu.Lock()
	durable := t.view.latest
	t.mu.Unlock()
	if t.groups == 0 {
		t.assigned = durable
	}
	if want := conf.ExpectLatest; want != nil && *want != t.assigned {
		if t.assigned != durable && c.group != nil {
			return nil, 0, false, &notYet{c.group} // what it conflicts with is not durable yet
		}
		return nil, 0, false, fmt.Errorf("expected latest %d: %w", *want, &engine.ConflictError{Latest: t.assigned})
	}
	if uint64(lastID-t.assigned) < uint64(len(e.ends)) {
		return nil, 0, false, fmt.Errorf("%w: no event ids are left", engine.ErrTooLarge)
	}
	leads := c.group == nil
	if leads {
		c.group = &group{done: make(chan struct{})}
	}
	first := c.addLocked(t, e)
	c.inFlight.Add(1)
	return c.group, first, leads, nil
}

// addLocked gives events their ids.
func (c *committer) addLocked(t *topic, e *encoded) engine.EventID {
	g, w := c.group, c.writeToLocked(t)
	first := t.assigned + 1
	size, from := len(w.buf), 0
	for _, end := range e.ends {
		t.assigned++
		w.buf = appendLine(w.buf, t.assigned, e.buf[from:end])
		w.ends = append(w.ends, len(w.buf))
		from = end
	}
	g.bytes += len(w.buf) - size
	g.callers.Add(1)
	return first
}

// writeToLocked returns the topic's part of the group.
func (c *committer) writeToLocked(t *topic) *write {
	g := c.group
	if t.write != nil && t.writeIn == g {
		return t.write
	}
	w := &write{t: t, first: t.assigned + 1, buf: c.spare.buf[:0], ends: c.spare.ends[:0]}
	c.spare = encoded{}
	t.write, t.writeIn = w, g
	t.groups++
	g.writes = append(g.writes, w)
	return w
}

// lead commits g, which the caller has opened.
func (l *Log) lead(g *group) error {
	c := &l.c
	l.writing.Lock()
	defer l.writing.Unlock()
	select {
	case <-g.done: // with the group before it, for want of space
		return g.err
	default:
	}
	l.gather(g)
	c.mu.Lock()
	c.group = nil
	err := c.failed
	c.mu.Unlock()
	if err == nil {
		err = l.commitLocked(g)
	}
	c.mu.Lock()
	next := c.group
	c.endLocked(g, err)
	if next != nil && errors.Is(err, engine.ErrNoSpace) {
		c.endLocked(next, err) // its ids are behind those that were not used
		c.group = nil
	}
	c.mu.Unlock()
	c.crowd = g.callers.Load()
	if next != nil {
		c.crowd += next.callers.Load()
	}
	return err
}

// endLocked wakes those who wait for a group.
func (c *committer) endLocked(g *group, err error) {
	for _, w := range g.writes {
		w.t.groups--
		if w.t.write == w {
			w.t.write, w.t.writeIn = nil, nil
		}
		if cap(w.buf) <= keptBytes {
			c.spare = encoded{w.buf, w.ends}
		}
		w.buf, w.ends = nil, nil
	}
	g.err = err
	close(g.done)
}

// gather lets the callers that the last leader woke come back before the group
// is closed, for as long as they do come: else a crowd splits into two halves
// that take turns, and every append waits for two groups.
func (l *Log) gather(g *group) {
	c := &l.c
	if l.env.Inline || c.crowd <= 1 {
		return
	}
	start := time.Now()
	var seen int64
	var since time.Duration
	for {
		n := g.callers.Load()
		if n >= c.crowd {
			return
		}
		elapsed := time.Since(start)
		if n != seen {
			seen, since = n, elapsed
		}
		if elapsed-since > gatherIdle || elapsed > 2*c.syncTakes {
			return
		}
		runtime.Gosched()
	}
}

// commitLocked writes g, syncs it as the policy says, and shows it. The caller
// holds l.writing. An error other than ErrNoSpace stops the log.
func (l *Log) commitLocked(g *group) error {
	weak := l.opts.Sync != engine.SyncAlways
	err := l.writeGroup(g, weak)
	if err == nil && !weak {
		start := time.Now()
		err = l.syncGroup(g)
		l.c.syncTakes += (time.Since(start) - l.c.syncTakes) / 8
	}
	for _, w := range g.writes {
		if w.h != nil {
			l.files.release(w.h)
		}
	}
	if err != nil {
		return err
	}
	// For those who follow. Where it is lost, they see g with the next group.
	if err := l.journal.write(g.frame(stateOpen, weak)); err != nil && !errors.Is(err, vfs.ErrNoSpace) {
		return l.fail(g, err)
	}
	for _, w := range g.writes {
		l.show(w, weak)
	}
	return nil
}

// writeGroup tells the journal and writes the lines. Nothing of g is left where
// there is no space.
func (l *Log) writeGroup(g *group, weak bool) error {
	err := l.prepare(g)
	if err == nil {
		err = l.announce(g, weak)
	}
	if err != nil {
		return l.takeBack(g, err)
	}
	for _, w := range g.writes {
		if _, err := w.h.WriteAt(w.buf, w.at); err != nil {
			return l.takeBack(g, fmt.Errorf("write %s: %w", topicFile(w.h.stem), err))
		}
	}
	return nil
}

// prepare opens the files, which it makes where they are missing, and cuts torn
// writes off.
func (l *Log) prepare(g *group) error {
	for _, w := range g.writes {
		t := w.t
		t.mu.Lock()
		stem, v := t.stem, t.view
		t.mu.Unlock()
		var err error
		if w.h, w.created, err = l.openForAppend(t, stem, &v); err != nil {
			return err
		}
		w.at = v.end
		if v.unended {
			w.buf = append([]byte{'\n'}, w.buf...)
			for i := range w.ends {
				w.ends[i]++
			}
		}
		if v.size > v.end {
			if err := cutOff(w.h, v.end); err != nil {
				return err
			}
		}
	}
	return nil
}

// cutOff removes a torn write, durably: what is found behind a topic's end must
// be what the journal says.
func cutOff(h *handle, end int64) error {
	if err := h.Truncate(end); err != nil {
		return fmt.Errorf("cut torn write off %s: %w", topicFile(h.stem), err)
	}
	if err := h.SyncData(); err != nil {
		return &syncError{fmt.Errorf("cut torn write off %s: %w", topicFile(h.stem), err)}
	}
	return nil
}

func (l *Log) openForAppend(t *topic, stem string, v *view) (h *handle, created bool, err error) {
	if stem == "" {
		stem = l.stemFor(t)
		if stem[:min(len(stem), len(hashed))] == hashed {
			if err := l.writeHead(stem, head{Topic: t.name.String()}); err != nil {
				return nil, false, err
			}
		}
		t.mu.Lock()
		t.stem = stem
		t.mu.Unlock()
	}
	if v.size > 0 {
		h, err := l.files.acquire(stem)
		return h, false, err
	}
	h, err = l.files.create(stem)
	if errors.Is(err, fs.ErrExist) { // empty
		h, err = l.files.acquire(stem)
		return h, true, err
	}
	return h, true, err
}

// announce tells the journal where g goes, and what it is. That is synced before
// g is written: what is found behind a topic's end after a crash is then either
// g, which has a checksum there, or not ours.
//
// A log that does not sync its appends does it where a file that was synced is
// written to: then the next open knows from where on it may be torn.
func (l *Log) announce(g *group, weak bool) error {
	fr := g.frame(stateWriting, weak)
	var unsynced []string
	if weak {
		if unsynced = l.firstUnsynced(g); len(unsynced) > 0 {
			fr.Unsynced = l.announced
		}
	}
	err := l.journal.write(fr)
	if err == nil && (!weak || !l.journaled || len(unsynced) > 0) {
		err = l.journal.sync()
	}
	if err != nil {
		for _, stem := range unsynced {
			delete(l.announced, stem)
		}
		return err
	}
	l.journaled = true
	return nil
}

// firstUnsynced adds the files to l.announced that are in g and not there yet,
// and returns their stems. Beyond announcedTopics, files do without: what is
// torn in them may have to be taken for corruption.
func (l *Log) firstUnsynced(g *group) (stems []string) {
	for _, w := range g.writes {
		if _, known := l.announced[w.h.stem]; !known && len(l.announced) < announcedTopics {
			l.announced[w.h.stem] = w.at
			stems = append(stems, w.h.stem)
		}
	}
	return stems
}

// frame is what the journal says of g.
func (g *group) frame(state string, weak bool) frame {
	fr := frame{State: state, Weak: weak}
	for _, w := range g.writes {
		if w.h != nil {
			fr.Writes = append(fr.Writes, w.entry())
		}
	}
	return fr
}

// entry is what the journal says of w.
func (w *write) entry() journalWrite {
	if w.sum == "" {
		w.sum = sum(w.buf)
	}
	return journalWrite{
		Topic: w.t.name.String(), Stem: w.h.stem, At: w.at, Bytes: int64(len(w.buf)), Sum: w.sum, First: uint64(w.first),
	}
}

// syncGroup makes g durable.
func (l *Log) syncGroup(g *group) error {
	if err := l.syncFiles(g.writes); err != nil {
		return l.fail(g, err)
	}
	if slices.ContainsFunc(g.writes, func(w *write) bool { return w.created }) {
		if err := l.fs.SyncDir(topicsDir); err != nil {
			return l.fail(g, fmt.Errorf("sync directory %s: %w", topicsDir, err))
		}
	}
	return nil
}

// syncFiles syncs each file, several at a time: the file system has fewer
// commits of its own to make then.
func (l *Log) syncFiles(writes []*write) error {
	if len(writes) == 1 || l.env.Inline {
		for _, w := range writes {
			if err := w.sync(); err != nil {
				return err
			}
		}
		return nil
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, min(len(writes), parallelSyncs))
	for i := range errs {
		wg.Go(func() {
			for n := next.Add(1); errs[i] == nil && n <= int64(len(writes)); n = next.Add(1) {
				errs[i] = writes[n-1].sync()
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (w *write) sync() error {
	if err := w.h.SyncData(); err != nil {
		return fmt.Errorf("sync %s: %w", topicFile(w.h.stem), err)
	}
	return nil
}

// show makes a topic's part of a group visible.
func (l *Log) show(w *write, weak bool) {
	t := w.t
	t.mu.Lock()
	defer t.mu.Unlock()
	v := &t.view
	if v.latest < v.first {
		v.first = w.first
	}
	from := 0
	if w.buf[0] == '\n' {
		from = 1
	}
	for i, end := range w.ends {
		v.addMark(w.first+engine.EventID(i), w.at+int64(from))
		from = end
	}
	v.latest = w.first + engine.EventID(len(w.ends)) - 1
	v.end = w.at + int64(len(w.buf))
	v.size, v.unended = v.end, false
	if weak {
		l.dirtyDir = l.dirtyDir || w.created
		if !v.unsynced {
			v.unsynced = true
			l.dirty = append(l.dirty, t)
		}
	}
	t.wakeLocked()
}

// takeBack undoes what was written of g, if it is that there is no space. Any
// other error, that of a sync, and one in doing that, stop the log.
func (l *Log) takeBack(g *group, cause error) error {
	if _, ok := errors.AsType[*syncError](cause); ok || !errors.Is(cause, vfs.ErrNoSpace) {
		return l.fail(g, cause)
	}
	for _, w := range g.writes {
		if w.h == nil {
			continue
		}
		err := w.h.Truncate(w.at)
		if err == nil {
			err = w.h.SyncData()
		}
		if err != nil {
			return l.fail(g, fmt.Errorf("%w; take it back from %s: %w", cause, topicFile(w.h.stem), err))
		}
		w.t.mu.Lock()
		w.t.view.size = max(w.at, w.t.view.end)
		w.t.mu.Unlock()
	}
	return fmt.Errorf("%w: %w", engine.ErrNoSpace, cause)
}

// fail stops the log, and leaves word of it for the next open: after a failed
// sync the page cache may show what the disk has not.
func (l *Log) fail(g *group, cause error) error {
	_ = l.journal.write(g.frame(stateFailed, l.opts.Sync != engine.SyncAlways)) // what can be done; the cause is reported
	return l.c.fail(cause)
}

// fail makes every later change fail with the first cause.
func (c *committer) fail(cause error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed == nil {
		c.failed = fmt.Errorf("%w: %w", engine.ErrFailed, cause)
	}
	return c.failed
}

func (c *committer) hasFailed() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failed
}

// shut refuses new appends and waits for those in flight.
func (c *committer) shut() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.inFlight.Wait()
}

// syncDirtyLocked makes durable what was shown before it was synced. The caller
// holds l.writing.
func (l *Log) syncDirtyLocked() error {
	for _, t := range l.dirty {
		if err := l.syncTopic(t); err != nil {
			return l.fail(&group{}, err)
		}
	}
	l.dirty = l.dirty[:0]
	clear(l.announced)
	if l.dirtyDir {
		if err := l.fs.SyncDir(topicsDir); err != nil {
			return l.fail(&group{}, fmt.Errorf("sync directory %s: %w", topicsDir, err))
		}
		l.dirtyDir = false
	}
	return nil
}

func (l *Log) syncTopic(t *topic) error {
	t.mu.Lock()
	stem, unsynced := t.stem, t.view.unsynced
	t.mu.Unlock()
	if !unsynced {
		return nil
	}
	h, err := l.files.acquire(stem)
	if err != nil {
		return err
	}
	defer l.files.release(h)
	if err := h.SyncData(); err != nil {
		return fmt.Errorf("sync %s: %w", topicFile(stem), err)
	}
	t.mu.Lock()
	t.view.unsynced = false
	t.mu.Unlock()
	return nil
}

// Commit is refused: several topics' files cannot be made to change at once, or
// not at all, where others read them as they are.
func (l *Log) Commit(ctx context.Context, _ *engine.Batch) (engine.Committed, error) {
	err := l.ready(ctx)
	if err == nil {
		err = errors.ErrUnsupported
	}
	return engine.Committed{}, fmt.Errorf("commit: %w", err)
}
