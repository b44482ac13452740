package adaptertest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"strings"
	"sync"

	"github.com/seglog/seglog/engine"
)

// fixture is one rule's log and the words that rules are written in. Its
// methods end the rule where they find it broken, so they are for the rule's
// own goroutine; others return errors.
type fixture struct {
	reporter
	backend
	ctx    context.Context // ends when the rule has taken far too long
	cancel context.CancelFunc
	log    engine.EventLog
}

func (f *fixture) close() {
	f.cancel()
	if err := f.log.Close(); err != nil {
		f.Errorf("Close: %v", err)
	}
}

// jobs is the topic of rules that need only one.
var jobs = engine.MustTopic("jobs")

// numbered returns the event that rules append as number id, so that an event
// that is read tells which id it must have.
func numbered(id engine.EventID) engine.Event {
	return engine.Event{
		Kind:         "numbered",
		Payload:      json.RawMessage(fmt.Sprintf(`{"n": %d}`, id)),
		Headers:      map[string]string{"n": fmt.Sprint(id)},
		OccurredAtMS: int64(id) * 1000,
	}
}

// withPayload returns an event with nothing but a payload.
func withPayload(payload string) engine.Event {
	return engine.Event{Kind: "k", Payload: json.RawMessage(payload), OccurredAtMS: 1}
}

// fill appends numbered events in one batch until topic's latest id is last.
func (f *fixture) fill(topic engine.Topic, last engine.EventID) {
	f.Helper()
	latest, _ := f.latest(topic)
	var events []engine.Event
	for id := latest + 1; id <= last; id++ {
		events = append(events, numbered(id))
	}
	if len(events) > 0 {
		f.appendBatch(topic, events, latest+1)
	}
}

// appendBatch appends events, the first of which must get the id first.
func (f *fixture) appendBatch(topic engine.Topic, events []engine.Event, first engine.EventID) {
	f.Helper()
	gotFirst, gotLast, err := f.log.AppendBatch(f.ctx, topic, events)
	if err != nil {
		f.Fatalf("AppendBatch of %d events to %s: %v", len(events), topic, err)
	}
	if last := first + engine.EventID(len(events)) - 1; gotFirst != first || gotLast != last {
		f.Fatalf("AppendBatch to %s gave ids %d to %d, want %d to %d", topic, gotFirst, gotLast, first, last)
	}
}

// append appends one event, which must get the id want.
func (f *fixture) append(topic engine.Topic, e engine.Event, want engine.EventID) {
	f.Helper()
	got, err := f.log.Append(f.ctx, topic, e)
	if err != nil {
		f.Fatalf("Append of event %d to %s: %v", want, topic, err)
	}
	if got != want {
		f.Fatalf("Append to %s gave id %d, want %d", topic, got, want)
	}
}

// read returns all of topic after an id.
func (f *fixture) read(topic engine.Topic, after engine.EventID) []engine.Record {
	f.Helper()
	records, err := engine.ReadRange(f.ctx, f.log, topic, after, engine.NoLimit)
	if err != nil {
		f.Fatalf("Read of %s after %d: %v", topic, after, err)
	}
	return records
}

// wantEvents fails unless topic holds exactly the numbered events from first
// to last; last < first: none.
func (f *fixture) wantEvents(topic engine.Topic, first, last engine.EventID) {
	f.Helper()
	records := f.read(topic, 0)
	for i, r := range records {
		if err := f.compareNumbered(r, topic, first+engine.EventID(i)); err != nil {
			f.Fatalf("Read of %s: %v", topic, err)
		}
	}
	if got := engine.EventID(len(records)); got != last+1-first {
		f.Fatalf("Read of %s gave %d events from id %d, want them up to %d", topic, got, first, last)
	}
}

// compareNumbered says how r differs from the numbered event id of topic.
func (f *fixture) compareNumbered(r engine.Record, topic engine.Topic, id engine.EventID) error {
	if r.ID != id {
		return fmt.Errorf("got event %d, want %d", r.ID, id)
	}
	if r.Topic != topic {
		return fmt.Errorf("event %d has topic %q, want %q", r.ID, r.Topic, topic)
	}
	if err := f.compare(r.Event, numbered(id)); err != nil {
		return fmt.Errorf("event %d: %w", r.ID, err)
	}
	return nil
}

