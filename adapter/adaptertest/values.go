package adaptertest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/seglog/seglog/engine"
)

var valueRules = []rule{
	{"EveryTopicNameIsItsOwnTopic", everyTopicNameIsItsOwnTopic},
	{"TheZeroTopicIsRefused", theZeroTopicIsRefused},
	{"TheZeroConsumerIsRefused", theZeroConsumerIsRefused},
	{"ConsumersNeverShareACursor", consumersNeverShareACursor},
	{"PayloadsAreKeptByteForByte", payloadsAreKept},
	{"FieldsAreKept", fieldsAreKept},
	{"HeadersAreNeverNil", headersAreNeverNil},
	{"InvalidEventsLeaveNoTrace", invalidEventsLeaveNoTrace},
	{"TooLargeEventsLeaveNoTrace", tooLargeEventsLeaveNoTrace},
	{"TooLargeCommitsLeaveNoTrace", tooLargeCommitsLeaveNoTrace},
}

// oddTopics are names that file systems mistake for one another, for places
// outside the directory, or for devices.
var oddTopics = sortedTopics(
	".", "..", "...", "-", "_", "a", "A", "a.", "a..", "a_b", "a__b", "a-b", "a.b", "CON", "con", "NUL.txt", "COM1", "Job", "job", "JOB", "0",
	"topics", "LOCK", "manifest", "events.jsonl", "x.tmp", "-rf",
	strings.Repeat("x", 254), strings.Repeat("x", 255), strings.Repeat("X", 255), strings.Repeat("x", 254)+"y", strings.Repeat(".", 255),
)

func sortedTopics(names ...string) []engine.Topic {
	slices.Sort(names)
	topics := make([]engine.Topic, len(names))
	for i, name := range names {
		topics[i] = engine.MustTopic(name)
	}
	return topics
}

func everyTopicNameIsItsOwnTopic(f *fixture) {
	f.fillOddTopics()
	f.wantOddTopics()
}

func (f *fixture) fillOddTopics() {
	for _, topic := range oddTopics {
		f.append(topic, withPayload(fmt.Sprintf("%q", topic)), 1)
	}
}

func (f *fixture) wantOddTopics() {
	f.Helper()
	for _, topic := range oddTopics {
		records := f.read(topic, 0)
		if len(records) != 1 {
			f.Fatalf("topic %s holds %d events, want 1", topic, len(records))
		}
		if err := f.compare(records[0].Event, withPayload(fmt.Sprintf("%q", topic))); err != nil || records[0].Topic != topic {
			f.Fatalf("topic %s holds an event of topic %s: %v", topic, records[0].Topic, err)
		}
	}
	f.wantTopics(oddTopics...)
}

// firstErr returns the error of a sequence that yields nothing else.
func firstErr(f *fixture, what string, s *stream) error {
	f.Helper()
	defer s.stop()
	r, err, ok := s.next()
	if !ok || err == nil {
		f.Fatalf("%s yields event %d (any: %v) and error %v, want an error first", what, r.ID, ok, err)
	}
	if _, _, more := s.next(); more {
		f.Fatalf("%s goes on after the error %q", what, err)
	}
	return err
}

// everyCall makes each call of the interface that names a topic.
func everyCall(f *fixture, ctx context.Context, topic engine.Topic) map[string]error {
	f.Helper()
	errs := map[string]error{}
	consumer := engine.MustConsumerID("c")
	_, errs["Append"] = f.log.Append(ctx, topic, numbered(1))
	_, _, errs["AppendBatch"] = f.log.AppendBatch(ctx, topic, []engine.Event{numbered(1), numbered(2)})
	errs["Read"] = firstErr(f, "Read", f.pull(topic, 0, f.log.Read(ctx, topic, engine.ReadOptions{})))
	errs["Subscribe"] = firstErr(f, "Subscribe", f.pull(topic, 0, f.log.Subscribe(ctx, topic, engine.SubscribeOptions{})))
	errs["Subscribe with LagFail"] = firstErr(f, "Subscribe with LagFail", f.pull(topic, 0, f.log.Subscribe(ctx, topic, engine.SubscribeOptions{Lag: engine.LagFail})))
	errs["Ack"] = f.log.Ack(ctx, topic, consumer, 0)
	_, _, errs["Cursor"] = f.log.Cursor(ctx, topic, consumer)
	_, _, errs["Latest"] = f.log.Latest(ctx, topic)
	_, errs["Compact"] = f.log.Compact(ctx, topic, 0)
	return errs
}

