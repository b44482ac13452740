package adapter_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seglog/seglog/adapter"
	"github.com/seglog/seglog/engine"
)

// fullLog is a log with what every backend of this module has.
type fullLog interface {
	engine.EventLog
	engine.Restorer
	Consumers(ctx context.Context, topic engine.Topic) ([]engine.ConsumerInfo, error)
}

var kinds = []engine.BackendKind{engine.BackendSegment, engine.BackendFile, engine.BackendSQLite, engine.BackendMemory}

// newLog is an empty log of a kind.
func newLog(t *testing.T, kind engine.BackendKind) fullLog {
	t.Helper()
	dir := t.TempDir()
	log, err := adapter.Open(adapter.Config{
		Backend:    kind,
		SegmentDir: filepath.Join(dir, "segment"), FileDir: filepath.Join(dir, "file"), SQLitePath: filepath.Join(dir, "sqlite"),
	})
	check(t, err)
	t.Cleanup(func() { check(t, log.Close()) })
	return log.(fullLog)
}

func number(id engine.EventID) engine.Event {
	return engine.Event{
		Kind: fmt.Sprintf("kind-%d", id%3), Payload: fmt.Appendf(nil, `{"n": %d}`, id),
		Headers: map[string]string{"n": fmt.Sprint(id)}, OccurredAtMS: int64(id) - 5,
	}
}

// fill appends numbered events up to an id.
func fill(t *testing.T, log engine.EventLog, topic string, first, last engine.EventID) {
	t.Helper()
	var events []engine.Event
	for id := first; id <= last; id++ {
		events = append(events, number(id))
	}
	gotFirst, gotLast, err := log.AppendBatch(t.Context(), engine.MustTopic(topic), events)
	if err != nil || gotFirst != first || gotLast != last {
		t.Fatalf("append to %s: got ids %d to %d, %v, want %d to %d", topic, gotFirst, gotLast, err, first, last)
	}
}

func compact(t *testing.T, log engine.EventLog, topic string, before engine.EventID) {
	t.Helper()
	_, err := log.Compact(t.Context(), engine.MustTopic(topic), before)
	check(t, err)
}

func restoreCursor(t *testing.T, log engine.Restorer, topic, consumer string, upTo engine.EventID, ms int64) {
	t.Helper()
	check(t, log.RestoreCursor(t.Context(), engine.MustTopic(topic), engine.MustConsumerID(consumer), upTo, time.UnixMilli(ms)))
}

// newSource is a log with something of all that a copy must keep.
func newSource(t *testing.T, kind engine.BackendKind) fullLog {
	t.Helper()
	log := newLog(t, kind)
	fill(t, log, "jobs", 1, 300)
	fill(t, log, "trimmed", 1, 50)
	compact(t, log, "trimmed", 20)
	fill(t, log, "emptied", 1, 10)
	compact(t, log, "emptied", 10)
	for _, name := range []string{"job", "Job", "..", "CON", strings.Repeat("x", 255)} {
		fill(t, log, name, 1, 2)
	}
	for _, payload := range []string{
		`null`, `-0`, `1e400`, `9007199254740993`, `"\u0041\/"`, `"\ud800"`, `{"a":1,"a":2}`, ` [ 1 , 2 ] `, `"日本🦀\u2028"`, `"<&>"`,
		"{\n\t\"a\" : 1\r\n}\n", "[1,\n\"a  b\"]", `"` + strings.Repeat("long ", 20_000) + `"`,
	} {
		e := engine.Event{Kind: "é\n\x00", Payload: []byte(payload), Headers: map[string]string{"": "", "a\n": "\""}, OccurredAtMS: -1 << 63}
		_, err := log.Append(t.Context(), engine.MustTopic("odd"), e)
		check(t, err)
	}
	restoreCursor(t, log, "jobs", "c", 100, 1_500_000_000_123)
	restoreCursor(t, log, "jobs", "a/b", 0, 1)
	restoreCursor(t, log, "jobs", "a_b", 300, 2_500_000_000_999)
	restoreCursor(t, log, "trimmed", "behind", 5, 7)
	restoreCursor(t, log, "emptied", "é", 10, 1_600_000_000_000)
	return log
}

