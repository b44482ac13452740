package engine

import (
	"errors"
	"fmt"
)

// Errors for errors.Is. Every error that a log returns says what was being
// done to which topic or file, and matches one of these, the context's error,
// or errors.ErrUnsupported.
var (
	// ErrConfig: an option or environment variable makes no sense.
	ErrConfig = errors.New("configuration error")
	// ErrInvalidTopic: the topic's name is refused.
	ErrInvalidTopic = errors.New("invalid topic")
	// ErrInvalidConsumer: the consumer's id is refused.
	ErrInvalidConsumer = errors.New("invalid consumer")
	// ErrInvalidEvent: the event is refused before anything is written.
	ErrInvalidEvent = errors.New("invalid event")
	// ErrBeyondLatest: an ack names an event that does not exist yet.
	ErrBeyondLatest = errors.New("ack beyond latest event")
	// ErrTooLarge: an event or a commit is above its limit in bytes.
	ErrTooLarge = errors.New("too large")
	// ErrClosed: the log was closed.
	ErrClosed = errors.New("log is closed")
	// ErrReadOnly: the log was opened read-only.
	ErrReadOnly = errors.New("log is read-only")
	// ErrLocked: another process, or this one, has the log open for writing.
	ErrLocked = errors.New("log is locked")
	// ErrFailed: an earlier failed write or sync has stopped the log.
	ErrFailed = errors.New("log has failed")
	// ErrNoSpace: the disk is full. The log stays readable, and goes on by
	// itself when space returns.
	ErrNoSpace = errors.New("no space left")
	// ErrCorrupt: stored bytes do not verify. See [CorruptError].
	ErrCorrupt = errors.New("corrupt")
	// ErrLagged: a subscriber fell behind. See [LaggedError].
	ErrLagged = errors.New("subscriber lagged")
	// ErrCompacted: the events asked for were compacted. See [CompactedError].
	ErrCompacted = errors.New("compacted")
	// ErrConflict: the expected latest id did not match. See [ConflictError].
	ErrConflict = errors.New("conflict")
	// ErrIO: the file system failed.
	ErrIO = errors.New("i/o error")
	// ErrEncoding: stored text cannot be decoded, or a value not encoded.
	ErrEncoding = errors.New("encoding error")
	// ErrSQLite: the SQLite backend's database failed.
	ErrSQLite = errors.New("sqlite error")
	// ErrVersion: the files were written by a newer version. They are not
	// corrupt, and were left untouched.
	ErrVersion = errors.New("unknown format version")
)

// LaggedError ends a subscription that fell behind. Subscribing again after
// LastID loses nothing unless First says otherwise.
type LaggedError struct {
	// LastID is the last event that was delivered, or the id that the
	// subscription started after.
	LastID EventID
	// First is the lowest id that is still there where compaction overtook
	// the subscriber, else 0.
	First EventID
}

func (e *LaggedError) Error() string {
	if e.First == 0 {
		return fmt.Sprintf("subscriber lagged behind after event %d", e.LastID)
	}
	return fmt.Sprintf("subscriber lagged behind after event %d: compacted up to event %d", e.LastID, e.First)
}

// Is matches [ErrLagged].
func (e *LaggedError) Is(target error) bool { return target == ErrLagged }

// CompactedError ends a read that compaction overtook.
type CompactedError struct {
	// First is the lowest id that is still readable.
	First EventID
}

func (e *CompactedError) Error() string {
	return fmt.Sprintf("events were compacted: the first one still there is %d", e.First)
}

// Is matches [ErrCompacted].
func (e *CompactedError) Is(target error) bool { return target == ErrCompacted }

// ConflictError refuses an append whose expected latest id did not match.
type ConflictError struct {
	// Latest is the actual latest id.
	Latest EventID
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("conflict: latest event is %d", e.Latest)
}

// Is matches [ErrConflict].
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }

// CorruptError says which stored bytes do not verify.
type CorruptError struct {
	// Topic is empty where the damage is not in one topic's data.
	Topic string
	// File is relative to the log's directory.
	File string
	// Offset is in bytes from the start of File.
	Offset int64
	// FirstID and LastID bound the events that cannot be read; both 0 where
	// that is not known. Reading on after LastID steps over the damage.
	FirstID, LastID EventID
	// Reason says what was expected and what was found.
	Reason string
}

func (e *CorruptError) Error() string {
	s := fmt.Sprintf("corrupt: %s at offset %d: %s", e.File, e.Offset, e.Reason)
	if e.Topic != "" {
		s += fmt.Sprintf(" (topic %s, events %d to %d)", e.Topic, e.FirstID, e.LastID)
	}
	return s
}

// Is matches [ErrCorrupt].
func (e *CorruptError) Is(target error) bool { return target == ErrCorrupt }
