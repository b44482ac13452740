package wal

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/seglog/seglog/internal/vfs"
)

// pageGuard is a disk that knows which pages a sync has made durable, and notes
// when one of them is written again. A file's next use begins with its header
// page.
type pageGuard struct {
	vfs.FS
	written, durable map[string]map[int64]bool
	broken           []string
}

func newPageGuard(fs vfs.FS) *pageGuard {
	return &pageGuard{FS: fs, written: map[string]map[int64]bool{}, durable: map[string]map[int64]bool{}}
}

type guardedFile struct {
	vfs.File
	guard *pageGuard
	name  string
}

func (g *pageGuard) Create(name string) (vfs.File, error) {
	f, err := g.FS.Create(name)
	return &guardedFile{f, g, name}, err
}

func (g *pageGuard) Open(name string) (vfs.File, error) {
	f, err := g.FS.Open(name)
	return &guardedFile{f, g, name}, err
}

func (f *guardedFile) WriteAt(b []byte, off int64) (int, error) {
	g := f.guard
	if off == 0 {
		g.written[f.name], g.durable[f.name] = map[int64]bool{}, map[int64]bool{}
	}
	n, err := f.File.WriteAt(b, off)
	for page := off / PageBytes; page*PageBytes < off+int64(n); page++ {
		if g.durable[f.name][page] {
			g.broken = append(g.broken, fmt.Sprintf("%s: %d bytes at offset %d", f.name, len(b), off))
		}
		if err == nil { // what there was no space for counts as nothing
			g.written[f.name][page] = true
		}
	}
	return n, err
}

func (f *guardedFile) SyncData() error {
	for page := range f.guard.written[f.name] {
		f.guard.durable[f.name][page] = true
	}
	return f.File.SyncData()
}

// No byte of a page that a sync has made durable is ever written again.
func TestDurablePagesAreNotWrittenAgain(t *testing.T) {
	eachVersion(t, func(t *testing.T, packed bool) {
		for op := range 150 {
			sim := vfs.NewSim(1)
			sim.Inject(vfs.Fault{At: op, Err: vfs.ErrNoSpace, Short: 200, Kind: "write"})
			guard := newPageGuard(sim)
			l := newLogTestOn(t, sim, 1)
			l.cfg.FS = guard
			l.start(ScanResult{})
			if err := l.run(packed); err != nil && !errors.Is(err, vfs.ErrNoSpace) {
				t.Fatal(err)
			}
			if len(guard.broken) > 0 {
				t.Fatalf("full disk at operation %d: written again: %v", op, guard.broken)
			}
		}
	})
}

func TestPackedFramesShareAPageUntilASync(t *testing.T) {
	l := newPackedTest(t)
	l.write(376, 376, 376)
	if end := l.w.End(); end != 3*512 {
		t.Fatalf("three frames of 512 bytes end at LSN %d", end)
	}
	l.sync()
	if l.w.Durable() != 3*512 {
		t.Fatalf("durable up to LSN %d, want %d", l.w.Durable(), 3*512)
	}
	l.write(376, 5000, 376)
	if end := l.w.End(); end != PageBytes+512+5184+512 {
		t.Fatalf("the frames after the sync end at LSN %d", end)
	}
	res, got := l.mustScan(ScanOptions{})
	if err := l.check(got); err != nil || len(got) != 6 || res.End != l.w.End() || res.TornBytes != 0 {
		t.Fatalf("%d frames, end %d, %d bytes torn, %v", len(got), res.End, res.TornBytes, err)
	}
}

// Files are used again, and their old frames lie behind the new ones; in the
// page that the last frame ended in there are none.
func TestPackedFramesOverStaleOnes(t *testing.T) {
	l := newPackedTest(t)
	for i := range 300 {
		l.write(20 + i*37%700)
		if i%7 == 3 || i%7 == 4 {
			l.sync()
		}
		if i%20 == 19 {
			if err := l.midCheckpoint(); err != nil {
				t.Fatal(err)
			}
			if err := l.w.Free(l.at); err != nil {
				t.Fatal(err)
			}
		}
		res, got := l.mustScan(ScanOptions{})
		if want := len(l.acked) + len(l.tried); len(got) != want || res.TornBytes != 0 {
			t.Fatalf("frame %d: %d frames, want %d; %d bytes torn", i, len(got), want, res.TornBytes)
		}
		if err := l.check(got); err != nil {
			t.Fatal(err)
		}
	}
	if l.w.use.header.flags&fileRecycled == 0 {
		t.Error("no file was recycled: the test shows nothing")
	}
}