// contents is everything that a copy must keep, one line a thing. With oneLine
// payloads with line breaks are compacted.
func contents(t *testing.T, log fullLog, oneLine bool) string {
	t.Helper()
	var b strings.Builder
	topics, err := log.Topics(t.Context())
	check(t, err)
	for _, topic := range topics {
		latest, _, err := log.Latest(t.Context(), topic)
		check(t, err)
		fmt.Fprintf(&b, "topic %s %d\n", topic, latest)
		for r, err := range log.Read(t.Context(), topic, engine.ReadOptions{}) {
			check(t, err)
			payload := []byte(r.Payload)
			if oneLine && bytes.ContainsAny(payload, "\r\n") {
				var c bytes.Buffer
				check(t, json.Compact(&c, payload))
				payload = c.Bytes()
			}
			fmt.Fprintf(&b, "event %d %q %q %v %d\n", r.ID, r.Kind, payload, r.Headers, r.OccurredAtMS)
		}
		consumers, err := log.Consumers(t.Context(), topic)
		check(t, err)
		for _, c := range consumers {
			fmt.Fprintf(&b, "consumer %q %d %d\n", c.Consumer, c.Cursor, c.AckedAt.UnixMilli())
		}
	}
	return b.String()
}

func mustCopy(t *testing.T, from, to engine.EventLog) adapter.CopyReport {
	t.Helper()
	report, err := adapter.Copy(t.Context(), from, to, nil)
	check(t, err)
	return report
}

func wantSame(t *testing.T, from, to fullLog, oneLine bool) {
	t.Helper()
	got, want := strings.Split(contents(t, to, oneLine), "\n"), strings.Split(contents(t, from, oneLine), "\n")
	for i := range want {
		if i >= len(got) || got[i] != want[i] {
			t.Fatalf("line %d of the copy\ngot  %.300q\nwant %.300q", i+1, got[min(i, len(got)-1)], want[i])
		}
	}
	if len(got) != len(want) {
		t.Fatalf("the copy has %d lines, want %d", len(got), len(want))
	}
}

const (
	sourceTopics  = 9
	sourceEvents  = 300 + 30 + 5*2 + 13
	sourceCursors = 5
)

func TestCopyKeepsEverythingBetweenAnyTwoBackends(t *testing.T) {
	for _, fromKind := range kinds {
		from := newSource(t, fromKind)
		for _, toKind := range kinds {
			t.Run(fmt.Sprintf("%s to %s", fromKind, toKind), func(t *testing.T) {
				to := newLog(t, toKind)
				want := adapter.CopyReport{Topics: sourceTopics, Events: sourceEvents, Copied: sourceEvents, Cursors: sourceCursors}
				if got := mustCopy(t, from, to); got != want {
					t.Errorf("got report %+v, want %+v", got, want)
				}
				wantSame(t, from, to, toKind == engine.BackendFile)
				want.Copied, want.Cursors = 0, 0
				if got := mustCopy(t, from, to); got != want {
					t.Errorf("copying again: got report %+v, want %+v", got, want)
				}
				fill(t, to, "emptied", 11, 12)
				fill(t, to, "trimmed", 51, 52)
			})
		}
	}
}

func TestCopyOfNothing(t *testing.T) {
	if got := mustCopy(t, newLog(t, engine.BackendMemory), newLog(t, engine.BackendMemory)); got != (adapter.CopyReport{}) {
		t.Errorf("got report %+v", got)
	}
}

// dying is a target whose process dies at its nth change, before or after it
// is made.
type dying struct {
	fullLog
	changes int // until it dies
	after   bool
}

var errDied = errors.New("died")

func (d *dying) change(do func() error) error {
	if d.changes--; d.changes > 0 {
		return do()
	}
	if d.after {
		if err := do(); err != nil {
			return err
		}
	}
	return errDied
}

func (d *dying) AppendBatch(ctx context.Context, topic engine.Topic, events []engine.Event, opts ...engine.AppendOption) (first, last engine.EventID, err error) {
	err = d.change(func() (err error) {
		first, last, err = d.fullLog.AppendBatch(ctx, topic, events, opts...)
		return err
	})
	return first, last, err
}

func (d *dying) RestoreTopic(ctx context.Context, topic engine.Topic, latest engine.EventID) error {
	return d.change(func() error { return d.fullLog.RestoreTopic(ctx, topic, latest) })
}

func (d *dying) RestoreCursor(ctx context.Context, topic engine.Topic, consumer engine.ConsumerID, upTo engine.EventID, at time.Time) error {
	return d.change(func() error { return d.fullLog.RestoreCursor(ctx, topic, consumer, upTo, at) })
}

