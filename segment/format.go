package segment

import (
	"encoding/binary"
	"fmt"

	"github.com/cespare/xxhash/v2"
)

// A file, all numbers little-endian (FORMAT.md has every field):
//
//	0      4096                aligned               aligned
//	+------+-------+-------+---+-------+-------+-----+--------+
//	| page | block | block | 0 | block | block |  0  | footer |
//	+------+-------+-------+---+-------+-------+-----+--------+
//	        \___ a run ___/     \___ a run ___/
//
//	block:  128-byte header, body
//	footer: 64-byte header, one 96-byte entry a block, 32-byte trailer
const (
	// PageBytes is the size of the header page, and what runs of blocks and
	// the footer are aligned to. A new file has PageBytes.
	PageBytes = 4096
	// MaxRaw bounds a block's bytes before compression.
	MaxRaw = 1 << 30

	version = 1

	blockHeaderBytes   = 128
	footerHeaderBytes  = 64
	footerEntryBytes   = 96
	footerTrailerBytes = 32
)

// No magic has a zero byte: a gap is never taken for one.
const (
	pageMagic    = "seglogS\n"
	blockMagic   = "sgBk"
	footerMagic  = "sgFt"
	trailerMagic = "seglogE\n"
)

// Codec says how a block's body is stored.
type Codec uint8

const (
	// None stores the bytes as they are.
	None Codec = iota
	// S2 is fast in both directions.
	S2
	// Zstd is smaller and slower.
	Zstd
)

func (c Codec) String() string {
	switch c {
	case None:
		return "none"
	case S2:
		return "s2"
	case Zstd:
		return "zstd"
	}
	return fmt.Sprintf("codec %d", uint8(c))
}

// Identity is what a segment file is: it is in the file's name and header, and
// every block repeats it or is bound to it, so that a file or a sector that
// comes from elsewhere is found out.
type Identity struct {
	// UUID is the log's.
	UUID [16]byte
	// Topic is the topic's number; 0 is the carry file of many topics.
	Topic uint64
	// Incarnation tells a topic from an earlier one of the same number; 0 for
	// the carry file.
	Incarnation uint32
	// ID is the segment's own, unique in the log.
	ID uint64
	// Base is the first event id that the file may hold; 0 for the carry file.
	Base uint64
}

// FileName is the name of a segment's file in its log.
func FileName(id Identity) string {
	if id.Topic == 0 {
		return fmt.Sprintf("carry-%016x", id.ID)
	}
	return fmt.Sprintf("seg/%016x-%016x-%016x.seg", id.Topic, id.Base, id.ID)
}

// seed starts the checksums of block headers and footers. So a block of
// another log does not verify, nor does a copy of a block inside an event,
// whose author does not know the uuid.
func (id Identity) seed() uint64 { return xxhash.Sum64(id.UUID[:]) }

// Block is what is known about a block without reading its body.
type Block struct {
	Topic       uint64
	Incarnation uint32
	// First and Last are event ids.
	First, Last uint64
	// FirstPosition and LastPosition are positions over all topics.
	FirstPosition, LastPosition uint64
	// MinTime and MaxTime bound the events' times, in Unix milliseconds.
	MinTime, MaxTime int64
	// Kinds has the bits of the events' kinds: see [KindBit].
	Kinds uint64
	// Offset is where the block's header starts in the file.
	Offset int64
	// Stored is the bytes on disk, header and body.
	Stored uint32
	// Raw is the bytes of the body before compression.
	Raw uint32
	// Checksum is the xxhash64 of the body as stored.
	Checksum uint64
}

// end is where the block's body ends in the file.
func (b Block) end() int64 { return b.Offset + int64(b.Stored) }

// KindBit is the bit of Block.Kinds that stands for a kind. A block whose
// Kinds lacks the bit has no event of that kind; one that has it may have some.
func KindBit(kind []byte) uint64 { return 1 << (xxhash.Sum64(kind) >> 58) }

