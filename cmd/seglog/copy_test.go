package main

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	driver "zombiezen.com/go/sqlite"

	"github.com/seglog/seglog/adapter"
	"github.com/seglog/seglog/engine"
)

var copyEvents = flag.Int("copy.events", 20_000, "how many events the chain of copies has")

func TestCopyNeedsTwoLogs(t *testing.T) {
	s := newEngineShell(t)
	s.run("1\n", "append jobs -C log").must(statusOK)
	for _, test := range []struct{ args, says string }{
		{"copy", `--from "": want BACKEND:LOCATION`},
		{"copy --from segment:log", `--to "": want BACKEND:LOCATION`},
		{"copy --from log --to sqlite:q", `--from "log": want BACKEND:LOCATION`},
		{"copy --from segment: --to sqlite:q", `--from "segment:": want BACKEND:LOCATION`},
		{"copy --from tape:log --to sqlite:q", "unsupported event log backend 'tape'"},
		{"copy --from memory:log --to sqlite:q", "a log in memory cannot be copied"},
		{"copy --from segment:log --to sqlite:q --dir log", "--from and --to in the place of"},
		{"copy --from segment:log --to sqlite:q --backend file", "--from and --to in the place of"},
		{"copy --from segment:log --to sqlite:q x", `unexpected argument "x"`},
	} {
		s.run("", test.args).must(statusUsage).prints("").says(test.says)
	}
	s.run("", "copy --from segment:none --to sqlite:q").must(statusFailed).says("there is no log at " + filepath.Join(s.dir, "none"))
	if _, err := os.Stat(filepath.Join(s.dir, "q")); err == nil {
		t.Error("a copy of no log made its target")
	}
	s.run("", "copy --from segment:log --to jetstream:q").must(statusFailed).says("unsupported operation")
}

func TestCopyPrintsWhatItDid(t *testing.T) {
	s := newEngineShell(t)
	s.run("1\n2\n3\n", "append jobs -C log").must(statusOK)
	s.run("", "ack jobs c 2 -C log").must(statusOK)
	s.run("", "copy --from segment:log --to file:a:b").must(statusOK).prints("{\"topics\":1,\"events\":3,\"copied\":3,\"cursors\":1}\n")
	s.run("", "read jobs --backend file --dir a:b --after 2").must(statusOK)
	s.run("", "cursor jobs c --backend file --dir a:b").must(statusOK).prints("2\n")
	s.terminal()
	s.run("4\n", "append jobs --quiet -C log").must(statusOK)
	s.run("", "copy --from segment:log --to file:a:b").must(statusOK).
		prints("1 event and 0 cursors copied; both logs hold 1 topic with the same 4 events\n")
	s.run("5\n", "append jobs --quiet --backend file -C a:b").must(statusOK)
	s.run("", "copy --from segment:log --to file:a:b").must(statusFailed).prints("").says("the logs differ", "up to 5 in the target, and up to 4 in the source")
}

func TestCopyClampsCursorsWhereItIsTold(t *testing.T) {
	s := newEngineShell(t)
	s.run("1\n", "append jobs --quiet --backend file -C a").must(statusOK)
	cursor := `{"topic":"jobs","consumer_id":"c","cursor":5,"updated_at_ms":1}`
	check(t, os.WriteFile(filepath.Join(s.dir, "a/consumers/jobs__c.json"), []byte(cursor), 0o600))
	s.run("", "copy --from file:a --to segment:b").must(statusFailed).prints("").says("event 5", "--clamp-cursors")
	s.run("", "copy --from file:a --to segment:b --clamp-cursors").must(statusOK).
		prints("{\"topics\":1,\"events\":1,\"copied\":1,\"cursors\":1,\"clamped\":1}\n").
		says(`consumer "c" on topic jobs is at event 5 in the source`, "at 1 in the copy")
	s.run("", "cursor jobs c -C b").must(statusOK).prints("1\n")
}

func TestCopyTakesEventsAboveTheUsualLimit(t *testing.T) {
	s := newEngineShell(t)
	config, err := s.env().chosen("sqlite")
	check(t, err)
	setLocation(&config, filepath.Join(s.dir, "a"))
	config.MaxEventBytes = 64 << 20
	log, err := adapter.Open(config)
	check(t, err)
	_, err = log.Append(t.Context(), engine.MustTopic("jobs"), engine.Event{Payload: []byte(`"` + strings.Repeat("x", 20<<20) + `"`)})
	check(t, err)
	check(t, log.Close())
	for _, hop := range [][2]string{{"sqlite:a", "segment:b"}, {"segment:b", "file:c"}, {"file:c", "sqlite:d"}} {
		s.run("", "copy --from "+hop[0]+" --to "+hop[1]).must(statusOK).prints("{\"topics\":1,\"events\":1,\"copied\":1,\"cursors\":0}\n")
	}
	s.run("", "verify --path d").must(statusOK)
}

