package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/seglog/seglog/engine"
	"github.com/seglog/seglog/internal/env"
	"github.com/seglog/seglog/internal/vfs"
)

// Log is an open directory of JSON lines. See the package documentation for
// what it promises.
//
// Locks are taken in this order: writing, topic.loading, cursors.mu,
// committer.mu, topicsMu, topic.mu, fileCache.mu.
type Log struct {
	// Constant after Open.
	opts      Options
	env       env.Env
	fs        vfs.FS
	dir       string
	lock      io.Closer
	files     *fileCache
	left      frame            // the journal, as the last writer left it
	announced map[string]int64 // as frame.Unsynced
	closed    chan struct{}

	topicsMu sync.Mutex // guards the fields below
	topics   map[engine.Topic]*topic
	folded   map[string]bool // stems of files and heads, as a file system that folds case sees them

	c committer

	writing   sync.Mutex // held by who writes topics: a leader, a compaction; guards the fields below
	journal   journal
	journaled bool     // the journal says that this process writes
	dirty     []*topic // whose visible lines are not synced
	dirtyDir  bool     // a new file's name is not synced

	cursors cursors

	goroutines sync.WaitGroup
	closing    sync.Once
	closeErr   error
}

var (
	_ engine.EventLog = (*Log)(nil)
	_ engine.Restorer = (*Log)(nil)
)

// Open opens the log in dir, and makes it where there is none. With
// [Options.ReadOnly] the log must exist, and no byte of it is changed.
//
// It fails with [engine.ErrLocked] where another process writes the log.
func Open(dir string, opts Options) (*Log, error) {
	if _, err := opts.withDefaults(); err != nil {
		return nil, fmt.Errorf("open log %s: %w", dir, err)
	}
	if !opts.ReadOnly {
		if err := vfs.MkdirAllSync(dir); err != nil {
			return nil, fmt.Errorf("open log %s: %w", dir, classify(err))
		}
	}
	disk, err := vfs.Dir(dir)
	if err != nil {
		return nil, fmt.Errorf("open log %s: %w", dir, classify(err))
	}
	l, err := OpenEnv(env.OS(disk), dir, opts)
	if err != nil {
		_ = disk.Close() // nothing was written through it that matters
		return nil, err
	}
	return l, nil
}

// OpenEnv is [Open] in another world: for the tests of this module.
func OpenEnv(world env.Env, dir string, opts Options) (*Log, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("open log %s: %w", dir, err)
	}
	l := &Log{
		opts: opts, env: world, fs: world.FS, dir: dir,
		files:  newFileCache(world.FS, opts.ReadOnly, opts.OpenFiles),
		closed: make(chan struct{}),
		topics: map[engine.Topic]*topic{}, folded: map[string]bool{},
		journal:   journal{fs: world.FS},
		announced: map[string]int64{},
	}
	l.cursors.l = l
	if opts.ReadOnly {
		err = l.findTopics()
	} else {
		err = l.openWriter()
	}
	if err != nil {
		l.release()
		return nil, fmt.Errorf("open log %s: %w", dir, classify(err))
	}
	if opts.Sync == engine.SyncInterval && !opts.ReadOnly && !world.Inline {
		l.goroutines.Go(l.syncNowAndThen)
	}
	return l, nil
}

func (l *Log) openWriter() (err error) {
	if l.lock, err = l.fs.Lock(lockName); err != nil {
		return err
	}
	for _, dir := range []string{topicsDir, consumersDir, headsDir} {
		if err := l.prepareDir(dir); err != nil {
			return fmt.Errorf("prepare directory %s: %w", dir, err)
		}
	}
	if err := l.findTopics(); err != nil {
		return err
	}
	return l.recover()
}

