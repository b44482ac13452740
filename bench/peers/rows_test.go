package main

import (
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seglog/seglog/bench/result"
)

// smokeRows are one of each kind, on few events.
func smokeRows(t *testing.T) []row {
	t.Helper()
	chosen, err := chooseRows("append/appenders=4/topics=1,payload/bytes=64,batch,async,unsynced,openloop/load=50," +
		"ack/consumers=1,deliver,fanout,scan,seek,open,compact,disk,growth/events=10000")
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
		if offers[s.Name] < 3 {
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
	for _, r := range rows() {
		if seen[r.name] || r.title == "" || r.unit == "" || strings.ContainsAny(r.name, " ,") {
			t.Errorf("row %q: seen %t, title %q, unit %q", r.name, seen[r.name], r.title, r.unit)
		}
		seen[r.name] = true
	}
}
