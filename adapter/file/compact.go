package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"

	"github.com/seglog/seglog/engine"
	"github.com/seglog/seglog/internal/vfs"
)

// Compact makes the events up to and including before unreadable, at once and
// durably. What is left of the topic is copied into a new file; an emptied topic
// has none. Reads that have begun go on with what they had.
func (l *Log) Compact(ctx context.Context, name engine.Topic, before engine.EventID) (engine.CompactReport, error) {
	r, err := l.compact(ctx, name, before)
	if err != nil {
		return engine.CompactReport{}, fmt.Errorf("compact topic %s: %w", name, classify(err))
	}
	return r, nil
}

func (l *Log) compact(ctx context.Context, name engine.Topic, before engine.EventID) (r engine.CompactReport, err error) {
	if err := l.readyFor(ctx, name); err != nil {
		return r, err
	}
	if l.opts.ReadOnly {
		return r, engine.ErrReadOnly
	}
	t := l.topic(name)
	if _, err := l.snapshot(t); err != nil {
		return r, err
	}
	l.writing.Lock()
	defer l.writing.Unlock()
	if err := errors.Join(l.ready(ctx), l.c.hasFailed()); err != nil {
		return r, err
	}
	v, err := l.snapshot(t)
	if err != nil {
		return r, err
	}
	if v.broken != nil {
		return r, v.broken
	}
	if v.latest == 0 {
		return r, nil
	}
	if before = min(before, v.latest); before >= v.first {
		if err := l.cut(t, v, before); err != nil {
			return r, err
		}
		r.Removed = uint64(before + 1 - v.first)
		v.first = before + 1
	}
	r.Remaining = uint64(v.latest + 1 - v.first)
	r.Latest = &v.latest
	return r, nil
}

// cut removes the events up to before, of which there are some. The caller
// holds l.writing.
func (l *Log) cut(t *topic, v view, before engine.EventID) error {
	if err := l.forgetWrites(); err != nil {
		return err
	}
	h, err := l.files.acquire(t.stem) // until readers know of the new file
	if err != nil {
		return err
	}
	defer l.files.release(h)
	next := view{first: before + 1, latest: v.latest, file: v.file + 1}
	if before == v.latest {
		err = l.empty(t, v)
	} else {
		err = l.keepAfter(h, v, before, &next)
	}
	if _, ok := errors.AsType[*renameError](err); ok {
		return l.fail(&group{}, err)
	}
	if err != nil {
		return err
	}
	delete(l.announced, t.stem)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.view = next
	l.files.forget(t.stem)
	t.wakeLocked()
	return nil
}

// forgetWrites makes the journal forget the last group, which has been written:
// a file of which it tells is about to be replaced.
func (l *Log) forgetWrites() error {
	weak := l.opts.Sync != engine.SyncAlways
	err := l.journal.put(frame{State: stateOpen, Weak: weak, Unsynced: l.announced})
	if _, ok := errors.AsType[*syncError](err); ok {
		return l.fail(&group{}, err)
	}
	l.journaled = l.journaled || err == nil
	return err
}

// empty removes a topic's file, once its head knows the latest id.
func (l *Log) empty(t *topic, v view) error {
	if err := l.writeHead(t.stem, head{Topic: t.name.String(), Latest: v.latest}); err != nil {
		return err
	}
	if err := l.fs.Remove(topicFile(t.stem)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return &renameError{fmt.Errorf("remove %s: %w", topicFile(t.stem), err)}
	}
	if err := l.fs.SyncDir(topicsDir); err != nil {
		return &renameError{fmt.Errorf("sync directory %s: %w", topicsDir, err)}
	}
	return nil
}

// keepAfter copies the lines behind before into a new file.
func (l *Log) keepAfter(h *handle, v view, before engine.EventID, next *view) error {
	from, err := offsetOf(h, &v, before+1)
	if err != nil {
		return err
	}
	if err := l.copyTopic(h, from, v.end); err != nil {
		return err
	}
	next.end, next.unended = v.end-from, v.unended
	next.size = next.end
	next.addMark(before+1, 0)
	for _, m := range v.marks {
		if m.offset > from {
			next.addMark(m.id, m.offset-from)
		}
	}
	return nil
}

// offsetOf finds the line of an event, which is there.
func offsetOf(h *handle, v *view, id engine.EventID) (int64, error) {
	at := v.find(id)
	r := newLineReader(h, at.offset, v.end)
	for next := at.id; ; {
		line, offset, _, err := r.next()
		if err != nil {
			return 0, fmt.Errorf("read %s at offset %d: %w", topicFile(h.stem), offset, err)
		}
		if isBlank(line) {
			continue
		}
		if next == id {
			return offset, nil
		}
		next++
	}
}

// copyTopic puts a part of a topic's file in its place.
func (l *Log) copyTopic(h *handle, from, to int64) error {
	return writeNew(l.fs, topicsDir, compactTemp, topicFile(h.stem), func(f vfs.File) error {
		buf := make([]byte, min(to-from, 1<<20))
		for at := from; at < to; {
			part := buf[:min(to-at, int64(len(buf)))]
			if n, err := h.ReadAt(part, at); n < len(part) {
				return fmt.Errorf("read %s: %w", topicFile(h.stem), err)
			}
			if _, err := f.WriteAt(part, at-from); err != nil {
				return err
			}
			at += int64(len(part))
		}
		return nil
	})
}

// RestoreTopic makes topic as it is once its events up to and including latest
// were appended and compacted. It implements [engine.Restorer].
func (l *Log) RestoreTopic(ctx context.Context, name engine.Topic, latest engine.EventID) error {
	if err := l.restoreTopic(ctx, name, latest); err != nil {
		return fmt.Errorf("restore topic %s: %w", name, classify(err))
	}
	return nil
}

func (l *Log) restoreTopic(ctx context.Context, name engine.Topic, latest engine.EventID) error {
	if err := l.readyFor(ctx, name); err != nil {
		return err
	}
	if l.opts.ReadOnly {
		return engine.ErrReadOnly
	}
	if latest == 0 {
		return nil
	}
	if latest > math.MaxInt64 {
		return fmt.Errorf("%w: a topic can begin behind event %d at most", engine.ErrTooLarge, int64(math.MaxInt64))
	}
	t := l.topic(name)
	if _, err := l.snapshot(t); err != nil {
		return err
	}
	if err := l.canHaveFile(t); err != nil {
		return err
	}
	l.writing.Lock()
	defer l.writing.Unlock()
	if err := errors.Join(l.ready(ctx), l.c.hasFailed()); err != nil {
		return err
	}
	l.c.mu.Lock()
	defer l.c.mu.Unlock() // no append takes an id meanwhile
	v, err := l.snapshot(t)
	switch {
	case err != nil:
		return err
	case v.broken != nil:
		return v.broken
	case v.latest > 0 || t.groups > 0:
		return &engine.ConflictError{Latest: max(v.latest, t.assigned)}
	case latest == 0:
		return nil
	}
	stem := t.stem
	if stem == "" {
		stem = l.stemFor(t)
	}
	err = l.writeHead(stem, head{Topic: name.String(), Latest: latest})
	if err != nil {
		if _, ok := errors.AsType[*renameError](err); ok && l.c.failed == nil {
			l.c.failed = fmt.Errorf("%w: %w", engine.ErrFailed, err)
			return l.c.failed
		}
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stem = stem
	t.view.first, t.view.latest = latest+1, latest
	t.wakeLocked()
	return nil
}
