package engine

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/seglog/seglog/cursor"
	"github.com/seglog/seglog/internal/vfs"
	"github.com/seglog/seglog/wal"
)

// A log that is opened read-only changes no byte. Beside a running writer it
// follows: it reads the frames that the WAL proves durable, and the manifest
// again whenever a frame says that it has grown. Where no writer runs, it reads
// the WAL to its end, damage included.

// A follower looks for news every followEvery, and less often while there is
// none, down to followIdle.
const (
	followEvery = 5 * time.Millisecond
	followIdle  = 40 * time.Millisecond
)

// follower is the state of a read-only log. Guarded by its mutex.
type follower struct {
	mu       sync.Mutex
	wal      *wal.Follower // nil: the whole WAL was read, and nobody writes
	manifest *loadedManifest
	failed   error
	broken   chan struct{} // closed once failed is set
	wake     []*topicState
	// applied is the end of the frames that the cursors know of.
	applied wal.LSN
	// newest is the highest generation of the WAL when the whole of it was read.
	newest uint64
}

// failLocked ends following for good.
func (f *follower) failLocked(err error) {
	if f.failed == nil && err != nil {
		f.failed = classify(err)
		close(f.broken)
	}
}

// end is closed once following has failed; nil for a log that is written.
func (f *follower) end() <-chan struct{} {
	if f == nil {
		return nil
	}
	return f.broken
}

// close gives the WAL back. Who polls from now on gets ErrClosed.
func (f *follower) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failed = ErrClosed
	if f.wal != nil {
		_ = f.wal.Close() // read only
		f.wal = nil
	}
}

// openReadOnly reads the log as it is.
func (e *Engine) openReadOnly() error {
	e.follower = &follower{broken: make(chan struct{})}
	entries, err := e.env.FS.ReadDir(".")
	if err != nil {
		return fmt.Errorf("list files: %w", err)
	}
	if len(manifestGens(entries)) == 0 {
		l, _, err := e.findManifest(entries)
		if err != nil || l != nil {
			return err
		}
		return fmt.Errorf("there is no log: %w", errNotExist)
	}
	e.follower.mu.Lock()
	defer e.follower.mu.Unlock()
	if err := e.reload(); err != nil {
		return err
	}
	if !e.env.Inline {
		e.goroutines.Go(e.follow)
	}
	return nil
}

// follow wakes subscribers when there is news.
func (e *Engine) follow() {
	pause := followEvery
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		select {
		case <-e.stop:
			return
		case <-timer.C:
		}
		before := e.visible.Load()
		if err := e.poll(); err != nil {
			e.log("cannot follow", "cause", err)
			return // for good: who reads hears of it
		}
		pause = min(2*pause, followIdle)
		if e.visible.Load() != before {
			pause = followEvery
		}
		timer.Reset(pause)
	}
}

// poll brings a read-only log up to date.
func (e *Engine) poll() error {
	f := e.follower
	if f == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failed == nil {
		f.failLocked(e.pollLocked())
	}
	for _, t := range f.wake {
		t.changed.wake()
	}
	f.wake = f.wake[:0]
	return f.failed
}

func (e *Engine) pollLocked() error {
	f := e.follower
	if f.wal == nil {
		same, err := e.undisturbed()
		if err != nil || same {
			return err
		}
		return e.reload()
	}
	news, err := e.readFrames()
	if err != nil || news {
		return err
	}
	// The last frame is only proven by the next one; when the writer is gone,
	// none will come.
	if busy, err := e.writerRuns(); err != nil || busy {
		return err
	}
	return e.reload()
}

// writerRuns says whether a process has the log open for writing.
func (e *Engine) writerRuns() (bool, error) {
	busy, err := e.env.FS.Locked(lockName)
	if err != nil {
		return false, fmt.Errorf("look for a writer: %w", err)
	}
	return busy, nil
}

// undisturbed says whether nobody has written, or begun to, since the whole WAL
// was read.
func (e *Engine) undisturbed() (bool, error) {
	busy, err := e.writerRuns()
	if err != nil || busy {
		return false, err
	}
	newest, err := wal.Newest(e.walConfig())
	if err != nil {
		return false, fmt.Errorf("look for a writer: %w", err)
	}
	return newest == e.follower.newest, nil
}

