package engine

import (
	"errors"
	"fmt"
	"math"

	"github.com/seglog/seglog/segment"
)

// Verify reads everything that the log holds and reports each place that does
// not verify to damaged, for each topic that has lost events there. It goes on
// behind damage; it returns an error where it could not look everywhere.
// Progress is told how many bytes of events were read; either function may be
// nil.
func (e *Engine) Verify(damaged func(*CorruptError), progress func(bytes int64)) error {
	v, err := e.newVerifier(damaged)
	if err != nil {
		return err
	}
	if progress == nil {
		progress = func(int64) {}
	}
	for _, d := range e.OpenReport().Damage {
		v.damaged(d)
	}
	for _, t := range v.topics {
		if err := v.events(t, progress); err != nil {
			return fmt.Errorf("verify topic %s: %w", t.name, err)
		}
	}
	return v.files()
}

// VerifyFiles reports what reading every event steps over: damage to footers,
// to the headers of files and blocks, and between blocks. With reading it sees
// all that [Engine.Verify] does.
func (e *Engine) VerifyFiles(damaged func(*CorruptError)) error {
	v, err := e.newVerifier(damaged)
	if err != nil {
		return err
	}
	return v.files()
}

// verifier looks at each event, and then at each file as a whole.
type verifier struct {
	e      *Engine
	topics []*topicState
	report func(*CorruptError)
	seen   map[CorruptError]bool // reported; those of files without what is lost there
}

func (e *Engine) newVerifier(damaged func(*CorruptError)) (*verifier, error) {
	if err := e.poll(); err != nil {
		return nil, fmt.Errorf("verify log %s: %w", e.dir, classify(err))
	}
	if damaged == nil {
		damaged = func(*CorruptError) {}
	}
	v := &verifier{e: e, seen: map[CorruptError]bool{}, report: damaged}
	e.topicsMu.RLock()
	defer e.topicsMu.RUnlock()
	for _, num := range sortedKeys(e.byNum) {
		v.topics = append(v.topics, e.byNum[num])
	}
	return v, nil
}

// damaged reports a place once for each range of events that is lost there.
func (v *verifier) damaged(c *CorruptError) {
	place := CorruptError{File: c.File, Offset: c.Offset}
	lost := CorruptError{Topic: c.Topic, File: c.File, Offset: c.Offset, FirstID: c.FirstID}
	if !v.seen[lost] {
		v.report(c)
	}
	v.seen[lost], v.seen[place] = true, true
}

func (v *verifier) files() error {
	if err := v.carries(); err != nil {
		return fmt.Errorf("verify log %s: %w", v.e.dir, err)
	}
	for _, t := range v.topics {
		if err := v.segments(t); err != nil {
			return fmt.Errorf("verify topic %s: %w", t.name, err)
		}
	}
	return nil
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

func (v *verifier) segments(t *topicState) error {
	d := t.disk.Load()
	if d == nil {
		return nil
	}
	for _, m := range d.meta.segments {
		if err := v.segment(t, m); err != nil {
			return err
		}
	}
	return nil
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
	if !v.seen[CorruptError{File: c.File, Offset: c.Offset}] {
		v.damaged(&c)
	}
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

func (v *verifier) events(t *topicState, progress func(int64)) error {
	e := v.e
	r := reader{e: e, t: t, next: t.low.Load(), until: math.MaxUint64, fresh: true}
	defer r.release()
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
			progress(int64(len(raw.Payload) + len(raw.Kind)))
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
