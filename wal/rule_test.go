package wal

import (
	"bytes"
	"errors"
	"runtime"
	"testing"

	"github.com/seglog/seglog/internal/vfs"
)

// Each thing that a frame says of itself is checked by itself.
func TestFrameOfAnotherPlaceIsRefused(t *testing.T) {
	for name, change := range map[string]func(*frameHeader){
		"uuid":       func(h *frameHeader) { h.uuid[3]++ },
		"generation": func(h *frameHeader) { h.generation++ },
		"salt":       func(h *frameHeader) { h.salt++ },
		"lsn":        func(h *frameHeader) { h.lsn += PageBytes },
		"chain":      func(h *frameHeader) { h.prev++ },
		"durable":    func(h *frameHeader) { h.durable = h.lsn + PageBytes },
	} {
		l := newLogTest(t)
		l.append(300, 300)
		b := l.sim.Files()[fileName(1)]
		h, _ := decodeFrameHeader(b[2*PageBytes:])
		change(&h)
		h.encode(b[2*PageBytes:])
		l.sim.SetFile(fileName(1), b)
		_, got, err := l.scan(ScanOptions{})
		var c *CorruptError
		if len(got) != 1 || err != nil && !errors.As(err, &c) {
			t.Errorf("%s: %d frames and %v, want 1", name, len(got), err)
		}
	}
}

// A header page that a later generation left is evidence even if its first
// frame is torn.
func TestLaterHeaderPageProvesEnd(t *testing.T) {
	l := newLogTest(t)
	l.append(9000, 300)
	if err := l.tryWrite(payload(2, 12000)); err != nil {
		t.Fatal(err)
	}
	last := l.w.use.file.name
	b := l.sim.Files()[last]
	clear(b[PageBytes:])
	l.sim.SetFile(last, b)
	if _, got, err := l.scan(ScanOptions{}); err != nil || len(got) != 2 {
		t.Fatalf("a torn first frame: %d frames, %v", len(got), err)
	}
	l.sim.Corrupt(fileName(1), 4*PageBytes+headerBytes+1, 0xff)
	l.wantCorrupt(ScanOptions{}, "damage before a later generation")
}

// A whole file is replaced by the one that another history of the log had.
func TestFileOfAnotherHistoryIsReported(t *testing.T) {
	l := newLogTest(t)
	l.append(300, 9000, 300, 9000, 300)
	other := newLogTest(t) // the same salts, and other bytes
	other.acked = make([][]byte, 5)
	other.append(300, 9000, 300, 9000, 300)
	l.sim.SetFile(fileName(1), other.sim.Files()[fileName(1)])
	l.wantCorrupt(ScanOptions{}, "a file of another history")
}

func TestShortFileIsReportedThoughFramesAreWhole(t *testing.T) {
	l := newLogTest(t)
	l.append(300)
	l.sim.SetFile(fileName(1), l.sim.Files()[fileName(1)][:3*PageBytes])
	c := l.wantCorrupt(ScanOptions{}, "a file that was cut behind its frames")
	if c.Offset != 3*PageBytes {
		t.Errorf("offset %d, want %d", c.Offset, 3*PageBytes)
	}
}

// A lost sector that held a single bit looks like a flipped bit, but is torn.
func TestLostSectorOfOneBitIsTorn(t *testing.T) {
	l := newLogTest(t)
	l.append(300)
	p := make([]byte, 9000)
	p[5000] = 4
	if err := l.tryWrite(p); err != nil {
		t.Fatal(err)
	}
	l.sim.Corrupt(fileName(1), 2*PageBytes+headerBytes+5000, 4)
	res, got, err := l.scan(ScanOptions{})
	if err != nil || len(got) != 1 || res.TornBytes != 3*PageBytes {
		t.Fatalf("%d frames, %d bytes torn, %v; want 1, %d, nil", len(got), res.TornBytes, err, 3*PageBytes)
	}
}

// Frames that were not synced one by one are all durable before the next file
// begins.
func TestFileIsLeftOnlyWhenDurable(t *testing.T) {
	l := newLogTest(t)
	for i := range 20 {
		if err := l.tryWrite(payload(i, 3000)); err != nil {
			t.Fatal(err)
		}
		for _, v := range vfs.Survivals() {
			m := *l
			m.sim = l.sim.Crash(v)
			m.cfg.FS = m.sim
			if _, got := m.mustScan(ScanOptions{}); m.check(got) != nil {
				t.Fatalf("frame %d, %+v: %v", i, v, m.check(got))
			}
		}
	}
}

func TestFreeKeepsWhatIsAboveCheckpoint(t *testing.T) {
	l := newLogTest(t)
	l.append(9000, 9000)
	mid := l.w.Position()
	rest := len(l.acked)
	for range 10 {
		l.append(9000)
		if err := l.w.Free(mid); err != nil {
			t.Fatal(err)
		}
	}
	l.at, l.acked = mid, l.acked[rest:]
	_, got := l.mustScan(ScanOptions{})
	if err := l.check(got); err != nil {
		t.Fatal(err)
	}
	if used := l.w.Used(); used != int64(l.w.End()-mid.LSN) {
		t.Errorf("%d bytes used, want %d", used, l.w.End()-mid.LSN)
	}
}

// Files of a process that did not end well are never written to, and are
// removed once a checkpoint no longer needs them.
func TestFilesOfUncleanEndAreRemoved(t *testing.T) {
	l := newLogTest(t)
	l.append(300, 9000, 9000)
	old := l.sim.Files()
	if _, err := l.reopen(l.sim.Crash(vfs.Survival{Mode: vfs.KeepAll}), 2); err != nil {
		t.Fatal(err)
	}
	if n := len(l.sim.Files()); n != 0 {
		t.Fatalf("%d old files are left: %v", n, fileNames(l.sim))
	}
	l.append(300, 9000, 9000)
	for name := range l.sim.Files() {
		if old[name] != nil {
			t.Errorf("%s was used again", name)
		}
	}
}

func TestUncleanFilesStayUntilCheckpoint(t *testing.T) {
	l := newLogTest(t)
	l.append(300, 9000, 9000)
	res, _ := l.mustScan(ScanOptions{})
	old := l.sim.Files()
	l.start(res)
	l.append(300, 9000, 9000, 9000)
	if err := l.w.Free(Start{}); err != nil {
		t.Fatal(err)
	}
	for name, b := range l.sim.Files() {
		if was := old[name]; was != nil && !bytes.Equal(was, b) {
			t.Errorf("%s was written to", name)
		}
		delete(old, name)
	}
	if len(old) != 0 {
		t.Errorf("%d files are gone before a checkpoint", len(old))
	}
}

// Prepare and Free beside the writer: for the race detector.
func TestSpaceIsKeptBesideWriter(t *testing.T) {
	l := newLogTest(t)
	stop, done := make(chan struct{}), make(chan error)
	go func() {
		var err error
		for running := true; running && err == nil; {
			select {
			case <-stop:
				running = false
			default:
			}
			if l.w.NeedsSpare() {
				err = l.w.Prepare()
			}
			if err == nil {
				err = l.w.Free(l.w.Position())
			}
			_, _ = l.w.Used(), l.w.DiskBytes()
		}
		done <- err
	}()
	var buf Buffer
	for n := range 200 {
		fill(&buf, payload(n, 3000))
		_, _, err := l.w.Write(&buf, Header{}, true)
		for errors.Is(err, ErrFull) {
			runtime.Gosched() // until the other one has freed some
			_, _, err = l.w.Write(&buf, Header{}, true)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := l.w.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
