package file_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seglog/seglog/adapter/file"
	"github.com/seglog/seglog/engine"
	"github.com/seglog/seglog/internal/vfs"
)

var other = engine.MustTopic("other")

func TestDamagedLineIsReportedWithItsPlace(t *testing.T) {
	line := func(id uint64) string { return originalLine(id, event("1")) + "\n" }
	for _, c := range []struct {
		name, bad, reason string
	}{
		{"not JSON", "{\"id\":3,\"ev\n", "invalid JSON"},
		{"no record", "{\"id\":3}\n", "lacks a field"},
		{"no fields", "{\"id\":3,\"event\":{}}\n", "lacks a field"},
		{"a jump", line(4), "event 4, want event 3"},
		{"a repeat", line(2), "event 2, want event 3"},
		{"id 0", line(0), "no id from 1 up"},
		{"invalid UTF-8", strings.Replace(line(3), `"v"`, "\"\xff\"", 1), "invalid JSON"},
		{"a time beyond 64 bits", strings.Replace(line(3), "-7", "9223372036854775808", 1), "occurred_at_ms"},
		{"no payload", "{\"id\":3,\"event\":{\"kind\":\"k\",\"occurred_at_ms\":1}}\n", "lacks a field"},
		{"glued lines", line(3)[:20] + line(3), "invalid JSON"},
		{"zeros", strings.Repeat("\x00", 40) + "\n", "invalid JSON"},
		{"a jump without newline", strings.TrimSuffix(line(4), "\n"), "event 4, want event 3"},
	} {
		for _, behind := range []string{"", line(3) + line(4)} {
			t.Run(fmt.Sprintf("%s, %d bytes behind", c.name, len(behind)), func(t *testing.T) {
				if behind != "" && !strings.HasSuffix(c.bad, "\n") {
					behind = "\n" + behind
				}
				o := newOriginal(t)
				before := line(1) + line(2)
				o.write(t, "jobs", before+c.bad+behind)
				o.write(t, "other", line(1))
				for _, readOnly := range []bool{true, false} {
					log := open(t, o.dir, file.Options{ReadOnly: readOnly})
					records, err := engine.ReadRange(t.Context(), log, jobs, 0, engine.NoLimit)
					wantCorrupt(t, err, int64(len(before)), c.reason)
					if len(records) != 2 {
						t.Errorf("read %d events before the damage, want 2", len(records))
					}
					if records, err := engine.ReadRange(t.Context(), log, jobs, 0, 2); err != nil || len(records) != 2 {
						t.Errorf("a read that ends before the damage gave %d events, %v", len(records), err)
					}
					wantPayloads(t, log, other, 1, "1")
					n := 0
					for _, err := range log.Subscribe(t.Context(), jobs, engine.SubscribeOptions{}) {
						if n++; n == 3 {
							wantCorrupt(t, err, int64(len(before)), c.reason)
						}
					}
					if n != 3 {
						t.Errorf("a subscription yields %d times, want 2 events and an error", n)
					}
					if topics, err := log.Topics(t.Context()); err != nil || len(topics) != 2 {
						t.Errorf("Topics gave %v, %v", topics, err)
					}
					if !readOnly {
						_, err = log.Append(t.Context(), jobs, event("3"))
						wantCorrupt(t, err, int64(len(before)), c.reason)
						_, err = log.Compact(t.Context(), jobs, 1)
						wantCorrupt(t, err, int64(len(before)), c.reason)
						mustAppend(t, log, other, "2")
					}
					shut(t, log)
				}
				if got, _ := os.ReadFile(o.topicPath("jobs")); string(got) != before+c.bad+behind {
					t.Errorf("the damaged file was changed to %q", got)
				}
			})
		}
	}
}

func wantCorrupt(t *testing.T, err error, offset int64, reason string) {
	t.Helper()
	c, ok := errors.AsType[*engine.CorruptError](err)
	if !ok {
		t.Fatalf("got %v, want a *engine.CorruptError", err)
	}
	if c.Topic != "jobs" || c.File != "topics/jobs.jsonl" || c.Offset != offset || !strings.Contains(c.Reason, reason) {
		t.Fatalf("got %+v, want topic jobs, its file, offset %d and %q", c, offset, reason)
	}
}

