package result

import (
	"math"
	"path/filepath"
	"reflect"
	"testing"
)

func rounds(values ...float64) []Sample {
	var samples []Sample
	for i, v := range values {
		samples = append(samples, Sample{Round: i, Value: v, Extra: map[string]float64{"twice": 2 * v}})
	}
	return samples
}

func TestEntryTakesTheMedian(t *testing.T) {
	e := &Entry{Samples: rounds(30, 10, 20)}
	if v, x, s := e.Value(), e.Extra("twice"), e.Spread(); v != 20 || x != 40 || s != 1 {
		t.Errorf("got value %v, extra %v, spread %v, want 20, 40, 1", v, x, s)
	}
	even := &Entry{Samples: rounds(10, 20)}
	if v := even.Value(); v != 15 {
		t.Errorf("got %v, want 15", v)
	}
	for name, v := range map[string]float64{
		"no samples": (&Entry{}).Value(), "no entry": (*Entry)(nil).Value(), "no such extra": e.Extra("thrice"),
	} {
		if !math.IsNaN(v) {
			t.Errorf("%s: got %v, want NaN", name, v)
		}
	}
}

func TestRatioComparesNeighboursInTime(t *testing.T) {
	row := &Row{Entries: []*Entry{
		{Store: "a", Samples: rounds(10, 100, 50)},
		{Store: "b", Samples: rounds(5, 50, 10)},
		{Store: "c", Error: "not offered"},
	}}
	if r := row.Ratio("a", "b"); r != 2 {
		t.Errorf("got %v, want 2", r)
	}
	row.LowerIsBetter = true
	if r := row.Ratio("a", "b"); r != 0.5 {
		t.Errorf("lower is better: got %v, want 0.5", r)
	}
	for _, other := range []string{"c", "d", ""} {
		if r := row.Ratio("a", other); !math.IsNaN(r) {
			t.Errorf("beside %q: got %v, want NaN", other, r)
		}
	}
}

func TestBestDependsOnTheDirection(t *testing.T) {
	row := &Row{Entries: []*Entry{
		{Store: "slow", Samples: rounds(1)}, {Store: "fast", Samples: rounds(3)}, {Store: "barred", Samples: rounds(9)}, {Store: "none"},
	}}
	ok := func(name string) bool { return name != "barred" }
	if best := row.Best(ok); best != "fast" {
		t.Errorf("got %q, want fast", best)
	}
	row.LowerIsBetter = true
	if best := row.Best(ok); best != "slow" {
		t.Errorf("lower is better: got %q, want slow", best)
	}
	if best := row.Best(func(string) bool { return false }); best != "" {
		t.Errorf("none allowed: got %q", best)
	}
}

func TestRunIsReadAsWritten(t *testing.T) {
	name := filepath.Join(t.TempDir(), "run.json")
	run := &Run{
		Command: "peers", Rounds: 3, Stores: []Store{{Name: "a", Durable: true}},
		Rows: []*Row{{Name: "r", Unit: "ms", LowerIsBetter: true, Entries: []*Entry{{Store: "a", Samples: rounds(1, 2)}}}},
	}
	if err := run.Write(name); err != nil {
		t.Fatal(err)
	}
	got, err := Read(name)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, run) {
		t.Errorf("got %+v, want %+v", got, run)
	}
	if got.Row("r").Entry("a") == nil || got.Row("q") != nil || !got.Store("a").Durable || got.Store("b").Durable {
		t.Error("rows, entries and stores are not found by name")
	}
	if _, err := Read(name + ".missing"); err == nil {
		t.Error("a missing file: no error")
	}
}
