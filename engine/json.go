package engine

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// validJSON says whether b is exactly one JSON value, white space around it
// included, in valid UTF-8. It accepts what json.Valid accepts, where that is
// UTF-8; a fuzz target holds the two together. It is here because validation
// was a quarter of the processor time of a durable append, and this takes half
// (many short tokens) to a seventh (long strings) of json.Valid's time: strings
// are skipped eight bytes at a time. BenchmarkValidJSON compares them.
func validJSON(b []byte) bool {
	s := jsonScanner{b: b}
	return s.document() && (s.ascii() || utf8.Valid(b))
}

// jsonDepthMax is the nesting that json.Valid accepts.
const jsonDepthMax = 10000

type jsonScanner struct {
	b     []byte
	i     int
	high  uint64   // bits of all bytes of strings, ORed together
	depth int      // how many objects and arrays are open
	few   [32]byte // '{' or '[' of each; of the outermost ones here, which takes no allocation
	deep  []byte   // of the others
}

// ascii says whether no string had a byte above 0x7f; outside of strings none
// is accepted.
func (s *jsonScanner) ascii() bool { return s.high&0x8080808080808080 == 0 }

func (s *jsonScanner) document() bool {
	if !s.value() {
		return false
	}
	s.space()
	return s.i == len(s.b)
}

// value scans one value, with all that is nested in it.
func (s *jsonScanner) value() bool {
	for {
		opened, ok := s.begin()
		if !ok {
			return false
		}
		if opened {
			continue
		}
		more, ok := s.end()
		if !ok || !more {
			return ok
		}
	}
}

// begin scans the start of a value: a whole scalar, an empty object or array,
// or the opening of one up to its first value, which comes next (opened).
func (s *jsonScanner) begin() (opened, ok bool) {
	s.space()
	if s.i == len(s.b) {
		return false, false
	}
	switch c := s.b[s.i]; c {
	case '"':
		return false, s.text()
	case '{', '[':
		if s.depth == jsonDepthMax {
			return false, false
		}
		s.i++
		s.space()
		if s.i < len(s.b) && s.b[s.i] == c+2 { // '}' or ']'
			s.i++
			return false, true
		}
		s.push(c)
		return true, c == '[' || s.key()
	case 't':
		return false, s.literal("true")
	case 'f':
		return false, s.literal("false")
	case 'n':
		return false, s.literal("null")
	}
	return false, s.number()
}

// end scans what follows a value: the ends of what it is nested in, up to a
// comma, behind which another value comes (more).
func (s *jsonScanner) end() (more, ok bool) {
	for s.depth > 0 {
		s.space()
		if s.i == len(s.b) {
			return false, false
		}
		top := s.top()
		c := s.b[s.i]
		s.i++
		if c == ',' {
			return true, top == '[' || s.key()
		}
		if c != top+2 {
			return false, false
		}
		s.pop()
	}
	return false, true
}

func (s *jsonScanner) push(c byte) {
	if s.depth < len(s.few) {
		s.few[s.depth] = c
	} else {
		s.deep = append(s.deep, c)
	}
	s.depth++
}

func (s *jsonScanner) top() byte {
	if s.depth <= len(s.few) {
		return s.few[s.depth-1]
	}
	return s.deep[len(s.deep)-1]
}

func (s *jsonScanner) pop() {
	s.depth--
	if s.depth >= len(s.few) {
		s.deep = s.deep[:len(s.deep)-1]
	}
}

// key scans an object's key and its colon.
func (s *jsonScanner) key() bool {
	s.space()
	if s.i == len(s.b) || s.b[s.i] != '"' || !s.text() {
		return false
	}
	s.space()
	if s.i == len(s.b) || s.b[s.i] != ':' {
		return false
	}
	s.i++
	return true
}

func (s *jsonScanner) space() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return
		}
	}
}

func (s *jsonScanner) literal(want string) bool {
	if len(s.b)-s.i < len(want) || string(s.b[s.i:s.i+len(want)]) != want {
		return false
	}
	s.i += len(want)
	return true
}

// text scans a string; s.b[s.i] is its opening quote.
func (s *jsonScanner) text() bool {
	s.i++
	for {
		s.plain()
		if s.i == len(s.b) {
			return false
		}
		switch c := s.b[s.i]; {
		case c == '"':
			s.i++
			return true
		case c == '\\':
			if !s.escape() {
				return false
			}
		case c < ' ':
			return false
		default:
			s.high |= uint64(c)
			s.i++
		}
	}
}

// plain skips bytes of a string that mean nothing, eight at a time as long as
// there are so many.
func (s *jsonScanner) plain() {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	for len(s.b)-s.i >= 8 {
		w := binary.LittleEndian.Uint64(s.b[s.i:])
		quote, slash := w^(ones*'"'), w^(ones*'\\')
		found := ((quote-ones)&^quote | (slash-ones)&^slash | (w-ones*' ')&^w) & tops
		if found != 0 {
			n := bits.TrailingZeros64(found) / 8 // exact: borrows go upwards
			s.high |= w & (1<<(8*n) - 1)
			s.i += n
			return
		}
		s.high |= w
		s.i += 8
	}
}

// escape scans an escape sequence; s.b[s.i] is its backslash.
func (s *jsonScanner) escape() bool {
	if len(s.b)-s.i < 2 {
		return false
	}
	switch s.b[s.i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.i += 2
		return true
	case 'u':
		if len(s.b)-s.i < 6 {
			return false
		}
		for _, c := range s.b[s.i+2 : s.i+6] {
			if !(digit(c) || 'a' <= c|0x20 && c|0x20 <= 'f') {
				return false
			}
		}
		s.i += 6
		return true
	}
	return false
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

func (s *jsonScanner) number() bool {
	if s.at('-') {
		s.i++
	}
	if s.at('0') {
		s.i++
	} else if !s.digits() {
		return false
	}
	if s.at('.') {
		s.i++
		if !s.digits() {
			return false
		}
	}
	if s.at('e') || s.at('E') {
		s.i++
		if s.at('+') || s.at('-') {
			s.i++
		}
		return s.digits()
	}
	return true
}

func (s *jsonScanner) at(c byte) bool { return s.i < len(s.b) && s.b[s.i] == c }

// digits scans one or more.
func (s *jsonScanner) digits() bool {
	from := s.i
	for s.i < len(s.b) && digit(s.b[s.i]) {
		s.i++
	}
	return s.i > from
}
