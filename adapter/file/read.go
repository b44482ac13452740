package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"

	"github.com/seglog/seglog/engine"
)

// Read yields the events after opts.After as they stood when the iteration
// began; a compaction meanwhile takes nothing away from it. It holds one buffer
// and the line it is at.
func (l *Log) Read(ctx context.Context, name engine.Topic, opts engine.ReadOptions) iter.Seq2[engine.Record, error] {
	return func(yield func(engine.Record, error) bool) {
		if err := l.read(ctx, name, opts, yield); err != nil {
			yield(engine.Record{}, fmt.Errorf("read topic %s: %w", name, classify(err)))
		}
	}
}

func (l *Log) read(ctx context.Context, name engine.Topic, opts engine.ReadOptions, yield func(engine.Record, error) bool) error {
	if err := l.readyFor(ctx, name); err != nil {
		return err
	}
	if opts.Limit < 0 {
		return fmt.Errorf("%w: negative limit %d", engine.ErrConfig, opts.Limit)
	}
	t := l.topic(name)
	r := reader{l: l, t: t, next: opts.After + 1}
	defer r.close()
	v, err := r.start(opts.After)
	if err != nil {
		return err
	}
	for n := 0; opts.Limit == 0 || n < opts.Limit; n++ {
		if err := l.ready(ctx); err != nil {
			return err
		}
		if r.h == nil || r.next > v.latest {
			return brokenError(&v)
		}
		rec, err := r.read()
		if err != nil {
			return err
		}
		if !yield(rec, nil) {
			return nil
		}
	}
	return nil
}

// brokenError is why nothing can be read behind a view's end, if there is more.
func brokenError(v *view) error {
	if v.broken == nil {
		return nil
	}
	return v.broken
}

// reader reads the records of one topic one after the other, of the file that
// the topic had when it started.
type reader struct {
	l    *Log
	t    *topic
	next engine.EventID // to be read

	h     *handle
	file  int            // of the view that h belongs to
	last  engine.EventID // that lines has
	lines *lineReader
}

// start goes to the first event behind after that is there.
func (r *reader) start(after engine.EventID) (view, error) {
	r.close()
	for range 10 {
		v, err := r.l.snapshot(r.t)
		if err != nil {
			return v, err
		}
		r.next = max(after+1, v.first)
		if after >= v.latest || v.latest < v.first {
			return v, nil
		}
		if err := r.open(&v); err != nil {
			return v, err
		}
		same, err := r.hasFileOf(&v)
		if err != nil {
			return v, err
		}
		if same {
			return v, r.seek(&v)
		}
		r.close()
	}
	return view{}, fmt.Errorf("topic %s: %w: its file keeps being replaced", r.t.name, engine.ErrIO)
}

// goOn has the next read give the event behind after, which v has. Where it
// says no, v is not the latest view any more.
func (r *reader) goOn(after engine.EventID, v *view) (ready bool, err error) {
	if r.h != nil && r.file == v.file && r.next == after+1 {
		if r.next > r.last {
			r.lines.reset(r.h, r.lines.offset, v.end)
			r.last = v.latest
		}
		return true, nil
	}
	if _, err := r.start(after); err != nil {
		return false, err
	}
	return r.h != nil && r.next == after+1, nil
}

func (r *reader) open(v *view) error {
	r.t.mu.Lock()
	stem := r.t.stem
	r.t.mu.Unlock()
	h, err := r.l.files.acquire(stem)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	r.h, r.file, r.last = h, v.file, v.latest
	return nil
}

// hasFileOf says whether r's file is that of v: it may have been replaced
// between the two. Of a read-only log, only the file itself tells.
func (r *reader) hasFileOf(v *view) (bool, error) {
	if r.h == nil {
		return false, nil
	}
	if r.l.opts.ReadOnly {
		same, err := r.l.sameFile(r.h, v, v.end)
		if !same {
			r.l.files.forget(r.h.stem)
		}
		return same, err
	}
	r.t.mu.Lock()
	defer r.t.mu.Unlock()
	return r.t.view.file == v.file, nil
}

// seek goes to the line of r.next, which the view has.
func (r *reader) seek(v *view) error {
	at := v.find(r.next)
	r.lines = newLineReader(r.h, at.offset, v.end)
	for id := at.id; id < r.next; {
		line, offset, _, err := r.lines.next()
		if err != nil {
			return r.failed(offset, err)
		}
		if !isBlank(line) {
			id++
		}
	}
	return nil
}

// read returns the next record, which is there.
func (r *reader) read() (engine.Record, error) {
	for {
		line, offset, _, err := r.lines.next()
		if err != nil {
			return engine.Record{}, r.failed(offset, err)
		}
		if isBlank(line) {
			continue
		}
		id, e, err := parseLine(line)
		if err == nil && id != r.next {
			err = fmt.Errorf("event %d, want event %d", id, r.next)
		}
		if err != nil {
			return engine.Record{}, r.corrupt(offset, err.Error())
		}
		r.next++
		return engine.Record{ID: id, Topic: r.t.name, Event: e}, nil
	}
}

// failed tells a file that has become shorter from one that cannot be read.
func (r *reader) failed(offset int64, err error) error {
	if errors.Is(err, io.EOF) {
		return r.corrupt(offset, fmt.Sprintf("the file ends, want event %d", r.next))
	}
	return fmt.Errorf("read %s at offset %d: %w", topicFile(r.h.stem), offset, err)
}

func (r *reader) corrupt(offset int64, reason string) error {
	return &engine.CorruptError{
		Topic: r.t.name.String(), File: topicFile(r.h.stem), Offset: offset, FirstID: r.next, LastID: r.next, Reason: reason,
	}
}

func (r *reader) close() {
	if r.h != nil {
		r.l.files.release(r.h)
		r.h = nil
	}
}

func isBlank(line []byte) bool { return len(bytes.TrimSpace(line)) == 0 }
