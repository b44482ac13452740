package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"strings"
	"sync"
	"time"

	_ "github.com/ncruces/go-sqlite3/driver" // sqlite3
	_ "modernc.org/sqlite"                   // sqlite

	"github.com/seglog/seglog/bench"
	"github.com/seglog/seglog/engine"
)

// sqliteDriver is one of the two drivers in pure Go.
type sqliteDriver struct{ name, sqlName, module string }

var (
	modernc = sqliteDriver{"modernc", "sqlite", "modernc.org/sqlite"}
	ncruces = sqliteDriver{"ncruces", "sqlite3", "github.com/ncruces/go-sqlite3"}
)

// sqliteStore works as the SQLite backend that seglog takes the place of: one
// connection, in WAL mode, and an immediate transaction for each append. The
// original runs with synchronous=NORMAL, which does not sync a commit.
func sqliteStore(driver sqliteDriver, synchronous string) store {
	s := store{
		Store: bench.Store{
			Name: driver.name + "-" + strings.ToLower(synchronous),
			Open: func(dir string, setup bench.Setup) (engine.EventLog, error) {
				if setup.Sync != engine.SyncAlways {
					return openSQLite(driver, dir, "OFF")
				}
				return openSQLite(driver, dir, synchronous)
			},
		},
		module:  driver.module,
		durable: synchronous == "FULL",
		note:    "WAL mode, one connection, an immediate transaction for each append or batch, synchronous=" + synchronous,
	}
	if s.durable {
		s.rows = []string{"append", "batch", "payload", "ack"} // the others are those of NORMAL
	} else {
		s.note += ": a commit is not on disk when it returns"
	}
	return s
}

const sqliteSchema = `
CREATE TABLE IF NOT EXISTS topic_heads (
	topic TEXT PRIMARY KEY,
	last_id INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS events (
	topic TEXT NOT NULL,
	event_id INTEGER NOT NULL,
	kind TEXT NOT NULL,
	payload TEXT NOT NULL,
	headers TEXT NOT NULL,
	occurred_at_ms INTEGER NOT NULL,
	PRIMARY KEY (topic, event_id)
);
CREATE TABLE IF NOT EXISTS consumers (
	topic TEXT NOT NULL,
	consumer_id TEXT NOT NULL,
	cursor INTEGER NOT NULL,
	updated_at_ms INTEGER NOT NULL,
	PRIMARY KEY (topic, consumer_id)
);`

type sqliteLog struct {
	base
	db *sql.DB

	mu   sync.Mutex // guards the fields below: one connection, as in the original
	conn *sql.Conn

	begin, commit, rollback       *sql.Stmt
	newHead, moveHead, head       *sql.Stmt
	insert, read                  *sql.Stmt
	ack, remove, count            *sql.Stmt
	checkpointFull, checkpointAll *sql.Stmt
}

func openSQLite(driver sqliteDriver, dir, synchronous string) (engine.EventLog, error) {
	dsn := fmt.Sprintf("file:%s?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(%s)",
		filepath.ToSlash(filepath.Join(dir, "events.sqlite")), synchronous)
	db, err := sql.Open(driver.sqlName, dsn)
	if err != nil {
		return nil, err
	}
	s := &sqliteLog{base: base{driver.name}, db: db}
	if s.conn, err = db.Conn(context.Background()); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if err := s.prepare(context.Background()); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *sqliteLog) prepare(ctx context.Context) error {
	if _, err := s.conn.ExecContext(ctx, sqliteSchema); err != nil {
		return err
	}
	for _, statement := range s.statements() {
		prepared, err := s.conn.PrepareContext(ctx, statement.text)
		if err != nil {
			return fmt.Errorf("prepare %s: %w", statement.text, err)
		}
		*statement.to = prepared
	}
	return nil
}

type sqliteStatement struct {
	to   **sql.Stmt
	text string
}

func (s *sqliteLog) statements() []sqliteStatement {
	return []sqliteStatement{
		{&s.begin, `BEGIN IMMEDIATE`},
		{&s.commit, `COMMIT`},
		{&s.rollback, `ROLLBACK`},
		{&s.newHead, `INSERT OR IGNORE INTO topic_heads(topic, last_id) VALUES (?1, 0)`},
		{&s.moveHead, `UPDATE topic_heads SET last_id = last_id + ?2 WHERE topic = ?1`},
		{&s.head, `SELECT last_id FROM topic_heads WHERE topic = ?1`},
		{&s.insert, `INSERT INTO events(topic, event_id, kind, payload, headers, occurred_at_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)`},
		{&s.read, `SELECT event_id, kind, payload, headers, occurred_at_ms FROM events WHERE topic = ?1 AND event_id > ?2 ORDER BY event_id LIMIT ?3`},
		{&s.ack, `INSERT INTO consumers(topic, consumer_id, cursor, updated_at_ms) VALUES (?1, ?2, ?3, ?4)
			ON CONFLICT(topic, consumer_id) DO UPDATE SET cursor = excluded.cursor, updated_at_ms = excluded.updated_at_ms`},
		{&s.remove, `DELETE FROM events WHERE topic = ?1 AND event_id <= ?2`},
		{&s.count, `SELECT count(*) FROM events WHERE topic = ?1`},
		{&s.checkpointFull, `PRAGMA wal_checkpoint(FULL)`},
		{&s.checkpointAll, `PRAGMA wal_checkpoint(TRUNCATE)`},
	}
}

func (s *sqliteLog) Append(ctx context.Context, topic engine.Topic, event engine.Event, _ ...engine.AppendOption) (engine.EventID, error) {
	first, _, err := s.AppendBatch(ctx, topic, []engine.Event{event})
	return first, err
}

