package cursor

import (
	"encoding/binary"
	"fmt"
)

// A record, all numbers little-endian:
//
//	 0  u8   flags: 1 deleted, all others 0
//	 1  u16  length of consumer, 1 to MaxConsumerBytes
//	 3  u64  topic number
//	11  u64  event id, 0 where deleted
//	19  i64  time of the ack in Unix milliseconds, 0 where deleted
//	27       consumer
const headerBytes = 27

const flagDeleted = 1

// MaxConsumerBytes is the longest consumer that a record can hold.
const MaxConsumerBytes = 1 << 10

// Entry is a cursor with what it belongs to, and the content of a record.
type Entry struct {
	Topic    uint64
	Consumer string
	Cursor
	// Deleted: the consumer has no cursor any more; Cursor is zero.
	Deleted bool
}

// EntryBytes is the size of a record of consumer.
func EntryBytes(consumer string) int { return headerBytes + len(consumer) }

// AppendEntry appends the record of e, and panics on a consumer that no record
// can hold: consumers were validated long before.
func AppendEntry(dst []byte, e Entry) []byte {
	if len(e.Consumer) == 0 || len(e.Consumer) > MaxConsumerBytes {
		panic(fmt.Sprintf("cursor: AppendEntry with a consumer of %d bytes, want 1 to %d", len(e.Consumer), MaxConsumerBytes))
	}
	flags := byte(0)
	if e.Deleted {
		flags, e.Cursor = flagDeleted, Cursor{}
	}
	dst = append(dst, flags)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(e.Consumer)))
	dst = binary.LittleEndian.AppendUint64(dst, e.Topic)
	dst = binary.LittleEndian.AppendUint64(dst, e.ID)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(e.AckedMS))
	return append(dst, e.Consumer...)
}

// DecodeEntry decodes the record that src begins with, and returns what is
// behind it. An entry has one form only: encoding it again gives the bytes it
// came from.
func DecodeEntry(src []byte) (Entry, []byte, error) {
	if len(src) < headerBytes {
		return Entry{}, nil, fmt.Errorf("cursor record has %d bytes, want %d at least", len(src), headerBytes)
	}
	flags, n := src[0], int(binary.LittleEndian.Uint16(src[1:]))
	e := Entry{
		Topic: binary.LittleEndian.Uint64(src[3:]),
		Cursor: Cursor{
			ID:      binary.LittleEndian.Uint64(src[11:]),
			AckedMS: int64(binary.LittleEndian.Uint64(src[19:])),
		},
		Deleted: flags&flagDeleted != 0,
	}
	rest := src[headerBytes:]
	switch {
	case flags&^flagDeleted != 0:
		return Entry{}, nil, fmt.Errorf("cursor record has unknown flags %#02x", flags)
	case n == 0 || n > MaxConsumerBytes:
		return Entry{}, nil, fmt.Errorf("cursor record has a consumer of %d bytes, want 1 to %d", n, MaxConsumerBytes)
	case n > len(rest):
		return Entry{}, nil, fmt.Errorf("cursor record has a consumer of %d bytes, %d are left", n, len(rest))
	case e.Deleted && e.Cursor != Cursor{}:
		return Entry{}, nil, fmt.Errorf("cursor record deletes and sets event %d", e.ID)
	}
	e.Consumer = string(rest[:n])
	return e, rest[n:], nil
}
