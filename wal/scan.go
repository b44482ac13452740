package wal

import (
	"fmt"
	"slices"
)

// ScanOptions tell a scan what else is known.
type ScanOptions struct {
	// Salvage collects damage instead of failing, and goes on behind it with
	// what verifies by itself; a gap shows in Frame.Start.
	Salvage bool
	// CleanExpected: the log was closed clean, so it must end in the frame
	// that says so.
	CleanExpected bool
	// KnownEnd: everything below is known to have been durable.
	KnownEnd LSN
	// MaxFrameBytes bounds the payload of one frame; 0 leaves the size of its
	// file as the bound.
	MaxFrameBytes int
}

// ScanResult is what a scan found. The zero value is an empty log at LSN 0.
type ScanResult struct {
	Start Start
	// End is the end of the last frame.
	End LSN
	// Proven is how far the log is known to have been durable: a frame or a
	// file that was written later says so. What follows, up to End, may be in
	// the page cache alone.
	Proven LSN
	// Chain is the last frame's chain value; 0 where none was read.
	Chain uint64
	// Generation is the highest that was seen.
	Generation uint64
	// Clean: the log ends in a clean-close frame.
	Clean  bool
	Frames int
	// TornBytes were dropped at TornOffset of TornFile: an incomplete write
	// that was never acknowledged.
	TornBytes  int64
	TornFile   string
	TornOffset int64
	Files      []FileInfo
	// Damage is what a salvage stepped over.
	Damage []*CorruptError
	// Foreign names files of other logs, Unknown such as look like files of
	// the log and are not. Nothing ever touches them.
	Foreign, Unknown []string

	number uint64    // highest file number that was seen
	last   *FileInfo // the file that the log ends in; nil: none
	// unsealed: the last frame holds something, and nothing proves it durable.
	unsealed bool
}

// Scan reads every frame from start on, in order, and calls fn for each. At
// the first place that does not hold the frame that belongs there, it applies
// the evidence rule: the log ends there, perhaps in a torn write, or there is
// a *CorruptError. It changes nothing on disk.
func Scan(cfg Config, start Start, o ScanOptions, fn func(Frame) error) (ScanResult, error) {
	s := &scanner{cfg: cfg, o: o, fn: fn, lowest: start.lowest(), pos: start.LSN}
	s.res.Start, s.res.Proven = start, start.LSN
	defer func() { s.src.close() }()
	err := s.run(start)
	if o.Salvage && s.salvageable(err) {
		err = s.salvage()
	}
	s.finish()
	return s.res, err
}

// scanner is the state of one scan.
type scanner struct {
	cfg    Config
	o      ScanOptions
	fn     func(Frame) error
	lowest uint64 // lower generations are of no concern
	res    ScanResult

	files []*FileInfo // by generation
	cur   *FileInfo   // nil while no file holds pos
	src   *source     // of cur
	pos   LSN         // the end of the last frame, or the start of cur
	prev  uint64      // what the next one must follow
	known bool        // prev is known
	clean bool        // the last frame was a clean close
	torn  *flaw       // where the next frame should be
	want  expect      // what it should be
	fnErr error       // what fn returned
}

func (s *scanner) run(start Start) error {
	var err error
	s.files, s.res.Unknown, err = listFiles(s.cfg)
	if err != nil {
		return err
	}
	if err := s.survey(); err != nil {
		return err
	}
	if start.LSN%unitBytes != 0 || start.LSN > 1<<62 {
		return &CorruptError{File: "wal", LSN: start.LSN, Reason: "the checkpoint's LSN is not one that a log can have"}
	}
	if err := s.enterFirst(start); err != nil {
		return err
	}
	for {
		more, err := s.step()
		if err != nil {
			return err
		}
		if !more {
			return s.judgeEnd()
		}
	}
}

// survey notes what the header pages say, before any frame is read.
func (s *scanner) survey() error {
	var damaged *CorruptError
	for _, f := range s.files {
		s.res.number = max(s.res.number, f.Number)
		switch f.state {
		case stateNewer:
			return fmt.Errorf("%s: version %d, want %d: %w", f.Name, f.header.version, formatVersion, ErrVersion)
		case stateForeign:
			s.res.Foreign = append(s.res.Foreign, f.Name)
			continue
		case stateRenamed:
			s.res.Unknown = append(s.res.Unknown, f.Name)
			if s.copied(f) {
				continue
			}
		case stateBlank, stateBroken:
			continue
		}
		s.res.Generation = max(s.res.Generation, f.Generation)
		if damaged == nil && f.state != stateValid && f.Generation >= s.lowest {
			damaged = f.corrupt(max(f.Start, s.pos))
		}
	}
	if damaged != nil {
		return damaged
	}
	return nil
}

// copied says whether a file under a wrong name is a copy of one that is there.
func (s *scanner) copied(f *FileInfo) bool {
	return slices.ContainsFunc(s.files, func(g *FileInfo) bool {
		return g.state == stateValid && g.Generation == f.Generation
	})
}

func (f *FileInfo) corrupt(l LSN) *CorruptError {
	return &CorruptError{File: f.Name, Offset: f.at, LSN: l, Reason: f.reason}
}

// enterFirst finds the file that holds the start.
func (s *scanner) enterFirst(start Start) error {
	generation, must := start.begun()
	for _, f := range s.files {
		if f.state != stateValid || f.Generation < s.lowest || must && f.Generation != generation {
			continue
		}
		if f.header.holds(s.pos) || f.header.continues(s.pos) {
			return s.enter(f)
		}
		if must {
			return &CorruptError{File: f.Name, LSN: s.pos, Reason: fmt.Sprintf(
				"generation %d holds LSN %d to %d", generation, f.Start, f.Start+LSN(f.header.bytes-PageBytes))}
		}
	}
	if must {
		return s.missing(generation)
	}
	return nil
}

