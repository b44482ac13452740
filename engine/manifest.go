package engine

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"
	"github.com/seglog/seglog/internal/vfs"
	"github.com/seglog/seglog/wal"
)

// A manifest file is a sequence of frames, the first one a snapshot, each
// further one an edit. Every frame stands there twice, one copy behind the
// other; both start on a page and are padded with zeros to one (see
// FORMAT.md):
//
//	 0 magic "SGLGMAN1"      48 offset of this copy in the file
//	 8 version u16           56 chain of the frame before
//	10 copy u8, kind u8      64 payload length
//	16 log uuid              72 payload checksum
//	32 generation            80 zero
//	40 sequence number       88 checksum of bytes 0 to 87
//	96 payload
const (
	manifestMagic       = "SGLGMAN1"
	manifestVersion     = 1
	manifestHeaderBytes = 96
	manifestPage        = 4096

	frameSnapshot = 1
	frameEdit     = 2

	// manifestRotateBytes is the least size at which a manifest is replaced by
	// a snapshot: 16 small edits. Opening a log reads all of them, and a
	// rotation costs a fraction of those checkpoints.
	manifestRotateBytes = 128 << 10
)

// manifest is the open manifest of a log. It is used by one goroutine at a
// time.
type manifest struct {
	fs       vfs.FS
	file     vfs.File // nil where the log is read-only
	gen      uint64
	size     int64 // durable length
	snapshot int64 // length of the first frame
	seq      uint64
	chain    uint64
	state    *manifestState
}

// manifestEnd is how much of which manifest is durable. Commits take both facts
// at once: more of a manifest than was ever written would be corruption.
type manifestEnd struct {
	gen   uint64
	bytes int64
}

func (e *Engine) noteManifest(m *manifest) { e.manifestEnd.Store(&manifestEnd{m.gen, m.size}) }

func manifestName(gen uint64) string { return fmt.Sprintf("manifest-%016x", gen) }

// manifestGens returns the generations of the manifest files in entries,
// newest first.
func manifestGens(entries []vfs.Entry) []uint64 {
	var gens []uint64
	for _, e := range entries {
		if hex, ok := strings.CutPrefix(e.Name, "manifest-"); ok && len(hex) == 16 && hex == strings.ToLower(hex) {
			if gen, err := strconv.ParseUint(hex, 16, 64); err == nil && gen < 1<<62 { // no writer gets there
				gens = append(gens, gen)
			}
		}
	}
	slices.Sort(gens)
	slices.Reverse(gens)
	return gens
}

type frameHeader struct {
	copyNo, kind byte
	uuid         [16]byte
	gen, seq     uint64
	offset       int64
	chain        uint64
	length       int64
	checksum     uint64
}

func (h *frameHeader) put(dst []byte) {
	copy(dst, manifestMagic)
	binary.LittleEndian.PutUint16(dst[8:], manifestVersion)
	dst[10], dst[11] = h.copyNo, h.kind
	copy(dst[16:], h.uuid[:])
	binary.LittleEndian.PutUint64(dst[32:], h.gen)
	binary.LittleEndian.PutUint64(dst[40:], h.seq)
	binary.LittleEndian.PutUint64(dst[48:], uint64(h.offset))
	binary.LittleEndian.PutUint64(dst[56:], h.chain)
	binary.LittleEndian.PutUint64(dst[64:], uint64(h.length))
	binary.LittleEndian.PutUint64(dst[72:], h.checksum)
	binary.LittleEndian.PutUint64(dst[88:], xxhash.Sum64(dst[:88]))
}

