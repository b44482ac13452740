package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"
)

// An encoded event, in WAL records, tails and blocks alike (see FORMAT.md):
//
//	size   uvarint   bytes that follow
//	check  u32       low half of xxhash64(body), mixed with topic, id and position
//	body:
//	  flags     u8       bits 0-3 payload encoding (0: JSON), bit 4 headers, bit 5 key
//	  time      varint   occurred_at_ms, zigzag
//	  kind      uvarint length, bytes
//	  [headers] uvarint count, then key and value, each uvarint length and bytes; sorted by key
//	  [key]     idempotency key: uvarint length, bytes
//	  payload   the rest
//
// The check is computed when the event is appended and verified whenever it is
// delivered. It covers where the event belongs, so an event that turns up in
// another place does not verify.

const (
	encodingJSON    = 0
	encodingMask    = 0x0f
	flagHeaders     = 0x10
	flagKey         = 0x20
	flagsKnown      = flagHeaders | flagKey | encodingMask
	checkBytes      = 4
	maxHeaderCount  = 1 << 20
	minEncodedEvent = 1 + checkBytes + 4 // size, check, flags, time, kind length, payload
)

// place is where an event belongs; it goes into the event's check.
type place struct {
	topic       uint64
	incarnation uint32
}

// mix spreads an event's place over 32 bits. Multipliers are those of
// xxhash64.
func (p place) mix(id, position uint64) uint32 {
	const (
		p1 = 0x9E3779B185EBCA87
		p2 = 0xC2B2AE3D27D4EB4F
		p3 = 0x165667B19E3779F9
	)
	h := id*p1 + position*p2 + (p.topic<<16^uint64(p.incarnation))*p3
	h ^= h >> 29
	h *= p2
	return uint32(h >> 32)
}

func uvarintLen(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }

func zigzag(v int64) uint64   { return uint64(v)<<1 ^ uint64(v>>63) }
func unzigzag(v uint64) int64 { return int64(v>>1) ^ -int64(v&1) }

// encodedBody is the size of the event's body, with headers of that size.
func encodedBody(e *Event, headerBytes int) int {
	return 1 + uvarintLen(zigzag(e.OccurredAtMS)) + stringBytes(e.Kind) + headerBytes + len(e.Payload)
}

func encodedHeaders(headers map[string]string) int {
	if len(headers) == 0 {
		return 0
	}
	n := uvarintLen(uint64(len(headers)))
	for k, v := range headers {
		n += stringBytes(k) + stringBytes(v)
	}
	return n
}

func stringBytes(s string) int { return uvarintLen(uint64(len(s))) + len(s) }

// encodedSize is the size of a whole encoded event with a body of that size, the
// measure of [Options.MaxEventBytes].
func encodedSize(body int) int {
	n := body + checkBytes
	return uvarintLen(uint64(n)) + n
}

// appendEvent encodes e, which has a body of that size, behind dst. Its check
// still lacks the event's place: see sealEvents.
func appendEvent(dst []byte, e *Event, body int) []byte {
	dst = binary.AppendUvarint(dst, uint64(body+checkBytes))
	check := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	flags := byte(encodingJSON)
	if len(e.Headers) > 0 {
		flags |= flagHeaders
	}
	dst = append(dst, flags)
	dst = binary.AppendUvarint(dst, zigzag(e.OccurredAtMS))
	dst = appendString(dst, e.Kind)
	if len(e.Headers) > 0 {
		dst = appendHeaders(dst, e.Headers)
	}
	dst = append(dst, e.Payload...)
	h := xxhash.Sum64(dst[check+checkBytes:])
	binary.LittleEndian.PutUint32(dst[check:], uint32(h))
	return dst
}

func appendString(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

func appendHeaders(dst []byte, headers map[string]string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(headers)))
	type header struct{ key, value string }
	var few [16]header
	sorted := few[:0]
	for k, v := range headers {
		sorted = append(sorted, header{k, v})
	}
	slices.SortFunc(sorted, func(a, b header) int { return strings.Compare(a.key, b.key) })
	for i := range sorted {
		dst = appendString(dst, sorted[i].key)
		dst = appendString(dst, sorted[i].value)
	}
	return dst
}

// sealEvents completes the checks of the encoded events in data, whose first
// one has the given id and position. The events are our own: they parse.
func sealEvents(data []byte, p place, id, position uint64) {
	for len(data) > 0 {
		size, n := binary.Uvarint(data)
		check := binary.LittleEndian.Uint32(data[n:])
		binary.LittleEndian.PutUint32(data[n:], check^p.mix(id, position))
		data = data[n+int(size):]
		id++
		position++
	}
}

var errShortEvent = errors.New("event is cut short")

