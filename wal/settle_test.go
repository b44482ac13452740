package wal

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/seglog/seglog/internal/vfs"
)

// goOn settles what a scan finds on a disk, and goes on behind it.
func (l *logTest) goOn(sim *vfs.Sim, seed uint64) (ScanResult, error) {
	l.t.Helper()
	packed := l.cfg.Packed
	l.sim = sim
	l.cfg = testConfig(sim, seed)
	l.cfg.Packed = packed
	res, got := l.mustScan(ScanOptions{})
	if err := l.check(got); err != nil {
		l.t.Fatal(err)
	}
	if err := Settle(l.cfg, &res); err != nil {
		return res, err
	}
	l.acked, l.tried = got, nil
	l.start(res)
	return res, nil
}

func (l *logTest) mustGoOn(sim *vfs.Sim, seed uint64) ScanResult {
	l.t.Helper()
	res, err := l.goOn(sim, seed)
	if err != nil {
		l.t.Fatal(err)
	}
	return res
}

// Whatever was read before the log went on is there after the power was cut.
func TestSettledFramesAreDurable(t *testing.T) {
	for _, packed := range []bool{false, true} {
		t.Run(fmt.Sprintf("packed=%v", packed), func(t *testing.T) { testSettledFramesAreDurable(t, packed) })
	}
}

func testSettledFramesAreDurable(t *testing.T, packed bool) {
	for _, sizes := range [][]int{{}, {300}, {300, 300}, {9000}, {300, 9000, 300, 9000, 9000}} {
		for _, unsynced := range []bool{false, true} {
			l := newLogTest(t)
			if packed {
				l = newPackedTest(t)
			}
			l.append(sizes...)
			if unsynced {
				for range 3 {
					if err := l.tryWrite(payload(len(l.acked)+len(l.tried), 400)); err != nil {
						t.Fatal(err)
					}
				}
			}
			want := append(slices.Clone(l.acked), l.tried...)
			res := l.mustGoOn(l.sim.Kill(), 2)
			if len(l.acked) != len(want) {
				t.Fatalf("after a kill: %d frames, want %d", len(l.acked), len(want))
			}
			if unsynced && res.Proven == res.End {
				t.Error("a frame that was never synced counts as proven")
			}
			for _, v := range vfs.Survivals() {
				m := *l
				m.buf = Buffer{}
				m.mustGoOn(l.sim.Crash(v), 3)
				m.append(300)
				m.mustGoOn(m.sim.Crash(vfs.Survival{Mode: vfs.DropAll}), 4)
				if !slices.EqualFunc(m.acked[:len(want)], want, bytes.Equal) || len(m.acked) != len(want)+1 {
					t.Fatalf("%d frames, want %d and one more", len(m.acked), len(want))
				}
			}
		}
	}
}

// A frame whose sync failed is in the page cache, and most likely nowhere else.
func TestFramesOfThePageCacheAreNotSettled(t *testing.T) {
	boom := errors.New("boom")
	for _, sizes := range [][]int{{}, {300}, {9000}, {300, 300, 300, 300}} { // the last fills a file
		l := newLogTest(t)
		l.append(sizes...)
		l.sim.Inject(vfs.Fault{At: l.sim.Ops(), Err: boom, Kind: "syncdata"})
		if err := l.tryAppend(400); !errors.Is(err, boom) {
			t.Fatal(err)
		}
		disk := l.sim.Kill()
		if _, err := l.goOn(disk, 2); !errors.Is(err, errUnsettled) {
			t.Errorf("behind %v: settled with %v, want %v", sizes, err, errUnsettled)
		}
	}
}

// twoFaced is a disk that has something else than the page cache shows.
type twoFaced struct {
	vfs.FS
	disk *vfs.Sim
}

func (d twoFaced) OpenUncached(name string) (vfs.File, error) { return d.disk.OpenUncached(name) }