// checkFacts verifies what must hold for any block of the file id.
func (b Block) checkFacts(id Identity) error {
	switch {
	case b.Topic == 0, id.Topic != 0 && b.Topic != id.Topic:
		return damagef("block of topic %d in a file of topic %d", b.Topic, id.Topic)
	case id.Topic != 0 && b.Incarnation != id.Incarnation:
		return damagef("block of incarnation %d in a file of incarnation %d", b.Incarnation, id.Incarnation)
	case b.First == 0, b.First > b.Last:
		return damagef("block of events %d to %d", b.First, b.Last)
	case b.First < id.Base:
		return damagef("block of events %d to %d in a file that begins with %d", b.First, b.Last, id.Base)
	case b.FirstPosition > b.LastPosition:
		return damagef("block of positions %d to %d", b.FirstPosition, b.LastPosition)
	case b.MinTime > b.MaxTime:
		return damagef("block of times %d to %d", b.MinTime, b.MaxTime)
	case b.Raw > MaxRaw:
		return damagef("block of %d bytes, the limit is %d", b.Raw, MaxRaw)
	}
	return nil
}

// checkPlace verifies that b lies between end, where the block before it ends
// with event last, and limit. Ids may skip (events between were stored
// elsewhere), but never go back.
func (b Block) checkPlace(id Identity, end, limit int64, last uint64) error {
	switch {
	case b.Stored < blockHeaderBytes, b.Stored-blockHeaderBytes > b.Raw:
		return damagef("block of %d bytes is stored in %d", b.Raw, b.Stored)
	case b.Offset < end:
		return damagef("block at %d begins before %d, where the last one ends", b.Offset, end)
	case b.Offset > limit, int64(b.Stored) > limit-b.Offset:
		return damagef("block of %d bytes at %d goes beyond %d, where blocks end", b.Stored, b.Offset, limit)
	case id.Topic != 0 && b.First <= last:
		return damagef("block of events %d to %d behind event %d", b.First, b.Last, last)
	}
	return nil
}

// List is the blocks of one file in order, as its footer has them.
type List struct{ entries []byte }

// NewList makes a list of blocks that were found one by one.
func NewList(blocks []Block) List {
	entries := make([]byte, 0, len(blocks)*footerEntryBytes)
	for _, b := range blocks {
		entries = appendFooterEntry(entries, b)
	}
	return List{entries}
}

// Len is the number of blocks.
func (l List) Len() int { return len(l.entries) / footerEntryBytes }

// Block returns block i, from 0.
func (l List) Block(i int) Block { return parseFooterEntry(l.entry(i)) }

// Last is the last event id of block i.
func (l List) Last(i int) uint64 { return binary.LittleEndian.Uint64(l.entry(i)[16:]) }

// Blocks returns all blocks.
func (l List) Blocks() []Block {
	blocks := make([]Block, l.Len())
	for i := range blocks {
		blocks[i] = l.Block(i)
	}
	return blocks
}

func (l List) entry(i int) []byte { return l.entries[i*footerEntryBytes:][:footerEntryBytes] }

// check verifies all of a file's blocks together. It returns where the last
// one ends.
func (l List) check(id Identity, limit int64) (end int64, err error) {
	end = PageBytes
	last := uint64(0)
	for i := range l.Len() {
		b := l.Block(i)
		if binary.LittleEndian.Uint32(l.entry(i)[92:]) != 0 {
			err = damagef("reserved bytes are not zero")
		}
		if err == nil {
			err = b.checkFacts(id)
		}
		if err == nil {
			err = b.checkPlace(id, end, limit, last)
		}
		if err != nil {
			return 0, fmt.Errorf("footer entry %d: %w", i, err)
		}
		end, last = b.end(), b.Last
	}
	return end, nil
}

// appendPage appends the header page.
func appendPage(dst []byte, id Identity) []byte {
	at := len(dst)
	dst = append(dst, make([]byte, PageBytes)...)
	p := dst[at:]
	copy(p, pageMagic)
	binary.LittleEndian.PutUint32(p[8:], version)
	binary.LittleEndian.PutUint32(p[12:], id.Incarnation)
	copy(p[16:], id.UUID[:])
	binary.LittleEndian.PutUint64(p[32:], id.Topic)
	binary.LittleEndian.PutUint64(p[40:], id.ID)
	binary.LittleEndian.PutUint64(p[48:], id.Base)
	binary.LittleEndian.PutUint64(p[PageBytes-8:], xxhash.Sum64(p[:PageBytes-8]))
	return dst
}

