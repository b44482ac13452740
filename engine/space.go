package engine

import (
	"errors"
	"io/fs"

	"github.com/seglog/seglog/segment"
	"github.com/seglog/seglog/wal"
)

var errExist = fs.ErrExist

// walFileBytes is the size of a WAL file: some eight of them make the budget.
func (o *Options) walFileBytes() int64 { return min(max(o.WALBytes/8, 16<<10), 16<<20) }

// walReserveBytes is what only cursor moves and compactions may use of the
// WAL, so that consumers go on and space can be freed when it is full.
func (o *Options) walReserveBytes() int64 { return min(64<<10, o.WALBytes/8) }

// walCommitBytes is the largest commit that the WAL can always take after a
// checkpoint: the current file cannot be given up, and may have been made for a
// commit as large as this one; and the reserve must stay free in a third.
func (o *Options) walCommitBytes() int64 {
	const page = wal.PageBytes
	file := (o.WALBytes - o.walReserveBytes() - 2*page) / 2
	frame := file - 2*page         // the header page, and rounding up to a page
	frame -= frame/page*8 + 2*page // the page table, the frame's header, and those of its records
	return frame
}

func (e *Engine) codec() segment.Codec {
	switch e.opts.Compression {
	case CompressionZstd:
		return segment.Zstd
	case CompressionNone:
		return segment.None
	}
	return segment.S2
}

// reserveBytes is the size of the ballast that is given up when the disk is
// full, so that checkpoints can free space.
func (e *Engine) reserveBytes() int64 { return min(1<<20, e.opts.WALBytes/64) }

// makeReserve writes the ballast where it is missing. It is no error where it
// cannot be made.
func (e *Engine) makeReserve() {
	f, err := e.env.FS.Create(reserveName)
	if err != nil {
		return
	}
	zeros := make([]byte, e.reserveBytes())
	if _, err := f.WriteAt(zeros, 0); err != nil {
		_ = e.env.FS.Remove(reserveName) // another time
	}
	_ = f.Close() // ballast
}

// giveUpReserve says whether there was ballast to give up.
func (e *Engine) giveUpReserve() bool {
	if err := e.env.FS.Remove(reserveName); err != nil {
		return false
	}
	return e.env.FS.SyncDir(".") == nil
}

// restoreReserve makes the ballast again once there is plenty of space.
func (e *Engine) restoreReserve() {
	if _, err := e.env.FS.Stat(reserveName); !errors.Is(err, errNotExist) {
		return
	}
	if free, err := e.env.FS.Free(); err == nil && free > 16*e.reserveBytes() {
		e.makeReserve()
	}
}
