package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seglog/seglog/adapter/memory"
	"github.com/seglog/seglog/engine"
)

func TestExportWritesAllTopicsOrOne(t *testing.T) {
	s := newShell(t)
	s.fill("jobs")
	s.run("1\n", "append a --kind k").must(statusOK)
	all := recordJSON(1) + recordJSON(2) + recordJSON(3)
	s.run("", "export jobs").must(statusOK).prints(all)
	s.terminal()
	s.run("", "export jobs").must(statusOK).prints(all) // no table
	if out := s.run("", "export").must(statusOK).out; !strings.HasPrefix(out, `{"id":1,"topic":"a",`) || !strings.HasSuffix(out, all) {
		t.Errorf("got %s", out)
	}
	if !s.opened.ReadOnly {
		t.Error("export did not open the log read-only")
	}
	s.run("", "export unknown").must(statusOK).prints("")
	s.run("", "export a/b").must(statusUsage)
	s.run("", "export a b").must(statusUsage)
}

func TestImportTakesWhatExportWrites(t *testing.T) {
	s := newEngineShell(t)
	s.fill("jobs")
	s.fill("other")
	want := s.run("", "export").must(statusOK).out
	s.run(want, "import -C copy").must(statusOK).prints("{\"events\":6}\n")
	if got := s.run("", "export -C copy").must(statusOK).out; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	s.run(want, "import -C copy").must(statusFailed).
		says("line 1: event 1 of topic jobs would become event 4; --renumber lets it", "conflict")
	s.terminal()
	s.run(want, "import -C copy --renumber").must(statusOK).prints("6 events imported\n")
	s.run("", "latest other -C copy").must(statusOK).prints("6\n")
	s.run(want, "import -C copy --renumber --quiet --topic both").must(statusOK).prints("")
	s.run("", "latest both -C copy").must(statusOK).prints("6\n")
}

func importLine(topic string, id int, payload string) string {
	return fmt.Sprintf(`{"id":%d,"topic":%q,"kind":"k","payload":%s,"headers":{"h":"v"},"occurred_at_ms":5}`+"\n", id, topic, payload)
}

func TestImportKeepsWhatStandsBeforeABadLine(t *testing.T) {
	good := importLine("a", 1, "1") + importLine("a", 2, "2") + importLine("b", 1, "3")
	for _, test := range []struct{ name, line, says string }{
		{"not JSON", "{", "line 4: envelope: unexpected end of line"},
		{"no payload", `{"topic":"a"}`, `line 4: envelope has no "payload"`},
		{"no topic", `{"payload":1}`, `line 4: envelope has no "topic", and there is no --topic`},
		{"bad topic", `{"topic":"a/b","payload":1}`, "line 4: envelope: topic: invalid topic"},
		{"topic is no string", `{"topic":7,"payload":1}`, "line 4: envelope: topic: "},
		{"id 0", importLine("a", 0, "1"), "line 4: envelope: id 0: want a number from 1"},
		{"id is no number", `{"id":"3","topic":"a","payload":1}`, "line 4: envelope: id "},
		{"id in use", importLine("a", 2, "1"), "line 4: event 2 of topic a would become event 3"},
		{"gap", importLine("a", 4, "1"), "line 4: event 4 of topic a would become event 3"},
		{"unknown field", `{"topic":"a","payload":1,"x":1}`, `line 4: envelope: json: unknown field "x"`},
		{"invalid text", "{\"topic\":\"a\",\"payload\":\"\xff\"}", "line 4: envelope is not valid UTF-8"},
		{"too long", strings.Repeat(" ", lineBytesMax) + "1", "line 4: longer than"},
		{"too large", importLine("a", 3, `"`+strings.Repeat("x", 17<<20)+`"`), "line 4: append 1 events to topic a:"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newEngineShell(t)
			in := good + strings.TrimSuffix(test.line, "\n") + "\n" + importLine("a", 3, `"behind"`)
			s.run(in, "import").must(statusFailed).prints("").says(test.says)
			if got := s.run("", "topics").must(statusOK).out; got != "{\"topic\":\"a\",\"latest\":2}\n{\"topic\":\"b\",\"latest\":1}\n" {
				t.Errorf("got topics %s", got)
			}
		})
	}
}

