package sqlite

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seglog/seglog/engine"
)

func TestRowsThatDoNotDecodeAreErrorsThatNameTheEvent(t *testing.T) {
	for _, c := range []struct {
		name, sql string
		target    error
		says      string
		raw       bool // ReadRaw sees it too
	}{
		{"headers are an array", `UPDATE events SET headers = '[]' WHERE event_id = 2`, engine.ErrEncoding, "event 2", true},
		{"headers are cut off", `UPDATE events SET headers = '{"a":' WHERE event_id = 2`, engine.ErrEncoding, "event 2", true},
		{"headers are null", `UPDATE events SET headers = 'null' WHERE event_id = 2`, engine.ErrEncoding, "event 2", true},
		{"a header is a number", `UPDATE events SET headers = '{"a":1}' WHERE event_id = 2`, engine.ErrEncoding, "event 2", true},
		{"a header is null", `UPDATE events SET headers = '{"a":null}' WHERE event_id = 2`, engine.ErrEncoding, "event 2", true},
		{"headers are not UTF-8", `UPDATE events SET headers = CAST(x'7b2261223a22ff227d' AS TEXT) WHERE event_id = 2`, engine.ErrEncoding, "event 2", true},
		{"headers are a blob", `UPDATE events SET headers = x'7b7d' WHERE event_id = 2`, engine.ErrCorrupt, "events 2 to 2", true},
		{"payload is not JSON", `UPDATE events SET payload = '{"n": 2' WHERE event_id = 2`, engine.ErrEncoding, "event 2", false},
		{"payload is empty", `UPDATE events SET payload = '' WHERE event_id = 2`, engine.ErrEncoding, "event 2", false},
		{"payload has a NUL behind it", `UPDATE events SET payload = payload || char(0) WHERE event_id = 2`, engine.ErrEncoding, "event 2", false},
		{"payload is a blob that is not JSON", `UPDATE events SET payload = x'00ff' WHERE event_id = 2`, engine.ErrEncoding, "event 2", false},
		{"payload is a number", `PRAGMA writable_schema=ON; UPDATE sqlite_schema SET sql = replace(sql, 'payload TEXT', 'payload BLOB'); REOPEN; UPDATE events SET payload = 7 WHERE event_id = 2`, engine.ErrCorrupt, "events 2 to 2", true},
		{"kind is a blob", `UPDATE events SET kind = x'61' WHERE event_id = 2`, engine.ErrCorrupt, "events 2 to 2", true},
		{"kind is not UTF-8", `UPDATE events SET kind = CAST(x'ff' AS TEXT) WHERE event_id = 2`, engine.ErrEncoding, "event 2", false},
		{"time is a text", `UPDATE events SET occurred_at_ms = 'soon' WHERE event_id = 2`, engine.ErrCorrupt, "events 2 to 2", true},
		{"an event is missing", `DELETE FROM events WHERE event_id = 2`, engine.ErrCorrupt, "event 2 is missing", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			log := damaged(t, c.sql)
			records, err := readErr(t, log, jobs)
			wantErr(t, "Read", err, []error{c.target}, "jobs", c.says)
			if len(records) != 1 || records[0].ID != 1 {
				t.Errorf("Read gave %d records before the damage, want event 1", len(records))
			}
			live := pull(t, 0, log.Subscribe(t.Context(), jobs, engine.SubscribeOptions{}))
			live.take(1)
			_, err, _ = live.next()
			wantErr(t, "Subscribe", err, []error{c.target}, "jobs", c.says)
			raw, err := rawErr(t, log, jobs)
			if c.raw {
				wantErr(t, "ReadRaw", err, []error{c.target}, "jobs", c.says)
			} else if err != nil || raw != 4 {
				t.Errorf("ReadRaw, which parses no payload, gave %d events, %v", raw, err)
			}
			// What lies behind the damage can be read.
			records, err = engine.ReadRange(t.Context(), log, jobs, 2, engine.NoLimit)
			if err != nil || len(records) != 2 {
				t.Errorf("Read after event 2 gave %d records, %v", len(records), err)
			}
		})
	}
}