// packedSmall is one file of frames, some of which share pages. All is durable;
// proven is the offset up to which a later frame says so.
func packedSmall(t *testing.T) (l *logTest, name string, proven int64) {
	t.Helper()
	l = newPackedTest(t)
	l.cfg.FileBytes = 10 * PageBytes
	l.start(ScanResult{})
	l.append(30)
	l.at = Start{Generation: l.w.use.header.generation}
	l.write(20, 376)
	l.sync()
	l.write(5000, 376, 40)
	l.sync()
	l.write(376, 376, 376, 376, 376, 376, 376, 376) // a page to its end
	l.sync()
	l.write(700, 20)
	l.sync()
	return l, fileName(1), l.w.use.header.offset(5 * PageBytes)
}

// Every bit up to the end of the last page: a flip is reported, on its page.
func TestEveryFlippedBitOfPackedFramesIsReported(t *testing.T) {
	l, name, proven := packedSmall(t)
	for off := range proven + PageBytes {
		for bit := range 8 {
			if bit != int(off)%8 && off%unitBytes > 8 {
				continue
			}
			l.sim.Corrupt(name, off, 1<<bit)
			_, _, err := l.scan(ScanOptions{})
			l.sim.Corrupt(name, off, 1<<bit)
			var c *CorruptError
			if !errors.As(err, &c) {
				t.Fatalf("bit %d of byte %d: %v", bit, off, err)
			}
			if at := c.Offset / PageBytes; c.File != name || at != off/PageBytes {
				t.Fatalf("bit %d of byte %d: reported %v", bit, off, c)
			}
		}
	}
}

// What a later frame proves durable is reported, whatever became of it.
func TestDamagedPackedFramesAreReported(t *testing.T) {
	l, name, proven := packedSmall(t)
	whole := l.sim.Files()[name]
	for size := 1; size <= PageBytes; size *= 8 {
		step := int64(size)
		if size == 1 {
			step = 5 // a sample
		}
		for off := int64(0); off < proven; off += step {
			for kind, change := range map[string]func(b []byte){
				"zeroed":   func(b []byte) { clear(b) },
				"inverted": func(b []byte) { invert(b) },
				"swapped":  func(b []byte) { copy(b, whole[(off+PageBytes)%int64(len(whole)):]) },
			} {
				b := bytes.Clone(whole)
				if change(b[off:][:size]); bytes.Equal(b, whole) {
					continue
				}
				l.sim.SetFile(name, b)
				_, got, err := l.scan(ScanOptions{})
				var c *CorruptError
				if !errors.As(err, &c) {
					t.Fatalf("%d bytes at %d %s: %d frames and %v, want a CorruptError", size, off, kind, len(got), err)
				}
			}
		}
	}
}

func invert(b []byte) {
	for i := range b {
		b[i] = ^b[i]
	}
}

// Frames that no sync has covered are lost in any combination of sectors; the
// log ends at the first that is not whole, and that is never corruption.
func TestTornPackedFramesAreDropped(t *testing.T) {
	for _, recycled := range []bool{false, true} {
		l := newPackedTest(t)
		l.cfg.FileBytes = 12 * PageBytes
		l.start(ScanResult{})
		l.append(376, 40)
		if recycled {
			for l.w.use.header.flags&fileRecycled == 0 {
				l.write(376, 376, 376, 700)
				if err := l.midCheckpoint(); err != nil {
					t.Fatal(err)
				}
				if err := l.w.Free(l.at); err != nil {
					t.Fatal(err)
				}
			}
		}
		durable := len(l.acked)
		off := int(l.w.use.header.offset(l.w.next()))
		name := l.w.use.file.name
		versions := [][]byte{l.sim.Files()[name]}
		for _, size := range []int{376, 376, 376, 100, 40, 376, 376, 376, 376, 376, 888} {
			l.write(size)
			versions = append(versions, l.sim.Files()[name])
		}
		if l.w.use.file.name != name {
			t.Fatal("the frames are in two files")
		}
		counts := map[int]bool{}
		for seed := range uint64(3000) {
			b := bytes.Clone(versions[0])
			for i := range 16 {
				at := off + i*sectorBytes
				version := len(versions) - 1
				if h := mix(seed*16 + uint64(i)); h%4 == 0 { // any version of the sector
					version = int(h / 4 % uint64(len(versions)))
				}
				if at+sectorBytes <= len(b) {
					copy(b[at:at+sectorBytes], versions[version][at:])
				}
			}
			l.sim.SetFile(name, b)
			res, got, err := l.scan(ScanOptions{})
			if err != nil {
				t.Fatalf("recycled %v, seed %d: %v", recycled, seed, err)
			}
			if err := l.check(got); err != nil {
				t.Fatal(err)
			}
			if len(got) < durable {
				t.Fatalf("recycled %v, seed %d: %d frames, %d were durable", recycled, seed, len(got), durable)
			}
			counts[len(got)-durable] = true
			if !recycled && len(got) < durable+len(l.tried) && res.TornBytes == 0 && !bytes.Equal(b, versions[len(got)-durable]) {
				t.Fatalf("seed %d: frames are lost, and nothing is torn", seed)
			}
		}
		if len(counts) < 8 {
			t.Errorf("recycled %v: the log ended at %d places: the test shows little", recycled, len(counts))
		}
	}
}

