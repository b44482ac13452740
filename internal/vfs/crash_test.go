package vfs

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// contents is what a file holds over many seeds of a survival.
func (d disk) contents(name string, v Survival, seeds uint64) map[string]bool {
	seen := map[string]bool{}
	for v.Seed = range seeds {
		b, ok := d.Crash(v).Files()[name]
		if !ok {
			b = []byte("(none)")
		}
		seen[string(b)] = true
	}
	return seen
}

// wantSeen fails unless exactly these contents were seen.
func wantSeen(t *testing.T, got map[string]bool, want ...string) {
	t.Helper()
	slices.Sort(want)
	if keys := slices.Sorted(maps.Keys(got)); !slices.Equal(keys, want) {
		t.Errorf("images:\ngot  %q\nwant %q", short(keys), short(want))
	}
}

func short(list []string) []string {
	var out []string
	for _, s := range list {
		out = append(out, s[:min(len(s), 40)])
	}
	return out
}

func TestOnlyOneKeepsOneEffect(t *testing.T) {
	d := newDisk(t)
	f := d.create("a", fill('.', 1536))
	for i := range 3 {
		d.write(f, int64(i)*512, "x")
	}
	at := func(i int) string {
		b := []byte(fill('.', 1536))
		b[i*512] = 'x'
		return string(b)
	}
	for pick, sector := range map[int]int{0: 0, 1: 1, 2: 2, 3: 0, -1: 2, -2: 1} {
		d.after(Survival{Mode: OnlyOne, Pick: pick}).want(map[string]string{"a": at(sector)})
	}
}

func TestAllButOneLosesOneEffect(t *testing.T) {
	d := newDisk(t)
	f := d.create("a", fill('.', 1024))
	d.write(f, 0, "x")
	d.must(d.Rename("a", "b"))
	d.write(f, 512, "y")
	first, second := "x"+fill('.', 1023), fill('.', 512)+"y"+fill('.', 511)
	both := "x" + fill('.', 511) + "y" + fill('.', 511)
	d.after(Survival{Mode: AllButOne, Pick: 0}).want(map[string]string{"b": second})
	d.after(Survival{Mode: AllButOne, Pick: 1}).want(map[string]string{"a": both})
	d.after(Survival{Mode: AllButOne, Pick: -1}).want(map[string]string{"b": first})
	if got := d.Unsynced(); got != 3 {
		t.Errorf("unsynced: got %d, want 3", got)
	}
}

func TestOrderedKeepsAPrefixOfEffects(t *testing.T) {
	d := newDisk(t)
	f := d.create("a", "")
	for i := range 3 {
		d.write(f, int64(i), "x")
	}
	d.after(Survival{Mode: Ordered, Pick: 2}).want(map[string]string{"a": "xx"})
	wantSeen(t, d.contents("a", Survival{Mode: Ordered}, 50), "x", "xx")
}

func TestReverseOrderKeepsTheLaterEffects(t *testing.T) {
	d := newDisk(t)
	f := d.create("a", fill('.', 1024))
	d.write(f, 0, "x")
	d.write(f, 512, "y")
	d.after(Survival{Mode: ReverseOrder}).want(map[string]string{"a": fill('.', 512) + "y" + fill('.', 511)})
}

func TestSectorsAreWrittenWhole(t *testing.T) {
	d := newDisk(t)
	f := d.create("a", fill('.', 512))
	d.write(f, 0, "x")
	d.write(f, 1, "y")
	// The later write is in the sector that the earlier one changed.
	d.after(Survival{Mode: ReverseOrder}).want(map[string]string{"a": "xy" + fill('.', 510)})
	d.after(Survival{Mode: ReverseOrder, Sector: 1}).want(map[string]string{"a": ".y" + fill('.', 510)})
}

func TestRandomSectorsTearsWrites(t *testing.T) {
	d := newDisk(t)
	f := d.create("a", fill('.', 8192))
	d.write(f, 0, fill('x', 8192))
	dots, exes := fill('.', 4096), fill('x', 4096)
	wantSeen(t, d.contents("a", Survival{Mode: RandomSectors, Sector: 4096}, 50),
		dots+dots, dots+exes, exes+dots, exes+exes)
	torn := 0
	for content := range d.contents("a", Survival{Mode: RandomSectors, Sector: 512}, 50) {
		if n := strings.Count(content, "x"); n%512 != 0 {
			t.Fatalf("%d bytes of the write are there: not whole sectors", n)
		}
		if content[:4096] != dots && content[:4096] != exes {
			torn++
		}
	}
	if torn == 0 {
		t.Error("no page is torn")
	}
}

