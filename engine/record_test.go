package engine

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"strings"
	"testing"

	"github.com/seglog/seglog/wal"
)

func bodyOf(e *Event) int { return encodedBody(e, encodedHeaders(e.Headers)) }

func sampleEvents() []Event {
	return []Event{
		{Kind: "k", Payload: json.RawMessage(`1`)},
		{Kind: "", Payload: json.RawMessage(` {"b":1.0, "a":[]} `), OccurredAtMS: -1},
		{Kind: "job.done", Payload: json.RawMessage(`"x"`), OccurredAtMS: math.MaxInt64, Headers: map[string]string{"b": "2", "a": "", "": "é"}},
		{Kind: string(bytes.Repeat([]byte("k"), 300)), Payload: json.RawMessage(`null`), OccurredAtMS: math.MinInt64},
	}
}

func encodeAll(events []Event, p place, id, position uint64) []byte {
	var data []byte
	for i := range events {
		data = appendEvent(data, &events[i], bodyOf(&events[i]))
	}
	sealEvents(data, p, id, position)
	return data
}

func TestEventRoundTrip(t *testing.T) {
	events := sampleEvents()
	p := place{7, 1}
	it := eventIter{place: p, id: 5, position: 90, last: 8, dense: true, events: encodeAll(events, p, 5, 90)}
	var own owner
	var raw RawRecord
	for i, want := range events {
		if err := it.next(&raw); err != nil {
			t.Fatal(err)
		}
		got := own.own(MustTopic("t"), &raw, 0)
		if got.ID != EventID(5+i) || got.Position != uint64(90+i) {
			t.Errorf("event %d: id %d, position %d", i, got.ID, got.Position)
		}
		if got.Kind != want.Kind || got.OccurredAtMS != want.OccurredAtMS || !bytes.Equal(got.Payload, want.Payload) || !maps.Equal(got.Headers, want.Headers) {
			t.Errorf("event %d: got %+v, want %+v", i, got, want)
		}
		if size := encodedSize(bodyOf(&want)); size != len(it.encoded()) {
			t.Errorf("event %d: encodedSize says %d, it is %d", i, size, len(it.encoded()))
		}
	}
	if it.more() || it.at != len(it.events) {
		t.Error("something is left over")
	}
}

// TestEventCheckCoversEveryBitAndPlace flips every bit of an event, and reads
// it in every wrong place.
func TestEventCheckCoversEveryBitAndPlace(t *testing.T) {
	p := place{7, 1}
	data := encodeAll(sampleEvents()[2:3], p, 5, 90)
	read := func(data []byte, p place, id, position uint64) error {
		it := eventIter{place: p, id: id, position: position, last: id, dense: true, events: data}
		var raw RawRecord
		err := it.next(&raw)
		if err == nil && it.at != len(it.events) {
			t.Fatal("something is left over")
		}
		return err
	}
	if err := read(data, p, 5, 90); err != nil {
		t.Fatal(err)
	}
	for i := range data {
		for bit := range 8 {
			bad := bytes.Clone(data)
			bad[i] ^= 1 << bit
			if read(bad, p, 5, 90) == nil {
				t.Errorf("flipped bit %d of byte %d goes unseen", bit, i)
			}
		}
	}
	for name, err := range map[string]error{
		"topic":       read(data, place{8, 1}, 5, 90),
		"incarnation": read(data, place{7, 2}, 5, 90),
		"id":          read(data, p, 6, 90),
		"position":    read(data, p, 5, 91),
	} {
		if err == nil {
			t.Errorf("an event in the place of another %s verifies", name)
		}
	}
}

