package wal

import (
	"errors"
	"fmt"
	"io/fs"
)

// Follower reads the log of a running writer, in another process or this one.
// It shows a frame only once it is proven durable: by a later frame, a seal, a
// clean close or the next file. It is for one goroutine at a time.
type Follower struct {
	cfg   Config
	start Start

	pos    LSN       // the end of the last frame, or the start of cur
	want   LSN       // where the next one was looked for
	cur    *FileInfo // nil until a file holds pos
	src    *source
	prev   uint64
	known  bool
	clean  bool // a clean close ends cur
	proven LSN  // everything below was durable
}

// NewFollower starts at start. It opens nothing yet.
func NewFollower(cfg Config, start Start) *Follower {
	return &Follower{cfg: cfg, start: start, pos: start.LSN}
}

// Next returns the next durable frame; false where there is none yet. With
// [ErrRecycled] the place is gone.
func (f *Follower) Next() (Frame, bool, error) {
	if f.cur == nil || f.clean {
		if more, err := f.advance(); !more || err != nil {
			return Frame{}, false, err
		}
	}
	for {
		// What was read once may be an incomplete write, so nothing is kept.
		f.src.window = f.src.window[:0]
		h, payload, bad, err := f.readFrame()
		if err != nil {
			return Frame{}, false, err
		}
		if bad == nil {
			return f.deliver(h, payload)
		}
		if bad.newer {
			return Frame{}, false, fmt.Errorf("%s: %s: %w", f.cur.Name, bad.reason, ErrVersion)
		}
		if more, err := f.advance(); !more || err != nil {
			return Frame{}, false, f.damage(bad, err)
		}
	}
}

func (f *Follower) readFrame() (*frameHeader, []byte, *flaw, error) {
	e := f.expect(f.pos)
	h, payload, bad, err := f.src.next(&f.cur.header, &e, 0)
	f.want = e.lsn
	return h, payload, bad, err
}

func (f *Follower) expect(l LSN) expect {
	return expect{
		uuid: f.cfg.UUID, version: f.cur.header.version, generation: f.cur.Generation, salt: f.cur.header.salt,
		end: l, lsn: l, prev: f.prev, prevKnown: f.known,
	}
}

// deliver hands a frame out if it is proven durable. A clean close is, by what
// it is.
func (f *Follower) deliver(h *frameHeader, payload []byte) (Frame, bool, error) {
	frame := newFrame(h, payload, f.cur.Name, f.cur.header.offset(h.lsn))
	frame.Keep()
	f.proven = max(f.proven, h.durable)
	if f.clean = h.flags&FlagClean != 0; f.clean {
		return frame, true, nil // it takes no room
	}
	if frame.End > f.proven {
		if err := f.prove(frame.End, h.sum); err != nil || frame.End > f.proven {
			return Frame{}, false, err
		}
	}
	f.pos, f.prev, f.known = frame.End, h.sum, true
	return frame, true, nil
}

// prove looks for a frame behind l that says that l is durable.
func (f *Follower) prove(l LSN, sum uint64) error {
	from := f.expect(l)
	from.prev, from.prevKnown = sum, true
	for e := from; f.proven < l; {
		h, ok, err := f.headerBehind(e)
		if err != nil {
			return err
		}
		if !ok {
			return f.proveByFile(from)
		}
		f.proven = max(f.proven, h.durable)
		if h.flags&FlagClean != 0 {
			return nil
		}
		e.end, e.prev = h.lsn+LSN(h.bytes()), h.sum
	}
	return nil
}

// headerBehind is the header of the frame behind e.end, there or on the next
// page.
func (f *Follower) headerBehind(e expect) (frameHeader, bool, error) {
	for _, e.lsn = range []LSN{e.end, e.end.nextPage()} {
		off := f.cur.header.offset(e.lsn)
		h, ok, err := f.src.headerAt(off, f.cfg.UUID)
		if err != nil || ok && off < f.cur.header.bytes && e.check(&h) == nil {
			return h, err == nil, err
		}
	}
	return frameHeader{}, false, nil
}

// proveByFile: a file is left only once all of it is durable, up to the frame
// whose chain the next one follows. That need not be the last one that begins
// there: after an unclean end some were dropped.
func (f *Follower) proveByFile(e expect) error {
	l := e.end
	next, later, gone, err := f.find(l)
	if err != nil {
		return err
	}
	if next == nil && later {
		f.proven = max(f.proven, l)
		return nil
	}
	if next == nil && gone {
		return ErrRecycled
	}
	for ok := next != nil; ok; {
		if next.header.chain == e.prev || next.header.flags&fileUnchained != 0 {
			f.proven = max(f.proven, l)
			return nil
		}
		var h frameHeader
		if h, ok, err = f.headerBehind(e); err != nil {
			return err
		}
		e.end, e.prev = h.lsn+LSN(h.bytes()), h.sum
		ok = ok && next.header.continues(e.end)
	}
	return nil
}

// advance goes on to the file that continues at pos; false where there is none
// yet.
func (f *Follower) advance() (bool, error) {
	next, _, gone, err := f.find(f.pos)
	if err != nil {
		return false, err
	}
	if next == nil {
		if gone {
			return false, ErrRecycled
		}
		return false, nil
	}
	src, err := openSource(f.cfg.FS, next.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, ErrRecycled
	}
	if err != nil {
		return false, err
	}
	f.src.close()
	f.src, f.cur, f.clean = src, next, false
	f.known = next.header.continues(f.pos)
	f.prev = next.header.sum
	if f.known {
		f.pos = next.header.start
	}
	return true, nil
}

// find looks for the file that continues at l; later says that one begins behind
// it. gone says that the place that the follower is at can no longer be read: its
// file has another generation by now, or is not there, and no file continues.
func (f *Follower) find(l LSN) (next *FileInfo, later, gone bool, err error) {
	files, _, err := listFiles(f.cfg)
	if err != nil {
		return nil, false, false, err
	}
	there := false
	generation, must := f.start.begun()
	for _, g := range files {
		if g.state != stateValid || g.Generation < f.start.lowest() {
			continue
		}
		if f.cur != nil {
			there = there || g.Generation == f.cur.Generation && g.header.salt == f.cur.header.salt
			if g.Generation <= f.cur.Generation {
				continue
			}
		}
		later = later || g.header.start > l.nextPage()
		fits := g.header.continues(l)
		if f.cur == nil {
			fits = (fits || g.header.holds(l)) && (!must || g.Generation == generation)
		}
		if fits && next == nil {
			next = g
		}
	}
	if f.cur == nil {
		return next, later, must || later, nil
	}
	return next, later, !there, nil
}

// damage tells a frame that is being written from one that was durable and
// does not verify.
func (f *Follower) damage(bad *flaw, err error) error {
	if err != nil || f.proven <= f.pos {
		return err
	}
	_, _, gone, err := f.find(f.pos)
	if err != nil {
		return err
	}
	if gone {
		return ErrRecycled
	}
	return &CorruptError{
		File: f.cur.Name, Offset: f.cur.header.offset(f.want) + bad.at, LSN: f.pos,
		Reason: fmt.Sprintf("%s, but the log was durable up to LSN %d", bad.reason, f.proven),
	}
}

// Close closes the file that is read.
func (f *Follower) Close() error {
	f.src.close()
	f.src, f.cur = nil, nil
	return nil
}
