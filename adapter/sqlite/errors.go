package sqlite

import (
	"errors"
	"fmt"
	"path/filepath"

	driver "zombiezen.com/go/sqlite"

	"github.com/seglog/seglog/engine"
)

// classify makes an error of SQLite's match [engine.ErrSQLite], and what else
// it is. file names the database in errors about its bytes.
func classify(err error, file string) error {
	switch code := driver.ErrCode(err); code.ToPrimary() {
	case driver.ResultFull:
		return fmt.Errorf("%w: %w: %w", engine.ErrSQLite, engine.ErrNoSpace, err)
	case driver.ResultReadOnly:
		return fmt.Errorf("%w: %w: %w", engine.ErrSQLite, engine.ErrReadOnly, err)
	case driver.ResultIOErr:
		if code == driver.ResultIOErrSHMSize {
			// The index of the write-ahead log cannot grow; nothing was written.
			return fmt.Errorf("%w: %w: %w", engine.ErrSQLite, engine.ErrNoSpace, err)
		}
		return fmt.Errorf("%w: %w: %w", engine.ErrSQLite, engine.ErrIO, err)
	case driver.ResultCorrupt, driver.ResultNotADB:
		return fmt.Errorf("%w: %w: %w", engine.ErrSQLite, &engine.CorruptError{File: filepath.Base(file), Reason: code.Message()}, err)
	case driver.ResultConstraint:
		// Nothing that is written here violates a constraint of a sound log.
		return fmt.Errorf("%w: %w: %w", engine.ErrSQLite, &engine.CorruptError{File: filepath.Base(file), Reason: "rows contradict topic_heads"}, err)
	case driver.ResultBusy, driver.ResultLocked:
		return fmt.Errorf("%w: the database is busy, another connection keeps it locked: %w", engine.ErrSQLite, err)
	}
	return fmt.Errorf("%w: %w", engine.ErrSQLite, err)
}

// hurtsOneRequest says that err is about the rows of one request, and no
// reason to refuse others that share its transaction.
func hurtsOneRequest(err error) bool {
	code := driver.ErrCode(err).ToPrimary()
	return errors.Is(err, engine.ErrCorrupt) || code == driver.ResultTooBig || code == driver.ResultMismatch
}

// stopsLog says that after err nobody knows what is on the disk, so that no
// more is written until the log is reopened.
func stopsLog(err error) bool {
	code := driver.ErrCode(err)
	return code.ToPrimary() == driver.ResultIOErr && code != driver.ResultIOErrSHMSize
}

// corrupt reports stored rows that no sound log has. topic and id are empty
// where the damage is not one event's.
func corrupt(file string, topic string, id int64, format string, args ...any) error {
	e := engine.CorruptError{Topic: topic, File: filepath.Base(file), Reason: fmt.Sprintf(format, args...)}
	if id > 0 {
		e.FirstID, e.LastID = engine.EventID(id), engine.EventID(id)
	}
	return &e
}
