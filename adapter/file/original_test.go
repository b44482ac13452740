package file_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seglog/seglog/adapter/file"
	"github.com/seglog/seglog/engine"
)

// original reads a directory as the program does that the format is from,
// written anew from its rules: a line is a record, any other line an error, and
// the latest id is that of the last line.
type original struct{ dir string }

type originalRecord struct {
	ID    *uint64 `json:"id"`
	Event *struct {
		Kind         *string           `json:"kind"`
		Payload      json.RawMessage   `json:"payload"`
		Headers      map[string]string `json:"headers"`
		OccurredAtMS *int64            `json:"occurred_at_ms"`
	} `json:"event"`
}

func (o original) topicPath(topic string) string {
	return filepath.Join(o.dir, "topics", topic+".jsonl")
}

func (o original) cursorPath(topic, consumer string) string {
	clean := strings.Map(func(r rune) rune {
		if r < 128 && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r)) {
			return r
		}
		return '_'
	}, consumer)
	return filepath.Join(o.dir, "consumers", topic+"__"+clean+".json")
}

// readRange returns the records after from, at most limit and one at least.
func (o original) readRange(topic string, from uint64) ([]originalRecord, error) {
	b, err := os.ReadFile(o.topicPath(topic))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var records []originalRecord
	text := strings.TrimSuffix(string(b), "\n")
	if text == "" {
		return nil, nil
	}
	for line := range strings.SplitSeq(text, "\n") {
		var r originalRecord
		if err := json.Unmarshal([]byte(strings.TrimSuffix(line, "\r")), &r); err != nil {
			return nil, fmt.Errorf("line %q: %w", line, err)
		}
		if r.ID == nil || r.Event == nil || r.Event.Kind == nil || r.Event.Payload == nil || r.Event.OccurredAtMS == nil {
			return nil, fmt.Errorf("line %q lacks a field", line)
		}
		if *r.ID > from {
			records = append(records, r)
		}
	}
	return records, nil
}

func (o original) latest(topic string) (uint64, error) {
	records, err := o.readRange(topic, 0)
	if err != nil || len(records) == 0 {
		return 0, err
	}
	return *records[len(records)-1].ID, nil
}

// append writes as the original does: with the id behind that of the last line,
// at the file's end, whatever is there.
func (o original) append(topic string, e engine.Event) (uint64, error) {
	latest, err := o.latest(topic)
	if err != nil {
		return 0, err
	}
	f, err := os.OpenFile(o.topicPath(topic), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return 0, err
	}
	_, err = fmt.Fprintln(f, originalLine(latest+1, e))
	return latest + 1, errors.Join(err, f.Close())
}

func originalLine(id uint64, e engine.Event) string {
	headers := e.Headers
	if headers == nil {
		headers = map[string]string{}
	}
	kind, _ := json.Marshal(e.Kind)
	sorted, _ := json.Marshal(headers)
	return fmt.Sprintf(`{"id":%d,"event":{"kind":%s,"payload":%s,"headers":%s,"occurred_at_ms":%d}}`, id, kind, e.Payload, sorted, e.OccurredAtMS)
}

