package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seglog/seglog/adapter"
	"github.com/seglog/seglog/engine"
)

func TestTopicsListsNamesAndLatest(t *testing.T) {
	s := newShell(t)
	s.run("", "topics").must(statusOK).prints("")
	s.fill("jobs")
	s.run("1\n", "append a").must(statusOK)
	s.run("", "topics").must(statusOK).prints("{\"topic\":\"a\",\"latest\":1}\n{\"topic\":\"jobs\",\"latest\":3}\n")
	s.terminal()
	s.run("", "topics").must(statusOK).prints("TOPIC  LATEST\na      1\njobs   3\n")
}

func TestLatestPrintsTheID(t *testing.T) {
	s := newShell(t)
	s.fill("jobs")
	s.run("", "latest jobs").must(statusOK).prints("3\n")
	s.run("", "latest jobs --json").must(statusOK).prints("{\"topic\":\"jobs\",\"latest\":3}\n")
	s.run("", "latest other").must(statusFailed).prints("").says("seglog: topic other has no events\n")
}

func TestDescribeSaysWhatAndWhere(t *testing.T) {
	s := newShell(t)
	check(t, os.WriteFile(filepath.Join(s.dir, signOfALog), []byte("12345"), 0o600))
	s.run("", "describe").must(statusOK).
		prints(fmt.Sprintf("{\"backend\":\"segment\",\"location\":%q,\"size_bytes\":5,\"queue_depth\":128}\n", s.dir))
	s.terminal()
	s.run("", "describe").must(statusOK).prints("backend      segment\nlocation     " + s.dir + "\nsize         5 B\nqueue depth  128\n")
	if s.opened != (adapter.Config{}) {
		t.Errorf("describe opened %v", s.opened)
	}
}

func TestDescribeOfNoLogCreatesNothing(t *testing.T) {
	s := newShell(t)
	s.vars["HARN_EVENT_LOG_QUEUE_DEPTH"] = "7"
	where := filepath.Join(s.dir, "none")
	s.run("", "describe -C none").must(statusOK).
		prints(fmt.Sprintf("{\"backend\":\"segment\",\"location\":%q,\"size_bytes\":0,\"queue_depth\":7}\n", where))
	s.terminal()
	s.run("", "describe -C none").must(statusOK).
		prints("backend      segment\nlocation     " + where + "\nsize         0 B\nqueue depth  7\n")
	if _, err := os.Stat(where); err == nil {
		t.Error("describe created the log")
	}
}

func TestAckAndCursor(t *testing.T) {
	s := newShell(t)
	s.fill("jobs")
	s.run("", "cursor jobs c").must(statusFailed).prints("").says(`consumer "c" has no cursor on topic jobs`)
	s.run("", "ack jobs c 2").must(statusOK).prints("")
	if s.opened.ReadOnly {
		t.Error("ack opened the log read-only")
	}
	s.run("", "cursor jobs c").must(statusOK).prints("2\n")
	s.run("", "cursor jobs c --json").must(statusOK).prints("{\"topic\":\"jobs\",\"consumer\":\"c\",\"cursor\":2}\n")
	s.run("", "ack jobs c 0 --json").must(statusOK).prints("{\"topic\":\"jobs\",\"consumer\":\"c\",\"cursor\":0}\n")
	s.run("", "ack jobs c 4").must(statusFailed).says("ack beyond latest")
	s.run("", "ack jobs c x").must(statusUsage).says(`"x" is not an event id`)
	s.run("", "ack jobs c").must(statusUsage).says("ID is missing")
}

// Consumers is what the log would list.
func (f *faultLog) Consumers(context.Context, engine.Topic) ([]engine.ConsumerInfo, error) {
	return f.consumers, nil
}

func (s *shell) withConsumers() {
	s.openLog = &faultLog{EventLog: s.log, consumers: []engine.ConsumerInfo{
		{Consumer: engine.MustConsumerID("a/b"), Cursor: 1, AckedAt: time.UnixMilli(1700000000000), Lag: 2},
		{Consumer: engine.MustConsumerID("é\n"), Cursor: 3, AckedAt: time.UnixMilli(1700000000001)},
	}}
}

func TestConsumersListsCursors(t *testing.T) {
	s := newShell(t)
	s.fill("jobs")
	s.withConsumers()
	s.run("", "consumers jobs").must(statusOK).prints(
		`{"topic":"jobs","consumer":"a/b","cursor":1,"lag":2,"acked_at_ms":1700000000000}
{"topic":"jobs","consumer":"é\n","cursor":3,"lag":0,"acked_at_ms":1700000000001}
`)
	s.terminal()
	s.run("", "consumers jobs").must(statusOK).prints(
		`CONSUMER  CURSOR  LAG  ACKED
a/b       1       2    2023-11-14T22:13:20.000Z
"é\n"     3       0    2023-11-14T22:13:20.001Z
`)
}

