package file_test

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/seglog/seglog/adapter/file"
	"github.com/seglog/seglog/engine"
	"github.com/seglog/seglog/internal/vfs"
)

// The defects of the original's file backend, and that this one lacks them.
// Those of its memory and SQLite backends (4, 9) are not here; 5 and 6 are of
// its subscriptions, which all backends share.

// Defect 1: a topic that was emptied forgets its latest id, and gives ids again.
func TestDefect01EmptiedTopicKeepsItsLatest(t *testing.T) {
	o := newOriginal(t)
	for range 3 {
		if _, err := o.append("jobs", event("1")); err != nil {
			t.Fatal(err)
		}
	}
	consumer := engine.MustConsumerID("c")
	log := open(t, o.dir, file.Options{})
	if err := log.Ack(t.Context(), jobs, consumer, 3); err != nil {
		t.Fatal(err)
	}
	if r, err := log.Compact(t.Context(), jobs, 3); err != nil || r.Removed != 3 || r.Remaining != 0 || *r.Latest != 3 {
		t.Fatalf("Compact gave %+v, %v", r, err)
	}
	shut(t, log)
	if _, err := os.Stat(o.topicPath("jobs")); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("the emptied topic's file is still there: %v", err)
	}
	log = open(t, o.dir, file.Options{})
	if id, ok, err := log.Latest(t.Context(), jobs); id != 3 || !ok || err != nil {
		t.Fatalf("Latest after reopening is %d, %v, %v, want 3", id, ok, err)
	}
	if topics, err := log.Topics(t.Context()); err != nil || !slices.Equal(topics, []engine.Topic{jobs}) {
		t.Fatalf("Topics gave %v, %v", topics, err)
	}
	if id := mustAppend(t, log, jobs, "4"); id != 4 {
		t.Fatalf("append gave id %d, want 4", id)
	}
	shut(t, log)
	log = open(t, o.dir, file.Options{})
	wantPayloads(t, log, jobs, 4, "4")
	wantOriginal(t, o, log, jobs)
}

// Defect 1: where the original has emptied a topic, its consumers' cursors are
// all that is left of its latest id.
func TestDefect01TopicEmptiedByTheOriginalSkipsNothing(t *testing.T) {
	for _, c := range []struct {
		name, content, head string
		ack, latest         engine.EventID
	}{
		{"no file", "", "", 5, 5},
		{"a torn line", `{"id":1,"ev`, "", 5, 5},
		{"a head of the past", "", `{"topic":"jobs","latest":3}`, 5, 5},
		{"a head", "", `{"topic":"jobs","latest":7}`, 5, 7},
		{"a line", originalLine(1, event("1")) + "\n", "", 5, 1},
		{"a cursor at 0", "", "", 0, 0},
		{"a cursor behind all", "", "", math.MaxUint64, math.MaxUint64 / 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := newOriginal(t)
			if c.content != "" {
				o.write(t, "jobs", c.content)
			}
			if c.head != "" {
				if err := errors.Join(os.Mkdir(filepath.Join(o.dir, "heads"), 0o755), os.WriteFile(filepath.Join(o.dir, "heads/jobs.json"), []byte(c.head), 0o644)); err != nil {
					t.Fatal(err)
				}
			}
			if err := errors.Join(o.ack("jobs", "worker", uint64(c.ack)), o.ack("jobs", "slow", uint64(c.ack/2))); err != nil {
				t.Fatal(err)
			}
			wantLatest := func(log *file.Log, when string) {
				t.Helper()
				id, ok, err := log.Latest(t.Context(), jobs)
				if id != c.latest || ok != (c.latest > 0) || err != nil {
					t.Errorf("%s: Latest is %d, %v, %v, want %d", when, id, ok, err, c.latest)
				}
				topics, err := log.Topics(t.Context())
				if err != nil || slices.Contains(topics, jobs) != (c.latest > 0) {
					t.Errorf("%s: Topics gave %v, %v", when, topics, err)
				}
			}
			follower := open(t, o.dir, file.Options{ReadOnly: true})
			if topics, err := follower.Topics(t.Context()); err != nil || slices.Contains(topics, jobs) != (c.latest > 0) {
				t.Errorf("Topics gave %v, %v", topics, err)
			}
			wantLatest(follower, "follower")
			writer := open(t, o.dir, file.Options{})
			wantLatest(writer, "writer")
			wantLatest(open(t, o.dir, file.Options{ReadOnly: true}), "follower of a writer")
			if r, err := writer.Compact(t.Context(), jobs, c.latest); err != nil || c.content == "" && r.Removed > 0 {
				t.Errorf("Compact gave %+v, %v", r, err)
			}
			if id := mustAppend(t, writer, jobs, `"next"`); id != c.latest+1 {
				t.Errorf("append gave id %d, want %d", id, c.latest+1)
			}
			for _, log := range []*file.Log{writer, follower} {
				wantPayloads(t, log, jobs, c.latest+1, `"next"`)
			}
			shut(t, writer)
			wantPayloads(t, open(t, o.dir, file.Options{}), jobs, c.latest+1, `"next"`)
			wantOriginal(t, o, follower, jobs)
		})
	}
}

