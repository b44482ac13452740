package bench

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/seglog/seglog/engine"
)

// AppendEnvelope appends the event as one JSON object. The payload comes last,
// so that a decoder finds its end without parsing it.
func AppendEnvelope(dst []byte, event *engine.Event) []byte {
	dst = append(dst, `{"kind":`...)
	dst = appendJSONString(dst, event.Kind)
	dst = append(dst, `,"occurred_at_ms":`...)
	dst = strconv.AppendInt(dst, event.OccurredAtMS, 10)
	dst = append(dst, `,"headers":{`...)
	if len(event.Headers) > 0 {
		dst = appendHeaders(dst, event.Headers)
	}
	dst = append(dst, `},"payload":`...)
	dst = append(dst, event.Payload...)
	return append(dst, '}')
}

func appendHeaders(dst []byte, headers map[string]string) []byte {
	var room [8]string
	keys := slices.AppendSeq(room[:0], maps.Keys(headers))
	slices.Sort(keys)
	for i, key := range keys {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendJSONString(dst, key)
		dst = append(dst, ':')
		dst = appendJSONString(dst, headers[key])
	}
	return dst
}

// appendJSONString takes the short way where nothing needs an escape.
func appendJSONString(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			quoted, _ := json.Marshal(s) // a string has a JSON form
			return append(dst, quoted...)
		}
	}
	dst = append(dst, '"')
	dst = append(dst, s...)
	return append(dst, '"')
}

var errEnvelope = errors.New("not an envelope")

// DecodeEnvelope is the counterpart of [AppendEnvelope], and of nothing else: it
// copies the payload and does not look into it.
func DecodeEnvelope(b []byte) (engine.Event, error) {
	var event engine.Event
	rest, ok := bytes.CutPrefix(b, []byte(`{"kind":`))
	if !ok {
		return event, errEnvelope
	}
	event.Kind, rest, ok = cutJSONString(rest)
	if !ok {
		return event, errEnvelope
	}
	rest, ok = bytes.CutPrefix(rest, []byte(`,"occurred_at_ms":`))
	comma := bytes.IndexByte(rest, ',')
	if !ok || comma < 0 {
		return event, errEnvelope
	}
	var err error
	if event.OccurredAtMS, err = strconv.ParseInt(string(rest[:comma]), 10, 64); err != nil {
		return event, errEnvelope
	}
	rest, ok = bytes.CutPrefix(rest[comma:], []byte(`,"headers":{`))
	if !ok {
		return event, errEnvelope
	}
	if event.Headers, rest, ok = cutHeaders(rest); !ok {
		return event, errEnvelope
	}
	rest, ok = bytes.CutPrefix(rest, []byte(`},"payload":`))
	if !ok || len(rest) < 2 || rest[len(rest)-1] != '}' {
		return event, errEnvelope
	}
	event.Payload = bytes.Clone(rest[:len(rest)-1])
	return event, nil
}

func cutHeaders(b []byte) (headers map[string]string, rest []byte, ok bool) {
	headers = map[string]string{}
	for len(b) > 0 && b[0] != '}' {
		var key, value string
		if key, b, ok = cutJSONString(bytes.TrimPrefix(b, []byte{','})); !ok || len(b) == 0 || b[0] != ':' {
			return nil, nil, false
		}
		if value, b, ok = cutJSONString(b[1:]); !ok {
			return nil, nil, false
		}
		headers[key] = value
	}
	return headers, b, true
}

func cutJSONString(b []byte) (s string, rest []byte, ok bool) {
	if len(b) == 0 || b[0] != '"' {
		return "", nil, false
	}
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '"':
			return string(b[1:i]), b[i+1:], true
		case '\\':
			return unquoteJSON(b)
		}
	}
	return "", nil, false
}

func unquoteJSON(b []byte) (s string, rest []byte, ok bool) {
	in := json.NewDecoder(bytes.NewReader(b))
	if err := in.Decode(&s); err != nil {
		return "", nil, false
	}
	return s, b[in.InputOffset():], true
}
