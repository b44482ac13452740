package sqlite

import (
	"context"
	"fmt"
	"time"

	driver "zombiezen.com/go/sqlite"

	"github.com/seglog/seglog/engine"
)

const (
	// busyTimeout is how long a statement waits for another connection's lock.
	busyTimeout = 5 * time.Second
	// busyRetry is how often a writer asks for the write lock. SQLite's own
	// handler soon asks ten times a second only, and then never meets the short
	// moment between two transactions of a busy process.
	busyRetry = 500 * time.Microsecond
)

// conn is one connection. It is used by one goroutine at a time.
type conn struct {
	db    *driver.Conn
	file  string
	busy  time.Duration // how long it waits for another connection's lock
	stmts map[string]*driver.Stmt
}

// openConn opens a connection, and sets what every connection has.
func openConn(file string, flags driver.OpenFlags) (*conn, error) {
	return openConnAs(file, file, flags)
}

// openConnAs is openConn under a name that SQLite takes for that of file.
func openConnAs(name, file string, flags driver.OpenFlags) (*conn, error) {
	db, err := driver.OpenConn(name, flags)
	if err != nil {
		return nil, classify(err, file)
	}
	db.SetBusyTimeout(busyTimeout) // before anything that may wait
	c := &conn{db: db, file: file, busy: busyTimeout, stmts: map[string]*driver.Stmt{}}
	if err := c.setUp(); err != nil {
		_ = c.close() // the first error says more
		return nil, err
	}
	return c, nil
}

// setUp leaves SQLite's defensive mode alone: the driver's SetDefensive (v1.4.2)
// hands SQLite one argument too few, and SQLite then writes a 1 to wherever the
// memory behind it points: into another connection's data, for instance.
func (c *conn) setUp() error {
	// A schema that somebody prepared must not run functions of ours, and a
	// damaged page must be refused rather than followed.
	for _, pragma := range []string{"PRAGMA trusted_schema=OFF", "PRAGMA cell_size_check=ON"} {
		if err := c.pragma(pragma); err != nil {
			return err
		}
	}
	return nil
}

func (c *conn) close() error {
	if err := c.db.Close(); err != nil {
		return fmt.Errorf("%w: %w", engine.ErrSQLite, err)
	}
	return nil
}

// pragma runs a pragma that takes effect as it is compiled, and so must not be
// prepared once for all.
func (c *conn) pragma(sql string) error {
	stmt, _, err := c.db.PrepareTransient(sql)
	if err != nil {
		return classify(err, c.file)
	}
	defer stmt.Finalize() //nolint:errcheck // it repeats the error of Step
	if _, err := stmt.Step(); err != nil {
		return classify(err, c.file)
	}
	return nil
}

// prepare returns the statement, compiled once for this connection. Parameters
// keep their values until they are set again: clearing them would make SQLite
// compile the statement once more.
func (c *conn) prepare(sql string) (*driver.Stmt, error) {
	if stmt := c.stmts[sql]; stmt != nil {
		return stmt, nil
	}
	stmt, err := c.db.Prepare(sql)
	if err != nil {
		return nil, classify(err, c.file)
	}
	c.stmts[sql] = stmt
	return stmt, nil
}

// exec runs sql, whose parameters are args: int64 or string.
func (c *conn) exec(sql string, args ...any) error {
	return c.query(sql, func(*driver.Stmt) (bool, error) { return true, nil }, args...)
}

// query is exec for sql that returns rows. row is called for each until it
// returns false or an error. The statement is done when query returns, so that
// nothing holds a snapshot of the database open.
func (c *conn) query(sql string, row func(*driver.Stmt) (more bool, err error), args ...any) error {
	stmt, err := c.prepare(sql)
	if err != nil {
		return err
	}
	for i, arg := range args {
		switch v := arg.(type) {
		case int64:
			stmt.BindInt64(i+1, v)
		case string:
			stmt.BindText(i+1, v)
		default:
			panic(fmt.Sprintf("parameter %d of %q is a %T", i+1, sql, arg))
		}
	}
	for {
		found, err := stmt.Step()
		if err != nil {
			return classify(err, c.file) // Step has reset the statement
		}
		if !found {
			break
		}
		more, err := row(stmt)
		if err != nil || !more {
			_ = stmt.Reset() // it repeats the error of Step, which had none
			return err
		}
	}
	if err := stmt.Reset(); err != nil {
		return classify(err, c.file)
	}
	return nil
}