func TestRandomKeepsAnyVersionOfASector(t *testing.T) {
	d := newDisk(t)
	f := d.create("a", "0")
	d.write(f, 0, "1")
	d.write(f, 0, "2")
	wantSeen(t, d.contents("a", Survival{Mode: Random}, 100), "0", "1", "2")
}

func TestRandomKeepsASizeApartFromData(t *testing.T) {
	d := newDisk(t)
	f := d.create("a", "")
	const size = 64 << 10
	d.write(f, 0, fill('x', size))
	sizes := map[int]bool{}
	pairs := map[string]bool{} // of what is in the first two sectors
	for content := range d.contents("a", Survival{Mode: Random}, 300) {
		sizes[len(content)] = true
		if len(content) == size {
			pairs[kind(content[:512])+" "+kind(content[512:1024])] = true
		}
	}
	if !sizes[0] || !sizes[size] || len(sizes) < 10 {
		t.Errorf("got %d sizes, want the old one, the new one and some between", len(sizes))
	}
	wantSeen(t, pairs, "data data", "data zeros", "zeros data", "zeros zeros",
		"data garbage", "garbage data", "garbage garbage")
}

// kind says what is in a sector that x was written to.
func kind(sector string) string {
	switch sector {
	case fill('x', len(sector)):
		return "data"
	case fill(0, len(sector)):
		return "zeros"
	}
	return "garbage"
}

func TestRandomOfOneByteCutsAWriteAtAnyByte(t *testing.T) {
	d := newDisk(t)
	f := d.create("a", "")
	d.write(f, 0, "xx")
	d.write(f, 2, "yy")
	wantSeen(t, d.contents("a", Survival{Mode: Random, Sector: 1}, 200), "", "x", "xx", "xxy", "xxyy")
}

func TestPrefixCutsTheLastWriteAlone(t *testing.T) {
	d := newDisk(t)
	f := d.create("a", "")
	g := d.create("b", "")
	d.write(f, 0, "xx")
	d.write(g, 0, "yyy")
	d.write(f, 2, "")
	d.after(Survival{Mode: Prefix, Pick: 1}).want(map[string]string{"a": "xx", "b": "y"})
	d.after(Survival{Mode: Prefix, Pick: 9}).want(map[string]string{"a": "xx", "b": "yyy"})
	wantSeen(t, d.contents("b", Survival{Mode: Prefix}, 100), "", "y", "yy")
}

func TestSizeOnlyLeavesZerosWhereTheFileGrew(t *testing.T) {
	d := newDisk(t)
	f := d.create("a", "ab")
	d.write(f, 0, "xxxx")
	d.after(Survival{Mode: SizeOnly}).want(map[string]string{"a": "ab\x00\x00"})
}

func TestGarbageFillsWhereTheFileGrew(t *testing.T) {
	d := newDisk(t)
	f := d.create("a", "ab")
	d.write(f, 0, fill('x', 1000))
	for content := range d.contents("a", Survival{Mode: Garbage}, 5) {
		if len(content) != 1000 || content[:2] != "ab" || strings.Count(content, "x") > 50 || strings.Count(content, "\x00") > 50 {
			t.Errorf("got %d bytes %q…, want ab and 998 random ones", len(content), content[:10])
		}
	}
	if n := len(d.contents("a", Survival{Mode: Garbage}, 5)); n != 5 {
		t.Errorf("got %d images of 5 seeds", n)
	}
}

func TestStaleFillsWithFormerAndOtherFiles(t *testing.T) {
	d := newDisk(t)
	d.must(d.create("gone", "0123456789").Close())
	d.must(d.Remove("gone"))
	d.must(d.SyncDir("."))
	d.create("other", "abcdefghij")
	f := d.create("a", "..")
	d.write(f, 0, fill('x', 10))
	// The bytes are where they were in the file they come from.
	wantSeen(t, d.contents("a", Survival{Mode: Stale}, 50), "..23456789", "..cdefghij")
}

func TestStaleFillsWithBytesCutOff(t *testing.T) {
	d := newDisk(t)
	f := d.create("a", "0123456789")
	d.must(f.Truncate(2))
	d.must(f.Sync())
	d.write(f, 2, "xxxx")
	wantSeen(t, d.contents("a", Survival{Mode: Stale}, 20), "012345")
}

