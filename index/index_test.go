package index

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
)

// block is an entry of events first to last in a segment.
func block(segment, first, last uint64, times ...int64) Entry {
	e := Entry{First: first, Last: last, Segment: segment, Offset: int64(first), Stored: 9, FirstPosition: 10 * first, LastPosition: 10*last + 9, Kinds: 1 << (first % 64)}
	if len(times) > 0 {
		e.MinTime, e.MaxTime = slices.Min(times), slices.Max(times)
	}
	return e
}

// blocks are n entries of ten events each, as many as perSegment in a segment.
func blocks(from uint64, n, perSegment int) []Entry {
	var list []Entry
	for i := range n {
		first := from + 10*uint64(i)
		list = append(list, block(1+uint64(i/perSegment), first, first+9, int64(first)))
	}
	return list
}

// loaded are blocks that are put in the place of a span.
type loaded []Entry

func (l loaded) Len() int          { return len(l) }
func (l loaded) Entry(i int) Entry { return l[i] }
func (l loaded) Last(i int) uint64 { return l[i].Last }

func all(s Snapshot) []Entry {
	var list []Entry
	s.Ascend(0, func(e Entry) bool { list = append(list, e); return true })
	return list
}

// seeked is what the index must answer, found the slow way.
func seeked(list []Entry, ok func(Entry) bool) (Entry, bool) {
	i := slices.IndexFunc(list, ok)
	if i < 0 {
		return Entry{}, false
	}
	return list[i], true
}

// check compares every look-up with a search through all entries.
func check(t *testing.T, s Snapshot) {
	t.Helper()
	list := all(s)
	if len(list) != s.Len() {
		t.Fatalf("Len is %d, want %d", s.Len(), len(list))
	}
	reached := map[uint64]int64{} // the highest time up to the entry that begins with an id
	running := int64(math.MinInt64)
	top := uint64(20)
	for i, e := range list {
		if i > 0 && e.First != list[i-1].Last+1 {
			t.Fatalf("entry %d begins with %d behind %d", i, e.First, list[i-1].Last)
		}
		if i == 0 {
			first, _ := s.tree.Min()
			running = first.before
		}
		running = max(running, e.MaxTime)
		reached[e.First] = running
		top = e.Last + 20
	}
	before := running
	s.tree.Descend(func(it item) bool {
		last, _ := s.Seek(it.last)
		if it.reach != reached[last.First] || it.reach != before {
			t.Fatalf("events %d to %d reach %d, want %d", it.first, it.last, it.reach, reached[last.First])
		}
		before = it.before
		return true
	})
	backwards := slices.Clone(list)
	slices.Reverse(backwards)
	step := max(1, top/3000)
	for id := uint64(0); id <= top; id += step {
		got, ok := s.Seek(id)
		want, wantOK := seeked(list, func(e Entry) bool { return e.Last >= id })
		if got != want || ok != wantOK {
			t.Fatalf("Seek(%d) = %+v, %v, want %+v, %v", id, got, ok, want, wantOK)
		}
		got, ok = s.SeekBack(id)
		want, wantOK = seeked(backwards, func(e Entry) bool { return e.First <= id })
		if got != want || ok != wantOK {
			t.Fatalf("SeekBack(%d) = %+v, %v, want %+v, %v", id, got, ok, want, wantOK)
		}
	}
	times := []int64{math.MinInt64, math.MaxInt64, 0}
	for _, e := range list {
		times = append(times, e.MaxTime-1, e.MaxTime, e.MaxTime+1)
	}
	for _, ms := range times {
		got, ok := s.SeekTime(ms)
		want, wantOK := seeked(list, func(e Entry) bool { return reached[e.First] >= ms })
		if got != want || ok != wantOK {
			t.Fatalf("SeekTime(%d) = %+v, %v, want %+v, %v", ms, got, ok, want, wantOK)
		}
	}
}

func TestSeeksAgreeWithASearch(t *testing.T) {
	for _, n := range []int{0, 1, 2, 31, 32, 33, 300} {
		x := New()
		x.Add(blocks(1, n, 7)...)
		check(t, x.Snapshot())
	}
}

func TestTimesThatGoBackAreFound(t *testing.T) {
	x := New()
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range uint64(200) {
		x.Add(block(1, 1+2*i, 2+2*i, rng.Int64N(1000)-500, rng.Int64N(1000)-500))
	}
	check(t, x.Snapshot())
	x = New()
	x.Add(block(1, 1, 1, math.MinInt64), block(1, 2, 2, math.MinInt64), block(1, 3, 3, math.MaxInt64), block(1, 4, 4, 0))
	check(t, x.Snapshot())
}

func TestSnapshotNeverChanges(t *testing.T) {
	x := New()
	x.Add(blocks(1, 100, 10)...)
	s := x.Snapshot()
	want := all(s)
	x.Add(block(99, 1001, 1010, 5))
	x.Collapse(3)
	x.DropSegments(500)
	if got := all(s); !slices.Equal(got, want) {
		t.Fatalf("snapshot has %d entries, want the %d it had", len(got), len(want))
	}
	check(t, x.Snapshot())
}