// compare says how an event that was read differs from what was appended.
func (f *fixture) compare(got, want engine.Event) error {
	if got.Kind != want.Kind {
		return fmt.Errorf("kind %q, want %q", got.Kind, want.Kind)
	}
	if got.OccurredAtMS != want.OccurredAtMS {
		return fmt.Errorf("occurred_at_ms %d, want %d", got.OccurredAtMS, want.OccurredAtMS)
	}
	if !maps.Equal(got.Headers, want.Headers) {
		return fmt.Errorf("headers %q, want %q", got.Headers, want.Headers)
	}
	if !bytes.Equal(f.normal(got.Payload), f.normal(want.Payload)) {
		return fmt.Errorf("payload %.200q, want %.200q", got.Payload, want.Payload)
	}
	return nil
}

// normal drops the white space that the backend may drop.
func (f *fixture) normal(payload []byte) []byte {
	if !f.reformats {
		return payload
	}
	var b bytes.Buffer
	if err := json.Compact(&b, payload); err != nil {
		return payload
	}
	return b.Bytes()
}

// latest returns topic's latest id, 0 for none.
func (f *fixture) latest(topic engine.Topic) (engine.EventID, bool) {
	f.Helper()
	id, ok, err := f.log.Latest(f.ctx, topic)
	if err != nil {
		f.Fatalf("Latest of %s: %v", topic, err)
	}
	if ok != (id > 0) {
		f.Fatalf("Latest of %s gave %d, %v", topic, id, ok)
	}
	return id, ok
}

func (f *fixture) wantLatest(topic engine.Topic, want engine.EventID) {
	f.Helper()
	if got, _ := f.latest(topic); got != want {
		f.Fatalf("Latest of %s is %d, want %d", topic, got, want)
	}
}

func (f *fixture) wantTopics(want ...engine.Topic) {
	f.Helper()
	got, err := f.log.Topics(f.ctx)
	if err != nil {
		f.Fatalf("Topics: %v", err)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		f.Fatalf("Topics gave %q, want %q", got, want)
	}
}

// wantUntouched fails unless nothing was ever written to topic.
func (f *fixture) wantUntouched(topic engine.Topic, after string) {
	f.Helper()
	if id, ok := f.latest(topic); ok {
		f.Fatalf("%s: latest of %s is %d, want none", after, topic, id)
	}
	if records := f.read(topic, 0); len(records) > 0 {
		f.Fatalf("%s: %s holds %d events, want none", after, topic, len(records))
	}
}

func (f *fixture) ack(topic engine.Topic, consumer string, upTo engine.EventID) {
	f.Helper()
	if err := f.log.Ack(f.ctx, topic, engine.MustConsumerID(consumer), upTo); err != nil {
		f.Fatalf("Ack of %s by %q up to %d: %v", topic, consumer, upTo, err)
	}
}

func (f *fixture) wantCursor(topic engine.Topic, consumer string, want engine.EventID) {
	f.Helper()
	got, ok, err := f.log.Cursor(f.ctx, topic, engine.MustConsumerID(consumer))
	if err != nil {
		f.Fatalf("Cursor of %s, consumer %.50q: %v", topic, consumer, err)
	}
	if !ok || got != want {
		f.Fatalf("Cursor of %s, consumer %.50q is %d, %v, want %d, true", topic, consumer, got, ok, want)
	}
}

func (f *fixture) wantNoCursor(topic engine.Topic, consumer string) {
	f.Helper()
	got, ok, err := f.log.Cursor(f.ctx, topic, engine.MustConsumerID(consumer))
	if err != nil || ok || got != 0 {
		f.Fatalf("Cursor of %s, consumer %.50q is %d, %v, %v, want 0, false and no error", topic, consumer, got, ok, err)
	}
}

// compact compacts topic and checks the report, whose latest 0 stands for none.
func (f *fixture) compact(topic engine.Topic, before engine.EventID, removed, remaining uint64, latest engine.EventID) {
	f.Helper()
	r, err := f.log.Compact(f.ctx, topic, before)
	if err != nil {
		f.Fatalf("Compact of %s before %d: %v", topic, before, err)
	}
	var got engine.EventID
	if r.Latest != nil {
		got = *r.Latest
	}
	if r.Removed != removed || r.Remaining != remaining || got != latest || (r.Latest == nil) != (latest == 0) {
		f.Fatalf("Compact of %s before %d reports removed %d, remaining %d, latest %d (present: %v), want %d, %d, %d",
			topic, before, r.Removed, r.Remaining, got, r.Latest != nil, removed, remaining, latest)
	}
}

// wantErr fails unless err matches target and its text holds every one of parts.
func (f *fixture) wantErr(what string, err, target error, parts ...string) {
	f.Helper()
	if err == nil {
		f.Fatalf("%s succeeded, want error %q", what, target)
	}
	if !errors.Is(err, target) {
		f.Fatalf("%s: got error %q, want one that matches %q", what, err, target)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			f.Fatalf("%s: error %q does not say %q", what, err, part)
		}
	}
}

