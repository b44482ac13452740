// Package file is an event log in files of JSON lines: one file a topic, one
// line an event, one small file a consumer's cursor. It opens the directories
// of the Rust project harn as they are, appends to them, and leaves them
// readable there. FORMAT.md has the files, the lines and the names.
//
// # Durability
//
// With [engine.SyncAlways], the default, an append returns once its lines are
// synced in the topic's own file; appends that wait at the same time, of any
// topics, share one write and one sync for each file they touch, and one of the
// journal. Readers and subscribers see nothing before that. Cursors,
// compactions and new names are synced too, directories included.
//
// A batch is one write, and is all there or not at all: the journal, a side
// file, is told where each group of appends goes and what it is, and is synced
// before the group is written. After a crash the next open takes a group back
// that is there in part. Batches of several topics at once are refused: see
// [Log.Commit].
//
// With [engine.SyncInterval] and [engine.SyncNever], power loss may take the
// last events of a topic, never from its middle; each topic loses its own.
// Killing the process loses nothing that was acknowledged.
//
// After a failed write or sync the log takes no more changes until it is
// reopened ([engine.ErrFailed]). A full disk refuses what does not fit
// ([engine.ErrNoSpace]) and leaves no trace of it.
//
// # What the format cannot do
//
// Lines have no checksum: bytes that rot within a JSON string or number are not
// noticed. A line that does not parse, and ids that are not dense, are a
// [*engine.CorruptError]; what stands before it, and other topics, stay
// readable. After a crash, rot of the last group of appends cannot be told from a
// torn write, and is cut off like one.
//
// Two processes of the original may have given ids out twice. Such a topic can be
// read up to the first repeated id; it takes no appends and no compactions, and
// there is no way to the events behind but an editor, with which to number the
// lines anew.
//
// Events have no position. Compaction copies what it keeps, so its cost grows
// with the topic, and appends wait for it. It needs space for that copy, and
// where it keeps nothing still for a file of a few bytes: on a disk that is full
// to the last block, it fails with [engine.ErrNoSpace]. A cursor costs two syncs
// of its own.
//
// Whoever goes back to the original after a crash should open the directory
// with this package first, and close it: it takes back what was half written.
// What the original appends before that, in the place of a group that was being
// written, may be taken for a part of the group, and be cut off.
//
// # Concurrency
//
// All methods may be called from any number of goroutines. One process writes:
// it locks the directory, and a second one gets [engine.ErrLocked]. The
// original does not look at the lock. Any number of processes read beside it
// with [Options.ReadOnly], change nothing, and follow what is appended.
package file