// parseFrameHeader reports a header that does not verify as an error that says
// what is wrong with it.
func parseFrameHeader(b []byte) (h frameHeader, err error) {
	if string(b[:8]) != manifestMagic {
		return h, fmt.Errorf("magic is %q, want %q", b[:8], manifestMagic)
	}
	if want, got := binary.LittleEndian.Uint64(b[88:]), xxhash.Sum64(b[:88]); want != got {
		return h, fmt.Errorf("header checksum is %016x, computed %016x", want, got)
	}
	if v := binary.LittleEndian.Uint16(b[8:]); v != manifestVersion {
		return h, fmt.Errorf("%w: manifest version %d, this program knows %d", ErrVersion, v, manifestVersion)
	}
	h.copyNo, h.kind = b[10], b[11]
	copy(h.uuid[:], b[16:])
	h.gen = binary.LittleEndian.Uint64(b[32:])
	h.seq = binary.LittleEndian.Uint64(b[40:])
	h.offset = int64(binary.LittleEndian.Uint64(b[48:]))
	h.chain = binary.LittleEndian.Uint64(b[56:])
	h.length = int64(binary.LittleEndian.Uint64(b[64:]))
	h.checksum = binary.LittleEndian.Uint64(b[72:])
	if h.length < 0 {
		return h, fmt.Errorf("payload length %d is out of range", uint64(h.length))
	}
	return h, nil
}

// span is what one copy of a frame takes in the file.
func (h *frameHeader) span() int64 { return pageAlign(manifestHeaderBytes + h.length) }

func pageAlign(n int64) int64 { return (n + manifestPage - 1) &^ (manifestPage - 1) }

func nextChain(chain, checksum uint64) uint64 {
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:], chain)
	binary.LittleEndian.PutUint64(b[8:], checksum)
	return xxhash.Sum64(b[:])
}

// createManifest writes the next generation: a file with a snapshot of state,
// durable under its name when it returns.
func createManifest(fs vfs.FS, gen uint64, state *manifestState) (*manifest, error) {
	name := manifestName(gen)
	f, err := fs.Create(name)
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", name, err)
	}
	m := &manifest{fs: fs, file: f, gen: gen, state: state}
	if err := m.append(frameSnapshot, state.snapshot()); err != nil {
		_ = f.Close() // the error that counts is the first one
		return nil, err
	}
	m.snapshot = m.size
	if err := fs.SyncDir("."); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("sync directory of %s: %w", name, err)
	}
	return m, nil
}

// append writes a frame behind the durable length and syncs it. After an
// error the frame may or may not be there; nothing else has changed.
func (m *manifest) append(kind byte, payload []byte) error {
	h := frameHeader{
		kind: kind, uuid: m.state.uuid, gen: m.gen, seq: m.seq, offset: m.size,
		chain: m.chain, length: int64(len(payload)), checksum: xxhash.Sum64(payload),
	}
	span := h.span()
	buf := make([]byte, 2*span)
	for i := range int64(2) {
		h.copyNo, h.offset = byte(i), m.size+i*span
		h.put(buf[i*span:])
		copy(buf[i*span+manifestHeaderBytes:], payload)
	}
	if _, err := m.file.WriteAt(buf, m.size); err != nil {
		return fmt.Errorf("write %s: %w", manifestName(m.gen), err)
	}
	if err := m.file.Sync(); err != nil {
		return &syncError{fmt.Errorf("sync %s: %w", manifestName(m.gen), err)}
	}
	m.size += 2 * span
	m.seq++
	m.chain = nextChain(m.chain, h.checksum)
	return nil
}

// syncError marks a failed sync: what was written since the last good one may
// or may not be on disk, whatever later syncs say.
type syncError struct{ err error }

func (e *syncError) Error() string { return e.err.Error() }
func (e *syncError) Unwrap() error { return e.err }

// wantsRotation says whether the edits have outgrown the snapshot.
func (m *manifest) wantsRotation() bool {
	return m.size > manifestRotateBytes && m.size > 4*m.snapshot
}

func (m *manifest) close() error {
	if m.file == nil {
		return nil
	}
	f := m.file
	m.file = nil
	return f.Close()
}

// loadedManifest is a manifest as it was found, with what does not verify.
type loadedManifest struct {
	manifest
	torn int64 // bytes behind the last frame that verifies
	// lastFrame is the header of the last frame of the write-ahead log.
	lastFrame wal.Header
	// damage is where one copy of a frame does not verify, in file order.
	damage []manifestDamage
}

