package wal

import (
	"errors"
	"fmt"
)

// errUnsettled: the disk has something else than the page cache shows.
var errUnsettled = errors.New("the disk does not have what was read")

// Settle makes all that a scan has read durable where it is, after an end that
// was not clean. Then the log goes on behind it in a new file, as it does
// behind a file that is full.
//
// What lies below [ScanResult.Proven] was durable. The rest, most often the
// last frame, may be in the page cache alone, after a sync that failed, and no
// later sync would say so. So it is read once more, from the disk, and must be
// what it was; and then that is synced. The whole last file is: its bytes
// behind the log's end stay as they were found, too.
//
// Where that cannot be had nothing has changed, and what was scanned must be
// made durable elsewhere.
func Settle(cfg Config, after *ScanResult) error {
	if after.last == nil {
		return nil // no file has a frame of the log
	}
	f := after.last
	h, err := cfg.FS.OpenUncached(f.Name)
	if err != nil {
		return fmt.Errorf("open %s: %w", f.Name, err)
	}
	s := &source{f: h, name: f.Name, size: f.Size, ahead: windowBytes}
	defer s.close()
	if err := s.reread(cfg, f, after); err != nil {
		return err
	}
	if err := h.SyncData(); err != nil {
		return fmt.Errorf("sync %s: %w", f.Name, err)
	}
	return nil
}

// reread wants the disk to have the frames from after.Proven on, and the header
// page if nothing proves it either. That the chain ends in the same value says
// that they are the same frames.
func (s *source) reread(cfg Config, f *FileInfo, after *ScanResult) error {
	pos := after.Proven // not below the start of the file
	if pos >= after.End {
		return nil
	}
	e := expect{uuid: cfg.UUID, version: f.header.version, generation: f.Generation, salt: f.header.salt}
	if pos == f.header.start {
		page, err := s.bytes(0, PageBytes)
		if err != nil {
			return err
		}
		if h, ok := decodeFileHeader(page); !ok || h.sum != f.header.sum || !allZero(page[headerBytes:]) {
			return fmt.Errorf("header page of %s: %w", f.Name, errUnsettled)
		}
		e.prev, e.prevKnown = f.header.sum, true
	}
	for pos < after.End {
		e.end, e.lsn = pos, pos
		h, _, bad, err := s.next(&f.header, &e, 0)
		if err != nil {
			return err
		}
		if bad != nil || h.flags&FlagClean != 0 {
			return fmt.Errorf("%s at LSN %d: %w", f.Name, pos, errUnsettled)
		}
		pos = h.lsn + LSN(h.bytes())
		e.prev, e.prevKnown = h.sum, true
	}
	if pos != after.End || e.prev != after.Chain {
		return fmt.Errorf("%s up to LSN %d: %w", f.Name, after.End, errUnsettled)
	}
	return nil
}
