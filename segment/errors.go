package segment

import (
	"errors"
	"fmt"
)

// ErrVersion: the bytes verify, but a newer version wrote them. That is not
// corruption.
var ErrVersion = errors.New("unknown format version")

// CorruptError says which bytes of a segment file do not verify.
type CorruptError struct {
	File   string
	Offset int64
	// Topic is 0 where the damage cannot be laid at one topic's door.
	Topic uint64
	// First and Last bound the events that cannot be read. Either is 0 where
	// that is not known.
	First, Last uint64
	// Reason says what was expected and what was found.
	Reason string
}

func (e *CorruptError) Error() string {
	s := fmt.Sprintf("corrupt: %s at offset %d: %s", e.File, e.Offset, e.Reason)
	if e.First != 0 || e.Last != 0 {
		s += fmt.Sprintf(" (topic number %d, events %d to %d)", e.Topic, e.First, e.Last)
	}
	return s
}

// damage is why bytes do not verify, before it is known where they came from.
type damage string

func (d damage) Error() string { return string(d) }

func damagef(format string, args ...any) error {
	return damage(fmt.Sprintf(format, args...))
}
