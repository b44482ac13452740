package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seglog/seglog/cursor"
	"github.com/seglog/seglog/internal/env"
	"github.com/seglog/seglog/internal/vfs"
	"github.com/seglog/seglog/wal"
)

// Engine is an open segmented log. See the package documentation for what it
// promises.
//
// Locks are taken in this order: follower.mu or checkpointMu or
// committer.inOrder, then committer.mu, publishMu, topicsMu. walMu is taken with no other but checkpointMu. Reads and
// subscriptions take none of them but topicsMu, to look a topic up.
type Engine struct {
	// Constant after Open.
	opts   Options
	env    env.Env
	dir    string
	uuid   [16]byte
	lock   io.Closer
	report OpenReport
	closed chan struct{} // closed by Close

	topicsMu sync.RWMutex // guards the maps
	byName   map[Topic]*topicState
	byNum    map[uint64]*topicState

	topicAdded watchPoint

	c committer

	publishMu    sync.Mutex // guards what topicState says, and the fields below
	published    wal.Start  // the end of what is published
	dirty        []*topicState
	dirtyCursors map[cursorKey]cursor.Entry
	tailSlab     []byte        // room for chunks of tails
	cursors      *cursor.Table // safe for readers

	visible     atomic.Uint64 // readers see positions up to this one
	tailBytes   atomic.Int64
	manifestEnd atomic.Pointer[manifestEnd] // for WAL frames

	walMu  sync.Mutex // held for each write and sync of wal
	wal    *wal.Writer
	files  *fileCache
	cache  *blockCache
	loaded loadedSegments

	checkpointMu sync.Mutex // guards the manifest, and the fields below
	manifest     *manifest
	writers      segmentWriters
	ended        bool // by Close: there are no more checkpoints

	goroutines sync.WaitGroup
	stop       chan struct{} // closed to stop the background goroutines
	kick       chan struct{} // asks for a checkpoint
	spare      chan struct{} // asks for a spare file of the WAL
	unlink     chan struct{} // asks for the files that the manifest has dropped to be removed
	// needsRecovery: the log was opened on a full disk, and what was replayed
	// must be written before anything else.
	needsRecovery atomic.Bool
	roundMu       sync.Mutex // guards round
	round         *checkpointRound

	follower *follower // read-only logs
	closing  sync.Once
	closeErr error

	stats counters
}

// Open opens the segmented log in dir, and makes it where there is none. With
// [Options.ReadOnly] the log must exist, and no byte of it is changed.
//
// It fails with [ErrLocked] where another process writes the log, with a
// [*CorruptError] where bytes that were durable do not verify, and with
// [ErrVersion] where the files are of a newer version; in all these cases it
// has changed nothing.
func Open(dir string, opts Options) (*Engine, error) {
	if _, err := opts.withDefaults(); err != nil {
		return nil, fmt.Errorf("open log %s: %w", dir, err)
	}
	if !opts.ReadOnly {
		if err := vfs.MkdirAllSync(dir); err != nil {
			return nil, fmt.Errorf("open log %s: %w: %w", dir, ErrIO, err)
		}
	}
	fs, err := vfs.Dir(dir)
	if err != nil {
		return nil, fmt.Errorf("open log %s: %w: %w", dir, ErrIO, err)
	}
	e, err := OpenEnv(env.OS(fs), dir, opts)
	if err != nil {
		_ = fs.Close() // nothing was written through it that matters
		return nil, err
	}
	return e, nil
}

// OpenEnv is [Open] in another world: for the tests of this module.
func OpenEnv(world env.Env, dir string, opts Options) (*Engine, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("open log %s: %w", dir, err)
	}
	e := &Engine{
		opts: opts, env: world, dir: dir,
		closed: make(chan struct{}), stop: make(chan struct{}), kick: make(chan struct{}, 1), spare: make(chan struct{}, 1), unlink: make(chan struct{}, 1),
		byName: map[Topic]*topicState{}, byNum: map[uint64]*topicState{},
		cursors: cursor.New(), files: newFileCache(world.FS), cache: newBlockCache(opts.CacheBytes), round: newCheckpointRound(),
	}
	e.c.nextPosition, e.c.nextTopic = 1, 1
	if opts.ReadOnly {
		err = e.openReadOnly()
	} else {
		err = e.openWriter()
	}
	if err != nil {
		e.release()
		return nil, fmt.Errorf("open log %s: %w", dir, classify(err))
	}
	if !opts.ReadOnly && !world.Inline {
		e.goroutines.Go(e.runCheckpoints)
		e.goroutines.Go(e.keepSpare)
		e.goroutines.Go(e.keepDurable)
		e.goroutines.Go(e.unlinkDropped)
	}
	return e, nil
}

