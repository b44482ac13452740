package wal

import (
	"errors"
	"testing"
	"unsafe"

	"github.com/seglog/seglog/internal/vfs"
)

func TestScanReturnsWhatWasWritten(t *testing.T) {
	l := newLogTest(t)
	l.append(0, 1, 300, PageBytes-headerBytes-entryBytes, PageBytes-headerBytes, 3*PageBytes, 20*PageBytes, 5)
	res, got := l.mustScan(ScanOptions{})
	if err := l.check(got); err != nil {
		t.Fatal(err)
	}
	if res.End != l.w.End() || res.Clean || res.TornBytes != 0 {
		t.Fatalf("end %d, clean %v, torn %d; want %d, false, 0", res.End, res.Clean, res.TornBytes, l.w.End())
	}
}

func TestNewWriterTouchesNothing(t *testing.T) {
	sim := vfs.NewSim(1)
	newLogTestOn(t, sim, 1)
	if n := sim.Ops(); n != 0 {
		t.Fatalf("%d operations before the first write", n)
	}
}

func TestCleanCloseAndReopen(t *testing.T) {
	l := newLogTest(t)
	for round := range 6 {
		l.append(100, 5000, 200)
		l.close()
		res, got := l.mustScan(ScanOptions{CleanExpected: true})
		if !res.Clean {
			t.Fatalf("round %d: not clean", round)
		}
		if err := l.check(got); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		l.start(res)
	}
}

