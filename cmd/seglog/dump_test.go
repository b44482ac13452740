package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seglog/seglog/internal/vfs"
	"github.com/seglog/seglog/segment"
	"github.com/seglog/seglog/wal"
)

var dumpUUID = [16]byte{0xaa, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0xff}

func logDir(t *testing.T, s *shell) vfs.FS {
	t.Helper()
	fs, err := vfs.Dir(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { fs.Close() })
	return fs
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// writeWAL writes a log of three frames and a clean close; it returns the file.
func writeWAL(t *testing.T, s *shell) string {
	t.Helper()
	w, err := wal.NewWriter(wal.Config{FS: logDir(t, s), UUID: dumpUUID, Rand: func() uint64 { return 1 }}, wal.ScanResult{})
	check(t, err)
	for i := range 3 {
		var b wal.Buffer
		b.Reset()
		copy(b.Extend(100*(i+1)), bytes.Repeat([]byte("x"), 300))
		b.AddRecord()
		_, _, err := w.Write(&b, wal.Header{Position: uint64(i + 1)}, false)
		check(t, err)
		check(t, w.Sync())
	}
	check(t, w.CloseClean(wal.Header{Position: 4}))
	check(t, w.Close())
	files, err := filepath.Glob(filepath.Join(s.dir, "wal-*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("got files %v, %v; want one", files, err)
	}
	return files[0]
}

// flip changes one bit of a file.
func flip(t *testing.T, file string, offset int64) {
	t.Helper()
	b, err := os.ReadFile(file)
	check(t, err)
	b[offset] ^= 1
	check(t, os.WriteFile(file, b, 0o600))
}

func TestDumpPrintsFramesUnderAnyName(t *testing.T) {
	s := newShell(t)
	file := writeWAL(t, s)
	check(t, os.Rename(file, filepath.Join(s.dir, "copy")))
	lines := strings.Split(s.run("", "dump copy").must(statusOK).out, "\n")
	for i, want := range []string{
		`{"type":"wal","file":"` + filepath.Base(file) + `","uuid":"aa0102030405060708090a0b0c0d0eff","generation":`,
		`"offset":4096,"lsn":0,"end":4096,"durable":0,`,
		`"offset":8192,"lsn":4096,"end":8192,"durable":4096,`,
		`"position":3,"records":1,"payload_bytes":300,`,
		`"flags":"clean"`,
		``,
	} {
		if i >= len(lines) || !strings.Contains(lines[i], want) {
			t.Fatalf("line %d: want %s in\n%s", i+1, want, strings.Join(lines, "\n"))
		}
	}
	s.terminal()
	out := s.run("", "dump copy").must(statusOK).out
	if !strings.Contains(out, "OFFSET  LSN") || !strings.Contains(out, "generation  ") {
		t.Errorf("got %s", out)
	}
}

func TestDumpGoesOnBehindADamagedFrame(t *testing.T) {
	s := newShell(t)
	file := writeWAL(t, s)
	flip(t, file, 8192+200)
	r := s.run("", "dump "+filepath.Base(file)).must(statusDamaged)
	if strings.Count(r.out, `"type":"frame"`) != 3 || !strings.Contains(r.out, `"offset":8`) || !strings.Contains(r.out, `"reason":`) {
		t.Errorf("want the 3 frames that verify and the place of the other in\n%s", r.out)
	}
	if r.err != "" {
		t.Errorf("got %q on standard error, want the listing alone", r.err)
	}
	s.terminal()
	r = s.run("", "dump "+filepath.Base(file)).must(statusDamaged)
	if !strings.Contains(r.out, "  damage: ") {
		t.Errorf("want the damage in\n%s", r.out)
	}
}

func TestDumpReadsFramesWithoutTheHeaderPage(t *testing.T) {
	s := newShell(t)
	file := writeWAL(t, s)
	b, err := os.ReadFile(file)
	check(t, err)
	clear(b[:wal.PageBytes])
	check(t, os.WriteFile(file, b, 0o600))
	r := s.run("", "dump "+filepath.Base(file)).must(statusDamaged)
	if strings.Count(r.out, `"type":"frame"`) < 3 || !strings.Contains(r.out, "header page is not there") {
		t.Errorf("want the frames and what is damaged in\n%s", r.out)
	}
}

func TestDumpOfASpareFileSaysSo(t *testing.T) {
	s := newShell(t)
	check(t, os.WriteFile(filepath.Join(s.dir, "wal-0000000000000007"), make([]byte, 4*wal.PageBytes), 0o600))
	s.run("", "dump wal-0000000000000007").must(statusOK).
		prints(`{"type":"wal","file":"wal-0000000000000007","note":"no header page and no frame: never used"}` + "\n")
}

// writeSegment writes a segment of two runs of a block each.
func writeSegment(t *testing.T, s *shell) (file string, blocks []segment.Block) {
	t.Helper()
	id := segment.Identity{UUID: dumpUUID, Topic: 7, Incarnation: 1, ID: 9, Base: 1}
	check(t, os.Mkdir(filepath.Join(s.dir, "seg"), 0o700))
	w, err := segment.Create(logDir(t, s), id, segment.None)
	check(t, err)
	for i := range uint64(2) {
		w.Begin()
		b, err := w.Add(segment.Block{
			Topic: 7, Incarnation: 1, First: i*10 + 1, Last: i*10 + 10, FirstPosition: i*10 + 1, LastPosition: i*10 + 10,
			MinTime: 1700000000000, MaxTime: 1700000000001,
		}, fmt.Appendf(nil, "block %d", i))
		check(t, err)
		blocks = append(blocks, b)
		check(t, w.Sync())
	}
	_, err = w.Seal(blocks)
	check(t, err)
	check(t, w.Sync())
	check(t, w.Close())
	return filepath.FromSlash(segment.FileName(id)), blocks
}

func TestDumpPrintsBlocks(t *testing.T) {
	s := newShell(t)
	file, _ := writeSegment(t, s)
	s.run("", "dump "+file).must(statusOK).prints(
		`{"type":"segment","file":"seg/0000000000000007-0000000000000001-0000000000000009.seg","uuid":"aa0102030405060708090a0b0c0d0eff","segment":9,"topic_number":7,"base_id":1}
{"type":"block","offset":4096,"stored_bytes":135,"raw_bytes":7,"topic_number":7,"incarnation":1,"first_id":1,"last_id":10,"first_position":1,"last_position":10,"min_time_ms":1700000000000,"max_time_ms":1700000000001}
{"type":"block","offset":8192,"stored_bytes":135,"raw_bytes":7,"topic_number":7,"incarnation":1,"first_id":11,"last_id":20,"first_position":11,"last_position":20,"min_time_ms":1700000000000,"max_time_ms":1700000000001}
`)
	s.terminal()
	s.run("", "dump "+file).must(statusOK).prints(
		`segment       seg/0000000000000007-0000000000000001-0000000000000009.seg
log           aa0102030405060708090a0b0c0d0eff
segment       9
topic number  7
first id      1
OFFSET  STORED  RAW  TOPIC  EVENTS  POSITIONS  TIMES
4096    135     7    7.1    1..10   1..10      2023-11-14T22:13:20.000Z..2023-11-14T22:13:20.001Z
8192    135     7    7.1    11..20  11..20     2023-11-14T22:13:20.000Z..2023-11-14T22:13:20.001Z
`)
}

func TestDumpReportsBlocksThatDoNotVerify(t *testing.T) {
	for _, test := range []struct {
		name   string
		offset int64 // in the first block
		blocks int
	}{
		{"header", 20, 1},
		{"body", 130, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newShell(t)
			file, blocks := writeSegment(t, s)
			flip(t, filepath.Join(s.dir, file), blocks[0].Offset+test.offset)
			r := s.run("", "dump "+file).must(statusDamaged)
			if got := strings.Count(r.out, `"type":"block"`); got != test.blocks {
				t.Errorf("got %d blocks, want %d in\n%s", got, test.blocks, r.out)
			}
			if !strings.Contains(r.out, `"offset":4096,"reason":`) {
				t.Errorf("want the place in\n%s", r.out)
			}
		})
	}
}

func TestDumpOfSomethingElseIsRefused(t *testing.T) {
	s := newShell(t)
	check(t, os.WriteFile(filepath.Join(s.dir, "x"), []byte("hello, world"), 0o600))
	s.run("", "dump LOCK").must(statusFailed)
	s.run("", "dump x").must(statusFailed).says("x: it begins with \"hello, w\"")
	s.run("", "dump none").must(statusFailed).says("none")
	s.run("", "dump .").must(statusFailed)
}