func TestConsumersOfABackendWithoutThemIsRefused(t *testing.T) {
	newShell(t).run("", "consumers jobs").must(statusFailed).says("list the consumers of topic jobs", errors.ErrUnsupported.Error())
}

func TestCompactWantsYes(t *testing.T) {
	s := newShell(t)
	s.fill("jobs")
	s.run("", "compact jobs 2").must(statusUsage).says("destroys the events of topic jobs up to 2", "--yes")
	if got := len(s.records("jobs")); got != 3 {
		t.Fatalf("got %d events left, want 3", got)
	}
	s.run("", "compact jobs 2 --yes").must(statusOK).
		prints("{\"removed\":2,\"remaining\":1,\"latest\":3,\"checkpointed\":false}\n")
	s.terminal()
	s.run("", "compact jobs 9 --yes").must(statusOK).prints("removed    1\nremaining  0\nlatest     3\n")
	s.run("", "compact none 9 --yes").must(statusOK).prints("removed    0\nremaining  0\n")
}

func TestOnlyAppendCreatesALog(t *testing.T) {
	for _, args := range []string{
		"read jobs", "tail jobs", "topics", "latest jobs", "ack jobs c 1", "cursor jobs c",
		"consumers jobs", "compact jobs 1 --yes", "verify",
	} {
		s := newShell(t)
		where := filepath.Join(s.dir, "none")
		s.run("", args+" -C none").must(statusFailed).prints("").says("there is no log at "+where, "--dir")
		if s.opened != (adapter.Config{}) {
			t.Errorf("%s: opened %v", args, s.opened)
		}
	}
	s := newShell(t)
	s.run("1\n", "append jobs -C none").must(statusOK)
	if want := filepath.Join(s.dir, "none"); s.opened.Location() != want {
		t.Errorf("append opened %q, want %q", s.opened.Location(), want)
	}
}

func TestWrongUsageExitsWithItsOwnStatus(t *testing.T) {
	for _, test := range []struct{ args, says string }{
		{"", "a command is missing"},
		{"tpics", `unknown command "tpics"; did you mean topics?`},
		{"read", "read: TOPIC is missing"},
		{"read a b", `read: unexpected argument "b"`},
		{"read a/b", "topic 'a/b' contains unsupported characters"},
		{"read jobs --after x", `invalid argument "x" for "--after"`},
		{"read jobs --limit -1", `invalid argument "-1" for "--limit"`},
		{"read jobs --nope", "unknown flag: --nope"},
		{"topics --backend tape", "unsupported event log backend 'tape'"},
		{"topics --dir a --path b", "exclude each other"},
		{"topics --backend sqlite --dir b", "use --path"},
		{"topics --backend file --path b", "--path is for --backend sqlite"},
		{"verify x", `unexpected argument "x"`},
	} {
		s := newShell(t)
		args := strings.Fields(test.args)
		s.runContext(t.Context(), nil, args...).must(statusUsage).prints("").says("seglog: ", test.says, "--help' for usage")
		if s.opened != (adapter.Config{}) {
			t.Errorf("%s: opened %v", test.args, s.opened)
		}
	}
}

func TestTheLogIsFoundByFlagsThenEnvironment(t *testing.T) {
	abs := t.TempDir()
	for _, test := range []struct {
		name, args string
		vars       map[string]string
		backend    engine.BackendKind
		location   string // relative to the current directory
	}{
		{"nothing set", "", nil, engine.BackendSegment, ".harn/events.seglog"},
		{"state", "", map[string]string{"HARN_STATE_DIR": "st"}, engine.BackendSegment, "st/events.seglog"},
		{"blank", "", map[string]string{"HARN_STATE_DIR": " ", "HARN_EVENT_LOG_SEGMENT_DIR": " "}, engine.BackendSegment, ".harn/events.seglog"},
		{"segment", "", map[string]string{"HARN_EVENT_LOG_SEGMENT_DIR": "x", "HARN_STATE_DIR": "st"}, engine.BackendSegment, "x"},
		{"absolute", "", map[string]string{"HARN_EVENT_LOG_SEGMENT_DIR": abs}, engine.BackendSegment, abs},
		{"file", "", map[string]string{"HARN_EVENT_LOG_BACKEND": " FILE ", "HARN_EVENT_LOG_DIR": "f"}, engine.BackendFile, "f"},
		{"file default", "", map[string]string{"HARN_EVENT_LOG_BACKEND": "file"}, engine.BackendFile, ".harn/events"},
		{"sqlite", "", map[string]string{"HARN_EVENT_LOG_BACKEND": "sqlite", "HARN_EVENT_LOG_SQLITE_PATH": "q"}, engine.BackendSQLite, "q"},
		{"sqlite default", " --backend sqlite", nil, engine.BackendSQLite, ".harn/events.sqlite"},
		{"dir", " --dir d", map[string]string{"HARN_EVENT_LOG_BACKEND": "sqlite", "HARN_EVENT_LOG_SEGMENT_DIR": "x"}, engine.BackendSegment, "d"},
		{"dir of file", " -C d --backend File", nil, engine.BackendFile, "d"},
		{"path", " --path p", nil, engine.BackendSQLite, "p"},
		{"path of sqlite", " --path p --backend sqlite", nil, engine.BackendSQLite, "p"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newShell(t)
			s.vars = test.vars
			s.run("1\n", "append jobs"+test.args).must(statusOK)
			want := test.location
			if !filepath.IsAbs(want) {
				want = filepath.Join(s.dir, filepath.FromSlash(want))
			}
			if s.opened.Backend != test.backend || s.opened.Location() != want {
				t.Errorf("got %+v, want %s at %s", s.opened, test.backend, want)
			}
		})
	}
}