func TestCleanReopenRecyclesFiles(t *testing.T) {
	l := newLogTest(t)
	for range 5 {
		l.append(100)
		l.checkpoint()
		l.close()
		res, _ := l.mustScan(ScanOptions{CleanExpected: true})
		l.start(res)
		if err := l.w.Free(l.at); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(l.sim.Files()); n > 3 {
		t.Fatalf("%d files after five clean closes: %v", n, fileNames(l.sim))
	}
}

func TestRecyclingReusesFiles(t *testing.T) {
	l := newLogTest(t)
	for range 100 {
		l.append(3000, 3000)
		l.checkpoint()
		if err := l.w.Free(l.at); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(l.sim.Files()); n > 3 {
		t.Fatalf("%d files after a hundred checkpoints: %v", n, fileNames(l.sim))
	}
	l.append(10)
	_, got := l.mustScan(ScanOptions{})
	if err := l.check(got); err != nil {
		t.Fatal(err)
	}
}

func TestFailedSyncLatches(t *testing.T) {
	l := newLogTest(t)
	l.append(100)
	boom := errors.New("boom")
	l.sim.Inject(vfs.Fault{At: l.sim.Ops() + 1, Err: boom})
	if err := l.tryAppend(100); !errors.Is(err, boom) {
		t.Fatalf("append returned %v, want the sync's error", err)
	}
	ops := l.sim.Ops()
	for name, call := range map[string]func() error{
		"write":   func() error { return l.tryWrite([]byte("x")) },
		"sync":    l.w.Sync,
		"seal":    func() error { return l.w.Seal(Header{}) },
		"close":   func() error { return l.w.CloseClean(Header{}) },
		"free":    func() error { return l.w.Free(l.w.Position()) },
		"prepare": l.w.Prepare,
	} {
		if err := call(); !errors.Is(err, boom) {
			t.Errorf("%s after a failed sync returned %v", name, err)
		}
	}
	if l.sim.Ops() != ops {
		t.Error("the disk was touched after a failed sync")
	}
}

// A failed sync leaves frames in the page cache that are not on the disk. What
// was recovered from there and checkpointed must not be missed later.
func TestRecoveryFromPageCacheAfterFailedSync(t *testing.T) {
	l := newLogTest(t)
	l.append(100)
	l.sim.Inject(vfs.Fault{At: l.sim.Ops() + 1, Err: errors.New("boom")})
	if l.tryAppend(100) == nil {
		t.Fatal("the sync did not fail")
	}
	if _, err := l.reopen(l.sim.Kill(), 2); err != nil {
		t.Fatal(err)
	}
	l.append(100, 100)
	if _, err := l.reopen(l.sim.Crash(vfs.Survival{Mode: vfs.DropAll}), 3); err != nil {
		t.Fatal(err)
	}
}

// The same for the frame of a clean close whose sync failed.
func TestCleanCloseWithFailedSync(t *testing.T) {
	l := newLogTest(t)
	l.append(100)
	l.checkpoint()
	l.sim.Inject(vfs.Fault{At: l.sim.Ops() + 1, Err: errors.New("boom")})
	if l.w.CloseClean(Header{}) == nil {
		t.Fatal("the sync did not fail")
	}
	l.sim = l.sim.Kill()
	l.cfg = testConfig(l.sim, 2)
	res, _ := l.mustScan(ScanOptions{})
	if !res.Clean {
		t.Fatal("the page cache does not show the clean close")
	}
	l.start(res)
	l.append(100, 100)
	l.sim = l.sim.Crash(vfs.Survival{Mode: vfs.DropAll})
	l.cfg = testConfig(l.sim, 3)
	_, got := l.mustScan(ScanOptions{})
	if err := l.check(got); err != nil {
		t.Fatal(err)
	}
}

func TestMissingFileIsCorruption(t *testing.T) {
	l := newLogTest(t)
	l.append(9000, 9000, 9000, 9000, 9000)
	l.checkpoint()
	l.append(9000, 9000, 9000, 9000, 9000)
	last := l.w.use.file.name // nothing says yet that this one was begun
	for name := range l.sim.Files() {
		if name == last {
			continue
		}
		m := *l
		m.sim = l.sim.Clone()
		m.sim.RemoveFile(name)
		m.cfg.FS = m.sim
		_, got, err := m.scan(ScanOptions{})
		if err == nil && m.check(got) != nil {
			t.Errorf("without %s: nothing is reported, and frames are missing", name)
		}
	}
}

func TestLostOnlyFileIsCorruption(t *testing.T) {
	l := newLogTest(t)
	l.append(10)
	l.checkpoint()
	l.append(10)
	for name := range l.sim.Files() {
		l.sim.RemoveFile(name)
	}
	l.wantCorrupt(ScanOptions{}, "the only file is missing")
}

func TestKnownEndBeyondLogIsCorruption(t *testing.T) {
	l := newLogTest(t)
	l.append(10)
	if _, _, err := l.scan(ScanOptions{KnownEnd: l.w.End()}); err != nil {
		t.Fatalf("known end at the end: %v", err)
	}
	l.wantCorrupt(ScanOptions{KnownEnd: l.w.End() + 1}, "known end beyond")
	l.wantCorrupt(ScanOptions{CleanExpected: true}, "clean close expected")
}

func TestSealProvesLastFrame(t *testing.T) {
	l := newLogTest(t)
	l.append(2000, 2000)
	if err := l.w.Seal(Header{}); err != nil {
		t.Fatal(err)
	}
	end := l.w.End()
	if err := l.w.Seal(Header{}); err != nil || l.w.End() != end {
		t.Fatalf("a second seal: %v, end %d, want %d", err, l.w.End(), end)
	}
	// More than one bit, so that nothing but the seal speaks.
	for name := range l.sim.Files() {
		l.sim.Corrupt(name, 2*PageBytes+headerBytes+5, 0xff)
	}
	c := l.wantCorrupt(ScanOptions{}, "damage below a seal")
	if c.LSN != PageBytes || c.Offset != 2*PageBytes+headerBytes {
		t.Errorf("damage at LSN %d, offset %d; want %d, %d", c.LSN, c.Offset, PageBytes, 2*PageBytes+headerBytes)
	}
}

func TestNewerVersionIsRefused(t *testing.T) {
	l := newLogTest(t)
	l.append(10)
	for name, b := range l.sim.Files() {
		h, _ := decodeFileHeader(b)
		h.version = formatVersion + 1
		h.encode(b)
		l.sim.SetFile(name, b)
	}
	if _, _, err := l.scan(ScanOptions{}); !errors.Is(err, ErrVersion) {
		t.Fatalf("scan returned %v, want ErrVersion", err)
	}
}

func TestForeignFileIsIgnoredUnlessNeeded(t *testing.T) {
	l := newLogTest(t)
	l.append(10)
	other := newLogTest(t)
	other.cfg.UUID[15] = 2
	other.start(ScanResult{})
	other.append(10)
	for _, b := range other.sim.Files() {
		l.sim.SetFile(fileName(77), b)
		l.sim.SetFile("wal-elsewhere", b)
	}
	res, got := l.mustScan(ScanOptions{})
	if err := l.check(got); err != nil {
		t.Fatal(err)
	}
	if len(res.Foreign) != 1 || len(res.Unknown) != 1 {
		t.Fatalf("foreign %v, unknown %v; want one of each", res.Foreign, res.Unknown)
	}
	l.checkpoint()
	for name := range l.sim.Files() {
		if name != fileName(77) {
			l.sim.RemoveFile(name)
		}
	}
	l.wantCorrupt(ScanOptions{}, "another log's file in place of ours")
}

func TestFullLogKeepsReserve(t *testing.T) {
	l := newLogTest(t)
	l.cfg.ReserveBytes = 3 * PageBytes
	l.start(ScanResult{})
	var err error
	for err == nil {
		err = l.tryAppend(5000)
	}
	if !errors.Is(err, ErrFull) {
		t.Fatalf("a full log: %v, want ErrFull", err)
	}
	l.tried = nil
	if got, most := l.w.DiskBytes(), l.cfg.MaxBytes; got > most {
		t.Fatalf("%d bytes of files, at most %d", got, most)
	}
	urgent := 0
	for {
		fill(&l.buf, []byte("cursor"))
		if _, _, err = l.w.Write(&l.buf, Header{}, true); err != nil {
			break
		}
		urgent++
	}
	if !errors.Is(err, ErrFull) || urgent < 3 {
		t.Fatalf("%d urgent writes, then %v; want at least 3, then ErrFull", urgent, err)
	}
	if err := l.w.Sync(); err != nil {
		t.Fatal(err)
	}
	l.checkpoint()
	if err := l.w.Free(l.at); err != nil {
		t.Fatal(err)
	}
	l.append(5000, 5000)
}

func TestNoSpaceForAFileIsNotFinal(t *testing.T) {
	l := newLogTest(t)
	l.sim.SetCapacity(4 * PageBytes)
	if err := l.tryAppend(100); !errors.Is(err, vfs.ErrNoSpace) {
		t.Fatalf("append on a full disk: %v", err)
	}
	if files := l.sim.Files(); len(files) != 0 {
		t.Fatalf("left behind: %v", fileNames(l.sim))
	}
	l.tried = nil
	l.sim.SetCapacity(0)
	l.append(100)
}

// A frame that was written whole although the write reported a full disk must
// not be there beside the one that takes its place in another file.
func TestPartialFrameIsErasedBeforeNextFile(t *testing.T) {
	l := newLogTest(t)
	l.append(100, 100)
	p := payload(9, 5000)
	l.sim.Inject(vfs.Fault{At: l.sim.Ops(), Err: vfs.ErrNoSpace, Short: 2*PageBytes - 10})
	if err := l.tryWrite(p); !errors.Is(err, vfs.ErrNoSpace) {
		t.Fatalf("write: %v", err)
	}
	l.tried = nil
	l.append(5*PageBytes, 10)
	_, got := l.mustScan(ScanOptions{})
	if err := l.check(got); err != nil {
		t.Fatal(err)
	}
}

func TestPrepareMakesASpare(t *testing.T) {
	l := newLogTest(t)
	l.append(100)
	if l.w.NeedsSpare() {
		t.Error("a spare is wanted already")
	}
	l.append(100, 100, 100)
	if !l.w.NeedsSpare() {
		t.Fatal("no spare is wanted")
	}
	if err := l.w.Prepare(); err != nil || l.w.NeedsSpare() {
		t.Fatalf("prepare: %v, another is wanted: %v", err, l.w.NeedsSpare())
	}
	ops := l.sim.Ops()
	l.append(9000)
	if n := l.sim.Ops() - ops; n != 2 {
		t.Errorf("%d operations to go on in a spare file, want a write and a sync", n)
	}
}

// noMoreFiles is a disk on which nothing can be opened, as long as it says so.
type noMoreFiles struct {
	vfs.FS
	full bool
}

func (f *noMoreFiles) OpenDirect(name string) (vfs.File, error) {
	if f.full {
		return nil, errors.New("too many open files")
	}
	return f.FS.OpenDirect(name)
}

// A frame goes into a spare file also where no file can be opened just then.
func TestSpareIsOpen(t *testing.T) {
	l := newLogTest(t)
	disk := &noMoreFiles{FS: l.sim}
	l.cfg.FS, l.cfg.Direct = disk, true
	l.start(ScanResult{})
	l.append(100, 100, 100, 100)
	if err := l.w.Prepare(); err != nil {
		t.Fatal(err)
	}
	disk.full = true
	l.append(9000)
}

func TestWriteDoesNotAllocate(t *testing.T) {
	dir, err := vfs.Dir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	w, err := NewWriter(Config{FS: dir, UUID: testUUID}, ScanResult{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	var b Buffer
	p := payload(1, 300)
	if n := testing.AllocsPerRun(50, func() {
		fill(&b, p)
		if _, _, err := w.Write(&b, Header{}, false); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations a frame", n)
	}
}

// However a buffer has grown, its frame can be written around the page cache.
func TestFramesStartAtAlignedMemory(t *testing.T) {
	var b Buffer
	for n := 1; n < 1<<20; n *= 3 {
		b.Extend(n)[n-1] = byte(n)
		frame := b.frame(frameBytes(versionPages, int64(b.Len())))
		for _, part := range [][]byte{frame, frame[PageBytes:]} {
			if at := uintptr(unsafe.Pointer(unsafe.SliceData(part))); at%PageBytes != 0 || len(part)%PageBytes != 0 {
				t.Fatalf("payload of %d bytes: %d bytes at %x", b.Len(), len(part), at)
			}
		}
	}
	for at, n := 0, 1; n < 1<<20; n *= 3 { // growing has kept it all
		if at += n; b.Payload()[at-1] != byte(n) {
			t.Fatalf("byte %d: got %d, want %d", at-1, b.Payload()[at-1], byte(n))
		}
	}
}
