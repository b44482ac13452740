package file

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/seglog/seglog/engine"
)

// recover brings a directory in order whose last writer did not close it:
//
//  1. A group that is there in part is taken back.
//  2. One that is there whole is made durable: the last sync may have failed,
//     or never been asked for.
//  3. The files of other topics lose what a torn write left.
//  4. The journal forgets what it said.
//
// Each step can be repeated, so a crash in between does no harm. Where the last
// writer closed the log, or was the original, nothing is changed.
func (l *Log) recover() error {
	fr, slot, err := readJournal(l.fs)
	if err != nil {
		return err
	}
	l.journal.seq, l.journal.durable = fr.Seq, slot
	if fr.State == stateClosed {
		return nil
	}
	l.unclean = tailUnclean
	if fr.Weak {
		l.unclean = tailWeak
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
	if err := l.journal.put(frame{State: stateOpen, Weak: l.opts.Sync != engine.SyncAlways}, true); err != nil {
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
	if size <= w.At || size > end || w.At < 0 || w.Bytes < 0 || w.Bytes > maxLineBytes {
		return nil // not begun; or somebody went on behind it
	}
	lines := make([]byte, min(end, size)-w.At)
	if n, err := h.ReadAt(lines, w.At); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read %s: %w", topicFile(w.Stem), err)
	} else if n < len(lines) {
		lines = lines[:n]
	}
	if sum(lines) != w.Sum {
		return l.takeBackPart(w, h)
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
// has written it since.
func (l *Log) takeBackPart(w journalWrite, h *handle) error {
	v := view{size: w.At}
	if err := scan(h, engine.Topic{}, w.Stem, &v, tailClean); err != nil {
		return err
	}
	if v.end != w.At || v.latest != 0 && uint64(v.latest)+1 != w.First {
		return nil
	}
	line, _, whole, err := newLineReader(h, w.At, w.At+w.Bytes).next()
	if err != nil {
		return fmt.Errorf("read %s at offset %d: %w", topicFile(w.Stem), w.At, err)
	}
	if id, err := lineID(line); whole && err == nil && uint64(id) != w.First {
		return nil
	}
	if err := h.Truncate(w.At); err != nil {
		return fmt.Errorf("take write back from %s: %w", topicFile(w.Stem), err)
	}
	return syncBoth(l, h)
}

// cutTails looks at the end of each topic's file, and cuts off what is torn.
// After a writer that did not sync, it reads them whole.
func (l *Log) cutTails() error {
	l.topicsMu.Lock()
	var all []*topic
	for _, t := range l.topics {
		if t.stem != "" && t.clash == nil {
			all = append(all, t)
		}
	}
	l.topicsMu.Unlock()
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
	if l.unclean != tailWeak {
		if whole, err := endsWhole(h); whole || err != nil {
			return err
		}
	}
	v, err := l.snapshot(t)
	if err != nil {
		return err
	}
	if v.broken == nil && v.size > v.end {
		if err := h.Truncate(v.end); err != nil {
			return fmt.Errorf("cut torn write off %s: %w", topicFile(t.stem), err)
		}
		t.mu.Lock()
		t.view.size = v.end
		t.mu.Unlock()
	}
	return syncBoth(l, h)
}

// endsWhole says whether a file ends with a whole record, or is empty.
func endsWhole(h *handle) (bool, error) {
	size, err := h.Size()
	if err != nil || size == 0 {
		return size == 0, err
	}
	for n := min(size, readBytes); ; n = min(size, 8*n) {
		b := make([]byte, n)
		if _, err := h.ReadAt(b, size-n); err != nil && !errors.Is(err, io.EOF) {
			return false, fmt.Errorf("read %s: %w", topicFile(h.stem), err)
		}
		if b[n-1] != '\n' {
			return false, nil
		}
		b = b[:n-1]
		from := bytes.LastIndexByte(b, '\n')
		if from < 0 && n < size && n < maxLineBytes {
			continue
		}
		_, _, err := parseLine(b[from+1:])
		return err == nil, nil
	}
}
