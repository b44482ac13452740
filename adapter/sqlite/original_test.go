package sqlite

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	driver "zombiezen.com/go/sqlite"

	"github.com/seglog/seglog/engine"
)

// seed does what the original does, statement by statement and without any code
// of ours. blob is a later version of it, which declares and writes BLOBs, and
// reads both.
type seed struct {
	t    *testing.T
	db   *driver.Conn
	blob bool
}

type seedEvent struct {
	id      int64
	kind    string
	payload string
	headers map[string]string
	at      int64
}

func openSeed(t *testing.T, file string, blob bool) *seed {
	t.Helper()
	db, err := driver.OpenConn(file, driver.OpenReadWrite|driver.OpenCreate)
	if err != nil {
		t.Fatal(err)
	}
	db.SetBusyTimeout(5 * time.Second)
	s := &seed{t, db, blob}
	payload := "TEXT"
	if blob {
		payload = "BLOB"
	}
	for _, sql := range []string{
		"PRAGMA journal_mode = WAL",
		"PRAGMA synchronous = NORMAL",
		"CREATE TABLE IF NOT EXISTS topic_heads (topic TEXT PRIMARY KEY, last_id INTEGER NOT NULL)",
		"CREATE TABLE IF NOT EXISTS events (topic TEXT NOT NULL, event_id INTEGER NOT NULL, kind TEXT NOT NULL, payload " + payload +
			" NOT NULL, headers TEXT NOT NULL, occurred_at_ms INTEGER NOT NULL, PRIMARY KEY (topic, event_id))",
		`CREATE TABLE IF NOT EXISTS consumers (
		    topic TEXT NOT NULL,
		    consumer_id TEXT NOT NULL,
		    cursor INTEGER NOT NULL,
		    updated_at_ms INTEGER NOT NULL,
		    PRIMARY KEY (topic, consumer_id)
		)`,
	} {
		s.query(sql, nil)
	}
	return s
}