func TestTruncateMayBeLost(t *testing.T) {
	d := newDisk(t)
	f := d.create("a", "0123456789")
	d.must(f.Truncate(2))
	d.write(f, 2, "x")
	d.after(Survival{Mode: DropAll}).want(map[string]string{"a": "0123456789"})
	d.after(Survival{Mode: KeepAll}).want(map[string]string{"a": "01x"})
	d.after(Survival{Mode: OnlyOne, Pick: 0}).want(map[string]string{"a": "01"})
	d.after(Survival{Mode: ReverseOrder, Sector: 1}).want(map[string]string{"a": "01x3456789"})
}

func TestEntriesOnlyLeavesNewFilesEmpty(t *testing.T) {
	d := newDisk(t)
	f, err := d.Create("tmp")
	d.must(err)
	d.write(f, 0, "data")
	d.must(d.Rename("tmp", "a"))
	d.after(Survival{Mode: EntriesOnly}).want(map[string]string{"a": ""})
}

func TestDataOnlyLosesEveryChangeOfAnEntry(t *testing.T) {
	d := newDisk(t)
	f := d.create("a", "one")
	d.must(d.create("b", "two").Close())
	d.must(d.create("c", "three").Close())
	d.write(f, 0, "ONE")
	d.must(d.Rename("a", "z"))
	d.must(d.Remove("b"))
	d.must(d.Rename("z", "c"))
	g, err := d.Create("new")
	d.must(err)
	d.must(g.Sync())
	d.want(map[string]string{"c": "ONE", "new": ""})
	d.after(Survival{Mode: DataOnly}).want(map[string]string{"a": "ONE", "b": "two", "c": "three"})
}

func TestDropDirEntriesLosesEntriesAndSomeData(t *testing.T) {
	d := newDisk(t)
	f := d.create("a", "0")
	d.write(f, 0, "1")
	d.must(d.Rename("a", "b"))
	wantSeen(t, d.contents("a", Survival{Mode: DropDirEntries}, 50), "0", "1")
}

func TestSyncedFileVanishesWithItsName(t *testing.T) {
	d := newDisk(t)
	f, err := d.Create("a")
	d.must(err)
	d.write(f, 0, "data")
	d.must(f.Sync())
	wantSeen(t, d.contents("a", Survival{Mode: Random}, 50), "(none)", "data")
	d.must(d.SyncDir("."))
	wantSeen(t, d.contents("a", Survival{Mode: Random}, 50), "data")
}

func TestSyncedFileVanishesWithItsDirectory(t *testing.T) {
	d := newDisk(t)
	d.must(d.Mkdir("d"))
	f, err := d.Create("d/a")
	d.must(err)
	d.must(f.Sync())
	d.must(d.SyncDir("d"))
	d.after(Survival{Mode: DropAll}).want(map[string]string{})
	d.must(d.SyncDir("."))
	d.after(Survival{Mode: DropAll}).want(map[string]string{"d/a": ""})
}