func TestABackendFromTheEnvironmentThatIsUnknownFails(t *testing.T) {
	s := newShell(t)
	s.vars["HARN_EVENT_LOG_BACKEND"] = "tape"
	s.run("", "topics").must(statusFailed).says("HARN_EVENT_LOG_BACKEND", "unsupported event log backend 'tape'")
	s.vars["HARN_EVENT_LOG_BACKEND"] = "memory"
	s.run("", "topics").must(statusUsage).says("backend memory cannot be used from the command line")
}

func TestHelpAndVersionNeedNoLog(t *testing.T) {
	s := newShell(t)
	for _, args := range []string{"--help", "help append", "append --help", "completion bash"} {
		if r := s.run("", args).must(statusOK); !strings.Contains(r.out, "seglog") || r.err != "" {
			t.Errorf("%s: got %q, %q", args, r.out, r.err)
		}
	}
	if r := s.run("", "--version").must(statusOK); !strings.HasPrefix(r.out, "seglog ") || !strings.Contains(r.out, "go1.") {
		t.Errorf("version: got %q", r.out)
	}
	if s.opened != (adapter.Config{}) {
		t.Errorf("opened %v", s.opened)
	}
}

func TestEveryCommandHasHelp(t *testing.T) {
	a := &app{print: newPrinter(&bytes.Buffer{}, false)}
	for _, cmd := range newRoot(a).Commands() {
		if cmd.Short == "" || cmd.Long == "" {
			t.Errorf("%s has no help", cmd.Name())
		}
	}
}

func TestTopicsCompleteInTheShell(t *testing.T) {
	s := newShell(t)
	s.fill("jobs")
	s.run("1\n", "append other").must(statusOK)
	got := s.run("", "__complete read jo").must(statusOK).out
	if !strings.HasPrefix(got, "jobs\n:4\n") {
		t.Errorf("got %q, want jobs alone, and no file names", got)
	}
}

func TestCloseThatFailsFailsTheCommand(t *testing.T) {
	s := newShell(t)
	s.openLog = closeFails{s.log}
	s.run("1\n", "append jobs").must(statusFailed).prints("1\n").says("close the log: i/o error")
}

type closeFails struct{ engine.EventLog }

func (closeFails) Close() error { return engine.ErrIO }

func TestADefaultLogIsNotBegunOverAnotherKind(t *testing.T) {
	for _, test := range []struct{ name, args, file, backend string }{
		{"sqlite", "", ".harn/events.sqlite", "sqlite"},
		{"file", "", ".harn/events/topics/jobs.jsonl", "file"},
		{"chosen", " --backend segment", ".harn/events.sqlite", ""},
		{"named", " -C d", ".harn/events.sqlite", ""},
		{"begun already", "", ".harn/events.seglog/" + signOfALog, ""},
		{"nothing", "", "README", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newShell(t)
			s.vars = nil
			file := filepath.Join(s.dir, filepath.FromSlash(test.file))
			if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
			r := s.run("1\n", "append jobs"+test.args)
			if test.backend == "" {
				r.must(statusOK)
				return
			}
			r.must(statusFailed).says("there is already a log of kind "+test.backend, "--backend "+test.backend, "--backend segment", "seglog copy --from "+test.backend+":"+s.dir)
			if s.opened != (adapter.Config{}) {
				t.Errorf("opened %v", s.opened)
			}
		})
	}
}

// reportLog is a log whose opening found something.
type reportLog struct {
	engine.EventLog
	report engine.OpenReport
}

func (r reportLog) OpenReport() engine.OpenReport { return r.report }
func (reportLog) Close() error                    { return nil }

