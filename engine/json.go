package engine

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// validJSON says whether b is exactly one JSON value, white space around it
// included, in valid UTF-8. It accepts what json.Valid accepts, where that is
// UTF-8; a fuzz target holds the two together. It is here because validation
// was a quarter of the processor time of a durable append: strings are skipped
// eight bytes at a time, and what has only ASCII is not looked at again.
// BenchmarkValidJSON compares the two.
func validJSON(b []byte) bool {
	var s jsonScanner
	i := s.value(b, skipSpace(b, 0))
	return i >= 0 && skipSpace(b, i) == len(b) && (!s.high || utf8.Valid(b))
}

// jsonDepthMax is the nesting that json.Valid accepts.
const jsonDepthMax = 10000

// jsonScanner is what a scan has to remember. Where it is, each function is told
// and returns, -1 for what is not JSON: an index in a register, and not in
// memory, is what makes it fast.
type jsonScanner struct {
	high  bool     // a string had a byte above 0x7f; outside of strings none is accepted
	depth int      // how many objects and arrays are open
	few   [32]byte // '{' or '[' of each; of the outermost ones here, which takes no allocation
	deep  []byte   // of the others
}

// value scans the value at i, with all that is nested in it.
func (s *jsonScanner) value(b []byte, i int) int {
	for {
		var opened bool
		if opened, i = s.begin(b, i); opened {
			continue
		}
		var more bool
		if more, i = s.end(b, i); !more {
			return i
		}
	}
}

// begin scans the start of the value at i: a whole scalar, an empty object or
// array, or the opening of one up to its first value, which comes next (opened).
func (s *jsonScanner) begin(b []byte, i int) (opened bool, _ int) {
	if i < 0 || i >= len(b) {
		return false, -1
	}
	switch c := b[i]; c {
	case '"':
		return false, s.text(b, i)
	case '{', '[':
		if s.depth == jsonDepthMax {
			return false, -1
		}
		if i = skipSpace(b, i+1); i < len(b) && b[i] == c+2 { // '}' or ']'
			return false, i + 1
		}
		s.push(c)
		if c == '{' {
			i = s.key(b, i)
		}
		return i >= 0, i
	case 't':
		return false, literal(b, i, "true")
	case 'f':
		return false, literal(b, i, "false")
	case 'n':
		return false, literal(b, i, "null")
	}
	return false, number(b, i)
}

// end scans what follows a value: the ends of what it is nested in, up to a
// comma, behind which another value comes (more).
func (s *jsonScanner) end(b []byte, i int) (more bool, _ int) {
	for i >= 0 && s.depth > 0 {
		if i = skipSpace(b, i); i == len(b) {
			return false, -1
		}
		top, c := s.top(), b[i]
		i++
		if c == ',' {
			if i = skipSpace(b, i); top == '{' {
				i = s.key(b, i)
			}
			return i >= 0, i
		}
		if c != top+2 {
			return false, -1
		}
		s.pop()
	}
	return false, i
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

// key scans an object's key at i and its colon, up to the value.
func (s *jsonScanner) key(b []byte, i int) int {
	if i >= len(b) || b[i] != '"' {
		return -1
	}
	if i = s.text(b, i); i < 0 {
		return -1
	}
	if i = skipSpace(b, i); i == len(b) || b[i] != ':' {
		return -1
	}
	return skipSpace(b, i+1)
}

// text scans the string whose opening quote is at i.
func (s *jsonScanner) text(b []byte, i int) int {
	i++
	for {
		i = skipASCII(b, i)
		if i < len(b) && b[i] >= utf8.RuneSelf {
			s.high = true
			i = skipPlain(b, i)
		}
		if i == len(b) {
			return -1
		}
		switch b[i] {
		case '"':
			return i + 1
		case '\\':
			if i = escape(b, i); i < 0 {
				return -1
			}
		default:
			return -1 // a control character
		}
	}
}

// each has one byte of a word set to c.
const (
	ones = 0x0101010101010101
	tops = 0x80 * ones
)

// special marks the lowest byte of w that is not plain ASCII text in a string:
// a quote, a backslash, a control character, or above 0x7f. Bytes above that
// one may be marked too: borrows go upwards.
func special(w uint64) uint64 {
	// Flipping 2 puts the quote right above the control characters.
	return (w | ((w ^ ones*2) - ones*('"'-1)) | ((w ^ ones*'\\') - ones)) & tops
}

// skipASCII skips what means nothing in a string, up to the first byte above
// 0x7f: eight bytes at a time, and 32 once the string is not a short one.
func skipASCII(b []byte, i int) int {
	for ; len(b)-i >= 8; i += 8 {
		if found := special(binary.LittleEndian.Uint64(b[i:])); found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
		for ; len(b)-i >= 40; i += 32 {
			p := b[i+8 : i+40]
			if special(binary.LittleEndian.Uint64(p))|special(binary.LittleEndian.Uint64(p[8:]))|
				special(binary.LittleEndian.Uint64(p[16:]))|special(binary.LittleEndian.Uint64(p[24:])) != 0 {
				break
			}
		}
	}
	for ; i < len(b); i++ {
		if c := b[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			break
		}
	}
	return i
}

// skipPlain skips what means nothing in a string, bytes above 0x7f included.
func skipPlain(b []byte, i int) int {
	for ; len(b)-i >= 8; i += 8 {
		w := binary.LittleEndian.Uint64(b[i:])
		quote, slash := w^(ones*'"'), w^(ones*'\\')
		found := ((quote-ones)&^quote | (slash-ones)&^slash | (w-ones*' ')&^w) & tops
		if found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
	}
	for ; i < len(b); i++ {
		if c := b[i]; c < ' ' || c == '"' || c == '\\' {
			break
		}
	}
	return i
}

// escape scans the escape sequence whose backslash is at i.
func escape(b []byte, i int) int {
	if len(b)-i < 2 {
		return -1
	}
	switch b[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2
	case 'u':
		if len(b)-i < 6 {
			return -1
		}
		for _, c := range b[i+2 : i+6] {
			if !(digit(c) || 'a' <= c|0x20 && c|0x20 <= 'f') {
				return -1
			}
		}
		return i + 6
	}
	return -1
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && b[i] <= ' ' && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

func literal(b []byte, i int, want string) int {
	if len(b)-i < len(want) || string(b[i:i+len(want)]) != want {
		return -1
	}
	return i + len(want)
}

func digit(c byte) bool { return c-'0' <= 9 }

func number(b []byte, i int) int {
	if b[i] == '-' {
		i++
	}
	if i < len(b) && b[i] == '0' {
		i++
	} else if i = digits(b, i); i < 0 {
		return -1
	}
	if i < len(b) && b[i] == '.' {
		if i = digits(b, i+1); i < 0 {
			return -1
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		return digits(b, i)
	}
	return i
}

// digits scans one or more.
func digits(b []byte, i int) int {
	from := i
	for i < len(b) && digit(b[i]) {
		i++
	}
	if i == from {
		return -1
	}
	return i
}