func (s *sqliteLog) AppendBatch(ctx context.Context, topic engine.Topic, events []engine.Event, _ ...engine.AppendOption) (first, last engine.EventID, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.begin.ExecContext(ctx); err != nil {
		return 0, 0, err
	}
	if last, err = s.appendLocked(ctx, topic.String(), events); err != nil {
		_, failed := s.rollback.ExecContext(ctx)
		return 0, 0, errors.Join(err, failed)
	}
	_, err = s.commit.ExecContext(ctx)
	return last - engine.EventID(len(events)) + 1, last, err
}

func (s *sqliteLog) appendLocked(ctx context.Context, topic string, events []engine.Event) (last engine.EventID, err error) {
	if _, err := s.newHead.ExecContext(ctx, topic); err != nil {
		return 0, err
	}
	if _, err := s.moveHead.ExecContext(ctx, topic, len(events)); err != nil {
		return 0, err
	}
	if err := s.head.QueryRowContext(ctx, topic).Scan(&last); err != nil {
		return 0, err
	}
	id := last - engine.EventID(len(events))
	for i := range events {
		id++
		headers := "{}"
		if len(events[i].Headers) > 0 {
			text, err := json.Marshal(events[i].Headers)
			if err != nil {
				return 0, err
			}
			headers = string(text)
		}
		if _, err := s.insert.ExecContext(ctx, topic, int64(id), events[i].Kind, string(events[i].Payload), headers, events[i].OccurredAtMS); err != nil {
			return 0, err
		}
	}
	return last, nil
}

// rows yields the rows of a read, positioned to be scanned.
func (s *sqliteLog) rows(ctx context.Context, topic engine.Topic, opts engine.ReadOptions) iter.Seq2[*sql.Rows, error] {
	return func(yield func(*sql.Rows, error) bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		limit := -1
		if opts.Limit > 0 {
			limit = opts.Limit
		}
		rows, err := s.read.QueryContext(ctx, topic.String(), int64(opts.After), limit)
		if err != nil {
			yield(nil, err)
			return
		}
		defer rows.Close()
		for rows.Next() {
			if !yield(rows, nil) {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(nil, err)
		}
	}
}

func (s *sqliteLog) Read(ctx context.Context, topic engine.Topic, opts engine.ReadOptions) iter.Seq2[engine.Record, error] {
	return func(yield func(engine.Record, error) bool) {
		for rows, err := range s.rows(ctx, topic, opts) {
			record := engine.Record{Topic: topic}
			if err == nil {
				err = scanRecord(rows, &record)
			}
			if !yield(record, err) || err != nil {
				return
			}
		}
	}
}

func scanRecord(rows *sql.Rows, record *engine.Record) error {
	var headers sql.RawBytes
	var payload []byte
	var id int64 // scanned without a conversion
	if err := rows.Scan(&id, &record.Kind, &payload, &headers, &record.OccurredAtMS); err != nil {
		return err
	}
	record.ID, record.Payload, record.Headers = engine.EventID(id), payload, map[string]string{}
	if string(headers) == "{}" {
		return nil
	}
	return json.Unmarshal(headers, &record.Headers)
}

func (s *sqliteLog) ReadRaw(ctx context.Context, topic engine.Topic, opts engine.ReadOptions) iter.Seq2[engine.RawRecord, error] {
	return func(yield func(engine.RawRecord, error) bool) {
		for rows, err := range s.rows(ctx, topic, opts) {
			var r engine.RawRecord
			var kind, payload, headers sql.RawBytes
			if err == nil {
				var id int64
				err = rows.Scan(&id, &kind, &payload, &headers, &r.OccurredAtMS)
				r.ID, r.Kind, r.Payload = engine.EventID(id), kind, payload
			}
			if !yield(r, err) || err != nil {
				return
			}
		}
	}
}

func (s *sqliteLog) Ack(ctx context.Context, topic engine.Topic, consumer engine.ConsumerID, upTo engine.EventID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := s.ack.ExecContext(ctx, topic.String(), consumer.String(), int64(upTo), time.Now().UnixMilli())
	return err
}

func (s *sqliteLog) Latest(ctx context.Context, topic engine.Topic) (latest engine.EventID, ok bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	err = s.head.QueryRowContext(ctx, topic.String()).Scan(&latest)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, false, nil
	}
	return latest, err == nil, err
}

// Compact deletes, counts what is left and folds the WAL back, as the original
// does.
func (s *sqliteLog) Compact(ctx context.Context, topic engine.Topic, before engine.EventID) (report engine.CompactReport, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	result, err := s.remove.ExecContext(ctx, topic.String(), int64(before))
	if err != nil {
		return report, err
	}
	removed, err := result.RowsAffected()
	if err != nil {
		return report, err
	}
	report.Removed = uint64(removed)
	if err := s.count.QueryRowContext(ctx, topic.String()).Scan(&report.Remaining); err != nil {
		return report, err
	}
	_, err = s.checkpointAll.ExecContext(ctx)
	report.Checkpointed = err == nil
	return report, err
}

func (s *sqliteLog) Flush(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := s.checkpointFull.ExecContext(ctx)
	return err
}

// Close closes the statements first: a connection that has some stays open.
func (s *sqliteLog) Close() error {
	var errs []error
	for _, statement := range s.statements() {
		if prepared := *statement.to; prepared != nil {
			errs = append(errs, prepared.Close())
		}
	}
	return errors.Join(append(errs, s.conn.Close(), s.db.Close())...)
}
