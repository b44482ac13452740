package wal

import (
	"encoding/binary"
	"math/bits"

	"github.com/cespare/xxhash/v2"
)

// A file is one header page and then frames:
//
//	| header page | frame | frame ... | bytes of no meaning |
//
// A frame, drawn over three pages:
//
//	| header 128 | payload ...        | ... payload        | payload | table | zeros |
//	|<------------- page 0 ---------->|<----- page 1 ----->|<------- page 2 ------->|
//
// The table holds one checksum for each page of the frame that has payload in
// it, over the payload bytes in that page. In version 1 a frame is a multiple of
// a page. In version 2 it is a multiple of unitBytes, and frames share a page
// until a sync: the first one after it starts on the next page, and what is left
// of the page before is zeros. FORMAT.md has the fields.

// PageBytes is the unit of what is synced: no page that a sync has made durable
// is written again.
const PageBytes = 4096

const (
	versionPages  = 1 // frames are whole pages
	versionPacked = 2 // frames share pages until a sync
	formatVersion = versionPacked

	// unitBytes is the unit of version 2: small beside an event and its header,
	// and large enough for all places where a frame may begin to be looked at.
	unitBytes   = 64
	headerBytes = 128
	sumOffset   = headerBytes - 8 // of the checksum in both headers, in any version
	sectorBytes = 512
	entryBytes  = 8 // of the page table

	frameMagic = "SLWF"
	fileMagic  = "SLWH"

	payloadBytesMax = 1<<31 - 1<<24
)

// LSN is a byte position in the endless log: a multiple of PageBytes, or where
// frames share pages of unitBytes. Header pages do not count.
type LSN uint64

// nextPage is where the log goes on behind l after a sync.
func (l LSN) nextPage() LSN { return (l + PageBytes - 1) &^ (PageBytes - 1) }

// page is the start of the page that holds l.
func (l LSN) page() LSN { return l &^ (PageBytes - 1) }

// Flags of a frame. The low eight bits are set by this package and ignored in
// what a caller passes; the others are the caller's.
type Flags uint16

const (
	// FlagSeal marks an empty frame that proves the frames before it durable.
	FlagSeal Flags = 1 << iota
	// FlagClean marks the empty frame that ends a clean close. It takes no
	// room in the log: the next generation starts at its own LSN.
	FlagClean
	// FlagRecovered marks the first frame after an unclean end.
	FlagRecovered

	flagsOwn   Flags = 0xff
	flagsKnown       = FlagSeal | FlagClean | FlagRecovered | ^flagsOwn
)

// Flags of a header page.
const (
	fileRecovered = 1 << iota // the use began after an unclean end
	fileUnchained             // the chain of the frame before was not known
	fileRecycled              // the file had been used before
)

// checksum is xxhash64 with its top bit replaced, so that the most significant
// byte, which is written last, has an even number of ones. A write that is cut
// off just before that byte then never looks like a single flipped bit.
func checksum(b []byte) uint64 {
	h := xxhash.Sum64(b) &^ (1 << 63)
	return h | uint64(bits.OnesCount64(h>>56)&1)<<63
}

// frameHeader is the decoded header of a frame.
type frameHeader struct {
	version      uint16
	flags        Flags
	uuid         [16]byte
	generation   uint64
	salt         uint64
	lsn          LSN
	durable      LSN
	prev         uint64 // sum of the frame before, or of the header page
	position     uint64
	manifestGen  uint64
	manifestLen  uint64
	payloadBytes uint32
	records      uint32
	table        uint64 // checksum of the page table
	sum          uint64 // checksum of the header, and the frame's chain value
}

// encode fills b[:headerBytes] and sets h.sum.
func (h *frameHeader) encode(b []byte) {
	le := binary.LittleEndian
	b = b[:headerBytes]
	clear(b)
	copy(b, frameMagic)
	le.PutUint16(b[4:], h.version)
	le.PutUint16(b[6:], uint16(h.flags))
	copy(b[8:], h.uuid[:])
	le.PutUint64(b[24:], h.generation)
	le.PutUint64(b[32:], h.salt)
	le.PutUint64(b[40:], uint64(h.lsn))
	le.PutUint64(b[48:], uint64(h.durable))
	le.PutUint64(b[56:], h.prev)
	le.PutUint64(b[64:], h.position)
	le.PutUint64(b[72:], h.manifestGen)
	le.PutUint64(b[80:], h.manifestLen)
	le.PutUint32(b[88:], h.payloadBytes)
	le.PutUint32(b[92:], h.records)
	le.PutUint64(b[96:], h.table)
	h.sum = checksum(b[:sumOffset])
	le.PutUint64(b[sumOffset:], h.sum)
}

