package wal

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/seglog/seglog/internal/vfs"
)

// small is a log of two files with a checkpoint at its start, and its only
// files' contents.
func small(t *testing.T) (*logTest, map[string][]byte) {
	t.Helper()
	l := newLogTest(t)
	l.cfg.FileBytes = 3 * PageBytes
	l.start(ScanResult{})
	l.append(300)
	l.checkpoint()
	l.append(20, 600)
	return l, l.sim.Files()
}

// extent is how many bytes of a file were ever durable as header or frame.
func extent(b []byte) int {
	end := PageBytes
	for end < len(b) {
		h, ok := decodeFrameHeader(b[end:])
		if !ok {
			break
		}
		end += int(h.bytes())
	}
	return end
}

// Every bit of what is durable: a flip is reported, at the byte that it is in,
// or the frames are all there nevertheless.
func TestEveryFlippedBitIsReported(t *testing.T) {
	l, files := small(t)
	for name, b := range files {
		for off := range extent(b) {
			for bit := range 8 {
				if in := off % PageBytes; in > 2*headerBytes && (bit != off%8 || in > 800 && off%5 != 0) {
					continue // a sample will do in payload and zeros
				}
				l.sim.Corrupt(name, int64(off), 1<<bit)
				_, got, err := l.scan(ScanOptions{})
				l.sim.Corrupt(name, int64(off), 1<<bit)
				var c *CorruptError
				switch {
				case errors.As(err, &c):
					if c.File == name && c.Offset == int64(off) {
						continue
					}
					if c.File == name && c.Offset/PageBytes == int64(off)/PageBytes {
						continue // other evidence spoke first
					}
					if c.File != name && off < PageBytes {
						continue // a file that has lost its header is not found
					}
					t.Fatalf("bit %d of byte %d of %s: reported %v", bit, off, name, c)
				case err != nil:
					t.Fatalf("bit %d of byte %d of %s: %v", bit, off, name, err)
				case l.check(got) != nil:
					t.Fatalf("bit %d of byte %d of %s: frames are missing or wrong, and no error", bit, off, name)
				case name != fileName(1) || off < PageBytes || off >= 2*PageBytes: // below the checkpoint
					t.Fatalf("bit %d of byte %d of %s: no error", bit, off, name)
				}
			}
		}
	}
}

// Whole sectors of what is proven durable: zeroed, or swapped with the next.
func TestDamagedSectorsAreReported(t *testing.T) {
	l, _ := small(t)
	if err := l.w.Seal(Header{}); err != nil {
		t.Fatal(err)
	}
	if err := l.w.Sync(); err != nil {
		t.Fatal(err)
	}
	damage := map[string]func(b []byte, off int){
		"zeroed":  func(b []byte, off int) { clear(b[off : off+sectorBytes]) },
		"garbage": func(b []byte, off int) { copy(b[off:], bytes.Repeat([]byte{0xa7}, sectorBytes)) },
		"swapped": func(b []byte, off int) {
			next := (off + PageBytes) % len(b)
			old := bytes.Clone(b[off:][:sectorBytes])
			copy(b[off:][:sectorBytes], b[next:][:sectorBytes])
			copy(b[next:], old)
		},
	}
	for kind, change := range damage {
		for name, before := range l.sim.Files() {
			for off := 0; off < extent(before); off += sectorBytes {
				b := bytes.Clone(before)
				change(b, off)
				l.sim.SetFile(name, b)
				_, got, err := l.scan(ScanOptions{})
				if err == nil && l.check(got) != nil {
					t.Errorf("%s sector at %d of %s: frames are missing or wrong, and no error", kind, off, name)
				}
				l.sim.SetFile(name, before)
			}
		}
	}
}

