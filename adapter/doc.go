// Package adapter opens an event log of any kind: the one that a
// configuration, or the environment, names. Programs that take their log from
// the environment need no other package to open it, and the command seglog
// opens its logs here too.
//
// # Which log
//
// [FromEnv] reads these variables. Relative paths are resolved against the base
// directory; a variable that is blank counts as unset.
//
//	HARN_EVENT_LOG_BACKEND      segment, file, sqlite, memory or jetstream; default segment
//	HARN_EVENT_LOG_SEGMENT_DIR  directory of a segmented log; default $HARN_STATE_DIR/events.seglog
//	HARN_EVENT_LOG_DIR          directory of a file log; default $HARN_STATE_DIR/events
//	HARN_EVENT_LOG_SQLITE_PATH  database of an SQLite log; default $HARN_STATE_DIR/events.sqlite
//	HARN_EVENT_LOG_QUEUE_DEPTH  events that may wait for an [engine.LagFail] subscriber; default 128
//	HARN_STATE_DIR              default .harn in the base directory
//
// Where nothing chooses a backend, no segmented log is there yet, and a file or
// SQLite log is, opening is refused: it would begin an empty log over
// somebody's data. The error, which matches [engine.ErrConfig], says how to go
// on with that log and how to move it.
//
// # Moving a log
//
// [Copy] copies a log into one of another kind with ids, times, headers,
// payloads and cursors, goes on where an earlier copy was killed, and reads
// both at its end to compare them.
//
// Durability, order, concurrency and files are those of the backend: see the
// packages engine, adapter/file, adapter/sqlite and adapter/memory.
// docs/backends.md has what each of them can do.
package adapter
