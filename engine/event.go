package engine

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"time"
	"unicode/utf8"
)

// Event is what a caller appends. Its JSON field names are part of the format
// of every backend.
type Event struct {
	// Kind says what happened; any valid UTF-8, by convention like "job.done".
	Kind string `json:"kind"`
	// Payload is exactly one JSON value, kept byte for byte.
	Payload json.RawMessage `json:"payload"`
	// Headers are kept and encoded sorted by key; nil is the same as empty.
	Headers map[string]string `json:"headers"`
	// OccurredAtMS is in Unix milliseconds, kept as given: 0 and negative
	// values are times like any other.
	OccurredAtMS int64 `json:"occurred_at_ms"`
}

// NewEvent marshals payload (a json.RawMessage is taken as it is) and stamps
// the event with the present time. The error matches [ErrInvalidEvent].
func NewEvent(kind string, payload any) (Event, error) {
	raw, isRaw := payload.(json.RawMessage)
	if !isRaw {
		var buf bytes.Buffer
		enc := json.NewEncoder(&buf)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(payload); err != nil {
			return Event{}, fmt.Errorf("%w: marshal payload of kind %q: %w", ErrInvalidEvent, kind, err)
		}
		raw = json.RawMessage(bytes.TrimSuffix(buf.Bytes(), []byte("\n")))
	}
	e := Event{Kind: kind, Payload: raw, Headers: map[string]string{}, OccurredAtMS: time.Now().UnixMilli()}
	if err := e.Validate(); err != nil {
		return Event{}, err
	}
	return e, nil
}

// WithHeaders returns a copy of e with a copy of headers in place of its own.
func (e Event) WithHeaders(headers map[string]string) Event {
	e.Headers = maps.Clone(headers)
	if e.Headers == nil {
		e.Headers = map[string]string{}
	}
	return e
}

// Validate reports why an append of e would be refused: a payload that is not
// one JSON value, or text that is not valid UTF-8. The error matches
// [ErrInvalidEvent]. Sizes are checked by the log, which knows its limits.
func (e Event) Validate() error {
	_, err := e.validate()
	return err
}

// validate is Validate, and returns the size of the encoded headers, so that
// they are walked through once.
func (e *Event) validate() (headerBytes int, err error) {
	if !utf8.ValidString(e.Kind) {
		return 0, fmt.Errorf("%w: kind %q is not valid UTF-8", ErrInvalidEvent, e.Kind)
	}
	if len(e.Headers) > 0 {
		headerBytes = uvarintLen(uint64(len(e.Headers)))
		for k, v := range e.Headers {
			if !utf8.ValidString(k) || !utf8.ValidString(v) {
				return 0, fmt.Errorf("%w: header %q: %q is not valid UTF-8", ErrInvalidEvent, k, v)
			}
			headerBytes += stringBytes(k) + stringBytes(v)
		}
	}
	return headerBytes, e.validatePayload()
}

func (e *Event) validatePayload() error {
	if len(e.Payload) == 0 {
		return fmt.Errorf("%w: event of kind %q has no payload; the JSON value null is one", ErrInvalidEvent, e.Kind)
	}
	if !validJSON(e.Payload) {
		if !utf8.Valid(e.Payload) {
			return fmt.Errorf("%w: payload of kind %q is not valid UTF-8", ErrInvalidEvent, e.Kind)
		}
		return fmt.Errorf("%w: payload of kind %q is not one JSON value: %s", ErrInvalidEvent, e.Kind, abbreviate(e.Payload))
	}
	return nil
}

func abbreviate(b []byte) string {
	const most = 60
	if len(b) > most {
		return fmt.Sprintf("%q… (%d bytes)", strings.ToValidUTF8(string(b[:most]), "?"), len(b))
	}
	return fmt.Sprintf("%q", b)
}

// Record is an event as it is read. It belongs to the caller: it stays valid
// and unchanged, and writing into it reaches neither the log nor any other
// reader. Who keeps few of many records had better clone their payloads: up to
// 4 KiB of small ones, read one after another, are one allocation.
type Record struct {
	ID    EventID `json:"id"`
	Topic Topic   `json:"topic"`
	// Position is the event's place in the order of all commits of the log,
	// over all topics, from 1; 0 where a backend has none.
	Position uint64 `json:"position"`
	Event
}

// RawRecord is a record as it is stored: what [Engine.ReadRaw] lends, and the
// ReadRaw of other backends. Its slices are valid only until the iteration's
// next step, and not to be written to: other readers may share them.
type RawRecord struct {
	ID           EventID
	Position     uint64
	OccurredAtMS int64
	Kind         []byte
	Payload      []byte
	headers      []byte
}