// checkPage verifies that p is the header page of id. Its checksum is not
// seeded, so that the page of another log is told from a damaged one.
func checkPage(p []byte, id Identity) error {
	if string(p[:8]) != pageMagic {
		return damagef("header page begins with %q, want %q", p[:8], pageMagic)
	}
	if got, want := xxhash.Sum64(p[:PageBytes-8]), binary.LittleEndian.Uint64(p[PageBytes-8:]); got != want {
		return damagef("checksum of header page is %016x, want %016x", got, want)
	}
	if v := binary.LittleEndian.Uint32(p[8:]); v != version {
		return fmt.Errorf("%w %d of a segment file, the newest known is %d", ErrVersion, v, version)
	}
	found := Identity{
		UUID:        [16]byte(p[16:32]),
		Topic:       binary.LittleEndian.Uint64(p[32:]),
		Incarnation: binary.LittleEndian.Uint32(p[12:]),
		ID:          binary.LittleEndian.Uint64(p[40:]),
		Base:        binary.LittleEndian.Uint64(p[48:]),
	}
	if found.UUID != id.UUID {
		return damagef("file belongs to log %x, want %x", found.UUID, id.UUID)
	}
	if found != id {
		return damagef("file is segment %d of topic %d.%d from event %d, want segment %d of topic %d.%d from event %d",
			found.ID, found.Topic, found.Incarnation, found.Base, id.ID, id.Topic, id.Incarnation, id.Base)
	}
	return nil
}

// bodyFacts are the parts of a block's header that matter to decoding alone.
type bodyFacts struct {
	codec       Codec
	rawChecksum uint64
}

// putBlockHeader writes the header of b to h, which holds zeros.
func putBlockHeader(h []byte, id Identity, seed uint64, b Block, facts bodyFacts) {
	copy(h, blockMagic)
	h[4] = version
	h[5] = byte(facts.codec)
	binary.LittleEndian.PutUint64(h[8:], b.Topic)
	binary.LittleEndian.PutUint64(h[16:], id.ID)
	binary.LittleEndian.PutUint64(h[24:], uint64(b.Offset))
	binary.LittleEndian.PutUint64(h[32:], b.First)
	binary.LittleEndian.PutUint64(h[40:], b.Last)
	binary.LittleEndian.PutUint64(h[48:], b.FirstPosition)
	binary.LittleEndian.PutUint64(h[56:], b.LastPosition)
	binary.LittleEndian.PutUint64(h[64:], uint64(b.MinTime))
	binary.LittleEndian.PutUint64(h[72:], uint64(b.MaxTime))
	binary.LittleEndian.PutUint64(h[80:], b.Kinds)
	binary.LittleEndian.PutUint32(h[88:], b.Raw)
	binary.LittleEndian.PutUint32(h[92:], b.Stored-blockHeaderBytes)
	binary.LittleEndian.PutUint32(h[96:], b.Incarnation)
	binary.LittleEndian.PutUint64(h[104:], facts.rawChecksum)
	binary.LittleEndian.PutUint64(h[112:], b.Checksum)
	binary.LittleEndian.PutUint64(h[120:], seededSum(seed, h[:120]))
}

// parseBlockHeader verifies the header h that was read at an offset of a file.
func parseBlockHeader(h []byte, id Identity, seed uint64, offset int64) (Block, bodyFacts, error) {
	if err := checkBlockHeader(h, id, seed, offset); err != nil {
		return Block{}, bodyFacts{}, err
	}
	b := Block{
		Topic:         binary.LittleEndian.Uint64(h[8:]),
		Incarnation:   binary.LittleEndian.Uint32(h[96:]),
		First:         binary.LittleEndian.Uint64(h[32:]),
		Last:          binary.LittleEndian.Uint64(h[40:]),
		FirstPosition: binary.LittleEndian.Uint64(h[48:]),
		LastPosition:  binary.LittleEndian.Uint64(h[56:]),
		MinTime:       int64(binary.LittleEndian.Uint64(h[64:])),
		MaxTime:       int64(binary.LittleEndian.Uint64(h[72:])),
		Kinds:         binary.LittleEndian.Uint64(h[80:]),
		Offset:        offset,
		Raw:           binary.LittleEndian.Uint32(h[88:]),
		Checksum:      binary.LittleEndian.Uint64(h[112:]),
	}
	if err := b.checkFacts(id); err != nil {
		return Block{}, bodyFacts{}, err
	}
	facts := bodyFacts{codec: Codec(h[5]), rawChecksum: binary.LittleEndian.Uint64(h[104:])}
	stored := binary.LittleEndian.Uint32(h[92:])
	if stored > b.Raw || (stored == b.Raw) != (facts.codec == None) {
		return Block{}, bodyFacts{}, damagef("block of %d bytes is stored in %d as %v", b.Raw, stored, facts.codec)
	}
	b.Stored = blockHeaderBytes + stored
	return b, facts, nil
}

