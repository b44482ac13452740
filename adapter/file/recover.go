package file

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"slices"

	"github.com/seglog/seglog/engine"
)

// recover brings a directory in order whose last writer did not close it:
//
//  1. A group that is there in part is taken back.
//  2. One that is there whole is made durable: the last sync may have failed,
//     or never been asked for.
//  3. A topic that was written to and not synced loses what follows the first
//     of these lines that does not parse; what is left is synced.
//  4. The journal forgets what it said.
//
// Each step can be repeated, so a crash in between does no harm. Where the last
// writer closed the log, or was the original, nothing is changed.
func (l *Log) recover() error {
	fr, slot, err := readJournal(l.fs)
	if err != nil {
		return err
	}
	l.left, l.journal.seq, l.journal.durable = fr, fr.Seq, slot
	if fr.State == stateClosed {
		return nil
	}
	if fr.State != stateOpen {
		for _, w := range fr.Writes {
			if err := l.settle(w, fr.State == stateFailed); err != nil {
				return fmt.Errorf("recover topic %s: %w", w.Topic, err)
			}
		}
	}
	if err := l.cutTails(); err != nil {
		return err
	}
	if err := l.journal.put(frame{State: stateOpen, Weak: l.opts.Sync != engine.SyncAlways}); err != nil {
		return err
	}
	l.journaled = true
	return nil
}

// settle decides what becomes of a write that the journal tells of.
func (l *Log) settle(w journalWrite, failed bool) error {
	h, err := l.files.acquire(w.Stem)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it was not made
	}
	if err != nil {
		return err
	}
	defer l.files.release(h)
	size, err := h.Size()
	if err != nil {
		return err
	}
	end := w.At + w.Bytes
	if size <= w.At || size > end || w.At < 0 {
		return nil // not begun; or somebody went on behind it
	}
	lines := make([]byte, min(end, size)-w.At)
	if n, err := h.ReadAt(lines, w.At); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read %s: %w", topicFile(w.Stem), err)
	} else if n < len(lines) {
		lines = lines[:n]
	}
	if sum(lines) != w.Sum {
		return l.takeBackPart(w, h, size)
	}
	if failed {
		l.files.forget(w.Stem)
		return l.copyTopic(h, 0, end)
	}
	if _, err := h.WriteAt(lines, w.At); err != nil {
		return fmt.Errorf("write %s again: %w", topicFile(w.Stem), err)
	}
	return syncBoth(l, h)
}

// syncBoth makes a file durable, name included.
func syncBoth(l *Log, h *handle) error {
	if err := h.SyncData(); err != nil {
		return fmt.Errorf("sync %s: %w", topicFile(h.stem), err)
	}
	if err := l.fs.SyncDir(topicsDir); err != nil {
		return fmt.Errorf("sync directory %s: %w", topicsDir, err)
	}
	return nil
}

// takeBackPart cuts a file off where a write began that is there in part;
// unless the file is not the one that the journal means, because somebody else
// has written it since: then the line before is another one, or, where there is
// none, all that is there are records of other ids.
func (l *Log) takeBackPart(w journalWrite, h *handle, size int64) error {
	v := view{size: w.At}
	if w.At == 0 {
		v.size = size
	}
	if err := scan(h, engine.Topic{}, w.Stem, &v, math.MaxInt64); err != nil {
		return err
	}
	if w.At == 0 && v.broken == nil && v.end == size && uint64(v.first) != w.First {
		return nil
	}
	if w.At > 0 && (v.end != w.At || uint64(v.latest)+1 != w.First) {
		return nil
	}
	if err := h.Truncate(w.At); err != nil {
		return fmt.Errorf("take write back from %s: %w", topicFile(w.Stem), err)
	}
	return syncBoth(l, h)
}

// cutTails reads the files that were not synced and cuts off what is torn.
func (l *Log) cutTails() error {
	l.topicsMu.Lock()
	var all []*topic
	for _, t := range l.topics {
		if t.stem != "" && t.clash == nil && l.left.proven(t.stem) < math.MaxInt64 {
			all = append(all, t)
		}
	}
	l.topicsMu.Unlock()
	slices.SortFunc(all, byName)
	for _, t := range all {
		if err := l.cutTail(t); err != nil {
			return fmt.Errorf("recover topic %s: %w", t.name, err)
		}
	}
	return nil
}

func (l *Log) cutTail(t *topic) error {
	h, err := l.files.acquire(t.stem)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer l.files.release(h)
	v, err := l.snapshot(t)
	if err != nil {
		return err
	}
	if v.broken == nil && v.size > v.end {
		if err := cutOff(h, v.end); err != nil {
			return err
		}
		t.mu.Lock()
		t.view.size = v.end
		t.mu.Unlock()
	}
	return syncBoth(l, h)
}
