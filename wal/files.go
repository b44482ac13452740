package wal

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/seglog/seglog/internal/vfs"
)

const namePrefix = "wal-"

func fileName(number uint64) string { return fmt.Sprintf("%s%016x", namePrefix, number) }

func parseName(name string) (uint64, bool) {
	digits, ok := strings.CutPrefix(name, namePrefix)
	if !ok || len(digits) != 16 {
		return 0, false
	}
	number, err := strconv.ParseUint(digits, 16, 64)
	if err != nil || fileName(number) != name || number >= unbegun/2 { // no writer gets there
		return 0, false
	}
	return number, true
}

// state is what a file's header page says of it.
type state int

const (
	stateValid   state = iota
	stateBlank         // zeros: a spare that was never used
	stateBroken        // nothing that is known
	stateDamaged       // known, but not as it was written: corruption if it is needed
	stateRenamed       // written under another name: corruption if that one is missing
	stateForeign       // of another log
	stateNewer         // of a newer version
)

// FileInfo is a file of the log as a scan found it.
type FileInfo struct {
	Name       string
	Number     uint64
	Generation uint64
	Size       int64
	// Start and End bound what the scan accepted from the file; equal where
	// that is nothing.
	Start, End LSN

	state  state
	header fileHeader // unless the state is blank or broken
	at     int64      // offset and nature of the damage
	reason string
}

// listFiles reads the header page of every file of the log, sorted by
// generation, and the names that look like files of the log and are not.
func listFiles(cfg Config) (files []*FileInfo, unknown []string, err error) {
	entries, err := cfg.FS.ReadDir(".")
	if err != nil {
		return nil, nil, fmt.Errorf("list write-ahead log: %w", err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name, namePrefix) {
			continue
		}
		number, ok := parseName(e.Name)
		if !ok || !e.Regular {
			unknown = append(unknown, e.Name)
			continue
		}
		f := &FileInfo{Name: e.Name, Number: number}
		if err := f.load(cfg); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				continue // removed by a writer that is at work
			}
			return nil, nil, err
		}
		files = append(files, f)
	}
	slices.SortStableFunc(files, func(a, b *FileInfo) int {
		return cmp.Or(cmp.Compare(a.Generation, b.Generation), cmp.Compare(a.Number, b.Number))
	})
	return files, unknown, nil
}

// Newest is the highest generation that a file of the log has. It tells
// whether somebody has written to the log: every writer begins one.
func Newest(cfg Config) (uint64, error) {
	files, _, err := listFiles(cfg.withDefaults())
	newest := uint64(0)
	for _, f := range files {
		if f.state == stateValid {
			newest = max(newest, f.Generation)
		}
	}
	return newest, err
}

// load reads the header page.
func (f *FileInfo) load(cfg Config) error {
	s, err := openSource(cfg.FS, f.Name)
	if err != nil {
		return err
	}
	defer s.close()
	f.Size = s.size
	page, err := s.bytes(0, PageBytes)
	if err != nil {
		return err
	}
	f.judge(page, cfg.UUID)
	if f.state != stateBlank && f.state != stateBroken {
		f.Generation = f.header.generation
		f.Start = f.header.start
		f.End = f.Start
	}
	return nil
}

// judge sets the state from the header page, which is short in a short file.
func (f *FileInfo) judge(page []byte, uuid [16]byte) {
	if len(page) == 0 || allZero(page) {
		f.state = stateBlank
		return
	}
	h, ok := decodeFileHeader(page)
	if !ok {
		f.judgeBroken(page, uuid)
		return
	}
	f.header = h
	switch {
	case h.uuid != uuid:
		f.state = stateForeign
		f.reason = fmt.Sprintf("the file belongs to log %x, want %x", h.uuid, uuid)
	case h.version > formatVersion:
		f.state = stateNewer
	case h.version == 0, h.generation == 0 || h.generation >= unbegun, h.start%PageBytes != 0,
		h.bytes < 2*PageBytes || h.bytes%PageBytes != 0 || h.bytes > 1<<62, uint64(h.start) > 1<<62:
		f.state = stateBroken
		f.reason = "the header page holds numbers that no writer writes"
	case !allZero(page[headerBytes:]):
		// No write leaves this: the page was zero from its creation.
		f.damaged(firstNonZero(page, headerBytes), "padding of the header page is not zero")
	case h.number != f.Number:
		f.damaged(0, fmt.Sprintf("the file was written as %s", fileName(h.number)))
		f.state = stateRenamed
	case f.Size < h.bytes:
		// The size was durable before the file was first used.
		f.damaged(f.Size, fmt.Sprintf("the file has %d bytes, want %d", f.Size, h.bytes))
	default:
		f.state = stateValid
	}
}

