package file

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/seglog/seglog/engine"
	"github.com/seglog/seglog/internal/vfs"
)

// cursors are the files of consumers' positions. What a file says decides whose
// cursor it is, not its name. They are read all at the first use, and again at
// each use of a read-only log.
type cursors struct {
	l *Log

	mu     sync.Mutex // guards the fields below, held while a cursor is written
	loaded bool
	byKey  map[cursorKey]cursor
	folded map[string]bool  // stems that are taken
	broken map[string]error // by stem: a *engine.CorruptError; files that do not say whose they are
}

type cursorKey struct {
	topic    engine.Topic
	consumer engine.ConsumerID
}

type cursor struct {
	stem string
	id   engine.EventID
	at   time.Time
}

// cursorRecord is what a cursor's file holds.
type cursorRecord struct {
	Topic       string          `json:"topic"`
	ConsumerID  string          `json:"consumer_id"`
	Cursor      *engine.EventID `json:"cursor"`
	UpdatedAtMS int64           `json:"updated_at_ms"`
}

func cursorFile(stem string) string { return consumersDir + "/" + stem + cursorSuffix }

func (c *cursors) loadLocked() error {
	if c.loaded && !c.l.opts.ReadOnly {
		return nil
	}
	entries, err := c.l.fs.ReadDir(consumersDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("list cursors: %w", err)
	}
	c.byKey, c.folded, c.broken = map[cursorKey]cursor{}, map[string]bool{}, map[string]error{}
	for _, e := range entries {
		stem, ok := strings.CutSuffix(e.Name, cursorSuffix)
		if !ok || e.Dir {
			continue
		}
		if !e.Regular {
			c.folded[fold(stem)] = true
			c.broken[stem] = &engine.CorruptError{File: cursorFile(stem), Reason: "not a regular file"}
			continue
		}
		if err := c.loadFileLocked(stem); err != nil {
			return err
		}
	}
	c.loaded = true
	return nil
}

// loadFileLocked notes a cursor. Where the original has written one beside
// ours, the later one counts.
func (c *cursors) loadFileLocked(stem string) error {
	c.folded[fold(stem)] = true
	b, err := readSmall(c.l.fs, cursorFile(stem))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil && !errors.Is(err, engine.ErrCorrupt) {
		return fmt.Errorf("read %s: %w", cursorFile(stem), err)
	}
	key, found, bad := parseCursor(b)
	found.stem = stem
	switch old, ok := c.byKey[key]; {
	case err != nil:
		c.broken[stem] = err
	case bad != nil:
		c.broken[stem] = &engine.CorruptError{File: cursorFile(stem), Reason: bad.Error()}
	case !ok || old.at.Before(found.at):
		c.byKey[key] = found
	}
	return nil
}

// parseCursor reads a cursor's file as the original does: names count as they
// are written, and the last of several fields of one name counts.
func parseCursor(b []byte) (key cursorKey, c cursor, err error) {
	if !json.Valid(b) || !utf8.Valid(b) {
		return key, c, errors.New("invalid JSON")
	}
	values := map[string]string{}
	err = eachMember(b, func(name, value []byte) error {
		values[unquote(name)] = string(value)
		return checkText(value)
	})
	if err != nil {
		return key, c, err
	}
	id, err := strconv.ParseUint(values["cursor"], 10, 64)
	if err != nil {
		return key, c, errors.New("it has no numeric cursor")
	}
	if key.topic, err = engine.NewTopic(text(values["topic"])); err != nil {
		return key, c, err
	}
	if key.consumer, err = engine.NewConsumerID(text(values["consumer_id"])); err != nil {
		return key, c, err
	}
	at, err := strconv.ParseInt(cmp.Or(values["updated_at_ms"], "0"), 10, 64)
	if err != nil {
		return key, c, errors.New("updated_at_ms is not an integer of 64 bits")
	}
	return key, cursor{id: engine.EventID(id), at: time.UnixMilli(at)}, nil
}

// checkText is checkString for values of any kind.
func checkText(value []byte) error {
	if value[0] != '"' {
		return nil
	}
	return checkString(value)
}

// text is the text of a value that checkText has checked, or nothing.
func text(value string) string {
	if !strings.HasPrefix(value, `"`) {
		return ""
	}
	return unquote([]byte(value))
}

// Ack moves the consumer's cursor on topic to upTo, forward or back.
func (l *Log) Ack(ctx context.Context, name engine.Topic, consumer engine.ConsumerID, upTo engine.EventID) error {
	if err := l.ack(ctx, cursorKey{name, consumer}, upTo, l.env.Now()); err != nil {
		return fmt.Errorf("ack topic %s for consumer %q: %w", name, consumer, classify(err))
	}
	return nil
}

