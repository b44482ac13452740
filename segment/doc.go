// Package segment reads and writes segment files: checksummed, compressed
// blocks of one topic, or the shared carry file with blocks of topics that are
// too small for a file of their own. FORMAT.md draws the bytes.
//
// The package deals in ids and bytes: what is inside a block is its caller's.
//
// # Durability
//
// A [Writer] appends runs of blocks. A run starts on a page boundary, so that
// bytes that were synced are never written again; nothing is durable before
// [Writer.Sync] returns. How far a file is durable is written down elsewhere:
// this package never guesses where a file ends. All bytes below that length
// must verify, and what does not is a [*CorruptError]; bytes beyond it are
// leftovers of a write that nobody relies on, and [Continue] cuts them off.
//
// # Concurrency
//
// A [Writer] belongs to one goroutine at a time. A [Reader] may be used by any
// number of them, each with a [Buffer] of its own, also while the file grows.
package segment