// judgeBroken looks for the one flipped bit that explains a header page.
func (f *FileInfo) judgeBroken(page []byte, uuid [16]byte) {
	f.state = stateBroken
	f.reason = "the header page does not verify"
	fixed, at, ok := repairHeader(page, func(b []byte) bool {
		h, ok := decodeFileHeader(b)
		return ok && h.uuid == uuid && h.version <= formatVersion
	})
	if !ok {
		return
	}
	f.header, _ = decodeFileHeader(fixed)
	f.damaged(at, "one flipped bit in the header page")
}

func (f *FileInfo) damaged(at int64, reason string) {
	f.state, f.at, f.reason = stateDamaged, at, reason
}

// source reads one file through a window.
type source struct {
	f      vfs.File
	name   string
	size   int64
	window []byte // content of [at, at+len)
	at     int64
	ahead  int64 // bytes that the window holds, at least
}

const windowBytes = 128 << 10

func openSource(fsys vfs.FS, name string) (*source, error) {
	f, err := fsys.OpenRead(name)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	size, err := f.Size()
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("size of %s: %w", name, err)
	}
	return &source{f: f, name: name, size: size, ahead: windowBytes}, nil
}

func (s *source) close() {
	if s != nil {
		s.f.Close() // only read from: nothing can be lost
	}
}

// bytes returns n bytes at off, or what there is before the end of the file.
// They are valid until the next call.
func (s *source) bytes(off int64, n int) ([]byte, error) {
	n = int(max(0, min(int64(n), s.size-off)))
	if n == 0 {
		return nil, nil
	}
	if n > windowBytes {
		return s.fresh(off, n)
	}
	if off < s.at || off+int64(n) > s.at+int64(len(s.window)) {
		if err := s.fill(off, n); err != nil {
			return nil, err
		}
	}
	return s.window[off-s.at:][:n], nil
}

// fresh reads n bytes into memory of their own; the file has that many. What
// the window has of them is not read again.
func (s *source) fresh(off int64, n int) ([]byte, error) {
	b := make([]byte, n)
	have := 0
	if in := off - s.at; in >= 0 && in < int64(len(s.window)) {
		have = copy(b, s.window[in:])
	}
	if err := s.read(b[have:], off+int64(have)); err != nil {
		return nil, err
	}
	return b, nil
}

// fill moves the window. A header page alone does not make it read ahead.
func (s *source) fill(off int64, n int) error {
	want := int64(n)
	if off > 0 {
		want = min(max(s.ahead, want), s.size-off)
	}
	if int64(cap(s.window)) < want {
		s.window = make([]byte, want)
	}
	s.window = s.window[:want]
	s.at = off
	if err := s.read(s.window, off); err != nil {
		s.window = s.window[:0]
		return err
	}
	return nil
}

func (s *source) read(b []byte, off int64) error {
	n, err := s.f.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF // the file had this size a moment ago
	}
	return fmt.Errorf("read %s at offset %d: %w", s.name, off, err)
}

var zeroSector [sectorBytes]byte

func allZero(b []byte) bool { return firstNonZero(b, 0) == int64(len(b)) }

// firstNonZero is the offset of the first byte from i on that is not zero.
func firstNonZero(b []byte, i int) int64 {
	for len(b)-i >= sectorBytes && bytes.Equal(b[i:i+sectorBytes], zeroSector[:]) {
		i += sectorBytes
	}
	for ; i < len(b); i++ {
		if b[i] != 0 {
			break
		}
	}
	return int64(i)
}
