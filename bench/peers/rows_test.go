package main

import (
	"errors"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seglog/seglog/bench/result"
)

// smokeRows are one of each kind, on few events.
func smokeRows(t *testing.T) []row {
	t.Helper()
	chosen, err := chooseRows("append/appenders=64/topics=1,append/appenders=4/topics=1,payload/bytes=64,batch,async,unsynced,openloop/load=50,"+
		"ack/consumers=1,deliver,fanout,scan,seek,open,compact,disk,growth/events=10000,checkpoints/topics=1,rest,kill/batch=1000", 10_000)
	if err != nil {
		t.Fatal(err)
	}
	return chosen
}

// TestRowsRunOnEveryStore takes a very short turn of every kind of row. In short
// form stores that have all that matters to a row stand for the others.
func TestRowsRunOnEveryStore(t *testing.T) {
	chosen := stores()
	if testing.Short() {
		var err error
		if chosen, err = chooseStores("seglog,limit,jsonl,nats"); err != nil {
			t.Fatal(err)
		}
	}
	h := &harness{dir: t.TempDir(), turn: time.Millisecond, events: batchEvents, loaded: map[string]string{}}
	offers := map[string]int{}
	for _, w := range smokeRows(t) {
		measured, failures := h.row(w, chosen, 1)
		for _, err := range failures {
			t.Error(err)
		}
		for _, e := range measured.Entries {
			if e.Error == notOffered {
				continue
			}
			offers[e.Store]++
			if v := e.Value(); v <= 0 || math.IsNaN(v) {
				t.Errorf("row %s, store %s: value %v", w.name, e.Store, v)
			}
		}
	}
	if offers["seglog"] != len(smokeRows(t)) {
		t.Errorf("seglog took part in %d rows, want all %d", offers["seglog"], len(smokeRows(t)))
	}
	for _, s := range chosen {
		if s.rows == nil && offers[s.Name] < 3 || offers[s.Name] == 0 {
			t.Errorf("%s took part in %d rows only", s.Name, offers[s.Name])
		}
	}
	h.removeLoaded()
	if left, _ := filepath.Glob(filepath.Join(h.dir, "*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestRunWritesWhatItMeasured(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "run.json")
	err := run(options{rows: "append/appenders=1,seek", stores: "limit,jsonl,seglog", turn: time.Millisecond, rounds: 2, events: batchEvents, dir: dir, out: out})
	if err != nil {
		t.Fatal(err)
	}
	got, err := result.Read(out)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Rows) != 2 || len(got.Stores) != 3 || got.Rounds != 2 || got.Machine.SyncP50 <= 0 {
		t.Errorf("got %d rows, %d stores, %d rounds, sync %v µs", len(got.Rows), len(got.Stores), got.Rounds, got.Machine.SyncP50)
	}
	for _, w := range got.Rows {
		for _, e := range w.Entries {
			if len(e.Samples) != 2 || e.Samples[1].Round != 1 || e.Value() <= 0 {
				t.Errorf("row %s, store %s: %+v", w.Name, e.Store, e)
			}
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.tmp")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestRunIsResumed(t *testing.T) {
	dir := t.TempDir()
	o := options{rows: "seek", stores: "limit", turn: time.Millisecond, rounds: 1, events: batchEvents, dir: dir, out: filepath.Join(dir, "run.json")}
	if err := run(o); err != nil {
		t.Fatal(err)
	}
	before, err := result.Read(o.out)
	if err != nil {
		t.Fatal(err)
	}
	o.rows, o.resume = "seek,scan/raw", true
	if err := run(o); err != nil {
		t.Fatal(err)
	}
	after, err := result.Read(o.out)
	if err != nil {
		t.Fatal(err)
	}
	if len(after.Rows) != 2 || after.Rows[0].Entry("limit").Value() != before.Rows[0].Entry("limit").Value() || after.Seconds <= before.Seconds {
		t.Errorf("got %d rows in %v s, want 2, the first as it was, in more than %v s", len(after.Rows), after.Seconds, before.Seconds)
	}
}

// TestATurnThatFailsLosesNoOther has drivers fail in their second turn.
func TestATurnThatFailsLosesNoOther(t *testing.T) {
	turns := map[string]int{}
	w := row{name: "r", turn: func(_ *harness, s store) (result.Sample, error) {
		turns[s.Name]++
		switch {
		case s.Name == "limit" && turns[s.Name] == 2:
			panic("a driver's own bug")
		case s.Name == "pebble" && turns[s.Name] == 2:
			return result.Sample{}, errors.New("full")
		}
		return result.Sample{Value: 1}, nil
	}}
	chosen, err := chooseStores("seglog,limit,pebble,bbolt")
	if err != nil {
		t.Fatal(err)
	}
	got, failures := (&harness{}).row(w, chosen, 3)
	if len(failures) != 2 {
		t.Errorf("got %q, want two failures", failures)
	}
	for name, want := range map[string]int{"seglog": 3, "limit": 1, "pebble": 1, "bbolt": 3} {
		if e := got.Entry(name); len(e.Samples) != want || (e.Error != "") != (want == 1) {
			t.Errorf("%s: %d samples and %q, want %d", name, len(e.Samples), e.Error, want)
		}
	}
}

// TestPeersFarBehindTakeOneTurn: those that could be the best take all.
func TestPeersFarBehindTakeOneTurn(t *testing.T) {
	values := map[string]float64{"seglog": 1, "limit": 2, "pebble": 100, "bbolt": 51, "badger": 49, "nats-default": 1000}
	chosen, err := chooseStores("seglog,limit,pebble,bbolt,badger,nats-default")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		lowerIsBetter bool
		once          []string
	}{
		{false, []string{"badger", "nats-default"}},
		{true, []string{"pebble", "nats-default"}},
	} {
		w := row{name: "append/x", durable: true, lowerIsBetter: c.lowerIsBetter, turn: func(_ *harness, s store) (result.Sample, error) {
			return result.Sample{Value: values[s.Name]}, nil
		}}
		got, _ := (&harness{}).row(w, chosen, 2)
		for _, e := range got.Entries {
			if once := len(e.Samples) == 1; once != slices.Contains(c.once, e.Store) {
				t.Errorf("lower is better %t: %s took %d turns", c.lowerIsBetter, e.Store, len(e.Samples))
			}
		}
	}
}

func TestUnknownNamesAreRefused(t *testing.T) {
	for name, o := range map[string]options{
		"row":    {rows: "append,apend"},
		"store":  {stores: "pebble,pebbles"},
		"events": {turn: 1, rounds: 1, events: 1},
	} {
		o.dir = t.TempDir()
		if err := run(o); err == nil {
			t.Errorf("unknown %s: no error", name)
		}
	}
}

func TestRowNamesAreDistinct(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range rows(100_000_000) {
		if seen[r.name] || r.title == "" || r.unit == "" || strings.ContainsAny(r.name, " ,") {
			t.Errorf("row %q: seen %t, title %q, unit %q", r.name, seen[r.name], r.title, r.unit)
		}
		seen[r.name] = true
	}
}
