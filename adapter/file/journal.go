package file

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"

	"github.com/cespare/xxhash/v2"

	"github.com/seglog/seglog/internal/vfs"
)

// The journal says what was being written when the process died. It is a side
// file of two slots, each with one frame, a line of JSON behind its checksum:
//
//	xxhash64 in 16 hexadecimal digits, a space, {"seq":1,…}, a newline
//
// The frame with the higher sequence number counts. A new one goes into the
// slot that does not hold the newest synced one, so that a torn frame leaves
// that one.

// frame is what the journal says.
type frame struct {
	Seq   uint64 `json:"seq"`
	State string `json:"state"`
	// Weak says that appends are acknowledged before they are synced.
	Weak   bool           `json:"weak,omitempty"`
	Writes []journalWrite `json:"writes,omitempty"`
	// Unsynced has, by name as in journalWrite, how long files were before
	// what was written to them and not synced. Both frames' count.
	Unsynced map[string]int64 `json:"unsynced,omitempty"`
}

// States of the log.
const (
	stateOpen    = "open"    // Writes, if any, have been written
	stateWriting = "writing" // Writes are
	stateFailed  = "failed"  // Writes were, and the disk failed
	stateClosed  = "closed"  // all is as it should be
)

// journalWrite is a run of whole lines that goes behind a topic's end.
type journalWrite struct {
	Topic string `json:"topic"`
	Stem  string `json:"file"` // name in topics, without .jsonl
	At    int64  `json:"at"`   // offset
	Bytes int64  `json:"bytes"`
	Sum   string `json:"xxhash64"` // of the bytes
	First uint64 `json:"first"`    // event id
}

const slotBytes = 128 << 10

// journal is the writer's end.
type journal struct {
	fs      vfs.FS
	f       vfs.File // nil: not opened yet
	seq     uint64   // of the newest frame
	newest  int      // its slot
	durable int      // the slot with the newest synced frame
}

// put writes a frame, and syncs it.
func (j *journal) put(fr frame) error {
	if err := j.write(fr); err != nil {
		return err
	}
	return j.sync()
}

// write writes a frame that is not durable yet.
func (j *journal) write(fr frame) error {
	if err := j.open(); err != nil {
		return err
	}
	fr.Seq = j.seq + 1
	body, err := json.Marshal(fr)
	if err != nil {
		panic("file: journal frame: " + err.Error()) // numbers and valid names
	}
	line := fmt.Appendf(nil, "%s %s\n", sum(body), body)
	slot := 1 - j.durable
	if _, err := j.f.WriteAt(line, int64(slot)*slotBytes); err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	j.seq, j.newest = fr.Seq, slot
	return nil
}

// sync makes the newest frame durable.
func (j *journal) sync() error {
	if err := j.f.SyncData(); err != nil {
		return &syncError{fmt.Errorf("sync journal: %w", err)}
	}
	j.durable = j.newest
	return nil
}

func (j *journal) open() (err error) {
	if j.f != nil {
		return nil
	}
	f, err := j.fs.Open(journalName)
	if errors.Is(err, fs.ErrNotExist) {
		if f, err = j.fs.Create(journalName); err != nil {
			return fmt.Errorf("create journal: %w", err)
		}
		if err := j.fs.SyncDir("."); err != nil {
			_ = f.Close() // nothing was written
			return &syncError{fmt.Errorf("create journal: %w", err)}
		}
	}
	if err != nil {
		return fmt.Errorf("open journal: %w", err)
	}
	j.f = f
	return nil
}

func (j *journal) close() {
	if j.f != nil {
		_ = j.f.Close() // what matters was synced
		j.f = nil
	}
}

// syncError says that a sync failed: what the page cache says is not to be
// trusted any more.
type syncError struct{ err error }

func (e *syncError) Error() string { return e.err.Error() }
func (e *syncError) Unwrap() error { return e.err }

// readJournal returns the frame that counts, with what both say of unsynced
// files, and its slot. Where there is a journal and no frame in it, the frame's
// state is empty; where there is none, it is stateClosed.
func readJournal(disk vfs.FS) (fr frame, slot int, err error) {
	f, err := disk.OpenRead(journalName)
	if errors.Is(err, fs.ErrNotExist) {
		return frame{State: stateClosed}, 0, nil
	}
	if err != nil {
		return frame{}, 0, fmt.Errorf("open journal: %w", err)
	}
	defer f.Close()
	fr, slot, err = readFrames(f)
	if err != nil {
		return frame{}, 0, fmt.Errorf("read journal: %w", err)
	}
	return fr, slot, nil
}

func readFrames(f vfs.File) (newest frame, slot int, err error) {
	size, err := f.Size()
	if err != nil {
		return frame{}, 0, err
	}
	var older frame
	for i := range 2 {
		fr, ok, err := readFrame(f, int64(i)*slotBytes, min(size-int64(i)*slotBytes, slotBytes))
		switch {
		case err != nil:
			return frame{}, 0, err
		case ok && fr.Seq > newest.Seq:
			older, newest, slot = newest, fr, i
		case ok:
			older = fr
		}
	}
	if newest.Weak && newest.State != stateClosed {
		unsynced := maps.Clone(older.Unsynced)
		if unsynced == nil {
			unsynced = map[string]int64{}
		}
		maps.Copy(unsynced, newest.Unsynced)
		newest.Unsynced = unsynced
	}
	return newest, slot, nil
}

// proven is the offset up to which a file was durable when it was left.
func (fr *frame) proven(stem string) int64 {
	if end, ok := fr.Unsynced[stem]; ok && fr.Weak && fr.State != stateClosed {
		return end
	}
	return math.MaxInt64
}

// readFrame reads a slot of n bytes; most frames are short.
func readFrame(f vfs.File, at, n int64) (fr frame, ok bool, err error) {
	for want := int64(4 << 10); ; want *= 16 {
		b := make([]byte, max(0, min(want, n)))
		if len(b) == 0 {
			return frame{}, false, nil
		}
		got, err := f.ReadAt(b, at)
		if err != nil && got == 0 {
			return frame{}, false, ignoreEOF(err)
		}
		line, _, whole := bytes.Cut(b[:got], []byte("\n"))
		if whole {
			fr, ok = parseFrame(line)
			return fr, ok, nil
		}
		if int64(got) < want || want >= n {
			return frame{}, false, nil
		}
	}
}

func parseFrame(line []byte) (fr frame, ok bool) {
	check, body, found := bytes.Cut(line, []byte(" "))
	if !found || string(check) != sum(body) {
		return frame{}, false
	}
	if err := json.Unmarshal(body, &fr); err != nil {
		return frame{}, false
	}
	return fr, true
}

// sum is the checksum of journal frames and of the writes they tell of.
func sum(b []byte) string {
	var digits [8]byte
	binary.BigEndian.PutUint64(digits[:], xxhash.Sum64(b))
	return hex.EncodeToString(digits[:])
}
