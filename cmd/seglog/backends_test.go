package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// elsewhere are flags that name a log of each kind that has no positions.
var elsewhere = map[string]string{"file": " --backend file --dir f", "sqlite": " --path q.sqlite"}

func TestEveryCommandWorksOnEveryBackend(t *testing.T) {
	for kind, flags := range elsewhere {
		t.Run(kind, func(t *testing.T) {
			s := newEngineShell(t)
			record := func(id int) string {
				return strings.Replace(recordJSON(id), fmt.Sprintf(`"position":%d`, id), `"position":0`, 1)
			}
			run := func(stdin, args string) result { return s.run(stdin, args+flags) }
			for _, args := range []string{"topics", "read jobs", "verify", "ack jobs c 0", "export"} {
				run("", args).must(statusFailed).says("there is no log at " + s.dir)
			}
			lines := recordJSON(1) + recordJSON(2) + recordJSON(3)
			run(lines, "import").must(statusOK).prints("{\"events\":3}\n")
			run("[1]\n[2]\n", "append other").must(statusOK).prints("1\n2\n")
			run("", "read jobs").must(statusOK).prints(record(1) + record(2) + record(3))
			run("", "read jobs --after 1 --limit 1").must(statusOK).prints(record(2))
			run("", "export jobs").must(statusOK).prints(record(1) + record(2) + record(3))
			run("", "topics").must(statusOK).prints("{\"topic\":\"jobs\",\"latest\":3}\n{\"topic\":\"other\",\"latest\":2}\n")
			run("", "latest other").must(statusOK).prints("2\n")
			run("", "ack jobs c 2").must(statusOK)
			run("", "ack jobs c 4").must(statusFailed).says("ack beyond latest")
			run("", "cursor jobs c").must(statusOK).prints("2\n")
			if out := run("", "consumers jobs").must(statusOK).out; !strings.HasPrefix(out, `{"topic":"jobs","consumer":"c","cursor":2,"lag":1,"acked_at_ms":1`) {
				t.Errorf("consumers: got %s", out)
			}
			if out := run("", "compact jobs 1 --yes").must(statusOK).out; !strings.HasPrefix(out, `{"removed":1,"remaining":2,"latest":3,`) {
				t.Errorf("compact: got %s", out)
			}
			run("", "verify").must(statusOK).prints("{\"topics\":2,\"events\":4,\"damaged\":0}\n")
			if out := run("", "describe").must(statusOK).out; !strings.HasPrefix(out, fmt.Sprintf(`{"backend":%q,"location":%q,"size_bytes":`, kind, filepath.Join(s.dir, flags[strings.LastIndexByte(flags, ' ')+1:]))) {
				t.Errorf("describe: got %s", out)
			}
			run("x\n", "append jobs").must(statusFailed).says("line 1: not one JSON value")
			if out := s.run("", "__complete read"+flags+" jo").must(statusOK).out; !strings.HasPrefix(out, "jobs\n") {
				t.Errorf("completion: got %s", out)
			}
		})
	}
}

func TestTailFollowsAnotherProcessOnEveryBackend(t *testing.T) {
	for kind, flags := range elsewhere {
		t.Run(kind, func(t *testing.T) {
			s := newEngineShell(t)
			s.run("1\n", "append jobs"+flags).must(statusOK)
			ctx, cancel := contextWithCancel(t)
			outR, outW := io.Pipe()
			s.streams.out = outW
			done := make(chan result)
			go func() { done <- s.runContext(ctx, nil, strings.Fields("tail jobs"+flags)...) }()
			writer := newEngineShell(t)
			writer.dir = s.dir
			for id := 1; id <= 3; id++ {
				expect(t, outR, fmt.Sprintf(`{"id":%d,`, id))
				restOfLine(t, outR)
				writer.run("1\n", "append jobs"+flags).must(statusOK)
			}
			cancel()
			go func() { _, _ = io.Copy(io.Discard, outR) }()
			(<-done).must(statusOK)
		})
	}
}

func TestVerifyFindsDamageOnEveryBackend(t *testing.T) {
	for kind, damage := range map[string]func(t *testing.T, dir string){
		"file": func(t *testing.T, dir string) {
			path := filepath.Join(dir, "f", "topics", "jobs.jsonl")
			content, err := os.ReadFile(path)
			check(t, err)
			check(t, os.WriteFile(path, bytes.Replace(content, []byte(`{"id":2,`), []byte(`{"id";2,`), 1), 0o600))
		},
		"sqlite": func(t *testing.T, dir string) {
			path := filepath.Join(dir, "q.sqlite")
			content, err := os.ReadFile(path)
			check(t, err)
			copy(content[len(content)-4096:], bytes.Repeat([]byte{0xff}, 4096)) // a page of events
			check(t, os.WriteFile(path, content, 0o600))
		},
	} {
		t.Run(kind, func(t *testing.T) {
			s := newEngineShell(t)
			flags := elsewhere[kind]
			var in strings.Builder
			for i := range 200 {
				fmt.Fprintf(&in, "%q\n", strings.Repeat("x", 100)+fmt.Sprint(i))
			}
			s.run(in.String(), "append jobs --quiet"+flags).must(statusOK)
			s.run("", "verify"+flags).must(statusOK).prints("{\"topics\":1,\"events\":200,\"damaged\":0}\n")
			damage(t, s.dir)
			if r := s.run("", "verify"+flags).must(statusDamaged); !strings.Contains(r.out, `"reason":`) {
				t.Errorf("got %s", r.out)
			}
		})
	}
}
