package segment

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cespare/xxhash/v2"
	"github.com/seglog/seglog/internal/vfs"
)

var (
	topicFile = Identity{UUID: [16]byte{1, 2, 3, 15: 16}, Topic: 7, Incarnation: 2, ID: 42, Base: 100}
	carryFile = Identity{UUID: [16]byte{1, 2, 3, 15: 16}, ID: 43}
	codecs    = []Codec{None, S2, Zstd}
)

// fixture is a segment file on a simulated disk, with what was put in it.
type fixture struct {
	t      *testing.T
	fs     *vfs.Sim
	id     Identity
	w      *Writer
	blocks []Block
	raws   [][]byte
	footer Footer
}

func create(t *testing.T, id Identity, codec Codec) *fixture {
	t.Helper()
	fx := &fixture{t: t, fs: vfs.NewSim(1), id: id}
	if err := fx.fs.Mkdir("seg"); err != nil {
		t.Fatal(err)
	}
	w, err := Create(fx.fs, id, codec)
	if err != nil {
		t.Fatal(err)
	}
	fx.w = w
	return fx
}

func (fx *fixture) name() string { return FileName(fx.id) }

// add puts a block of three events and its raw bytes behind the others.
func (fx *fixture) add(raw []byte) {
	fx.t.Helper()
	b := nextBlock(fx.id, fx.blocks)
	b, err := fx.w.Add(b, raw)
	if err != nil {
		fx.t.Fatal(err)
	}
	fx.blocks = append(fx.blocks, b)
	fx.raws = append(fx.raws, bytes.Clone(raw))
}

func nextBlock(id Identity, blocks []Block) Block {
	n := uint64(len(blocks))
	b := Block{
		Topic: id.Topic, Incarnation: id.Incarnation,
		First: id.Base + 3*n, Last: id.Base + 3*n + 2,
		FirstPosition: 1000 + 5*n, LastPosition: 1000 + 5*n + 4,
		MinTime: -10 + int64(n), MaxTime: 20 + int64(n),
		Kinds: KindBit([]byte("job.done")) | KindBit(fmt.Append(nil, n)),
	}
	if id.Topic == 0 {
		b.Topic, b.Incarnation = 1000-n, uint32(n)
		b.First, b.Last = 1+n%2, 3
	}
	return b
}

func (fx *fixture) sync() {
	fx.t.Helper()
	if err := fx.w.Sync(); err != nil {
		fx.t.Fatal(err)
	}
	if err := fx.fs.SyncDir("seg"); err != nil {
		fx.t.Fatal(err)
	}
}

func (fx *fixture) seal() {
	fx.t.Helper()
	f, err := fx.w.Seal(fx.blocks)
	if err != nil {
		fx.t.Fatal(err)
	}
	fx.footer = f
	fx.sync()
}

// continueAt closes the writer and opens the next one at a durable length.
func (fx *fixture) continueAt(codec Codec, durable int64) {
	fx.t.Helper()
	if err := fx.w.Close(); err != nil {
		fx.t.Fatal(err)
	}
	w, err := Continue(fx.fs, fx.id, codec, durable)
	if err != nil {
		fx.t.Fatal(err)
	}
	fx.w = w
}

// verify reads the whole file and compares it with what was put in.
func (fx *fixture) verify(fs vfs.FS, durable int64) error {
	r, err := OpenReader(fs, fx.id)
	if err != nil {
		return err
	}
	defer r.Close()
	return verify(r, durable, fx.footer, fx.blocks, fx.raws)
}

func verify(r *Reader, durable int64, footer Footer, blocks []Block, raws [][]byte) error {
	var (
		buf Buffer
		i   int
	)
	err := r.Walk(durable, func(b Block) error {
		if i == len(blocks) {
			return fmt.Errorf("walk finds block %d, want %d", i+1, len(blocks))
		}
		if b != blocks[i] {
			return fmt.Errorf("walk finds block %+v, want %+v", b, blocks[i])
		}
		got, err := r.Read(b, &buf)
		if err != nil {
			return err
		}
		if !bytes.Equal(got, raws[i]) {
			return fmt.Errorf("block %d differs from what was added", i)
		}
		i++
		return nil
	})
	if err != nil {
		return err
	}
	if i != len(blocks) {
		return fmt.Errorf("walk finds %d blocks, want %d", i, len(blocks))
	}
	if footer == (Footer{}) {
		return nil
	}
	list, err := r.Footer(footer, durable)
	if err != nil {
		return err
	}
	if got := list.Blocks(); !slices.Equal(got, blocks) {
		return fmt.Errorf("footer has %+v, want %+v", got, blocks)
	}
	return nil
}

func (fx *fixture) mustVerify(durable int64) {
	fx.t.Helper()
	if err := fx.verify(fx.fs, durable); err != nil {
		fx.t.Fatal(err)
	}
}