// prepareDir makes a directory where it is missing. One that is there is
// synced: its names may be those that a process which failed has left.
func (l *Log) prepareDir(name string) error {
	if _, err := l.fs.Stat(name); err == nil {
		return l.fs.SyncDir(name)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := l.fs.Mkdir(name); err != nil {
		return err
	}
	return l.fs.SyncDir(".")
}

// findTopics lists the files of topics and heads. Names that are neither are
// left alone.
func (l *Log) findTopics() error {
	entries, err := l.fs.ReadDir(topicsDir)
	if err != nil {
		return fmt.Errorf("list topics: %w", err)
	}
	heads, err := l.fs.ReadDir(headsDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("list heads: %w", err)
	}
	for _, e := range entries {
		if stem, ok := strings.CutSuffix(e.Name, topicSuffix); ok && !e.Dir {
			if err := l.foundStem(stem); err != nil {
				return err
			}
		}
	}
	for _, e := range heads {
		if stem, ok := strings.CutSuffix(e.Name, headSuffix); ok && e.Regular {
			if err := l.foundStem(stem); err != nil {
				return err
			}
		}
	}
	return nil
}

// foundStem gives a topic the file that was found.
func (l *Log) foundStem(stem string) error {
	name, ok := topicOfStem(stem)
	if !ok && strings.HasPrefix(stem, hashed) {
		h, err := readHead(l.fs, stem)
		if err != nil {
			return err
		}
		name, err = engine.NewTopic(h.Topic)
		ok = err == nil && escapedStem(h.Topic) == stem
	}
	if !ok {
		return nil
	}
	t := l.topic(name)
	l.topicsMu.Lock()
	defer l.topicsMu.Unlock()
	l.folded[fold(stem)] = true
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stem != "" && t.stem != stem {
		t.clash = &engine.CorruptError{
			Topic: name.String(), File: topicFile(stem),
			Reason: fmt.Sprintf("the topic has two files: %s too", topicFile(t.stem)),
		}
	}
	t.stem = stem
	return nil
}

// topic returns the state of a topic, which need not exist.
func (l *Log) topic(name engine.Topic) *topic {
	l.topicsMu.Lock()
	defer l.topicsMu.Unlock()
	t := l.topics[name]
	if t == nil {
		t = &topic{name: name}
		l.topics[name] = t
	}
	return t
}

// stemFor chooses the name of a topic's file when it gets its first event. The
// plain one goes to the first among those that differ in case only.
func (l *Log) stemFor(t *topic) string {
	l.topicsMu.Lock()
	defer l.topicsMu.Unlock()
	stem := t.name.String()
	if !plainStem(stem) || l.folded[fold(stem)] {
		stem = escapedStem(stem)
	}
	l.folded[fold(stem)] = true
	return stem
}

// canHaveFile refuses a topic without a file whose name something else has, such
// as a directory: once events are in a group, it would stop the log.
func (l *Log) canHaveFile(t *topic) error {
	t.mu.Lock()
	stem := t.stem
	t.mu.Unlock()
	if stem != "" {
		return nil
	}
	name := t.name.String()
	stems := []string{escapedStem(name)}
	if plainStem(name) {
		stems = append(stems, name)
	}
	for _, stem := range stems {
		e, err := l.fs.Stat(topicFile(stem))
		if err == nil && !e.Regular {
			err = fmt.Errorf("%s is not a regular file", topicFile(stem))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// release gives back what an open log holds.
func (l *Log) release() {
	l.journal.close()
	l.files.close()
	if l.lock != nil {
		_ = l.lock.Close() // nothing to lose
		l.lock = nil
	}
}

// Close refuses new changes, waits for those in flight, makes everything
// durable, and gives back all files and the lock. Running reads and
// subscriptions end with [engine.ErrClosed]. It returns the first error that
// kept it from a clean end; the log is closed all the same.
func (l *Log) Close() error {
	l.closing.Do(func() { l.closeErr = l.close() })
	return l.closeErr
}

func (l *Log) close() error {
	l.c.shut()
	close(l.closed)
	l.goroutines.Wait()
	l.writing.Lock()
	defer l.writing.Unlock()
	l.cursors.mu.Lock() // an ack in flight
	defer l.cursors.mu.Unlock()
	err := l.c.hasFailed()
	if err == nil {
		err = l.syncDirtyLocked()
	}
	if err == nil && l.journaled {
		err = l.journal.put(frame{State: stateClosed})
	}
	l.release()
	if cerr := l.fs.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("close log %s: %w", l.dir, classify(err))
	}
	return nil
}

// ready refuses calls on a closed log, and those whose context has ended.
func (l *Log) ready(ctx context.Context) error {
	select {
	case <-l.closed:
		return engine.ErrClosed
	default:
	}
	return ctx.Err()
}

func (l *Log) readyFor(ctx context.Context, name engine.Topic) error {
	if err := name.Validate(); err != nil {
		return err
	}
	return l.ready(ctx)
}

func isContext(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// Latest returns the highest id ever assigned in topic, if there is one.
func (l *Log) Latest(ctx context.Context, name engine.Topic) (engine.EventID, bool, error) {
	err := l.readyFor(ctx, name)
	var v view
	if err == nil {
		v, err = l.snapshot(l.topic(name))
	}
	if err == nil && v.broken != nil {
		err = v.broken
	}
	if err != nil {
		return 0, false, fmt.Errorf("latest of topic %s: %w", name, classify(err))
	}
	return v.latest, v.latest > 0, nil
}

// Topics returns every topic that was ever appended to, sorted by name; one that
// a consumer has acknowledged events of was. Of a topic that was not used yet,
// it reads the first line at most.
func (l *Log) Topics(ctx context.Context) ([]engine.Topic, error) {
	names, err := l.topicNames(ctx)
	if err != nil {
		return nil, fmt.Errorf("list topics: %w", classify(err))
	}
	return names, nil
}

func (l *Log) topicNames(ctx context.Context) ([]engine.Topic, error) {
	if err := l.ready(ctx); err != nil {
		return nil, err
	}
	acked, err := l.cursors.topics()
	if err != nil {
		return nil, err
	}
	if l.opts.ReadOnly {
		if err := l.findTopics(); err != nil {
			return nil, err
		}
	}
	for name := range acked {
		l.topic(name)
	}
	l.topicsMu.Lock()
	var all []*topic
	for _, t := range l.topics {
		all = append(all, t)
	}
	l.topicsMu.Unlock()
	slices.SortFunc(all, byName)
	var names []engine.Topic
	for _, t := range all {
		exists, err := l.exists(t)
		if err != nil {
			return nil, err
		}
		if exists || acked[t.name] {
			names = append(names, t.name)
		}
	}
	return names, nil
}

func byName(a, b *topic) int { return strings.Compare(a.name.String(), b.name.String()) }

// exists says whether a topic was ever appended to, without a scan of its file.
// A file of which not even the first line is whole does not count.
func (l *Log) exists(t *topic) (bool, error) {
	t.mu.Lock()
	stem, v, loaded := t.stem, t.view, t.loaded
	t.mu.Unlock()
	if loaded && (v.latest > 0 || !l.opts.ReadOnly) {
		return v.latest > 0 || v.broken != nil, nil
	}
	if stem == "" {
		return false, nil
	}
	head, err := readHead(l.fs, stem)
	if errors.Is(err, engine.ErrCorrupt) {
		return true, nil // whoever uses the topic is told; the others are not kept from their lists
	}
	if err != nil || head.Latest > 0 {
		return true, err
	}
	h, err := l.files.acquire(stem)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer l.files.release(h)
	size, err := h.Size()
	if err != nil {
		return false, err
	}
	lines := newLineReader(h, 0, size)
	for {
		line, _, whole, err := lines.next()
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if !isBlank(line) {
			_, _, bad := parseLine(line)
			return bad == nil || whole && l.left.proven(stem) > 0, nil
		}
	}
}

// Describe says where the log is and how large its files are.
func (l *Log) Describe(ctx context.Context) (engine.Description, error) {
	err := l.ready(ctx)
	var size uint64
	if err == nil {
		size, err = sizeOf(l.fs, ".")
	}
	if err != nil {
		return engine.Description{}, fmt.Errorf("describe log %s: %w", l.dir, classify(err))
	}
	return engine.Description{Backend: engine.BackendFile, Location: l.dir, SizeBytes: &size, QueueDepth: l.opts.QueueDepth}, nil
}

// sizeOf adds up the files below a directory.
func sizeOf(disk vfs.FS, dir string) (bytes uint64, err error) {
	entries, err := disk.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		switch {
		case e.Regular:
			bytes += uint64(e.Size)
		case e.Dir:
			below, err := sizeOf(disk, path.Join(dir, e.Name))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return 0, err
			}
			bytes += below
		}
	}
	return bytes, nil
}

func (l *Log) syncNowAndThen() {
	ticker := time.NewTicker(l.opts.SyncEvery)
	defer ticker.Stop()
	for {
		select {
		case <-l.closed:
			return
		case <-ticker.C:
			_ = l.sync() // a failure stops the log, and the next append says so
		}
	}
}

// Flush returns once everything appended before it is durable.
func (l *Log) Flush(ctx context.Context) error {
	err := l.ready(ctx)
	if err == nil && !l.opts.ReadOnly {
		err = l.sync()
	}
	if err != nil {
		return fmt.Errorf("flush log %s: %w", l.dir, classify(err))
	}
	return nil
}

func (l *Log) sync() error {
	l.writing.Lock()
	defer l.writing.Unlock()
	if err := l.c.hasFailed(); err != nil {
		return err
	}
	return l.syncDirtyLocked()
}