func mix(x uint64) uint64 {
	x ^= x >> 31
	x *= 0x9e3779b97f4a7c15
	return x ^ x>>29
}

// A frame that was lost at the end of a page, with the next page there, is no
// padding.
func TestLostFrameIsNotTakenForPadding(t *testing.T) {
	l := newPackedTest(t)
	l.append(40)
	l.write(376, 376, 376, 376, 376, 376, 376, 376, 376, 376)
	l.sim.SetFile(fileName(1), slices.Concat(
		l.sim.Files()[fileName(1)][:2*PageBytes+7*512], make([]byte, 512), l.sim.Files()[fileName(1)][3*PageBytes:]))
	res, got, err := l.scan(ScanOptions{})
	if err != nil || len(got) != 8 || res.End != PageBytes+7*512 || res.TornBytes != 2*512 {
		t.Fatalf("%d frames, end %d, %d bytes torn, %v; want 8, %d, %d", len(got), res.End, res.TornBytes, err, PageBytes+7*512, 2*512)
	}
	// The same with what was durable: the next frame says so.
	l.sync()
	l.write(40)
	b := l.sim.Files()[fileName(1)]
	clear(b[2*PageBytes+7*512 : 3*PageBytes])
	l.sim.SetFile(fileName(1), b)
	l.wantCorrupt(ScanOptions{}, "a durable frame is lost")
}

// A checkpoint's place may be the middle of a page, at the end of a frame, of
// what was synced, or of a file.
func TestPackedLogIsReadFromAnyPlace(t *testing.T) {
	l := newPackedTest(t)
	type place struct {
		at     Start
		frames int
	}
	var places []place
	for i := range 60 {
		l.write(20 + i*53%900)
		if i%5 == 4 {
			l.sync()
		}
		places = append(places, place{l.w.Position(), len(l.acked) + len(l.tried)})
	}
	l.close()
	all := slices.Concat(l.acked, l.tried)
	for _, p := range places {
		res, got, err := scanAll(l.cfg, p.at, ScanOptions{CleanExpected: true})
		if err != nil || !res.Clean || !slices.EqualFunc(got, all[p.frames:], bytes.Equal) {
			t.Fatalf("from %+v: %d frames, want %d; clean %v, %v", p.at, len(got), len(all)-p.frames, res.Clean, err)
		}
	}
}

