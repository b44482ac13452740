// Package engine is seglog's public API and its storage engine: an embedded,
// durable, append-only event log with topics, dense event ids, range reads,
// subscriptions, consumer cursors and compaction.
//
// # Durability
//
// With the default options a call that changes the log returns only when the
// change survives power loss. Concurrent calls share one write and one sync
// (group commit), whatever number of topics they touch. Readers and
// subscribers see an event only once it is durable.
//
// After a failed write or sync the log takes no more changes until it is
// reopened; every later change fails with [ErrFailed] and the first cause.
// Bytes that were durable and no longer verify are reported as a
// [*CorruptError] with their place, and are never cut off, skipped or repaired
// in silence.
//
// # Concurrency
//
// All methods of [Engine] may be called from any number of goroutines. One
// process at a time may open a directory for writing ([ErrLocked]); any number
// may open it with [Options.ReadOnly] beside it.
package engine
