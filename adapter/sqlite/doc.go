// Package sqlite is an event log in a SQLite database, in exactly the schema of
// the original that it takes the place of: an existing database opens
// unchanged, is appended to, and stays readable by the original. The schema is
// in FORMAT.md.
//
// # Durability
//
// With the default, [engine.SyncAlways], SQLite runs with synchronous=FULL: an
// append, a commit, an ack or a compaction is durable when the call returns, and
// no reader of any process sees it before. Callers that wait at the same time
// share one transaction and one sync. A commit over several topics and cursors
// is one transaction: all of it or nothing.
//
// [engine.SyncInterval] and [engine.SyncNever] are synchronous=NORMAL, which is
// the original's way. What was acknowledged survives a killed process. Power
// loss may take the last commits, but never from the middle and never a part of
// one; readers may have seen what is then lost, and its ids are given out again.
// SyncInterval bounds that to [Options.SyncEvery]. Flush and Close make
// everything durable under any policy.
//
// After a failed write or sync nothing more is written until the log is
// reopened ([engine.ErrFailed]). A full disk ([engine.ErrNoSpace]) and a
// database that stays locked refuse the calls that they meet; nothing was
// written then, and the next append gets the same id.
//
// SQLite syncs with fsync. A program may switch all of its databases to
// fdatasync, which is as durable and waits for no timestamps, by
// modernc.org/sqlite.Fdatasync; this package leaves that to it.
//
// SQLite has no checksums over the database file: a flipped bit in an event is
// found only where the event does not decode any more. Damage to the file's
// structure, rows of types that nobody writes and gaps in ids are reported
// ([engine.ErrCorrupt], [engine.ErrEncoding]), never skipped.
//
// # Order
//
// Ids are dense and start at 1, in each topic; the highest is 2^63-1, behind
// which appends are refused with [engine.ErrTooLarge]. The schema has no order
// over topics, so that positions are 0.
//
// # Processes
//
// Any number of processes may have one database open and write to it, the
// original among them: SQLite's own locks order their transactions. A writer
// waits some 5 s for another one, and then fails with an error that says that the
// database is busy. Subscribers see the commits of their own log at once, and
// those of others within some 20 ms. No file of the database may be opened by
// other means in the same process: closing it would drop SQLite's locks.
//
// A read-only log takes part in the locks, and so SQLite makes its index
// (-shm) and an empty write-ahead log (-wal) beside a database that has none,
// and leaves them. It changes no byte of the database and follows what others
// append. Where it can make no files, the database must have them already.
//
// # Reading
//
// Reads and subscriptions copy pages of at most 512 events, or about 1 MiB, and
// hold nothing between two records: a read that takes hours neither blocks an
// append nor lets the write-ahead log grow, and a caller may append from inside
// its own loop. A read ends where the topic ended when it began; where
// compaction overtakes it, it ends with a [*engine.CompactedError].
//
// # Limits
//
// Compact deletes its events in one transaction, during which nobody can append,
// and which costs some microseconds an event. A checkpoint that readers are in
// the way of gives up after 200 ms, and CompactReport.Checkpointed is false.
//
// The original cannot read payloads nested deeper than 127, with lone
// surrogates, or with numbers like 1e400. They are kept all the same, byte for
// byte, and a topic that has one is not readable by the original. Topics above
// 255 bytes and consumers above 1 KiB, which the original allows, are not
// reachable here: listings return all others, with an error that names the first
// such one. Rename it in all tables with SQL to reach it.
//
// # Files
//
// The database, and beside it the write-ahead log (-wal) and its shared index
// (-shm), which SQLite removes when the last connection of all processes
// closes.
//
// # Concurrency
//
// All methods may be called from any number of goroutines. A log has one
// goroutine that writes, and one that asks for the commits of other processes
// while somebody subscribes; Close waits for both.
package sqlite