// TestRotUnderAnOpenLogIsReported damages a line behind the log's back.
func TestRotUnderAnOpenLogIsReported(t *testing.T) {
	o := newOriginal(t)
	log := open(t, o.dir, file.Options{})
	mustAppend(t, log, jobs, "1", "2", "3")
	f, err := os.OpenFile(o.topicPath("jobs"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	at := int64(len(originalLine(1, event("1"))) + 1)
	if _, err := f.WriteAt([]byte("#"), at); err != nil {
		t.Fatal(err)
	}
	_, err = engine.ReadRange(t.Context(), log, jobs, 0, engine.NoLimit)
	wantCorrupt(t, err, at, "invalid JSON")
}

// TestDamagedCursorIsReported, kept while others are acknowledged, and gone once
// its consumer is, or is deleted.
func TestDamagedCursorIsReported(t *testing.T) {
	for _, content := range []string{
		"", "{", `{"topic":"jobs","consumer_id":"c"}`, `{"topic":"a/b","consumer_id":"c","cursor":1}`, `{"topic":"jobs","consumer_id":" ","cursor":1}`,
		`{"topic":"jobs","consumer_id":"c","Cursor":1}`, `{"topic":"jobs","consumer_id":"c","cursor":1.0}`,
		`{"topic":"jobs","consumer_id":"\ud800","cursor":1}`, `{"topic":"jobs","consumer_id":"c","cursor":null}`,
		`{"topic":"jobs","consumer_id":"c","cursor":1,"updated_at_ms":"now"}`, `["topic"]`, "{\"topic\":\"jobs\",\"consumer_id\":\"\xff\",\"cursor\":1}",
	} {
		o := newOriginal(t)
		if err := os.WriteFile(o.cursorPath("jobs", "c"), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		wantDamaged := func(err error) {
			t.Helper()
			if corrupt, ok := errors.AsType[*engine.CorruptError](err); !ok || corrupt.File != "consumers/jobs__c.json" {
				t.Errorf("cursor file %q: got %v, want a *engine.CorruptError", content, err)
			}
		}
		log := open(t, o.dir, file.Options{})
		mustAppend(t, log, jobs, "1")
		mustAppend(t, log, other, "1")
		c, d := engine.MustConsumerID("c"), engine.MustConsumerID("d")
		_, _, err := log.Cursor(t.Context(), jobs, c)
		wantDamaged(err)
		_, err = log.Consumers(t.Context(), jobs)
		wantDamaged(err)
		n := 0
		if err := log.VerifyFiles(func(err *engine.CorruptError) { wantDamaged(err); n++ }); err != nil || n != 1 {
			t.Errorf("VerifyFiles finds %d files, %v", n, err)
		}
		if infos, err := log.Consumers(t.Context(), other); err != nil || len(infos) != 0 {
			t.Errorf("consumers of another topic: %v, %v", infos, err)
		}
		if err := log.Ack(t.Context(), jobs, d, 1); err != nil {
			t.Errorf("another consumer: %v", err)
		}
		if got, _ := os.ReadFile(o.cursorPath("jobs", "c")); string(got) != content {
			t.Errorf("the file was changed to %q", got)
		}
		fixes := map[string]func() error{
			"ack":     func() error { return log.Ack(t.Context(), jobs, c, 1) },
			"restore": func() error { return log.RestoreCursor(t.Context(), jobs, c, 1, time.UnixMilli(1)) },
			"delete":  func() error { return log.DeleteCursor(t.Context(), jobs, c) },
		}
		for name, fix := range fixes {
			shut(t, log)
			if err := os.WriteFile(o.cursorPath("jobs", "c"), []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
			log = open(t, o.dir, file.Options{})
			if err := fix(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			for range 2 {
				infos, err := log.Consumers(t.Context(), jobs)
				if want := map[string]int{"delete": 1}[name]; err != nil || len(infos) != cmp.Or(want, 2) {
					t.Errorf("consumers after %s: %v, %v", name, infos, err)
				}
				_, ok, err := log.Cursor(t.Context(), jobs, c)
				if err != nil || ok != (name != "delete") {
					t.Errorf("cursor after %s: %v, %v", name, ok, err)
				}
				shut(t, log)
				log = open(t, o.dir, file.Options{})
			}
		}
	}
}

// TestIDsEndBeforeTheHighestNumber: the one behind the last id says that a topic
// is empty.
func TestIDsEndBeforeTheHighestNumber(t *testing.T) {
	const last = math.MaxUint64 - 1
	o := newOriginal(t)
	o.write(t, "jobs", originalLine(last-1, event("1"))+"\n")
	o.write(t, "other", originalLine(last+1, event("1"))+"\n")
	log := open(t, o.dir, file.Options{})
	if _, _, err := log.AppendBatch(t.Context(), jobs, []engine.Event{event("2"), event("3")}); !errors.Is(err, engine.ErrTooLarge) {
		t.Errorf("a batch that ends behind the last id gave %v", err)
	}
	if id := mustAppend(t, log, jobs, "2"); id != last {
		t.Errorf("append gave id %d, want %d", id, uint64(last))
	}
	if _, err := log.Append(t.Context(), jobs, event("3")); !errors.Is(err, engine.ErrTooLarge) {
		t.Errorf("an append behind the last id gave %v", err)
	}
	_, err := log.Append(t.Context(), other, event("2"))
	if !errors.Is(err, engine.ErrCorrupt) {
		t.Errorf("an append behind the highest number gave %v", err)
	}
	if r, err := log.Compact(t.Context(), jobs, math.MaxUint64); err != nil || r.Removed != 2 || r.Remaining != 0 {
		t.Errorf("Compact gave %+v, %v", r, err)
	}
	for range 2 {
		wantPayloads(t, log, jobs, 0)
		if id, ok, err := log.Latest(t.Context(), jobs); id != last || !ok || err != nil {
			t.Errorf("Latest of the emptied topic is %d, %v, %v", id, ok, err)
		}
		shut(t, log)
		log = open(t, o.dir, file.Options{})
	}
}

// TestDirectoryInTheWayRefusesItsTopicOnly: nothing is written, and the log goes
// on.
func TestDirectoryInTheWayRefusesItsTopicOnly(t *testing.T) {
	for _, name := range []string{"topics/jobs.jsonl", "topics/%jobs.jsonl"} {
		o := newOriginal(t)
		if err := os.Mkdir(filepath.Join(o.dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		log := open(t, o.dir, file.Options{})
		for range 2 {
			if _, err := log.Append(t.Context(), jobs, event("1")); !errors.Is(err, engine.ErrIO) || errors.Is(err, engine.ErrFailed) {
				t.Errorf("append beside directory %s gave %v, want an i/o error", name, err)
			}
			if err := log.RestoreTopic(t.Context(), jobs, 5); !errors.Is(err, engine.ErrIO) || errors.Is(err, engine.ErrFailed) {
				t.Errorf("restore beside directory %s gave %v, want an i/o error", name, err)
			}
			mustAppend(t, log, other, "1")
		}
		if records := readAll(t, log, jobs); len(records) > 0 {
			t.Errorf("read %v", records)
		}
		if err := os.Remove(filepath.Join(o.dir, name)); err != nil {
			t.Fatal(err)
		}
		if id := mustAppend(t, log, jobs, "1"); id != 1 {
			t.Errorf("once it is gone, append gave id %d, want 1", id)
		}
	}
}

// TestForeignFilesAreLeftAlone puts what is not ours in every directory.
func TestForeignFilesAreLeftAlone(t *testing.T) {
	o := newOriginal(t)
	foreign := map[string]string{
		"topics/jobs.jsonl.tmp":     "rest of the original's compaction",
		"topics/%%X.jsonl":          "no name of ours",
		"topics/%%%0123.jsonl":      "a hashed name without a head",
		"topics/a b.jsonl":          "no topic",
		"topics/.jsonl":             "no topic",
		"topics/notes.txt":          "x",
		"consumers/jobs__c.tmp":     "rest of the original's ack",
		"consumers/notes.txt":       "x",
		"topics/dir.jsonl/in.jsonl": "x",
		"events.sqlite":             "x",
	}
	for name, content := range foreign {
		path := filepath.Join(o.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	log := open(t, o.dir, file.Options{})
	mustAppend(t, log, jobs, "1", "2")
	if err := log.Ack(t.Context(), jobs, engine.MustConsumerID("c"), 1); err != nil {
		t.Fatal(err)
	}
	if _, err := log.Compact(t.Context(), jobs, 1); err != nil {
		t.Fatal(err)
	}
	if topics, err := log.Topics(t.Context()); err != nil || len(topics) != 1 {
		t.Errorf("Topics gave %v, %v, want jobs", topics, err)
	}
	shut(t, log)
	for name, content := range foreign {
		if got, err := os.ReadFile(filepath.Join(o.dir, name)); err != nil || string(got) != content {
			t.Errorf("%s holds %q, %v, want %q", name, got, err, content)
		}
	}
}

func TestOneTopicInTwoFilesIsRefused(t *testing.T) {
	o := newOriginal(t)
	line := originalLine(1, event("1")) + "\n"
	o.write(t, "Job", line)
	o.write(t, "%%job", line)
	o.write(t, "other", line)
	log := open(t, o.dir, file.Options{})
	if _, err := log.Append(t.Context(), engine.MustTopic("Job"), event("1")); !errors.Is(err, engine.ErrCorrupt) {
		t.Errorf("append to a topic with two files gave %v, want %v", err, engine.ErrCorrupt)
	}
	wantPayloads(t, log, other, 1, "1")
}

func TestTopicNamesThatFilesCannotHaveAreEscaped(t *testing.T) {
	names := map[string]string{
		"jobs":                         "jobs",
		"Job":                          "Job",
		"CON":                          "%%c%o%n",
		"nul.txt":                      "%nul.txt",
		"Com1":                         "%%com1",
		"comma":                        "comma",
		"a.":                           "%a.",
		".":                            "%.",
		"..":                           "%..",
		".hidden":                      ".hidden",
		strings.Repeat("x", 249):       strings.Repeat("x", 249),
		strings.Repeat("x", 255):       "%%%",
		strings.Repeat("X", 200):       strings.Repeat("X", 200),
		strings.Repeat("x", 247) + ".": "%" + strings.Repeat("x", 247) + ".",
	}
	dir := t.TempDir()
	log := open(t, dir, file.Options{})
	for name := range names {
		mustAppend(t, log, engine.MustTopic(name), "1")
	}
	for _, round := range []string{"as made", "emptied"} {
		shut(t, log)
		log = open(t, dir, file.Options{})
		for name, stem := range names {
			want := filepath.Join(dir, "topics", stem+".jsonl")
			if strings.HasPrefix(stem, "%%%") {
				want = filepath.Join(dir, "topics", "%%%*.jsonl")
			}
			if found, err := filepath.Glob(want); round == "as made" && (len(found) != 1 || err != nil) {
				t.Errorf("topic %.20s is not in %s: %v, %v", name, want, found, err)
			}
			topic := engine.MustTopic(name)
			if latest, ok, err := log.Latest(t.Context(), topic); latest != 1 || !ok || err != nil {
				t.Errorf("%s: latest of %.20s is %d, %v, %v, want 1", round, name, latest, ok, err)
			}
			if _, err := log.Compact(t.Context(), topic, 1); err != nil {
				t.Error(err)
			}
		}
		if topics, err := log.Topics(t.Context()); err != nil || len(topics) != len(names) {
			t.Errorf("%s: Topics gave %d, %v, want %d", round, len(topics), err, len(names))
		}
	}
}

// TestReadOnlyChangesNothing opens a directory with all that a writer would put
// in order.
func TestReadOnlyChangesNothing(t *testing.T) {
	o := newOriginal(t)
	o.write(t, "jobs", originalLine(1, event("1"))+"\n{\"id\":2,")
	if err := o.ack("jobs", "c", 1); err != nil {
		t.Fatal(err)
	}
	before := tree(t, o.dir)
	log := open(t, o.dir, file.Options{ReadOnly: true})
	wantPayloads(t, log, jobs, 1, "1")
	consumer := engine.MustConsumerID("c")
	if id, ok, err := log.Cursor(t.Context(), jobs, consumer); id != 1 || !ok || err != nil {
		t.Errorf("Cursor gave %d, %v, %v", id, ok, err)
	}
	_, appended := log.Append(t.Context(), jobs, event("1"))
	_, compacted := log.Compact(t.Context(), jobs, 1)
	for what, err := range map[string]error{
		"Append": appended, "Compact": compacted,
		"Ack":           log.Ack(t.Context(), jobs, consumer, 0),
		"DeleteCursor":  log.DeleteCursor(t.Context(), jobs, consumer),
		"RestoreTopic":  log.RestoreTopic(t.Context(), other, 3),
		"RestoreCursor": log.RestoreCursor(t.Context(), jobs, consumer, 0, time.Now()),
	} {
		if !errors.Is(err, engine.ErrReadOnly) {
			t.Errorf("%s of a read-only log gave %v, want %v", what, err, engine.ErrReadOnly)
		}
	}
	if err := log.Flush(t.Context()); err != nil {
		t.Error(err)
	}
	shut(t, log)
	if after := tree(t, o.dir); !maps.Equal(before, after) {
		t.Errorf("the directory was changed: %v, want %v", after, before)
	}
	if _, err := file.Open(filepath.Join(o.dir, "none"), file.Options{ReadOnly: true}); !errors.Is(err, engine.ErrIO) {
		t.Errorf("a read-only open of nothing gave %v, want %v", err, engine.ErrIO)
	}
}

// tree is what a directory holds.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			files[path] = ""
			return err
		}
		b, err := os.ReadFile(filepath.Join(dir, path))
		info, _ := d.Info()
		files[path] = fmt.Sprintf("%s %v %s", info.Mode(), info.ModTime(), b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestReadOnlyFollowsTheWriter looks after each kind of change.
func TestReadOnlyFollowsTheWriter(t *testing.T) {
	dir := t.TempDir()
	writer := open(t, dir, file.Options{OpenFiles: 1})
	reader := open(t, dir, file.Options{ReadOnly: true, OpenFiles: 1})
	consumer := engine.MustConsumerID("c")
	wantPayloads(t, reader, jobs, 1)
	mustAppend(t, writer, jobs, "1")
	wantPayloads(t, reader, jobs, 1, "1")
	mustAppend(t, writer, jobs, "2", "3", "4")
	mustAppend(t, writer, other, "1")
	wantPayloads(t, reader, jobs, 1, "1", "2", "3", "4")
	wantPayloads(t, reader, other, 1, "1")
	if _, err := writer.Compact(t.Context(), jobs, 2); err != nil {
		t.Fatal(err)
	}
	wantPayloads(t, reader, jobs, 3, "3", "4")
	mustAppend(t, writer, jobs, "5", "6") // as long as before
	wantPayloads(t, reader, jobs, 3, "3", "4", "5", "6")
	if err := writer.Ack(t.Context(), jobs, consumer, 5); err != nil {
		t.Fatal(err)
	}
	if id, ok, err := reader.Cursor(t.Context(), jobs, consumer); id != 5 || !ok || err != nil {
		t.Errorf("Cursor gave %d, %v, %v, want 5", id, ok, err)
	}
	if _, err := writer.Compact(t.Context(), jobs, 6); err != nil {
		t.Fatal(err)
	}
	wantPayloads(t, reader, jobs, 7)
	if latest, ok, err := reader.Latest(t.Context(), jobs); latest != 6 || !ok || err != nil {
		t.Errorf("Latest gave %d, %v, %v, want 6", latest, ok, err)
	}
	if topics, err := reader.Topics(t.Context()); err != nil || len(topics) != 2 {
		t.Errorf("Topics gave %v, %v", topics, err)
	}
	mustAppend(t, writer, jobs, "7")
	wantPayloads(t, reader, jobs, 7, "7")
}

// TestReadOnlyFollowsTheOriginal, which has no journal.
func TestReadOnlyFollowsTheOriginal(t *testing.T) {
	o := newOriginal(t)
	reader := open(t, o.dir, file.Options{ReadOnly: true})
	for id := range 5 {
		if _, err := o.append("jobs", event("1")); err != nil {
			t.Fatal(err)
		}
		if records := readAll(t, reader, jobs); len(records) != id+1 {
			t.Fatalf("read %d events, want %d", len(records), id+1)
		}
	}
}

// TestReadOnlyBesideAppendsAndCompactions has readers and a subscriber see
// dense ids, whatever the writer does.
func TestReadOnlyBesideAppendsAndCompactions(t *testing.T) {
	dir := t.TempDir()
	writer := open(t, dir, file.Options{Sync: engine.SyncNever})
	reader := open(t, dir, file.Options{ReadOnly: true})
	const last = 600
	var wg sync.WaitGroup
	wg.Go(func() {
		for id := 1; id <= last; id++ {
			mustAppend(t, writer, jobs, fmt.Sprint(id))
			if id%50 == 0 {
				if _, err := writer.Compact(t.Context(), jobs, engine.EventID(id-40)); err != nil {
					t.Error(err)
				}
			}
		}
	})
	for seen := engine.EventID(0); seen < last; {
		records, err := engine.ReadRange(t.Context(), reader, jobs, seen, engine.NoLimit)
		if err != nil {
			t.Error(err)
			break
		}
		for i, r := range records {
			if i > 0 && r.ID != records[i-1].ID+1 || string(r.Payload) != fmt.Sprint(r.ID) {
				t.Fatalf("event %d holds %s, behind event %d", r.ID, r.Payload, seen)
			}
			seen = r.ID
		}
	}
	wg.Wait()
}

// TestReadOnlyBesideReplacedFiles has followers read, look and subscribe while
// the writer replaces and removes their files, and is opened again.
func TestReadOnlyBesideReplacedFiles(t *testing.T) {
	for _, policy := range []engine.SyncPolicy{engine.SyncAlways, engine.SyncInterval, engine.SyncNever} {
		t.Run(fmt.Sprint(policy), func(t *testing.T) {
			dir := t.TempDir()
			writer := open(t, dir, file.Options{Sync: policy})
			const last = 600
			followers := []func(*file.Log) error{readUntil(last), latestUntil(last), subscribeUntil(last)}
			var wg sync.WaitGroup
			for _, follow := range followers {
				reader := open(t, dir, file.Options{ReadOnly: true, OpenFiles: 1})
				wg.Go(func() {
					if err := follow(reader); err != nil {
						t.Error(err)
					}
				})
			}
			for id := engine.EventID(4); id <= last; id += 4 {
				mustAppend(t, writer, jobs, fmt.Sprint(id-3), fmt.Sprint(id-2), fmt.Sprint(id-1), fmt.Sprint(id))
				if _, err := writer.Compact(t.Context(), jobs, id-id%7); err != nil && id < last {
					t.Error(err)
				}
				if id%200 == 0 {
					shut(t, writer)
					writer = open(t, dir, file.Options{Sync: policy})
				}
			}
			wg.Wait()
		})
	}
}

func readUntil(last engine.EventID) func(*file.Log) error {
	return func(log *file.Log) error {
		for seen := engine.EventID(0); seen < last; {
			before := seen
			for r, err := range log.Read(context.Background(), jobs, engine.ReadOptions{After: before}) {
				if err != nil {
					return err
				}
				if seen > before && r.ID != seen+1 || string(r.Payload) != fmt.Sprint(r.ID) {
					return fmt.Errorf("event %d holds %s, behind event %d", r.ID, r.Payload, seen)
				}
				seen = r.ID
			}
			latest, _, err := log.Latest(context.Background(), jobs)
			if err != nil {
				return err
			}
			seen = max(seen, min(latest, last-1)) // what was compacted before it was read
		}
		return nil
	}
}

func latestUntil(last engine.EventID) func(*file.Log) error {
	return func(log *file.Log) error {
		for seen := engine.EventID(0); seen < last; {
			latest, _, err := log.Latest(context.Background(), jobs)
			if err != nil || latest < seen {
				return fmt.Errorf("latest is %d, behind event %d: %w", latest, seen, err)
			}
			seen = latest
			if _, err := log.Topics(context.Background()); err != nil {
				return err
			}
		}
		return nil
	}
}

func subscribeUntil(last engine.EventID) func(*file.Log) error {
	return func(log *file.Log) error {
		for seen := engine.EventID(0); seen < last; {
			for r, err := range log.Subscribe(context.Background(), jobs, engine.SubscribeOptions{After: seen}) {
				if lag, ok := errors.AsType[*engine.LaggedError](err); ok && lag.LastID == seen && lag.First > seen+1 {
					seen = lag.First - 1
					break
				}
				if err != nil {
					return err
				}
				if r.ID <= seen || string(r.Payload) != fmt.Sprint(r.ID) {
					return fmt.Errorf("event %d holds %s, behind event %d", r.ID, r.Payload, seen)
				}
				if seen = r.ID; seen == last {
					break
				}
			}
		}
		return nil
	}
}

// TestReadOnlyReadsCursorsBesideAcks: an ack replaces the cursor's file.
func TestReadOnlyReadsCursorsBesideAcks(t *testing.T) {
	dir := t.TempDir()
	writer := open(t, dir, file.Options{})
	reader := open(t, dir, file.Options{ReadOnly: true})
	worker := engine.MustConsumerID("worker")
	mustAppend(t, writer, jobs, "1", "2")
	ack := func(id engine.EventID) {
		if err := writer.Ack(t.Context(), jobs, worker, id); err != nil {
			t.Error(err)
		}
	}
	ack(1)
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range engine.EventID(1000) {
			ack(i % 2)
		}
		ack(2)
	})
	for seen := engine.EventID(0); seen < 2; {
		id, ok, err := reader.Cursor(t.Context(), jobs, worker)
		if err != nil || !ok {
			t.Errorf("the cursor is read as %d, %v, %v", id, ok, err)
			break
		}
		seen = id
	}
	wg.Wait()
}

// TestNothingIsSeenBeforeItIsDurable stops the writer in each sync.
func TestNothingIsSeenBeforeItIsDurable(t *testing.T) {
	disk := vfs.NewSim(1)
	log, err := openSim(disk, file.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	mustAppend(t, log, jobs, "1")
	follower, err := openSim(disk, file.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer follower.Close()
	looked := 0
	disk.OnOp(func(_ int, kind, name string) {
		if kind == "syncdata" && name == "topics/jobs.jsonl" {
			looked++
			disk.OnOp(nil)
			wantPayloads(t, log, jobs, 1, "1")
			wantPayloads(t, follower, jobs, 1, "1")
		}
	})
	mustAppend(t, log, jobs, "2", "3")
	if looked != 1 {
		t.Fatalf("looked %d times", looked)
	}
	wantPayloads(t, log, jobs, 1, "1", "2", "3")
	wantPayloads(t, follower, jobs, 1, "1", "2", "3")
}

func TestFullDiskLeavesNoTrace(t *testing.T) {
	disk := vfs.NewSim(1)
	log, err := openSim(disk, file.Options{})
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, log, jobs, "1", "2")
	before := disk.Files()["topics/jobs.jsonl"]
	big := `"` + strings.Repeat("x", 5000) + `"`
	var used int64
	for _, b := range disk.Files() {
		used += int64(len(b))
	}
	for _, free := range []int64{3000, 200, 0} { // some of the lines fit
		disk.SetCapacity(used + free)
		_, _, err := log.AppendBatch(t.Context(), jobs, []engine.Event{event(big), event(big)})
		if !errors.Is(err, engine.ErrNoSpace) {
			t.Fatalf("append on a full disk gave %v, want %v", err, engine.ErrNoSpace)
		}
	}
	_, err = log.Append(t.Context(), other, event("1"))
	if !errors.Is(err, engine.ErrNoSpace) {
		t.Fatalf("append to a new topic on a full disk gave %v, want %v", err, engine.ErrNoSpace)
	}
	wantPayloads(t, log, jobs, 1, "1", "2")
	if got := disk.Files()["topics/jobs.jsonl"]; string(got) != string(before) {
		t.Fatalf("the file holds %q, want %q", got, before)
	}
	disk.SetCapacity(0)
	if id := mustAppend(t, log, jobs, "3"); id != 3 {
		t.Fatalf("append gave id %d once there is space, want 3", id)
	}
	if topics, err := log.Topics(t.Context()); err != nil || len(topics) != 1 {
		t.Fatalf("Topics gave %v, %v, want jobs", topics, err)
	}
	// What failed and what came in its place survive, whatever the power takes.
	for _, v := range vfs.Survivals() {
		again, err := openSim(disk.Crash(v), file.Options{})
		if err != nil {
			t.Fatal(err)
		}
		wantPayloads(t, again, jobs, 1, "1", "2", "3")
		shut(t, again)
	}
	shut(t, log)
}

func TestFailedSyncStopsTheLog(t *testing.T) {
	disk := vfs.NewSim(1)
	log, err := openSim(disk, file.Options{})
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, log, jobs, "1")
	disk.Inject(vfs.Fault{Kind: "syncdata", Name: "topics/jobs.jsonl", Err: syscall.EIO})
	consumer := engine.MustConsumerID("c")
	for range 2 {
		_, err := log.Append(t.Context(), jobs, event("2"))
		for _, err := range []error{err, log.Ack(t.Context(), jobs, consumer, 1), log.Flush(t.Context())} {
			if !errors.Is(err, engine.ErrFailed) || !errors.Is(err, syscall.EIO) {
				t.Fatalf("after a failed sync: got %v, want %v with its cause", err, engine.ErrFailed)
			}
		}
	}
	wantPayloads(t, log, jobs, 1, "1")
	if err := log.Close(); !errors.Is(err, engine.ErrFailed) {
		t.Fatalf("Close gave %v, want %v", err, engine.ErrFailed)
	}
	// The page cache has what the disk has not: what the next open shows of it
	// must survive.
	log, err = openSim(disk, file.Options{})
	if err != nil {
		t.Fatal(err)
	}
	wantPayloads(t, log, jobs, 1, "1", "2")
	again, err := openSim(disk.Crash(vfs.Survival{}), file.Options{})
	if err != nil {
		t.Fatal(err)
	}
	wantPayloads(t, again, jobs, 1, "1", "2")
	shut(t, again)
	shut(t, log)
}

// TestWeakPoliciesLoseTheEndOnly: power loss takes a topic's last events, never
// one from the middle, and an acknowledged cursor is not beyond what is left.
func TestWeakPoliciesLoseTheEndOnly(t *testing.T) {
	survivals := vfs.Survivals()
	for seed := range uint64(40) {
		survivals = append(survivals, vfs.Survival{Mode: vfs.Random, Seed: seed}, vfs.Survival{Mode: vfs.RandomSectors, Seed: seed})
	}
	lost := 0
	for _, policy := range []engine.SyncPolicy{engine.SyncNever, engine.SyncInterval} {
		disk := vfs.NewSim(1)
		log, err := openSim(disk, file.Options{Sync: policy})
		if err != nil {
			t.Fatal(err)
		}
		const flushed, acked, last = 10, 15, 30
		consumer := engine.MustConsumerID("c")
		var want []string
		for id := 1; id <= last; id++ {
			want = append(want, fmt.Sprintf(`"%d%s"`, id, strings.Repeat("x", 300)))
			mustAppend(t, log, jobs, want[id-1])
			switch id {
			case flushed:
				err = log.Flush(t.Context())
			case acked + 3: // the journal still knows what of jobs is not synced
				mustAppend(t, log, other, "1", "2")
				_, err = log.Compact(t.Context(), other, 1)
			case acked:
				err = log.Ack(t.Context(), jobs, consumer, acked)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		for _, v := range survivals {
			again, err := openSim(disk.Crash(v), file.Options{})
			if err != nil {
				t.Fatalf("%+v: %v", v, err)
			}
			n := len(readAll(t, again, jobs))
			if n < acked {
				t.Fatalf("%+v: %d events are left, and %d were synced", v, n, acked)
			}
			if n < last {
				lost++
			}
			wantPayloads(t, again, jobs, 1, want[:n]...)
			if id, _, err := again.Cursor(t.Context(), jobs, consumer); err != nil || id != acked {
				t.Fatalf("%+v: the cursor is %d, %v, want %d", v, id, err, acked)
			}
			if id := mustAppend(t, again, jobs, "1"); int(id) != n+1 {
				t.Fatalf("%+v: append gave id %d, want %d", v, id, n+1)
			}
			shut(t, again)
		}
		shut(t, log)
	}
	if lost == 0 {
		t.Error("no power cut lost anything")
	}
}

// TestWeakPoliciesCutNothingThatWasSynced: what does not parse before the part
// that was not synced is damage, after a crash too.
func TestWeakPoliciesCutNothingThatWasSynced(t *testing.T) {
	disk := vfs.NewSim(1)
	log, err := openSim(disk, file.Options{})
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, log, jobs, "1", "2", "3")
	mustAppend(t, log, other, "1", "2", "3")
	shut(t, log)
	log, err = openSim(disk, file.Options{Sync: engine.SyncNever})
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, log, jobs, "4")
	at := int64(len(originalLine(1, event("1"))) + 1)
	killed := disk.Kill()
	killed.Corrupt("topics/jobs.jsonl", at, 0xff)
	killed.Corrupt("topics/other.jsonl", at, 0xff)
	before := killed.Files()
	again, err := openSim(killed, file.Options{Sync: engine.SyncNever})
	if err != nil {
		t.Fatal(err)
	}
	_, err = engine.ReadRange(t.Context(), again, jobs, 0, engine.NoLimit)
	wantCorrupt(t, err, at, "invalid JSON")
	shut(t, again)
	for _, name := range []string{"topics/jobs.jsonl", "topics/other.jsonl"} {
		if got := killed.Files()[name]; string(got) != string(before[name]) {
			t.Errorf("%s was changed to %q", name, got)
		}
	}
	shut(t, log)
}

func TestRestoreTopicBeginsAboveOne(t *testing.T) {
	dir := t.TempDir()
	log := open(t, dir, file.Options{})
	if err := log.RestoreTopic(t.Context(), jobs, 41); err != nil {
		t.Fatal(err)
	}
	if err := log.RestoreTopic(t.Context(), other, 0); err != nil {
		t.Fatal(err)
	}
	consumer, at := engine.MustConsumerID("c"), time.UnixMilli(1_600_000_000_123)
	if err := log.RestoreCursor(t.Context(), jobs, consumer, 40, at); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if topics, err := log.Topics(t.Context()); err != nil || len(topics) != 1 || topics[0] != jobs {
			t.Fatalf("Topics gave %v, %v", topics, err)
		}
		var conflict *engine.ConflictError
		if err := log.RestoreTopic(t.Context(), jobs, 50); !errors.As(err, &conflict) || conflict.Latest != 41 {
			t.Fatalf("RestoreTopic of a topic that is there gave %v, want a conflict at 41", err)
		}
		infos, err := log.Consumers(t.Context(), jobs)
		if err != nil || len(infos) != 1 || !infos[0].AckedAt.Equal(at) || infos[0].Cursor != 40 || infos[0].Lag != 1 {
			t.Fatalf("Consumers gave %+v, %v", infos, err)
		}
		shut(t, log)
		log = open(t, dir, file.Options{})
	}
	if id := mustAppend(t, log, jobs, "1"); id != 42 {
		t.Fatalf("append gave id %d, want 42", id)
	}
}

func TestWhatCannotBeDoneIsRefused(t *testing.T) {
	log := open(t, t.TempDir(), file.Options{})
	var b engine.Batch
	b.Append(jobs, event("1"))
	if _, err := log.Commit(t.Context(), &b); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Commit gave %v, want %v", err, errors.ErrUnsupported)
	}
	for _, o := range []file.Options{
		{Sync: 7}, {SyncEvery: -1}, {QueueDepth: -1}, {MaxEventBytes: -1}, {MaxCommitBytes: 1 << 31}, {OpenFiles: -1},
	} {
		if _, err := file.Open(t.TempDir(), o); !errors.Is(err, engine.ErrConfig) {
			t.Errorf("Open with %+v gave %v, want %v", o, err, engine.ErrConfig)
		}
	}
}

func TestDescribeTellsPlaceAndSize(t *testing.T) {
	dir := t.TempDir()
	log := open(t, dir, file.Options{QueueDepth: 7})
	mustAppend(t, log, jobs, `"`+strings.Repeat("x", 10_000)+`"`)
	d, err := log.Describe(t.Context())
	if err != nil || d.Backend != engine.BackendFile || d.Location != dir || d.QueueDepth != 7 {
		t.Fatalf("Describe gave %+v, %v", d, err)
	}
	var want uint64
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		want += uint64(info.Size())
		return err
	})
	if err != nil || *d.SizeBytes != want {
		t.Fatalf("Describe gave %d bytes, the files have %d (%v)", *d.SizeBytes, want, err)
	}
}

// TestClosedLogHoldsNothing counts descriptors, of a log that read, waited,
// appended and compacted.
func TestClosedLogHoldsNothing(t *testing.T) {
	disk := vfs.NewSim(1)
	for _, readOnly := range []bool{false, true} {
		log, err := openSim(disk, file.Options{ReadOnly: readOnly, OpenFiles: 2})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		for _, name := range []string{"a", "b", "c", "d"} {
			topic := engine.MustTopic(name)
			if !readOnly {
				mustAppend(t, log, topic, "1", "2")
			}
			for _, err := range log.Subscribe(ctx, topic, engine.SubscribeOptions{}) {
				if err != nil {
					t.Fatal(err)
				}
				break
			}
			if !readOnly {
				if _, err := log.Compact(t.Context(), topic, 1); err != nil {
					t.Fatal(err)
				}
			}
			readAll(t, log, topic)
		}
		cancel()
		shut(t, log)
		if n := disk.OpenFiles(); n != 0 {
			t.Errorf("a closed log, read-only: %t, holds %d files", readOnly, n)
		}
	}
}

// TestTornTailOfTheOriginalIsGoneForGood has the power fail while the first
// append replaces what a torn write left: longer than the new line, so that a
// truncation that got lost would leave some of it behind.
func TestTornTailOfTheOriginalIsGoneForGood(t *testing.T) {
	survivals := vfs.Survivals()
	for seed := range uint64(20) {
		survivals = append(survivals, vfs.Survival{Mode: vfs.Random, Seed: seed}, vfs.Survival{Mode: vfs.Random, Seed: seed, Sector: 64})
	}
	for at := 0; ; at++ {
		disk := vfs.NewSim(1)
		disk.SetFile("topics/jobs.jsonl", []byte(originalLine(1, event("1"))+"\n"+originalLine(2, event(`"`+strings.Repeat("torn", 500)))[:1500]))
		disk.SetDir("consumers")
		log, err := openSim(disk, file.Options{})
		if err != nil {
			t.Fatal(err)
		}
		disk.CrashAt(disk.Ops() + at)
		_, failed := log.Append(t.Context(), jobs, event(`"`+strings.Repeat("new", 100)+`"`))
		for _, v := range survivals {
			again, err := openSim(disk.Crash(v), file.Options{})
			if err != nil {
				t.Fatal(err)
			}
			n := len(readAll(t, again, jobs))
			if n < 1 || n > 2 || failed == nil && n < 2 {
				t.Fatalf("crash at operation %d, %+v: %d events; the append gave %v", at, v, n, failed)
			}
			if id := mustAppend(t, again, jobs, "3"); int(id) != n+1 {
				t.Fatalf("append gave id %d, want %d", id, n+1)
			}
			shut(t, again)
		}
		if failed == nil {
			return
		}
	}
}