func (s *seed) close() {
	s.t.Helper()
	if err := s.db.Close(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *seed) query(sql string, row func(*driver.Stmt), args ...any) {
	s.t.Helper()
	stmt, _, err := s.db.PrepareTransient(sql)
	if err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
	defer stmt.Finalize()
	for i, arg := range args {
		switch v := arg.(type) {
		case int64:
			stmt.BindInt64(i+1, v)
		case string:
			stmt.BindText(i+1, v)
		case []byte:
			stmt.BindBytes(i+1, v)
		}
	}
	for {
		more, err := stmt.Step()
		if err != nil {
			s.t.Fatalf("%s: %v", sql, err)
		}
		if !more {
			return
		}
		if row != nil {
			row(stmt)
		}
	}
}

func (s *seed) append(topic, kind, payload, headers string, at int64) int64 {
	s.t.Helper()
	s.query("BEGIN IMMEDIATE", nil)
	s.query("INSERT OR IGNORE INTO topic_heads(topic, last_id) VALUES (?1, 0)", nil, topic)
	s.query("UPDATE topic_heads SET last_id = last_id + 1 WHERE topic = ?1", nil, topic)
	id, _ := s.latest(topic)
	var value any = payload
	if s.blob {
		value = []byte(payload)
	}
	s.query(`INSERT INTO events(topic, event_id, kind, payload, headers, occurred_at_ms)
		VALUES (?1, ?2, ?3, ?4, ?5, ?6)`, nil, topic, id, kind, value, headers, at)
	s.query("COMMIT", nil)
	return id
}

// readRange refuses what the original's row.get and serde_json refuse.
func (s *seed) readRange(topic string, from, limit int64) (events []seedEvent) {
	s.t.Helper()
	s.query(`SELECT event_id, kind, payload, headers, occurred_at_ms
		FROM events
		WHERE topic = ?1 AND event_id > ?2
		ORDER BY event_id ASC
		LIMIT ?3`, func(stmt *driver.Stmt) {
		types := fmt.Sprint(stmt.ColumnType(0), stmt.ColumnType(1), stmt.ColumnType(3), stmt.ColumnType(4))
		if types != "SQLITE_INTEGER SQLITE_TEXT SQLITE_TEXT SQLITE_INTEGER" {
			s.t.Fatalf("the original cannot read a row of types %s", types)
		}
		if kind := stmt.ColumnType(2); kind != driver.TypeText && !(s.blob && kind == driver.TypeBlob) {
			s.t.Fatalf("the original cannot read a payload of type %v", kind)
		}
		e := seedEvent{id: stmt.ColumnInt64(0), kind: stmt.ColumnText(1), at: stmt.ColumnInt64(4)}
		payload := make([]byte, stmt.ColumnLen(2))
		stmt.ColumnBytes(2, payload)
		e.payload = string(payload)
		if !json.Valid(payload) {
			s.t.Fatalf("the original cannot read payload %q", payload)
		}
		if err := json.Unmarshal([]byte(stmt.ColumnText(3)), &e.headers); err != nil {
			s.t.Fatalf("the original cannot read headers %q: %v", stmt.ColumnText(3), err)
		}
		events = append(events, e)
	}, topic, from, limit)
	return events
}

func (s *seed) ack(topic, consumer string, upTo int64) {
	s.t.Helper()
	s.query(`INSERT INTO consumers(topic, consumer_id, cursor, updated_at_ms)
		VALUES (?1, ?2, ?3, ?4)
		ON CONFLICT(topic, consumer_id)
		DO UPDATE SET cursor = excluded.cursor, updated_at_ms = excluded.updated_at_ms`, nil, topic, consumer, upTo, time.Now().UnixMilli())
}

func (s *seed) cursor(topic, consumer string) (cursor int64, ok bool) {
	s.t.Helper()
	s.query("SELECT cursor FROM consumers WHERE topic = ?1 AND consumer_id = ?2", func(stmt *driver.Stmt) {
		cursor, ok = stmt.ColumnInt64(0), true
	}, topic, consumer)
	return cursor, ok
}

func (s *seed) latest(topic string) (id int64, ok bool) {
	s.t.Helper()
	s.query("SELECT last_id FROM topic_heads WHERE topic = ?1", func(stmt *driver.Stmt) {
		id, ok = stmt.ColumnInt64(0), true
	}, topic)
	return id, ok
}

func (s *seed) compact(topic string, before int64) {
	s.t.Helper()
	s.query("DELETE FROM events WHERE topic = ?1 AND event_id <= ?2", nil, topic, before)
	s.query("PRAGMA wal_checkpoint(TRUNCATE)", nil)
}

// The payload columns that databases of the original have, and whether rows of
// the other type stand in them too.
var seedLayouts = []struct {
	name        string
	blob, mixed bool
}{
	{"TEXT", false, false},
	{"BLOB", true, false},
	{"TEXT with BLOB rows", false, true},
	{"BLOB with TEXT rows", true, true},
}

// writeSeed writes a database as the original does: a topic with events, one
// that was compacted, one that was emptied, and cursors.
func writeSeed(t *testing.T, file string, blob, mixed bool) {
	t.Helper()
	s := openSeed(t, file, blob)
	defer s.close()
	for i := int64(1); i <= 6; i++ {
		if mixed {
			s.blob = i%2 == 0
		}
		s.append("jobs", "numbered", fmt.Sprintf(`{"n": %d}`, i), "{}", i)
		s.append("compacted.topic", "numbered", fmt.Sprintf(`{"n": %d}`, i), "{}", i)
		s.append("emptied", "numbered", fmt.Sprintf(`{"n": %d}`, i), "{}", i)
	}
	s.append("odd", "größe\x00", `{"text":"a\u0000ü","n":1.50e+2,"big":123456789012345678901234567890}`, `{"a":"1","b":"\"ü\n"}`, -5)
	s.compact("compacted.topic", 4)
	s.compact("emptied", 6)
	s.ack("jobs", "worker", 3)
	s.ack("jobs", "a/b", 0)
	s.ack("emptied", "worker", 6)
}

func TestOriginalsDatabaseOpensIsAppendedToAndStaysReadableByIt(t *testing.T) {
	for _, layout := range seedLayouts {
		t.Run(layout.name, func(t *testing.T) {
			file := newFile(t)
			writeSeed(t, file, layout.blob, layout.mixed)
			log := openLog(t, file, Options{})
			checkSeedLog(t, log)
			appendToSeed(t, log)
			if err := log.Close(); err != nil {
				t.Fatal(err)
			}
			checkAppendedByOriginal(t, file, layout.blob, layout.mixed)
		})
	}
}

// checkSeedLog reads what writeSeed wrote.
func checkSeedLog(t *testing.T, log *Log) {
	t.Helper()
	ctx := t.Context()
	compacted, emptied, odd := engine.MustTopic("compacted.topic"), engine.MustTopic("emptied"), engine.MustTopic("odd")
	wantNumbered(t, log, jobs, 1, 6)
	wantNumbered(t, log, compacted, 5, 6)
	wantNumbered(t, log, emptied, 7, 6)
	topics, err := log.Topics(ctx)
	if err != nil || !slices.Equal(topics, []engine.Topic{compacted, emptied, jobs, odd}) {
		t.Errorf("Topics gave %v, %v", topics, err)
	}
	for topic, want := range map[engine.Topic]engine.EventID{jobs: 6, compacted: 6, emptied: 6, odd: 1} {
		if got, ok, err := log.Latest(ctx, topic); got != want || !ok || err != nil {
			t.Errorf("Latest of %s is %d, %v, %v, want %d", topic, got, ok, err, want)
		}
	}
	records, err := engine.ReadRange(ctx, log, odd, 0, engine.NoLimit)
	if err != nil || len(records) != 1 {
		t.Fatalf("Read of odd gave %v, %v", records, err)
	}
	r := records[0]
	if r.Kind != "größe\x00" || r.OccurredAtMS != -5 || r.Position != 0 ||
		string(r.Payload) != `{"text":"a\u0000ü","n":1.50e+2,"big":123456789012345678901234567890}` ||
		!maps.Equal(r.Headers, map[string]string{"a": "1", "b": "\"ü\n"}) {
		t.Errorf("the odd event came back as %+v", r)
	}
	for consumer, want := range map[string]engine.EventID{"worker": 3, "a/b": 0} {
		if got, ok, err := log.Cursor(ctx, jobs, engine.MustConsumerID(consumer)); got != want || !ok || err != nil {
			t.Errorf("Cursor of %s is %d, %v, %v, want %d", consumer, got, ok, err, want)
		}
	}
}

func appendToSeed(t *testing.T, log *Log) {
	t.Helper()
	fill(t, log, jobs, 8)
	fill(t, log, engine.MustTopic("compacted.topic"), 7)
	fill(t, log, engine.MustTopic("emptied"), 7)
	e := engine.Event{Kind: "with headers", Payload: json.RawMessage(` [1, 2] `), Headers: map[string]string{"z": "<&>", "a": "ü\u2028\x01"}, OccurredAtMS: 9}
	if id, err := log.Append(t.Context(), engine.MustTopic("odd"), e); id != 2 || err != nil {
		t.Fatalf("Append gave %d, %v", id, err)
	}
	if err := log.Ack(t.Context(), jobs, engine.MustConsumerID("worker"), 8); err != nil {
		t.Fatal(err)
	}
}

// checkAppendedByOriginal has the original read what appendToSeed added.
func checkAppendedByOriginal(t *testing.T, file string, blob, mixed bool) {
	t.Helper()
	s := openSeed(t, file, blob)
	defer s.close()
	if mixed {
		s.blob = true // only a version that knows both reads such a database
	}
	for topic, want := range map[string][2]int64{"jobs": {1, 8}, "compacted.topic": {5, 7}, "emptied": {7, 7}} {
		events := s.readRange(topic, 0, 100)
		if int64(len(events)) != want[1]-want[0]+1 || events[0].id != want[0] {
			t.Errorf("the original reads %v of %s, want events %d to %d", events, topic, want[0], want[1])
		}
		for _, e := range events {
			if e.payload != fmt.Sprintf(`{"n": %d}`, e.id) || e.at != e.id || len(e.headers) != 0 {
				t.Errorf("the original reads %+v of %s", e, topic)
			}
		}
		if latest, ok := s.latest(topic); latest != want[1] || !ok {
			t.Errorf("the original sees latest %d of %s, want %d", latest, topic, want[1])
		}
	}
	last := s.readRange("odd", 1, 1)[0]
	if last.payload != ` [1, 2] ` || !maps.Equal(last.headers, map[string]string{"z": "<&>", "a": "ü\u2028\x01"}) {
		t.Errorf("the original reads %+v", last)
	}
	if cursor, ok := s.cursor("jobs", "worker"); cursor != 8 || !ok {
		t.Errorf("the original sees cursor %d, %v, want 8", cursor, ok)
	}
	want := "text"
	if blob {
		want = "blob"
	}
	s.query("SELECT typeof(payload) FROM events WHERE topic = 'jobs' AND event_id > 6", func(stmt *driver.Stmt) {
		if got := stmt.ColumnText(0); got != want {
			t.Errorf("a new row has a payload of type %s, want the declared %s", got, want)
		}
	})
	if id := s.append("jobs", "k", "null", "{}", 1); id != 9 {
		t.Errorf("the original appends event %d, want 9", id)
	}
}

func TestNewDatabaseIsTheOriginals(t *testing.T) {
	file := newFile(t)
	log := openLog(t, file, Options{})
	fill(t, log, jobs, 3)
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	other := newFile(t)
	openSeed(t, other, false).close()
	if ours, theirs := describeSchema(t, file), describeSchema(t, other); ours != theirs {
		t.Errorf("our database has\n%s\nthe original's\n%s", ours, theirs)
	}
	s := openSeed(t, file, false)
	defer s.close()
	if events := s.readRange("jobs", 0, 100); len(events) != 3 {
		t.Errorf("the original reads %v", events)
	}
}

// describeSchema says what a reader of the database can tell of it.
func describeSchema(t *testing.T, file string) string {
	t.Helper()
	db, err := driver.OpenConn(file, driver.OpenReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	s := &seed{t: t, db: db}
	var out bytes.Buffer
	row := func(stmt *driver.Stmt) {
		for i := range stmt.ColumnCount() {
			fmt.Fprintf(&out, "%s|", stmt.ColumnText(i))
		}
		fmt.Fprintln(&out)
	}
	for _, pragma := range []string{"journal_mode", "application_id", "user_version", "encoding", "page_size", "auto_vacuum", "schema_version"} {
		fmt.Fprint(&out, pragma, "=")
		s.query("PRAGMA "+pragma, row)
	}
	s.query("SELECT type, name, tbl_name FROM sqlite_schema ORDER BY name", row)
	for _, table := range []string{"topic_heads", "events", "consumers"} {
		s.query("SELECT * FROM pragma_table_xinfo(?1)", row, table)
		s.query("SELECT * FROM pragma_index_list(?1)", row, table)
	}
	return out.String()
}

func TestOriginalAndOursTakeTurnsOnAnOpenDatabase(t *testing.T) {
	file := newFile(t)
	log := openLog(t, file, Options{})
	s := openSeed(t, file, false)
	defer s.close()
	live := pull(t, 0, log.Subscribe(testContext(t), jobs, engine.SubscribeOptions{}))
	for id := engine.EventID(1); id <= 20; id += 2 {
		fill(t, log, jobs, id)
		if got := s.append("jobs", "numbered", fmt.Sprintf(`{"n": %d}`, id+1), "{}", int64(id+1)); got != int64(id+1) {
			t.Fatalf("the original appends event %d, want %d", got, id+1)
		}
		live.take(id + 1)
	}
	wantNumbered(t, log, jobs, 1, 20)
	if got := len(s.readRange("jobs", 0, 100)); got != 20 {
		t.Errorf("the original reads %d events, want 20", got)
	}
	_, err := log.Append(t.Context(), jobs, numbered(21), engine.ExpectLatest(19))
	if conflict := new(engine.ConflictError); !errors.As(err, &conflict) || conflict.Latest != 20 {
		t.Errorf("Append expecting 19 gave %v, want a conflict with 20", err)
	}
}