func TestAddPanicsOnAGap(t *testing.T) {
	for _, e := range []Entry{block(1, 12, 13), block(1, 10, 13), block(1, 11, 10)} {
		func() {
			x := New()
			x.Add(block(1, 1, 10))
			defer func() {
				if recover() == nil {
					t.Errorf("Add of %d to %d behind 10 did not panic", e.First, e.Last)
				}
			}()
			x.Add(e)
		}()
	}
}

func TestSpanExpandsAndCollapses(t *testing.T) {
	list := blocks(1, 90, 30)
	x := New()
	x.Add(list...)
	want := all(x.Snapshot())
	for segment := range uint64(4) {
		x.Collapse(segment) // 0 is not there
		check(t, x.Snapshot())
	}
	if n := x.Snapshot().Len(); n != 3 {
		t.Fatalf("%d entries after collapsing, want 3 spans", n)
	}
	if e, _ := x.Snapshot().Seek(400); !e.Span || e.Segment != 2 || e.First != 301 || e.Last != 600 ||
		e.FirstPosition != 3010 || e.LastPosition != 6009 || e.MinTime != 301 || e.MaxTime != 591 || e.Kinds == 0 {
		t.Fatalf("span is %+v", e)
	}
	for _, segment := range []uint64{2, 1, 3, 3} {
		from := 30 * (segment - 1)
		if err := x.Expand(segment, loaded(list[from:from+30])); err != nil {
			t.Fatal(err)
		}
		check(t, x.Snapshot())
	}
	if got := all(x.Snapshot()); !slices.Equal(got, want) {
		t.Fatal("expanding does not give back what was collapsed")
	}
}

// TestBlocksAreAddedBehindLoadedOnes has a segment that was loaded go on.
func TestBlocksAreAddedBehindLoadedOnes(t *testing.T) {
	list := blocks(1, 60, 30)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range list {
		list[i].MaxTime += rng.Int64N(200)
	}
	x := New()
	x.Add(list[:50]...)
	x.Collapse(1)
	x.Collapse(2)
	if err := x.Expand(2, loaded(list[30:50])); err != nil {
		t.Fatal(err)
	}
	x.Add(list[50:]...)
	check(t, x.Snapshot())
	if n := x.Snapshot().Len(); n != 31 {
		t.Fatalf("%d entries, want a span and 30 blocks", n)
	}
	x.Collapse(2)
	check(t, x.Snapshot())
	if n := x.Snapshot().Len(); n != 2 {
		t.Fatalf("%d entries, want 2 spans", n)
	}
	for segment := range uint64(2) {
		if err := x.Expand(segment+1, loaded(list[30*segment:][:30])); err != nil {
			t.Fatal(err)
		}
		check(t, x.Snapshot())
	}
	if got := all(x.Snapshot()); !slices.Equal(got, list) {
		t.Fatal("loading does not give back what was added")
	}
}

func TestExpandDoesNothingToWhatIsGone(t *testing.T) {
	list := blocks(1, 20, 10)
	x := New()
	if err := x.Expand(1, loaded(list[:10])); err != nil || x.Snapshot().Len() != 0 {
		t.Fatal("an empty index was expanded", err)
	}
	x.Add(list...)
	x.Collapse(1)
	x.Collapse(2)
	if got := x.DropSegments(101); !slices.Equal(got, []uint64{1}) {
		t.Fatalf("dropped %d, want 1", got)
	}
	if err := x.Expand(1, loaded(list[:10])); err != nil || x.Snapshot().Len() != 1 {
		t.Fatal("a dropped segment came back", err)
	}
}

func TestExpandRefusesBlocksThatAreNotTheSpans(t *testing.T) {
	list := blocks(1, 10, 10)
	for name, change := range map[string]func([]Entry) []Entry{
		"none":            func([]Entry) []Entry { return nil },
		"one is missing":  func(l []Entry) []Entry { return slices.Delete(l, 4, 5) },
		"last is missing": func(l []Entry) []Entry { return l[:9] },
		"one more":        func(l []Entry) []Entry { return append(l, block(1, 101, 110, 1)) },
		"other segment":   func(l []Entry) []Entry { l[3].Segment++; return l },
		"a span":          func(l []Entry) []Entry { l[3].Span = true; return l },
		"other times":     func(l []Entry) []Entry { l[3].MaxTime = 5000; return l },
		"lower times":     func(l []Entry) []Entry { l[9].MaxTime = 0; return l },
	} {
		x := New()
		x.Add(list...)
		x.Collapse(1)
		want := all(x.Snapshot())
		if err := x.Expand(1, loaded(change(slices.Clone(list)))); err == nil {
			t.Errorf("%s: no error", name)
		}
		if got := all(x.Snapshot()); !slices.Equal(got, want) {
			t.Errorf("%s: the index changed", name)
		}
	}
}