func theZeroTopicIsRefused(f *fixture) {
	for what, err := range everyCall(f, f.ctx, engine.Topic{}) {
		f.wantErr(what+" on the zero topic", err, engine.ErrInvalidTopic, "topic cannot be empty")
	}
	f.wantTopics()
}

func theZeroConsumerIsRefused(f *fixture) {
	err := f.log.Ack(f.ctx, jobs, engine.ConsumerID{}, 0)
	f.wantErr("Ack of the zero consumer", err, engine.ErrInvalidConsumer, "consumer id cannot be empty")
	_, _, err = f.log.Cursor(f.ctx, jobs, engine.ConsumerID{})
	f.wantErr("Cursor of the zero consumer", err, engine.ErrInvalidConsumer, "consumer id cannot be empty")
}

// oddConsumers are ids that escaping, trimming, folding and normalizing
// mistake for one another.
var oddConsumers = []string{
	"a/b", "a_b", "a\\b", "a:b", "a b", " a b", "a b ", "a\tb", "A_B", "a%2Fb", "../a", "..", ".", "CON", "a\x00b", "a\nb", "c", "b__c",
	"é", "e\u0301", "ß", "ss", "日本", "🦀", strings.Repeat("z", 1023) + "a", strings.Repeat("z", 1023) + "b",
}

func consumersNeverShareACursor(f *fixture) {
	f.fillOddConsumers()
	f.wantOddConsumers()
}

// oddConsumerTopics are chosen so that topic and consumer, written one after
// the other, can be taken apart in two ways.
var oddConsumerTopics = []engine.Topic{engine.MustTopic("a"), engine.MustTopic("a__b"), engine.MustTopic("A")}

func (f *fixture) fillOddConsumers() {
	for _, topic := range oddConsumerTopics {
		f.fill(topic, engine.EventID(3*len(oddConsumers)))
	}
	f.eachOddConsumer(f.ack)
}

func (f *fixture) wantOddConsumers() {
	f.Helper()
	f.eachOddConsumer(f.wantCursor)
}

// eachOddConsumer gives each consumer of each topic an id of its own.
func (f *fixture) eachOddConsumer(do func(engine.Topic, string, engine.EventID)) {
	var id engine.EventID
	for _, topic := range oddConsumerTopics {
		for _, consumer := range oddConsumers {
			id++
			do(topic, consumer, id)
		}
	}
}

// oddPayloads are JSON values that do not survive being parsed and written.
var oddPayloads = []string{
	`null`, `true`, `0`, `-0`, `-0.0`, `1.0`, `1E5`, `1e400`, `1e-400`, `123456789012345678901234567890.12345678901234567890`, `9007199254740993`,
	`""`, `"\u0041"`, `"\/"`, `"<>&\u2028"`, "\"\u2028\u2029\"", `"\ud800"`, `"\udc00\ud800"`, `"\u0000"`, `"日本🦀"`, `"` + "\x7f" + `"`,
	`{"b":1,"a":2}`, `{"a":1,"a":2}`, `{"":{"":""}}`, `{}`, `[]`, ` [ 1 , 2 ] `, "{\n\t\"a\" : 1\r\n}\n",
	`{"id":7,"event":{"kind":"x"}}`, `"\n{\"id\":1}"`,
	strings.Repeat("[", 500) + strings.Repeat("]", 500),
	strings.Repeat(`{"a":`, 500) + "1" + strings.Repeat("}", 500),
	`"` + strings.Repeat("long ", 20_000) + `"`,
}