func TestTruncatedFilesAreReported(t *testing.T) {
	l, files := small(t)
	for name, b := range files {
		for size := 0; size < len(b); size += 509 {
			l.sim.SetFile(name, b[:size])
			_, got, err := l.scan(ScanOptions{})
			if err == nil && l.check(got) != nil && size > PageBytes {
				t.Errorf("%s cut to %d bytes: frames are missing, and no error", name, size)
			}
		}
		l.sim.SetFile(name, b)
	}
}

// Frames of an earlier use of the same file, of the same sizes, lie right
// behind the end.
func TestStaleFramesAreNotReplayed(t *testing.T) {
	l := newLogTest(t)
	for range 40 {
		l.append(300, 300, 300, 300)
		l.checkpoint()
		if err := l.w.Free(l.at); err != nil {
			t.Fatal(err)
		}
	}
	l.append(300)
	stale := 0
	for _, b := range l.sim.Files() {
		for off := PageBytes; off < len(b); off += PageBytes {
			if h, ok := decodeFrameHeader(b[off:]); ok && h.lsn < l.at.LSN {
				stale++
			}
		}
	}
	if stale < 4 {
		t.Fatalf("only %d stale frames: the test shows nothing", stale)
	}
	res, got := l.mustScan(ScanOptions{})
	if err := l.check(got); err != nil {
		t.Fatal(err)
	}
	if res.TornBytes != 0 {
		t.Errorf("%d bytes torn", res.TornBytes)
	}
}

// One frame is torn in every way that sectors can be lost, on zeros and on
// frames of an earlier use; that is never corruption.
func TestTornFrameIsDropped(t *testing.T) {
	for _, recycled := range []bool{false, true} {
		l := newLogTest(t)
		l.append(300, 300)
		if recycled {
			l.append(300, 5000, 300) // into the next file
			l.checkpoint()
			if err := l.w.Free(l.at); err != nil {
				t.Fatal(err)
			}
			l.append(300, 9000-300, 300) // and back again
			if l.w.use.header.flags&fileRecycled == 0 {
				t.Fatal("no file was recycled: the test shows nothing")
			}
		}
		before := l.sim.Files()
		if err := l.tryWrite(payload(99, 5000)); err != nil {
			t.Fatal(err)
		}
		name := l.w.use.file.name
		after := l.sim.Files()[name]
		off := int(l.w.use.header.offset(l.w.End())) - 2*PageBytes
		dropped := 0
		for lost := 1; lost < 1<<11; lost += 5 + lost%19 {
			b := bytes.Clone(after)
			for i := range 16 {
				if lost>>(i%11)&1 == 1 {
					copy(b[off+i*sectorBytes:][:sectorBytes], before[name][off+i*sectorBytes:])
				}
			}
			l.sim.SetFile(name, b)
			res, got, err := l.scan(ScanOptions{})
			if err != nil {
				t.Fatalf("recycled %v, sectors %b lost: %v", recycled, lost, err)
			}
			if err := l.check(got); err != nil {
				t.Fatal(err)
			}
			if len(got) == len(l.acked) {
				dropped++
				if res.End != l.w.Durable() {
					t.Fatalf("end %d, want %d", res.End, l.w.Durable())
				}
			}
		}
		if dropped == 0 {
			t.Error("no frame was torn: the test shows nothing")
		}
	}
}

// A write that is cut off at any byte is torn, not corrupt.
func TestFrameCutAtEveryByteIsDropped(t *testing.T) {
	for n := range 12 {
		l := newLogTest(t)
		l.append(n)
		before := l.sim.Files()
		if err := l.tryWrite(payload(n+50, 30+n)); err != nil {
			t.Fatal(err)
		}
		for name, after := range l.sim.Files() {
			for cut := range headerBytes + 30 + n + entryBytes {
				l.sim.SetFile(name, append(after[:2*PageBytes+cut:2*PageBytes+cut], before[name][2*PageBytes+cut:]...))
				res, got, err := l.scan(ScanOptions{})
				if err != nil || len(got) != 1 {
					t.Fatalf("frame %d cut after %d bytes: %d frames, %v", n, cut, len(got), err)
				}
				if cut > 0 && res.TornBytes == 0 {
					t.Fatalf("frame %d cut after %d bytes: nothing is torn", n, cut)
				}
			}
		}
	}
}