// text is n bytes that compress; noise is n bytes that do not.
func text(n int) []byte {
	return bytes.Repeat([]byte(`{"kind":"job.done","payload":{"n":1}} `), n/38+1)[:n]
}

func noise(n int) []byte {
	rng := rand.New(rand.NewPCG(1, uint64(n)))
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(rng.Uint32())
	}
	return p
}

func TestBlocksRoundTrip(t *testing.T) {
	raws := [][]byte{
		nil,
		{0},
		text(10), text(300), noise(300), text(16 << 10), noise(16 << 10), text(100 << 10),
		make([]byte, 1<<20), noise(1<<20 + 7), bytes.Repeat([]byte(blockMagic), 3000), text(33),
	}
	for _, id := range []Identity{topicFile, carryFile} {
		for _, codec := range codecs {
			t.Run(fmt.Sprintf("topic=%d/codec=%v", id.Topic, codec), func(t *testing.T) {
				fx := create(t, id, codec)
				fx.mustVerify(PageBytes)
				for i, raw := range raws {
					if i%4 == 0 {
						fx.w.Begin()
					}
					if i == 6 {
						fx.sync()
						fx.mustVerify(fx.w.Size())
					}
					fx.add(raw)
				}
				fx.sync()
				fx.mustVerify(fx.w.Size())
				fx.seal()
				fx.mustVerify(fx.w.Size())
				fx.w.Close()
				if got := len(fx.fs.Files()[fx.name()]); int64(got) != fx.w.Size() {
					t.Fatalf("file has %d bytes, Size said %d", got, fx.w.Size())
				}
				if n := fx.fs.OpenFiles(); n != 0 {
					t.Fatalf("%d files left open", n)
				}
			})
		}
	}
}

func TestLargeBlockRoundTrips(t *testing.T) {
	fx := create(t, topicFile, Zstd)
	fx.add(make([]byte, zstdMaxRaw))
	fx.add(make([]byte, zstdMaxRaw+1)) // s2 instead
	fx.sync()
	fx.mustVerify(fx.w.Size())
	if got := fx.blocks[1].Stored; got > zstdMaxRaw/100 {
		t.Fatalf("zeros too large for zstd are stored in %d bytes", got)
	}
}

func TestBlockThatDoesNotShrinkIsStoredAsItIs(t *testing.T) {
	for _, codec := range codecs {
		fx := create(t, topicFile, codec)
		fx.add(noise(5000))
		fx.add(text(5000))
		if got := fx.blocks[0].Stored; got != blockHeaderBytes+5000 {
			t.Errorf("%v: noise is stored in %d bytes, want %d", codec, got, blockHeaderBytes+5000)
		}
		if got := fx.blocks[1].Stored; (got < 2000) != (codec != None) {
			t.Errorf("%v: text is stored in %d bytes", codec, got)
		}
	}
}

