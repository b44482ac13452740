package wal

import (
	"fmt"
	"math/bits"
)

// judgeEnd applies the evidence rule to the place where the log stops.
//
// Why it is sound: a frame that says durable = D is written only after a sync
// up to D returned success, and nothing is written after a sync failed. So
// bytes below D cannot be the rest of a write that was cut short, and where
// they do not verify they were changed later. What nothing proves was never
// acknowledged by more than the last sync, and may be torn.
func (s *scanner) judgeEnd() error {
	steps := []func() error{s.knownEnd, s.laterFiles, s.laterFrames, s.shape}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	s.res.Clean = s.clean
	if s.o.CleanExpected && !s.clean {
		return s.corrupt("the log was closed clean, but does not end in the frame that says so")
	}
	if s.cur == nil || s.clean {
		return nil
	}
	return s.measureTear()
}

// corrupt reports the place where the log stops.
func (s *scanner) corrupt(evidence string) *CorruptError {
	c := &CorruptError{File: "wal", LSN: s.pos, Reason: evidence}
	if s.cur == nil {
		c.Reason = "no file holds this place, but " + evidence
		return c
	}
	c.File = s.cur.Name
	c.Offset = s.cur.header.offset(s.pos)
	if s.torn != nil {
		c.Offset = s.cur.header.offset(s.want.lsn) + s.torn.at
		c.Reason = s.torn.reason + ", but " + evidence
	}
	return c
}

// knownEnd is what the caller knows.
func (s *scanner) knownEnd() error {
	if s.o.KnownEnd <= s.pos {
		return nil
	}
	return s.corrupt(fmt.Sprintf("the log was durable up to LSN %d", s.o.KnownEnd))
}

// laterFiles looks for files that were begun later. They begin where the log
// ended then, and everything before that was durable.
func (s *scanner) laterFiles() error {
	for _, f := range s.files {
		if f.state != stateValid || f.Generation < s.lowest || s.cur != nil && f.Generation <= s.cur.Generation {
			continue
		}
		if f.header.start > s.pos.nextPage() {
			return s.corrupt(fmt.Sprintf("generation %d in %s continues from LSN %d", f.Generation, f.Name, f.header.start))
		}
		if s.cur != nil && f.header.start < s.pos.nextPage() {
			return s.corrupt(fmt.Sprintf("generation %d in %s starts at LSN %d already", f.Generation, f.Name, f.header.start))
		}
	}
	return nil
}

// laterFrames looks, in all files, for a frame that proves durable what lies
// behind the end. It need not be of this generation: whatever once was durable
// is part of every later history of the log.
//
// Behind a clean close only each file's frames from the first on are followed:
// there was no crash that could have left others.
func (s *scanner) laterFrames() error {
	for _, f := range s.files {
		if f.state == stateForeign {
			continue
		}
		if err := s.framesIn(f); err != nil {
			return err
		}
	}
	return nil
}

func (s *scanner) framesIn(f *FileInfo) error {
	src, err := openSource(s.cfg.FS, f.Name)
	if err != nil {
		return err
	}
	defer src.close()
	if s.clean {
		src.ahead = PageBytes // most often one look at a file is enough
	}
	read, end := f.header.offset(f.Start), f.header.offset(f.End)
	// From the very start: a header page may have been overwritten by a frame.
	for off := int64(0); off < src.size; {
		if off == read && end > read {
			off = end // the frames that were accepted lie before the end
			continue
		}
		h, ok, err := src.headerAt(off, s.cfg.UUID)
		if err != nil {
			return err
		}
		if ok && h.durable > s.pos && h.durable <= h.lsn {
			return s.corrupt(fmt.Sprintf("the frame of LSN %d at offset %d of %s proves the log durable up to LSN %d",
				h.lsn, off, f.Name, h.durable))
		}
		switch {
		case !s.clean:
			if off, err = src.seekFrame(off + unitBytes); err != nil {
				return err
			}
		case off == 0, !ok && off%PageBytes != 0:
			off = roundUp(off + 1)
		case !ok || h.lsn < s.pos:
			return nil
		default:
			off += h.bytes()
		}
	}
	return nil
}

// headerAt decodes the header of this log's frame at off, if there is one.
func (s *source) headerAt(off int64, uuid [16]byte) (frameHeader, bool, error) {
	b, err := s.bytes(off, headerBytes)
	if err != nil {
		return frameHeader{}, false, err
	}
	h, ok := decodeFrameHeader(b)
	return h, ok && h.uuid == uuid, nil
}

// seekFrame is where, from off on, bytes begin that could be a frame's: at any
// unit. It is the end of the file where there are none.
func (s *source) seekFrame(off int64) (int64, error) {
	for off < s.size {
		b, err := s.bytes(off, PageBytes)
		if err != nil {
			return 0, err
		}
		for at := 0; at+len(frameMagic) <= len(b); at += unitBytes {
			if string(b[at:at+len(frameMagic)]) == frameMagic {
				return off + int64(at), nil
			}
		}
		off += PageBytes
	}
	return s.size, nil
}

// shape looks at the damage itself.
func (s *scanner) shape() error {
	if s.cur == nil || s.clean || s.torn == nil {
		return nil
	}
	if s.torn.proof {
		return s.corrupt("no write that is cut short leaves that")
	}
	at, ok, err := s.src.flippedBit(s.cur.header.offset(s.want.lsn), s.want, int64(s.o.MaxFrameBytes))
	if err == nil && !ok {
		at, ok, err = s.flippedBehind()
	}
	if err != nil || !ok {
		return err
	}
	s.torn.at = at
	return s.corrupt("exactly one flipped bit explains it")
}

// flippedBehind says whether what is left of a page would be zeros but for one
// bit.
func (s *scanner) flippedBehind() (at int64, ok bool, err error) {
	rest, err := s.src.rest(&s.cur.header, s.want.lsn)
	ones := 0
	for _, b := range rest {
		ones += bits.OnesCount8(b)
	}
	return firstNonZero(rest, 0), ones == 1, err
}

// measureTear counts what is dropped: from the end to the end of the last
// frame that was begun behind it. In a file that had not been used before
// everything that is not zero counts; in one that had, bytes of no frame of
// this generation may be older.
func (s *scanner) measureTear() error {
	from := s.cur.header.offset(s.want.lsn)
	end := from
	unit := unitOf(s.cur.header.version)
	fresh := s.cur.header.flags&fileRecycled == 0
	for off := from; off < s.cur.header.bytes; off += unit {
		b, err := s.src.bytes(off, int(max(unit, headerBytes)))
		if err != nil {
			return err
		}
		h, ok := decodeFrameHeader(b)
		if ok && h.uuid == s.cfg.UUID && h.generation == s.cur.Generation && h.salt == s.cur.header.salt {
			end = max(end, off+min(h.bytes(), s.cur.header.bytes-off))
		}
		if fresh && !allZero(b[:unit]) {
			end = max(end, off+unit)
		}
	}
	if end > from {
		s.res.TornBytes, s.res.TornFile, s.res.TornOffset = end-from, s.cur.Name, from
	}
	return nil
}