func (f *fixture) flush() {
	f.Helper()
	if err := f.log.Flush(f.ctx); err != nil {
		f.Fatalf("Flush: %v", err)
	}
}

// reopened is the log after it was closed and opened again.
func (f *fixture) reopened() {
	f.Helper()
	if f.reopen == nil {
		f.Skipf("the backend keeps nothing: Config.Reopen is nil")
	}
	f.log = f.reopen(f.log)
}

// stream pulls records one by one out of a sequence.
type stream struct {
	f     *fixture
	topic engine.Topic
	next  func() (engine.Record, error, bool)
	stop  func()
	last  engine.EventID // the last one that was taken, and at first where it starts after
}

func (f *fixture) pull(topic engine.Topic, after engine.EventID, seq iter.Seq2[engine.Record, error]) *stream {
	next, stop := iter.Pull2(seq)
	return &stream{f, topic, next, stop, after}
}

func (f *fixture) subscribe(topic engine.Topic, opts engine.SubscribeOptions) *stream {
	return f.pull(topic, opts.After, f.log.Subscribe(f.ctx, topic, opts))
}

// take fails unless the next records are the numbered events after the last
// one taken, up to last.
func (s *stream) take(last engine.EventID) {
	s.f.Helper()
	for s.last < last {
		r, err, ok := s.next()
		if err != nil || !ok {
			s.f.Fatalf("stream of %s: error %v, more %v after event %d, want event %d", s.topic, err, ok, s.last, s.last+1)
		}
		if err := s.f.compareNumbered(r, s.topic, s.last+1); err != nil {
			s.f.Fatalf("stream of %s: %v", s.topic, err)
		}
		s.last = r.ID
	}
}

// end takes what is left, which must be numbered events without a gap and then
// an error, behind which there is nothing.
func (s *stream) end() error {
	s.f.Helper()
	for {
		r, err, ok := s.next()
		if !ok {
			return nil
		}
		if err == nil {
			if err := s.f.compareNumbered(r, s.topic, s.last+1); err != nil {
				s.f.Fatalf("stream of %s: %v", s.topic, err)
			}
			s.last = r.ID
			continue
		}
		if _, _, more := s.next(); more {
			s.f.Fatalf("stream of %s goes on after the error %q", s.topic, err)
		}
		return err
	}
}

// wantEnd fails unless the stream ends with an error that matches target.
func (s *stream) wantEnd(target error) {
	s.f.Helper()
	s.f.wantErr(fmt.Sprintf("end of the stream of %s after event %d", s.topic, s.last), s.end(), target)
}

// wantLagged fails unless the stream ends with a lagged error that tells the
// truth.
func (s *stream) wantLagged(first engine.EventID) {
	s.f.Helper()
	s.checkLagged(s.end(), first)
}

func (s *stream) checkLagged(err error, first engine.EventID) {
	s.f.Helper()
	s.f.wantErr("end of a stream that was left behind", err, engine.ErrLagged,
		fmt.Sprintf("subscriber lagged behind after event %d", s.last))
	var lagged *engine.LaggedError
	if !errors.As(err, &lagged) {
		s.f.Fatalf("end of a stream that was left behind: %q holds no *engine.LaggedError", err)
	}
	if lagged.LastID != s.last || lagged.First != first {
		s.f.Fatalf("lagged error has LastID %d and First %d, want %d and %d", lagged.LastID, lagged.First, s.last, first)
	}
}

// parallel runs n goroutines and returns the first error of each.
func parallel(n int, work func(i int) error) error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = work(i) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// receive waits for c, but not longer than the rule may take.
func receive(ctx context.Context, c <-chan struct{}) error {
	select {
	case <-c:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// wait is receive for the rule's own goroutine.
func (f *fixture) wait(c <-chan struct{}, what string) {
	f.Helper()
	if err := receive(f.ctx, c); err != nil {
		f.Fatalf("waiting for %s: %v", what, err)
	}
}

// result waits for the error that another goroutine sends.
func (f *fixture) result(c <-chan error, what string) error {
	f.Helper()
	select {
	case err := <-c:
		return err
	case <-f.ctx.Done():
		// The log may have ended it by the same context.
		select {
		case err := <-c:
			return err
		default:
			f.Fatalf("waiting for %s: %v", what, f.ctx.Err())
			return nil
		}
	}
}
