package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/seglog/seglog/engine"
)

const (
	// lineBytesMax bounds the memory that one line takes. It is above what a
	// log takes as one event, so that the log's own limit is the one that is
	// met; an event's JSON may be longer than the event.
	lineBytesMax = 64 << 20
	// queueBytesMax and queueLinesMax bound the lines that wait for a commit,
	// and so the size of a commit: one line may go over them.
	queueBytesMax = 1 << 20
	queueLinesMax = 16 << 10
)

// line is one line of input as an event.
type line struct {
	number int // from 1, blank lines counted
	topic  engine.Topic
	id     engine.EventID // that the event must get; 0: any
	event  engine.Event
}

// decoder makes events of lines.
type decoder struct {
	topic    engine.Topic // of all lines; zero: each names its own
	kind     string
	headers  map[string]string
	envelope bool
	ids      bool // an envelope's id is the one that its event must get
}

// envelope is a line with --envelope, or of an import. The last three fields
// are what read prints besides; any other is a mistake that would lose data.
type envelope struct {
	Kind         *string            `json:"kind"`
	Payload      json.RawMessage    `json:"payload"`
	Headers      map[string]*string `json:"headers"`
	OccurredAtMS *int64             `json:"occurred_at_ms"`

	ID       json.RawMessage `json:"id"`
	Topic    json.RawMessage `json:"topic"`
	Position json.RawMessage `json:"position"`
}

// line decodes text, which has no white space around it and is not kept.
func (d decoder) line(number int, text []byte) (line, error) {
	l := line{number: number, topic: d.topic}
	l.event = engine.Event{Kind: d.kind, Headers: d.headers, OccurredAtMS: time.Now().UnixMilli()}
	if d.envelope {
		if err := d.open(text, &l); err != nil {
			return l, err
		}
	} else {
		l.event.Payload = bytes.Clone(text)
	}
	err := l.event.Validate()
	if err == nil || json.Valid(l.event.Payload) {
		return l, err
	}
	var v json.RawMessage
	return l, fmt.Errorf("not one JSON value: %w", json.Unmarshal(text, &v)) // says where
}

// open takes from an envelope what it holds.
func (d decoder) open(text []byte, l *line) error {
	if !utf8.Valid(text) { // decoding would put U+FFFD in its place
		return errors.New("envelope is not valid UTF-8")
	}
	var env envelope
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&env); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = errors.New("unexpected end of line")
		}
		return fmt.Errorf("envelope: %w", err)
	}
	if rest := bytes.TrimSpace(text[dec.InputOffset():]); len(rest) > 0 {
		return fmt.Errorf("envelope: more than one JSON value on the line: %.20q follows the first", rest)
	}
	if env.Payload == nil {
		return errors.New(`envelope has no "payload"`)
	}
	if err := d.place(&env, l); err != nil {
		return err
	}
	e := &l.event
	e.Payload = env.Payload
	if env.Kind != nil {
		e.Kind = *env.Kind
	}
	if env.OccurredAtMS != nil {
		e.OccurredAtMS = *env.OccurredAtMS
	}
	if len(env.Headers) == 0 {
		return nil
	}
	headers := make(map[string]string, len(d.headers)+len(env.Headers))
	maps.Copy(headers, d.headers)
	for k, v := range env.Headers {
		if v == nil {
			return fmt.Errorf("envelope: header %q is null, want a string", k)
		}
		headers[k] = *v
	}
	e.Headers = headers
	return nil
}

// place takes from an envelope where its event belongs, as far as that counts.
func (d decoder) place(env *envelope, l *line) error {
	if d.topic == (engine.Topic{}) {
		if env.Topic == nil {
			return errors.New(`envelope has no "topic", and there is no --topic`)
		}
		if err := json.Unmarshal(env.Topic, &l.topic); err != nil {
			return fmt.Errorf("envelope: topic: %w", err)
		}
	}
	if !d.ids || env.ID == nil {
		return nil
	}
	if err := json.Unmarshal(env.ID, &l.id); err != nil || l.id == 0 {
		return fmt.Errorf("envelope: id %s: want a number from 1", env.ID)
	}
	return nil
}

// lines reads and decodes lines ahead of whoever takes them.
type lines struct {
	r      *bufio.Reader
	decode decoder
	number int // lines read; the reading goroutine's own

	mu     sync.Mutex // guards the fields below
	change sync.Cond  // on mu: one of them has changed
	queue  []line     // decoded and not taken
	bytes  int        // in queue
	err    error      // why no line follows those in queue; io.EOF: the input's end
}

func newLines(r io.Reader, decode decoder) *lines {
	l := &lines{r: bufio.NewReaderSize(r, 256<<10), decode: decode}
	l.change.L = &l.mu
	return l
}

// start reads until the input ends, a line is bad, stop is called or ctx ends.
// The goroutine is not waited for: a read of a terminal or a pipe cannot be
// interrupted. All that it holds is the input.
func (l *lines) start(ctx context.Context) (stop func()) {
	cancel := context.AfterFunc(ctx, func() { l.end(ctx.Err()) })
	go func() {
		for {
			next, size, err := l.next()
			if err != nil {
				l.end(err)
				return
			}
			if !l.put(next, size) {
				return
			}
		}
	}()
	return func() {
		cancel()
		l.end(io.EOF)
	}
}

// end makes err the reason that no line follows, if there is none yet.
func (l *lines) end(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
	}
	l.change.Broadcast()
}

// put queues a line of size bytes once there is room, and reports whether to
// go on.
func (l *lines) put(next line, size int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.err == nil && (l.bytes >= queueBytesMax || len(l.queue) >= queueLinesMax) {
		l.change.Wait()
	}
	if l.err != nil {
		return false
	}
	l.queue = append(l.queue, next)
	l.bytes += size
	l.change.Broadcast()
	return true
}

// take waits for lines and returns all that are there. Without any it returns
// why none will come; nil at the end of the input.
func (l *lines) take() ([]line, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.err == nil && len(l.queue) == 0 {
		l.change.Wait()
	}
	if len(l.queue) == 0 {
		if errors.Is(l.err, io.EOF) {
			return nil, nil
		}
		return nil, l.err
	}
	taken := l.queue
	l.queue, l.bytes = nil, 0
	l.change.Broadcast()
	return taken, nil
}

// next reads the next line that is not blank, and its length.
func (l *lines) next() (line, int, error) {
	for {
		text, err := l.read()
		if err != nil {
			return line{}, 0, err
		}
		text = bytes.Trim(text, " \t\r\n")
		if len(text) == 0 {
			continue
		}
		next, err := l.decode.line(l.number, text)
		if err != nil {
			return line{}, 0, fmt.Errorf("line %d: %w", l.number, err)
		}
		return next, len(text), nil
	}
}

// read returns the next line, of any length up to lineBytesMax; it is valid
// until the next read. The last one needs no newline.
func (l *lines) read() ([]byte, error) {
	text, err := l.r.ReadSlice('\n')
	if err == nil || err == io.EOF && len(text) > 0 {
		l.number++
		return text, nil
	}
	if err == io.EOF {
		return nil, err
	}
	whole := bytes.Clone(text)
	for errors.Is(err, bufio.ErrBufferFull) {
		text, err = l.r.ReadSlice('\n')
		if len(whole)+len(text) > lineBytesMax {
			return nil, fmt.Errorf("line %d: longer than %d bytes", l.number+1, lineBytesMax)
		}
		whole = append(whole, text...)
	}
	if err != nil && err != io.EOF {
		return nil, fmt.Errorf("read line %d: %w", l.number+1, err)
	}
	l.number++
	return whole, nil
}