// reload reads manifest and WAL from the start, into the topics that are there
// already. It is tried again where a writer is faster.
func (e *Engine) reload() error {
	var err error
	for range 10 {
		if err = e.tryReload(); !errors.Is(err, wal.ErrRecycled) && !errors.Is(err, errNotExist) {
			return err
		}
	}
	return err
}

func (e *Engine) tryReload() error {
	f := e.follower
	busy, err := e.writerRuns()
	if err != nil {
		return err
	}
	entries, err := e.env.FS.ReadDir(".")
	if err != nil {
		return fmt.Errorf("list files: %w", err)
	}
	l, _, err := e.findManifest(entries)
	if err != nil {
		return err
	}
	if l == nil {
		return fmt.Errorf("there is no log: %w", errNotExist)
	}
	if f.manifest == nil {
		e.uuid = l.state.uuid // constant from here on: readers use it
	} else if e.uuid != l.state.uuid {
		return &CorruptError{File: manifestName(l.gen), Reason: fmt.Sprintf("belongs to log %x, and not to %x, which was opened", l.state.uuid, e.uuid)}
	}
	e.takeManifest(l)
	if f.wal != nil {
		_ = f.wal.Close() // read only
		f.wal = nil
	}
	if !busy {
		return e.readWhole(l)
	}
	f.wal = wal.NewFollower(e.walConfig(), l.state.checkpoint)
	_, err = e.readFrames()
	return err
}