func TestDropTakesWholeSegmentsFromTheFront(t *testing.T) {
	for _, tt := range []struct {
		before uint64
		want   []uint64
	}{
		{0, nil}, {100, nil}, {101, []uint64{1}}, {200, []uint64{1}}, {201, []uint64{1, 2}}, {math.MaxUint64, []uint64{1, 2, 3}},
	} {
		x := New()
		x.Add(blocks(1, 30, 10)...)
		x.Collapse(2)
		if got := x.DropSegments(tt.before); !slices.Equal(got, tt.want) {
			t.Errorf("before %d: dropped %d, want %d", tt.before, got, tt.want)
		}
		check(t, x.Snapshot())
		if e, ok := x.Snapshot().Seek(0); ok && e.First != 1+100*uint64(len(tt.want)) {
			t.Errorf("before %d: the first entry begins with %d", tt.before, e.First)
		}
	}
}

func TestSegmentWithEventsFurtherOnIsKept(t *testing.T) {
	x := New()
	x.Add(block(1, 1, 10), block(2, 11, 20), block(3, 21, 30), block(2, 31, 40), block(4, 41, 50))
	x.Collapse(2)
	if n := x.Snapshot().Len(); n != 5 {
		t.Fatalf("%d entries after collapsing a segment that is not dense, want 5", n)
	}
	if got := x.DropSegments(35); !slices.Equal(got, []uint64{1}) {
		t.Fatalf("dropped %d, want 1: segment 2 goes on to 40", got)
	}
	check(t, x.Snapshot())
	if got := x.DropSegments(41); !slices.Equal(got, []uint64{2, 3}) {
		t.Fatalf("dropped %d, want 2 and 3", got)
	}
	check(t, x.Snapshot())
}

func TestEmptiedIndexGoesOn(t *testing.T) {
	x := New()
	x.Add(blocks(1, 5, 5)...)
	x.DropSegments(51)
	check(t, x.Snapshot())
	x.Add(blocks(51, 5, 5)...)
	check(t, x.Snapshot())
}

func TestDescendStopsWhereToldTo(t *testing.T) {
	x := New()
	x.Add(blocks(1, 5, 5)...)
	var got []uint64
	x.Snapshot().Descend(35, func(e Entry) bool { got = append(got, e.First); return len(got) < 3 })
	if !slices.Equal(got, []uint64{31, 21, 11}) {
		t.Fatalf("got %d", got)
	}
	got = nil
	x.Snapshot().Ascend(35, func(e Entry) bool { got = append(got, e.First); return true })
	if !slices.Equal(got, []uint64{31, 41}) {
		t.Fatalf("got %d", got)
	}
}

func TestReadersRaceAWriter(t *testing.T) {
	x := New()
	x.Add(blocks(1, 10, 5)...)
	done := make(chan struct{})
	var wg sync.WaitGroup
	for seed := range uint64(3) {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, 0))
			for {
				select {
				case <-done:
					return
				default:
				}
				s := x.Snapshot()
				list := all(s)
				if len(list) == 0 {
					continue
				}
				first, last := list[0].First, list[len(list)-1].Last
				id := first + rng.Uint64N(last-first+1)
				if e, ok := s.Seek(id); !ok || id < e.First || id > e.Last {
					t.Errorf("Seek(%d) among %d to %d = %+v, %v", id, first, last, e, ok)
					return
				}
				if e, ok := s.SeekTime(int64(id)); ok && e.MaxTime < int64(id) {
					t.Errorf("SeekTime(%d) = %+v", id, e)
					return
				}
			}
		})
	}
	next := uint64(101)
	for segment := uint64(3); segment < 200; segment++ {
		list := blocks(next, 20, 20)
		for i := range list {
			list[i].Segment = segment
			x.Add(list[i])
		}
		next += 200
		x.Collapse(segment)
		if segment%3 == 0 {
			if err := x.Expand(segment, loaded(list)); err != nil {
				t.Error(err)
			}
		}
		if next > 3000 {
			x.DropSegments(next - 3000)
		}
	}
	close(done)
	wg.Wait()
	check(t, x.Snapshot())
}

func TestSeeksAllocateNothing(t *testing.T) {
	x := New()
	x.Add(blocks(1, 1000, 10)...)
	x.Collapse(1)
	if err := x.Expand(1, loaded(blocks(1, 10, 10))); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() {
		s := x.Snapshot()
		s.Seek(777)
		s.SeekBack(9)
		s.Seek(55)
		s.SeekTime(31)
		s.SeekTime(4000)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkSeek(b *testing.B) {
	x := New()
	x.Add(blocks(1, 100_000, 1000)...)
	s := x.Snapshot()
	b.ReportAllocs()
	for id := uint64(0); b.Loop(); id = (id + 7919) % 1_000_000 {
		s.Seek(id)
	}
}

func BenchmarkAdd(b *testing.B) {
	x := New()
	b.ReportAllocs()
	for id := uint64(1); b.Loop(); id += 10 {
		x.Add(block(1, id, id+9, int64(id)))
	}
}