// missing names the file most likely to have been the one that is not there.
func (s *scanner) missing(generation uint64) error {
	for _, f := range s.files {
		if f.state == stateBroken || f.state == stateForeign {
			c := f.corrupt(s.pos)
			c.Reason += fmt.Sprintf("; and no other file is of generation %d, which the checkpoint needs", generation)
			return c
		}
	}
	return &CorruptError{
		File: "wal", LSN: s.pos,
		Reason: fmt.Sprintf("the file of generation %d, which the checkpoint needs, is missing", generation),
	}
}

// enter goes on in f.
func (s *scanner) enter(f *FileInfo) error {
	src, err := openSource(s.cfg.FS, f.Name)
	if err != nil {
		return err
	}
	s.src.close()
	s.src, s.cur = src, f
	s.prev, s.known = 0, false
	if f.header.continues(s.pos) {
		s.pos, s.prev, s.known = f.header.start, f.header.sum, true
	}
	f.Start, f.End = s.pos, s.pos
	s.res.Proven = max(s.res.Proven, f.header.start) // the file before was left once it was durable
	s.clean, s.torn = false, nil
	return nil
}

// step reads the frame at pos, or goes on to the file that continues there;
// false where neither is possible.
func (s *scanner) step() (bool, error) {
	if s.cur != nil && !s.clean {
		f, err := s.readFrame()
		if err != nil {
			return false, err
		}
		if f == nil {
			return true, nil
		}
		s.torn = f
	}
	next, err := s.continuation()
	if next == nil || err != nil {
		return false, err
	}
	return true, s.enter(next)
}

func (s *scanner) expect() expect {
	return expect{
		uuid: s.cfg.UUID, version: s.cur.header.version, generation: s.cur.Generation, salt: s.cur.header.salt,
		end: s.pos, lsn: s.pos, prev: s.prev, prevKnown: s.known,
	}
}

// readFrame delivers the frame behind pos, or says what is wrong there.
func (s *scanner) readFrame() (*flaw, error) {
	s.want = s.expect()
	h, payload, bad, err := s.src.next(&s.cur.header, &s.want, int64(s.o.MaxFrameBytes))
	if err != nil {
		return nil, err
	}
	off := s.cur.header.offset(s.want.lsn)
	if bad != nil && bad.newer {
		return nil, fmt.Errorf("%s at offset %d: %s: %w", s.cur.Name, off, bad.reason, ErrVersion)
	}
	if bad != nil {
		return bad, nil
	}
	return nil, s.deliver(h, payload, off)
}

func (s *scanner) deliver(h *frameHeader, payload []byte, off int64) error {
	f := newFrame(h, payload, s.cur.Name, off)
	s.res.Proven = max(s.res.Proven, f.Durable)
	s.res.unsealed = f.Durable < s.pos || f.Records > 0 || len(payload) > 0
	s.clean = h.flags&FlagClean != 0
	if !s.clean {
		// A clean close takes no room, and what follows does not build on it.
		s.pos, s.cur.End = f.End, f.End
		s.prev, s.known = h.sum, true
		s.res.Chain = h.sum
	}
	s.res.Frames++
	s.fnErr = s.fn(f)
	return s.fnErr
}

func newFrame(h *frameHeader, payload []byte, file string, off int64) Frame {
	end := h.lsn
	if h.flags&FlagClean == 0 {
		end += LSN(h.bytes())
	}
	return Frame{
		Header: Header{Position: h.position, ManifestGen: h.manifestGen, ManifestLen: int64(h.manifestLen), Flags: h.flags},
		Start:  h.lsn, End: end, Durable: h.durable, Generation: h.generation,
		Records: h.records, Payload: payload, File: file, Offset: off, lent: h.bytes() <= windowBytes,
	}
}

// continuation is the next file that starts at pos, or on the next page; nil
// where there is none. Several may: each that a crash left without one whole
// frame.
func (s *scanner) continuation() (*FileInfo, error) {
	for _, f := range s.files {
		if f.state != stateValid || f.Generation < s.lowest || !f.header.continues(s.pos) {
			continue
		}
		if s.cur != nil && f.Generation <= s.cur.Generation {
			continue
		}
		if s.res.Chain != 0 && f.header.chain != s.res.Chain && f.header.flags&fileUnchained == 0 {
			return nil, &CorruptError{File: f.Name, LSN: s.pos, Reason: fmt.Sprintf(
				"the file follows chain %016x, want %016x: a frame before it is not the one that was there", f.header.chain, s.res.Chain)}
		}
		return f, s.checkRest(f)
	}
	return nil, nil
}

// checkRest: a file is left only once it is durable, and then what is left of
// its last page is zeros, unless there was an unclean end.
func (s *scanner) checkRest(next *FileInfo) error {
	if s.cur == nil || next.header.flags&fileRecovered != 0 {
		return nil
	}
	rest, err := s.src.rest(&s.cur.header, s.pos)
	if at := firstNonZero(rest, 0); err == nil && at < int64(len(rest)) {
		return &CorruptError{File: s.cur.Name, Offset: s.cur.header.offset(s.pos) + at, LSN: s.pos, Reason: fmt.Sprintf(
			"the rest of the page behind the last frame is not zero, but generation %d in %s continues", next.Generation, next.Name)}
	}
	return err
}

// finish fills in what every result has.
func (s *scanner) finish() {
	s.res.End, s.res.last = s.pos, s.cur
	s.res.Generation = max(s.res.Generation, s.lowest)
	for _, f := range s.files {
		s.res.Files = append(s.res.Files, *f)
	}
}