// splitEvent returns the first encoded event's check and body, and its size.
func splitEvent(data []byte) (check uint32, body []byte, size int, err error) {
	var length uint64
	var n int
	if len(data) > 1 && data[1] < 0x80 && data[0] >= 0x80 { // two bytes: the common case
		length, n = uint64(data[0]&0x7f)|uint64(data[1])<<7, 2
	} else {
		length, n = binary.Uvarint(data)
	}
	if n <= 0 || length < checkBytes+3 || length > uint64(len(data)-n) {
		return 0, nil, 0, errShortEvent
	}
	size = n + int(length)
	return binary.LittleEndian.Uint32(data[n:]), data[n+checkBytes : size : size], size, nil
}

// verifyEvent checks a body against its check and place.
func verifyEvent(check uint32, body []byte, p place, id, position uint64) error {
	if got := uint32(xxhash.Sum64(body)) ^ p.mix(id, position); got != check {
		return fmt.Errorf("event %d has check %08x, computed %08x", id, check, got)
	}
	return nil
}

// parseBody takes a verified body apart. The slices point into body.
func parseBody(body []byte, r *RawRecord) error {
	flags := body[0]
	if flags&^flagsKnown != 0 || flags&encodingMask != encodingJSON {
		return fmt.Errorf("%w: event flags %#02x", ErrVersion, flags)
	}
	rest := body[1:]
	t, n := binary.Uvarint(rest)
	if n <= 0 {
		return errShortEvent
	}
	r.OccurredAtMS = unzigzag(t)
	var err error
	if r.Kind, rest, err = cutBytes(rest[n:]); err != nil {
		return err
	}
	r.headers = nil
	if flags&flagHeaders != 0 {
		if r.headers, rest, err = cutHeaders(rest); err != nil {
			return err
		}
	}
	if flags&flagKey != 0 {
		if _, rest, err = cutBytes(rest); err != nil {
			return err
		}
	}
	r.Payload = rest
	return nil
}

// cutBytes takes a length and that many bytes off the front of b.
func cutBytes(b []byte) (field, rest []byte, err error) {
	if len(b) > 0 && b[0] < 0x80 && int(b[0]) < len(b) { // one byte: the common case
		n := 1 + int(b[0])
		return b[1:n:n], b[n:], nil
	}
	size, n := binary.Uvarint(b)
	if n <= 0 || size > uint64(len(b)-n) {
		return nil, nil, errShortEvent
	}
	end := n + int(size)
	return b[n:end:end], b[end:], nil
}

// cutHeaders returns the encoded headers, count included, unparsed but
// checked, and what follows them.
func cutHeaders(b []byte) (headers, rest []byte, err error) {
	count, n := binary.Uvarint(b)
	if n <= 0 || count > maxHeaderCount {
		return nil, nil, errShortEvent
	}
	rest = b[n:]
	for range 2 * count {
		if _, rest, err = cutBytes(rest); err != nil {
			return nil, nil, err
		}
	}
	return b[:len(b)-len(rest)], rest, nil
}

// Headers yields the record's headers, sorted by key. The slices are lent
// like the record's own.
func (r *RawRecord) Headers(yield func(key, value []byte) bool) {
	if len(r.headers) == 0 {
		return
	}
	count, n := binary.Uvarint(r.headers)
	rest := r.headers[n:]
	for range count {
		var k, v []byte
		k, rest, _ = cutBytes(rest) // checked by cutHeaders
		v, rest, _ = cutBytes(rest)
		if !yield(k, v) {
			return
		}
	}
}

// SetHeaders makes headers the record's own, in the memory that those before
// them took: for backends of other packages.
func (r *RawRecord) SetHeaders(headers map[string]string) {
	if r.headers = r.headers[:0]; len(headers) > 0 {
		r.headers = appendHeaders(r.headers, headers)
	}
}

// owner turns lent records into records of the caller's own. It keeps the
// last kind, since most events of a topic share a few.
type owner struct {
	kind string
	room []byte // for payloads of the next records
}

// sharedRoomBytes is the most that small payloads share an allocation of. Who
// keeps one of them keeps all of it.
const sharedRoomBytes = 4 << 10

// own copies r, behind which left records may follow.
func (o *owner) own(topic Topic, r *RawRecord, left uint64) Record {
	if o.kind != string(r.Kind) {
		o.kind = string(r.Kind)
	}
	n := len(r.Payload)
	if n > cap(o.room)-len(o.room) {
		if n > sharedRoomBytes/4 {
			return o.record(topic, r, slices.Clone(r.Payload))
		}
		o.room = make([]byte, 0, n*int(min(left+1, uint64(sharedRoomBytes/n))))
	}
	at := len(o.room)
	o.room = append(o.room, r.Payload...)
	return o.record(topic, r, o.room[at:at+n:at+n])
}

func (o *owner) record(topic Topic, r *RawRecord, payload []byte) Record {
	return Record{
		ID: r.ID, Topic: topic, Position: r.Position,
		Event: Event{Kind: o.kind, Payload: payload, Headers: r.ownHeaders(), OccurredAtMS: r.OccurredAtMS},
	}
}