// readWhole reads a WAL that nobody writes to. What it shows was written, but
// perhaps never synced; it is synced before it is shown, where that is allowed.
func (e *Engine) readWhole(l *loadedManifest) error {
	var err error
	if e.follower.newest, err = wal.Newest(e.walConfig()); err != nil {
		return fmt.Errorf("look for a writer: %w", err)
	}
	e.report.Damage = nil
	for _, d := range l.damage {
		e.report.Damage = append(e.report.Damage, d.err)
	}
	if err := e.syncWALFiles(e.env.FS.OpenRead, false); err != nil {
		return err
	}
	e.report.Unknown = nil
	scan, err := e.replay(l, wal.ScanOptions{Salvage: true, MaxFrameBytes: maxFrameBytes}, func() error {
		if same, err := e.undisturbed(); err != nil || !same {
			return cmp.Or(err, wal.ErrRecycled)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, d := range scan.Damage {
		e.report.Damage = append(e.report.Damage, corruption(d))
	}
	e.report.Clean = scan.Clean
	e.publishMu.Lock()
	defer e.publishMu.Unlock()
	e.explainGapsLocked()
	e.wakeLaterLocked()
	return nil
}

// syncWALFiles has each file of the WAL synced, so that what is shown of it was
// durable before. Where that is not a must, it may be impossible: on a read-only
// mount, where it is not needed.
func (e *Engine) syncWALFiles(open func(string) (vfs.File, error), must bool) error {
	entries, err := e.env.FS.ReadDir(".")
	if err != nil {
		return fmt.Errorf("list files: %w", err)
	}
	for _, x := range entries {
		if !x.Regular || len(x.Name) != len("wal-")+16 || x.Name[:4] != "wal-" {
			continue
		}
		f, err := open(x.Name)
		if err != nil {
			return fmt.Errorf("open %s: %w", x.Name, err)
		}
		err = f.SyncData()
		_ = f.Close() // not written to
		if err != nil && must {
			return fmt.Errorf("sync %s: %w", x.Name, err)
		}
	}
	return nil
}

// readFrames applies the frames that are proven durable by now.
func (e *Engine) readFrames() (news bool, err error) {
	f := e.follower
	r := &replayer{e: e, salvage: true}
	for {
		frame, ok, err := f.wal.Next()
		if errors.Is(err, wal.ErrRecycled) {
			return true, e.reload() // the manifest knows what was there
		}
		if err != nil {
			return news, err
		}
		if !ok {
			break
		}
		news = true
		if err := r.frame(&frame); err != nil {
			return news, err
		}
		if frame.ManifestGen != f.manifest.gen || frame.ManifestLen != f.manifest.size {
			if err := e.rereadManifest(); err != nil {
				return news, err
			}
		}
	}
	e.publishMu.Lock()
	defer e.publishMu.Unlock()
	e.wakeLaterLocked()
	return news, nil
}

// rereadManifest takes the manifest as it is now. It may be ahead of the
// frames that were read.
func (e *Engine) rereadManifest() error {
	for range 10 { // it may be replaced between listing and opening
		entries, err := e.env.FS.ReadDir(".")
		if err != nil {
			return fmt.Errorf("list files: %w", err)
		}
		l, _, err := e.findManifest(entries)
		if errors.Is(err, errNotExist) || err == nil && l == nil {
			continue
		}
		if err != nil {
			return err
		}
		e.takeManifest(l)
		return nil
	}
	return nil // the next frame says so again
}

// takeManifest makes the topics show what the manifest knows. What a topic has
// in memory beyond that stays.
func (e *Engine) takeManifest(l *loadedManifest) {
	if known := e.follower.manifest; known != nil {
		e.files.forgetDropped(known.state, l.state)
	}
	e.follower.manifest = l
	e.noteManifest(&l.manifest)
	e.stats.segmentBytes.Store(l.state.bytes())
	e.publishMu.Lock()
	defer e.publishMu.Unlock()
	for _, num := range sortedKeys(l.state.topics) {
		m := l.state.topics[num]
		t := e.byNum[num]
		if t == nil {
			t = newTopicState(m.name, m.place)
			t.created, t.known = true, true
			e.addTopic(t)
		}
		e.takeTopicLocked(t, m)
		if l.state.checkpoint.LSN >= e.follower.applied {
			e.takeCursors(num, l.state.cursors)
		}
	}
	e.follower.applied = max(e.follower.applied, l.state.checkpoint.LSN)
	e.visible.Store(max(e.visible.Load(), l.state.position))
}

// takeCursors makes a topic's cursors those of a manifest that knows of later
// commits than the frames that were read.
func (e *Engine) takeCursors(topic uint64, now *cursor.Table) {
	for _, c := range e.cursors.List(topic) {
		if _, ok := now.Get(topic, c.Consumer); !ok {
			e.cursors.Delete(topic, c.Consumer)
		}
	}
	for _, c := range now.List(topic) {
		applyCursor(e.cursors, c)
	}
}

func (e *Engine) takeTopicLocked(t *topicState, m *topicMeta) {
	v := newDiskView(m)
	if old := t.disk.Load(); old != nil {
		v.gaps = append(v.gaps, old.salvaged()...)
		if old.index != nil && sameSegments(old.meta.segments, m.segments) {
			v.index = old.index // with the blocks that it has loaded
		}
	}
	t.disk.Store(v)
	e.cutTailLocked(t, v.last)
	t.low.Store(max(t.low.Load(), m.low))
	t.latest.Store(max(t.latest.Load(), m.latest))
	e.markDirtyLocked(t)
}

// salvaged are the gaps that the manifest does not know.
func (v *diskView) salvaged() []gap { return v.gaps[len(v.meta.lost):] }

func sameSegments(a, b []*segmentMeta) bool {
	return slices.EqualFunc(a, b, func(x, y *segmentMeta) bool { return x.id == y.id && x.last == y.last })
}

// wakeLaterLocked notes the topics that have changed; poll wakes their
// subscribers.
func (e *Engine) wakeLaterLocked() {
	for _, t := range e.dirty {
		t.dirty = false
		e.follower.wake = append(e.follower.wake, t)
	}
	e.dirty, e.dirtyCursors = e.dirty[:0], nil
}

// addGapLocked notes events that a damaged WAL has lost.
func (e *Engine) addGapLocked(t *topicState, first, last uint64) {
	v := &diskView{meta: &topicMeta{place: t.place, name: t.name, low: 1}}
	if old := t.disk.Load(); old != nil {
		*v = *old
	}
	v.gaps = append(slices.Clip(v.gaps), gap{first: first, last: last, err: &CorruptError{File: "wal", Reason: "lost to damage in the write-ahead log"}})
	t.disk.Store(v)
}

// explainGapsLocked says of each gap which damage it comes from, as far as
// that is known.
func (e *Engine) explainGapsLocked() {
	if len(e.report.Damage) == 0 {
		return
	}
	for _, t := range e.byNum {
		old := t.disk.Load()
		if old == nil || len(old.salvaged()) == 0 {
			continue
		}
		v := *old // readers may hold it
		v.gaps = slices.Clone(old.gaps)
		for i := len(v.meta.lost); i < len(v.gaps); i++ {
			v.gaps[i].err = e.report.Damage[len(e.report.Damage)-1]
		}
		t.disk.Store(&v)
	}
}
