package adapter_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/seglog/seglog/adapter"
	"github.com/seglog/seglog/engine"
)

// originalFiles lays out a directory as the original's file backend does.
func originalFiles(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		write(t, dir, name, text)
	}
	for _, name := range []string{"topics/README", "consumers/README"} {
		write(t, dir, name, "")
	}
	return dir
}

// originalLine is an event as the original writes it.
func originalLine(id int) string {
	return fmt.Sprintf(`{"id":%d,"event":{"kind":"k","payload":1,"headers":{},"occurred_at_ms":1}}`+"\n", id)
}

// originalCursor is what the original keeps of the consumer worker of topic jobs.
func originalCursor(cursor int) string {
	return fmt.Sprintf("{\n  \"consumer_id\": \"worker\",\n  \"cursor\": %d,\n  \"topic\": \"jobs\",\n  \"updated_at_ms\": 1700000000000\n}", cursor)
}

var worker = engine.MustConsumerID("worker")

// openKind opens the log of a kind at a place.
func openKind(t *testing.T, kind engine.BackendKind, place string) fullLog {
	t.Helper()
	log, err := adapter.Open(adapter.Config{Backend: kind, SegmentDir: place, FileDir: place, SQLitePath: place})
	check(t, err)
	t.Cleanup(func() { check(t, log.Close()) })
	return log.(fullLog)
}

// wantNothing fails if a log holds anything.
func wantNothing(t *testing.T, log fullLog) {
	t.Helper()
	topics, err := log.Topics(t.Context())
	check(t, err)
	withCursors, err := adapter.CursorTopics(t.Context(), log)
	check(t, err)
	if len(topics)+len(withCursors) > 0 {
		t.Errorf("something was written: topics %v, cursors on %v", topics, withCursors)
	}
}

func wantCursor(t *testing.T, log engine.EventLog, want engine.EventID) {
	t.Helper()
	if got, ok, err := log.Cursor(t.Context(), jobs, worker); err != nil || !ok || got != want {
		t.Errorf("the cursor is %d, %v, %v, want %d", got, ok, err, want)
	}
}

func TestCopyOfCursorBeyondLatest(t *testing.T) {
	for _, kind := range kinds {
		t.Run(string(kind), func(t *testing.T) {
			from := openKind(t, engine.BackendFile, originalFiles(t, map[string]string{
				"topics/a.jsonl": originalLine(1), "topics/jobs.jsonl": originalLine(1), "consumers/jobs__worker.json": originalCursor(5),
			}))
			to := newLog(t, kind)
			report, err := adapter.Copy(t.Context(), from, to, nil)
			if !errors.Is(err, engine.ErrBeyondLatest) || report.Copied != 0 {
				t.Errorf("got %+v, %v, want ErrBeyondLatest", report, err)
			}
			for _, part := range []string{"topic jobs", `consumer "worker"`, "at event 5", "latest is event 1", "--clamp-cursors"} {
				if !strings.Contains(fmt.Sprint(err), part) {
					t.Errorf("%v does not say %q", err, part)
				}
			}
			wantNothing(t, to)
			for range 2 {
				var clamped []adapter.ClampedCursor
				report, err = adapter.Copy(t.Context(), from, to, nil, adapter.ClampCursors(func(c adapter.ClampedCursor) { clamped = append(clamped, c) }))
				check(t, err)
				if want := (adapter.ClampedCursor{Topic: jobs, Consumer: worker, Cursor: 5, Latest: 1}); report.Clamped != 1 || len(clamped) != 1 || clamped[0] != want {
					t.Errorf("got %+v and %v, want %v", report, clamped, want)
				}
				wantCursor(t, to, 1)
			}
		})
	}
}

// TestCopyOfTopicEmptiedByOriginalKeepsCursor: the original forgets a topic that
// it has emptied, but not the topic's cursors.
func TestCopyOfTopicEmptiedByOriginalKeepsCursor(t *testing.T) {
	from := openKind(t, engine.BackendFile, originalFiles(t, map[string]string{"consumers/jobs__worker.json": originalCursor(5)}))
	to := newLog(t, engine.BackendSegment)
	latest, _, err := from.Latest(t.Context(), jobs)
	check(t, err)
	_, err = adapter.Copy(t.Context(), from, to, nil)
	if latest < 5 {
		if !errors.Is(err, engine.ErrBeyondLatest) {
			t.Fatalf("got %v, want ErrBeyondLatest", err)
		}
		wantNothing(t, to)
		_, err = adapter.Copy(t.Context(), from, to, nil, adapter.ClampCursors(nil))
	}
	check(t, err)
	wantCursor(t, to, latest)
}

func TestCopyOfCursorOnTopicThatIsNot(t *testing.T) {
	for _, kind := range kinds {
		t.Run(string(kind), func(t *testing.T) {
			from, to := newLog(t, kind), newLog(t, kind)
			restoreCursor(t, from, "jobs", "worker", 0, 77)
			for _, want := range []adapter.CopyReport{{Cursors: 1}, {}} {
				if report := mustCopy(t, from, to); report != want {
					t.Errorf("got %+v, want %+v", report, want)
				}
				wantCursor(t, to, 0)
			}
			if report := mustCopy(t, lists{plain{from}}, to); !report.Unlisted {
				t.Errorf("a source that does not list such cursors: got %+v", report)
			}
		})
	}
}

// TestCopyTellsOfDamagedCursor: the original does not sync a cursor's file, which
// is empty after a power cut.
func TestCopyTellsOfDamagedCursor(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"of a topic":      {"topics/jobs.jsonl": originalLine(1), "consumers/jobs__worker.json": ""},
		"of no topic":     {"consumers/jobs__worker.json": ""},
		"of nobody knows": {"topics/jobs.jsonl": originalLine(1), "consumers/x.json": "{}"},
	} {
		t.Run(name, func(t *testing.T) {
			from, to := openKind(t, engine.BackendFile, originalFiles(t, files)), newLog(t, engine.BackendMemory)
			if _, err := adapter.Copy(t.Context(), from, to, nil); !errors.Is(err, engine.ErrCorrupt) || !strings.Contains(err.Error(), "consumers/") {
				t.Errorf("got %v, want ErrCorrupt that names the file", err)
			}
			wantNothing(t, to)
		})
	}
}

// TestCopyRefusesAtOnceWhatCannotBegin: no topic can be made to begin behind
// event 2^63-1.
func TestCopyRefusesAtOnceWhatCannotBegin(t *testing.T) {
	from := openKind(t, engine.BackendFile, originalFiles(t, map[string]string{
		"topics/a.jsonl":    originalLine(1),
		"topics/jobs.jsonl": strings.Replace(originalLine(1), `"id":1`, `"id":9300000000000000000`, 1),
	}))
	to := newLog(t, engine.BackendSegment)
	if _, err := adapter.Copy(t.Context(), from, to, nil); !errors.Is(err, engine.ErrTooLarge) || !strings.Contains(err.Error(), "topic jobs") {
		t.Errorf("got %v, want ErrTooLarge", err)
	}
	wantNothing(t, to)
}
