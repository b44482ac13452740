package sqlite

import (
	"fmt"
	"math"
	"strings"

	driver "zombiezen.com/go/sqlite"

	"github.com/seglog/seglog/engine"
)

// transaction is what a group writes: heads are read once and written once a
// topic, and rows are inserted many at a time.
type transaction struct {
	conn *conn
	blob bool  // new payloads are blobs
	err  error // of SQLite: the whole group fails

	heads   map[engine.Topic]*head
	changed []*head // those to be written, in the order in which they changed
	rows    []row   // not inserted yet
}

// head is a topic's latest id.
type head struct {
	topic   engine.Topic
	latest  int64
	changed bool
}

// maxID is the highest id that the database's integers can hold.
const maxID = math.MaxInt64

func (t *transaction) reset(c *conn) {
	t.conn, t.err = c, nil
	clear(t.heads)
	clear(t.rows)
	t.changed, t.rows = t.changed[:0], t.rows[:0]
}

// head returns the topic's head; latest is 0 where the topic is not there.
func (t *transaction) head(topic engine.Topic) (*head, error) {
	if h := t.heads[topic]; h != nil {
		return h, nil
	}
	latest, err := t.conn.latest(topic)
	if err != nil {
		return nil, t.fail(err)
	}
	h := &head{topic: topic, latest: latest}
	t.heads[topic] = h
	return h, nil
}

// fail remembers an error that no part of the group survives.
func (t *transaction) fail(err error) error {
	if t.err == nil {
		t.err = err
	}
	return err
}

// append adds rows behind h, and gives them their ids. There is room for them:
// see roomFor.
func (t *transaction) append(h *head, rows []row) {
	for i := range rows {
		h.latest++
		rows[i].id = h.latest
	}
	t.rows = append(t.rows, rows...)
	t.setChanged(h)
}

func (t *transaction) setChanged(h *head) {
	if !h.changed {
		h.changed = true
		t.changed = append(t.changed, h)
	}
}

// roomFor refuses ids above what the database can hold.
func roomFor(latest, count int64) error {
	if count > maxID-latest {
		return fmt.Errorf("%w: %d more events after event %d: ids end at %d", engine.ErrTooLarge, count, latest, int64(maxID))
	}
	return nil
}

// exec runs sql; its error is the group's.
func (t *transaction) exec(sql string, args ...any) error {
	if err := t.conn.exec(sql, args...); err != nil {
		return t.fail(err)
	}
	return nil
}

// finish writes what is left to write.
func (t *transaction) finish() error {
	t.insertRows()
	for _, h := range t.changed {
		if t.err != nil {
			break
		}
		_ = t.exec(`INSERT INTO topic_heads(topic, last_id) VALUES (?1, ?2)
			ON CONFLICT(topic) DO UPDATE SET last_id = excluded.last_id`, h.topic.String(), h.latest)
	}
	return t.err
}

const (
	rowColumns = 6
	// manyRows is how many rows one statement inserts: sixteen cost a third less
	// than one by one, and more gain nothing.
	manyRows = 16
)

var (
	insertOne  = insertSQL(1)
	insertMany = insertSQL(manyRows)
)

func insertSQL(rows int) string {
	return "INSERT INTO events(topic, event_id, kind, payload, headers, occurred_at_ms) VALUES " +
		strings.TrimSuffix(strings.Repeat("(?,?,?,?,?,?),", rows), ",")
}

// insertRows writes the rows that have gathered.
func (t *transaction) insertRows() {
	rest := t.rows
	for len(rest) > 0 && t.err == nil {
		sql, n := insertOne, 1
		if len(rest) >= manyRows {
			sql, n = insertMany, manyRows
		}
		if err := t.insert(sql, rest[:n]); err != nil {
			_ = t.fail(err)
		}
		rest = rest[n:]
	}
	clear(t.rows) // lets go of the payloads
	t.rows = t.rows[:0]
}

func (t *transaction) insert(sql string, rows []row) error {
	stmt, err := t.conn.prepare(sql)
	if err != nil {
		return err
	}
	for i := range rows {
		t.bind(stmt, 1+i*rowColumns, &rows[i])
	}
	if _, err := stmt.Step(); err != nil {
		return classify(err, t.conn.file)
	}
	err = stmt.Reset()
	if err == nil {
		err = stmt.ClearBindings() // lets go of the payloads
	}
	if err != nil {
		return classify(err, t.conn.file)
	}
	return nil
}

func (t *transaction) bind(stmt *driver.Stmt, first int, r *row) {
	stmt.BindText(first, r.topic)
	stmt.BindInt64(first+1, r.id)
	stmt.BindText(first+2, r.kind)
	if t.blob {
		stmt.BindBytes(first+3, []byte(r.payload))
	} else {
		stmt.BindText(first+3, r.payload)
	}
	stmt.BindText(first+4, r.headers)
	stmt.BindInt64(first+5, r.at)
}
