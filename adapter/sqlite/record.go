package sqlite

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode/utf8"

	driver "zombiezen.com/go/sqlite"

	"github.com/seglog/seglog/engine"
)

// row is an event as it is inserted.
type row struct {
	topic   string
	id      int64 // assigned by the writer
	kind    string
	payload string
	headers string
	at      int64
}

// noHeaders is what most events have.
const noHeaders = "{}"

// encode validates e and copies it: the writer may still read the copy when
// the caller has stopped waiting.
func encode(topic engine.Topic, e *engine.Event) (row, error) {
	if err := e.Validate(); err != nil {
		return row{}, err
	}
	headers, err := encodeHeaders(e.Headers)
	if err != nil {
		return row{}, err
	}
	return row{topic: topic.String(), kind: e.Kind, payload: string(e.Payload), headers: headers, at: e.OccurredAtMS}, nil
}

// encodeHeaders writes a JSON object with sorted keys.
func encodeHeaders(headers map[string]string) (string, error) {
	if len(headers) == 0 {
		return noHeaders, nil
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(headers); err != nil {
		return "", fmt.Errorf("%w: headers: %w", engine.ErrEncoding, err)
	}
	return string(bytes.TrimSuffix(buf.Bytes(), []byte("\n"))), nil
}

// decodeHeaders reads what encodeHeaders or the original wrote. The map is
// never nil.
func decodeHeaders(text string) (map[string]string, error) {
	if text == noHeaders {
		return map[string]string{}, nil
	}
	if !utf8.ValidString(text) {
		return nil, fmt.Errorf("%w: headers are not valid UTF-8", engine.ErrEncoding)
	}
	var values map[string]*string // pointers: null is not a string
	if err := json.Unmarshal([]byte(text), &values); err != nil {
		return nil, fmt.Errorf("%w: headers: %w", engine.ErrEncoding, err)
	}
	if values == nil {
		return nil, fmt.Errorf("%w: headers are null, want an object", engine.ErrEncoding)
	}
	headers := make(map[string]string, len(values))
	for k, v := range values {
		if v == nil {
			return nil, fmt.Errorf("%w: header %q is null, want a string", engine.ErrEncoding, k)
		}
		headers[k] = *v
	}
	return headers, nil
}

const selectEvents = `SELECT event_id, kind, payload, headers, occurred_at_ms FROM events
	WHERE topic = ?1 AND event_id > ?2 AND event_id <= ?3 ORDER BY event_id`

// The columns of selectEvents.
const (
	columnID = iota
	columnKind
	columnPayload
	columnHeaders
	columnOccurredAt
)

// checkRow refuses a row whose values have types that nobody writes.
func checkRow(stmt *driver.Stmt, file, topic string) (id int64, err error) {
	if t := stmt.ColumnType(columnID); t != driver.TypeInteger {
		return 0, corrupt(file, topic, 0, "an event_id has type %v, want an integer", t)
	}
	id = stmt.ColumnInt64(columnID)
	if t := stmt.ColumnType(columnKind); t != driver.TypeText {
		return id, corrupt(file, topic, id, "kind has type %v, want text", t)
	}
	if t := stmt.ColumnType(columnPayload); t != driver.TypeText && t != driver.TypeBlob {
		return id, corrupt(file, topic, id, "payload has type %v, want text or blob", t)
	}
	if t := stmt.ColumnType(columnHeaders); t != driver.TypeText {
		return id, corrupt(file, topic, id, "headers have type %v, want text", t)
	}
	if t := stmt.ColumnType(columnOccurredAt); t != driver.TypeInteger {
		return id, corrupt(file, topic, id, "occurred_at_ms has type %v, want an integer", t)
	}
	return id, nil
}

// decode copies the row that stmt stands on, which checkRow has seen.
func decode(stmt *driver.Stmt, topic engine.Topic, id int64) (engine.Record, error) {
	r := engine.Record{ID: engine.EventID(id), Topic: topic}
	r.Kind = stmt.ColumnText(columnKind)
	r.Payload = columnBytes(stmt, columnPayload)
	r.OccurredAtMS = stmt.ColumnInt64(columnOccurredAt)
	var err error
	if r.Headers, err = decodeHeaders(stmt.ColumnText(columnHeaders)); err != nil {
		return r, fmt.Errorf("event %d: %w", id, err)
	}
	if err := r.Validate(); err != nil {
		return r, fmt.Errorf("event %d: %w: as stored: %v", id, engine.ErrEncoding, err) //nolint:errorlint // the caller's event is not the invalid one
	}
	return r, nil
}

// columnBytes returns a copy of text or of a blob, byte for byte.
func columnBytes(stmt *driver.Stmt, column int) []byte {
	b := make([]byte, stmt.ColumnLen(column))
	stmt.ColumnBytes(column, b)
	return b
}