func TestCopyGoesOnWhereItDied(t *testing.T) {
	from := newSource(t, engine.BackendMemory)
	fill(t, from, "long", 1, 20_000) // more than one batch
	for _, kind := range kinds {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, after %v", kind, after), func(t *testing.T) {
				to := newLog(t, kind)
				var copied, cursors uint64
				for deaths := 0; ; deaths++ {
					report, err := adapter.Copy(t.Context(), from, &dying{to, 2, after}, nil)
					copied, cursors = copied+report.Copied, cursors+report.Cursors
					if err == nil {
						break
					}
					if !errors.Is(err, errDied) || deaths > 100 {
						t.Fatalf("death %d: %v", deaths, err)
					}
				}
				if want := uint64(sourceEvents + 20_000); !after && (copied != want || cursors != sourceCursors) {
					t.Errorf("copied %d events and %d cursors in all, want %d and %d: each once", copied, cursors, want, sourceCursors)
				}
				wantSame(t, from, to, kind == engine.BackendFile)
			})
		}
	}
}

func TestATargetThatHoldsSomethingElseIsRefusedAndLeftAlone(t *testing.T) {
	ctx := t.Context()
	jobs, other := engine.MustTopic("jobs"), number(999)
	for _, test := range []struct {
		name   string
		source func(t *testing.T, from fullLog) // since the copy
		target func(t *testing.T, to fullLog)
		says   string
	}{
		{"another topic", nil, func(t *testing.T, to fullLog) { fill(t, to, "mine", 1, 1) }, "topic mine"},
		{"another event behind", nil, func(t *testing.T, to fullLog) { fill(t, to, "jobs", 301, 301) }, "up to 301 in the target, and up to 300"},
		{"another consumer", nil, func(t *testing.T, to fullLog) {
			check(t, to.Ack(ctx, jobs, engine.MustConsumerID("mine"), 1))
		}, `consumer "mine"`},
		{"compacted", nil, func(t *testing.T, to fullLog) { compact(t, to, "jobs", 3) }, "begins at event 4 in the target, and at event 1"},
		{"the source was compacted", func(t *testing.T, from fullLog) { compact(t, from, "jobs", 3) }, nil, "begins at event 1 in the target, and at event 4"},
		{"the source was emptied", func(t *testing.T, from fullLog) { compact(t, from, "jobs", 300) }, nil, "begins at event 1 in the target, and at event 301"},
		{"another last event", func(t *testing.T, from fullLog) {
			fill(t, from, "jobs", 301, 302)
		}, func(t *testing.T, to fullLog) {
			_, err := to.Append(ctx, jobs, other)
			check(t, err)
		}, "event 301 of topic jobs has another kind"},
	} {
		for _, kind := range kinds {
			t.Run(test.name+" in "+string(kind), func(t *testing.T) {
				from, to := newSource(t, engine.BackendMemory), newLog(t, kind)
				mustCopy(t, from, to)
				if test.source != nil {
					test.source(t, from)
				}
				fill(t, from, "new", 1, 5)
				if test.target != nil {
					test.target(t, to)
				}
				before := contents(t, to, false)
				report, err := adapter.Copy(ctx, from, to, nil)
				if !errors.Is(err, adapter.ErrDiffers) || !strings.Contains(err.Error(), test.says) {
					t.Errorf("got %v, want ErrDiffers that says %q", err, test.says)
				}
				if report.Copied != 0 || report.Cursors != 0 || contents(t, to, false) != before {
					t.Errorf("something was written: %+v", report)
				}
			})
		}
	}
}

// plain is a log that has the interface and no more.
type plain struct{ engine.EventLog }

// lists is a log that lists consumers, but restores nothing.
type lists struct{ plain }

func (l lists) Consumers(ctx context.Context, topic engine.Topic) ([]engine.ConsumerInfo, error) {
	return adapter.Consumers(ctx, l.EventLog, topic)
}

func TestATargetThatCannotTakeEverythingIsLeftAlone(t *testing.T) {
	from, to := newSource(t, engine.BackendMemory), newLog(t, engine.BackendMemory)
	for _, target := range []engine.EventLog{plain{to}, lists{plain{to}}} {
		if _, err := adapter.Copy(t.Context(), from, target, nil); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%T: got %v, want ErrUnsupported", target, err)
		}
	}
	if got := contents(t, to, false); got != "" {
		t.Errorf("something was written: %s", got)
	}
	simple := newLog(t, engine.BackendMemory)
	fill(t, simple, "jobs", 1, 3)
	mustCopy(t, simple, lists{plain{to}}) // which needs nothing restored
	wantSame(t, simple, to, false)
}