func TestCopyWorksBesideTheSourcesWriter(t *testing.T) {
	for _, kind := range []string{"segment", "file", "sqlite"} {
		s := newEngineShell(t)
		at := map[string]string{"segment": "--dir x", "file": "--backend file --dir x", "sqlite": "--path x"}[kind]
		s.run("1\n2\n", "append jobs --quiet "+at).must(statusOK)
		config, err := s.env().chosen(kind)
		check(t, err)
		setLocation(&config, filepath.Join(s.dir, "x"))
		writer, err := adapter.Open(config)
		check(t, err)
		s.run("", "copy --from "+kind+":x --to segment:y").must(statusOK).prints("{\"topics\":1,\"events\":2,\"copied\":2,\"cursors\":0}\n")
		_, err = writer.Append(t.Context(), engine.MustTopic("jobs"), engine.Event{Payload: []byte("3")})
		check(t, err)
		check(t, writer.Close())
	}
}

func TestCopyInterruptedSaysHowToGoOn(t *testing.T) {
	s := newEngineShell(t)
	s.run("1\n", "append jobs -C log").must(statusOK)
	ctx, cancel := contextWithCancel(t)
	cancel()
	s.runContext(ctx, nil, "copy", "--from", "segment:log", "--to", "segment:other").must(statusInterrupted).
		says("interrupted after 0 events; run it again to go on")
}

// openTelling opens logs that say on standard error when a batch is in, and then
// wait for a byte on standard input, or its end.
func openTelling(config adapter.Config) (engine.EventLog, error) {
	log, err := adapter.Open(config)
	if err != nil || config.ReadOnly {
		return log, err
	}
	return telling{log.(fullLog)}, nil
}

// fullLog is a log that can be the target of a copy.
type fullLog interface {
	engine.EventLog
	engine.Restorer
	Consumers(ctx context.Context, topic engine.Topic) ([]engine.ConsumerInfo, error)
}

type telling struct{ fullLog }

func (l telling) AppendBatch(ctx context.Context, topic engine.Topic, events []engine.Event, opts ...engine.AppendOption) (first, last engine.EventID, err error) {
	first, last, err = l.fullLog.AppendBatch(ctx, topic, events, opts...)
	fmt.Fprintln(os.Stderr, "appended up to", last)
	_, _ = os.Stdin.Read(make([]byte, 1)) // its end is an answer too
	return first, last, err
}

// copyProcess starts a copy. With killAfter it is killed while it copies the
// batch behind that many, and else it must end well; then its output is
// returned.
func copyProcess(t *testing.T, killAfter int, from, to string) string {
	t.Helper()
	exe, err := os.Executable()
	check(t, err)
	cmd := exec.CommandContext(t.Context(), exe, "copy", "--from", from, "--to", to)
	cmd.Env = append(os.Environ(), processVariable+"=telling")
	var out bytes.Buffer
	cmd.Stdout = &out
	stderr, err := cmd.StderrPipe()
	check(t, err)
	var stdin io.Writer
	if killAfter > 0 {
		stdin, err = cmd.StdinPipe()
		check(t, err)
	}
	check(t, cmd.Start())
	lines := bufio.NewReader(stderr)
	for range killAfter {
		line, err := lines.ReadString('\n')
		if err != nil || !strings.HasPrefix(line, "appended") {
			t.Fatalf("copy of %s: %q, %v", from, line, err)
		}
		_, err = stdin.Write([]byte("\n"))
		check(t, err)
	}
	if killAfter > 0 {
		check(t, cmd.Process.Kill())
		_ = cmd.Wait() // that it was killed is the point
		return ""
	}
	rest, err := io.ReadAll(lines)
	check(t, err)
	if err := cmd.Wait(); err != nil {
		t.Fatalf("copy of %s to %s: %v\n%s", from, to, err, rest)
	}
	return out.String()
}