// checkBlockHeader verifies that h is a whole header, of this version, and was
// written to this place.
func checkBlockHeader(h []byte, id Identity, seed uint64, offset int64) error {
	if string(h[:4]) != blockMagic {
		return damagef("block begins with %q, want %q", h[:4], blockMagic)
	}
	if got, want := seededSum(seed, h[:120]), binary.LittleEndian.Uint64(h[120:]); got != want {
		return damagef("checksum of block header is %016x, want %016x", got, want)
	}
	if h[4] != version {
		return fmt.Errorf("%w %d of a block, the newest known is %d", ErrVersion, h[4], version)
	}
	if got := binary.LittleEndian.Uint64(h[16:]); got != id.ID {
		return damagef("block of segment %d, want %d", got, id.ID)
	}
	if got := binary.LittleEndian.Uint64(h[24:]); got != uint64(offset) {
		return damagef("block was written to offset %d", got)
	}
	if binary.LittleEndian.Uint16(h[6:]) != 0 || binary.LittleEndian.Uint32(h[100:]) != 0 {
		return damagef("reserved bytes of block header are not zero")
	}
	if c := Codec(h[5]); c > Zstd {
		return damagef("block is stored as unknown %v", c)
	}
	return nil
}

// appendFooter appends the footer that starts at an offset of the file.
func appendFooter(dst []byte, id Identity, seed uint64, offset int64, blocks []Block) ([]byte, Footer) {
	at := len(dst)
	dst = append(dst, make([]byte, footerHeaderBytes)...)
	h := dst[at:]
	copy(h, footerMagic)
	h[4] = version
	binary.LittleEndian.PutUint64(h[8:], id.Topic)
	binary.LittleEndian.PutUint64(h[16:], id.ID)
	binary.LittleEndian.PutUint64(h[24:], uint64(offset))
	binary.LittleEndian.PutUint64(h[32:], uint64(len(blocks)))
	binary.LittleEndian.PutUint32(h[40:], id.Incarnation)
	binary.LittleEndian.PutUint64(h[56:], seededSum(seed, h[:56]))
	for _, b := range blocks {
		dst = appendFooterEntry(dst, b)
	}
	f := Footer{
		Offset:   offset,
		Length:   footerLength(len(blocks)),
		Checksum: seededSum(seed, dst[at:]),
		Blocks:   len(blocks),
	}
	dst = binary.LittleEndian.AppendUint64(dst, uint64(f.Offset))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(f.Length))
	dst = binary.LittleEndian.AppendUint64(dst, f.Checksum)
	return append(dst, trailerMagic...), f
}

func footerLength(blocks int) int64 {
	return footerHeaderBytes + int64(blocks)*footerEntryBytes + footerTrailerBytes
}

func appendFooterEntry(dst []byte, b Block) []byte {
	for _, v := range [...]uint64{
		b.Topic, b.First, b.Last, b.FirstPosition, b.LastPosition,
		uint64(b.MinTime), uint64(b.MaxTime), b.Kinds, uint64(b.Offset), b.Checksum,
	} {
		dst = binary.LittleEndian.AppendUint64(dst, v)
	}
	for _, v := range [...]uint32{b.Incarnation, b.Stored, b.Raw, 0} {
		dst = binary.LittleEndian.AppendUint32(dst, v)
	}
	return dst
}

// parseFooterEntry parses an entry of a footer.
func parseFooterEntry(e []byte) Block {
	return Block{
		Topic:         binary.LittleEndian.Uint64(e[0:]),
		First:         binary.LittleEndian.Uint64(e[8:]),
		Last:          binary.LittleEndian.Uint64(e[16:]),
		FirstPosition: binary.LittleEndian.Uint64(e[24:]),
		LastPosition:  binary.LittleEndian.Uint64(e[32:]),
		MinTime:       int64(binary.LittleEndian.Uint64(e[40:])),
		MaxTime:       int64(binary.LittleEndian.Uint64(e[48:])),
		Kinds:         binary.LittleEndian.Uint64(e[56:]),
		Offset:        int64(binary.LittleEndian.Uint64(e[64:])),
		Checksum:      binary.LittleEndian.Uint64(e[72:]),
		Incarnation:   binary.LittleEndian.Uint32(e[80:]),
		Stored:        binary.LittleEndian.Uint32(e[84:]),
		Raw:           binary.LittleEndian.Uint32(e[88:]),
	}
}

