package sqlite

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	driver "zombiezen.com/go/sqlite"

	"github.com/seglog/seglog/engine"
)

// The original's schema, see FORMAT.md. Databases of other versions declare
// payload as BLOB; they are read and written all the same.
var createTables = []string{
	`CREATE TABLE IF NOT EXISTS topic_heads (
		topic TEXT PRIMARY KEY,
		last_id INTEGER NOT NULL
	)`,
	`CREATE TABLE IF NOT EXISTS events (
		topic TEXT NOT NULL,
		event_id INTEGER NOT NULL,
		kind TEXT NOT NULL,
		payload TEXT NOT NULL,
		headers TEXT NOT NULL,
		occurred_at_ms INTEGER NOT NULL,
		PRIMARY KEY (topic, event_id)
	)`,
	`CREATE TABLE IF NOT EXISTS consumers (
		topic TEXT NOT NULL,
		consumer_id TEXT NOT NULL,
		cursor INTEGER NOT NULL,
		updated_at_ms INTEGER NOT NULL,
		PRIMARY KEY (topic, consumer_id)
	)`,
}

// column is what the schema says of a column; key is its place in the primary
// key, from 1.
type column struct {
	name, kind string
	notNull    bool
	key        int
}

var wantTables = map[string][]column{
	"topic_heads": {{"topic", "TEXT", false, 1}, {"last_id", "INTEGER", true, 0}},
	"events": {
		{"topic", "TEXT", true, 1},
		{"event_id", "INTEGER", true, 2},
		{"kind", "TEXT", true, 0},
		{"payload", "TEXT", true, 0}, // or BLOB
		{"headers", "TEXT", true, 0},
		{"occurred_at_ms", "INTEGER", true, 0},
	},
	"consumers": {
		{"topic", "TEXT", true, 1},
		{"consumer_id", "TEXT", true, 2},
		{"cursor", "INTEGER", true, 0},
		{"updated_at_ms", "INTEGER", true, 0},
	},
}

// layout is what differs between databases that hold a log.
type layout struct {
	empty       bool // there is no table yet
	blobPayload bool // the payload column is declared as BLOB
}

// errForeign: the database is somebody else's.
var errForeign = errors.New("not an event log's database")

// inspect finds out what is in the database, and refuses what is not a log. It
// changes nothing.
func (c *conn) inspect() (l layout, err error) {
	application, _, err := c.integer("PRAGMA application_id")
	if err != nil {
		return l, err
	}
	if application != 0 {
		return l, foreign("application_id is %#x, want 0", uint32(application))
	}
	version, _, err := c.integer("PRAGMA user_version")
	if err != nil {
		return l, err
	}
	if version != 0 {
		return l, fmt.Errorf("%w: %w: user_version is %d, want 0", engine.ErrSQLite, engine.ErrVersion, version)
	}
	tables, _, err := c.integer("SELECT count(*) FROM sqlite_schema")
	if err != nil || tables == 0 {
		return layout{empty: err == nil}, err
	}
	for table, want := range wantTables {
		got, err := c.columns(table)
		if err != nil {
			return l, err
		}
		if table == "events" && len(got) > 3 && got[3].kind == "BLOB" {
			l.blobPayload = true
			got[3].kind = "TEXT"
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			return l, foreign("table %s has columns %v, want %v", table, got, want)
		}
		triggers, _, err := c.integer("SELECT count(*) FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ?1 COLLATE NOCASE", table)
		if err != nil {
			return l, err
		}
		if triggers > 0 {
			return l, foreign("table %s has %d triggers, want none", table, triggers)
		}
	}
	return l, nil
}

func foreign(format string, args ...any) error {
	return fmt.Errorf("%w: %w: %s", engine.ErrSQLite, errForeign, fmt.Sprintf(format, args...))
}

func (c *conn) columns(table string) (columns []column, err error) {
	const sql = `SELECT name, upper(type), "notnull", pk FROM pragma_table_xinfo(?1) ORDER BY cid`
	err = c.query(sql, func(stmt *driver.Stmt) (bool, error) {
		columns = append(columns, column{stmt.ColumnText(0), stmt.ColumnText(1), stmt.ColumnBool(2), stmt.ColumnInt(3)})
		return true, nil
	}, table)
	return columns, err
}

// create makes the tables of a database that has none.
func (c *conn) create() error {
	return c.immediate(func() error {
		for _, sql := range createTables {
			if err := c.exec(sql); err != nil {
				return err
			}
		}
		return nil
	})
}

// setWAL switches the database to write-ahead logging, which it then keeps.
// Processes that open a new database at the same time are in each other's way
// without waiting for the busy timeout, so this does.
func (c *conn) setWAL() error {
	return c.insist(func() error {
		mode, err := c.journalMode("PRAGMA journal_mode=WAL")
		if err == nil && mode != "wal" {
			return fmt.Errorf("%w: journal mode is %q, want wal", engine.ErrSQLite, mode)
		}
		return err
	})
}

// journalMode returns what the pragma says the journal mode is now.
func (c *conn) journalMode(pragma string) (mode string, err error) {
	err = c.query(pragma, func(stmt *driver.Stmt) (bool, error) {
		mode = stmt.ColumnText(0)
		return false, nil
	})
	return mode, err
}

// smallestPage is the least that a database with anything in it takes, in bytes.
const smallestPage = 512

// inspectFile refuses a file that does not hold a log before anything opens it
// for writing: even closing a connection that may write can change a database.
func inspectFile(file string) (l layout, err error) {
	size, err := fileSize(file)
	if err != nil || size == 0 {
		return layout{empty: err == nil}, err
	}
	if size < smallestPage {
		// SQLite would take it for an empty database, and overwrite it.
		return l, fmt.Errorf("%w: %w", engine.ErrSQLite, corrupt(file, "", 0, "the file has %d bytes, a database has %d at least", size, smallestPage))
	}
	logged, err := fileSize(file + "-wal")
	if err != nil {
		return l, err
	}
	// Without a write-ahead log all is in the file itself, and reading it so
	// leaves nothing beside it.
	name, flags := immutable(file), driver.OpenReadOnly|driver.OpenURI
	if logged > 0 {
		name, flags = file, driver.OpenReadOnly
	}
	c, err := openConnAs(name, file, flags)
	if err != nil {
		return l, err
	}
	defer c.close() // it has only read
	return c.inspect()
}

// immutable is the name under which SQLite reads a file as if nobody ever wrote
// to it.
func immutable(file string) string {
	u := url.URL{Scheme: "file", Path: "/" + strings.TrimPrefix(filepath.ToSlash(file), "/"), RawQuery: "immutable=1"}
	return u.String()
}

// fileSize is 0 for a file that does not exist. It does not open the file: to
// close it again would drop SQLite's locks.
func fileSize(file string) (uint64, error) {
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("%w: %w", engine.ErrIO, err)
	}
	return uint64(info.Size()), nil
}
