package file

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/seglog/seglog/engine"
)

// A line is one record:
//
//	{"id":1,"event":{"kind":"k","payload":…,"headers":{"a":"b"},"occurred_at_ms":0}}
//
// The envelope is written by hand, so that the payload is never encoded again.

const idPrefix = `{"id":`

// lastID is the highest event id: the one behind it is a number too, by which
// an emptied topic is known.
const lastID engine.EventID = math.MaxUint64 - 1

// appendEvent encodes what follows the id in e's line, newline included.
func appendEvent(dst []byte, e *engine.Event) []byte {
	dst = append(dst, `,"event":{"kind":`...)
	dst = appendString(dst, e.Kind)
	dst = append(dst, `,"payload":`...)
	dst = append(dst, onOneLine(e.Payload)...)
	dst = append(dst, `,"headers":{`...)
	for i, k := range sortedKeys(e.Headers) {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendString(dst, k), ':')
		dst = appendString(dst, e.Headers[k])
	}
	dst = append(dst, `},"occurred_at_ms":`...)
	dst = strconv.AppendInt(dst, e.OccurredAtMS, 10)
	return append(dst, "}}\n"...)
}

// sortedKeys allocates nothing where there is nothing to sort.
func sortedKeys(headers map[string]string) []string {
	if len(headers) == 0 {
		return nil
	}
	return slices.Sorted(maps.Keys(headers))
}

// appendLine puts the id before what appendEvent gave.
func appendLine(dst []byte, id engine.EventID, rest []byte) []byte {
	dst = append(dst, idPrefix...)
	dst = strconv.AppendUint(dst, uint64(id), 10)
	return append(dst, rest...)
}

// onOneLine drops the white space between a payload's tokens where there is a
// line break among it.
func onOneLine(payload []byte) []byte {
	if bytes.IndexByte(payload, '\n') < 0 && bytes.IndexByte(payload, '\r') < 0 {
		return payload
	}
	var b bytes.Buffer
	if err := json.Compact(&b, payload); err != nil {
		panic(fmt.Sprintf("file: payload was validated and does not compact: %v", err))
	}
	return b.Bytes()
}

// appendString encodes s, which is valid UTF-8, and escapes what must be.
func appendString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	from := 0
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[from:i]...)
		from = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	return append(append(dst, s[from:]...), '"')
}

// eventBytes is the measure of [Options.MaxEventBytes].
func eventBytes(e *engine.Event) int {
	n := len(e.Kind) + len(e.Payload)
	for k, v := range e.Headers {
		n += len(k) + len(v)
	}
	return n
}

var errNotRecord = errors.New("line is not a record")

// fields are the values of a line, as they stand in it.
type fields struct{ id, kind, payload, headers, at []byte }

// lineID returns the id of a line that parseLine reads: what building an index
// takes for an event, reading does too.
func lineID(line []byte) (engine.EventID, error) {
	f, err := cutLine(line)
	if err != nil {
		return 0, err
	}
	id, _, err := f.check()
	return id, err
}

// parseLine takes a line apart. The event is the caller's.
func parseLine(line []byte) (engine.EventID, engine.Event, error) {
	f, err := cutLine(line)
	if err != nil {
		return 0, engine.Event{}, err
	}
	id, at, err := f.check()
	if err != nil {
		return 0, engine.Event{}, err
	}
	return id, engine.Event{
		Kind: unquote(f.kind), Payload: bytes.Clone(f.payload), Headers: unquoteHeaders(f.headers), OccurredAtMS: at,
	}, nil
}

// cutLine finds the values of a line, which is valid JSON then.
func cutLine(line []byte) (fields, error) {
	if !json.Valid(line) || !utf8.Valid(line) {
		return fields{}, fmt.Errorf("%w: invalid JSON", errNotRecord)
	}
	if f, ok := cutOurs(line); ok {
		return f, nil
	}
	f, err := cutLoosely(line)
	if err != nil {
		return fields{}, fmt.Errorf("%w: %w", errNotRecord, err)
	}
	return f, nil
}

// cutOurs cuts a valid line in the layout of appendEvent. Unlike cutLoosely it
// keeps the white space around the payload.
func cutOurs(line []byte) (f fields, ok bool) {
	rest := line
	for _, field := range []struct {
		name string
		into *[]byte
	}{
		{idPrefix, &f.id},
		{`,"event":{"kind":`, &f.kind},
		{`,"payload":`, &f.payload},
		{`,"headers":`, &f.headers},
		{`,"occurred_at_ms":`, &f.at},
	} {
		if rest, ok = bytes.CutPrefix(rest, []byte(field.name)); !ok {
			return fields{}, false
		}
		n := valueLen(rest)
		*field.into, rest = rest[:n], rest[n:]
	}
	f.id, f.kind, f.headers, f.at = trim(f.id), trim(f.kind), trim(f.headers), trim(f.at)
	return f, string(rest) == "}}"
}

