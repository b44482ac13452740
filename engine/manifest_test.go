package engine

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/seglog/seglog/cursor"
	"github.com/seglog/seglog/internal/env"
	"github.com/seglog/seglog/internal/vfs"
	"github.com/seglog/seglog/segment"
	"github.com/seglog/seglog/wal"
)

func replayTarget() *Engine {
	return &Engine{byName: map[Topic]*topicState{}, byNum: map[uint64]*topicState{}, cursors: cursor.New()}
}

// sampleEdits are a snapshot's worth of topics and an edit of every item.
func sampleEdits() [][]byte {
	s := newManifestState([16]byte{1, 2, 3})
	s.checkpoint = wal.Start{LSN: 8192, Generation: 3}
	s.position, s.nextTopic, s.nextSegment = 99, 3, 12
	topic := &topicMeta{place: place{1, 1}, name: MustTopic("jobs"), latest: 30, low: 4}
	seg := func(id, first, last uint64) *segmentMeta {
		return &segmentMeta{
			id:      segment.Identity{Topic: 1, Incarnation: 1, ID: id, Base: first},
			durable: 8192, first: first, last: last, firstPosition: first, lastPosition: last, minTime: -5, maxTime: 7, kinds: 1 << 40,
		}
	}
	carried := carriedBlock{carry: 11, Block: segment.Block{Topic: 1, Incarnation: 1, First: 21, Last: 30, FirstPosition: 80, LastPosition: 99, Offset: 4096, Stored: 200, Raw: 300, Checksum: 77}}
	var a, b, c edit
	a.log(s)
	a.topic(topic)
	a.segment(seg(5, 1, 10))
	full := seg(5, 1, 10)
	full.sealed, full.footer = true, segment.Footer{Offset: 8000, Length: 192, Checksum: 9, Blocks: 2}
	a.segment(full)
	a.segment(seg(6, 11, 20))
	withCarried := *topic
	withCarried.carried = []carriedBlock{carried}
	a.carry(&carryMeta{id: 11, durable: 8192})
	a.topic(&withCarried)
	a.cursor(cursor.Entry{Topic: 1, Consumer: "c", Cursor: cursor.Cursor{ID: 9, AckedMS: 5}})
	b.changedTopic(&withCarried, &withCarried)
	b.dropSegment(full)
	b.changedTopic(&withCarried, topic)
	b.dropCarry(11)
	b.cursor(cursor.Entry{Topic: 1, Consumer: "c", Deleted: true})
	c.forget(5)
	return [][]byte{a.b, b.b, c.b}
}

func writeSample(t testing.TB) (*vfs.Sim, *manifest) {
	t.Helper()
	sim := vfs.NewSim(1)
	edits := sampleEdits()
	state := newManifestState([16]byte{1, 2, 3})
	if err := state.apply(edits[0]); err != nil {
		t.Fatal(err)
	}
	m, err := createManifest(sim, 1, state)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range edits[1:] {
		if err := m.append(frameEdit, b); err != nil {
			t.Fatal(err)
		}
		if err := m.state.apply(b); err != nil {
			t.Fatal(err)
		}
	}
	return sim, m
}

// reseal makes a header's checksum right again.
func reseal(header []byte) {
	binary.LittleEndian.PutUint64(header[88:], xxhash.Sum64(header[:88]))
}

func TestManifestRoundTrip(t *testing.T) {
	sim, m := writeSample(t)
	l, err := readManifest(sim, 1)
	if err != nil {
		t.Fatal(err)
	}
	if l.size != m.size || l.seq != 3 || l.chain != m.chain || l.torn != 0 || len(l.damage) != 0 {
		t.Errorf("read %d frames of %d bytes, %d torn, %d damaged", l.seq, l.size, l.torn, len(l.damage))
	}
	if got, want := l.state.snapshot(), m.state.snapshot(); !reflect.DeepEqual(got, want) {
		t.Errorf("state differs: got %x, want %x", got, want)
	}
}

// TestManifestSurvivesEveryFlippedBit flips every bit: the state is what it
// was, and the damage is reported as such with its place.
func TestManifestSurvivesEveryFlippedBit(t *testing.T) {
	sim, m := writeSample(t)
	want := m.state.snapshot()
	name := manifestName(1)
	step := 1
	if testing.Short() {
		step = 7
	}
	for off := 0; off < len(sim.Files()[name]); off += step {
		bad := sim.Clone()
		bad.Corrupt(name, int64(off), 1<<(off%8))
		l, err := readManifest(bad, 1)
		if errors.Is(err, ErrVersion) {
			t.Fatalf("byte %d: %v", off, err)
		}
		if err != nil {
			t.Fatalf("byte %d: %v", off, err)
		}
		if !reflect.DeepEqual(l.state.snapshot(), want) {
			t.Fatalf("byte %d: the state differs", off)
		}
		if len(l.damage) != 1 || !l.damage[0].proved {
			t.Fatalf("byte %d: %d places are damaged, want one, proved", off, len(l.damage))
		}
	}
}

