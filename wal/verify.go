package wal

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
)

// expect is what the frame at a place must say of itself.
type expect struct {
	uuid       [16]byte
	version    uint16
	generation uint64
	salt       uint64
	end        LSN // of the frame before
	lsn        LSN // end, or the next page where end was synced
	prev       uint64
	prevKnown  bool
}

// flaw is why bytes are not the frame that is expected.
type flaw struct {
	at     int64 // offset in the frame
	reason string
	// proof: no torn write leaves this, it is corruption whatever follows.
	proof bool
	// ours: the header verifies, so a frame was begun here.
	ours bool
	// newer: a newer version wrote it.
	newer bool
	size  int64 // of the frame, where ours
}

// check compares a header whose checksum is right with what is expected.
func (e expect) check(h *frameHeader) *flaw {
	switch {
	case h.uuid != e.uuid:
		return &flaw{reason: fmt.Sprintf("frame of log %x, want %x", h.uuid, e.uuid)}
	case h.generation != e.generation || h.salt != e.salt:
		return &flaw{reason: fmt.Sprintf("frame of generation %d, want %d", h.generation, e.generation)}
	case h.version > formatVersion || h.flags&^flagsKnown != 0:
		return &flaw{newer: true, reason: fmt.Sprintf("frame of version %d and flags %#x", h.version, h.flags)}
	case h.lsn != e.lsn:
		// Salt and generation are this use's: the frame is in a wrong place.
		return &flaw{proof: e.lsn == e.end, reason: fmt.Sprintf("frame of LSN %d, want %d", h.lsn, e.lsn)}
	case e.lsn != e.end && h.durable != e.end:
		// A frame before it, which no sync has covered, did not reach the disk.
		return &flaw{reason: fmt.Sprintf("frame of LSN %d says that LSN %d is durable, want %d", h.lsn, h.durable, e.end)}
	case e.prevKnown && h.prev != e.prev:
		return &flaw{proof: true, reason: fmt.Sprintf("frame follows chain %016x, want %016x", h.prev, e.prev)}
	case h.version != e.version || h.durable > h.lsn.page() || h.payloadBytes > payloadBytesMax || h.manifestLen > 1<<62 ||
		h.payloadBytes > 0 && h.flags&(FlagSeal|FlagClean) != 0:
		return &flaw{proof: true, reason: "frame's header holds numbers that no writer writes"}
	}
	return nil
}

// survey is what is wrong in a frame behind its header.
type survey struct {
	tableBad    bool
	pages       int   // whose payload does not match the table
	page        int64 // the first of them
	paddingBits int   // set in the padding
	paddingAt   int64 // the first of them
}

func (s survey) clean() bool { return !s.tableBad && s.pages == 0 && s.paddingBits == 0 }

// look verifies a whole frame behind its header.
func look(frame []byte, h *frameHeader) survey {
	var s survey
	n := int64(h.payloadBytes)
	table := frame[headerBytes+n:][:pageCount(n)*entryBytes]
	s.tableBad = checksum(table) != h.table
	for i := range pageCount(n) {
		from, to := piece(i, n)
		if checksum(frame[from:to]) == binary.LittleEndian.Uint64(table[i*entryBytes:]) {
			continue
		}
		if s.pages == 0 {
			s.page = i
		}
		s.pages++
	}
	end := int(headerBytes + n + int64(len(table)))
	s.paddingAt = firstNonZero(frame, end)
	for _, b := range frame[s.paddingAt:] {
		s.paddingBits += bits.OnesCount8(b)
	}
	return s
}

// flaw describes what was found wrong.
func (s survey) flaw(h *frameHeader) *flaw {
	f := &flaw{ours: true, size: h.bytes()}
	n := int64(h.payloadBytes)
	switch {
	case s.tableBad:
		f.at, f.reason = headerBytes+n, "the frame's page table does not verify"
	case s.pages > 0:
		f.at, _ = piece(s.page, n)
		f.reason = fmt.Sprintf("payload in page %d of the frame does not verify (%d of %d pages)", s.page, s.pages, pageCount(n))
	default:
		f.at, f.reason = s.paddingAt, "the frame's padding is not zero"
	}
	return f
}

// next reads the frame behind e.end: it begins there, or on the next page where
// the rest of this one is zeros. One of the three results is set, and e.lsn says
// where the frame is, or should be.
func (s *source) next(file *fileHeader, e *expect, payloadMax int64) (*frameHeader, []byte, *flaw, error) {
	h, payload, bad, err := s.inFile(file, *e, payloadMax)
	if bad == nil || bad.newer || e.lsn == e.lsn.nextPage() {
		return h, payload, bad, err
	}
	after := *e
	after.lsn = e.lsn.nextPage()
	rest, err := s.rest(file, e.lsn)
	if err != nil {
		return nil, nil, nil, err
	}
	at := firstNonZero(rest, 0)
	if at == int64(len(rest)) {
		*e = after
		return s.inFile(file, after, payloadMax)
	}
	behind, ok, err := s.headerAt(file.offset(after.lsn), e.uuid)
	if ok && after.check(&behind) == nil {
		bad = &flaw{proof: true, at: at, reason: "the rest of the page behind the last frame before a sync is not zero"}
	}
	return nil, nil, bad, err
}

// rest is what is left of the page that a frame ended in.
func (s *source) rest(file *fileHeader, end LSN) ([]byte, error) {
	return s.bytes(file.offset(end), int(end.nextPage()-end))
}

