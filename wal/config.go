package wal

import (
	"bytes"
	"math/rand/v2"

	"github.com/seglog/seglog/internal/vfs"
)

const (
	firstFileBytes = 1 << 20
	zeroBytes      = 64 << 10 // a new file is zeroed in pieces of this size
	zeroSyncBytes  = 1 << 20  // and synced in pieces of this
)

// Config is constant for the life of a log, but for the sizes, which may
// change from one open to the next.
type Config struct {
	FS   vfs.FS
	UUID [16]byte
	// FileBytes bounds a file; default 16 MiB. The first file is 1 MiB, each
	// further one twice the last. A frame that is larger gets a file of its own.
	FileBytes int64
	// MaxBytes bounds the files together; default 128 MiB.
	MaxBytes int64
	// ReserveBytes is what writes that are not urgent leave free; default
	// 64 KiB, negative for nothing.
	ReserveBytes int64
	// Direct is for a log of which each frame is synced by itself: they are
	// written around the page cache where the file system can.
	Direct bool
	// Packed is for a log whose frames are not each synced, and not Direct: they
	// share pages until a sync. Its files are of version 2.
	Packed bool
	// Rand makes salts; default math/rand/v2.
	Rand func() uint64
}

// version is that of the files that are written.
func (c Config) version() uint16 {
	if c.Packed {
		return versionPacked
	}
	return versionPages
}

func (c Config) withDefaults() Config {
	if c.FileBytes <= 0 {
		c.FileBytes = 16 << 20
	}
	c.FileBytes = max(roundUp(c.FileBytes), 2*PageBytes)
	if c.MaxBytes <= 0 {
		c.MaxBytes = 128 << 20
	}
	if c.ReserveBytes == 0 {
		c.ReserveBytes = 64 << 10
	}
	c.ReserveBytes = max(c.ReserveBytes, 0)
	if c.Rand == nil {
		c.Rand = rand.Uint64
	}
	return c
}

// Header is what the caller says of a frame. The log keeps it and does not
// look into it, but for the flags of its own.
type Header struct {
	Position    uint64
	ManifestGen uint64
	ManifestLen int64
	Flags       Flags
}

// Frame is one verified frame.
type Frame struct {
	Header
	// Start and End bound the frame; they are equal for a clean close. After a
	// sync a frame starts on the next page, so behind the end of the one before.
	Start, End LSN
	// Durable is what was known to be durable when the frame was written.
	Durable    LSN
	Generation uint64
	Records    uint32
	// Payload belongs to whoever gets the frame from a [Follower]; what [Scan]
	// hands out is valid until the function returns that gets it, unless it
	// calls [Frame.Keep].
	Payload []byte
	File    string
	Offset  int64

	lent bool // Payload is in memory that is used again
}

// Keep makes the payload the caller's own. That of a large frame is already.
func (f *Frame) Keep() {
	if f.lent {
		f.Payload, f.lent = bytes.Clone(f.Payload), false
	}
}

// Lent says whether the payload is not the caller's own.
func (f *Frame) Lent() bool { return f.lent }

// Start is a place from which the log can be read: a checkpoint's. A manifest
// stores both numbers as they are; the zero Start is that of a new log.
type Start struct {
	LSN LSN
	// Generation is that of the file that holds LSN. While no such file is
	// durable, the top bit is set and the rest is the lowest generation that
	// it can get: then, and only then, it is no damage that the file is missing.
	Generation uint64
}

const unbegun = 1 << 63

// begun is the generation of the file that must be there; false if none must.
func (s Start) begun() (uint64, bool) {
	return s.Generation, s.Generation != 0 && s.Generation < unbegun
}

// lowest is the lowest generation that matters.
func (s Start) lowest() uint64 { return s.Generation &^ unbegun }
