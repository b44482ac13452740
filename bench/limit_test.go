package bench

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/seglog/seglog/engine"
)

var errSimulated = errors.New("simulated")

func openLimit(t *testing.T, dir string, opts LimitOptions) *Limit {
	t.Helper()
	l, err := OpenLimit(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func readAll(t *testing.T, l *Limit, topic engine.Topic, opts engine.ReadOptions) []engine.Record {
	t.Helper()
	var records []engine.Record
	for r, err := range l.Read(t.Context(), topic, opts) {
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, r)
	}
	return records
}

func TestLimitReadsBackWhatWasAppended(t *testing.T) {
	dir := t.TempDir()
	l := openLimit(t, dir, LimitOptions{FileBytes: 1 << 20})
	a, b := engine.MustTopic("a"), engine.MustTopic("b")
	events := []engine.Event{
		{Kind: "plain", Payload: []byte(`{"n":1}`), OccurredAtMS: 7},
		{Kind: "quo\"te\n", Payload: []byte("null"), Headers: map[string]string{"k": "v", "é": "\\", "": ""}, OccurredAtMS: -1},
		{Kind: "", Payload: []byte(`"` + strings.Repeat("x", 300<<10) + `"`)},
	}
	if _, err := l.Append(t.Context(), b, events[0]); err != nil {
		t.Fatal(err)
	}
	first, last, err := l.AppendBatch(t.Context(), a, events)
	if err != nil || first != 1 || last != 3 {
		t.Fatalf("batch: got ids %d..%d and %v, want 1..3", first, last, err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = openLimit(t, dir, LimitOptions{FileBytes: 1 << 20})
	id, err := l.Append(t.Context(), a, events[0])
	if err != nil || id != 4 {
		t.Fatalf("append after reopening: got id %d and %v, want 4", id, err)
	}
	got := readAll(t, l, a, engine.ReadOptions{})
	if len(got) != 4 {
		t.Fatalf("got %d events, want 4", len(got))
	}
	for i, r := range got {
		want := events[i%3]
		if int(r.ID) != i+1 || r.Kind != want.Kind || !bytes.Equal(r.Payload, want.Payload) || r.OccurredAtMS != want.OccurredAtMS || len(r.Headers) != len(want.Headers) {
			t.Errorf("event %d: got %.80v, want %.80v", i+1, r, want)
		}
		for k, v := range want.Headers {
			if r.Headers[k] != v {
				t.Errorf("event %d: header %q: got %q, want %q", i+1, k, r.Headers[k], v)
			}
		}
	}
}

func TestLimitSeeksByItsIndex(t *testing.T) {
	dir := t.TempDir()
	l := openLimit(t, dir, LimitOptions{})
	topics := Topics(3)
	events := Events(90, 200)
	for i, event := range events {
		if _, err := l.Append(t.Context(), topics[i%3], event); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = openLimit(t, dir, LimitOptions{Index: true})
	if want := 30; len(l.offsets[topics[1].String()]) != want {
		t.Fatalf("the index has %d events, want %d", len(l.offsets[topics[1].String()]), want)
	}
	got := readAll(t, l, topics[1], engine.ReadOptions{After: 12, Limit: 10})
	if len(got) != 10 || got[0].ID != 13 || !bytes.Equal(got[9].Payload, events[3*21+1].Payload) {
		t.Fatalf("got %d events from %d", len(got), got[0].ID)
	}
}

func TestLimitGivesDenseIDsToACrowd(t *testing.T) {
	l := openLimit(t, t.TempDir(), LimitOptions{})
	topics, events := Topics(5), Events(16, 100)
	var mu sync.Mutex
	seen := map[engine.Topic]map[engine.EventID]bool{}
	turns := 0
	result, err := Crowd(32, Times(1000), func(worker, turn int) error {
		topic := topics[worker%5]
		id, err := l.Append(t.Context(), topic, events[turn%16])
		mu.Lock()
		defer mu.Unlock()
		if seen[topic] == nil {
			seen[topic] = map[engine.EventID]bool{}
		}
		seen[topic][id] = true
		turns++
		return err
	})
	if err != nil || result.Operations != 1000 || turns != 1000 {
		t.Fatalf("got %d operations, %d turns and %v, want 1000", result.Operations, turns, err)
	}
	total := 0
	for topic, ids := range seen {
		records := readAll(t, l, topic, engine.ReadOptions{})
		total += len(records)
		for i, r := range records {
			if int(r.ID) != i+1 || !ids[r.ID] {
				t.Fatalf("topic %s: event %d in place %d, acknowledged: %t", topic, r.ID, i+1, ids[r.ID])
			}
		}
	}
	if total != 1000 {
		t.Errorf("read %d events, want 1000", total)
	}
}

// A crowd shares writes: what gathers while the disk is busy is one group.
func TestLimitWritesAGroupAtOnce(t *testing.T) {
	l := openLimit(t, t.TempDir(), LimitOptions{})
	l.writing.Lock() // the disk is busy
	frame := func() []byte { return appendLimitFrame(nil, "t", &engine.Event{Payload: []byte("1")}) }
	_, group, leads := l.join("t", frame(), 1)
	_, same, leadsToo := l.join("t", frame(), 1)
	l.writing.Unlock()
	if !leads || leadsToo || group != same {
		t.Fatalf("got leaders %t and %t, one group: %t; want the first to lead one group", leads, leadsToo, group == same)
	}
	if err := l.commit(group, true); err != nil {
		t.Fatal(err)
	}
	if err := l.commit(same, false); err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, l, engine.MustTopic("t"), engine.ReadOptions{}); len(got) != 2 || got[1].ID != 2 {
		t.Errorf("read %v, want events 1 and 2", got)
	}
}

func TestLimitRecyclesItsFile(t *testing.T) {
	dir := t.TempDir()
	l := openLimit(t, dir, LimitOptions{FileBytes: 8 << 10})
	topic := engine.MustTopic("t")
	for _, event := range Events(100, 256) {
		if _, err := l.Append(t.Context(), topic, event); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(filepath.Join(dir, limitFile))
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() != 8<<10 {
		t.Errorf("file has %d bytes, want %d", info.Size(), 8<<10)
	}
	for _, err := range l.Read(t.Context(), topic, engine.ReadOptions{}) {
		if err == nil || !strings.Contains(err.Error(), "wrapped") {
			t.Errorf("read of a wrapped file: got %v, want an error", err)
		}
	}
}

func TestLimitRefusesAFlippedBit(t *testing.T) {
	dir := t.TempDir()
	l := openLimit(t, dir, LimitOptions{})
	topic := engine.MustTopic("t")
	if _, _, err := l.AppendBatch(t.Context(), topic, Events(3, 256)); err != nil {
		t.Fatal(err)
	}
	size := l.offset
	for at := int64(4); at < size; at += 13 {
		flip(t, l.file, at)
		var failed bool
		for _, err := range l.ReadRaw(t.Context(), topic, engine.ReadOptions{}) {
			failed = failed || err != nil
		}
		if !failed {
			t.Errorf("a bit flipped at offset %d was not noticed", at)
		}
		flip(t, l.file, at)
	}
}

func flip(t *testing.T, file *os.File, at int64) {
	t.Helper()
	var b [1]byte
	if _, err := file.ReadAt(b[:], at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1
	if _, err := file.WriteAt(b[:], at); err != nil {
		t.Fatal(err)
	}
}

func TestLimitAsyncAppendsAreThereOnceWaitedFor(t *testing.T) {
	l := openLimit(t, t.TempDir(), LimitOptions{})
	topic := engine.MustTopic("t")
	var pending []LimitPending
	for _, event := range Events(200, 256) {
		pending = append(pending, l.AppendAsync(t.Context(), topic, event))
	}
	for i, p := range pending {
		if id, err := p.Wait(t.Context()); err != nil || int(id) != i+1 {
			t.Fatalf("append %d: got id %d and %v", i+1, id, err)
		}
	}
	if got := readAll(t, l, topic, engine.ReadOptions{}); len(got) != 200 {
		t.Errorf("read %d events, want 200", len(got))
	}
}

func TestCrowdReportsTheFirstError(t *testing.T) {
	_, err := Crowd(4, Times(100), func(_, turn int) error {
		if turn == 3 {
			return errSimulated
		}
		return nil
	})
	if !errors.Is(err, errSimulated) {
		t.Errorf("got %v, want %v", err, errSimulated)
	}
}

func TestHistogramQuantilesAreWithinAStep(t *testing.T) {
	var h Histogram
	for us := 1; us <= 1000; us++ {
		h.add(int64(us) * 1000)
	}
	for _, c := range []struct{ quantile, want float64 }{{0.5, 500e3}, {0.99, 990e3}, {1, 1000e3}} {
		got := float64(h.Quantile(c.quantile))
		if got < c.want*0.93 || got > c.want*1.07 {
			t.Errorf("quantile %g: got %g, want %g within 7 %%", c.quantile, got, c.want)
		}
	}
}

func TestEventsHaveTheSizeAskedFor(t *testing.T) {
	for _, payloadBytes := range []int{64, 256, 4096} {
		for i, event := range Events(20, payloadBytes) {
			if len(event.Payload) != payloadBytes {
				t.Fatalf("event %d: payload of %d bytes, want %d", i, len(event.Payload), payloadBytes)
			}
			if err := event.Validate(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestRealisticEventsHaveTheirMeanSize(t *testing.T) {
	total := 0
	const count = 2000
	for _, event := range RealisticEvents(count) {
		if err := event.Validate(); err != nil {
			t.Fatal(err)
		}
		total += len(AppendEnvelope(nil, &event))
	}
	if mean := total / count; mean < 1000 || mean > 1070 {
		t.Errorf("mean size %d bytes, want about 1035", mean)
	}
}

func TestMedianIsTheMiddle(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{{[]float64{3}, 3}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 9, 2}, 3}} {
		if got := median(c.values); got != c.want {
			t.Errorf("median of %v: got %g, want %g", c.values, got, c.want)
		}
	}
}