func TestGroupEncodingMergesRuns(t *testing.T) {
	a, b := newTopicState(MustTopic("a"), place{1, 1}), newTopicState(MustTopic("b"), place{2, 1})
	run := func(s *topicState, id, position uint64) op {
		ev := Event{Kind: "k", Payload: json.RawMessage(`1`)}
		data := appendEvent(nil, &ev, bodyOf(&ev))
		sealEvents(data, s.place, id, position)
		return op{kind: opRun, t: s, topic: s.name, first: id, position: position, count: 1, data: data}
	}
	first := run(a, 1, 1)
	first.create = true
	g := &group{ops: []op{first, run(a, 2, 2), run(b, 5, 3), run(a, 3, 4)}}
	var buf wal.Buffer
	urgent, position := encodeGroup(&buf, g)
	if urgent || position != 1 {
		t.Errorf("urgent %v, position %d", urgent, position)
	}
	type want struct {
		t     recordType
		topic uint64
		first uint64
		count uint32
	}
	wants := []want{{t: recordCreate}, {recordRun, 1, 1, 2}, {recordRun, 2, 5, 1}, {recordRun, 1, 3, 1}}
	rest := buf.Payload()
	for i, w := range wants {
		typ, body, next, err := cutRecord(rest)
		if err != nil {
			t.Fatal(err)
		}
		if typ != w.t {
			t.Fatalf("record %d has type %d, want %d", i, typ, w.t)
		}
		if typ == recordRun {
			r, err := parseRun(body)
			if err != nil {
				t.Fatal(err)
			}
			if r.topic != w.topic || r.first != w.first || r.count != w.count {
				t.Errorf("record %d is %+v, want %+v", i, r, w)
			}
			if err := verifyRun(r, position); err != nil {
				t.Errorf("record %d: %v", i, err)
			}
			position += uint64(r.count)
		}
		rest = next
	}
	if len(rest) != 0 {
		t.Errorf("%d bytes are left over", len(rest))
	}
}

func FuzzEvent(f *testing.F) {
	for _, ev := range sampleEvents() {
		f.Add(encodeAll([]Event{ev}, place{1, 1}, 1, 1))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		_, body, _, err := splitEvent(data)
		if err != nil {
			return
		}
		var raw RawRecord
		if parseBody(body, &raw) != nil {
			return
		}
		var own owner
		r := own.own(MustTopic("t"), &raw, 0)
		again := appendEvent(nil, &r.Event, bodyOf(&r.Event))
		_, body2, size, err := splitEvent(again)
		var raw2 RawRecord
		if err != nil || size != len(again) || parseBody(body2, &raw2) != nil {
			t.Fatalf("what was read cannot be written and read again: %v", err)
		}
		if !bytes.Equal(raw.Payload, raw2.Payload) || raw.OccurredAtMS != raw2.OccurredAtMS || !bytes.Equal(raw.Kind, raw2.Kind) {
			t.Fatalf("read %+v, then %+v", raw, raw2)
		}
	})
}

func FuzzFrame(f *testing.F) {
	s := newTopicState(MustTopic("a"), place{1, 1})
	ev := sampleEvents()[0]
	data := encodeAll([]Event{ev}, s.place, 1, 1)
	g := &group{ops: []op{
		{kind: opRun, create: true, t: s, topic: s.name, first: 1, position: 1, count: 1, data: data},
		{kind: opCursor, t: s, topic: s.name, consumer: "c", id: 1},
		{kind: opTrim, t: s, topic: s.name, id: 1},
	}}
	var buf wal.Buffer
	encodeGroup(&buf, g)
	f.Add(bytes.Clone(buf.Payload()), uint64(1))
	f.Fuzz(func(t *testing.T, payload []byte, position uint64) {
		e := replayTarget()
		frame := wal.Frame{Payload: payload}
		frame.Position = position
		_ = (&replayer{e: e}).frame(&frame)
		for _, s := range e.byNum {
			if latest := s.latest.Load(); s.low.Load() > latest+1 {
				t.Fatalf("topic %s begins at %d, the latest is %d", s.name, s.low.Load(), latest)
			}
		}
	})
}

// Payloads of one allocation do not reach into one another.
func TestOwnedPayloadsAreApart(t *testing.T) {
	var own owner
	var records []Record
	for i := range 50 {
		payload := fmt.Appendf(nil, "%q", strings.Repeat("x", 3*i))
		records = append(records, own.own(MustTopic("t"), &RawRecord{ID: EventID(i), Payload: payload}, uint64(49-i)))
	}
	for _, r := range records {
		_ = append(r.Payload, "beyond"...)
		r.Payload[0], r.Payload[len(r.Payload)-1] = '<', '>'
	}
	for i, r := range records {
		if want := "<" + strings.Repeat("x", 3*i) + ">"; string(r.Payload) != want {
			t.Fatalf("payload %d is %s, want %s", i, r.Payload, want)
		}
	}
}
