package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seglog/seglog/adapter"
	"github.com/seglog/seglog/engine"
)

// newEngineShell is a shell over the segmented log in a directory of its own.
func newEngineShell(t *testing.T) *shell {
	s := newShell(t)
	check(t, os.Remove(filepath.Join(s.dir, signOfALog)))
	s.opens = adapter.Open
	s.vars = nil
	return s
}

func TestEveryCommandWorksOnASegmentedLog(t *testing.T) {
	s := newEngineShell(t)
	where := filepath.Join(s.dir, ".harn", "events.seglog")
	s.run("", "topics").must(statusFailed).says("there is no log at " + where)
	s.fill("jobs")
	s.run("[1]\n[2]\n", "append other").must(statusOK).prints("1\n2\n")
	s.run("", "read jobs").must(statusOK).prints(recordJSON(1) + recordJSON(2) + recordJSON(3))
	s.run("", "read jobs --after 1 --limit 1").must(statusOK).prints(recordJSON(2))
	s.run("", "topics").must(statusOK).prints("{\"topic\":\"jobs\",\"latest\":3}\n{\"topic\":\"other\",\"latest\":2}\n")
	s.run("", "latest other").must(statusOK).prints("2\n")
	s.run("", "ack jobs c 2").must(statusOK)
	s.run("", "cursor jobs c").must(statusOK).prints("2\n")
	if out := s.run("", "consumers jobs").must(statusOK).out; !strings.HasPrefix(out, `{"topic":"jobs","consumer":"c","cursor":2,"lag":1,"acked_at_ms":1`) {
		t.Errorf("consumers: got %s", out)
	}
	s.run("", "compact jobs 1 --yes").must(statusOK).prints("{\"removed\":1,\"remaining\":2,\"latest\":3,\"checkpointed\":false}\n")
	s.run("", "read jobs").must(statusOK).prints(recordJSON(2) + recordJSON(3))
	s.run("", "verify").must(statusOK).prints("{\"topics\":2,\"events\":4,\"damaged\":0}\n")
	if out := s.run("", "describe").must(statusOK).out; !strings.HasPrefix(out, fmt.Sprintf(`{"backend":"segment","location":%q,"size_bytes":`, where)) {
		t.Errorf("describe: got %s", out)
	}
	for _, pattern := range []string{"wal-*", "carry-*", "manifest-*"} {
		files, err := filepath.Glob(filepath.Join(where, pattern))
		if err != nil || len(files) == 0 {
			t.Fatalf("got files %v, %v; want some %s", files, err, pattern)
		}
		for _, file := range files {
			s.run("", "dump "+file).must(statusOK)
		}
	}
}

func TestReadersWorkBesideTheWriter(t *testing.T) {
	s := newEngineShell(t)
	s.run("1\n", "append jobs -C log").must(statusOK)
	log, err := engine.Open(filepath.Join(s.dir, "log"), engine.Options{})
	check(t, err)
	defer log.Close()
	s.run("2\n", "append jobs -C log").must(statusFailed).says("log is locked")
	s.run("", "ack jobs c 1 -C log").must(statusFailed).says("log is locked")
	s.run("", "latest jobs -C log").must(statusOK).prints("1\n")

	ctx, cancel := contextWithCancel(t)
	outR, outW := io.Pipe()
	s.streams.out = outW
	done := make(chan result)
	go func() { done <- s.runContext(ctx, nil, "tail", "jobs", "-C", "log") }()
	for want := 1; want <= 3; want++ {
		expect(t, outR, fmt.Sprintf(`{"id":%d,`, want))
		restOfLine(t, outR)
		_, err := log.Append(t.Context(), engine.MustTopic("jobs"), engine.Event{Payload: []byte("1")})
		check(t, err)
	}
	cancel()
	go func() { _, _ = io.Copy(io.Discard, outR) }()
	(<-done).must(statusOK)
}

// restOfLine reads up to the next newline.
func restOfLine(t *testing.T, r io.Reader) {
	t.Helper()
	for last := [1]byte{}; last[0] != '\n'; {
		_, err := io.ReadFull(r, last[:])
		check(t, err)
	}
}

func TestVerifyFindsAFlippedBitInASegmentedLog(t *testing.T) {
	s := newEngineShell(t)
	s.run(strings.Repeat(`"`+strings.Repeat("x", 1000)+"\"\n", 400), "append jobs --quiet -C log").must(statusOK)
	files, err := filepath.Glob(filepath.Join(s.dir, "log", "seg", "*.seg"))
	if err != nil || len(files) != 1 {
		t.Fatalf("got segments %v, %v; want one", files, err)
	}
	info, err := os.Stat(files[0])
	check(t, err)
	flip(t, files[0], info.Size()/2)
	r := s.run("", "verify -C log").must(statusDamaged)
	if !strings.Contains(r.out, `"topic":"jobs","file":"seg/`) {
		t.Errorf("want the place in\n%s", r.out)
	}
	if !strings.Contains(r.out, `"damaged":1}`) {
		t.Errorf("want it once in\n%s", r.out)
	}
	s.run("", "dump "+files[0]).must(statusDamaged)
}

func TestVerifyChecksFooters(t *testing.T) {
	s := newEngineShell(t)
	writeManifest(t, s)
	files, err := filepath.Glob(filepath.Join(s.dir, "seg", "*-0000000000000001-*.seg"))
	if err != nil || len(files) != 1 {
		t.Fatalf("got segments %v, %v; want one that begins at event 1", files, err)
	}
	path, file := files[0], "seg/"+filepath.Base(files[0])
	info, err := os.Stat(path)
	check(t, err)
	flip(t, path, info.Size()-10)
	s.run("", "read big -C "+s.dir).must(statusOK) // reading can do without
	r := s.run("", "verify -C "+s.dir).must(statusDamaged)
	if !strings.Contains(r.out, `{"topic":"big","file":"`+file+`","offset":`) || !strings.Contains(r.out, `{"topics":3,"events":52,"damaged":1}`) {
		t.Errorf("want the footer, once, in\n%s", r.out)
	}
}
