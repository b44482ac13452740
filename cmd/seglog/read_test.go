package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"testing"

	"github.com/seglog/seglog/engine"
)

func contextWithCancel(t *testing.T) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	return ctx, cancel
}

// fill appends three events with known times.
func (s *shell) fill(topic string) {
	s.t.Helper()
	var in strings.Builder
	for i := range 3 {
		fmt.Fprintf(&in, `{"kind":"k%d","payload":{"n":%d, "s":"<b>"},"headers":{"h":"v"},"occurred_at_ms":%d}`+"\n", i+1, i+1, 1700000000000+i)
	}
	s.run(in.String(), "append "+topic+" --envelope").must(statusOK)
}

func recordJSON(id int) string {
	return fmt.Sprintf(`{"id":%d,"topic":"jobs","position":%d,"kind":"k%d","payload":{"n":%d,"s":"<b>"},"headers":{"h":"v"},"occurred_at_ms":%d}`+"\n",
		id, id, id, id, 1700000000000+id-1)
}

func TestReadPrintsJSONLinesInAPipe(t *testing.T) {
	s := newShell(t)
	s.fill("jobs")
	for _, test := range []struct {
		args string
		ids  []int
	}{
		{"read jobs", []int{1, 2, 3}},
		{"read jobs --after 1", []int{2, 3}},
		{"read jobs --after 1 --limit 1", []int{2}},
		{"read jobs --limit 0", nil},
		{"read jobs --after 3", nil},
		{"read jobs --after 18446744073709551615", nil},
		{"read jobs --limit 18446744073709551615", []int{1, 2, 3}},
		{"read unknown", nil},
	} {
		var want strings.Builder
		for _, id := range test.ids {
			want.WriteString(recordJSON(id))
		}
		s.run("", test.args).must(statusOK).prints(want.String())
		if !s.opened.ReadOnly {
			t.Errorf("%s did not open the log read-only", test.args)
		}
	}
}

func TestReadPrintsATableOnATerminal(t *testing.T) {
	s := newShell(t)
	s.fill("jobs")
	s.terminal()
	s.run("", "read jobs --limit 2").must(statusOK).prints(`ID  TIME                      KIND  PAYLOAD            HEADERS
1   2023-11-14T22:13:20.000Z  k1    {"n":1,"s":"<b>"}  h=v
2   2023-11-14T22:13:20.001Z  k2    {"n":2,"s":"<b>"}  h=v
`)
	s.run("", "read jobs --limit 1 --json").must(statusOK).prints(recordJSON(1))
	s.run("", "read unknown").must(statusOK).prints("")
}

func TestTableLetsNoControlCharacterThrough(t *testing.T) {
	s := newShell(t)
	in := `{"kind":"\u001b[2Jk\t","payload":"a` + "\u009b\U000E0001" + `é","headers":{"h":"\n"},"occurred_at_ms":0}`
	s.run(in, "append jobs --envelope").must(statusOK)
	s.terminal()
	out := s.run("", "read jobs").must(statusOK).out
	want := `"\x1b[2Jk\t"  "a\u009b\udb40\udc01é"  "h=\n"`
	if !strings.Contains(out, want) || strings.ContainsFunc(strings.ReplaceAll(out, "\n", ""), unprintable) {
		t.Errorf("got %q\nwant %q in it", out, want)
	}
}

func TestReadReportsDamageAfterWhatItCouldRead(t *testing.T) {
	s := newShell(t)
	s.fill("jobs")
	s.log = &readLog{EventLog: s.log, read: func(r engine.Record) error {
		if r.ID == 3 {
			return &engine.CorruptError{Topic: "jobs", File: "seg/1.seg", Offset: 4096, FirstID: 3, LastID: 3, Reason: "checksum"}
		}
		return nil
	}}
	s.run("", "read jobs").must(statusDamaged).prints(recordJSON(1) + recordJSON(2)).
		says("corrupt: seg/1.seg at offset 4096: checksum (topic jobs, events 3 to 3)")
}

// readLog replaces records by errors.
type readLog struct {
	engine.EventLog
	read func(r engine.Record) error // nil: the record itself
}

func (l *readLog) Read(ctx context.Context, topic engine.Topic, opts engine.ReadOptions) iter.Seq2[engine.Record, error] {
	return func(yield func(engine.Record, error) bool) {
		for r, err := range l.EventLog.Read(ctx, topic, opts) {
			if err == nil {
				err = l.read(r)
			}
			if !yield(r, err) || err != nil {
				return
			}
		}
	}
}

func TestReadIsQuietWhenTheReaderHasHadEnough(t *testing.T) {
	s := newShell(t)
	s.fill("jobs")
	s.streams.out = brokenWriter{}
	if r := s.run("", "read jobs").must(statusOK); r.err != "" {
		t.Errorf("got %q on standard error, want nothing", r.err)
	}
}

type fullWriter struct{}

func (fullWriter) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestReadFailsWhereTheOutputCannotBeWritten(t *testing.T) {
	s := newShell(t)
	s.fill("jobs")
	s.streams.out = fullWriter{}
	s.run("", "read jobs").must(statusFailed).says("write the output: disk full")
}

func TestReadInterruptedExitsLikeASignal(t *testing.T) {
	s := newShell(t)
	s.fill("jobs")
	ctx, cancel := contextWithCancel(t)
	cancel()
	s.runContext(ctx, nil, "read", "jobs").must(statusInterrupted).says("seglog: interrupted\n")
}

func TestTailFollowsUntilInterrupted(t *testing.T) {
	for _, args := range []string{"tail jobs", "tail jobs --after 2"} {
		t.Run(args, func(t *testing.T) {
			s := newShell(t)
			s.fill("jobs")
			ctx, cancel := contextWithCancel(t)
			outR, outW := io.Pipe()
			s.streams.out = outW
			done := make(chan result)
			go func() { done <- s.runContext(ctx, nil, strings.Split(args, " ")...) }()
			want := recordJSON(3)
			if args == "tail jobs" {
				want = recordJSON(1) + recordJSON(2) + want
			}
			expect(t, outR, want)
			e := engine.Event{Kind: "k4", Payload: []byte(`{"n":4,"s":"<b>"}`), OccurredAtMS: 1700000000003}
			e = e.WithHeaders(map[string]string{"h": "v"})
			if _, err := s.log.Append(t.Context(), engine.MustTopic("jobs"), e); err != nil {
				t.Fatal(err)
			}
			expect(t, outR, recordJSON(4))
			cancel()
			if r := (<-done).must(statusOK); r.err != "" {
				t.Errorf("got %q on standard error, want nothing", r.err)
			}
		})
	}
}

// expect reads exactly want.
func expect(t *testing.T, r io.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(r, got); err != nil || string(got) != want {
		t.Fatalf("got  %q, %v\nwant %q", got, err, want)
	}
}

func TestTailFailsWhenTheSubscriptionDoes(t *testing.T) {
	s := newShell(t)
	s.fill("jobs")
	if err := s.log.Close(); err != nil {
		t.Fatal(err)
	}
	s.run("", "tail jobs").must(statusFailed).says("log is closed")
}
