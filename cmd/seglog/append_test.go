package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/seglog/seglog/engine"
)

// payloads are the payloads of a topic, as they are stored.
func (s *shell) payloads(topic string) []string {
	s.t.Helper()
	var texts []string
	for _, r := range s.records(topic) {
		texts = append(texts, string(r.Payload))
	}
	return texts
}

func (s *shell) records(topic string) []engine.Record {
	s.t.Helper()
	records, err := engine.ReadRange(s.t.Context(), s.log, engine.MustTopic(topic), 0, engine.NoLimit)
	if err != nil {
		s.t.Fatal(err)
	}
	return records
}

func TestAppendKeepsPayloadsByteForByte(t *testing.T) {
	s := newShell(t)
	in := "{\"b\": 1.50, \"a\":\"<&>\"}\r\n\n  \t\n  [1 ,2]  \n1e400\n\"\\ud800\"\nnull"
	s.run(in, "append jobs").must(statusOK).prints("1\n2\n3\n4\n5\n")
	got := strings.Join(s.payloads("jobs"), "\n")
	want := "{\"b\": 1.50, \"a\":\"<&>\"}\n[1 ,2]\n1e400\n\"\\ud800\"\nnull"
	if got != want {
		t.Errorf("payloads\ngot  %q\nwant %q", got, want)
	}
	if s.opened.ReadOnly {
		t.Error("append opened the log read-only")
	}
}

func TestAppendTakesKindAndHeadersFromFlags(t *testing.T) {
	s := newShell(t)
	s.run("1\n2\n", "append jobs --kind job.queued --header trace=4f2 --header eq=a=b").must(statusOK)
	for _, r := range s.records("jobs") {
		if r.Kind != "job.queued" || len(r.Headers) != 2 || r.Headers["trace"] != "4f2" || r.Headers["eq"] != "a=b" {
			t.Errorf("event %d: got kind %q, headers %v", r.ID, r.Kind, r.Headers)
		}
		if r.OccurredAtMS == 0 {
			t.Errorf("event %d has no time", r.ID)
		}
	}
	s.run("1", "append jobs --header novalue").must(statusUsage).says(`--header "novalue": want key=value`)
}

func TestAppendEnvelopeOverridesFlags(t *testing.T) {
	s := newShell(t)
	in := `{"kind":"k","payload":{"n": 1},"headers":{"a":"x"},"occurred_at_ms":0}
{"payload":null}
`
	s.run(in, "append jobs --envelope --kind d --header a=y --header b=z").must(statusOK).prints("1\n2\n")
	got := s.records("jobs")
	if r := got[0]; r.Kind != "k" || string(r.Payload) != `{"n": 1}` || fmt.Sprint(r.Headers) != "map[a:x b:z]" || r.OccurredAtMS != 0 {
		t.Errorf("first event: got %+v", r)
	}
	if r := got[1]; r.Kind != "d" || string(r.Payload) != "null" || fmt.Sprint(r.Headers) != "map[a:y b:z]" || r.OccurredAtMS == 0 {
		t.Errorf("second event: got %+v", r)
	}
}

func TestAppendEnvelopeTakesWhatReadPrints(t *testing.T) {
	s := newShell(t)
	s.run(`{"kind":"k<>","payload":{"n":1},"headers":{"a":"x"},"occurred_at_ms":-5}`, "append a --envelope").must(statusOK)
	s.run(s.run("", "read a").must(statusOK).out, "append b --envelope").must(statusOK)
	a, b := s.records("a")[0], s.records("b")[0]
	if x, y := fmt.Sprint(a.Event), fmt.Sprint(b.Event); x != y {
		t.Errorf("copy\ngot  %s\nwant %s", y, x)
	}
}

func TestAppendStopsAtABadLine(t *testing.T) {
	for _, test := range []struct {
		name, args, line, says string
	}{
		{"not JSON", "", `{"a":}`, "line 4: not one JSON value: invalid character '}'"},
		{"two values", "", `1 2`, "line 4: not one JSON value: invalid character '2'"},
		{"cut off", "", `{"a":`, "line 4: not one JSON value: unexpected end of JSON input"},
		{"not UTF-8", "", "\"\xff\"", "line 4: invalid event: payload of kind \"event\" is not valid UTF-8"},
		{"no payload", " --envelope", `{"kind":"k"}`, `line 4: envelope has no "payload"`},
		{"unknown field", " --envelope", `{"payload":1,"occured_at_ms":1}`, `line 4: envelope: json: unknown field "occured_at_ms"`},
		{"two envelopes", " --envelope", `{"payload":1} {"payload":2}`, "line 4: envelope: more than one JSON value on the line"},
		{"cut-off envelope", " --envelope", `{"payload":1`, "line 4: envelope: unexpected end of line"},
		{"envelope not UTF-8", " --envelope", "{\"kind\":\"\xff\",\"payload\":1}", "line 4: envelope is not valid UTF-8"},
		{"null header", " --envelope", `{"payload":1,"headers":{"a":null}}`, `line 4: envelope: header "a" is null`},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newShell(t)
			good := "7"
			if test.args != "" {
				good = `{"payload":7}`
			}
			in := good + "\n\n" + good + "\n" + test.line + "\n" + good + "\n"
			s.run(in, "append jobs"+test.args).must(statusFailed).prints("1\n2\n").says(test.says)
			if got := s.payloads("jobs"); len(got) != 2 {
				t.Errorf("got %d events committed, want the 2 before the bad line", len(got))
			}
		})
	}
}

