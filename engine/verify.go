package engine

import (
	"errors"
	"fmt"

	"github.com/seglog/seglog/segment"
)

// Verify reads everything that the log holds and reports each place that does
// not verify to damaged. It goes on behind damage; it returns an error where
// it could not look everywhere. Progress is told how many bytes of events were
// read; either function may be nil.
func (e *Engine) Verify(damaged func(*CorruptError), progress func(bytes int64)) error {
	if damaged == nil {
		damaged = func(*CorruptError) {}
	}
	if progress == nil {
		progress = func(int64) {}
	}
	if err := e.poll(); err != nil {
		return fmt.Errorf("verify log %s: %w", e.dir, classify(err))
	}
	v := &verifier{e: e, progress: progress, seen: map[string]bool{}, report: damaged}
	for _, d := range e.report.Damage {
		v.damaged(d)
	}
	if err := v.carries(); err != nil {
		return fmt.Errorf("verify log %s: %w", e.dir, err)
	}
	e.topicsMu.RLock()
	nums := sortedKeys(e.byNum)
	e.topicsMu.RUnlock()
	for _, num := range nums {
		e.topicsMu.RLock()
		t := e.byNum[num]
		e.topicsMu.RUnlock()
		if err := v.topic(t); err != nil {
			return fmt.Errorf("verify topic %s: %w", t.name, err)
		}
	}
	return nil
}

// verifier looks at each file as a whole, for what reading steps over, and at
// each event.
type verifier struct {
	e        *Engine
	progress func(int64)
	report   func(*CorruptError)
	seen     map[string]bool // places that were reported
}

func (v *verifier) damaged(c *CorruptError) {
	place := fmt.Sprintf("%s@%d", c.File, c.Offset)
	if !v.seen[place] {
		v.seen[place] = true
		v.report(c)
	}
}

// carries looks at the headers and gaps of the carry files.
func (v *verifier) carries() error {
	for _, c := range v.e.carryFiles() {
		id := c.identity()
		id.UUID = v.e.uuid
		if err := v.walk(nil, id, c.durable); err != nil {
			return err
		}
	}
	return nil
}

func (e *Engine) carryFiles() []*carryMeta {
	var s *manifestState
	if f := e.follower; f != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.manifest == nil {
			return nil
		}
		s = f.manifest.state
	} else {
		e.checkpointMu.Lock()
		defer e.checkpointMu.Unlock()
		s = e.manifest.state
	}
	var files []*carryMeta
	for _, id := range sortedKeys(s.carries) {
		files = append(files, s.carries[id])
	}
	return files
}

// topic looks at the topic's segments, and then at its events.
func (v *verifier) topic(t *topicState) error {
	if d := t.disk.Load(); d != nil {
		for _, m := range d.meta.segments {
			if err := v.segment(t, m); err != nil {
				return err
			}
		}
	}
	return v.events(t)
}

func (v *verifier) segment(t *topicState, m *segmentMeta) error {
	id := m.id
	id.UUID = v.e.uuid
	end := m.durable
	if m.sealed {
		end = m.footer.Offset
		if err := v.footer(t, id, m); err != nil {
			return err
		}
	}
	return v.walk(t, id, end)
}

// walk checks the header page, all block headers, and the gaps between runs.
func (v *verifier) walk(t *topicState, id segment.Identity, end int64) error {
	f, err := v.e.files.acquire(id)
	if err != nil {
		return v.unreadable(err)
	}
	defer v.e.files.release(f)
	err = f.reader.WalkSalvage(end, func(segment.Block) error { return nil }, func(c *segment.CorruptError) error {
		v.damagedIn(t, c)
		return nil
	})
	return v.unreadable(err)
}

func (v *verifier) damagedIn(t *topicState, err error) {
	c := *corruption(err)
	if t != nil {
		c.Topic = t.name.name
		if low := t.low.Load(); uint64(c.LastID) < low && c.LastID != 0 {
			return // compacted
		}
	}
	v.damaged(&c)
}

// unreadable lets missing files pass: reading the events reports them, unless
// compaction took them.
func (v *verifier) unreadable(err error) error {
	if err == nil || errors.Is(err, errNotExist) {
		return nil
	}
	return classify(err)
}

// footer checks a sealed segment's footer, which reading can do without.
func (v *verifier) footer(t *topicState, id segment.Identity, m *segmentMeta) error {
	f, err := v.e.files.acquire(id)
	if err != nil {
		return v.unreadable(err)
	}
	defer v.e.files.release(f)
	_, err = f.reader.Footer(m.footer, m.durable)
	if corruption(err) != nil {
		v.damagedIn(t, err)
		return nil
	}
	return v.unreadable(err)
}

func (v *verifier) events(t *topicState) error {
	e := v.e
	r := reader{e: e, t: t, next: t.low.Load()}
	end := t.visibleLatest(e.visible.Load())
	var raw RawRecord
	for r.next <= end {
		select {
		case <-e.closed:
			return ErrClosed
		default:
		}
		err := r.read(&raw)
		var compacted *CompactedError
		var corrupt *CorruptError
		switch {
		case err == nil:
			v.progress(int64(len(raw.Payload) + len(raw.Kind)))
		case errors.As(err, &compacted):
			r.next = max(r.next+1, uint64(compacted.First))
		case errors.As(err, &corrupt):
			v.damaged(corrupt)
			r.next = max(r.next, uint64(corrupt.LastID)) + 1
			r.it = eventIter{id: 1}
		default:
			return err
		}
	}
	return nil
}