// checkFooterHeader verifies a footer's header that was read at an offset, and
// returns how many blocks it speaks of.
func checkFooterHeader(h []byte, id Identity, seed uint64, offset int64) (uint64, error) {
	if string(h[:4]) != footerMagic {
		return 0, damagef("footer begins with %q, want %q", h[:4], footerMagic)
	}
	if got, want := seededSum(seed, h[:56]), binary.LittleEndian.Uint64(h[56:]); got != want {
		return 0, damagef("checksum of footer header is %016x, want %016x", got, want)
	}
	if h[4] != version {
		return 0, fmt.Errorf("%w %d of a footer, the newest known is %d", ErrVersion, h[4], version)
	}
	topic, segment := binary.LittleEndian.Uint64(h[8:]), binary.LittleEndian.Uint64(h[16:])
	incarnation := binary.LittleEndian.Uint32(h[40:])
	if topic != id.Topic || segment != id.ID || incarnation != id.Incarnation {
		return 0, damagef("footer of segment %d of topic %d.%d, want segment %d of topic %d.%d",
			segment, topic, incarnation, id.ID, id.Topic, id.Incarnation)
	}
	if got := binary.LittleEndian.Uint64(h[24:]); got != uint64(offset) {
		return 0, damagef("footer was written to offset %d", got)
	}
	if h[5] != 0 || h[6] != 0 || h[7] != 0 || binary.LittleEndian.Uint32(h[44:]) != 0 || binary.LittleEndian.Uint64(h[48:]) != 0 {
		return 0, damagef("reserved bytes of footer header are not zero")
	}
	return binary.LittleEndian.Uint64(h[32:]), nil
}

// parseFooter verifies p, a whole footer that was read at an offset, by what
// it says of itself.
func parseFooter(p []byte, id Identity, seed uint64, offset int64) (List, Footer, error) {
	if int64(len(p)) < footerLength(0) {
		return List{}, Footer{}, damagef("footer has %d bytes, want %d at least", len(p), footerLength(0))
	}
	count, err := checkFooterHeader(p, id, seed, offset)
	if err != nil {
		return List{}, Footer{}, err
	}
	sealed, trailer := p[:len(p)-footerTrailerBytes], p[len(p)-footerTrailerBytes:]
	f, err := parseTrailer(trailer)
	if err != nil {
		return List{}, Footer{}, err
	}
	if f.Offset != offset || f.Length != int64(len(p)) || uint64(f.Blocks) != count {
		return List{}, Footer{}, damagef("trailer speaks of a footer of %d blocks in %d bytes at %d, want %d in %d at %d",
			f.Blocks, f.Length, f.Offset, count, len(p), offset)
	}
	if got := seededSum(seed, sealed); got != f.Checksum {
		return List{}, Footer{}, damagef("checksum of footer is %016x, want %016x", got, f.Checksum)
	}
	list := List{sealed[footerHeaderBytes:]}
	if _, err := list.check(id, offset); err != nil {
		return List{}, Footer{}, err
	}
	return list, f, nil
}

// parseTrailer parses the last bytes of a sealed file.
func parseTrailer(t []byte) (Footer, error) {
	if string(t[24:32]) != trailerMagic {
		return Footer{}, damagef("file ends with %q, want %q", t[24:32], trailerMagic)
	}
	f := Footer{
		Offset:   int64(binary.LittleEndian.Uint64(t[0:])),
		Length:   int64(binary.LittleEndian.Uint64(t[8:])),
		Checksum: binary.LittleEndian.Uint64(t[16:]),
	}
	entries := f.Length - footerLength(0)
	if entries < 0 || entries%footerEntryBytes != 0 || f.Offset < PageBytes || f.Offset%PageBytes != 0 {
		return Footer{}, damagef("trailer speaks of a footer of %d bytes at %d", f.Length, f.Offset)
	}
	f.Blocks = int(entries / footerEntryBytes)
	return f, nil
}

func seededSum(seed uint64, p []byte) uint64 {
	var d xxhash.Digest
	d.ResetWithSeed(seed)
	d.Write(p)
	return d.Sum64()
}

// alignUp is the first page boundary at or behind an offset.
func alignUp(offset int64) int64 {
	return (offset + PageBytes - 1) &^ (PageBytes - 1)
}