// integer runs sql, which returns one integer in one row, null, or no row.
func (c *conn) integer(sql string, args ...any) (value int64, found bool, err error) {
	err = c.query(sql, func(stmt *driver.Stmt) (bool, error) {
		switch t := stmt.ColumnType(0); t {
		case driver.TypeInteger:
			value, found = stmt.ColumnInt64(0), true
		case driver.TypeNull:
		default:
			return false, corrupt(c.file, "", 0, "%q gives a value of type %v, want an integer", sql, t)
		}
		return false, nil
	}, args...)
	return value, found, err
}

// beginImmediate starts a transaction that holds the write lock, for which it
// waits as long as for any other.
func (c *conn) beginImmediate() error {
	c.db.SetBusyTimeout(0)
	defer c.db.SetBusyTimeout(c.busy)
	return c.insist(func() error { return c.exec("BEGIN IMMEDIATE") })
}

// insist tries as long as the database is busy, and the connection waits. It
// counts what it has slept and not the time that has passed, which means nothing
// after the process was suspended.
func (c *conn) insist(try func() error) error {
	for slept := time.Duration(0); ; slept += busyRetry {
		err := try()
		if driver.ErrCode(err).ToPrimary() != driver.ResultBusy || slept >= c.busy {
			return err
		}
		time.Sleep(busyRetry)
	}
}

func (c *conn) commit() error { return c.exec("COMMIT") }

// rollback ends the transaction after an error, unless SQLite has already.
func (c *conn) rollback() {
	if !c.db.AutocommitEnabled() {
		_ = c.exec("ROLLBACK") // it fails where there is nothing left to roll back
	}
}

// immediate runs change in a transaction of its own that holds the write lock.
func (c *conn) immediate(change func() error) error {
	err := c.beginImmediate()
	if err != nil {
		return err
	}
	if err = change(); err == nil {
		err = c.commit()
	}
	if err != nil {
		c.rollback()
	}
	return err
}

// checkpoint copies the write-ahead log into the database as mode says: FULL or
// TRUNCATE. done is false where a reader, or another process's checkpoint, was
// still in the way after wait; until then no other connection can append.
func (c *conn) checkpoint(mode string, wait time.Duration) (done bool, err error) {
	c.db.SetBusyTimeout(wait)
	defer c.db.SetBusyTimeout(c.busy)
	busy, _, err := c.integer("PRAGMA wal_checkpoint(" + mode + ")")
	if driver.ErrCode(err).ToPrimary() == driver.ResultBusy {
		return false, nil
	}
	return err == nil && busy == 0, err
}

// synchronous is SQLite's name for a sync policy.
func synchronous(policy engine.SyncPolicy) string {
	if policy == engine.SyncAlways {
		return "FULL"
	}
	return "NORMAL"
}

func (c *conn) setSync(policy engine.SyncPolicy) error {
	return c.pragma("PRAGMA synchronous=" + synchronous(policy))
}

// syncWAL makes everything durable that was committed, by anybody and under any
// sync policy: it commits a change of nothing, with a sync behind it. policy is
// the connection's own.
func (c *conn) syncWAL(policy engine.SyncPolicy) error {
	if err := c.setSync(engine.SyncAlways); err != nil {
		return err
	}
	defer c.setSync(policy) //nolint:errcheck // FULL is always safe
	return c.immediate(func() error { return c.exec("PRAGMA user_version=0") })
}

// pool is the connections that readers share, opened when they are needed.
type pool struct {
	open   func() (*conn, error)
	slots  chan *conn    // nil: not opened yet
	closed chan struct{} // closed when the log closes
}

// readersMax is how many reads of a page go on at once.
const readersMax = 4

func newPool(open func() (*conn, error), closed chan struct{}) *pool {
	p := &pool{open: open, slots: make(chan *conn, readersMax), closed: closed}
	for range readersMax {
		p.slots <- nil
	}
	return p
}

// with lends a connection to do, which must neither keep it nor call anything
// that waits for another one.
func (p *pool) with(ctx context.Context, do func(*conn) error) error {
	select { // these go first
	case <-p.closed:
		return engine.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	default:
	}
	var c *conn
	select {
	case <-p.closed:
		return engine.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	case c = <-p.slots:
	}
	defer func() { p.slots <- c }()
	if c == nil {
		var err error
		if c, err = p.open(); err != nil {
			c = nil
			return err
		}
	}
	return do(c)
}

// close waits for readers and closes their connections. Later ones are refused
// because closed is closed already.
func (p *pool) close() error {
	var first error
	for range readersMax {
		if c := <-p.slots; c != nil {
			if err := c.close(); first == nil {
				first = err
			}
		}
	}
	return first
}
