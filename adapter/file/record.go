package file

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/seglog/seglog/engine"
)

// A line is one record:
//
//	{"id":1,"event":{"kind":"k","payload":…,"headers":{"a":"b"},"occurred_at_ms":0}}
//
// The envelope is written by hand, so that the payload is never encoded again.

const idPrefix = `{"id":`

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

// lineID returns the id of a line that parseLine reads: what building an index
// takes for an event, reading does too.
func lineID(line []byte) (engine.EventID, error) {
	id, _, err := parseLine(line)
	return id, err
}

// cutID takes the id off a line that begins as ours do.
func cutID(line []byte) (id engine.EventID, rest []byte, ok bool) {
	rest, ok = bytes.CutPrefix(line, []byte(idPrefix))
	if !ok {
		return 0, nil, false
	}
	n := 0
	for n < len(rest) && n < 20 && rest[n] >= '0' && rest[n] <= '9' {
		n++
	}
	v, err := strconv.ParseUint(string(rest[:n]), 10, 64)
	return engine.EventID(v), rest[n:], err == nil && v > 0
}

// parseLine takes a line apart. The event is the caller's.
func parseLine(line []byte) (engine.EventID, engine.Event, error) {
	if !json.Valid(line) || !utf8.Valid(line) {
		return 0, engine.Event{}, fmt.Errorf("%w: invalid JSON", errNotRecord)
	}
	if id, e, ok := parseOurs(line); ok {
		return id, e, nil
	}
	return parseLoosely(line)
}

// parseOurs parses a valid line in the layout of appendEvent. Unlike
// parseLoosely it keeps the white space around the payload.
func parseOurs(line []byte) (id engine.EventID, e engine.Event, ok bool) {
	id, rest, ok := cutID(line)
	if !ok {
		return 0, e, false
	}
	var kind, payload, headers, at []byte
	for _, field := range []struct {
		name string
		into *[]byte
	}{
		{`,"event":{"kind":`, &kind},
		{`,"payload":`, &payload},
		{`,"headers":`, &headers},
		{`,"occurred_at_ms":`, &at},
	} {
		if rest, ok = bytes.CutPrefix(rest, []byte(field.name)); !ok {
			return 0, e, false
		}
		n := valueLen(rest)
		*field.into, rest = rest[:n], rest[n:]
	}
	ms, err := strconv.ParseInt(string(at), 10, 64)
	if err != nil || string(rest) != "}}" {
		return 0, e, false
	}
	e.OccurredAtMS = ms
	if e.Kind, ok = parseString(kind); !ok {
		return 0, e, false
	}
	e.Headers = map[string]string{}
	if string(headers) != "{}" {
		if err := json.Unmarshal(headers, &e.Headers); err != nil || e.Headers == nil {
			return 0, e, false
		}
	}
	e.Payload = bytes.Clone(payload)
	return id, e, true
}

func parseString(b []byte) (s string, ok bool) {
	if len(b) < 2 || b[0] != '"' {
		return "", false
	}
	if bytes.IndexByte(b, '\\') < 0 {
		return string(b[1 : len(b)-1]), true
	}
	err := json.Unmarshal(b, &s)
	return s, err == nil
}

// valueLen is the length of the value, white space around it included, that b,
// a part of a valid line, begins with.
func valueLen(b []byte) int {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			for i++; i < len(b) && b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
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

// parseLoosely parses a record in any layout, as the original does: fields in
// any order, others beside them, headers missing.
func parseLoosely(line []byte) (engine.EventID, engine.Event, error) {
	var r struct {
		ID    *engine.EventID `json:"id"`
		Event *struct {
			Kind         *string           `json:"kind"`
			Payload      json.RawMessage   `json:"payload"`
			Headers      map[string]string `json:"headers"`
			OccurredAtMS *int64            `json:"occurred_at_ms"`
		} `json:"event"`
	}
	if err := json.Unmarshal(line, &r); err != nil {
		return 0, engine.Event{}, fmt.Errorf("%w: %w", errNotRecord, err)
	}
	if r.ID == nil || *r.ID == 0 {
		return 0, engine.Event{}, fmt.Errorf("%w: it has no id from 1 up", errNotRecord)
	}
	if r.Event == nil || r.Event.Kind == nil || len(r.Event.Payload) == 0 || r.Event.OccurredAtMS == nil {
		return 0, engine.Event{}, fmt.Errorf("%w: event %d lacks a field", errNotRecord, *r.ID)
	}
	e := engine.Event{Kind: *r.Event.Kind, Payload: r.Event.Payload, Headers: r.Event.Headers, OccurredAtMS: *r.Event.OccurredAtMS}
	if e.Headers == nil {
		e.Headers = map[string]string{}
	}
	return *r.ID, e, nil
}