func TestAppendNamesTheLineThatTheLogRefuses(t *testing.T) {
	s := newShell(t)
	mem := s.log
	s.log = &faultLog{EventLog: mem, appendBatch: func(events []engine.Event) error {
		for _, e := range events {
			if string(e.Payload) == "3" {
				return fmt.Errorf("event of 9 bytes: %w", engine.ErrTooLarge)
			}
		}
		return nil
	}}
	s.run("1\n2\n3\n4\n", "append jobs").must(statusFailed).prints("1\n2\n").
		says("line 3: event of 9 bytes: too large")
	s.log = mem
	if got := s.payloads("jobs"); len(got) != 2 {
		t.Errorf("got %d events, want the 2 before the refused one", len(got))
	}
}

func TestAppendReportsAFailedCommitWithItsLines(t *testing.T) {
	s := newShell(t)
	s.log = &faultLog{EventLog: s.log, appendBatch: func([]engine.Event) error { return engine.ErrFailed }}
	s.run("1\n", "append jobs").must(statusFailed).prints("").says("line 1: log has failed")
}

// TestAppendCommitsEachLineOfASlowSource writes a line only once the one
// before it is committed: it hangs if lines wait for more lines.
func TestAppendCommitsEachLineOfASlowSource(t *testing.T) {
	s := newShell(t)
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	s.streams.out = outW
	done := make(chan result)
	go func() { done <- s.runContext(t.Context(), inR, "append", "jobs") }()
	for want := 1; want <= 3; want++ {
		fmt.Fprintln(inW, want)
		var got int
		if _, err := fmt.Fscan(outR, &got); err != nil || got != want {
			t.Fatalf("got id %d, %v; want %d", got, err, want)
		}
	}
	go func() { _, _ = io.Copy(io.Discard, outR) }()
	inW.Close()
	(<-done).must(statusOK)
}

func TestAppendSharesCommitsAmongManyLines(t *testing.T) {
	const n = 50_000
	s := newShell(t)
	mem := s.log
	fault := &faultLog{EventLog: mem}
	s.log = fault
	var in strings.Builder
	for i := range n {
		fmt.Fprintf(&in, "%d\n", i+1)
	}
	ids := strings.Fields(s.run(in.String(), "append jobs").must(statusOK).out)
	if len(ids) != n || ids[0] != "1" || ids[n-1] != strconv.Itoa(n) {
		t.Fatalf("got %d ids, want %d", len(ids), n)
	}
	if len(fault.batches) > n/100 {
		t.Errorf("%d lines took %d commits", n, len(fault.batches))
	}
	for _, size := range fault.batches {
		if size > queueLinesMax {
			t.Errorf("a commit of %d events, want at most %d", size, queueLinesMax)
		}
	}
	s.log = mem
	for i, p := range s.payloads("jobs") {
		if p != strconv.Itoa(i+1) {
			t.Fatalf("event %d: got payload %s", i+1, p)
		}
	}
}

func TestAppendBoundsTheBytesOfACommit(t *testing.T) {
	s := newShell(t)
	fault := &faultLog{EventLog: s.log}
	s.log = fault
	big := `"` + strings.Repeat("x", queueBytesMax*2/3) + "\"\n"
	s.run(strings.Repeat(big, 7), "append jobs").must(statusOK)
	for _, size := range fault.batches {
		if size > 2 {
			t.Errorf("a commit of %d events of two thirds of the bound, want at most 2", size)
		}
	}
}

func TestAppendTakesLinesLongerThanItsBuffer(t *testing.T) {
	s := newShell(t)
	long := `"` + strings.Repeat("x", 1<<20) + `"`
	s.run("1\n"+long+"\n"+long, "append jobs").must(statusOK).prints("1\n2\n3\n")
	if got := s.payloads("jobs"); got[1] != long || got[2] != long {
		t.Error("long lines were changed")
	}
}

// endless is a line without an end.
type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '1'
	}
	e.read += len(p)
	return len(p), nil
}

