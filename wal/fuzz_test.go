package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/seglog/seglog/internal/vfs"
)

// FuzzScan scans files of arbitrary bytes: the result is an end or a typed
// error, and what a salvage delivers lies in order.
func FuzzScan(f *testing.F) {
	for _, name := range []string{"v1.wal", "v2.wal"} {
		b, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, []byte("SLWH"), uint64(0), uint64(0), false)
		f.Add(b, b[:3*PageBytes], uint64(PageBytes), uint64(2), true)
		f.Add(b, b[:2*PageBytes], uint64(192), uint64(2), true)
		f.Add(b, b, uint64(64), uint64(0), false)
	}
	f.Fuzz(func(t *testing.T, one, two []byte, lsn, generation uint64, mend bool) {
		if mend {
			mendHeaders(one)
			mendHeaders(two)
		}
		sim := vfs.NewSim(1)
		sim.SetFile(fileName(1), one)
		sim.SetFile(fileName(2), two)
		before := sim.Clone().Files()
		cfg := testConfig(sim, 1)
		at := Start{LSN: LSN(lsn), Generation: generation}
		for _, o := range []ScanOptions{{}, {Salvage: true}} {
			res, _, err := scanAll(cfg, at, o)
			var c *CorruptError
			if err != nil && !errors.As(err, &c) && !errors.Is(err, ErrVersion) {
				t.Fatalf("scan: %v", err)
			}
			if err == nil && !o.Salvage && res.End < at.LSN {
				t.Fatalf("the log ends at LSN %d, before its start %d", res.End, at.LSN)
			}
		}
		follower := NewFollower(cfg, at)
		for range 10 {
			if _, ok, err := follower.Next(); !ok || err != nil {
				break
			}
		}
		follower.Close()
		for name, b := range sim.Files() {
			if !bytes.Equal(b, before[name]) {
				t.Fatalf("%s was changed", name)
			}
		}
		if n := sim.OpenFiles(); n != 0 {
			t.Fatalf("%d files are left open", n)
		}
	})
}

// mendHeaders makes the checksums of all headers right, so that the fields
// behind them are fuzzed too.
func mendHeaders(b []byte) {
	for ; len(b) >= headerBytes; b = b[min(unitBytes, len(b)):] {
		if magic := string(b[:4]); magic == fileMagic || magic == frameMagic {
			binary.LittleEndian.PutUint64(b[sumOffset:], checksum(b[:sumOffset]))
		}
	}
}

// FuzzFrame puts arbitrary bytes where a frame belongs, with a good header in
// front if asked to, and lets the flip search run over them.
func FuzzFrame(f *testing.F) {
	f.Add([]byte("payload"), uint32(7), true)
	f.Add([]byte{}, uint32(1<<31), true)
	f.Fuzz(func(t *testing.T, b []byte, n uint32, header bool) {
		fuzzFrame(t, b, n, header, expect{version: versionPages, lsn: PageBytes, end: PageBytes})
		fuzzFrame(t, b, n, header, expect{version: versionPacked, lsn: 3 * unitBytes, end: 3 * unitBytes})
	})
}

func fuzzFrame(t *testing.T, b []byte, n uint32, header bool, e expect) {
	e.uuid, e.generation, e.salt = testUUID, 3, 4
	file := fileHeader{version: e.version, bytes: int64(PageBytes + int(e.lsn) + headerBytes + len(b))}
	off := file.offset(e.lsn)
	disk := append(make([]byte, off+headerBytes), b...)
	if header {
		h := frameHeader{version: e.version, uuid: e.uuid, generation: 3, salt: 4, lsn: e.lsn, payloadBytes: n}
		h.encode(disk[off:])
	}
	sim := vfs.NewSim(1)
	sim.SetFile("f", disk)
	src, err := openSource(sim, "f")
	if err != nil {
		t.Fatal(err)
	}
	defer src.close()
	want := e
	h, payload, bad, err := src.next(&file, &want, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if (h == nil) == (bad == nil) {
		t.Fatalf("header %v, flaw %v: want one of them", h, bad)
	}
	if h != nil && int64(len(payload)) != int64(h.payloadBytes) {
		t.Fatalf("payload of %d bytes, want %d", len(payload), h.payloadBytes)
	}
	if _, ok, err := src.flippedBit(off, e, 1<<20); err != nil || ok && h != nil && want == e {
		t.Fatalf("flipped bit: %v, %v in a good frame", ok, err)
	}
}
