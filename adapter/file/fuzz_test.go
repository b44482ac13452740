package file

import (
	"bytes"
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"github.com/seglog/seglog/engine"
)

// FuzzLine: a line is cut the same in our layout and in any, and what is encoded is read back.
func FuzzLine(f *testing.F) {
	for _, line := range []string{
		`{"id":1,"event":{"kind":"k","payload": {"a":[1,"}"]} ,"headers":{"a":"b"},"occurred_at_ms":-1}}`,
		`{"id":1,"event":{"kind":"\u0000\"","payload":"\\\"","headers":{},"occurred_at_ms":0}}`,
		`{"id":1,"event":{"kind":"k","payload":1,"headers":null,"occurred_at_ms":0}}`,
		`{"id":1,"event":{"kind":"k","payload":1,"headers":{"a":null},"occurred_at_ms":0}}`,
		`{"id":18446744073709551615,"event":{"occurred_at_ms":1,"payload":null,"kind":""}}`,
		`{"id":1,"event":{"kind":"k","payload":1,"headers":{},"occurred_at_ms":0},"kind":"x"}`,
		`{"id":1,"event":{"kind":null,"payload":1,"headers":{},"occurred_at_ms":0}}`,
		`{"id":1,"event":{"kind":"\ud83d\ude00\ud800","payload":1,"headers":{"\udead":""},"occurred_at_ms":0}}`,
		` { "event" : { "Kind":"x", "\u006bind":"k" , "payload": [ {} ] , "occurred_at_ms" : -0 , "headers" : { } } , "id" : 3 } `,
		`{"id":1,"event":[]}`, `{"id":1,"event":{"kind":"k","payload":1,"headers":[],"occurred_at_ms":0}}`, `{}`, `[]`, `0`,
		`{"id":01,"event":{}}`, `{"id":1e2}`, `null`, ``, "{\"id\":1,\"event\":{\"kind\":\"\xff",
	} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		if bytes.IndexByte(line, '\n') >= 0 {
			return
		}
		id, e, err := parseLine(line)
		if err != nil {
			return
		}
		if scanned, err := lineID(line); err != nil || scanned != id {
			t.Fatalf("lineID gives %d, %v, parseLine %d", scanned, err, id)
		}
		ours, ok := cutOurs(line)
		if loose, err := cutLoosely(line); err != nil || ok && !sameFields(loose, ours) {
			t.Fatalf("cut loosely: %q, %v; else %q", loose, err, ours)
		}
		if err := e.Validate(); err != nil {
			t.Fatalf("event %+v is read and would be refused: %v", e, err)
		}
		again := appendLine(nil, id, appendEvent(nil, &e))
		if bytes.IndexByte(again, '\n') != len(again)-1 {
			t.Fatalf("encoded in more than a line: %q", again)
		}
		if id2, e2, err := parseLine(again[:len(again)-1]); err != nil || id2 != id || !sameEvent(e2, e) {
			t.Fatalf("encoded and read again: %d, %+v, %v; before %d, %+v", id2, e2, err, id, e)
		}
	})
}

func sameFields(a, b fields) bool {
	return bytes.Equal(a.id, b.id) && bytes.Equal(a.kind, b.kind) && bytes.Equal(a.payload, trim(b.payload)) &&
		bytes.Equal(a.headers, b.headers) && bytes.Equal(a.at, b.at)
}

func sameEvent(a, b engine.Event) bool {
	return a.Kind == b.Kind && maps.Equal(a.Headers, b.Headers) && a.OccurredAtMS == b.OccurredAtMS && compacted(a.Payload) == compacted(b.Payload)
}

func compacted(payload []byte) string {
	var b bytes.Buffer
	if err := json.Compact(&b, payload); err != nil {
		return "invalid: " + string(payload)
	}
	return b.String()
}

// FuzzStem: a topic's names lead back to it, and to no other topic.
func FuzzStem(f *testing.F) {
	for _, name := range []string{"a", "A", "%%a", "CON", "nul.x", ".", "..", "a.", strings.Repeat("x", 255), strings.Repeat("X", 130)} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if found, ok := topicOfStem(name); ok && found.String() != name && escapedStem(found.String()) != name {
			t.Fatalf("stem %q is taken for topic %s, whose escaped one is %s", name, found, escapedStem(found.String()))
		}
		topic, err := engine.NewTopic(name)
		if err != nil {
			return
		}
		if found, ok := topicOfStem(name); !ok || found != topic {
			t.Fatalf("the plain stem %q leads to %q, %v", name, found, ok)
		}
		stem := escapedStem(name)
		if len(stem) > maxStemBytes || stem != fold(stem) || strings.ContainsAny(stem, "/\\:") {
			t.Fatalf("topic %q has the stem %q", name, stem)
		}
		if found, ok := topicOfStem(stem); ok != !strings.HasPrefix(stem, hashed) || ok && found != topic {
			t.Fatalf("the escaped stem %q leads to %q, %v", stem, found, ok)
		}
	})
}

// FuzzJournal: a frame that is read can be written and read again, and none is
// read whose checksum is another one.
func FuzzJournal(f *testing.F) {
	f.Add([]byte(`{"seq":1,"state":"writing","writes":[{"topic":"t","file":"t","at":1,"bytes":2,"xxhash64":"0","first":1}]}`))
	f.Add([]byte(`{"seq":1,"state":"open","weak":true,"unsynced":{"t":5}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		line := append([]byte(sum(body)+" "), body...)
		if fr, ok := parseFrame(line); ok {
			again, err := json.Marshal(fr)
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := parseFrame(append([]byte(sum(again)+" "), again...)); !ok {
				t.Fatalf("frame %s is not read again", again)
			}
		}
		line[0] ^= 1
		if _, ok := parseFrame(line); ok {
			t.Fatal("a frame with a wrong checksum is read")
		}
	})
}