type manifestDamage struct {
	frameEnd int64 // of the frame, behind both copies
	// proved: the damage cannot be a torn write.
	proved bool
	err    *CorruptError
}

// readManifest reads one manifest file and applies its frames. The error is a
// *CorruptError where neither copy of a frame that must be there verifies.
func readManifest(fs vfs.FS, gen uint64) (*loadedManifest, error) {
	l, err := readManifestFrames(fs, gen)
	if err != nil {
		return nil, err
	}
	return l, nil
}

// readManifestFrames also returns what the frames before damage say.
func readManifestFrames(fs vfs.FS, gen uint64) (*loadedManifest, error) {
	name := manifestName(gen)
	f, err := fs.OpenRead(name)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, fmt.Errorf("size of %s: %w", name, err)
	}
	l := &loadedManifest{manifest: manifest{fs: fs, gen: gen, state: newManifestState([16]byte{})}}
	r := &frameReader{f: f, name: name, gen: gen, size: size}
	for {
		done, err := l.readFrame(r)
		if err != nil {
			return l, err
		}
		if done {
			break
		}
	}
	l.torn = size - l.size
	for i := range l.damage {
		if l.damage[i].frameEnd < l.size {
			l.damage[i].proved = true
		}
	}
	return l, nil
}

// readFrame reads the frame at l.size, and says whether the end was reached.
func (l *loadedManifest) readFrame(r *frameReader) (done bool, err error) {
	var copies [2]frameCopy
	if copies[0], err = r.read(l.size, l.seq, 0); err != nil {
		return false, err
	}
	var second int64
	if copies[0].headerOK {
		second = l.size + copies[0].span()
	} else if second, err = r.findCopy(l.size, l.seq); err != nil {
		return false, err
	}
	if second >= 0 {
		if copies[1], err = r.read(second, l.seq, 1); err != nil {
			return false, err
		}
	}
	good := 0
	if !copies[0].ok {
		good = 1
	}
	c := &copies[good]
	if !c.ok || c.chain != l.chain || (l.seq == 0) != (c.kind == frameSnapshot) || (l.seq > 0 && c.uuid != l.state.uuid) {
		return true, r.checkEnd(l.size, l.seq, copies[0].bad)
	}
	end := l.size + 2*c.span()
	if bad := copies[1-good].bad; bad != nil {
		proved := copies[1-good].differsInOneBit(c)
		l.damage = append(l.damage, manifestDamage{frameEnd: end, proved: proved, err: bad})
	}
	if l.seq == 0 {
		l.state.uuid = c.uuid
		l.snapshot = end
	}
	if err := l.state.apply(c.payload); err != nil {
		if errors.Is(err, ErrVersion) {
			return false, err
		}
		return false, &CorruptError{File: r.name, Offset: l.size, Reason: fmt.Sprintf("frame %d: %v", l.seq, err)}
	}
	l.chain = nextChain(l.chain, c.checksum)
	l.size = end
	l.seq++
	return false, nil
}

// frameReader reads frame copies of one manifest file.
type frameReader struct {
	f    vfs.File
	name string
	gen  uint64
	size int64
}

// frameCopy is one copy of a frame, as far as it verifies.
type frameCopy struct {
	frameHeader
	headerOK bool
	ok       bool
	raw      []byte // header, payload and padding, where the header or the other copy told the length
	payload  []byte
	bad      *CorruptError // why it does not verify
}