// Of what nothing proves, the disk must have each byte that the log is read by.
func TestSettleComparesWhatNothingProves(t *testing.T) {
	step := int64(13)
	if testing.Short() {
		step = 499
	}
	for _, sizes := range [][]int{{300}, {300, 300}, {100, 5000}} {
		l := newLogTest(t)
		l.append(sizes...)
		l.sim = l.sim.Kill()
		res, _ := l.mustScan(ScanOptions{})
		inDoubt := l.w.use.header.offset(res.Proven)
		if len(sizes) == 1 {
			inDoubt = 0 // with the header page
		}
		end := l.w.use.header.offset(res.End)
		for off := int64(0); off < end; off += step {
			disk := l.sim.Clone()
			disk.Corrupt(l.w.use.file.name, off, 0x10)
			l.cfg.FS = twoFaced{l.sim, disk}
			err := Settle(l.cfg, &res)
			if want := off >= inDoubt; errors.Is(err, errUnsettled) != want || !want && err != nil {
				t.Fatalf("sizes %v, another byte at offset %d of %d to %d: %v", sizes, off, inDoubt, end, err)
			}
		}
		l.cfg.FS = l.sim
	}
}

// What keeps a log from being settled is returned.
func TestSettleFails(t *testing.T) {
	boom := errors.New("boom")
	failed := 0
	for op := 0; ; op++ {
		l := newLogTest(t)
		l.append(300, 9000, 300)
		disk := l.sim.Kill()
		l.cfg = testConfig(disk, 2)
		l.sim = disk
		res, _ := l.mustScan(ScanOptions{})
		disk.ResetOps()
		disk.Inject(vfs.Fault{At: op, Err: boom})
		err := Settle(l.cfg, &res)
		if disk.Ops() <= op {
			break
		}
		if log := disk.Log(); !errors.Is(err, boom) && !strings.Contains(log[op], "close") {
			t.Errorf("operation %d failed unnoticed: %s", op, log[op])
		}
		failed++
	}
	if failed < 4 {
		t.Errorf("%d operations failed, want an open, reads, a sync and a close", failed)
	}
}

// Files of an unclean end are part of the log, and are read alone: until a
// checkpoint is past them, and then they go.
func TestFilesOfAnUncleanEndAreOnlyRead(t *testing.T) {
	l := newLogTest(t)
	l.append(300, 9000, 300, 9000, 300, 300)
	if err := l.w.Prepare(); err != nil {
		t.Fatal(err)
	}
	res := l.mustGoOn(l.sim.Kill(), 2)
	old := l.sim.Files()
	l.append(300, 9000, 9000, 300)
	if err := l.w.Prepare(); err != nil {
		t.Fatal(err)
	}
	for name, b := range l.sim.Files() {
		if before, ok := old[name]; ok && !bytes.Equal(b, before) {
			t.Errorf("%s has changed", name)
		}
	}
	if err := l.w.Free(res.Start); err != nil {
		t.Fatal(err)
	}
	_, got := l.mustScan(ScanOptions{})
	if err := l.check(got); err != nil {
		t.Fatal(err)
	}
	l.checkpoint()
	if err := l.w.Free(l.at); err != nil {
		t.Fatal(err)
	}
	l.append(9000, 9000, 9000)
	sum := int64(0)
	for name, b := range l.sim.Files() {
		sum += int64(len(b))
		if _, ok := old[name]; ok {
			t.Errorf("%s is still there, behind a checkpoint", name)
		}
	}
	if n := l.w.DiskBytes(); n != sum {
		t.Errorf("files of %d bytes count as %d", sum, n)
	}
}