// TestManifestTornAtEveryByte cuts the last write anywhere: the state is the
// one before or the one after, and nothing is taken for damage.
func TestManifestTornAtEveryByte(t *testing.T) {
	sim, _ := writeSample(t)
	name := manifestName(1)
	whole := sim.Files()[name]
	before, err := readManifest(sim, 1)
	if err != nil {
		t.Fatal(err)
	}
	last := before.size - 2*manifestPage
	for cut := last; cut < int64(len(whole)); cut += 37 {
		torn := vfs.NewSim(2)
		torn.SetFile(name, whole[:cut])
		l, err := readManifest(torn, 1)
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		if l.seq != 2 && l.seq != 3 {
			t.Fatalf("cut at %d: %d frames", cut, l.seq)
		}
		for _, d := range l.damage {
			if d.proved {
				t.Fatalf("cut at %d: taken for damage: %v", cut, d.err)
			}
		}
	}
}

// TestManifestHoleIsCorruption damages both copies of a frame that others
// follow.
func TestManifestHoleIsCorruption(t *testing.T) {
	sim, m := writeSample(t)
	name := manifestName(1)
	sim.Corrupt(name, m.snapshot+100, 1)
	sim.Corrupt(name, m.snapshot+manifestPage+100, 1)
	_, err := readManifest(sim, 1)
	c := corruption(err)
	if c == nil || c.File != name || c.Offset != m.snapshot {
		t.Fatalf("got %v, want corruption of %s at offset %d", err, name, m.snapshot)
	}
}

func TestManifestOfNewerVersionIsRefused(t *testing.T) {
	sim, _ := writeSample(t)
	name := manifestName(1)
	b := sim.Files()[name]
	newer := bytes.Clone(b)
	for _, at := range []int{0, manifestPage} {
		newer[at+8] = 2
		reseal(newer[at:])
	}
	sim.SetFile(name, newer)
	if _, err := readManifest(sim, 1); !errors.Is(err, ErrVersion) {
		t.Fatalf("got %v, want ErrVersion", err)
	}
}

func FuzzManifest(f *testing.F) {
	sim, _ := writeSample(f)
	f.Add(sim.Files()[manifestName(1)])
	f.Fuzz(func(t *testing.T, b []byte) {
		sim := vfs.NewSim(1)
		sim.SetFile(manifestName(1), b)
		l, err := readManifest(sim, 1)
		if err != nil {
			return
		}
		if again := newManifestState(l.state.uuid); l.seq > 0 && again.apply(l.state.snapshot()) != nil {
			t.Fatal("the snapshot of what was read cannot be read")
		}
	})
}

func FuzzEdit(f *testing.F) {
	for _, b := range sampleEdits() {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s := newManifestState([16]byte{})
		if s.apply(b) != nil {
			return
		}
		if again := newManifestState([16]byte{}); again.apply(s.snapshot()) != nil {
			t.Fatal("the snapshot of what was read cannot be read")
		}
	})
}

// What becomes of a topic's carried blocks is told by the difference: some go
// from the front, some from the end, some come behind.
func TestChangedTopicsAreToldByTheDifference(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	next := uint64(1)
	s := newManifestState([16]byte{1})
	m := &topicMeta{place: place{1, 1}, name: MustTopic("t"), low: 1}
	var first edit
	first.topic(m)
	if err := s.apply(first.b); err != nil {
		t.Fatal(err)
	}
	sizes := 0
	for range 2000 {
		old := s.topics[1]
		held := slices.Clone(old.carried[:cap(old.carried)]) // as by readers, and by states that were before
		changed := *old
		drop := random.IntN(len(old.carried) + 1)
		if random.IntN(3) > 0 {
			drop = 0
		}
		keep := len(old.carried) - drop
		if random.IntN(2) > 0 {
			keep = random.IntN(keep + 1)
		}
		changed.carried = slices.Clone(old.carried[drop : drop+keep])
		for range random.IntN(4) {
			changed.carried = append(changed.carried, carriedBlock{carry: next % 7, Block: segment.Block{Topic: 1, Incarnation: 1, First: next, Last: next + 2, Stored: 200, Raw: 300, Checksum: next}})
			next += 3
		}
		changed.latest, changed.low = next-1, max(changed.low, next/2)
		var e edit
		e.changedTopic(old, &changed)
		if err := s.apply(e.b); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(held, old.carried[:cap(old.carried)]) {
			t.Fatal("an edit changes what was there before it")
		}
		if got := s.topics[1]; !reflect.DeepEqual(got.carried, changed.carried) && len(got.carried)+len(changed.carried) > 0 || got.latest != changed.latest || got.low != changed.low {
			t.Fatalf("got %+v, want %+v", got, changed)
		}
		sizes += len(e.b)
	}
	if sizes > 2000*200 {
		t.Errorf("an edit has %d bytes in the mean", sizes/2000)
	}
	var bad edit
	bad.b = append(bad.b, itemCarried)
	bad.uint(1, 0, 1, 1, uint64(len(s.topics[1].carried)), 0)
	if err := s.apply(bad.b); err == nil {
		t.Error("an edit that keeps blocks that are not there is applied")
	}
}