func TestSalvageGoesOnBehindDamage(t *testing.T) {
	l := newLogTest(t)
	l.append(300, 300, 300, 9000, 9000, 300)
	want := slices.Clone(l.acked)
	name := fileName(1)
	l.sim.Corrupt(name, 2*PageBytes+headerBytes+3, 0xff) // frame 1
	res, got, err := l.scan(ScanOptions{Salvage: true})
	if err != nil {
		t.Fatal(err)
	}
	want = slices.Delete(want, 1, 2)
	if !slices.EqualFunc(got, want, bytes.Equal) {
		t.Fatalf("%d frames, want the %d others", len(got), len(want))
	}
	if len(res.Damage) != 1 || res.Damage[0].LSN != PageBytes || res.Damage[0].File != name {
		t.Fatalf("damage %v, want that of one frame", res.Damage)
	}
	if _, err := NewWriter(l.cfg, res); err == nil {
		t.Error("a writer continues a salvaged log")
	}
}

func TestSalvageReadsFileWithoutHeader(t *testing.T) {
	l := newLogTest(t)
	l.append(300, 300, 9000, 9000, 300, 9000)
	for name := range l.sim.Files() {
		m := *l
		m.sim = l.sim.Clone()
		m.cfg.FS = m.sim
		b := m.sim.Files()[name]
		clear(b[:PageBytes])
		m.sim.SetFile(name, b)
		_, got, err := m.scan(ScanOptions{Salvage: true})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if name != l.w.use.file.name && !slices.EqualFunc(got, l.acked, bytes.Equal) {
			t.Errorf("without the header page of %s: %d frames of %d", name, len(got), len(l.acked))
		}
	}
}

// A read error is neither the end of the log nor damage.
func TestReadErrorsAreReturned(t *testing.T) {
	l := newLogTest(t)
	l.append(300, 9000, 9000, 300)
	boom := errors.New("boom")
	for op := 0; ; op++ {
		m := *l
		m.sim = l.sim.Clone()
		m.cfg.FS = m.sim
		m.sim.ResetOps()
		m.sim.ClearFaults()
		m.sim.Inject(vfs.Fault{At: op, Err: boom})
		_, _, err := m.scan(ScanOptions{})
		if m.sim.Ops() <= op {
			break
		}
		if !errors.Is(err, boom) && err != nil {
			t.Fatalf("operation %d: %v", op, err)
		}
		if log := m.sim.Log(); err == nil && !strings.Contains(log[op], "close") {
			t.Fatalf("operation %d failed unnoticed: %s", op, log[op])
		}
	}
}

// A salvage goes on behind each damaged frame of a file, not just the first.
func TestSalvageGoesOnBehindEachDamagedFrame(t *testing.T) {
	for _, packed := range []bool{false, true} {
		l := newLogTest(t)
		if packed {
			l = newPackedTest(t)
		}
		l.cfg.FileBytes = 32 * PageBytes
		l.start(ScanResult{})
		for n := range 9 {
			l.append(300 + n)
		}
		name := l.w.use.file.name
		for _, n := range []int64{1, 3, 6} {
			l.sim.Corrupt(name, (n+1)*PageBytes+headerBytes+3, 0xff)
		}
		res, got, err := l.scan(ScanOptions{Salvage: true})
		if err != nil {
			t.Fatal(err)
		}
		var want [][]byte
		for _, n := range []int{0, 2, 4, 5, 7, 8} {
			want = append(want, l.acked[n])
		}
		if !slices.EqualFunc(got, want, bytes.Equal) || len(res.Damage) != 3 {
			t.Errorf("packed %v: %d frames and damage %v, want %d frames and 3 times damage", packed, len(got), res.Damage, len(want))
		}
	}
}