func TestWhatOpeningFoundIsSaid(t *testing.T) {
	damage := []*engine.CorruptError{
		{File: "seg/1.seg", Offset: 4096, Reason: "checksum"},
		{File: "manifest-1", Offset: 16, Reason: "one copy"},
	}
	s := newShell(t)
	s.fill("jobs")
	s.openLog = reportLog{s.log, engine.OpenReport{Damage: damage}}
	s.run("", "latest jobs").must(statusOK).prints("3\n").
		says("warning: the log is damaged (corrupt: seg/1.seg at offset 4096: checksum, and 1 more); 'seglog verify' lists all")
	r := s.run("", "verify").must(statusDamaged).prints(`{"file":"seg/1.seg","offset":4096,"reason":"checksum"}
{"file":"manifest-1","offset":16,"reason":"one copy"}
{"topics":1,"events":3,"damaged":2}
`)
	if r.err != "" {
		t.Errorf("verify: got %q on standard error, want the listing alone", r.err)
	}
	s.openLog = reportLog{s.log, engine.OpenReport{TornBytes: 4096, TornFile: "wal-1", TornOffset: 8192}}
	s.run("1\n", "append jobs").must(statusOK).prints("4\n").says("dropped 4096 bytes", "wal-1 at offset 8192")
	if r := s.run("", "latest jobs").must(statusOK); r.err != "" {
		t.Errorf("latest: got %q on standard error, want nothing: a writer may be at work", r.err)
	}
}

// TestDamageOfOneTopicHidesNoOther: topic a is damaged, and a damaged log lists
// what it can.
func TestDamageOfOneTopicHidesNoOther(t *testing.T) {
	s := newEngineShell(t)
	for _, topic := range []string{"a", "b"} {
		s.run("1\n2\n", "append "+topic+" --quiet --backend file -C log").must(statusOK)
	}
	path := filepath.Join(s.dir, "log/topics/a.jsonl")
	text, err := os.ReadFile(path)
	check(t, err)
	check(t, os.WriteFile(path, append(text, "no record\n"...), 0o600))
	s.run("1\n", "append z --quiet --backend file -C log").must(statusOK)
	s.run("", "compact z 1 --yes --backend file -C log").must(statusOK)
	s.run("", "topics --backend file -C log").must(statusDamaged).
		prints("{\"topic\":\"a\",\"latest\":null}\n{\"topic\":\"b\",\"latest\":2}\n{\"topic\":\"z\",\"latest\":1}\n")
	check(t, os.WriteFile(filepath.Join(s.dir, "log/heads/z.json"), []byte("no head"), 0o600))

	s.run("", "topics --backend file -C log").must(statusDamaged).
		prints("{\"topic\":\"a\",\"latest\":null}\n{\"topic\":\"b\",\"latest\":2}\n{\"topic\":\"z\",\"latest\":null}\n").
		says("topics/a.jsonl", "heads/z.json")
	r := s.run("", "export --backend file -C log").must(statusDamaged).says("topics/a.jsonl")
	if lines := strings.Count(r.out, "\n"); lines != 4 || strings.Count(r.out, `"topic":"b"`) != 2 {
		t.Errorf("exported %s, want two events of each topic", r.out)
	}
	s.run("", "export a --backend file -C log").must(statusDamaged)
	r = s.run("", "verify --backend file -C log").must(statusDamaged)
	if !strings.HasSuffix(r.out, "{\"topics\":3,\"events\":4,\"damaged\":2}\n") {
		t.Errorf("verify printed %s", r.out)
	}
	s.terminal()
	s.run("", "topics --backend file -C log").must(statusDamaged).prints("TOPIC  LATEST\na      damaged\nb      2\nz      damaged\n")
}

// partialList is a log that can list one of its topics.
type partialList struct{ engine.EventLog }

func (p partialList) Topics(ctx context.Context) ([]engine.Topic, error) {
	topics, err := p.EventLog.Topics(ctx)
	return topics[:1], errors.Join(err, fmt.Errorf("list topics: %w: the stored topic x", engine.ErrEncoding))
}

func (partialList) Close() error { return nil }

func TestWhatCannotBeListedHidesNoTopic(t *testing.T) {
	s := newShell(t)
	s.fill("jobs")
	s.fill("other")
	s.openLog = partialList{s.log}
	s.run("", "topics").must(statusDamaged).prints("{\"topic\":\"jobs\",\"latest\":3}\n").says("the stored topic x")
	s.run("", "export").must(statusDamaged).says("the stored topic x")
	s.run("", "verify").must(statusDamaged).
		prints("{\"reason\":\"list topics: encoding error: the stored topic x\"}\n{\"topics\":1,\"events\":3,\"damaged\":1}\n")
}