// decodeFrameHeader reads a header of any version; false where magic or
// checksum do not match.
func decodeFrameHeader(b []byte) (frameHeader, bool) {
	if len(b) < headerBytes || string(b[:4]) != frameMagic {
		return frameHeader{}, false
	}
	le := binary.LittleEndian
	if checksum(b[:sumOffset]) != le.Uint64(b[sumOffset:]) {
		return frameHeader{}, false
	}
	return frameHeader{
		version:      le.Uint16(b[4:]),
		flags:        Flags(le.Uint16(b[6:])),
		uuid:         [16]byte(b[8:24]),
		generation:   le.Uint64(b[24:]),
		salt:         le.Uint64(b[32:]),
		lsn:          LSN(le.Uint64(b[40:])),
		durable:      LSN(le.Uint64(b[48:])),
		prev:         le.Uint64(b[56:]),
		position:     le.Uint64(b[64:]),
		manifestGen:  le.Uint64(b[72:]),
		manifestLen:  le.Uint64(b[80:]),
		payloadBytes: le.Uint32(b[88:]),
		records:      le.Uint32(b[92:]),
		table:        le.Uint64(b[96:]),
		sum:          le.Uint64(b[sumOffset:]),
	}, true
}

// bytes is the size of the whole frame.
func (h *frameHeader) bytes() int64 { return frameBytes(h.version, int64(h.payloadBytes)) }

// pageCount is how many pages of a frame have payload in them.
func pageCount(payload int64) int64 {
	if payload == 0 {
		return 0
	}
	return (headerBytes + payload + PageBytes - 1) / PageBytes
}

// frameBytes is the size of a frame with that much payload.
func frameBytes(version uint16, payload int64) int64 {
	unit := unitOf(version)
	return (headerBytes + payload + entryBytes*pageCount(payload) + unit - 1) &^ (unit - 1)
}

// unitOf is what frames of a version are multiples of.
func unitOf(version uint16) int64 {
	if version == versionPages {
		return PageBytes
	}
	return unitBytes
}

func roundUp(n int64) int64 { return (n + PageBytes - 1) &^ (PageBytes - 1) }

// piece is the part of the payload in page i of a frame, as bounds in the frame.
func piece(i, payload int64) (from, to int64) {
	return max(headerBytes, i*PageBytes), min((i+1)*PageBytes, headerBytes+payload)
}

// sealFrame fills in the table of a frame that holds n bytes of payload, and
// zeros behind it, and returns the table's checksum.
func sealFrame(frame []byte, n int64) uint64 {
	table := frame[headerBytes+n:]
	count := pageCount(n)
	for i := range count {
		from, to := piece(i, n)
		binary.LittleEndian.PutUint64(table[i*entryBytes:], checksum(frame[from:to]))
	}
	clear(table[count*entryBytes:])
	return checksum(table[:count*entryBytes])
}

// fileHeader is the decoded header page of a file. Where the generation starts
// is also where the one before it ended.
type fileHeader struct {
	version    uint16
	flags      uint16
	uuid       [16]byte
	generation uint64
	salt       uint64
	start      LSN
	chain      uint64 // sum of the last frame before start
	number     uint64
	bytes      int64
	sum        uint64
}

// encode fills b[:PageBytes] and sets h.sum.
func (h *fileHeader) encode(b []byte) {
	le := binary.LittleEndian
	b = b[:PageBytes]
	clear(b)
	copy(b, fileMagic)
	le.PutUint16(b[4:], h.version)
	le.PutUint16(b[6:], h.flags)
	copy(b[8:], h.uuid[:])
	le.PutUint64(b[24:], h.generation)
	le.PutUint64(b[32:], h.salt)
	le.PutUint64(b[40:], uint64(h.start))
	le.PutUint64(b[48:], h.chain)
	le.PutUint64(b[56:], h.number)
	le.PutUint64(b[64:], uint64(h.bytes))
	h.sum = checksum(b[:sumOffset])
	le.PutUint64(b[sumOffset:], h.sum)
}

// decodeFileHeader reads the first 128 bytes of a header page of any version;
// false where magic or checksum do not match.
func decodeFileHeader(b []byte) (fileHeader, bool) {
	if len(b) < headerBytes || string(b[:4]) != fileMagic {
		return fileHeader{}, false
	}
	le := binary.LittleEndian
	if checksum(b[:sumOffset]) != le.Uint64(b[sumOffset:]) {
		return fileHeader{}, false
	}
	return fileHeader{
		version:    le.Uint16(b[4:]),
		flags:      le.Uint16(b[6:]),
		uuid:       [16]byte(b[8:24]),
		generation: le.Uint64(b[24:]),
		salt:       le.Uint64(b[32:]),
		start:      LSN(le.Uint64(b[40:])),
		chain:      le.Uint64(b[48:]),
		number:     le.Uint64(b[56:]),
		bytes:      int64(le.Uint64(b[64:])),
		sum:        le.Uint64(b[sumOffset:]),
	}, true
}

// offset is where in its file an LSN lies.
func (h *fileHeader) offset(l LSN) int64 { return PageBytes + int64(l-h.start) }

// holds says whether an LSN that a frame can end at lies in the file, or at its
// very end.
func (h *fileHeader) holds(l LSN) bool {
	return l >= h.start && uint64(l-h.start) <= uint64(h.bytes-PageBytes) && int64(l-h.start)%unitOf(h.version) == 0
}

// continues says whether the file goes on where a log ends at l.
func (h *fileHeader) continues(l LSN) bool { return h.start == l.nextPage() }
