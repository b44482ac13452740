// Package wal is the write-ahead log: one for all topics. What was written
// together is a frame; a frame is one write and becomes durable with one sync.
//
// A place in the log is an [LSN], a byte position that grows for ever. Frames
// lie in files of fixed size that are zeroed once and then used again and
// again, so that a sync moves no metadata. Each use of a file is a generation
// with a random salt of its own, and each frame names its generation, its LSN
// and the frame before it: bytes of an earlier use are never taken for frames
// of this one.
//
// A [Writer] appends; [Scan] reads everything after a crash and tells a torn
// write, which is dropped, from corruption, which is reported; a [Follower]
// reads beside a running writer, and only what is proven durable. The payload
// of a frame is opaque to this package. FORMAT.md specifies the bytes and the
// evidence rule.
//
// A frame counts as durable once [Writer.Sync] has returned nil after it. After
// any failed sync the Writer refuses everything: what a failed sync leaves in
// the page cache is not what is on the disk.
package wal
