package sqlite

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"strings"
	"testing"
	"time"

	driver "zombiezen.com/go/sqlite"

	"github.com/seglog/seglog/engine"
)

// The words that the tests of this package are written in.

var (
	jobs   = engine.MustTopic("jobs")
	reader = engine.MustConsumerID("reader")
)

// patience ends waits that would last for ever.
const patience = 60 * time.Second

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func newFile(t *testing.T) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "events.sqlite")
}

// openLog opens a log and closes it after the test.
func openLog(t *testing.T, file string, o Options) *Log {
	t.Helper()
	log, err := Open(file, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := log.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return log
}

// numbered is the event that tests append as number id.
func numbered(id engine.EventID) engine.Event {
	return engine.Event{Kind: "numbered", Payload: json.RawMessage(fmt.Sprintf(`{"n": %d}`, id)), OccurredAtMS: int64(id)}
}

// fill appends numbered events until the latest is last.
func fill(t *testing.T, log *Log, topic engine.Topic, last engine.EventID) {
	t.Helper()
	latest, _, err := log.Latest(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	var events []engine.Event
	for id := latest + 1; id <= last; id++ {
		events = append(events, numbered(id))
	}
	if _, got, err := log.AppendBatch(t.Context(), topic, events); err != nil || got != last {
		t.Fatalf("AppendBatch up to %d gave %d, %v", last, got, err)
	}
}

// wantNumbered fails unless topic has exactly the numbered events first to last.
func wantNumbered(t *testing.T, log *Log, topic engine.Topic, first, last engine.EventID) {
	t.Helper()
	next := first
	for r, err := range log.Read(t.Context(), topic, engine.ReadOptions{}) {
		if err != nil {
			t.Fatalf("Read of %s after event %d: %v", topic, next-1, err)
		}
		if want := numbered(next); r.ID != next || string(r.Payload) != string(want.Payload) || r.Kind != want.Kind || r.OccurredAtMS != want.OccurredAtMS {
			t.Fatalf("Read of %s gave event %d: %q %s at %d, want event %d", topic, r.ID, r.Kind, r.Payload, r.OccurredAtMS, next)
		}
		next++
	}
	if next != last+1 {
		t.Fatalf("Read of %s gave events %d to %d, want them up to %d", topic, first, next-1, last)
	}
}

// wantErr fails unless err matches all of targets and says all of parts.
func wantErr(t *testing.T, what string, err error, targets []error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("%s succeeded, want an error that matches %v", what, targets)
	}
	for _, target := range targets {
		if !errors.Is(err, target) {
			t.Errorf("%s: error %q does not match %q", what, err, target)
		}
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%s: error %q does not say %q", what, err, part)
		}
	}
}

// readErr reads topic and returns what there is before the first error.
func readErr(t *testing.T, log *Log, topic engine.Topic) (records []engine.Record, err error) {
	t.Helper()
	for r, err := range log.Read(t.Context(), topic, engine.ReadOptions{}) {
		if err != nil {
			return records, err
		}
		records = append(records, r)
	}
	return records, nil
}

// stream pulls records one by one out of a sequence.
type stream struct {
	t    *testing.T
	next func() (engine.Record, error, bool)
	last engine.EventID
}

func pull(t *testing.T, after engine.EventID, seq iter.Seq2[engine.Record, error]) *stream {
	t.Helper()
	next, stop := iter.Pull2(seq)
	t.Cleanup(stop)
	return &stream{t, next, after}
}

// take fails unless the next events are the numbered ones up to last.
func (s *stream) take(last engine.EventID) {
	s.t.Helper()
	for s.last < last {
		r, err, ok := s.next()
		if err != nil || !ok || r.ID != s.last+1 || string(r.Payload) != string(numbered(r.ID).Payload) {
			s.t.Fatalf("stream gave event %d %s, %v, %v, want event %d", r.ID, r.Payload, err, ok, s.last+1)
		}
		s.last = r.ID
	}
}

// edit runs SQL on a database, as another process would.
func edit(t *testing.T, file string, script ...string) {
	t.Helper()
	db, err := driver.OpenConn(file, driver.OpenReadWrite|driver.OpenCreate)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}()
	for _, sql := range script {
		stmt, rest, err := db.PrepareTransient(sql)
		if err == nil && rest > 0 {
			err = errors.New("more than one statement")
		}
		for more := true; err == nil && more; {
			more, err = stmt.Step()
		}
		if stmt != nil {
			err = errors.Join(err, stmt.Finalize())
		}
		if err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}