func TestTopicsWhoseRowsContradictOneAnotherAreCorrupt(t *testing.T) {
	for _, c := range []struct{ name, sql, says string }{
		{"the last event is missing", `DELETE FROM events WHERE event_id = 4`, "event 4 is missing"},
		{"a negative id", `UPDATE events SET event_id = -1 WHERE event_id = 1`, "begin at -1"},
		{"id 0", `UPDATE events SET event_id = 0 WHERE event_id = 1`, "begin at 0"},
		{"ids are text", `UPDATE events SET event_id = 'x' || event_id`, "event_id SQLITE_"},
		{"ids are fractions", `UPDATE events SET event_id = event_id + 0.5`, "event_id SQLITE_"},
		{"events beyond last_id", `UPDATE topic_heads SET last_id = 0`, "begin at 1"},
		{"a negative last_id", `UPDATE topic_heads SET last_id = -4`, "last_id is -4"},
		{"last_id is a text", `UPDATE topic_heads SET last_id = 'four'`, "last_id has type"},
	} {
		t.Run(c.name, func(t *testing.T) {
			log := damaged(t, c.sql)
			_, err := readErr(t, log, jobs)
			wantErr(t, "Read", err, []error{engine.ErrCorrupt}, "jobs", c.says)
		})
	}
}

func TestUnreadableConsumersAndTopicsAreErrors(t *testing.T) {
	log := damaged(t, `INSERT INTO consumers VALUES ('jobs', 'reader', -3, 0); INSERT INTO topic_heads VALUES ('a/b', 3)`)
	_, _, err := log.Cursor(t.Context(), jobs, reader)
	wantErr(t, "Cursor", err, []error{engine.ErrCorrupt}, "jobs", "-3")
	_, err = log.Consumers(t.Context(), jobs)
	wantErr(t, "Consumers", err, []error{engine.ErrCorrupt}, "jobs", "-3")
	_, err = log.Topics(t.Context())
	wantErr(t, "Topics", err, []error{engine.ErrEncoding, engine.ErrInvalidTopic}, "a/b")

	log = damaged(t, `INSERT INTO consumers VALUES ('jobs', ' ', 3, 0)`)
	_, err = log.Consumers(t.Context(), jobs)
	wantErr(t, "Consumers", err, []error{engine.ErrEncoding, engine.ErrInvalidConsumer}, "jobs")
}

// The original bounds neither topics nor consumers.
func TestNamesThatAreTooLongHideNoOthers(t *testing.T) {
	long := strings.Repeat("x", 256)
	log := damaged(t, strings.Join([]string{
		"INSERT INTO topic_heads VALUES ('" + long + "', 1), ('" + long + "-', 1), ('zz', 1)",
		"INSERT INTO consumers VALUES ('" + long + "', 'a', 1, 0), ('jobs', '" + strings.Repeat("y", 1025) + "', 1, 0)",
		"INSERT INTO consumers VALUES ('jobs', 'z', 1, 0), ('zz', 'z', 1, 0)",
	}, "; "))
	topics, err := log.Topics(t.Context())
	wantErr(t, "Topics", err, []error{engine.ErrEncoding, engine.ErrInvalidTopic}, "xxxx", "and 1 more")
	if fmt.Sprint(topics) != "[jobs zz]" {
		t.Errorf("Topics gave %v", topics)
	}
	topics, err = log.CursorTopics(t.Context())
	wantErr(t, "CursorTopics", err, []error{engine.ErrEncoding, engine.ErrInvalidTopic}, "xxxx")
	if fmt.Sprint(topics) != "[jobs zz]" {
		t.Errorf("CursorTopics gave %v", topics)
	}
	infos, err := log.Consumers(t.Context(), jobs)
	wantErr(t, "Consumers", err, []error{engine.ErrEncoding, engine.ErrInvalidConsumer}, "jobs", "yyyy")
	if len(infos) != 1 || infos[0].Consumer.String() != "z" {
		t.Errorf("Consumers gave %v", infos)
	}
	if _, err := log.Append(t.Context(), jobs, numbered(5)); err != nil {
		t.Error(err)
	}
}

// damaged opens a log of four events after script has changed its database.
func damaged(t *testing.T, script string) *Log {
	t.Helper()
	file := newFile(t)
	log := openLog(t, file, Options{})
	fill(t, log, jobs, 4)
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	for part := range strings.SplitSeq(script, "; REOPEN; ") {
		edit(t, file, strings.Split(part, "; ")...)
	}
	return openLog(t, file, Options{})
}