func TestCopyTakesWhatIsThereWhenItBegins(t *testing.T) {
	from, to := newSource(t, engine.BackendMemory), newLog(t, engine.BackendMemory)
	grown := false
	report, err := adapter.Copy(t.Context(), from, to, func(p adapter.CopyProgress) {
		if !grown {
			grown = true
			fill(t, from, "jobs", 301, 400)
			fill(t, from, "emptied", 11, 12)
			fill(t, from, "new", 1, 5)
			restoreCursor(t, from, "jobs", "c", 350, 1_600_000_000_000)
		}
	})
	if err != nil || report.Events != sourceEvents {
		t.Fatalf("got %+v, %v", report, err)
	}
	if latest, _, err := to.Latest(t.Context(), engine.MustTopic("jobs")); err != nil || latest != 300 {
		t.Fatalf("the copy has events up to %d, %v, want 300", latest, err)
	}
	if report := mustCopy(t, from, to); report.Copied != 107 || report.Cursors != 1 {
		t.Errorf("the second copy: got %+v, want 107 events and a cursor", report)
	}
	wantSame(t, from, to, false)
}

func TestASecondCopyTakesNoProgressBack(t *testing.T) {
	for _, kind := range kinds {
		t.Run(string(kind), func(t *testing.T) {
			from, to := newLog(t, engine.BackendMemory), newLog(t, kind)
			fill(t, from, "jobs", 1, 10)
			restoreCursor(t, from, "jobs", "moved here", 3, 1000)
			restoreCursor(t, from, "jobs", "moved there", 3, 1000)
			mustCopy(t, from, to)
			restoreCursor(t, to, "jobs", "moved here", 7, 1001)
			restoreCursor(t, from, "jobs", "moved there", 8, 1001)
			fill(t, from, "jobs", 11, 12)
			want := adapter.CopyReport{Topics: 1, Events: 12, Copied: 2, Cursors: 1, Kept: 1}
			if got := mustCopy(t, from, to); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
			for consumer, want := range map[string]engine.EventID{"moved here": 7, "moved there": 8} {
				if got, _, err := to.Cursor(t.Context(), jobs, engine.MustConsumerID(consumer)); err != nil || got != want {
					t.Errorf("consumer %q: got %d, %v, want %d", consumer, got, err, want)
				}
			}
		})
	}
}

func TestCopyOfASourceThatCompactsMeanwhileFailsAndGoesOn(t *testing.T) {
	for _, kind := range kinds {
		t.Run(string(kind), func(t *testing.T) {
			from, to := newLog(t, kind), newLog(t, engine.BackendMemory)
			for first := engine.EventID(1); first <= 20_001; first += 10_000 {
				fill(t, from, "jobs", first, first+9_999)
			}
			compacted := false
			_, err := adapter.Copy(t.Context(), from, to, func(adapter.CopyProgress) {
				if !compacted {
					compacted = true
					compact(t, from, "jobs", 15_000)
				}
			})
			if !errors.Is(err, adapter.ErrDiffers) && !errors.Is(err, engine.ErrCompacted) {
				t.Fatalf("got %v, want ErrDiffers or ErrCompacted", err)
			}
			latest, _, err := to.Latest(t.Context(), engine.MustTopic("jobs"))
			check(t, err)
			if latest < 15_000 {
				to = newLog(t, engine.BackendMemory) // there is nothing to go on with
			} else {
				compact(t, to, "jobs", 15_000)
			}
			mustCopy(t, from, to)
			wantSame(t, from, to, false)
		})
	}
}

// spoiling is a log some of whose events are read wrongly.
type spoiling struct {
	fullLog
	spoil func(r *engine.Record) bool // false: the event is not there
}

