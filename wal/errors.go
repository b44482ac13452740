package wal

import (
	"errors"
	"fmt"
)

var (
	// ErrFull: no file can be had within Config.MaxBytes. Nothing was written;
	// a checkpoint and [Writer.Free] make room.
	ErrFull = errors.New("write-ahead log is full")
	// ErrVersion: a newer version wrote the log. It is not corrupt.
	ErrVersion = errors.New("write-ahead log has an unknown format version")
	// ErrRecycled: the writer has gone on over the place that a follower was
	// at. Start again from the manifest.
	ErrRecycled = errors.New("write-ahead log was recycled")

	errClosed = errors.New("write-ahead log is closed")
)

// CorruptError says which stored bytes do not verify although they were
// durable.
type CorruptError struct {
	// File is the file's name, or "wal" where a whole file is missing.
	File string
	// Offset is in bytes from the start of File.
	Offset int64
	// LSN is where the log stops being readable.
	LSN LSN
	// Reason says what was expected and what was found.
	Reason string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("corrupt: %s at offset %d, LSN %d: %s", e.File, e.Offset, e.LSN, e.Reason)
}