// rawErr reads topic raw and returns how many events there are before the first
// error.
func rawErr(t *testing.T, log *Log, topic engine.Topic) (n int, err error) {
	t.Helper()
	for _, err := range log.ReadRaw(t.Context(), topic, engine.ReadOptions{}) {
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// A row that is in the way of one topic's appends must not stop the others.
func TestDamageOfOneTopicLeavesOthersAppendable(t *testing.T) {
	for _, sql := range []string{`DELETE FROM topic_heads`, `UPDATE topic_heads SET last_id = -1`, `UPDATE topic_heads SET last_id = 'x'`} {
		t.Run(sql, func(t *testing.T) { checkOtherTopic(t, damaged(t, sql)) })
	}
}

func checkOtherTopic(t *testing.T, log *Log) {
	t.Helper()
	other := engine.MustTopic("other")
	release := hold(t, log)
	outcomes := map[engine.Topic]chan error{jobs: make(chan error, 1), other: make(chan error, 1)}
	for topic, outcome := range outcomes {
		go func() {
			_, err := log.Append(t.Context(), topic, numbered(1))
			outcome <- err
		}()
	}
	queued(t, log, 2)
	release()
	wantErr(t, "Append to the damaged topic", <-outcomes[jobs], []error{engine.ErrCorrupt}, "jobs", "events.sqlite")
	if err := <-outcomes[other]; err != nil {
		t.Errorf("Append to another topic: %v", err)
	}
	wantNumbered(t, log, other, 1, 1)
}

func TestForeignFilesAreRefusedAndNotChanged(t *testing.T) {
	ourTables := strings.Join(createTables, "; ")
	for _, c := range []struct {
		name    string
		content string   // of the file, or
		script  []string // what makes it
		targets []error
		says    string
	}{
		{name: "text", content: strings.Repeat("not a database\n", 100), targets: []error{engine.ErrCorrupt}, says: "not a database"},
		{name: "a short file", content: "x", targets: []error{engine.ErrCorrupt}},
		{name: "a header and nothing else", content: "SQLite format 3\x00" + strings.Repeat("\x00", 2000), targets: []error{engine.ErrCorrupt}},
		{name: "somebody's tables", script: []string{"CREATE TABLE notes (text TEXT)"}, targets: []error{errForeign}, says: "has columns []"},
		{name: "somebody's tables in WAL mode", script: []string{"PRAGMA journal_mode=WAL", "CREATE TABLE notes (text TEXT)"}, targets: []error{errForeign}},
		{name: "somebody's application", script: []string{"PRAGMA application_id=0x47504b47"}, targets: []error{errForeign}, says: "0x47504b47"},
		{name: "ours with somebody's application id", script: append(strings.Split(ourTables, "; "), "PRAGMA application_id=7"), targets: []error{errForeign}, says: "0x7"},
		{name: "a newer version", script: append(strings.Split(ourTables, "; "), "PRAGMA user_version=2"), targets: []error{engine.ErrVersion}, says: "user_version is 2"},
		{name: "a column more", script: append(strings.Split(ourTables, "; "), "ALTER TABLE events ADD COLUMN more TEXT"), targets: []error{errForeign}, says: "table events"},
		{name: "a column less", script: append(strings.Split(ourTables, "; "), "ALTER TABLE consumers DROP COLUMN updated_at_ms"), targets: []error{errForeign}, says: "table consumers"},
		{name: "a column of another type", script: strings.Split(strings.ReplaceAll(ourTables, "last_id INTEGER", "last_id REAL"), "; "), targets: []error{errForeign}, says: "table topic_heads"},
		{name: "another key", script: strings.Split(strings.ReplaceAll(ourTables, "KEY (topic, event_id)", "KEY (event_id, topic)"), "; "), targets: []error{errForeign}, says: "table events"},
		{name: "a table missing", script: createTables[:2], targets: []error{errForeign}, says: "table consumers"},
		{name: "a trigger", script: append(strings.Split(ourTables, "; "), "CREATE TRIGGER t AFTER INSERT ON events BEGIN DELETE FROM topic_heads; END"), targets: []error{errForeign}, says: "trigger"},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := newFile(t)
			if c.script != nil {
				edit(t, file, c.script...)
			} else if err := os.WriteFile(file, []byte(c.content), 0o600); err != nil {
				t.Fatal(err)
			}
			before := contents(t, filepath.Dir(file))
			for _, o := range []Options{{}, {ReadOnly: true}} {
				_, err := Open(file, o)
				wantErr(t, fmt.Sprintf("Open with %+v", o), err, append(c.targets, engine.ErrSQLite), file, c.says)
				if after := contents(t, filepath.Dir(file)); !maps.Equal(before, after) {
					t.Errorf("Open with %+v changed the directory from\n%v\nto\n%v", o, before, after)
				}
			}
		})
	}
}