// The policy may change from one opening to the next, after a clean close and
// after an unclean end.
func TestVersionsFollowOneAnother(t *testing.T) {
	l := newLogTest(t)
	for i := range 8 {
		l.cfg.Packed = i%2 == 1
		res, got := l.mustScan(ScanOptions{})
		if err := l.check(got); err != nil {
			t.Fatal(err)
		}
		l.start(res)
		if at := l.w.Position().LSN; at%PageBytes != 0 {
			t.Fatalf("round %d: a new log goes on at LSN %d", i, at)
		}
		if i%4 >= 2 { // after an unclean end
			l.checkpoint()
			if err := l.w.Free(l.at); err != nil {
				t.Fatal(err)
			}
		}
		l.append(376, 40)
		l.write(300, 300)
		l.sync()
		b := l.sim.Files()[l.w.use.file.name]
		want := uint16(versionPages)
		if l.cfg.Packed {
			want = versionPacked
		}
		if h, ok := decodeFileHeader(b); !ok || h.version != want {
			t.Fatalf("round %d: header page of version %d, want %d", i, h.version, want)
		}
		if i%4 == 0 || i%4 == 3 {
			if err := l.w.CloseClean(Header{}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A frame of one version in a file of the other, in its place and with its
// salt, is none that a writer writes.
func TestFrameOfOtherVersionIsReported(t *testing.T) {
	eachVersion(t, func(t *testing.T, packed bool) {
		l := newLogTest(t)
		l.cfg.Packed = packed
		l.start(ScanResult{})
		l.append(300)
		b := l.sim.Files()[fileName(1)]
		h, _ := decodeFrameHeader(b[PageBytes:])
		h.version = 3 - h.version
		h.encode(b[PageBytes:])
		l.sim.SetFile(fileName(1), b)
		l.wantCorrupt(ScanOptions{}, "a frame of the other version")
	})
}

// A frame within a page never says that a byte of the page is durable.
func TestFrameInDurablePageIsReported(t *testing.T) {
	l := newPackedTest(t)
	l.write(300)
	end := l.w.End()
	l.sync()
	l.w.durable.Store(0) // as if nothing had been synced
	l.write(300)
	b := l.sim.Files()[fileName(1)]
	h, ok := decodeFrameHeader(b[PageBytes+end:])
	if !ok {
		t.Fatal("no frame within the page")
	}
	h.durable = end
	h.encode(b[PageBytes+end:])
	l.sim.SetFile(fileName(1), b)
	l.wantCorrupt(ScanOptions{}, "a frame in a page that a sync has covered")
}

func TestSalvageGoesOnWithinAPage(t *testing.T) {
	l := newPackedTest(t)
	l.write(376, 376, 376, 5000, 40, 376)
	l.sync()
	l.append(376, 40)
	want := slices.Clone(l.acked)
	l.sim.Corrupt(fileName(1), PageBytes+512+headerBytes+3, 0xff) // frame 1
	res, got, err := l.scan(ScanOptions{Salvage: true})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.EqualFunc(got, slices.Delete(want, 1, 2), bytes.Equal) {
		t.Fatalf("%d frames, want the %d others", len(got), len(want)-1)
	}
	if len(res.Damage) != 1 || res.Damage[0].LSN != 512 || res.Damage[0].Offset != PageBytes+512+headerBytes {
		t.Fatalf("damage %v, want that of one frame", res.Damage)
	}
	b := l.sim.Files()[fileName(1)]
	clear(b[:PageBytes+512]) // the header page and the first frame as well
	l.sim.SetFile(fileName(1), b)
	if _, got, err = l.scan(ScanOptions{Salvage: true}); err != nil || len(got) != len(l.acked)-2 {
		t.Fatalf("without a header page: %d frames, %v; want %d", len(got), err, len(l.acked)-2)
	}
}

// A follower shows all that is proven durable and nothing else, whatever page
// and file it is in.
func TestFollowerOfPackedFrames(t *testing.T) {
	l := newPackedTest(t)
	f := NewFollower(l.cfg, Start{})
	defer f.Close()
	var got [][]byte
	var ends []LSN
	for i := range 120 {
		l.write(20 + i*53%900)
		ends = append(ends, l.w.End())
		durable := 0 // of them: before a file is left it is synced
		for durable < len(ends) && ends[durable] <= l.w.Durable() {
			durable++
		}
		got = append(got, follow(t, f)...)
		if len(got) > durable {
			t.Fatalf("frame %d: %d frames are shown, %d are durable", i, len(got), durable)
		}
		if i%6 == 5 {
			l.sync()
			if i%12 == 5 {
				if err := l.w.Seal(Header{}); err != nil {
					t.Fatal(err)
				}
				got = append(got, follow(t, f)...)
				wantFrames(t, got, l.acked)
			}
		}
		late := NewFollower(l.cfg, Start{})
		if n := len(follow(t, late)); n != len(got) {
			t.Fatalf("frame %d: a new follower shows %d frames, the old one %d", i, n, len(got))
		}
		late.Close()
	}
	l.sync()
	l.others = 1
	l.close()
	got = append(got, follow(t, f)...)
	wantFrames(t, got, l.acked)
}

// Where there is no space for a frame, part of it may be there. It is gone from
// a page before a sync covers that.
func TestPartialFrameIsErasedBeforeSync(t *testing.T) {
	for _, short := range []int{1, 100, 600, 4000, 5000} {
		l := newPackedTest(t)
		l.append(100)
		l.write(376, 100)
		l.sim.Inject(vfs.Fault{At: l.sim.Ops(), Err: vfs.ErrNoSpace, Short: short})
		if err := l.tryWrite(payload(9, 5000)); !errors.Is(err, vfs.ErrNoSpace) {
			t.Fatalf("write: %v", err)
		}
		l.tried = l.tried[:2]
		if short < 600 { // the next frame is written over it, and is shorter
			l.write(20)
		}
		l.sync()
		l.write(20, 20)
		_, got := l.mustScan(ScanOptions{})
		if err := l.check(got); err != nil || len(got) != len(l.acked)+len(l.tried) {
			t.Fatalf("%d bytes: %d frames, want %d: %v", short, len(got), len(l.acked)+len(l.tried), err)
		}
	}
}

// A copy of a file, under another name, does not bring frames back from before
// those that were delivered.
func TestSalvageGoesForward(t *testing.T) {
	l := goldenPacked(t)
	b := l.sim.Files()[fileName(1)]
	l.sim.SetFile(fileName(77), b)
	damaged := bytes.Clone(b)
	invert(damaged[PageBytes+192 : 5*PageBytes]) // all between the first frame and the clean close
	l.sim.SetFile(fileName(1), damaged)
	if _, got, err := l.scan(ScanOptions{Salvage: true}); err != nil || len(got) == 0 { // scan wants them in order
		t.Fatalf("%d frames, %v", len(got), err)
	}
}

// What is left of a file's last page is verified where the next file says that
// all of it was durable.
func TestRestOfLastPageOfAFileIsVerified(t *testing.T) {
	l := newPackedTest(t)
	l.write(376, 376)
	l.write(20000) // into another file
	l.sync()
	if l.w.use.file.name == fileName(1) {
		t.Fatal("there is one file: the test shows nothing")
	}
	const at = PageBytes + 2*512 + 70
	l.sim.Corrupt(fileName(1), at, 0x7f)
	c := l.wantCorrupt(ScanOptions{}, "bytes behind the last frame of a file")
	if c.File != fileName(1) || c.Offset != at {
		t.Errorf("reported %v", c)
	}
}

// A lost sector that held a single bit of a frame looks like a flipped bit, but
// is torn: also where a frame does not begin with a sector.
func TestLostSectorWithinAPageIsTorn(t *testing.T) {
	l := newPackedTest(t)
	l.append(300)
	l.write(20)
	p := make([]byte, 1200)
	p[272] = 4
	if err := l.tryWrite(p); err != nil {
		t.Fatal(err)
	}
	l.sim.Corrupt(fileName(1), 2*PageBytes+192+headerBytes+272, 4)
	if _, got, err := l.scan(ScanOptions{}); err != nil || len(got) != 2 {
		t.Fatalf("%d frames, %v; want 2", len(got), err)
	}
}

// Every frame behind a sync is evidence, not only the first, which may be
// damaged as well.
func TestFrameWithinAPageIsEvidence(t *testing.T) {
	l := newPackedTest(t)
	l.append(300)
	l.write(300, 300)
	b := l.sim.Files()[fileName(1)]
	invert(b[PageBytes+40:][:8])
	invert(b[2*PageBytes+40:][:8])
	l.sim.SetFile(fileName(1), b)
	l.wantCorrupt(ScanOptions{}, "two frames are damaged, the third says that the first was durable")
}

// The first frame behind a sync says that the rest of the page before is zeros.
func TestFrameOnNextPageIsEvidenceForZeros(t *testing.T) {
	l := newPackedTest(t)
	l.append(300)
	l.write(300)
	const at = 2*PageBytes - 100
	l.sim.Corrupt(fileName(1), at, 0x7f)
	if c := l.wantCorrupt(ScanOptions{}, "bytes behind the last frame before a sync"); c.Offset != at {
		t.Errorf("reported %v", c)
	}
}

// A torn frame stays in the page that the log ended in before an unclean end.
func TestTornFrameBeforeNextGenerationIsNoDamage(t *testing.T) {
	l := newPackedTest(t)
	l.append(300)
	l.write(300, 300)
	l.sim.Corrupt(fileName(1), 2*PageBytes+512+headerBytes, 0x7f)
	res, got := l.mustScan(ScanOptions{})
	if len(got) != 2 || res.TornBytes == 0 {
		t.Fatalf("%d frames, %d bytes torn", len(got), res.TornBytes)
	}
	l.acked, l.tried = got, nil
	l.start(res)
	l.append(300)
	if _, got = l.mustScan(ScanOptions{}); len(got) != 3 {
		t.Fatalf("%d frames, want 3", len(got))
	}
}

func TestPackedSealIsWrittenOnce(t *testing.T) {
	l := newPackedTest(t)
	l.append(300)
	if err := l.w.Seal(Header{}); err != nil {
		t.Fatal(err)
	}
	l.sync()
	end := l.w.End()
	if err := l.w.Seal(Header{}); err != nil || l.w.End() != end || end != PageBytes+headerBytes {
		t.Fatalf("a second seal: %v, end %d, was %d", err, l.w.End(), end)
	}
}
