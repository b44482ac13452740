package fuzz

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"sync"
	"testing"

	"github.com/seglog/seglog/engine"
	"github.com/seglog/seglog/fuzz/rig"
	"github.com/seglog/seglog/fuzz/script"
	"github.com/seglog/seglog/internal/vfs"
)

// An archive is a directory as bytes: for each file the length of its name in
// one byte, the name, its size and the bytes that are given of it, four bytes
// each, and those bytes. The rest of the file is zeros.
const maxArchivedFile = 1 << 20

func archive(files map[string][]byte) []byte {
	var out []byte
	for _, name := range slices.Sorted(maps.Keys(files)) {
		b := files[name]
		given := bytes.TrimRight(b, "\x00")
		out = append(out, byte(len(name)))
		out = append(out, name...)
		out = binary.LittleEndian.AppendUint32(out, uint32(len(b)))
		out = binary.LittleEndian.AppendUint32(out, uint32(len(given)))
		out = append(out, given...)
	}
	return out
}

// extract puts the files of an archive on a disk. Whatever the bytes, it makes
// some disk.
func extract(b []byte) *vfs.Sim {
	disk := vfs.NewSim(1)
	total := 0
	for len(b) > 0 {
		n := int(b[0])
		if len(b) < 1+n+8 {
			return disk
		}
		name := string(b[1 : 1+n])
		size := int(binary.LittleEndian.Uint32(b[1+n:]) % (maxArchivedFile + 1))
		given := int(binary.LittleEndian.Uint32(b[5+n:]))
		b = b[9+n:]
		given = min(given, len(b), size)
		if total += size; total > 4*maxArchivedFile {
			return disk
		}
		if plainName(name) {
			content := make([]byte, size)
			copy(content, b[:given])
			disk.SetFile(name, content)
		}
		b = b[given:]
	}
	return disk
}

func plainName(name string) bool {
	return name != "" && path.Clean("/"+name) == "/"+name && path.Dir(path.Dir(name)) == "." && path.Base(path.Dir(name)) != path.Base(name)
}

// readAll opens whatever is on the disk and reads it, for writing and
// read-only. There is no right answer but that there is one: an error with a
// type, or a log that can be read.
func readAll(t *testing.T, disk *vfs.Sim) {
	for _, readOnly := range []bool{true, false} {
		o := tiny
		o.ReadOnly = readOnly
		r := rig.New(engineTarget(), o, 1)
		r.Disk = disk.Clone()
		before := r.Disk.Files()
		log, err := r.Target.Open(r.Env(), o)
		if err != nil {
			if !errors.Is(err, engine.ErrCorrupt) && !errors.Is(err, engine.ErrVersion) && !rig.Typed(err) {
				t.Errorf("open, read-only %v: error without a type: %v", readOnly, err)
			}
			if diff := changed(before, r.Disk.Files()); diff != "" && errors.Is(err, engine.ErrCorrupt) {
				t.Errorf("open, read-only %v: %v, but changed %s", readOnly, err, diff)
			}
		} else {
			readTopics(t, log)
			if err := log.Close(); err != nil && !readOnly && !errors.Is(err, engine.ErrCorrupt) && !rig.Typed(err) {
				t.Errorf("close: %v", err)
			}
		}
		if diff := changed(before, r.Disk.Files()); diff != "" && readOnly {
			t.Errorf("reading changed %s", diff)
		}
		if n := r.Disk.OpenFiles(); n != 0 {
			t.Errorf("read-only %v: %d files are left open", readOnly, n)
		}
	}
}

func readTopics(t *testing.T, log engine.EventLog) {
	ctx := context.Background()
	topics, err := log.Topics(ctx)
	if err != nil {
		t.Errorf("topics: %v", err)
	}
	for _, topic := range topics {
		last := engine.EventID(0)
		for r, err := range log.Read(ctx, topic, engine.ReadOptions{}) {
			if err != nil {
				if !errors.Is(err, engine.ErrCorrupt) {
					t.Errorf("read topic %s: %v", topic, err)
				}
				break
			}
			if r.ID <= last {
				t.Errorf("topic %s: event %d after event %d", topic, r.ID, last)
			}
			last = r.ID
		}
	}
}

// FuzzDirectoryImage opens a directory made of the fuzzer's bytes.
func FuzzDirectoryImage(f *testing.F) {
	f.Add(archive(nil))
	f.Add(archive(map[string][]byte{"LOCK": nil, "manifest-0000000000000001": []byte("x"), "wal-0000000000000000": make([]byte, 8192)}))
	f.Add(archive(restingDisk().Files()))
	f.Fuzz(func(t *testing.T, b []byte) { readAll(t, extract(b)) })
}

// FuzzDirectoryPatches changes bytes of a directory that is whole. Each five
// bytes of the input are a patch: a file, a place in it, and what to do there.
func FuzzDirectoryPatches(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 1})
	f.Add([]byte{1, 0, 16, 8, 0x80, 2, 0, 0, 0, 3})
	f.Fuzz(func(t *testing.T, b []byte) {
		disk := restingDisk().Clone()
		files := disk.Files()
		names := slices.Sorted(maps.Keys(files))
		for ; len(b) >= 5; b = b[5:] {
			name := names[int(b[0])%len(names)]
			content := files[name]
			if len(content) == 0 {
				continue
			}
			off := int(binary.LittleEndian.Uint16(b[1:])) << (b[3] & 7) % len(content)
			switch b[3] >> 3 {
			case 31:
				disk.SetFile(name, content[:off])
				files = disk.Files()
			case 30:
				disk.RemoveFile(name)
				disk.SetFile(name, nil)
				files = disk.Files()
			default:
				disk.Corrupt(name, int64(off%len(content)), b[4])
			}
		}
		readAll(t, disk)
	})
}

// restingDisk is what a short life of a log left, killed at its end.
var restingDisk = sync.OnceValue(func() *vfs.Sim {
	r := rig.New(engineTarget(), tiny, 1)
	for _, w := range workloads() {
		if w.name == "compaction" || w.name == "cursors" {
			if err := r.Run(w.Ops); err != nil {
				panic(err)
			}
		}
	}
	return r.Disk.Kill()
})

// choices is a source of chance that a fuzzer can steer: one byte, one choice.
// Behind the last byte it goes on, since a source that stands still is one
// that rejection sampling waits for.
type choices struct {
	b    []byte
	past uint64
}

func (c *choices) Uint64() uint64 {
	if len(c.b) == 0 {
		c.past += 0x9e3779b97f4a7c15
		return c.past
	}
	x := uint64(c.b[0])
	c.b = c.b[1:]
	return x * 0x0101010101010101
}

// FuzzScript runs the script that the fuzzer's bytes choose, against the model.
func FuzzScript(f *testing.F) {
	f.Add([]byte("appends and such"))
	for seed := range uint64(4) {
		r := rand.New(rand.NewPCG(seed, 0))
		b := make([]byte, 300)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := rand.New(&choices{b: b})
		s := script.Generate(r, min(len(b)/4, 200), script.Stormy)
		if _, err := play(engineTarget(), s, 1); err != nil {
			t.Fatal(explain(engineTarget(), s, 1, err))
		}
	})
}