// A killed application leaves a write-ahead log, which a refused Open must not
// fold into its database.
func TestForeignWriteAheadLogIsNotTouched(t *testing.T) {
	file, live := newFile(t), newFile(t)
	c := openSeed(t, live, false)
	defer c.close()
	c.query("DROP TABLE consumers", nil)
	for _, side := range []string{"", "-wal"} {
		b, err := os.ReadFile(live + side)
		if err == nil {
			err = os.WriteFile(file+side, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	before := contents(t, filepath.Dir(file))
	_, err := Open(file, Options{})
	wantErr(t, "Open", err, []error{engine.ErrSQLite, errForeign}, file, "consumers")
	after := contents(t, filepath.Dir(file))
	for name, content := range before {
		if after[name] != content {
			t.Errorf("%s was changed", name)
		}
	}
}

func TestDirectoryInThePlaceOfTheDatabaseIsRefused(t *testing.T) {
	dir := t.TempDir()
	for _, o := range []Options{{}, {ReadOnly: true}} {
		_, err := Open(dir, o)
		wantErr(t, "Open of a directory", err, []error{engine.ErrSQLite}, dir)
	}
}

func TestMissingDatabaseIsNotMadeByAReadOnlyOpen(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sub", "events.sqlite")
	_, err := Open(file, Options{ReadOnly: true})
	wantErr(t, "Open", err, []error{engine.ErrSQLite, fs.ErrNotExist}, file)
	if _, err := os.Stat(filepath.Dir(file)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the directory was made: %v", err)
	}
}

// Damage of the file is reported wherever SQLite meets it, and never a panic or
// an event that was not appended.
func TestFlippedBytesAreNeverWrongEvents(t *testing.T) {
	file := newFile(t)
	log := openLog(t, file, Options{})
	fill(t, log, jobs, 40)
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	sound, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	refused, failed := 0, 0
	for at := 0; at < len(sound); at += 61 {
		damaged := append([]byte(nil), sound...)
		damaged[at] ^= 0xff
		if err := os.WriteFile(file, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		log, err := Open(file, Options{})
		if err != nil {
			refused++
			continue
		}
		if err := readDamaged(t, log); err != nil {
			failed++
		}
		_ = log.Close() // it may well fail
		for _, side := range []string{"-wal", "-shm"} {
			_ = os.Remove(file + side)
		}
	}
	if refused == 0 || failed == 0 {
		t.Errorf("of %d damaged databases %d were refused and %d failed to read, want some of both", len(sound)/61, refused, failed)
	}
}

// readDamaged returns the error that reading ends with, if there is one. SQLite
// has no checksums: a byte of a value may have changed. Ids must be right.
func readDamaged(t *testing.T, log *Log) error {
	t.Helper()
	next := engine.EventID(1)
	for r, err := range log.Read(t.Context(), jobs, engine.ReadOptions{}) {
		if err != nil {
			if !errors.Is(err, engine.ErrSQLite) && !errors.Is(err, engine.ErrCorrupt) && !errors.Is(err, engine.ErrEncoding) && !errors.Is(err, engine.ErrCompacted) {
				t.Errorf("Read ended with %v", err)
			}
			return err
		}
		if r.ID < next {
			t.Errorf("Read gave event %d after %d", r.ID, next-1)
		}
		next = r.ID + 1
	}
	return nil
}

// contents returns the files of a directory, by name. Nothing may have them open.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, entry := range entries {
		b, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[entry.Name()] = hex.EncodeToString(b)
	}
	return files
}