func (s spoiling) Read(ctx context.Context, topic engine.Topic, opts engine.ReadOptions) iter.Seq2[engine.Record, error] {
	return func(yield func(engine.Record, error) bool) {
		for r, err := range s.fullLog.Read(ctx, topic, opts) {
			if err == nil && !s.spoil(&r) {
				continue
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

func TestTheComparisonFindsWhatIsWrong(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(r *engine.Record)
		says  string
	}{
		"kind":    {func(r *engine.Record) { r.Kind += "x" }, "another kind"},
		"time":    {func(r *engine.Record) { r.OccurredAtMS++ }, "another time"},
		"header":  {func(r *engine.Record) { r.Headers = map[string]string{"n": "1500 "} }, "another header"},
		"payload": {func(r *engine.Record) { r.Payload = []byte(`{"n":1500}`) }, "another payload"},
		"id":      {func(r *engine.Record) { r.ID++ }, "the target does not have event 1500"},
	} {
		t.Run(name, func(t *testing.T) {
			from, to := newLog(t, engine.BackendMemory), newLog(t, engine.BackendMemory)
			fill(t, from, "jobs", 1, 3000)
			_, err := adapter.Copy(t.Context(), from, spoiling{to, func(r *engine.Record) bool {
				if r.ID == 1500 {
					test.spoil(r)
				}
				return true
			}}, nil)
			if !errors.Is(err, adapter.ErrDiffers) || !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), "event 1500 of topic jobs") {
				t.Errorf("got %v, want ErrDiffers that says %q", err, test.says)
			}
		})
	}
}

func TestASourceWithAGapIsCorrupt(t *testing.T) {
	for _, missing := range []engine.EventID{5, 10} {
		from, to := newLog(t, engine.BackendMemory), newLog(t, engine.BackendMemory)
		fill(t, from, "jobs", 1, 10)
		_, err := adapter.Copy(t.Context(), spoiling{from, func(r *engine.Record) bool { return r.ID != missing }}, to, nil)
		if !errors.Is(err, engine.ErrCorrupt) {
			t.Errorf("without event %d: got %v, want ErrCorrupt", missing, err)
		}
	}
}

func TestWhiteSpaceCountsUnlessTheTargetIsInFiles(t *testing.T) {
	const kept, broken = "{\"n\": 1}", "{\n\"n\": 1}"
	for _, kind := range kinds {
		from, to := newLog(t, engine.BackendMemory), newLog(t, kind)
		for _, payload := range []string{kept, broken} {
			_, err := from.Append(t.Context(), jobs, engine.Event{Payload: []byte(payload)})
			check(t, err)
		}
		compacting := spoiling{to, func(r *engine.Record) bool {
			var b bytes.Buffer
			check(t, json.Compact(&b, r.Payload))
			r.Payload = b.Bytes()
			return true
		}}
		_, err := adapter.Copy(t.Context(), from, compacting, nil)
		if want := "event 1 of topic jobs has another payload"; !errors.Is(err, adapter.ErrDiffers) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s that compacts: got %v, want ErrDiffers that says %q", kind, err, want)
		}
		mustCopy(t, from, to)
	}
}

func TestCopyBoundsItsBatches(t *testing.T) {
	from, to := newLog(t, engine.BackendMemory), newLog(t, engine.BackendMemory)
	fill(t, from, "many", 1, 20_000)
	for _, size := range []int{1 << 20, 1 << 20, 3 << 20, 6 << 20, 10} {
		e := engine.Event{Payload: []byte(`"` + strings.Repeat("x", size) + `"`)}
		_, err := from.Append(t.Context(), engine.MustTopic("large"), e)
		check(t, err)
	}
	var batches []int
	_, err := adapter.Copy(t.Context(), from, counting{to, &batches}, nil)
	check(t, err)
	if want := []int{2, 1, 1, 1, 8192, 8192, 3616}; !slices.Equal(batches, want) {
		t.Errorf("got batches of %v events, want %v", batches, want)
	}
}

// counting is a log that notes the events of each batch.
type counting struct {
	fullLog
	batches *[]int
}

func (c counting) AppendBatch(ctx context.Context, topic engine.Topic, events []engine.Event, opts ...engine.AppendOption) (first, last engine.EventID, err error) {
	*c.batches = append(*c.batches, len(events))
	return c.fullLog.AppendBatch(ctx, topic, events, opts...)
}