// Lost events have places of their own, whatever the order they were found in.
func TestLostEventsAreInOrderAndApart(t *testing.T) {
	for _, test := range []struct {
		lost  [][2]uint64
		valid bool
	}{
		{[][2]uint64{{11, 14}, {15, 20}}, true},
		{[][2]uint64{{15, 20}, {11, 14}}, true},
		{[][2]uint64{{11, 14}, {15, 20}, {12, 13}}, false},
		{[][2]uint64{{11, 20}, {3, 4}}, false},
		{[][2]uint64{{11, 14}}, false},
	} {
		s := newManifestState([16]byte{1})
		var e edit
		e.topic(&topicMeta{place: place{1, 1}, name: MustTopic("t"), latest: 30, low: 1})
		for i, ids := range [][2]uint64{{1, 10}, {21, 30}} {
			e.segment(&segmentMeta{id: segment.Identity{Topic: 1, Incarnation: 1, ID: uint64(i + 1), Base: ids[0]}, first: ids[0], last: ids[1]})
		}
		for _, ids := range test.lost {
			e.lost(1, &lostEvents{first: ids[0], last: ids[1], carry: 9})
		}
		if err := s.apply(e.b); err != nil {
			t.Fatal(err)
		}
		if err := s.topics[1].check("manifest"); (err == nil) != test.valid {
			t.Errorf("lost %v: %v", test.lost, err)
		}
		if test.valid {
			newDiskView(s.topics[1])
		}
	}
}

// TestManifestInMemoryIsTheOneOnDisk: what checkpoints make of the manifest's
// state without reading their own edits is what those who read them get.
func TestManifestInMemoryIsTheOneOnDisk(t *testing.T) {
	disk, random := vfs.NewSim(1), rand.New(rand.NewPCG(1, 2))
	e, err := OpenEnv(env.Env{FS: disk, Now: time.Now, Rand: random.Uint64, Inline: true}, "sim", Options{BlockBytes: 256, SegmentBytes: 16 << 10})
	if err != nil {
		t.Fatal(err)
	}
	segments, carried, dropped := 0, 0, 0
	for round := range 300 {
		for range random.IntN(20) {
			topic := MustTopic(fmt.Sprint("t", random.IntN(12)))
			event := Event{Kind: "k", Payload: []byte(`"` + strings.Repeat("x", random.IntN(400)) + `"`)}
			for range random.IntN(8) {
				if _, err := e.Append(t.Context(), topic, event); err != nil {
					t.Fatal(err)
				}
			}
			if latest, ok, _ := e.Latest(t.Context(), topic); ok && random.IntN(12) == 0 {
				if _, err := e.Compact(t.Context(), topic, EventID(random.Uint64N(uint64(latest)+1))); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := e.Checkpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
		l, err := readManifest(disk, e.manifest.gen)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := e.manifest.state.snapshot(), l.state.snapshot(); !bytes.Equal(got, want) {
			t.Fatalf("round %d: the state in memory is\n%x\nand on disk\n%x", round, got, want)
		}
		if got, want := e.writers.used, l.state.carryUses(); !maps.Equal(got, want) {
			t.Fatalf("round %d: carry files are counted as used %v, want %v", round, got, want)
		}
		for _, m := range l.state.topics {
			segments, carried = max(segments, len(m.segments)), max(carried, len(m.carried))
		}
		dropped = max(dropped, len(l.state.tombstones))
	}
	if segments < 2 || carried < 2 || dropped < 2 {
		t.Errorf("at most %d segments and %d carried blocks in a topic, and %d dropped files: too few to tell", segments, carried, dropped)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestCarryFilesAreKeptWhateverTheCountSays: how many parts of topics are in a
// carry file is counted from checkpoint to checkpoint. A wrong count must not
// take away events.
func TestCarryFilesAreKeptWhateverTheCountSays(t *testing.T) {
	disk := vfs.NewSim(1)
	open := func() *Engine {
		e, err := OpenEnv(env.Env{FS: disk, Now: time.Now, Rand: rand.Uint64, Inline: true}, "sim", Options{})
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	e := open()
	add := func(name string) {
		if _, err := e.Append(t.Context(), MustTopic(name), Event{Kind: "k", Payload: []byte(`1`)}); err != nil {
			t.Fatal(err)
		}
		if err := e.Checkpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	add("a")
	if len(e.manifest.state.carries) != 1 {
		t.Fatalf("%d carry files, want 1", len(e.manifest.state.carries))
	}
	clear(e.writers.used)
	e.writers.distrust(sortedKeys(e.manifest.state.carries)[0]) // the next block is carried in another file
	add("b")
	add("b")
	if got, want := e.writers.used, e.manifest.state.carryUses(); !maps.Equal(got, want) {
		t.Errorf("carry files are counted as used %v, want %v", got, want)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = open()
	defer e.Close()
	for _, name := range []string{"a", "b"} {
		if records, err := ReadRange(t.Context(), e, MustTopic(name), 0, 10); err != nil || len(records) == 0 {
			t.Errorf("topic %s: %d events, %v", name, len(records), err)
		}
	}
}