func TestEntriesSurviveInAnyOrder(t *testing.T) {
	d := newDisk(t)
	for _, name := range []string{"a", "b"} {
		if _, err := d.Create(name); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[string]bool{}
	for seed := range uint64(50) {
		files := d.Crash(Survival{Mode: Random, Seed: seed}).Files()
		seen[strings.Join(slices.Sorted(maps.Keys(files)), " ")] = true
	}
	wantSeen(t, seen, "", "a", "b", "a b")
}

func TestRenameReplacesAtOnceOrNotAtAll(t *testing.T) {
	d := newDisk(t)
	d.create("a", "new")
	d.create("b", "old")
	d.must(d.Rename("a", "b"))
	seen := map[string]bool{}
	for seed := range uint64(50) {
		var list []string
		for name, b := range d.Crash(Survival{Mode: Random, Seed: seed}).Files() {
			list = append(list, name+"="+string(b))
		}
		slices.Sort(list)
		seen[strings.Join(list, " ")] = true
	}
	wantSeen(t, seen, "a=new b=old", "b=new")
}

func TestRenameBetweenDirectoriesMayBeHalfDone(t *testing.T) {
	d := newDisk(t)
	d.must(d.Mkdir("d"))
	d.create("a", "x")
	d.must(d.Rename("a", "d/a"))
	d.must(d.SyncDir("d"))
	image := d.after(Survival{Mode: DropAll})
	image.want(map[string]string{"a": "x", "d/a": "x"})
	image.must(image.Remove("a"))
	if image.used != 1 {
		t.Errorf("used: got %d bytes, want the 1 of the name that is left", image.used)
	}
	image.must(image.SyncDir("."))
	image.want(map[string]string{"d/a": "x"})
	image.after(Survival{Mode: DropAll}).want(map[string]string{"d/a": "x"})
}

func TestSyncAllMakesEverythingDurable(t *testing.T) {
	d := newDisk(t)
	d.must(d.Mkdir("d"))
	f, err := d.Create("d/a")
	d.must(err)
	d.write(f, 0, "x")
	d.must(d.SyncAll())
	if got := d.Unsynced(); got != 0 {
		t.Errorf("unsynced: got %d, want 0", got)
	}
	d.after(Survival{Mode: DropAll}).want(map[string]string{"d/a": "x"})
}

func TestSameSeedsGiveTheSameImage(t *testing.T) {
	run := func(seed uint64) disk {
		d := disk{NewSim(seed), t}
		d.must(d.Mkdir("d"))
		for _, name := range []string{"a", "d/b", "c"} {
			f, err := d.Create(name)
			d.must(err)
			d.write(f, 0, fill('x', 5000))
			d.write(f, 700, fill('y', 9000))
			d.must(f.Truncate(6000))
		}
		d.must(d.Rename("a", "d/a"))
		return d
	}
	one, two, other := run(1), run(1), run(2)
	differ := false
	for i, v := range Survivals() {
		a, b, c := one.Crash(v).Files(), two.Crash(v).Files(), other.Crash(v).Files()
		if !equalFiles(a, b) {
			t.Errorf("survival %d: two images differ", i)
		}
		differ = differ || !equalFiles(a, c)
	}
	if !differ {
		t.Error("the disk's seed changes nothing")
	}
	if !slices.Equal(one.Log(), two.Log()) {
		t.Error("the logs differ")
	}
}

func equalFiles(a, b map[string][]byte) bool {
	return maps.EqualFunc(a, b, func(x, y []byte) bool { return string(x) == string(y) })
}

func TestImagesAreApart(t *testing.T) {
	d := newDisk(t)
	f := d.create("a", "one")
	image := disk{d.Crash(Survival{Mode: DropAll}), t}
	clone := disk{d.Clone(), t}
	d.write(f, 0, "ONE")
	g, err := image.Open("a")
	image.must(err)
	image.write(g, 0, "two")
	image.must(image.Rename("a", "b"))
	h, err := clone.Open("a")
	clone.must(err)
	clone.write(h, 0, "six")
	d.want(map[string]string{"a": "ONE"})
	image.want(map[string]string{"b": "two"})
	clone.want(map[string]string{"a": "six"})
	d.after(Survival{Mode: DropAll}).want(map[string]string{"a": "one"})
}

func TestImageHasNothingUnsynced(t *testing.T) {
	d := newDisk(t)
	f := d.create("a", "one")
	d.write(f, 0, "two")
	image := d.after(Survival{Mode: KeepAll})
	if got := image.Unsynced(); got != 0 || image.Ops() != 0 || image.OpenFiles() != 0 {
		t.Errorf("got %d effects, %d operations, %d files, want none", got, image.Ops(), image.OpenFiles())
	}
	image.after(Survival{Mode: DropAll}).want(map[string]string{"a": "two"})
}

func TestStandardSurvivalsCoverEveryMode(t *testing.T) {
	list := Survivals()
	if len(list) < 16 {
		t.Errorf("got %d survivals, want 16 or more", len(list))
	}
	for mode := DropAll; mode <= DropDirEntries; mode++ {
		if !slices.ContainsFunc(list, func(v Survival) bool { return v.Mode == mode }) {
			t.Errorf("mode %d is not in the list", mode)
		}
	}
}

func BenchmarkCrash(b *testing.B) {
	s := NewSim(1)
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		s.SetFile(name, []byte(fill('x', 64<<10)))
	}
	f, err := s.Open("a")
	if err != nil {
		b.Fatal(err)
	}
	if _, err := f.WriteAt([]byte(fill('y', 8192)), 0); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		s.Crash(Survival{Mode: RandomSectors})
	}
}

func TestRemovalTakesItsOwnFileOnly(t *testing.T) {
	d := newDisk(t)
	d.create("a", "old")
	d.must(d.Rename("a", "b"))
	if _, err := d.Create("a"); err != nil {
		t.Fatal(err)
	}
	d.must(d.Remove("a"))
	// The file that was removed never had the name on this image.
	d.after(Survival{Mode: OnlyOne, Pick: 2}).want(map[string]string{"a": "old"})
}