// A process that is killed again and again does not outgrow the bound.
func TestUncleanEndsStayWithinMaxBytes(t *testing.T) {
	l := newLogTest(t)
	for life := range 50 {
		err := l.tryAppend(9000)
		if errors.Is(err, ErrFull) {
			l.checkpoint()
			if err := l.w.Free(l.at); err != nil {
				t.Fatal(err)
			}
			l.append(9000)
			if life < 5 {
				t.Errorf("full in life %d", life)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		sum := 0
		for _, b := range l.sim.Files() {
			sum += len(b)
		}
		if int64(sum) > l.cfg.MaxBytes {
			t.Fatalf("life %d: %d bytes of files, at most %d", life, sum, l.cfg.MaxBytes)
		}
		l.mustGoOn(l.sim.Kill(), uint64(life+2))
	}
	t.Error("it is never full")
}

// Frames behind the place where a log was found to end are none of it, though
// they verify: others have their LSNs by now.
func TestDroppedFramesAreNotSalvaged(t *testing.T) {
	l := newLogTest(t)
	l.cfg.FileBytes = 16 * PageBytes
	l.start(ScanResult{})
	l.append(300, 300)
	for n := 2; n < 6; n++ { // the first of them will be lost
		fill(&l.buf, payload(n+100, 300))
		if _, _, err := l.w.Write(&l.buf, Header{}, false); err != nil {
			t.Fatal(err)
		}
	}
	l.tried = [][]byte{payload(102, 300)}
	disk := l.sim.Crash(vfs.Survival{Mode: vfs.AllButOne, Pick: 0})
	res := l.mustGoOn(disk, 2)
	if res.End != 2*PageBytes {
		t.Fatalf("the log ends at LSN %d, want %d", res.End, 2*PageBytes)
	}
	l.append(310, 310, 310, 310, 310, 310)
	want := slices.Delete(slices.Clone(l.acked), 1, 2)
	l.sim.Corrupt(fileName(1), 2*PageBytes+headerBytes+3, 0xff) // frame 1
	_, got, err := l.scan(ScanOptions{Salvage: true})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.EqualFunc(got, want, bytes.Equal) {
		t.Fatalf("%d frames, want the %d of the log", len(got), len(want))
	}
}

// So are those that are left in the page of the log's last frame.
func TestDroppedFramesInAPageAreNotSalvaged(t *testing.T) {
	l := newPackedTest(t)
	l.append(300, 300)
	l.write(310, 310, 310)
	torn := l.w.use.header.offset(l.w.Durable().nextPage())
	disk := l.sim.Kill()
	for i := range int64(200) {
		disk.Corrupt(l.w.use.file.name, torn+448+i, 0xff) // the second of the three
	}
	l.acked, l.tried = append(l.acked, l.tried[0]), nil
	res := l.mustGoOn(disk, 2)
	if len(l.acked) != 3 || res.End == res.End.nextPage() {
		t.Fatalf("%d frames up to LSN %d, want 3 and an end within a page", len(l.acked), res.End)
	}
	l.append(310, 310)
	want := slices.Delete(slices.Clone(l.acked), 1, 2)
	l.sim.Corrupt(fileName(1), 2*PageBytes+headerBytes+3, 0xff) // frame 1
	_, got, err := l.scan(ScanOptions{Salvage: true})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.EqualFunc(got, want, bytes.Equal) {
		t.Fatalf("%d frames, want the %d of the log", len(got), len(want))
	}
}

// Nor are they where the log's last frame itself is damaged.
func TestDroppedFramesAreNotSalvagedInItsPlace(t *testing.T) {
	l := newPackedTest(t)
	l.append(300, 300)
	l.write(310, 310, 310, 310)
	page := l.w.use.header.offset(l.w.Durable().nextPage())
	disk := l.sim.Kill()
	for i := range int64(200) {
		disk.Corrupt(l.w.use.file.name, page+2*448+i, 0xff) // the third of the four
	}
	l.acked, l.tried = append(l.acked, l.tried[:2]...), nil
	l.mustGoOn(disk, 2)
	l.append(310, 310)
	for _, damaged := range []int{2, 3} { // in that page; 3 is the last
		off := page + int64(damaged-2)*448 + headerBytes + 3
		l.sim.Corrupt(fileName(1), off, 0xff)
		want := slices.Delete(slices.Clone(l.acked), damaged, damaged+1)
		res, got, err := l.scan(ScanOptions{Salvage: true})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.EqualFunc(got, want, bytes.Equal) || len(res.Damage) == 0 {
			t.Errorf("frame %d is damaged: %d frames, want the %d others; damage %v", damaged, len(got), len(want), res.Damage)
		}
		l.sim.Corrupt(fileName(1), off, 0xff)
	}
}