func TestAppendBoundsTheLengthOfALine(t *testing.T) {
	s := newShell(t)
	in := &endless{}
	s.runContext(t.Context(), in, "append", "jobs").must(statusFailed).says("line 1: longer than 67108864 bytes")
	if in.read > 2*lineBytesMax {
		t.Errorf("read %d bytes of a line, want it given up after %d", in.read, lineBytesMax)
	}
}

type failingReader struct{ text io.Reader }

func (f failingReader) Read(p []byte) (int, error) {
	n, err := f.text.Read(p)
	if errors.Is(err, io.EOF) {
		err = errors.New("device gone")
	}
	return n, err
}

func TestAppendDoesNotTakeAFailedReadForTheEnd(t *testing.T) {
	s := newShell(t)
	s.runContext(t.Context(), failingReader{strings.NewReader("1\n2")}, "append", "jobs").
		must(statusFailed).prints("1\n").says("read line 2: device gone")
}

func TestAppendPrintsASummaryOnATerminal(t *testing.T) {
	s := newShell(t)
	s.terminal()
	s.run("1\n", "append jobs").must(statusOK).prints("jobs 1\n")
	s.run("1\n2\n3\n", "append jobs").must(statusOK).prints("jobs 2..4 (3 events)\n")
	s.run("1\nx\n", "append jobs").must(statusFailed).prints("jobs 5\n")
	s.run("", "append jobs").must(statusOK).prints("")
	s.streams.inTTY = true
	s.run("1\n2\n", "append jobs").must(statusOK).prints("6\n7\n")
}

func TestAppendPrintsObjectsForJSON(t *testing.T) {
	s := newShell(t)
	s.terminal()
	s.run("1\n2\n", "append jobs --json").must(statusOK).
		prints("{\"topic\":\"jobs\",\"id\":1}\n{\"topic\":\"jobs\",\"id\":2}\n")
	s.run("1\n2\n", "append jobs --json --quiet").must(statusOK).prints("")
}

func TestAppendInterruptedSaysHowFarItCame(t *testing.T) {
	s := newShell(t)
	ctx, cancel := contextWithCancel(t)
	inR, inW := io.Pipe()
	defer inW.Close()
	s.log = &faultLog{EventLog: s.log, appendBatch: func([]engine.Event) error {
		cancel() // while a commit is on its way
		return nil
	}}
	go fmt.Fprintln(inW, "1")
	s.runContext(ctx, inR, "append", "jobs").must(statusInterrupted).prints("1\n").says("seglog: interrupted after 1 event\n")
}

// brokenWriter is a pipe whose reader is gone.
type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, syscall.EPIPE }

func TestAppendFailsWhereItsIDsCannotBePrinted(t *testing.T) {
	s := newShell(t)
	s.streams.out = brokenWriter{}
	s.run("1\n", "append jobs").must(statusFailed).says("write the output")
}

func FuzzEnvelope(f *testing.F) {
	f.Add([]byte(`{"kind":"k","payload":{"n": 1},"headers":{"a":"x"},"occurred_at_ms":0}`))
	f.Add([]byte(`{"payload":null} x`))
	f.Fuzz(func(t *testing.T, text []byte) {
		at := engine.MustTopic("jobs")
		l, err := decoder{topic: at, kind: "d", envelope: true, ids: true}.line(1, text)
		if err != nil {
			return
		}
		e := l.event
		if err := e.Validate(); err != nil {
			t.Fatalf("decoded an event that is not valid: %v", err)
		}
		encoded, err := json.Marshal(engine.Record{ID: l.id, Topic: l.topic, Event: e})
		if err != nil {
			t.Fatal(err)
		}
		again, err := decoder{kind: "x", envelope: true, ids: l.id > 0}.line(1, encoded)
		if err != nil || again.event.Kind != e.Kind || again.event.OccurredAtMS != e.OccurredAtMS || again.topic != at || again.id != l.id {
			t.Fatalf("got %+v, %v; want %+v", again, err, l)
		}
	})
}

// fullPipe takes so many bytes and no more.
type fullPipe int

func (p *fullPipe) Write(b []byte) (int, error) {
	if *p -= fullPipe(len(b)); *p < 0 {
		return 0, io.ErrShortWrite
	}
	return len(b), nil
}

func TestAppendPrintsTheHighestIDOnce(t *testing.T) {
	pipe := fullPipe(1000)
	a := appender{print: newPrinter(&pipe, false)}
	check(t, a.appended(engine.MustTopic("jobs"), math.MaxUint64-1, math.MaxUint64))
	if a.count != 2 || pipe != 1000-2*21 {
		t.Errorf("counted %d events, %d bytes are left of 1000", a.count, pipe)
	}
}