// cutLoosely cuts a valid line in any layout, as the original does: fields in
// any order, others beside them, headers missing. Names count as they are
// written, and a field that is there twice is refused.
func cutLoosely(line []byte) (f fields, err error) {
	var event []byte
	if err := eachField(line, map[string]*[]byte{"id": &f.id, "event": &event}); err != nil {
		return fields{}, err
	}
	if event == nil {
		return f, nil
	}
	return f, eachField(event, map[string]*[]byte{
		"kind": &f.kind, "payload": &f.payload, "headers": &f.headers, "occurred_at_ms": &f.at,
	})
}

// eachField puts the values of an object's fields where they belong.
func eachField(object []byte, into map[string]*[]byte) error {
	return eachMember(object, func(name, value []byte) error {
		field := into[unquote(name)]
		if field == nil {
			return nil
		}
		if *field != nil {
			return fmt.Errorf("it has the field %s twice", name)
		}
		*field = value
		return nil
	})
}

// check refuses what the original cannot read, but for the payload's inside.
func (f *fields) check() (id engine.EventID, at int64, err error) {
	v, err := strconv.ParseUint(string(f.id), 10, 64)
	if id = engine.EventID(v); err != nil || id == 0 {
		return 0, 0, fmt.Errorf("%w: it has no id from 1 up", errNotRecord)
	}
	if id > lastID {
		return 0, 0, fmt.Errorf("%w: event %d, ids end at %d", errNotRecord, id, lastID)
	}
	if f.kind == nil || f.payload == nil || f.at == nil {
		return 0, 0, fmt.Errorf("%w: event %d lacks a field", errNotRecord, id)
	}
	if at, err = strconv.ParseInt(string(f.at), 10, 64); err != nil {
		return 0, 0, fmt.Errorf("%w: event %d: occurred_at_ms is not an integer of 64 bits", errNotRecord, id)
	}
	if err := checkString(f.kind); err != nil {
		return 0, 0, fmt.Errorf("%w: event %d: kind: %w", errNotRecord, id, err)
	}
	if f.headers != nil {
		err := eachMember(f.headers, func(_, value []byte) error { return checkString(value) })
		if err != nil {
			return 0, 0, fmt.Errorf("%w: event %d: headers: %w", errNotRecord, id, err)
		}
	}
	return id, at, nil
}

// eachMember calls f with the name, a checked string, and the value of each
// member of an object that is valid JSON.
func eachMember(object []byte, f func(name, value []byte) error) error {
	rest := trim(object)
	if rest[0] != '{' {
		return errors.New("not an object")
	}
	for rest = trim(rest[1:]); rest[0] != '}'; {
		n := stringLen(rest)
		name := rest[:n]
		rest = trim(rest[n:])[1:] // the colon
		n = valueLen(rest)
		err := checkString(name)
		if err == nil {
			err = f(name, trim(rest[:n]))
		}
		if err != nil {
			return err
		}
		if rest = rest[n:]; rest[0] == ',' {
			rest = trim(rest[1:])
		}
	}
	return nil
}

// trim cuts off the white space of JSON.
func trim(b []byte) []byte { return bytes.Trim(b, " \t\r\n") }

// checkString says whether a valid value is a string that stands for text.
func checkString(b []byte) error {
	if b[0] != '"' {
		return errors.New("not a string")
	}
	for i := bytes.IndexByte(b, '\\'); i >= 0 && i < len(b); i++ {
		if b[i] != '\\' {
			continue
		}
		if i++; b[i] != 'u' {
			continue
		}
		first := escaped(b[i:])
		i += 4
		if !utf16.IsSurrogate(first) {
			continue
		}
		if b[i+1] != '\\' || b[i+2] != 'u' || utf16.DecodeRune(first, escaped(b[i+2:])) == utf8.RuneError {
			return errors.New("half of a surrogate pair")
		}
		i += 6
	}
	return nil
}

// escaped is what u and four digits stand for.
func escaped(b []byte) rune {
	v, err := strconv.ParseUint(string(b[1:5]), 16, 16)
	if err != nil {
		panic("file: escape of a valid string: " + err.Error())
	}
	return rune(v)
}

// unquote is the text of a checked string.
func unquote(b []byte) (s string) {
	if bytes.IndexByte(b, '\\') < 0 {
		return string(b[1 : len(b)-1])
	}
	if err := json.Unmarshal(b, &s); err != nil {
		panic("file: a valid string: " + err.Error())
	}
	return s
}

// unquoteHeaders is what checked headers hold; there may be none.
func unquoteHeaders(b []byte) map[string]string {
	headers := map[string]string{}
	if b == nil {
		return headers
	}
	err := eachMember(b, func(name, value []byte) error {
		headers[unquote(name)] = unquote(value)
		return nil
	})
	if err != nil {
		panic("file: checked headers: " + err.Error())
	}
	return headers
}

// valueLen is the length of the value, white space around it included, that b,
// a part of a valid line, begins with.
func valueLen(b []byte) int {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			i += stringLen(b[i:]) - 1
		case '{', '[':
			depth++
		case ',':
			if depth == 0 {
				return i
			}
		case '}', ']':
			if depth == 0 {
				return i
			}
			depth--
		}
	}
	return len(b)
}

// stringLen is the length of the string, quotes included, that b begins with.
func stringLen(b []byte) int {
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(b)
}