func (s *source) inFile(file *fileHeader, e expect, payloadMax int64) (*frameHeader, []byte, *flaw, error) {
	off := file.offset(e.lsn)
	if off >= file.bytes {
		return nil, nil, &flaw{reason: "the file is full"}, nil
	}
	return s.verify(off, e, payloadMax)
}

// verify reads the frame that is expected at off. One of the three results is
// set. The payload is valid until the next call, but that of a frame which does
// not fit into a window stays.
func (s *source) verify(off int64, e expect, payloadMax int64) (*frameHeader, []byte, *flaw, error) {
	b, err := s.bytes(off, headerBytes)
	if err != nil {
		return nil, nil, nil, err
	}
	h, ok := decodeFrameHeader(b)
	if !ok {
		return nil, nil, &flaw{reason: "no frame header"}, nil
	}
	if f := e.check(&h); f != nil {
		return nil, nil, f, nil
	}
	if f := s.tooLong(off, &h, payloadMax); f != nil {
		return nil, nil, f, nil
	}
	frame, err := s.bytes(off, int(h.bytes()))
	if err != nil {
		return nil, nil, nil, err
	}
	if found := look(frame, &h); !found.clean() {
		return nil, nil, found.flaw(&h), nil
	}
	return &h, frame[headerBytes:][:h.payloadBytes], nil, nil
}

// tooLong bounds a frame before memory is taken for it.
func (s *source) tooLong(off int64, h *frameHeader, payloadMax int64) *flaw {
	if size := h.bytes(); size > s.size-off {
		return &flaw{proof: true, reason: fmt.Sprintf("frame of %d bytes, but the file ends after %d", size, s.size-off)}
	} else if payloadMax > 0 && int64(h.payloadBytes) > payloadMax {
		return &flaw{proof: true, reason: fmt.Sprintf("payload of %d bytes, above the limit of %d", h.payloadBytes, payloadMax)}
	}
	return nil
}

// flippedBit says whether exactly one flipped bit explains why the frame that
// is expected at off does not verify, and where. Checksums of 64 bits make a
// chance match as good as impossible.
func (s *source) flippedBit(off int64, e expect, payloadMax int64) (at int64, ok bool, err error) {
	first, err := s.bytes(off, headerBytes)
	if err != nil || len(first) < headerBytes {
		return 0, false, err
	}
	fits := func(b []byte) bool {
		h, ok := decodeFrameHeader(b)
		return ok && e.check(&h) == nil && s.tooLong(off, &h, payloadMax) == nil
	}
	inHeader := !fits(first)
	header, at := bytes.Clone(first), int64(0)
	if inHeader {
		if header, at, ok = repairHeader(first, fits); !ok {
			return 0, false, nil
		}
	}
	h, _ := decodeFrameHeader(header)
	frame, err := s.bytes(off, int(h.bytes()))
	if err != nil {
		return 0, false, err
	}
	found := look(frame, &h)
	if inHeader {
		ok = found.clean()
	} else {
		at, ok = found.bit(frame, &h)
	}
	return at, ok && !unwritten(frame, off, at), nil
}

// bit finds the single flipped bit behind the header, if there is one.
func (s survey) bit(frame []byte, h *frameHeader) (at int64, ok bool) {
	n := int64(h.payloadBytes)
	table := frame[headerBytes+n:][:pageCount(n)*entryBytes]
	switch {
	case s.paddingBits > 0:
		return s.paddingAt, s.paddingBits == 1 && !s.tableBad && s.pages == 0
	case !s.tableBad && s.pages == 1:
		from, to := piece(s.page, n)
		want := binary.LittleEndian.Uint64(table[s.page*entryBytes:])
		at, ok := flipped(bytes.Clone(frame[from:to]), func(b []byte) bool { return checksum(b) == want })
		return from + at, ok
	case s.tableBad && s.pages == 1:
		// The payload is as it was if its own checksums give the table that
		// the header wants.
		fixed := bytes.Clone(table)
		entry := fixed[s.page*entryBytes:][:entryBytes]
		before := binary.LittleEndian.Uint64(entry)
		from, to := piece(s.page, n)
		after := checksum(frame[from:to])
		binary.LittleEndian.PutUint64(entry, after)
		at := int64(bits.TrailingZeros64(before^after)) / 8
		return headerBytes + n + s.page*entryBytes + at, bits.OnesCount64(before^after) == 1 && checksum(fixed) == h.table
	}
	return 0, false
}

// unwritten says whether all that the frame at off has in the sector around a
// byte of it reads as zeros: then a write that never got there explains it as
// well as a flipped bit does.
func unwritten(frame []byte, off, at int64) bool {
	from := (off+at)&^(sectorBytes-1) - off
	return allZero(frame[max(0, from):min(from+sectorBytes, int64(len(frame)))])
}

// repairHeader finds the one bit whose flip makes a header good.
func repairHeader(b []byte, good func([]byte) bool) (fixed []byte, at int64, ok bool) {
	if len(b) < headerBytes || allZero(b[:headerBytes]) {
		return nil, 0, false
	}
	fixed = bytes.Clone(b[:headerBytes])
	at, ok = flipped(fixed, good)
	return fixed, at, ok
}

// flipped flips each bit of b in turn until good says yes, and leaves it so.
func flipped(b []byte, good func([]byte) bool) (at int64, ok bool) {
	for i := range b {
		for bit := range 8 {
			b[i] ^= 1 << bit
			if good(b) {
				return int64(i), true
			}
			b[i] ^= 1 << bit
		}
	}
	return 0, false
}