// Defect 2: the append behind a torn line is glued to it.
func TestDefect02TornLineIsCutBeforeTheNextAppend(t *testing.T) {
	o := newOriginal(t)
	whole := originalLine(1, event("1")) + "\n"
	o.write(t, "jobs", whole+`{"id":2,"event":{"ki`)
	log := open(t, o.dir, file.Options{})
	wantPayloads(t, log, jobs, 1, "1")
	if id := mustAppend(t, log, jobs, "2"); id != 2 {
		t.Fatalf("append gave id %d, want 2", id)
	}
	shut(t, log)
	got, err := os.ReadFile(o.topicPath("jobs"))
	if want := whole + originalLine(2, event("2")) + "\n"; err != nil || string(got) != want {
		t.Fatalf("the file holds %q, %v, want %q", got, err, want)
	}
}

// Defect 3: an append reads the topic again.
func TestDefect03AppendReadsNothing(t *testing.T) {
	disk := vfs.NewSim(1)
	log, err := openSim(disk, file.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	mustAppend(t, log, jobs, "1")
	disk.ResetOps()
	mustAppend(t, log, jobs, "2")
	one := disk.Ops()
	for i := range 500 {
		mustAppend(t, log, jobs, fmt.Sprint(i))
	}
	disk.ResetOps()
	mustAppend(t, log, jobs, "3")
	if got := disk.Ops(); got != one {
		t.Errorf("an append to a long topic takes %d file operations, to a short one %d", got, one)
	}
	for _, line := range disk.Log() {
		if strings.Contains(line, " read ") || strings.Contains(line, " open") {
			t.Errorf("an append reads: %s", line)
		}
	}
}

// Defect 5: the lagged error is lost in the very queue that is full.
func TestDefect05LaggedErrorArrives(t *testing.T) {
	log := open(t, t.TempDir(), file.Options{Sync: engine.SyncNever, QueueDepth: 2})
	seq := log.Subscribe(t.Context(), jobs, engine.SubscribeOptions{Lag: engine.LagFail})
	for range 10 {
		mustAppend(t, log, jobs, "1")
	}
	var last error
	for _, err := range seq {
		last = err
	}
	lagged, ok := errors.AsType[*engine.LaggedError](last)
	if !ok || lagged.LastID != 0 {
		t.Fatalf("the subscription ended with %v, want a *engine.LaggedError", last)
	}
}

// Defect 6: subscribing loads the whole history first.
func TestDefect06HistoryIsNotLoaded(t *testing.T) {
	disk := vfs.NewSim(1)
	log, err := openSim(disk, file.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	big := `"` + strings.Repeat("x", 100_000) + `"`
	for range 50 {
		mustAppend(t, log, jobs, big)
	}
	disk.ResetOps()
	for r, err := range log.Subscribe(t.Context(), jobs, engine.SubscribeOptions{}) {
		if err != nil || r.ID != 1 {
			t.Fatalf("got event %d, %v", r.ID, err)
		}
		break
	}
	for _, line := range disk.Log() {
		var op, at, n int
		var name string
		if k, _ := fmt.Sscanf(line, "%d read %s at=%d bytes=%d", &op, &name, &at, &n); k == 4 && at+n > 300_000 {
			t.Errorf("the first event took: %s", line)
		}
	}
}

// Defect 7: cursors share a file.
func TestDefect07CursorsDoNotShareAFile(t *testing.T) {
	o := newOriginal(t)
	if err := o.ack("jobs", "old/one", 1); err != nil { // under the old rule: jobs__old_one.json
		t.Fatal(err)
	}
	log := open(t, o.dir, file.Options{})
	keys := []struct{ topic, consumer string }{
		{"jobs", "old/one"},
		{"jobs", "old_one"},
		{"jobs", "x/y"},
		{"jobs", "x_y"},
		{"a__b", "c"},
		{"a", "b__c"},
		{"a_", "_c"},
		{"a", "__c"},
		{"a", "c"},
		{"a", "C"},
		{"A", "c"},
		{"con", "é"},
	}
	for i, k := range keys {
		topic := engine.MustTopic(k.topic)
		mustAppend(t, log, topic, slices.Repeat([]string{"1"}, len(keys))...)
		if id, ok, err := log.Cursor(t.Context(), topic, engine.MustConsumerID(k.consumer)); err != nil || ok != (i == 0) {
			t.Fatalf("before its first ack, %q has the cursor %d, %v, %v", k, id, ok, err)
		}
		if err := log.Ack(t.Context(), topic, engine.MustConsumerID(k.consumer), engine.EventID(i+1)); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		for i, k := range keys {
			id, ok, err := log.Cursor(t.Context(), engine.MustTopic(k.topic), engine.MustConsumerID(k.consumer))
			if int(id) != i+1 || !ok || err != nil {
				t.Errorf("%q has the cursor %d, %v, %v, want %d", k, id, ok, err, i+1)
			}
		}
		shut(t, log)
		log = open(t, o.dir, file.Options{})
	}
	if id, ok, err := o.cursor("jobs", "old/one"); id != 1 || !ok || err != nil {
		t.Errorf("the file under the old rule says %d, %v, %v: it is no longer the consumer's", id, ok, err)
	}
	names := map[string]bool{}
	entries, err := os.ReadDir(filepath.Join(o.dir, "consumers"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names[strings.ToLower(e.Name())] = true
	}
	if len(names) != len(keys) {
		t.Errorf("%d cursors are in %d files that differ in more than case", len(keys), len(names))
	}
}

// Defect 8: nothing is synced: appends, the compaction's file, cursors,
// directories. The crash tests show that all of it is; this one that nothing
// else is.
func TestDefect08AppendsAreSynced(t *testing.T) {
	disk := vfs.NewSim(1)
	log, err := openSim(disk, file.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	consumer := engine.MustConsumerID("c")
	steps := []struct {
		name  string
		do    func() error
		syncs []string
	}{
		{"first append", func() error { return appendOne(t, log) }, []string{"syncdir .", "syncdata journal", "syncdata topics/jobs.jsonl", "syncdir topics"}},
		{"append", func() error { return appendOne(t, log) }, []string{"syncdata journal", "syncdata topics/jobs.jsonl"}},
		{"batch", func() error {
			_, _, err := log.AppendBatch(t.Context(), jobs, []engine.Event{event("1"), event("2")})
			return err
		}, []string{"syncdata journal", "syncdata topics/jobs.jsonl"}},
		{"ack", func() error { return log.Ack(t.Context(), jobs, consumer, 1) }, []string{"sync consumers/cursor.tmp", "syncdir consumers"}},
		{"compaction", func() error { _, err := log.Compact(t.Context(), jobs, 1); return err }, []string{"syncdata journal", "sync topics/compact.tmp", "syncdir topics"}},
		{"emptying", func() error { _, err := log.Compact(t.Context(), jobs, 99); return err }, []string{"syncdata journal", "sync heads/head.tmp", "syncdir heads", "syncdir topics"}},
		{"flush", func() error { return log.Flush(t.Context()) }, nil},
	}
	for _, s := range steps {
		disk.ResetOps()
		if err := s.do(); err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		var syncs []string
		for _, line := range disk.Log() {
			if _, op, _ := strings.Cut(line, " "); strings.HasPrefix(op, "sync") {
				syncs = append(syncs, op)
			}
		}
		if !slices.Equal(syncs, s.syncs) {
			t.Errorf("%s syncs %q, want %q", s.name, syncs, s.syncs)
		}
	}
}

func appendOne(t *testing.T, log *file.Log) error {
	_, err := log.Append(t.Context(), jobs, event("1"))
	return err
}

// Defect 10: an ack beyond the latest event is taken.
func TestDefect10AckBeyondLatestIsRefused(t *testing.T) {
	o := newOriginal(t)
	log := open(t, o.dir, file.Options{})
	mustAppend(t, log, jobs, "1", "2")
	consumer := engine.MustConsumerID("c")
	if err := log.Ack(t.Context(), jobs, consumer, 3); !errors.Is(err, engine.ErrBeyondLatest) {
		t.Fatalf("an ack of event 3 of 2 gave %v, want %v", err, engine.ErrBeyondLatest)
	}
	if _, ok, err := o.cursor("jobs", "c"); ok || err != nil {
		t.Fatalf("the refused ack left a cursor: %v, %v", ok, err)
	}
}

// Defect 11: two processes mint the same ids; topics that differ in case share a
// file; subscribers hear of their own process only.
func TestDefect11OneProcessWrites(t *testing.T) {
	dir := t.TempDir()
	log := open(t, dir, file.Options{})
	mustAppend(t, log, jobs, "1")
	_, err := file.Open(dir, file.Options{})
	if !errors.Is(err, engine.ErrLocked) || !strings.Contains(err.Error(), fmt.Sprintf("pid %d", os.Getpid())) {
		t.Fatalf("a second open gave %v, want %v that names the holder", err, engine.ErrLocked)
	}
	shut(t, log)
	log = open(t, dir, file.Options{})
	if id := mustAppend(t, log, jobs, "2"); id != 2 {
		t.Fatalf("append gave id %d, want 2", id)
	}
}

func TestDefect11SubscribersHearOfOtherProcesses(t *testing.T) {
	dir := t.TempDir()
	writer := open(t, dir, file.Options{})
	reader := open(t, dir, file.Options{ReadOnly: true})
	const last = 5
	seq := reader.Subscribe(t.Context(), jobs, engine.SubscribeOptions{})
	mustAppend(t, writer, jobs, "1")
	want := engine.EventID(1)
	for r, err := range seq {
		if err != nil || r.ID != want {
			t.Fatalf("got event %d, %v, want %d", r.ID, err, want)
		}
		if want++; want > last {
			return
		}
		mustAppend(t, writer, jobs, "1")
	}
	t.Fatal("the subscription ended in silence")
}

func TestDefect11TopicsThatDifferInCaseHaveFilesOfTheirOwn(t *testing.T) {
	o := newOriginal(t)
	for _, name := range []string{"Both", "both"} { // as on a file system that tells case
		if _, err := o.append(name, event(`"`+name+`"`)); err != nil {
			t.Fatal(err)
		}
	}
	names := []string{"Both", "both", "Job", "job", "JOB", "A", "a"}
	for range 3 {
		log := open(t, o.dir, file.Options{})
		for _, name := range names {
			topic := engine.MustTopic(name)
			if latest, _, err := log.Latest(t.Context(), topic); err != nil || latest == 0 {
				mustAppend(t, log, topic, `"`+name+`"`)
			}
			wantPayloads(t, log, topic, 1, `"`+name+`"`)
		}
		shut(t, log)
	}
	seen := map[string]string{}
	entries, err := os.ReadDir(filepath.Join(o.dir, "topics"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		folded := strings.ToLower(e.Name())
		if other, taken := seen[folded]; taken && folded != "both.jsonl" {
			t.Errorf("files %s and %s are one where case is folded", other, e.Name())
		}
		seen[folded] = e.Name()
	}
}
