package segment

import (
	"bytes"
	"errors"
	"flag"
	"io/fs"
	"os"
	"testing"

	"github.com/seglog/seglog/internal/vfs"
)

var makeGolden = flag.Bool("golden", false, "write the golden files that are missing; those that exist are kept for ever")

// golden makes the file that testdata holds for this version of the format.
func golden(t *testing.T, codec func(run int) Codec) *fixture {
	fx := create(t, topicFile, codec(0))
	fx.add(text(150))
	fx.add(text(900))
	fx.sync()
	fx.continueAt(codec(1), fx.w.Size())
	fx.add(text(700))
	fx.sync()
	fx.continueAt(codec(2), fx.w.Size())
	fx.add(text(1200))
	fx.add(nil)
	fx.seal()
	return fx
}

// stored returns the golden file of a name. Compressors may find other bytes
// one day: then what is read has to be the same, not what is written.
func stored(t *testing.T, name string, fx *fixture) []byte {
	t.Helper()
	path := "testdata/" + name
	p, err := os.ReadFile(path)
	if *makeGolden && errors.Is(err, fs.ErrNotExist) {
		p = fx.fs.Files()[fx.name()]
		err = errors.Join(os.MkdirAll("testdata", 0o755), os.WriteFile(path, p, 0o644))
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestGoldenFileIsWrittenAsItWas(t *testing.T) {
	fx := golden(t, func(int) Codec { return None })
	if got, want := fx.fs.Files()[fx.name()], stored(t, "v1-none.seg", fx); !bytes.Equal(got, want) {
		t.Fatal("the same blocks are written as other bytes")
	}
}

func TestGoldenFileIsReadAsItWas(t *testing.T) {
	fx := golden(t, func(run int) Codec { return codecs[run] })
	p := stored(t, "v1-mixed.seg", fx)
	sim := vfs.NewSim(1)
	sim.SetFile(fx.name(), p)
	r, err := OpenReader(sim, fx.id)
	if err != nil {
		t.Fatal(err)
	}
	size := int64(len(p))
	footer, err := r.FindFooter(size)
	if err != nil {
		t.Fatal(err)
	}
	list, err := r.Footer(footer, size)
	if err != nil {
		t.Fatal(err)
	}
	blocks := list.Blocks()
	if err := verify(r, size, footer, blocks, fx.raws); err != nil {
		t.Fatal(err)
	}
	for i, b := range blocks {
		want := fx.blocks[i]
		b.Offset, b.Stored, b.Checksum = want.Offset, want.Stored, want.Checksum // the compressor's
		if b != want {
			t.Errorf("block %d is %+v, want %+v", i, b, want)
		}
	}
}
