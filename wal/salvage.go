package wal

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
)

// salvageable notes what stopped a scan; false where that is not damage.
func (s *scanner) salvageable(err error) bool {
	if err == nil || s.fnErr != nil || s.files == nil || errors.Is(err, ErrVersion) {
		return false
	}
	var c *CorruptError
	if !errors.As(err, &c) {
		c = s.corrupt("it cannot be read: " + err.Error())
	}
	s.res.Damage = append(s.res.Damage, c)
	return true
}

// salvage goes on behind damage: every frame in the files that concern the log
// which verifies by itself and lies at or behind pos is delivered, in order.
func (s *scanner) salvage() error {
	files := slices.Clone(s.files)
	files = slices.DeleteFunc(files, func(f *FileInfo) bool {
		return f.state == stateForeign || f.state == stateNewer || !s.guess(f) || f.Generation < s.lowest
	})
	slices.SortStableFunc(files, func(a, b *FileInfo) int {
		return cmp.Or(cmp.Compare(a.Generation, b.Generation), cmp.Compare(a.state, b.state))
	})
	if s.clean {
		s.pos = s.pos.nextPage() // where that frame is: nothing is delivered twice
	}
	for i, f := range files {
		if s.cur != nil && f.Generation < s.cur.Generation {
			continue
		}
		if err := s.salvageFile(f, files[i+1:]); err != nil {
			return err
		}
	}
	return nil
}

// guess makes up a header for a file that has lost its own, from the first
// frame in it of the highest generation.
func (s *scanner) guess(f *FileInfo) bool {
	if f.state != stateBlank && f.state != stateBroken {
		return true
	}
	src, err := openSource(s.cfg.FS, f.Name)
	if err != nil {
		return false
	}
	defer src.close()
	for off := int64(PageBytes); off < src.size; off += unitBytes {
		h, ok, err := src.headerAt(off, s.cfg.UUID)
		if err != nil || !ok || h.generation <= f.Generation || uint64(h.lsn) < uint64(off-PageBytes) || (int64(h.lsn)-off)%PageBytes != 0 {
			continue
		}
		f.Generation = h.generation
		f.header = fileHeader{version: h.version, generation: h.generation, salt: h.salt, start: h.lsn - LSN(off-PageBytes), bytes: f.Size}
		f.Start, f.End = f.header.start, f.header.start
	}
	return f.Generation != 0
}

// salvageFile delivers the frames of f up to where a later file begins: those
// behind it were dropped when that was begun.
func (s *scanner) salvageFile(f *FileInfo, later []*FileInfo) error {
	until, last := LSN(math.MaxUint64), uint64(0)
	for _, g := range later {
		if g.Generation > f.Generation && g.header.start < until {
			until, last = g.header.start, g.header.chain
		}
	}
	src, err := openSource(s.cfg.FS, f.Name)
	if err != nil {
		s.lost(f, 0, err.Error())
		return nil
	}
	s.src.close()
	s.src, s.cur, s.known = src, f, false
	from := max(s.pos, f.header.start)
	if from-f.header.start >= LSN(src.size) {
		return nil
	}
	for off := f.header.offset(from); off < min(src.size, math.MaxInt64-PageBytes); {
		e := s.expect()
		e.end = f.header.start + LSN(off-PageBytes)
		e.lsn = e.end
		if e.lsn > until-PageBytes && !s.known && !src.leadsTo(off, s.cfg.UUID, last) {
			off += unitOf(f.header.version)
			continue
		}
		h, payload, bad, err := src.verify(off, e, int64(s.o.MaxFrameBytes))
		if err != nil || bad != nil || h.lsn+LSN(h.bytes()) > until && h.flags&FlagClean == 0 {
			off += unitOf(f.header.version)
			s.known = false // what the next one follows is lost
			continue
		}
		if h.lsn > s.pos && (h.lsn != s.pos.nextPage() || h.durable != s.pos) {
			s.gap(f, off, h.lsn)
		}
		if err := s.deliver(h, payload, off); err != nil {
			return err
		}
		if s.clean {
			s.pos = h.lsn
			break
		}
		off += h.bytes()
	}
	return nil
}

// leadsTo says whether the frame at off is the one whose chain value is last, or
// frames behind it lead there. In the page in which a file was left after an
// unclean end, nothing else tells a frame of the log, behind damage, from one
// that was dropped.
func (s *source) leadsTo(off int64, uuid [16]byte, last uint64) bool {
	for prev := uint64(0); ; {
		h, ok, err := s.headerAt(off, uuid)
		if err != nil || !ok || prev != 0 && h.prev != prev {
			return false
		}
		if h.sum == last {
			return true
		}
		off, prev = off+h.bytes(), h.sum
	}
}

// lost notes damage at pos.
func (s *scanner) lost(f *FileInfo, at int64, reason string) {
	s.res.Damage = append(s.res.Damage, &CorruptError{File: f.Name, Offset: at, LSN: s.pos, Reason: reason})
}

// gap notes what is missing before the frame at off, unless the damage that
// began at the same place was noted already.
func (s *scanner) gap(f *FileInfo, off int64, to LSN) {
	if n := len(s.res.Damage); n > 0 && s.res.Damage[n-1].LSN == s.pos {
		return
	}
	s.lost(f, max(PageBytes, off-int64(to-s.pos)), fmt.Sprintf("nothing verifies from LSN %d to %d", s.pos, to))
}