// classify makes errors of the file system match ErrIO, ErrNoSpace or
// ErrLocked; errors that say more already are left as they are.
func classify(err error) error {
	var locked *vfs.LockedError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &locked):
		return fmt.Errorf("%w: %w", ErrLocked, err)
	case errors.Is(err, ErrCorrupt), errors.Is(err, ErrNoSpace), errors.Is(err, ErrFailed), errors.Is(err, ErrClosed),
		errors.Is(err, ErrVersion), errors.Is(err, ErrConfig), errors.Is(err, ErrIO), errors.Is(err, ErrReadOnly):
		return err
	}
	if c := corruption(err); c != nil {
		return fmt.Errorf("%w", c)
	}
	switch {
	case isNewerVersion(err):
		return fmt.Errorf("%w: %w", ErrVersion, err)
	case errors.Is(err, vfs.ErrNoSpace):
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return fmt.Errorf("%w: %w", ErrIO, err)
}

// release gives back what an open log holds.
func (e *Engine) release() {
	if e.manifest != nil {
		_ = e.manifest.close()
	}
	if e.wal != nil {
		_ = e.wal.Close()
	}
	if e.follower != nil {
		e.follower.close()
	}
	e.files.close()
	if e.lock != nil {
		_ = e.lock.Close()
		e.lock = nil
	}
}

// Close refuses new changes, waits for those in flight, makes everything
// durable, and gives back all files, goroutines and the lock. Running reads
// and subscriptions end with [ErrClosed]. It returns the first error that
// kept it from a clean end; the log is closed all the same.
func (e *Engine) Close() error {
	e.closing.Do(func() { e.closeErr = e.close() })
	return e.closeErr
}

func (e *Engine) close() error {
	e.waitIdle()
	close(e.closed)
	close(e.stop)
	e.goroutines.Wait()
	var err error
	if !e.opts.ReadOnly {
		err = e.closeClean()
	}
	e.release()
	if cerr := e.env.FS.Close(); err == nil && cerr != nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("close log %s: %w", e.dir, classify(err))
	}
	return nil
}

// waitIdle refuses new changes and waits for those in the queue.
func (e *Engine) waitIdle() {
	c := &e.c
	defer c.awaitPublished()
	c.mu.Lock()
	c.closed = true
	if !c.leading {
		c.mu.Unlock()
		return
	}
	if c.idle == nil {
		c.idle = make(chan struct{})
	}
	idle := c.idle
	c.mu.Unlock()
	<-idle
}

// closeClean folds everything into segments and says in the WAL that nothing
// is missing.
func (e *Engine) closeClean() error {
	e.checkpointMu.Lock()
	defer e.checkpointMu.Unlock()
	e.ended = true
	if failed := e.hasFailed(); failed != nil {
		return failed // which may have taken what was acknowledged without a sync
	}
	if e.unchanged() {
		return nil
	}
	e.removeDropped() // what closing has interrupted
	if err := e.checkpointLocked(checkpointInTurn); err != nil {
		if errors.Is(err, ErrNoSpace) {
			e.log("closed without a checkpoint: the next open replays the write-ahead log", "cause", err)
			return e.wal.Sync()
		}
		return err
	}
	return e.wal.CloseClean(e.walHeader())
}

// unchanged says that the log was opened clean and never written to.
func (e *Engine) unchanged() bool {
	return e.report.Clean && e.stats.frames.Load() == 0
}

func (e *Engine) walHeader() wal.Header {
	m := e.manifestEnd.Load()
	return wal.Header{ManifestGen: m.gen, ManifestLen: m.bytes}
}