func TestCopyTellsHowFarItIs(t *testing.T) {
	from, to := newLog(t, engine.BackendMemory), newLog(t, engine.BackendMemory)
	fill(t, from, "jobs", 1, 10_000)
	var got []adapter.CopyProgress
	_, err := adapter.Copy(t.Context(), from, to, func(p adapter.CopyProgress) { got = append(got, p) })
	check(t, err)
	want := []adapter.CopyProgress{
		{Topic: jobs, Done: 8192, Total: 10_000},
		{Topic: jobs, Done: 10_000, Total: 10_000},
		{Comparing: true, Topic: jobs, Done: 4096, Total: 10_000},
		{Comparing: true, Topic: jobs, Done: 8192, Total: 10_000},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

func TestCopyEndsWithItsContext(t *testing.T) {
	from, to := newSource(t, engine.BackendMemory), newLog(t, engine.BackendMemory)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := adapter.Copy(ctx, from, to, func(adapter.CopyProgress) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want the context's error", err)
	}
	mustCopy(t, from, to)
	wantSame(t, from, to, false)
}

func TestSomebodyElseWhoAppendsToTheTargetIsFoundOut(t *testing.T) {
	from, to := newLog(t, engine.BackendMemory), newLog(t, engine.BackendMemory)
	fill(t, from, "jobs", 1, 10_000)
	once := false
	_, err := adapter.Copy(t.Context(), from, to, func(adapter.CopyProgress) {
		if !once {
			once = true
			fill(t, to, "jobs", 8193, 8193)
		}
	})
	var conflict *engine.ConflictError
	if !errors.As(err, &conflict) || conflict.Latest != 8193 {
		t.Errorf("got %v, want a conflict with latest 8193", err)
	}
}

// failing is a log whose nth call fails, whatever it is.
type failing struct {
	fullLog
	left *int // calls until it fails
}

func (f failing) fails() error {
	if *f.left--; *f.left == 0 {
		return engine.ErrIO
	}
	return nil
}

func (f failing) Describe(ctx context.Context) (engine.Description, error) {
	if err := f.fails(); err != nil {
		return engine.Description{}, err
	}
	return f.fullLog.Describe(ctx)
}

func (f failing) Topics(ctx context.Context) ([]engine.Topic, error) {
	if err := f.fails(); err != nil {
		return nil, err
	}
	return f.fullLog.Topics(ctx)
}

func (f failing) Consumers(ctx context.Context, topic engine.Topic) ([]engine.ConsumerInfo, error) {
	if err := f.fails(); err != nil {
		return nil, err
	}
	return f.fullLog.Consumers(ctx, topic)
}

func (f failing) Latest(ctx context.Context, topic engine.Topic) (engine.EventID, bool, error) {
	if err := f.fails(); err != nil {
		return 0, false, err
	}
	return f.fullLog.Latest(ctx, topic)
}

func (f failing) Read(ctx context.Context, topic engine.Topic, opts engine.ReadOptions) iter.Seq2[engine.Record, error] {
	return func(yield func(engine.Record, error) bool) {
		if err := f.fails(); err != nil {
			yield(engine.Record{}, err)
			return
		}
		f.fullLog.Read(ctx, topic, opts)(yield)
	}
}

func (f failing) AppendBatch(ctx context.Context, topic engine.Topic, events []engine.Event, opts ...engine.AppendOption) (first, last engine.EventID, err error) {
	if err := f.fails(); err != nil {
		return 0, 0, err
	}
	return f.fullLog.AppendBatch(ctx, topic, events, opts...)
}

func (f failing) RestoreTopic(ctx context.Context, topic engine.Topic, latest engine.EventID) error {
	if err := f.fails(); err != nil {
		return err
	}
	return f.fullLog.RestoreTopic(ctx, topic, latest)
}

func (f failing) RestoreCursor(ctx context.Context, topic engine.Topic, consumer engine.ConsumerID, upTo engine.EventID, at time.Time) error {
	if err := f.fails(); err != nil {
		return err
	}
	return f.fullLog.RestoreCursor(ctx, topic, consumer, upTo, at)
}

func (f failing) Flush(ctx context.Context) error {
	if err := f.fails(); err != nil {
		return err
	}
	return f.fullLog.Flush(ctx)
}

func TestCopyReportsWhateverFailsAndGoesOn(t *testing.T) {
	from := newSource(t, engine.BackendMemory)
	for _, side := range []string{"source", "target"} {
		t.Run(side, func(t *testing.T) {
			for n := 1; ; n++ {
				to, left := newLog(t, engine.BackendMemory), n
				source, target := from, to
				if side == "source" {
					source = failing{from, &left}
				} else {
					target = failing{to, &left}
				}
				_, err := adapter.Copy(t.Context(), source, target, nil)
				if left > 0 {
					check(t, err)
					if n < 40 {
						t.Fatalf("a copy makes %d calls", n)
					}
					return
				}
				if !errors.Is(err, engine.ErrIO) || !strings.Contains(err.Error(), side) {
					t.Fatalf("call %d of the %s: got %v, want ErrIO that says where", n, side, err)
				}
				mustCopy(t, from, to)
				wantSame(t, from, to, false)
			}
		})
	}
}