// RestoreCursor is Ack with the time at which the consumer acknowledged. It
// implements [engine.Restorer].
func (l *Log) RestoreCursor(ctx context.Context, name engine.Topic, consumer engine.ConsumerID, upTo engine.EventID, at time.Time) error {
	if err := l.ack(ctx, cursorKey{name, consumer}, upTo, at); err != nil {
		return fmt.Errorf("restore cursor on topic %s of consumer %q: %w", name, consumer, classify(err))
	}
	return nil
}

func (l *Log) ack(ctx context.Context, key cursorKey, upTo engine.EventID, at time.Time) error {
	if err := l.readyForCursor(ctx, key); err != nil {
		return err
	}
	if l.opts.ReadOnly {
		return engine.ErrReadOnly
	}
	t := l.topic(key.topic)
	v, err := l.snapshot(t)
	if err != nil {
		return err
	}
	if upTo > v.latest {
		return fmt.Errorf("%w: event %d, the latest is %d", engine.ErrBeyondLatest, upTo, v.latest)
	}
	if v.unsynced { // a cursor must not outlive what it is of
		if err := l.sync(); err != nil {
			return err
		}
	}
	c := &l.cursors
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.setLocked(ctx, key, cursor{id: upTo, at: at})
}

func (l *Log) readyForCursor(ctx context.Context, key cursorKey) error {
	if err := key.consumer.Validate(); err != nil {
		return err
	}
	return l.readyFor(ctx, key.topic)
}

// changeLocked says whether cursors may be changed now, and what key has.
func (c *cursors) changeLocked(ctx context.Context, key cursorKey) (cursor, bool, error) {
	err := errors.Join(c.l.ready(ctx), c.l.c.hasFailed())
	if err == nil {
		err = c.loadLocked()
	}
	if err != nil {
		return cursor{}, false, err
	}
	found, ok := c.byKey[key]
	return found, ok, nil
}

// getLocked returns a cursor. A file that has its name and cannot be read
// stands for it.
func (c *cursors) getLocked(key cursorKey) (cursor, bool, error) {
	if err := c.loadLocked(); err != nil {
		return cursor{}, false, err
	}
	found, ok := c.byKey[key]
	if broken := c.brokenOfLocked(key); !ok && len(broken) > 0 {
		return found, false, c.broken[broken[0]]
	}
	return found, ok, nil
}

// brokenOfLocked returns the stems of key's that cannot be read.
func (c *cursors) brokenOfLocked(key cursorKey) (stems []string) {
	plain, _ := plainCursor(key.topic, key.consumer)
	for _, stem := range []string{plain, escapedCursor(key.topic, key.consumer)} {
		if c.broken[stem] != nil {
			stems = append(stems, stem)
		}
	}
	return stems
}

func (c *cursors) setLocked(ctx context.Context, key cursorKey, next cursor) error {
	old, ok, err := c.changeLocked(ctx, key)
	if err != nil {
		return err
	}
	if next.stem = old.stem; !ok {
		next.stem = c.stemForLocked(key)
	}
	b, err := json.MarshalIndent(cursorRecord{
		Topic: key.topic.String(), ConsumerID: key.consumer.String(), Cursor: &next.id, UpdatedAtMS: next.at.UnixMilli(),
	}, "", "  ")
	if err != nil {
		panic("file: cursor: " + err.Error()) // valid names and numbers
	}
	err = writeNew(c.l.fs, consumersDir, cursorTemp, cursorFile(next.stem), func(f vfs.File) error {
		_, err := f.WriteAt(b, 0)
		return err
	})
	if _, ok := errors.AsType[*renameError](err); ok {
		return c.l.c.fail(err)
	}
	if err != nil {
		return err
	}
	c.folded[fold(next.stem)] = true
	delete(c.broken, next.stem)
	c.byKey[key] = next
	return nil
}

// stemForLocked chooses the name of a new cursor's file: the original's, if no
// other cursor could have it. A file of that name which cannot be read is
// replaced.
func (c *cursors) stemForLocked(key cursorKey) string {
	stem, safe := plainCursor(key.topic, key.consumer)
	if !safe || c.folded[fold(stem)] && c.broken[stem] == nil {
		return escapedCursor(key.topic, key.consumer)
	}
	return stem
}

// Cursor returns the consumer's last acknowledged id, if there is one.
func (l *Log) Cursor(ctx context.Context, name engine.Topic, consumer engine.ConsumerID) (engine.EventID, bool, error) {
	key := cursorKey{name, consumer}
	found, ok, err := l.cursor(ctx, key)
	if err != nil {
		return 0, false, fmt.Errorf("cursor of consumer %q on topic %s: %w", consumer, name, classify(err))
	}
	return found.id, ok, nil
}

func (l *Log) cursor(ctx context.Context, key cursorKey) (cursor, bool, error) {
	if err := l.readyForCursor(ctx, key); err != nil {
		return cursor{}, false, err
	}
	l.cursors.mu.Lock()
	defer l.cursors.mu.Unlock()
	return l.cursors.getLocked(key)
}