// keepDurable does the syncs of SyncInterval, and the seals of an idle log. A
// checkpoint may take longer than both may wait.
func (e *Engine) keepDurable() {
	seal := time.NewTicker(sealAfter)
	defer seal.Stop()
	var syncs <-chan time.Time
	if e.opts.Sync == SyncInterval {
		t := time.NewTicker(e.opts.SyncEvery)
		defer t.Stop()
		syncs = t.C
	}
	sealed, seen := int64(0), int64(0)
	if !e.report.Clean && !e.report.Created {
		sealed = -1 // the last frame of the process before
	}
	for {
		select {
		case <-e.stop:
			return
		case <-syncs:
			if e.wal.Durable() < e.wal.End() {
				_ = e.submit(context.Background(), []op{{kind: opSync}}) // a failure latches the log
			}
		case <-seal.C:
			frames := e.stats.frames.Load()
			if frames != sealed && frames == seen && e.seal() {
				sealed = frames
			}
			seen = frames
		}
	}
}

// sealAfter is how long the log is idle before a seal proves its last frame.
const sealAfter = 100 * time.Millisecond

// seal writes an empty frame that says how far the log is durable. False: it is
// too early, since somebody is writing, or the last frame is not synced yet.
func (e *Engine) seal() bool {
	c := &e.c
	c.mu.Lock()
	if c.leading || c.closed || c.failed != nil || e.needsRecovery.Load() || e.wal.Durable() < e.wal.End() {
		c.mu.Unlock()
		return false
	}
	c.leading = true
	c.mu.Unlock()
	e.walMu.Lock()
	err := e.wal.Seal(e.walHeader())
	e.walMu.Unlock()
	if err != nil {
		if !errors.Is(err, wal.ErrFull) && !errors.Is(err, vfs.ErrNoSpace) {
			_ = e.fail(fmt.Errorf("seal write-ahead log: %w", err))
		}
	}
	c.mu.Lock()
	e.handOverLocked()
	c.mu.Unlock()
	return true
}

func (e *Engine) log(msg string, args ...any) {
	if e.opts.Logger != nil {
		e.opts.Logger.Info(msg, append([]any{"log", e.dir}, args...)...)
	}
}

// topic returns a topic that was ever named in a change; nil: none.
func (e *Engine) topic(name Topic) *topicState {
	e.topicsMu.RLock()
	defer e.topicsMu.RUnlock()
	return e.byName[name]
}

// makeTopicLocked makes a topic known in memory; its creation record goes with
// its first change. The caller holds committer.mu.
func (e *Engine) makeTopicLocked(name Topic) *topicState {
	if t := e.topic(name); t != nil {
		return t
	}
	t := newTopicState(name, place{topic: e.c.nextTopic, incarnation: 1})
	e.c.nextTopic++
	e.addTopic(t)
	return t
}

func (e *Engine) addTopic(t *topicState) {
	e.topicsMu.Lock()
	e.byName[t.name] = t
	e.byNum[t.topic] = t
	e.topicsMu.Unlock()
	e.topicAdded.wake()
}

// ready refuses calls on a closed log, and those whose context has ended.
func (e *Engine) ready(ctx context.Context) error {
	select {
	case <-e.closed:
		return ErrClosed
	default:
	}
	return ctx.Err()
}

// Latest implements [EventLog].
func (e *Engine) Latest(ctx context.Context, topic Topic) (EventID, bool, error) {
	if err := e.readyFor(ctx, topic); err != nil {
		return 0, false, fmt.Errorf("latest of topic %s: %w", topic, err)
	}
	t := e.topic(topic)
	if t == nil {
		return 0, false, nil
	}
	latest := t.visibleLatest(e.visible.Load())
	return EventID(latest), latest > 0, nil
}

func (e *Engine) readyFor(ctx context.Context, topic Topic) error {
	if err := topic.Validate(); err != nil {
		return err
	}
	if err := e.ready(ctx); err != nil {
		return err
	}
	return e.poll()
}