// TestAChainOfCopiesComesOutAsItWentIn copies a database into a segmented log,
// that into files, and those into a database, kills each copy in the middle and
// starts it again, and compares the databases row by row.
func TestAChainOfCopiesComesOutAsItWentIn(t *testing.T) {
	dir := t.TempDir()
	places := []string{"sqlite:" + dir + "/a.sqlite", "segment:" + dir + "/b", "file:" + dir + "/c", "sqlite:" + dir + "/d.sqlite"}
	began := time.Now()
	fillDatabase(t, dir+"/a.sqlite", *copyEvents)
	t.Logf("%d events made in %v", *copyEvents, time.Since(began).Round(time.Millisecond))
	const batch = 8 << 10
	for i, to := range places[1:] {
		began := time.Now()
		copyProcess(t, max(1, *copyEvents/batch/2), places[i], to)
		out := copyProcess(t, 0, places[i], to)
		t.Logf("%s to %s, killed and started again: %v\n%s", places[i], to, time.Since(began).Round(time.Millisecond), out)
		var row copyRow
		_, err := fmt.Sscanf(out, `{"topics":%d,"events":%d,"copied":%d,"cursors":%d}`, &row.Topics, &row.Events, &row.Copied, &row.Cursors)
		if err != nil || row.Copied == 0 || row.Copied >= row.Events {
			t.Errorf("got %s, %v, want some events copied by the first run and some by the second", out, err)
		}
	}
	rows := compareDatabases(t, dir+"/a.sqlite", dir+"/d.sqlite")
	t.Logf("%d rows are the same", rows)
	if rows < *copyEvents {
		t.Errorf("compared %d rows, want %d at least", rows, *copyEvents)
	}
}

// fillDatabase makes a log with n events and whatever else a copy must keep.
func fillDatabase(t *testing.T, path string, n int) {
	t.Helper()
	log, err := adapter.Open(adapter.Config{Backend: engine.BackendSQLite, SQLitePath: path})
	check(t, err)
	ctx := t.Context()
	add := func(topic string, count int) {
		for done := 0; done < count; {
			events := make([]engine.Event, min(5000, count-done))
			for i := range events {
				events[i] = engine.Event{
					Kind:         fmt.Sprintf("job.%d", i%7),
					Payload:      fmt.Appendf(nil, `{"n": %d, "topic":%q, "text":"%s","odd":[1e400,-0,"\ud800"]}`, done+i, topic, strings.Repeat("é ", i%40)),
					Headers:      map[string]string{"trace": fmt.Sprint(i), "": "\n"},
					OccurredAtMS: int64(done+i) - 100,
				}
			}
			_, _, err := log.AppendBatch(ctx, engine.MustTopic(topic), events)
			check(t, err)
			done += len(events)
		}
	}
	add("jobs", n-n/10)
	add("Jobs", n/10)
	add("trimmed", 1000)
	_, err = log.Compact(ctx, engine.MustTopic("trimmed"), 400)
	check(t, err)
	add("emptied", 10)
	_, err = log.Compact(ctx, engine.MustTopic("emptied"), 10)
	check(t, err)
	for i, topic := range []string{"jobs", "jobs", "trimmed", "emptied"} {
		c := engine.MustConsumerID(fmt.Sprintf("c/%d\n", i))
		check(t, log.(engine.Restorer).RestoreCursor(ctx, engine.MustTopic(topic), c, engine.EventID(i), time.UnixMilli(1_500_000_000_001+int64(i))))
	}
	check(t, log.Close())
}

// compareDatabases fails unless all tables of two databases hold the same rows,
// and returns how many.
func compareDatabases(t *testing.T, a, b string) int {
	t.Helper()
	var conns [2]*driver.Conn
	for i, path := range []string{a, b} {
		conn, err := driver.OpenConn(path, driver.OpenReadOnly)
		check(t, err)
		defer conn.Close()
		conns[i] = conn
	}
	rows := 0
	for _, query := range []string{
		"SELECT name, sql FROM sqlite_schema ORDER BY 1",
		"SELECT topic, last_id FROM topic_heads ORDER BY 1",
		"SELECT topic, event_id, kind, typeof(payload), payload, headers, occurred_at_ms FROM events ORDER BY 1, 2",
		"SELECT topic, consumer_id, cursor, updated_at_ms FROM consumers ORDER BY 1, 2",
	} {
		var stmts [2]*driver.Stmt
		for i, conn := range conns {
			stmt, err := conn.Prepare(query)
			check(t, err)
			stmts[i] = stmt
		}
		for more := true; more; rows++ {
			var texts [2]string
			var err error
			for i, stmt := range stmts {
				more, err = stmt.Step()
				check(t, err)
				texts[i] = fmt.Sprint(more)
				for column := 0; more && column < stmt.ColumnCount(); column++ {
					texts[i] += fmt.Sprintf(" %q", stmt.ColumnText(column))
				}
			}
			if texts[0] != texts[1] {
				t.Fatalf("%s: row %d\ngot  %s\nwant %s", query, rows, texts[1], texts[0])
			}
		}
		rows-- // the end is no row
	}
	return rows
}