// ownHeaders copies the headers into a map, and one string for all of them.
func (r *RawRecord) ownHeaders() map[string]string {
	if len(r.headers) == 0 {
		return map[string]string{}
	}
	text := string(r.headers)
	count, n := binary.Uvarint(r.headers)
	rest := r.headers[n:]
	next := func() string {
		var field []byte
		field, rest, _ = cutBytes(rest) // checked by cutHeaders
		end := len(text) - len(rest)
		return text[end-len(field) : end]
	}
	headers := make(map[string]string, count)
	for range count {
		key := next()
		headers[key] = next()
	}
	return headers
}

// A WAL frame's payload is a sequence of records (see FORMAT.md):
//
//	type    u8
//	zero    3 bytes
//	length  u32      bytes of the body
//	body
//
// Bodies:
//
//	run     topic u64, incarnation u32, count u32, first id u64, count events
//	create  topic u64, incarnation u32, name (the rest)
//	cursor  a cursor entry, see cursor/FORMAT.md
//	trim    topic u64, incarnation u32, before u64
//	begin   topic u64, incarnation u32, latest u64

type recordType uint8

const (
	recordRun    recordType = 1
	recordCreate recordType = 2
	recordCursor recordType = 3
	recordTrim   recordType = 4
	recordBegin  recordType = 5

	recordHeaderBytes = 8
	runHeaderBytes    = 24
	placeBytes        = 12
	trimBytes         = placeBytes + 8
	beginBytes        = placeBytes + 8
	// oneRunBytesMax is the most that a commit of one run takes beside events.
	oneRunBytesMax = 2*recordHeaderBytes + runHeaderBytes + placeBytes + MaxTopicBytes
)

type runRecord struct {
	place
	first  uint64
	count  uint32
	events []byte
}

func putRecordHeader(dst []byte, t recordType, length int) {
	dst[0], dst[1], dst[2], dst[3] = byte(t), 0, 0, 0
	binary.LittleEndian.PutUint32(dst[4:], uint32(length))
}

func putRunHeader(dst []byte, r *runRecord) {
	binary.LittleEndian.PutUint64(dst, r.topic)
	binary.LittleEndian.PutUint32(dst[8:], r.incarnation)
	binary.LittleEndian.PutUint32(dst[12:], r.count)
	binary.LittleEndian.PutUint64(dst[16:], r.first)
}

// cutRecord takes the first record off a frame's payload.
func cutRecord(b []byte) (t recordType, body, rest []byte, err error) {
	if len(b) < recordHeaderBytes {
		return 0, nil, nil, fmt.Errorf("%d bytes left, a record's header has %d", len(b), recordHeaderBytes)
	}
	length := binary.LittleEndian.Uint32(b[4:])
	if uint64(length) > uint64(len(b)-recordHeaderBytes) {
		return 0, nil, nil, fmt.Errorf("record of %d bytes, %d are left", length, len(b)-recordHeaderBytes)
	}
	end := recordHeaderBytes + int(length)
	return recordType(b[0]), b[recordHeaderBytes:end:end], b[end:], nil
}

func parsePlace(b []byte) (place, []byte, error) {
	if len(b) < 12 {
		return place{}, nil, fmt.Errorf("record of %d bytes has no topic", len(b))
	}
	return place{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint32(b[8:])}, b[12:], nil
}

func parseRun(b []byte) (r runRecord, err error) {
	if len(b) < runHeaderBytes {
		return r, fmt.Errorf("run of %d bytes, its header has %d", len(b), runHeaderBytes)
	}
	r.topic = binary.LittleEndian.Uint64(b)
	r.incarnation = binary.LittleEndian.Uint32(b[8:])
	r.count = binary.LittleEndian.Uint32(b[12:])
	r.first = binary.LittleEndian.Uint64(b[16:])
	r.events = b[runHeaderBytes:]
	if r.count == 0 || uint64(r.count)*minEncodedEvent > uint64(len(r.events)) {
		return r, fmt.Errorf("run of %d events in %d bytes", r.count, len(r.events))
	}
	if r.first == 0 || r.first+uint64(r.count) < r.first {
		return r, fmt.Errorf("run of %d events from id %d", r.count, r.first)
	}
	return r, nil
}

// verifyRun checks every event of a run that was read from disk.
func verifyRun(r runRecord, position uint64) error {
	rest := r.events
	for i := range uint64(r.count) {
		check, body, size, err := splitEvent(rest)
		if err != nil {
			return err
		}
		if err := verifyEvent(check, body, r.place, r.first+i, position+i); err != nil {
			return err
		}
		rest = rest[size:]
	}
	if len(rest) != 0 {
		return fmt.Errorf("run of %d events has %d bytes left over", r.count, len(rest))
	}
	return nil
}