// Topics implements [EventLog].
func (e *Engine) Topics(ctx context.Context) ([]Topic, error) {
	if err := errors.Join(e.ready(ctx), e.poll()); err != nil {
		return nil, fmt.Errorf("list topics: %w", err)
	}
	e.topicsMu.RLock()
	topics := make([]Topic, 0, len(e.byName))
	for name, t := range e.byName {
		if t.latest.Load() > 0 {
			topics = append(topics, name)
		}
	}
	e.topicsMu.RUnlock()
	slices.SortFunc(topics, func(a, b Topic) int { return strings.Compare(a.name, b.name) })
	return topics, nil
}

// Cursor implements [EventLog].
func (e *Engine) Cursor(ctx context.Context, topic Topic, consumer ConsumerID) (EventID, bool, error) {
	err := consumer.Validate()
	if err == nil {
		err = e.readyFor(ctx, topic)
	}
	if err != nil {
		return 0, false, fmt.Errorf("cursor of consumer %q on topic %s: %w", consumer, topic, err)
	}
	t := e.topic(topic)
	if t == nil {
		return 0, false, nil
	}
	e.publishMu.Lock() // not between a commit's cursors and its events
	defer e.publishMu.Unlock()
	c, ok := e.cursors.Get(t.topic, consumer.id)
	return EventID(c.ID), ok, nil
}

// ConsumerInfo is one consumer of a topic.
type ConsumerInfo struct {
	Consumer ConsumerID `json:"consumer"`
	Cursor   EventID    `json:"cursor"`
	AckedAt  time.Time  `json:"acked_at"`
	// Lag is how many events the consumer has not acknowledged: latest - Cursor.
	Lag uint64 `json:"lag"`
}

// Consumers returns the consumers of topic, sorted by id.
func (e *Engine) Consumers(ctx context.Context, topic Topic) ([]ConsumerInfo, error) {
	if err := e.readyFor(ctx, topic); err != nil {
		return nil, fmt.Errorf("consumers of topic %s: %w", topic, err)
	}
	t := e.topic(topic)
	if t == nil {
		return nil, nil
	}
	var infos []ConsumerInfo
	for _, c := range e.cursors.List(t.topic) {
		latest := t.latest.Load()
		infos = append(infos, ConsumerInfo{
			Consumer: ConsumerID{c.Consumer}, Cursor: EventID(c.ID),
			AckedAt: time.UnixMilli(c.AckedMS), Lag: max(latest, c.ID) - c.ID,
		})
	}
	return infos, nil
}

// CursorTopics returns the topics that have cursors, sorted by name, also those
// that nothing was ever appended to.
func (e *Engine) CursorTopics(ctx context.Context) ([]Topic, error) {
	if err := errors.Join(e.ready(ctx), e.poll()); err != nil {
		return nil, fmt.Errorf("list topics with cursors: %w", err)
	}
	var topics []Topic
	e.topicsMu.RLock()
	for name, t := range e.byName {
		if _, ok := e.cursors.Min(t.topic); ok {
			topics = append(topics, name)
		}
	}
	e.topicsMu.RUnlock()
	slices.SortFunc(topics, func(a, b Topic) int { return strings.Compare(a.name, b.name) })
	return topics, nil
}

// Describe implements [EventLog].
func (e *Engine) Describe(ctx context.Context) (Description, error) {
	if err := e.ready(ctx); err != nil {
		return Description{}, fmt.Errorf("describe log %s: %w", e.dir, err)
	}
	size := e.Stats().DiskBytes
	if e.opts.ReadOnly {
		var err error
		if size, err = e.sizeOnDisk(); err != nil {
			return Description{}, fmt.Errorf("describe log %s: %w", e.dir, classify(err))
		}
	}
	bytes := uint64(max(0, size))
	return Description{Backend: BackendSegment, Location: e.dir, SizeBytes: &bytes, QueueDepth: e.opts.QueueDepth}, nil
}

// sizeOnDisk adds up the files of a log that another process may be writing.
func (e *Engine) sizeOnDisk() (int64, error) {
	entries, err := e.env.FS.ReadDir(".")
	if err != nil {
		return 0, err
	}
	size := e.stats.segmentBytes.Load()
	for _, x := range entries {
		if x.Regular && !strings.HasPrefix(x.Name, "carry-") {
			size += x.Size
		}
	}
	return size, nil
}
