package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/seglog/seglog/internal/vfs"
)

var testUUID = [16]byte{0: 's', 1: 'e', 2: 'g', 15: 1}

// testConfig has small files, so that a few frames fill one. The salts are
// those of the seed.
func testConfig(fs vfs.FS, seed uint64) Config {
	rng := rand.New(rand.NewPCG(seed, 1))
	return Config{FS: fs, UUID: testUUID, FileBytes: 6 * PageBytes, MaxBytes: 64 * PageBytes, ReserveBytes: -1, Rand: rng.Uint64}
}

// payload is what frame number n of a test holds.
func payload(n, size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte('a' + (n+i)%26)
	}
	if size >= 8 {
		binary.LittleEndian.PutUint64(b, uint64(n))
	}
	return b
}

func fill(b *Buffer, p []byte) {
	b.Reset()
	copy(b.Extend(len(p)), p)
	b.AddRecord()
}

// logTest is a log on a simulated disk.
type logTest struct {
	t   *testing.T
	sim *vfs.Sim
	cfg Config
	w   *Writer
	buf Buffer
	at  Start // the manifest's checkpoint
	// acked are the payloads of frames that a sync covered; tried that of one
	// that was written later.
	acked, tried [][]byte
	others       int // descriptors that are not the writer's
}

func newLogTest(t *testing.T) *logTest {
	t.Helper()
	return newLogTestOn(t, vfs.NewSim(1), 1)
}

// newPackedTest is a log whose frames share pages.
func newPackedTest(t *testing.T) *logTest {
	t.Helper()
	l := newLogTest(t)
	l.cfg.Packed = true
	l.start(ScanResult{})
	return l
}

func newLogTestOn(t *testing.T, sim *vfs.Sim, seed uint64) *logTest {
	t.Helper()
	l := &logTest{t: t, sim: sim, cfg: testConfig(sim, seed)}
	l.start(ScanResult{})
	return l
}

func (l *logTest) start(after ScanResult) {
	l.t.Helper()
	w, err := NewWriter(l.cfg, after)
	if err != nil {
		l.t.Fatalf("new writer: %v", err)
	}
	l.w = w
}

// tryWrite writes a frame without syncing it.
func (l *logTest) tryWrite(p []byte) error {
	fill(&l.buf, p)
	l.tried = append(l.tried, p)
	_, _, err := l.w.Write(&l.buf, Header{Position: uint64(len(l.acked))}, false)
	return err
}

// write writes frames without a sync.
func (l *logTest) write(sizes ...int) {
	l.t.Helper()
	for _, size := range sizes {
		if err := l.tryWrite(payload(len(l.acked)+len(l.tried), size)); err != nil {
			l.t.Fatalf("write frame of %d bytes: %v", size, err)
		}
	}
}

// sync makes what was written acknowledged.
func (l *logTest) sync() {
	l.t.Helper()
	if err := l.trySync(); err != nil {
		l.t.Fatalf("sync: %v", err)
	}
}

func (l *logTest) trySync() error {
	if err := l.w.Sync(); err != nil {
		return err
	}
	l.acked = append(l.acked, l.tried...)
	l.tried = nil
	return nil
}

// tryAppend writes and syncs a frame.
func (l *logTest) tryAppend(size int) error {
	if err := l.tryWrite(payload(len(l.acked), size)); err != nil {
		return err
	}
	return l.trySync()
}

func (l *logTest) append(sizes ...int) {
	l.t.Helper()
	for _, size := range sizes {
		if err := l.tryAppend(size); err != nil {
			l.t.Fatalf("append frame %d of %d bytes: %v", len(l.acked), size, err)
		}
	}
}

// scan returns all payloads from the checkpoint on.
func (l *logTest) scan(o ScanOptions) (ScanResult, [][]byte, error) {
	return scanAll(l.cfg, l.at, o)
}

func scanAll(cfg Config, at Start, o ScanOptions) (ScanResult, [][]byte, error) {
	var got [][]byte
	pos := at.LSN
	res, err := Scan(cfg, at, o, func(f Frame) error {
		behindSync := f.Start == pos.nextPage() && f.Durable <= pos
		if f.Start < pos || f.Start > pos && !behindSync && !o.Salvage || f.End < f.Start {
			return fmt.Errorf("frame from LSN %d to %d, want it at %d", f.Start, f.End, pos)
		}
		pos = f.End
		if f.Records > 0 {
			f.Keep()
			got = append(got, f.Payload)
		}
		return nil
	})
	return res, got, err
}

func (l *logTest) mustScan(o ScanOptions) (ScanResult, [][]byte) {
	l.t.Helper()
	res, got, err := l.scan(o)
	if err != nil {
		l.t.Fatalf("scan: %v\nfiles: %v", err, fileNames(l.sim))
	}
	return res, got
}

// check wants the acknowledged frames, and whole ones of those tried.
func (l *logTest) check(got [][]byte) error {
	want := append(slices.Clone(l.acked), l.tried...)
	if len(got) < len(l.acked) {
		return fmt.Errorf("%d frames are there, want the %d acknowledged ones", len(got), len(l.acked))
	}
	if len(got) > len(want) {
		return fmt.Errorf("%d frames are there, at most %d were written", len(got), len(want))
	}
	for i := range got {
		if !bytes.Equal(got[i], want[i]) {
			return fmt.Errorf("frame %d holds %d bytes that were not written so", i, len(got[i]))
		}
	}
	return nil
}

// reopen recovers on another disk: a checkpoint of what was found, and a new
// writer.
func (l *logTest) reopen(sim *vfs.Sim, seed uint64) (ScanResult, error) {
	packed := l.cfg.Packed
	l.sim = sim
	l.cfg = testConfig(sim, seed)
	l.cfg.Packed = packed
	res, got, err := l.scan(ScanOptions{})
	if err != nil {
		return res, err
	}
	if err := l.check(got); err != nil {
		return res, err
	}
	l.start(res)
	l.checkpoint()
	return res, l.w.Free(l.at)
}

// checkpoint takes what was acknowledged out of the log's care.
func (l *logTest) checkpoint() {
	l.at = l.w.Position()
	l.acked, l.tried = nil, nil
}

func (l *logTest) close() {
	l.t.Helper()
	if err := l.w.CloseClean(Header{}); err != nil {
		l.t.Fatalf("close clean: %v", err)
	}
	if err := l.w.Close(); err != nil {
		l.t.Fatalf("close: %v", err)
	}
	if n := l.sim.OpenFiles() - l.others; n != 0 {
		l.t.Fatalf("%d files are open after close", n)
	}
}

func (l *logTest) wantCorrupt(o ScanOptions, what string) *CorruptError {
	l.t.Helper()
	_, _, err := l.scan(o)
	var c *CorruptError
	if !errors.As(err, &c) {
		l.t.Fatalf("%s: scan returned %v, want a CorruptError", what, err)
	}
	return c
}

func fileNames(sim *vfs.Sim) []string {
	var names []string
	for name, b := range sim.Files() {
		names = append(names, fmt.Sprintf("%s(%d)", name, len(b)))
	}
	slices.Sort(names)
	return names
}