func payloadsAreKept(f *fixture) {
	f.fillOddPayloads()
	f.wantOddPayloads()
}

func (f *fixture) fillOddPayloads() {
	for i, payload := range oddPayloads {
		f.append(jobs, withPayload(payload), engine.EventID(i+1))
	}
}

func (f *fixture) wantOddPayloads() {
	f.Helper()
	records := f.read(jobs, 0)
	if len(records) != len(oddPayloads) {
		f.Fatalf("read %d events, want %d", len(records), len(oddPayloads))
	}
	for i, r := range records {
		if err := f.compare(r.Event, withPayload(oddPayloads[i])); err != nil {
			f.Fatalf("event %d: %v", r.ID, err)
		}
	}
}

// oddEvents have fields that are unusual and allowed.
var oddEvents = []engine.Event{
	{Kind: "", Payload: []byte("1"), OccurredAtMS: 0},
	{Kind: "a\x00b\n\"\\", Payload: []byte("1"), OccurredAtMS: -1},
	{Kind: "日本🦀", Payload: []byte("1"), OccurredAtMS: math.MinInt64},
	{Kind: strings.Repeat("kind", 1000), Payload: []byte("1"), OccurredAtMS: math.MaxInt64},
	{Kind: "h", Payload: []byte("1"), Headers: map[string]string{"": "", "b": "2", "a": "1", "ä\n": "\x00", "kind": "x", "<&>": "\"\u2028"}},
	{Kind: "h", Payload: []byte("1"), Headers: manyHeaders(300)},
	{Kind: "h", Payload: []byte("1"), Headers: map[string]string{strings.Repeat("k", 5000): strings.Repeat("v", 70_000)}},
}

func manyHeaders(n int) map[string]string {
	headers := map[string]string{}
	for i := range n {
		headers[fmt.Sprint(i)] = fmt.Sprint(-i)
	}
	return headers
}

func fieldsAreKept(f *fixture) {
	f.fillOddEvents()
	f.wantOddEvents()
}

func (f *fixture) fillOddEvents() { f.appendBatch(jobs, oddEvents, 1) }

func (f *fixture) wantOddEvents() {
	f.Helper()
	records := f.read(jobs, 0)
	if len(records) != len(oddEvents) {
		f.Fatalf("read %d events, want %d", len(records), len(oddEvents))
	}
	for i, r := range records {
		if err := f.compare(r.Event, oddEvents[i]); err != nil {
			f.Fatalf("event %d: %.1000s", r.ID, err.Error())
		}
	}
}

func headersAreNeverNil(f *fixture) {
	f.append(jobs, engine.Event{Payload: []byte("1")}, 1)
	f.append(jobs, engine.Event{Payload: []byte("1"), Headers: map[string]string{}}, 2)
	for _, r := range f.read(jobs, 0) {
		if r.Headers == nil {
			f.Errorf("event %d is read with nil headers, want an empty map", r.ID)
		}
	}
	s := f.subscribe(jobs, engine.SubscribeOptions{})
	defer s.stop()
	if r, err, _ := s.next(); err != nil || r.Headers == nil {
		f.Errorf("a subscriber gets headers %v and error %v, want an empty map", r.Headers, err)
	}
}