func TestFileNamesAreNumbers(t *testing.T) {
	if got, want := FileName(topicFile), "seg/0000000000000007-0000000000000064-000000000000002a.seg"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := FileName(carryFile), "carry-000000000000002b"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestKindBitIsOneBit(t *testing.T) {
	seen := uint64(0)
	for i := range 2000 {
		bit := KindBit(fmt.Append(nil, i))
		if bit == 0 || bit&(bit-1) != 0 {
			t.Fatalf("kind %d has bits %x", i, bit)
		}
		seen |= bit
	}
	if seen != ^uint64(0) {
		t.Errorf("2000 kinds use the bits %x only", seen)
	}
	if got, want := KindBit([]byte("job.done")), uint64(1)<<(xxhash.Sum64String("job.done")>>58); got != want {
		t.Errorf("bit of job.done is %x, want %x: it is on disk", got, want)
	}
}

// spyFS records where writes go.
type spyFS struct {
	vfs.FS
	writes *[][2]int64
}

type spyFile struct {
	vfs.File
	writes *[][2]int64
}

func (s spyFS) Create(name string) (vfs.File, error) {
	f, err := s.FS.Create(name)
	return spyFile{f, s.writes}, err
}

func (s spyFS) Open(name string) (vfs.File, error) {
	f, err := s.FS.Open(name)
	return spyFile{f, s.writes}, err
}

func (s spyFile) WriteAt(p []byte, off int64) (int, error) {
	*s.writes = append(*s.writes, [2]int64{off, off + int64(len(p))})
	return s.File.WriteAt(p, off)
}

func TestSyncedPagesAreNeverWrittenAgain(t *testing.T) {
	sim := vfs.NewSim(1)
	sim.Mkdir("seg")
	var writes [][2]int64
	fs := spyFS{sim, &writes}
	w, err := Create(fs, topicFile, None)
	if err != nil {
		t.Fatal(err)
	}
	durable := int64(0)
	var blocks []Block
	check := func() {
		t.Helper()
		if err := w.Sync(); err != nil {
			t.Fatal(err)
		}
		for _, span := range writes {
			if span[0] < alignUp(durable) {
				t.Fatalf("write of %d to %d after %d bytes were synced", span[0], span[1], durable)
			}
		}
		writes, durable = nil, w.Size()
	}
	check()
	for i := range 30 {
		for range i % 4 {
			b, err := w.Add(nextBlock(topicFile, blocks), noise(100+i*397))
			if err != nil {
				t.Fatal(err)
			}
			blocks = append(blocks, b)
		}
		check()
		if i%7 == 6 {
			w.Close()
			if w, err = Continue(fs, topicFile, None, durable); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := w.Seal(blocks); err != nil {
		t.Fatal(err)
	}
	check()
}

func TestBlocksOfARunArePacked(t *testing.T) {
	fx := create(t, topicFile, None)
	fx.add(noise(100))
	fx.add(noise(100))
	fx.w.Begin()
	fx.add(noise(100))
	if got, want := fx.blocks[1].Offset, fx.blocks[0].end(); got != want {
		t.Errorf("second block of a run is at %d, want %d", got, want)
	}
	if got, want := fx.blocks[2].Offset, int64(2*PageBytes); got != want {
		t.Errorf("first block of a run is at %d, want %d", got, want)
	}
}

// small makes a sealed file of three runs, with all codecs, that is small
// enough to be damaged everywhere.
func small(t *testing.T) *fixture {
	fx := create(t, topicFile, None)
	fx.add(text(150))
	fx.add(text(40))
	fx.sync()
	fx.continueAt(S2, fx.w.Size())
	fx.add(text(700))
	fx.add(text(200))
	fx.sync()
	fx.continueAt(Zstd, fx.w.Size())
	fx.add(text(900))
	fx.add(text(300))
	fx.seal()
	return fx
}

func TestEveryDamagedByteIsReported(t *testing.T) {
	fx := small(t)
	fx.mustVerify(fx.w.Size())
	size := fx.w.Size()
	fs := vfs.NewSim(1)
	fs.KeepLog(false)
	fs.SetFile(fx.name(), fx.fs.Files()[fx.name()])
	for at := int64(0); at < size; at += sweepStep {
		mask := byte(1) << (at % 8)
		fs.Corrupt(fx.name(), at, mask)
		err := fx.verify(fs, size)
		var c *CorruptError
		if !errors.As(err, &c) {
			t.Fatalf("byte %d ^ %#02x: got %v, want a CorruptError", at, mask, err)
		}
		if c.File != fx.name() || c.Offset > at || at-c.Offset >= PageBytes {
			t.Fatalf("byte %d ^ %#02x: reported as %v", at, mask, err)
		}
		fs.Corrupt(fx.name(), at, mask)
	}
	if err := fx.verify(fs, size); err != nil {
		t.Fatal("with no damage left:", err)
	}
}

func TestSalvageLosesOnlyTheDamagedBlock(t *testing.T) {
	fx := small(t)
	size := fx.w.Size()
	fs := vfs.NewSim(1)
	fs.KeepLog(false)
	fs.SetFile(fx.name(), fx.fs.Files()[fx.name()])
	r, err := OpenReader(fs, fx.id)
	if err != nil {
		t.Fatal(err)
	}
	for at := int64(0); at < size; at += sweepStep {
		fs.Corrupt(fx.name(), at, 0x41)
		var (
			buf    Buffer
			found  []uint64
			faults []*CorruptError
		)
		err := r.WalkSalvage(size, func(b Block) error {
			if _, err := r.Read(b, &buf); err != nil {
				return caught(err, func(c *CorruptError) error { faults = append(faults, c); return nil })
			}
			found = append(found, b.First)
			return nil
		}, func(c *CorruptError) error { faults = append(faults, c); return nil })
		if err != nil {
			t.Fatal(err)
		}
		var want []uint64
		for _, b := range fx.blocks {
			if at < b.Offset || at >= b.end() {
				want = append(want, b.First)
				continue
			}
			if len(faults) == 0 || faults[0].First != b.First || faults[0].Last != b.Last && faults[0].Last != 0 {
				t.Fatalf("byte %d of events %d to %d is reported as %v", at, b.First, b.Last, faults)
			}
		}
		if !slices.Equal(found, want) {
			t.Fatalf("byte %d: found blocks from %d, want %d", at, found, want)
		}
		if len(faults) != 1 {
			t.Fatalf("byte %d: reported %v, want one report", at, faults)
		}
		fs.Corrupt(fx.name(), at, 0x41)
	}
}

func TestEveryTruncationIsReported(t *testing.T) {
	fx := small(t)
	size := fx.w.Size()
	whole := fx.fs.Files()[fx.name()]
	fs := vfs.NewSim(1)
	fs.KeepLog(false)
	for n := int64(0); n < size; n += sweepStep {
		fs.SetFile(fx.name(), whole[:n])
		var c *CorruptError
		if err := fx.verify(fs, size); !errors.As(err, &c) || c.File != fx.name() {
			t.Fatalf("%d of %d bytes: got %v, want a CorruptError", n, size, err)
		}
		r, err := OpenReader(fs, fx.id)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Footer(fx.footer, size); !errors.As(err, &c) {
			t.Fatalf("footer of %d of %d bytes: got %v, want a CorruptError", n, size, err)
		}
		found, reports := 0, 0
		err = r.WalkSalvage(size, func(Block) error { found++; return nil }, func(*CorruptError) error { reports++; return nil })
		if err != nil || reports == 0 {
			t.Fatalf("salvage of %d of %d bytes: %d reports, %v", n, size, reports, err)
		}
		want := 0
		for _, b := range fx.blocks {
			if b.end() <= n {
				want++
			}
		}
		if found != want {
			t.Fatalf("salvage of %d of %d bytes finds %d blocks, want %d", n, size, found, want)
		}
		r.Close()
	}
}

func TestZeroedSectorsAreReported(t *testing.T) {
	fx := small(t)
	size := fx.w.Size()
	whole := fx.fs.Files()[fx.name()]
	for _, sector := range []int{128, 512, PageBytes} {
		for at := 0; at < len(whole); at += sector {
			p := bytes.Clone(whole)
			clear(p[at:min(at+sector, len(p))])
			if bytes.Equal(p, whole) {
				continue
			}
			fs := vfs.NewSim(1)
			fs.SetFile(fx.name(), p)
			var c *CorruptError
			if err := fx.verify(fs, size); !errors.As(err, &c) {
				t.Fatalf("sector of %d at %d: got %v, want a CorruptError", sector, at, err)
			}
		}
	}
}

func TestWalkDoesWithoutADamagedFooter(t *testing.T) {
	fx := small(t)
	footer := fx.footer
	fx.footer = Footer{} // not verified
	fx.mustVerify(footer.Offset)
	fx.fs.Corrupt(fx.name(), footer.Offset, 1)
	fx.mustVerify(footer.Offset)
	fx.fs.Corrupt(fx.name(), footer.Offset-1, 1)
	var c *CorruptError
	if err := fx.verify(fx.fs, footer.Offset); !errors.As(err, &c) || c.Offset != footer.Offset-1 {
		t.Fatalf("got %v, want a CorruptError at %d", err, footer.Offset-1)
	}
}

func TestLastBlockOfAnOpenFileCannotVanish(t *testing.T) {
	fx := create(t, topicFile, None)
	fx.add(text(100))
	fx.sync()
	fx.add(text(100))
	fx.sync()
	p := fx.fs.Files()[fx.name()]
	clear(p[fx.blocks[1].Offset:])
	fx.fs.SetFile(fx.name(), p)
	var c *CorruptError
	if err := fx.verify(fx.fs, fx.w.Size()); !errors.As(err, &c) {
		t.Fatalf("got %v, want a CorruptError", err)
	}
}

func TestBytesFromElsewhereAreRefused(t *testing.T) {
	other := func(change func(*Identity)) Identity {
		id := topicFile
		change(&id)
		return id
	}
	for _, tt := range []struct {
		name string
		id   Identity
	}{
		{"log", other(func(id *Identity) { id.UUID[4]++ })},
		{"topic", other(func(id *Identity) { id.Topic++ })},
		{"incarnation", other(func(id *Identity) { id.Incarnation-- })},
		{"segment", other(func(id *Identity) { id.ID++ })},
		{"base", other(func(id *Identity) { id.Base-- })},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fx := create(t, topicFile, None)
			fx.add(text(100))
			fx.seal()
			foreign := create(t, tt.id, None)
			foreign.blocks = nil
			b := fx.blocks[0]
			b.Topic, b.Incarnation = tt.id.Topic, tt.id.Incarnation
			if _, err := foreign.w.Add(b, text(100)); err != nil {
				t.Fatal(err)
			}
			foreign.blocks = []Block{b}
			foreign.sync()
			fx.fs.SetFile(fx.name(), foreign.fs.Files()[foreign.name()])
			r, err := OpenReader(fx.fs, topicFile)
			if err != nil {
				t.Fatal(err)
			}
			var c *CorruptError
			if err := r.Walk(foreign.w.Size(), func(Block) error { return nil }); !errors.As(err, &c) || c.Offset != 0 {
				t.Errorf("walk: got %v, want a CorruptError at 0", err)
			}
			if _, err := Continue(fx.fs, topicFile, None, foreign.w.Size()); !errors.As(err, &c) {
				t.Errorf("continue: got %v, want a CorruptError", err)
			}
			if tt.name == "base" {
				return // blocks are the same, and belong to the same file id
			}
			if _, err := r.Read(fx.blocks[0], new(Buffer)); !errors.As(err, &c) || c.First != b.First {
				t.Errorf("read: got %v, want a CorruptError", err)
			}
		})
	}
}

func TestBlockInAnotherPlaceIsRefused(t *testing.T) {
	fx := create(t, topicFile, None)
	fx.add(text(100))
	fx.w.Begin()
	fx.add(text(100))
	fx.sync()
	p := fx.fs.Files()[fx.name()]
	copy(p[fx.blocks[0].Offset:], p[fx.blocks[1].Offset:fx.blocks[1].end()])
	fx.fs.SetFile(fx.name(), p)
	var c *CorruptError
	if err := fx.verify(fx.fs, fx.w.Size()); !errors.As(err, &c) || c.Offset != fx.blocks[0].Offset {
		t.Fatalf("got %v, want a CorruptError at %d", err, fx.blocks[0].Offset)
	}
}

// Blocks go from one file into another as they are stored, whatever the codec
// of the writer, and are blocks of that file.
func TestBodiesMoveAsTheyAre(t *testing.T) {
	for _, codec := range codecs {
		from := create(t, topicFile, codec)
		for _, raw := range [][]byte{text(5000), noise(3000), text(10)} {
			from.add(raw)
		}
		from.sync()
		r, err := OpenReader(from.fs, from.id)
		if err != nil {
			t.Fatal(err)
		}
		elsewhere := topicFile
		elsewhere.ID++
		to := create(t, elsewhere, S2)
		var buf Buffer
		for i, b := range from.blocks {
			body, err := r.ReadBody(b, &buf)
			if err != nil {
				t.Fatal(err)
			}
			moved, err := to.w.AddBody(b, body)
			if err != nil {
				t.Fatal(err)
			}
			want := b
			want.Offset = moved.Offset
			if moved != want {
				t.Errorf("%v: block is %+v, want %+v", codec, moved, want)
			}
			to.blocks, to.raws = append(to.blocks, moved), append(to.raws, from.raws[i])
		}
		to.sync()
		to.seal()
		to.mustVerify(to.w.Size())
	}
}

func TestBodiesThatDoNotVerifyDoNotMove(t *testing.T) {
	fx := create(t, carryFile, S2)
	fx.add(text(5000))
	fx.sync()
	b := fx.blocks[0]
	for off := b.Offset; off < b.end(); off += 3 {
		fs := fx.fs.Clone()
		fs.Corrupt(fx.name(), off, 1)
		r, err := OpenReader(fs, fx.id)
		if err != nil {
			t.Fatal(err)
		}
		var c *CorruptError
		if _, err := r.ReadBody(b, new(Buffer)); !errors.As(err, &c) || c.Offset != b.Offset {
			t.Fatalf("byte %d: got %v, want a CorruptError", off, err)
		}
	}
}

func TestBlockOfAnotherTopicInTheCarryFileIsRefused(t *testing.T) {
	fx := create(t, carryFile, None)
	fx.add(text(100))
	fx.sync()
	r, err := OpenReader(fx.fs, fx.id)
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range []func(*Block){func(b *Block) { b.Topic++ }, func(b *Block) { b.Incarnation++ }} {
		b := fx.blocks[0]
		change(&b)
		var c *CorruptError
		if _, err := r.Read(b, new(Buffer)); !errors.As(err, &c) || c.Topic != b.Topic {
			t.Errorf("read of topic %d.%d: got %v, want a CorruptError", b.Topic, b.Incarnation, err)
		}
	}
}

func TestBlockThatDecodesToOtherBytesIsRefused(t *testing.T) {
	for _, codec := range codecs {
		fx := create(t, topicFile, codec)
		fx.add(text(1000))
		fx.sync()
		p := fx.fs.Files()[fx.name()]
		b := fx.blocks[0]
		h := p[b.Offset:][:blockHeaderBytes]
		clear(h)
		putBlockHeader(h, fx.id, fx.id.seed(), b, bodyFacts{codec, xxhash.Sum64(fx.raws[0]) + 1})
		fx.fs.SetFile(fx.name(), p)
		var c *CorruptError
		if err := fx.verify(fx.fs, fx.w.Size()); !errors.As(err, &c) {
			t.Errorf("%v: got %v, want a CorruptError", codec, err)
		}
	}
}

func TestFooterWithImpossibleBlocksIsRefused(t *testing.T) {
	fx := create(t, topicFile, None)
	fx.add(text(100))
	fx.add(text(100))
	at := alignUp(fx.w.Size())
	for name, change := range map[string]func(b *Block){
		"ids go back":   func(b *Block) { b.First, b.Last = fx.blocks[0].Last, fx.blocks[0].Last },
		"overlap":       func(b *Block) { b.Offset-- },
		"in the page":   func(b *Block) { b.Offset = 0 },
		"beyond":        func(b *Block) { b.Offset = at - int64(b.Stored) + 1 },
		"negative":      func(b *Block) { b.Offset = -1 },
		"no header":     func(b *Block) { b.Stored = blockHeaderBytes - 1 },
		"grown":         func(b *Block) { b.Raw = 99 },
		"too large":     func(b *Block) { b.Raw = MaxRaw + 1 },
		"other topic":   func(b *Block) { b.Topic++ },
		"no event":      func(b *Block) { b.Last = b.First - 1 },
		"times":         func(b *Block) { b.MinTime = b.MaxTime + 1 },
		"positions":     func(b *Block) { b.FirstPosition = b.LastPosition + 1 },
		"below base":    func(b *Block) { b.First = 1 },
		"incarnation":   func(b *Block) { b.Incarnation++ },
		"end overflows": func(b *Block) { b.Offset = 1<<63 - 10 },
	} {
		blocks := slices.Clone(fx.blocks)
		change(&blocks[1])
		p, _ := appendFooter(nil, fx.id, fx.id.seed(), at, blocks)
		var d damage
		if _, _, err := parseFooter(p, fx.id, fx.id.seed(), at); !errors.As(err, &d) {
			t.Errorf("%s: got %v, want damage", name, err)
		}
	}
	p, want := appendFooter(nil, fx.id, fx.id.seed(), at, fx.blocks)
	if _, got, err := parseFooter(p, fx.id, fx.id.seed(), at); err != nil || got != want {
		t.Errorf("unchanged: got %+v, %v", got, err)
	}
}

func TestOlderContentOfABlockIsRefused(t *testing.T) {
	fx := create(t, topicFile, None)
	fx.add(text(100))
	fx.sync()
	older := fx.fs.Files()[fx.name()]
	fx.continueAt(None, PageBytes)
	fx.blocks, fx.raws = nil, nil
	fx.add(noise(100))
	fx.sync()
	fx.fs.SetFile(fx.name(), older)
	r, err := OpenReader(fx.fs, fx.id)
	if err != nil {
		t.Fatal(err)
	}
	var c *CorruptError
	if _, err := r.Read(fx.blocks[0], new(Buffer)); !errors.As(err, &c) {
		t.Fatalf("got %v, want a CorruptError", err)
	}
}

func TestFooterOfAnotherSealIsRefused(t *testing.T) {
	fx := small(t)
	r, err := OpenReader(fx.fs, fx.id)
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range []func(*Footer){
		func(f *Footer) { f.Checksum++ },
		func(f *Footer) { f.Blocks++ },
		func(f *Footer) { f.Length++ },
		func(f *Footer) { f.Length-- },
		func(f *Footer) { f.Offset = -1 },
		func(f *Footer) { f.Offset, f.Length = f.Offset-PageBytes, f.Length+PageBytes },
		func(f *Footer) { f.Offset, f.Length = fx.w.Size(), 0 },
	} {
		f := fx.footer
		change(&f)
		var c *CorruptError
		if _, err := r.Footer(f, fx.w.Size()); !errors.As(err, &c) {
			t.Errorf("%+v: got %v, want a CorruptError", f, err)
		}
	}
	found, err := r.FindFooter(fx.w.Size())
	if err != nil || found != fx.footer {
		t.Errorf("found footer %+v, %v, want %+v", found, err, fx.footer)
	}
}

func TestFooterThatForgetsABlockIsReported(t *testing.T) {
	fx := create(t, topicFile, None)
	fx.add(text(100))
	fx.add(text(100))
	fx.sync()
	at := alignUp(fx.w.Size())
	p, _ := appendFooter(nil, fx.id, fx.id.seed(), at, fx.blocks[1:])
	file := append(fx.fs.Files()[fx.name()], make([]byte, at-fx.w.Size())...)
	fx.fs.SetFile(fx.name(), append(file, p...))
	var c *CorruptError
	if err := fx.verify(fx.fs, at+int64(len(p))); !errors.As(err, &c) || !strings.Contains(c.Reason, "1 blocks, found 2") {
		t.Fatalf("got %v, want a CorruptError about the count", err)
	}
}

func TestNewerVersionIsNotCorruption(t *testing.T) {
	seed := topicFile.seed()
	reseal := func(p []byte, sum func([]byte) uint64) {
		binary.LittleEndian.PutUint64(p[len(p)-8:], sum(p[:len(p)-8]))
	}
	seeded := func(p []byte) uint64 { return seededSum(seed, p) }
	for _, tt := range []struct {
		name   string
		change func(fx *fixture, p []byte)
	}{
		{"page", func(fx *fixture, p []byte) { p[8]++; reseal(p[:PageBytes], xxhash.Sum64) }},
		{"block", func(fx *fixture, p []byte) {
			h := p[fx.blocks[0].Offset:][:blockHeaderBytes]
			h[4]++
			reseal(h, seeded)
		}},
		{"footer", func(fx *fixture, p []byte) {
			h := p[fx.footer.Offset:][:footerHeaderBytes]
			h[4]++
			reseal(h, seeded)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fx := create(t, topicFile, None)
			fx.add(text(100))
			fx.seal()
			p := fx.fs.Files()[fx.name()]
			tt.change(fx, p)
			fx.fs.SetFile(fx.name(), p)
			err := fx.verify(fx.fs, fx.w.Size())
			var c *CorruptError
			if !errors.Is(err, ErrVersion) || errors.As(err, &c) {
				t.Errorf("got %v, want ErrVersion", err)
			}
		})
	}
}

func TestTornRunIsIgnoredAndCutOff(t *testing.T) {
	for _, codec := range codecs {
		fx := create(t, topicFile, codec)
		fx.fs.SyncDir(".")
		fx.add(text(5000))
		fx.add(noise(700))
		fx.sync()
		durable := fx.w.Size()
		kept, raws := slices.Clone(fx.blocks), slices.Clone(fx.raws)
		fx.add(noise(9000))
		fx.w.Flush()
		fx.add(text(3000))
		fx.w.Flush()
		for _, v := range vfs.Survivals() {
			after := &fixture{t: t, fs: fx.fs.Crash(v), id: fx.id, blocks: kept, raws: raws}
			after.mustVerify(durable)
			w, err := Continue(after.fs, fx.id, codec, durable)
			if err != nil {
				t.Fatalf("%+v: %v", v, err)
			}
			after.w = w
			after.add(text(4000))
			after.add(noise(4000))
			after.sync()
			after.mustVerify(w.Size())
			after.fs = after.fs.Crash(v)
			after.mustVerify(w.Size())
		}
	}
}

func TestContinueRefusesAFileThatIsTooShort(t *testing.T) {
	fx := create(t, topicFile, None)
	fx.add(text(100))
	fx.sync()
	before := fx.fs.Files()[fx.name()]
	for _, durable := range []int64{-1, 0, PageBytes - 1, fx.w.Size() + 1} {
		var c *CorruptError
		if _, err := Continue(fx.fs, fx.id, None, durable); !errors.As(err, &c) {
			t.Errorf("durable %d: got %v, want a CorruptError", durable, err)
		}
	}
	if !bytes.Equal(fx.fs.Files()[fx.name()], before) {
		t.Error("the file was changed")
	}
	fx.w.Close()
	if n := fx.fs.OpenFiles(); n != 0 {
		t.Errorf("%d files left open", n)
	}
}

func TestFailedReadIsNotCorruption(t *testing.T) {
	fx := small(t)
	broken := errors.New("broken")
	for op := range 100 {
		fs := fx.fs.Clone()
		fs.ResetOps()
		fs.Inject(vfs.Fault{At: op, Err: broken})
		err := fx.verify(fs, fx.w.Size())
		if fs.Ops() <= op {
			return
		}
		var c *CorruptError
		if err != nil && (!errors.Is(err, broken) || errors.As(err, &c)) {
			t.Fatalf("operation %d: got %v, want the injected error", op, err)
		}
		if err == nil && !strings.Contains(strings.Join(fs.Log(), "\n"), "close") {
			t.Fatalf("operation %d: the injected error was swallowed", op)
		}
	}
	t.Fatal("reading never ends")
}

func TestFailedWriterStaysFailed(t *testing.T) {
	broken := errors.New("broken")
	for _, kind := range []string{"write", "sync", "syncdata"} {
		fx := create(t, topicFile, None)
		if kind == "syncdata" {
			fx.sync()
		}
		fx.add(text(100))
		n := 0
		fx.fs.OnOp(func(op int, k, name string) { n++ })
		fx.fs.Inject(vfs.Fault{At: fx.fs.Ops(), Err: broken, Kind: kind})
		if err := fx.w.Sync(); !errors.Is(err, broken) {
			t.Fatalf("%s: sync returned %v", kind, err)
		}
		n = 0
		for _, err := range []error{fx.w.Sync(), fx.w.Flush(), second(fx.w.Add(Block{First: 900, Last: 900}, nil)), second(fx.w.Seal(nil))} {
			if !errors.Is(err, broken) {
				t.Errorf("%s: a later call returned %v, want the first error", kind, err)
			}
		}
		if n != 0 {
			t.Errorf("%s: %d operations after the failure", kind, n)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestCreateLeavesNothingWhereItFails(t *testing.T) {
	fs := vfs.NewSim(1)
	fs.Mkdir("seg")
	fs.SetCapacity(100)
	if _, err := Create(fs, topicFile, None); !errors.Is(err, vfs.ErrNoSpace) {
		t.Fatalf("got %v, want ErrNoSpace", err)
	}
	fs.SetCapacity(0)
	w, err := Create(fs, topicFile, None)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Create(fs, topicFile, None); err == nil {
		t.Fatal("a file was created twice")
	}
	w.Close()
	if n := fs.OpenFiles(); n != 0 {
		t.Errorf("%d files left open", n)
	}
}

func TestBlocksThatAReaderWouldRefuseAreNotWritten(t *testing.T) {
	good := nextBlock(topicFile, nil)
	for _, tt := range []struct {
		name   string
		change func(b *Block)
	}{
		{"topic", func(b *Block) { b.Topic++ }},
		{"incarnation", func(b *Block) { b.Incarnation++ }},
		{"no event", func(b *Block) { b.First = b.Last + 1 }},
		{"below base", func(b *Block) { b.First = topicFile.Base - 1 }},
		{"positions", func(b *Block) { b.FirstPosition = b.LastPosition + 1 }},
		{"times", func(b *Block) { b.MinTime = b.MaxTime + 1 }},
		{"ids go back", func(b *Block) { b.First = topicFile.Base + 1 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fx := create(t, topicFile, None)
			fx.add(nil)
			b := good
			b.First, b.Last = good.Last+1, good.Last+2
			tt.change(&b)
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			fx.w.Add(b, nil)
		})
	}
}

func TestReadersShareAReader(t *testing.T) {
	fx := create(t, topicFile, Zstd)
	for i := range 40 {
		fx.add(text(1000 + 100*i))
	}
	fx.sync()
	r, err := OpenReader(fx.fs, fx.id)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := verify(r, fx.w.Size(), fx.footer, fx.blocks, fx.raws); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// memFile is a file that costs nothing to read.
type memFile struct {
	vfs.File
	*bytes.Reader
}

func (f memFile) ReadAt(p []byte, off int64) (int, error) { return f.Reader.ReadAt(p, off) }
func (f memFile) Size() (int64, error)                    { return f.Reader.Size(), nil }

func inMemory(p []byte, id Identity) *Reader {
	return newReader(memFile{Reader: bytes.NewReader(p)}, id)
}

func TestReadAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes pools lose what they hold")
	}
	for _, codec := range codecs {
		fx := create(t, topicFile, codec)
		fx.add(text(16 << 10))
		fx.add(text(8 << 10))
		fx.sync()
		r := inMemory(fx.fs.Files()[fx.name()], fx.id)
		var buf Buffer
		n := testing.AllocsPerRun(100, func() {
			for i, b := range fx.blocks {
				if raw, err := r.Read(b, &buf); err != nil || len(raw) != len(fx.raws[i]) {
					t.Fatal(err)
				}
			}
		})
		if n != 0 {
			t.Errorf("%v: %v allocations a read", codec, n)
		}
	}
}

func TestCorruptErrorSaysWhereAndWhat(t *testing.T) {
	err := &CorruptError{File: "seg/x", Offset: 5, Topic: 7, First: 8, Last: 9, Reason: "got 1, want 2"}
	if got, want := err.Error(), "corrupt: seg/x at offset 5: got 1, want 2 (topic number 7, events 8 to 9)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestFormatKnowsEveryFieldOfABlock(t *testing.T) {
	// A new field has to be thought of in putBlockHeader, the footer's entry
	// and checkSame.
	if got := reflect.TypeFor[Block]().NumField(); got != 13 {
		t.Errorf("Block has %d fields, the format knows 13", got)
	}
}

func BenchmarkRead(b *testing.B) {
	for _, codec := range codecs {
		for _, size := range []int{4 << 10, 16 << 10, 64 << 10} {
			b.Run(fmt.Sprintf("codec=%v/size=%dk", codec, size>>10), func(b *testing.B) {
				fs := vfs.NewSim(1)
				fs.Mkdir("seg")
				w, err := Create(fs, topicFile, codec)
				if err != nil {
					b.Fatal(err)
				}
				block, err := w.Add(nextBlock(topicFile, nil), lines(size))
				if err != nil {
					b.Fatal(err)
				}
				w.Flush()
				r := inMemory(fs.Files()[FileName(topicFile)], topicFile)
				var buf Buffer
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := r.Read(block, &buf); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(size)/float64(block.Stored), "ratio")
			})
		}
	}
}

// lines is n bytes of events that are alike but not the same.
func lines(n int) []byte {
	rng := rand.New(rand.NewPCG(1, 2))
	var p []byte
	for len(p) < n {
		p = fmt.Appendf(p, `{"kind":"order.%d","payload":{"user":%d,"amount":%d,"note":"%x"}}`, rng.IntN(9), rng.IntN(1e6), rng.IntN(1e4), rng.Uint64())
	}
	return p[:n]
}