func TestImportOfInterleavedTopicsAndMissingIDs(t *testing.T) {
	s := newEngineShell(t)
	var in strings.Builder
	for id := 1; id <= 50; id++ {
		in.WriteString(importLine("a", id, fmt.Sprint(id)) + importLine("b", id, fmt.Sprint(-id)) + `{"topic":"c","payload":` + fmt.Sprint(id) + "}\n")
	}
	in.WriteString(`{"topic":"a","payload":51}` + "\n" + importLine("a", 52, "52"))
	s.run(in.String(), "import").must(statusOK).prints("{\"events\":152}\n")
	log, err := engine.Open(filepath.Join(s.dir, ".harn", "events.seglog"), engine.Options{ReadOnly: true})
	check(t, err)
	defer log.Close()
	for topic, sign := range map[string]string{"a": "", "b": "-", "c": ""} {
		records, err := engine.ReadRange(t.Context(), log, engine.MustTopic(topic), 0, engine.NoLimit)
		if want := map[string]int{"a": 52, "b": 50, "c": 50}[topic]; err != nil || len(records) != want {
			t.Fatalf("topic %s: got %d events, %v, want %d", topic, len(records), err, want)
		}
		for i, r := range records {
			if got, want := string(r.Payload), fmt.Sprintf("%s%d", sign, i+1); got != want {
				t.Fatalf("event %d of %s: got %s, want %s", r.ID, topic, got, want)
			}
		}
	}
}

func TestImportInterruptedSaysHowFar(t *testing.T) {
	s := newShell(t)
	ctx, cancel := contextWithCancel(t)
	cancel()
	s.runContext(ctx, strings.NewReader(importLine("a", 1, "1")), "import").must(statusInterrupted).says("interrupted after 0 events")
}

func TestImportKeepsTheIDsOfATopicThatWasCompacted(t *testing.T) {
	for kind, flags := range map[string]string{"segment": " -C copy", "file": elsewhere["file"], "sqlite": elsewhere["sqlite"]} {
		t.Run(kind, func(t *testing.T) {
			s := newEngineShell(t)
			s.fill("jobs")
			s.run("", "compact jobs 1 --yes").must(statusOK)
			in := s.run("", "export").must(statusOK).out
			s.run(in, "import"+flags).must(statusOK)
			s.run("", "latest jobs"+flags).must(statusOK).prints("3\n")
			if out := s.run("", "read jobs"+flags).must(statusOK).out; !strings.HasPrefix(out, `{"id":2,`) || strings.Count(out, "\n") != 2 {
				t.Errorf("got %s", out)
			}
			s.run(importLine("jobs", 9, "1"), "import"+flags).must(statusFailed).says("line 1: event 9 of topic jobs would become event 4")
		})
	}
}

func TestImportIntoABackendThatCannotBeginAtAnID(t *testing.T) {
	s := newShell(t) // whose log has the interface and no more
	s.run(importLine("a", 5, "1"), "import").must(statusFailed).says("line 1: event 5 of topic a would become event 1")
	s.run(importLine("a", 5, "1"), "import --renumber").must(statusOK)
	s.run("", "latest a").must(statusOK).prints("1\n")
}

// committing counts the commits of a log.
type committing struct {
	*memory.Log
	batches, appends int
}

func (c *committing) Commit(ctx context.Context, b *engine.Batch) (engine.Committed, error) {
	c.batches++
	return c.Log.Commit(ctx, b)
}

func (c *committing) AppendBatch(ctx context.Context, topic engine.Topic, events []engine.Event, opts ...engine.AppendOption) (first, last engine.EventID, err error) {
	c.appends++
	return c.Log.AppendBatch(ctx, topic, events, opts...)
}

func TestImportCommitsAlternatingTopicsTogether(t *testing.T) {
	log := &committing{Log: memory.New(memory.Options{})}
	ap := appender{log: log}
	lines := func(ids ...engine.EventID) (batch []line) {
		for i, id := range ids {
			topic := engine.MustTopic([]string{"a", "b"}[i%2])
			batch = append(batch, line{number: i + 1, topic: topic, id: id, event: engine.Event{Payload: fmt.Append(nil, i)}})
		}
		return batch
	}
	for _, test := range []struct {
		name             string
		ids              []engine.EventID
		batches, appends int
		says             string
		count            uint64 // of all events
	}{
		{"with ids", []engine.EventID{1, 1, 2, 2, 3, 3}, 1, 0, "", 6},
		{"without ids", []engine.EventID{0, 0, 0, 0}, 1, 0, "", 10},
		{"with some ids", []engine.EventID{0, 6, 7, 0, 8, 8}, 1, 0, "", 16},
		{"an id in use", []engine.EventID{9, 8, 10}, 1, 2, "line 2: event 8 of topic b", 17},
		{"a gap", []engine.EventID{10, 9, 12, 10}, 0, 3, "line 3: event 12 of topic a", 19},
		{"an id that no event can have", []engine.EventID{0, 0, 1}, 0, 3, "line 3: event 1 of topic a", 21},
	} {
		log.batches, log.appends = 0, 0
		err := ap.commitAll(t.Context(), lines(test.ids...))
		if test.says == "" && err != nil || test.says != "" && !strings.Contains(fmt.Sprint(err), test.says) {
			t.Errorf("%s: got %v, want %q", test.name, err, test.says)
		}
		if log.batches != test.batches || log.appends != test.appends || ap.count != test.count {
			t.Errorf("%s: got %d batches, %d appends, %d events, want %d, %d, %d",
				test.name, log.batches, log.appends, ap.count, test.batches, test.appends, test.count)
		}
	}
}