// Consumers returns the consumers of topic, sorted by id.
func (l *Log) Consumers(ctx context.Context, name engine.Topic) ([]engine.ConsumerInfo, error) {
	infos, err := l.consumers(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("consumers of topic %s: %w", name, classify(err))
	}
	return infos, nil
}

func (l *Log) consumers(ctx context.Context, name engine.Topic) (infos []engine.ConsumerInfo, err error) {
	if err := l.readyFor(ctx, name); err != nil {
		return nil, err
	}
	if infos, err = l.cursors.of(name); err != nil {
		return nil, err
	}
	v, err := l.snapshot(l.topic(name)) // after the cursors, which move behind it
	if err != nil {
		return nil, err
	}
	for i, found := range infos {
		infos[i].Lag = uint64(max(v.latest, found.Cursor) - found.Cursor)
	}
	slices.SortFunc(infos, func(a, b engine.ConsumerInfo) int { return strings.Compare(a.Consumer.String(), b.Consumer.String()) })
	return infos, nil
}

// of returns the cursors of a topic. A file that may be of one of them and
// cannot be read is an error.
func (c *cursors) of(name engine.Topic) (infos []engine.ConsumerInfo, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.loadLocked(); err != nil {
		return nil, err
	}
	for _, stem := range slices.Sorted(maps.Keys(c.broken)) {
		if strings.HasPrefix(stem, name.String()+"__") || strings.HasPrefix(stem, string(escape)) {
			return nil, c.broken[stem]
		}
	}
	for key, found := range c.byKey {
		if key.topic == name {
			infos = append(infos, engine.ConsumerInfo{Consumer: key.consumer, Cursor: found.id, AckedAt: found.at})
		}
	}
	return infos, nil
}

// highest returns the highest cursor of a topic's consumers, or 0. Of a topic
// without a line, that id was assigned: the original may have emptied it.
// Cursors that no topic can begin behind do not count.
func (c *cursors) highest(name engine.Topic) (id engine.EventID, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.loadLocked(); err != nil {
		return 0, err
	}
	for key, found := range c.byKey {
		if key.topic == name && found.id <= math.MaxInt64 {
			id = max(id, found.id)
		}
	}
	return id, nil
}

// topics returns the topics that have cursors above 0 that count for highest.
func (c *cursors) topics() (map[engine.Topic]bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.loadLocked(); err != nil {
		return nil, err
	}
	names := map[engine.Topic]bool{}
	for key, found := range c.byKey {
		if found.id > 0 && found.id <= math.MaxInt64 {
			names[key.topic] = true
		}
	}
	return names, nil
}

// VerifyFiles calls damaged for each cursor's file that cannot be read.
func (l *Log) VerifyFiles(damaged func(*engine.CorruptError)) error {
	l.cursors.mu.Lock()
	defer l.cursors.mu.Unlock()
	if err := l.cursors.loadLocked(); err != nil {
		return fmt.Errorf("verify cursors: %w", classify(err))
	}
	for _, stem := range slices.Sorted(maps.Keys(l.cursors.broken)) {
		if corrupt, ok := errors.AsType[*engine.CorruptError](l.cursors.broken[stem]); ok {
			damaged(corrupt)
		}
	}
	return nil
}

// DeleteCursor forgets a consumer of topic, durably; one that has no cursor is
// fine. A file that has the name of its cursor and cannot be read is removed.
func (l *Log) DeleteCursor(ctx context.Context, name engine.Topic, consumer engine.ConsumerID) error {
	if err := l.deleteCursor(ctx, cursorKey{name, consumer}); err != nil {
		return fmt.Errorf("delete cursor of consumer %q on topic %s: %w", consumer, name, classify(err))
	}
	return nil
}

func (l *Log) deleteCursor(ctx context.Context, key cursorKey) error {
	if err := l.readyForCursor(ctx, key); err != nil {
		return err
	}
	if l.opts.ReadOnly {
		return engine.ErrReadOnly
	}
	c := &l.cursors
	c.mu.Lock()
	defer c.mu.Unlock()
	found, ok, err := c.changeLocked(ctx, key)
	if err != nil {
		return err
	}
	stems := c.brokenOfLocked(key)
	if ok {
		stems = append(stems, found.stem)
	}
	if len(stems) == 0 {
		return nil
	}
	for _, stem := range stems {
		if err := l.fs.Remove(cursorFile(stem)); err != nil {
			return l.c.fail(fmt.Errorf("remove %s: %w", cursorFile(stem), err))
		}
		delete(c.folded, fold(stem))
		delete(c.broken, stem)
	}
	delete(c.byKey, key)
	if err := l.fs.SyncDir(consumersDir); err != nil {
		return l.c.fail(fmt.Errorf("sync directory %s: %w", consumersDir, err))
	}
	return nil
}