func (o original) cursor(topic, consumer string) (uint64, bool, error) {
	b, err := os.ReadFile(o.cursorPath(topic, consumer))
	if errors.Is(err, os.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	var r struct{ Cursor *uint64 }
	if err := json.Unmarshal(b, &r); err != nil || r.Cursor == nil {
		return 0, false, fmt.Errorf("cursor of %s, %s: %q: %w", topic, consumer, b, err)
	}
	return *r.Cursor, true, nil
}

// ack writes as the original does: keys sorted, two spaces.
func (o original) ack(topic, consumer string, upTo uint64) error {
	b, err := json.MarshalIndent(map[string]any{"topic": topic, "consumer_id": consumer, "cursor": upTo, "updated_at_ms": 1_700_000_000_000}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(o.cursorPath(topic, consumer), b, 0o644)
}

// newOriginal makes an empty directory of the original.
func newOriginal(t *testing.T) original {
	t.Helper()
	dir := t.TempDir()
	for _, sub := range []string{"topics", "consumers"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return original{dir}
}

// write gives a topic's file this content.
func (o original) write(t *testing.T, topic, content string) {
	t.Helper()
	if err := os.WriteFile(o.topicPath(topic), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// wantOriginal fails unless the original reads what ours shows of a topic.
func wantOriginal(t *testing.T, o original, log engine.EventLog, topic engine.Topic) {
	t.Helper()
	ours := readAll(t, log, topic)
	theirs, err := o.readRange(topic.String(), 0)
	if err != nil {
		t.Fatalf("the original cannot read topic %s: %v", topic, err)
	}
	if len(theirs) != len(ours) {
		t.Fatalf("the original reads %d events of topic %s, ours %d", len(theirs), topic, len(ours))
	}
	for i, r := range ours {
		e := theirs[i].Event
		if *theirs[i].ID != uint64(r.ID) || *e.Kind != r.Kind || *e.OccurredAtMS != r.OccurredAtMS ||
			!maps.Equal(e.Headers, r.Headers) || string(e.Payload) != strings.TrimSpace(string(r.Payload)) {
			t.Fatalf("the original reads event %d of topic %s otherwise than ours: %+v", r.ID, topic, r)
		}
	}
}

func event(payload string) engine.Event {
	return engine.Event{Kind: "k", Payload: json.RawMessage(payload), Headers: map[string]string{"h": "v"}, OccurredAtMS: -7}
}

func open(t *testing.T, dir string, o file.Options) *file.Log {
	t.Helper()
	log, err := file.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	return log
}

func shut(t *testing.T, log *file.Log) {
	t.Helper()
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
}

func mustAppend(t *testing.T, log engine.EventLog, topic engine.Topic, payloads ...string) engine.EventID {
	t.Helper()
	events := make([]engine.Event, len(payloads))
	for i, p := range payloads {
		events[i] = event(p)
	}
	_, last, err := log.AppendBatch(t.Context(), topic, events)
	if err != nil {
		t.Fatal(err)
	}
	return last
}

func readAll(t *testing.T, log engine.EventLog, topic engine.Topic) []engine.Record {
	t.Helper()
	records, err := engine.ReadRange(t.Context(), log, topic, 0, engine.NoLimit)
	if err != nil {
		t.Fatal(err)
	}
	return records
}

func wantPayloads(t *testing.T, log engine.EventLog, topic engine.Topic, first engine.EventID, want ...string) {
	t.Helper()
	records := readAll(t, log, topic)
	var got []string
	for i, r := range records {
		if r.ID != first+engine.EventID(i) {
			t.Fatalf("topic %s: event %d in the place of %d", topic, r.ID, first+engine.EventID(i))
		}
		got = append(got, string(r.Payload))
	}
	if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
		t.Fatalf("topic %s holds %q, want %q", topic, got, want)
	}
}

var jobs = engine.MustTopic("jobs")

// TestOpensWhatTheOriginalWrote takes files as the original leaves them through
// opening, reading, appending and reopening, after each of which the original
// reads them again.
func TestOpensWhatTheOriginalWrote(t *testing.T) {
	line := func(id uint64, payload string) string { return originalLine(id, event(payload)) }
	for _, c := range []struct {
		name, content string
		first         engine.EventID
		want          []string
		unreadable    bool // by the original, before our append
	}{
		{name: "whole lines", content: line(1, `{"n":1}`) + "\n" + line(2, `"a\nb"`) + "\n", first: 1, want: []string{`{"n":1}`, `"a\nb"`}},
		{name: "compacted", content: line(41, "1") + "\n" + line(42, "2") + "\n", first: 41, want: []string{"1", "2"}},
		{name: "torn last line", content: line(1, "1") + "\n" + line(2, "2")[:30], first: 1, want: []string{"1"}, unreadable: true},
		{name: "torn only line", content: line(1, "1")[:20], first: 1, unreadable: true},
		{name: "last line without newline", content: line(1, "1") + "\n" + line(2, "2"), first: 1, want: []string{"1", "2"}},
		{name: "only line without newline", content: line(7, "1"), first: 7, want: []string{"1"}},
		{name: "blank lines", content: "\n" + line(1, "1") + "\n \t\n" + line(2, "2") + "\n\n", first: 1, want: []string{"1", "2"}, unreadable: true},
		{
			name:    "no headers, other fields, another order",
			content: `{"event":{"occurred_at_ms":5,"payload":{"b":1,"a":2.50},"kind":"x","more":[]},"id":3}` + "\n",
			first:   3, want: []string{`{"b":1,"a":2.50}`},
		},
		{name: "no file", first: 1},
		{name: "empty file", content: "", first: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := newOriginal(t)
			if c.name != "no file" {
				o.write(t, "jobs", c.content)
			}
			for _, readOnly := range []bool{true, false} {
				log := open(t, o.dir, file.Options{ReadOnly: readOnly})
				wantPayloads(t, log, jobs, c.first, c.want...)
				if !c.unreadable {
					wantOriginal(t, o, log, jobs)
				}
				shut(t, log)
				if got, _ := os.ReadFile(o.topicPath("jobs")); string(got) != c.content {
					t.Fatalf("opening and reading changed the file to %q", got)
				}
			}
			log := open(t, o.dir, file.Options{})
			latest := c.first + engine.EventID(len(c.want)) - 1
			if id := mustAppend(t, log, jobs, `"new"`); id != latest+1 {
				t.Fatalf("append gave id %d, want %d", id, latest+1)
			}
			mustAppend(t, log, jobs, "[1]", "[2]")
			want := append(c.want, `"new"`, "[1]", "[2]")
			wantPayloads(t, log, jobs, c.first, want...)
			if c.name != "blank lines" {
				wantOriginal(t, o, log, jobs)
			}
			shut(t, log)
			log = open(t, o.dir, file.Options{})
			wantPayloads(t, log, jobs, c.first, want...)
			if _, err := log.Compact(t.Context(), jobs, latest+1); err != nil {
				t.Fatal(err)
			}
			shut(t, log)
			wantOriginal(t, o, open(t, o.dir, file.Options{}), jobs)
			id, err := o.append("jobs", event("9"))
			if err != nil || id != uint64(latest)+4 {
				t.Fatalf("the original's append gave %d, %v, want %d", id, err, latest+4)
			}
		})
	}
}

// TestFieldNamesAreCaseSensitive: a field whose name differs in case is another
// one, which is not read.
func TestFieldNamesAreCaseSensitive(t *testing.T) {
	o := newOriginal(t)
	o.write(t, "jobs", `{"id":1,"event":{"kind":"a","Kind":"b","payload":1,"Payload":2,"occurred_at_ms":1,"OCCURRED_AT_MS":7},"ID":9}`+"\n")
	r := readAll(t, open(t, o.dir, file.Options{}), jobs)
	if len(r) != 1 || r[0].ID != 1 || r[0].Kind != "a" || string(r[0].Payload) != "1" || r[0].OccurredAtMS != 1 {
		t.Errorf("got %+v; the original reads event 1 of kind a with payload 1 at 1", r)
	}
}

// TestCursorFieldNamesAreCaseSensitive, and the last of one name counts.
func TestCursorFieldNamesAreCaseSensitive(t *testing.T) {
	o := newOriginal(t)
	o.write(t, "jobs", originalLine(1, event("1"))+"\n"+originalLine(2, event("2"))+"\n")
	text := `{"topic":"jobs","consumer_id":"worker","cursor":2,"cursor":1,"Cursor":7,"updated_at_ms":5,"more":null}`
	if err := os.WriteFile(o.cursorPath("jobs", "worker"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	infos, err := open(t, o.dir, file.Options{}).Consumers(t.Context(), jobs)
	if err != nil || len(infos) != 1 || infos[0].Cursor != 1 || infos[0].AckedAt.UnixMilli() != 5 {
		t.Errorf("got %+v, %v; the original reads 1", infos, err)
	}
}

// TestRefusesWhatTheOriginalRefuses, and does not read it as something else.
func TestRefusesWhatTheOriginalRefuses(t *testing.T) {
	for _, c := range []struct{ name, line, reason string }{
		{"a null header", `{"id":1,"event":{"kind":"a","payload":1,"headers":{"a":null},"occurred_at_ms":1}}`, "not a string"},
		{"a header that is a number", `{"id":1,"event":{"kind":"a","payload":1,"headers":{"a":1},"occurred_at_ms":1}}`, "not a string"},
		{"null headers", `{"id":1,"event":{"kind":"a","payload":1,"headers":null,"occurred_at_ms":1}}`, "not an object"},
		{"a list of headers", `{"id":1,"event":{"kind":"a","payload":1,"headers":[],"occurred_at_ms":1}}`, "not an object"},
		{"a field twice", `{"id":1,"event":{"kind":"a","kind":"b","payload":1,"headers":{},"occurred_at_ms":1}}`, `"kind" twice`},
		{"an id twice", `{"id":1,"event":{"kind":"a","payload":1,"headers":{},"occurred_at_ms":1},"id":1}`, `"id" twice`},
		{"an event twice", `{"id":1,"event":{"kind":"a","payload":1,"occurred_at_ms":1},"event":{}}`, `"event" twice`},
		{"names in another case", `{"ID":1,"Event":{"Kind":"a","Payload":1,"Occurred_At_Ms":1}}`, "no id"},
		{"half a surrogate pair in kind", `{"id":1,"event":{"kind":"\ud800","payload":1,"headers":{},"occurred_at_ms":1}}`, "surrogate"},
		{"half a surrogate pair in a header", `{"id":1,"event":{"kind":"a","payload":1,"headers":{"a":"\udc00\ud800"},"occurred_at_ms":1}}`, "surrogate"},
		{"half a surrogate pair in a header's name", `{"id":1,"event":{"kind":"a","payload":1,"headers":{"\ud800\u0041":""},"occurred_at_ms":1}}`, "surrogate"},
		{"a time that is no integer", `{"id":1,"event":{"kind":"a","payload":1,"headers":{},"occurred_at_ms":1.0}}`, "occurred_at_ms"},
		{"a null kind", `{"id":1,"event":{"kind":null,"payload":1,"headers":{},"occurred_at_ms":1}}`, "not a string"},
		{"an event that is no object", `{"id":1,"event":1}`, "not an object"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := newOriginal(t)
			o.write(t, "jobs", c.line+"\n")
			log := open(t, o.dir, file.Options{})
			_, err := engine.ReadRange(t.Context(), log, jobs, 0, engine.NoLimit)
			wantCorrupt(t, err, 0, c.reason)
			_, err = log.Append(t.Context(), jobs, event("1"))
			wantCorrupt(t, err, 0, c.reason)
		})
	}
}

// TestTakesTurnsWithTheOriginal has both append and acknowledge, one after the
// other.
func TestTakesTurnsWithTheOriginal(t *testing.T) {
	o := newOriginal(t)
	consumer := engine.MustConsumerID("worker")
	for round := range uint64(4) {
		if id, err := o.append("jobs", event("1")); err != nil || id != 3*round+1 {
			t.Fatalf("the original's append gave %d, %v, want %d", id, err, 3*round+1)
		}
		if err := o.ack("jobs", "worker", 3*round+1); err != nil {
			t.Fatal(err)
		}
		log := open(t, o.dir, file.Options{})
		if id, ok, err := log.Cursor(t.Context(), jobs, consumer); uint64(id) != 3*round+1 || !ok || err != nil {
			t.Fatalf("the original's cursor reads as %d, %v, %v", id, ok, err)
		}
		if id := mustAppend(t, log, jobs, "2", "3"); uint64(id) != 3*round+3 {
			t.Fatalf("append gave id %d, want %d", id, 3*round+3)
		}
		if err := log.Ack(t.Context(), jobs, consumer, engine.EventID(3*round+2)); err != nil {
			t.Fatal(err)
		}
		wantOriginal(t, o, log, jobs)
		if id, ok, err := o.cursor("jobs", "worker"); id != 3*round+2 || !ok || err != nil {
			t.Fatalf("the original reads our cursor as %d, %v, %v", id, ok, err)
		}
		shut(t, log)
	}
}

// TestKilledLogLeavesTheOriginalsAppends: who goes back to the original after a
// crash, and comes again, finds its appends.
func TestKilledLogLeavesTheOriginalsAppends(t *testing.T) {
	o := newOriginal(t)
	log := open(t, o.dir, file.Options{})
	mustAppend(t, log, jobs, "1", "2")
	mustAppend(t, log, jobs, "3")
	killed := original{filepath.Join(t.TempDir(), "copy")}
	if err := os.CopyFS(killed.dir, os.DirFS(o.dir)); err != nil {
		t.Fatal(err)
	}
	if _, err := killed.append("jobs", event("4")); err != nil {
		t.Fatal(err)
	}
	again := open(t, killed.dir, file.Options{})
	wantPayloads(t, again, jobs, 1, "1", "2", "3", "4")
	if id := mustAppend(t, again, jobs, "5"); id != 5 {
		t.Fatalf("append gave id %d, want 5", id)
	}
	wantOriginal(t, killed, again, jobs)
}

// TestTenThousandAppends is the original's own test.
func TestTenThousandAppends(t *testing.T) {
	const last = 10_000
	log := open(t, t.TempDir(), file.Options{Sync: engine.SyncNever})
	topic := engine.MustTopic("trigger.inbox")
	for i := range engine.EventID(last) {
		id, err := log.Append(t.Context(), topic, event(fmt.Sprintf(`{"i":%d}`, i)))
		if err != nil || id != i+1 {
			t.Fatalf("append %d gave id %d, %v", i+1, id, err)
		}
	}
	records := readAll(t, log, topic)
	if len(records) != last || records[0].ID != 1 || records[last-1].ID != last {
		t.Fatalf("read %d events, want those from 1 to %d", len(records), last)
	}
}

// TestPayloadsStayAsTheyAre: only a line break in a payload, which the line
// cannot hold, costs the white space between its tokens.
func TestPayloadsStayAsTheyAre(t *testing.T) {
	o := newOriginal(t)
	log := open(t, o.dir, file.Options{})
	for payload, want := range map[string]string{
		` { "a" : [ 1.0 , 1E5 ] } `:                   ` { "a" : [ 1.0 , 1E5 ] } `,
		"\t\"\u2028\"":                                "\t\"\u2028\"",
		"{\n \"b\" : \"x\\n y\" ,\r\n \"a\": 1.50}\n": `{"b":"x\n y","a":1.50}`,
		"[1,\r2]":       "[1,2]",
		`"<>&\u00e9\/"`: `"<>&\u00e9\/"`,
		`"}}],[{{"`:     `"}}],[{{"`,
		`"\\"`:          `"\\"`,
	} {
		id := mustAppend(t, log, jobs, payload)
		records, err := engine.ReadRange(t.Context(), log, jobs, id-1, 1)
		if err != nil || string(records[0].Payload) != want {
			t.Errorf("payload %q is read as %q, %v, want %q", payload, records[0].Payload, err, want)
		}
	}
	wantOriginal(t, o, log, jobs)
}