func invalidEventsLeaveNoTrace(f *fixture) {
	payload := func(s string) engine.Event { return withPayload(s) }
	for name, e := range map[string]engine.Event{
		"nil payload":                {Kind: "k"},
		"empty payload":              payload(""),
		"blank payload":              payload("  \n"),
		"word":                       payload("hello"),
		"two values":                 payload("1 2"),
		"rest behind value":          payload("{}x"),
		"unclosed object":            payload(`{"a":1`),
		"unclosed string":            payload(`"a`),
		"trailing comma":             payload(`[1,]`),
		"single quotes":              payload(`'a'`),
		"leading zero":               payload(`01`),
		"NaN":                        payload(`NaN`),
		"raw newline in string":      payload("\"a\nb\""),
		"comment":                    payload("1 // one"),
		"byte order mark":            payload("\ufeff1"),
		"NUL behind value":           payload("1\x00"),
		"invalid UTF-8 in payload":   payload("\"\xff\""),
		"surrogate bytes in payload": payload("\"\xed\xa0\x80\""),
		"invalid UTF-8 in kind":      {Kind: "\xff", Payload: []byte("1")},
		"invalid UTF-8 in key":       {Payload: []byte("1"), Headers: map[string]string{"\xc3": "v"}},
		"invalid UTF-8 in value":     {Payload: []byte("1"), Headers: map[string]string{"k": "a\x80"}},
	} {
		_, err := f.log.Append(f.ctx, jobs, e)
		f.wantErr("Append of an event with "+name, err, engine.ErrInvalidEvent, jobs.String())
		_, _, err = f.log.AppendBatch(f.ctx, jobs, []engine.Event{numbered(1), e})
		f.wantErr("AppendBatch that ends with "+name, err, engine.ErrInvalidEvent, jobs.String())
		f.wantUntouched(jobs, "after an event with "+name)
	}
	f.wantTopics()
	f.append(jobs, numbered(1), 1)
}

func tooLargeEventsLeaveNoTrace(f *fixture) {
	limit := 16 << 20
	if f.openLimits != nil {
		limit = 4 << 10
		f.withLimits(limit, 4*limit)
		f.append(engine.MustTopic("half"), sized(limit/2), 1)
	}
	big := sized(limit + 1)
	_, err := f.log.Append(f.ctx, jobs, big)
	f.wantErr("Append above the limit", err, engine.ErrTooLarge, jobs.String())
	_, _, err = f.log.AppendBatch(f.ctx, jobs, []engine.Event{numbered(1), big})
	f.wantErr("AppendBatch with an event above the limit", err, engine.ErrTooLarge, jobs.String())
	if f.openLimits != nil {
		for name, e := range map[string]engine.Event{
			"kind":         {Kind: strings.Repeat("k", limit+1), Payload: []byte("1")},
			"header key":   {Payload: []byte("1"), Headers: map[string]string{strings.Repeat("k", limit+1): ""}},
			"header value": {Payload: []byte("1"), Headers: map[string]string{"": strings.Repeat("k", limit+1)}},
		} {
			_, err := f.log.Append(f.ctx, jobs, e)
			f.wantErr("Append of an event with a "+name+" above the limit", err, engine.ErrTooLarge)
		}
	}
	f.wantUntouched(jobs, "after an event above the limit")
	f.append(jobs, numbered(1), 1)
}

func tooLargeCommitsLeaveNoTrace(f *fixture) {
	if f.openLimits == nil {
		f.Skipf("the limit of a commit is not known: Config.OpenLimits is nil")
	}
	const limit = 16 << 10
	f.withLimits(limit, limit)
	f.appendBatch(engine.MustTopic("half"), slices.Repeat([]engine.Event{sized(1 << 10)}, 8), 1)
	_, _, err := f.log.AppendBatch(f.ctx, jobs, slices.Repeat([]engine.Event{sized(1 << 10)}, 17))
	f.wantErr("AppendBatch above the limit of a commit", err, engine.ErrTooLarge, jobs.String())
	f.wantUntouched(jobs, "after a commit above the limit")
	f.append(jobs, numbered(1), 1)
}

// sized returns an event with a payload of n bytes.
func sized(n int) engine.Event {
	return withPayload(`"` + strings.Repeat("x", n-2) + `"`)
}

// withLimits puts a log with small limits in the place of the rule's log.
func (f *fixture) withLimits(maxEvent, maxCommit int) {
	err := f.log.Close()
	f.log = f.openLimits(maxEvent, maxCommit)
	if err != nil {
		f.Fatalf("Close: %v", err)
	}
}

// wantCanceled fails unless err is that of a context that was cancelled.
func (f *fixture) wantCanceled(what string, err error) {
	f.Helper()
	if !errors.Is(err, context.Canceled) {
		f.Fatalf("%s under a cancelled context: got %v, want %v", what, err, context.Canceled)
	}
}
