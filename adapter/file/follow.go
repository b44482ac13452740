package file

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"

	"github.com/seglog/seglog/engine"
)

// follow brings a read-only log's view of a topic up to date. Where nothing has
// changed, it costs a look at the file's size and at the journal.
func (l *Log) follow(t *topic) error {
	t.loading.Lock()
	defer t.loading.Unlock()
	for range 10 { // a writer may be faster
		done, err := l.lookAt(t)
		if done || err != nil {
			return err
		}
	}
	return nil // the next look will see it
}

// lookAt says whether it saw something that makes sense.
func (l *Log) lookAt(t *topic) (done bool, err error) {
	t.mu.Lock()
	v, known := t.view, t.loaded
	t.mu.Unlock()
	if !known {
		// Before the topic: the lines or the head of what a writer of ours
		// lets a consumer acknowledge are there by then, and count.
		if v.latest, err = l.cursors.highest(t.name); err != nil {
			return false, err
		}
		v.first = v.latest + 1
	}
	stem, err := l.findStem(t)
	if err != nil {
		return false, err
	}
	if stem == "" {
		l.setView(t, v)
		return true, nil
	}
	size, err := fileSize(l, stem)
	if err != nil {
		return false, err
	}
	fr, _, err := readJournal(l.fs)
	if err != nil {
		return false, err
	}
	if known && size == v.seenBytes && fr.Seq == v.seenSeq {
		return true, nil
	}
	// What is announced from here on has the next look see something new, also
	// where this one reads a file that is replaced meanwhile.
	before := fr.Seq
	aliveBefore, err := l.fs.Locked(lockName)
	if err != nil {
		return false, fmt.Errorf("look for a writer: %w", err)
	}
	// The file first, then its size, then the journal: what the file had when it
	// was measured is durable, unless the journal, as it is now, says that it is
	// being written. Of a file that was replaced meanwhile all is durable.
	l.files.forget(stem) // it may be another one; see reader.start
	h, err := l.files.acquire(stem)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		size = 0
	case err != nil:
		return false, err
	default:
		defer l.files.release(h)
		if size, err = h.Size(); err != nil {
			return false, err
		}
	}
	if fr, _, err = readJournal(l.fs); err != nil {
		return false, err
	}
	if fr.Seq < v.newestSeq {
		return false, nil // a frame is being written
	}
	alive, err := l.fs.Locked(lockName)
	if err != nil {
		return false, fmt.Errorf("look for a writer: %w", err)
	}
	alive = alive || aliveBefore // what it has closed since, the next look sees
	limit, err := visibleBytes(h, stem, size, &fr, alive)
	if err != nil {
		return false, err
	}
	proven := int64(math.MaxInt64)
	if !alive {
		proven = fr.proven(stem)
	}
	next, err := l.scanOn(h, t.name, stem, v, limit, proven)
	if err != nil {
		return false, err
	}
	if alive && known && next.latest < v.latest {
		return false, nil // the journal means the file that has replaced this one
	}
	next.seenBytes, next.seenSeq, next.newestSeq = size, before, fr.Seq
	l.setView(t, next)
	return true, nil
}

func (l *Log) setView(t *topic, v view) {
	t.mu.Lock()
	defer t.mu.Unlock()
	changed := v.latest != t.view.latest || v.first != t.view.first || v.broken != nil
	t.view, t.loaded = v, true
	if changed {
		t.wakeLocked()
	}
}

// findStem looks for the file of a topic that had none.
func (l *Log) findStem(t *topic) (string, error) {
	for look := range 2 {
		t.mu.Lock()
		stem, clash := t.stem, t.clash
		t.mu.Unlock()
		if clash != nil || stem != "" || look > 0 {
			return stem, clash
		}
		if err := l.findTopics(); err != nil {
			return "", err
		}
	}
	return "", nil
}

// fileSize is 0 for a file that is not there.
func fileSize(l *Log, stem string) (int64, error) {
	e, err := l.fs.Stat(topicFile(stem))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	return e.Size, err
}

// visibleBytes is how much of a file readers may see. There is no h where there
// is no file.
func visibleBytes(h *handle, stem string, size int64, fr *frame, alive bool) (int64, error) {
	if fr.State != stateWriting && fr.State != stateFailed || fr.Weak && alive {
		return size, nil
	}
	for _, w := range fr.Writes {
		if w.Stem != stem || w.At >= size {
			continue
		}
		if alive {
			return w.At, nil
		}
		if size > w.At+w.Bytes {
			continue // somebody went on behind it
		}
		whole, err := isWhole(h, &w)
		if err != nil || whole {
			return size, err
		}
		return w.At, nil
	}
	return size, nil
}

// isWhole says whether a write that nobody has finished is all there.
func isWhole(h *handle, w *journalWrite) (bool, error) {
	b := make([]byte, min(w.Bytes, maxLineBytes))
	n, err := h.ReadAt(b, w.At)
	if err != nil && !errors.Is(err, io.EOF) {
		return false, fmt.Errorf("read %s: %w", topicFile(w.Stem), err)
	}
	return sum(b[:n]) == w.Sum, nil
}

// scanOn reads what a file has beyond v, or all of it where it is not the file
// that v is of. There is no h where there is no file.
func (l *Log) scanOn(h *handle, name engine.Topic, stem string, v view, limit, proven int64) (view, error) {
	next := v
	next.broken, next.size = nil, limit
	if h != nil {
		same, err := l.sameFile(h, &v, limit)
		if err != nil {
			return v, err
		}
		if !same {
			next = view{file: v.file + 1, size: limit}
		}
		if err := scan(h, name, stem, &next, proven); err != nil {
			return v, err
		}
		if !next.bare() {
			return next, nil
		}
	}
	head, err := readHead(l.fs, stem)
	if err != nil {
		return v, err
	}
	latest := max(head.Latest, v.latest)
	return view{file: v.file + 1, first: latest + 1, latest: latest}, nil
}

// sameFile says whether a file begins with the event that v begins with, and is
// as long as v at least.
func (l *Log) sameFile(h *handle, v *view, limit int64) (bool, error) {
	if v.latest < v.first || v.latest == 0 || limit < v.end {
		return false, nil
	}
	lines := newLineReader(h, 0, limit)
	for {
		line, _, _, err := lines.next()
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("read %s: %w", topicFile(h.stem), err)
		}
		if !isBlank(line) {
			id, err := lineID(line)
			return err == nil && id == v.first, nil
		}
	}
}