// read reads the copy of frame seq at off. A copy that does not verify is no
// error; an I/O error and a newer version are.
func (r *frameReader) read(off int64, seq uint64, copyNo byte) (c frameCopy, err error) {
	fail := func(format string, args ...any) (frameCopy, error) {
		c.bad = &CorruptError{File: r.name, Offset: off, Reason: fmt.Sprintf("copy %d of frame %d: ", copyNo, seq) + fmt.Sprintf(format, args...)}
		return c, nil
	}
	if off+manifestHeaderBytes > r.size {
		return fail("file ends at %d", r.size)
	}
	header := make([]byte, manifestHeaderBytes)
	if err := readFull(r.f, header, off); err != nil {
		return c, fmt.Errorf("read %s at offset %d: %w", r.name, off, err)
	}
	c.raw = header
	c.frameHeader, err = parseFrameHeader(header)
	if errors.Is(err, ErrVersion) {
		return c, fmt.Errorf("%s: %w", r.name, err)
	}
	if err != nil {
		return fail("%v", err)
	}
	if c.gen != r.gen || c.seq != seq || c.offset != off || c.copyNo != copyNo {
		return fail("it says generation %d, frame %d, copy %d, offset %d", c.gen, c.seq, c.copyNo, c.offset)
	}
	if c.length > r.size-off-manifestHeaderBytes {
		return fail("payload of %d bytes, the file ends at %d", c.length, r.size)
	}
	c.headerOK = true
	span := c.span()
	if span > r.size-off {
		return fail("file ends at %d, inside the padding", r.size)
	}
	raw := make([]byte, span)
	if err := readFull(r.f, raw, off); err != nil {
		return c, fmt.Errorf("read %s at offset %d: %w", r.name, off, err)
	}
	c.raw = raw
	payload, padding := raw[manifestHeaderBytes:manifestHeaderBytes+c.length], raw[manifestHeaderBytes+c.length:]
	if got := xxhash.Sum64(payload); got != c.checksum {
		return fail("payload checksum is %016x, computed %016x", c.checksum, got)
	}
	if len(bytes.Trim(padding, "\x00")) != 0 {
		return fail("padding is not zero")
	}
	c.payload, c.ok = payload, true
	return c, nil
}

// findCopy looks for the second copy of frame seq, whose first one, at off,
// cannot say where that is. -1: nowhere.
func (r *frameReader) findCopy(off int64, seq uint64) (int64, error) {
	header := make([]byte, manifestHeaderBytes)
	for at := off + manifestPage; at+manifestHeaderBytes <= r.size; at += manifestPage {
		if err := readFull(r.f, header, at); err != nil {
			return -1, fmt.Errorf("read %s at offset %d: %w", r.name, at, err)
		}
		h, err := parseFrameHeader(header)
		if err == nil && h.gen == r.gen && h.seq == seq && h.copyNo == 1 && h.offset == at && off+h.span() == at {
			return at, nil
		}
	}
	return -1, nil
}

// checkEnd is called where no copy of frame seq verifies. That is the end of
// the manifest, or a torn write, unless a later frame stands behind it.
func (r *frameReader) checkEnd(off int64, seq uint64, bad *CorruptError) error {
	header := make([]byte, manifestHeaderBytes)
	for at := off; at+manifestHeaderBytes <= r.size; at += manifestPage {
		if err := readFull(r.f, header, at); err != nil {
			return fmt.Errorf("read %s at offset %d: %w", r.name, at, err)
		}
		h, err := parseFrameHeader(header)
		if err == nil && h.gen == r.gen && h.offset == at && h.seq > seq {
			if bad == nil {
				bad = &CorruptError{File: r.name, Offset: off, Reason: fmt.Sprintf("frame %d does not follow the one before", seq)}
			}
			bad.Reason += fmt.Sprintf("; frame %d stands behind it", h.seq)
			return bad
		}
	}
	return nil
}

// differsInOneBit says whether c is what becomes of the other copy when one
// bit of it flips: that is no torn write.
func (c *frameCopy) differsInOneBit(good *frameCopy) bool {
	want := slices.Clone(good.raw)
	h := good.frameHeader
	h.copyNo = 1 - good.copyNo
	if h.copyNo == 0 {
		h.offset -= h.span()
	} else {
		h.offset += h.span()
	}
	h.put(want)
	flips := 0
	for i := range min(len(want), len(c.raw)) {
		flips += bits.OnesCount8(want[i] ^ c.raw[i])
	}
	return flips == 1
}

// readFull reads all of b at off; a file that ends before is an error.
func readFull(f io.ReaderAt, b []byte, off int64) error {
	n, err := f.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
