package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/seglog/seglog/bench/result"
)

func TestTargetsHaveTheirRows(t *testing.T) {
	all := rows(100_000_000)
	seen := map[string]bool{}
	for _, target := range targets() {
		if !slices.ContainsFunc(all, func(r row) bool { return r.name == target.row }) {
			t.Errorf("target %q: there is no row %q", target.what, target.row)
		}
		if seen[target.what+target.unit] || target.bound <= 0 {
			t.Errorf("target %q: seen %t, bound %v", target.what, seen[target.what+target.unit], target.bound)
		}
		seen[target.what+target.unit] = true
	}
}

// verdicts has a run of one row, with the values and extras of stores, judged.
func verdicts(t *testing.T, name string, lowerIsBetter bool, samples map[string]result.Sample) (met []string) {
	t.Helper()
	row := &result.Row{Name: name, LowerIsBetter: lowerIsBetter, Durable: true}
	for store, s := range samples {
		row.Entries = append(row.Entries, &result.Entry{Store: store, Samples: []result.Sample{s}})
	}
	run := &result.Run{Rows: []*result.Row{row}, Stores: describeStores(stores())}
	outcomes, _, _ := judge(run)
	for i, target := range targets() {
		if target.row == name {
			met = append(met, outcomes[i].met)
		} else if outcomes[i].met != "not measured" {
			t.Errorf("%s: %s, and the run does not have it", outcomes[i].target, outcomes[i].met)
		}
	}
	return met
}

func TestTargetsAreJudged(t *testing.T) {
	extras := func(value float64, name string, v float64) result.Sample {
		return result.Sample{Value: value, Extra: map[string]float64{name: v}}
	}
	for _, c := range []struct {
		name, row     string
		lowerIsBetter bool
		samples       map[string]result.Sample
		want          []string
	}{
		{"at the bound", "unsynced/appenders=1", false, map[string]result.Sample{"seglog": {Value: 120}, "limit": {Value: 100}}, []string{"yes"}},
		{"below it", "unsynced/appenders=1", false, map[string]result.Sample{"seglog": {Value: 119}, "limit": {Value: 100}}, []string{"no"}},
		{"without the other store", "unsynced/appenders=1", false, map[string]result.Sample{"seglog": {Value: 120}}, []string{"not measured"}},
		{
			"many appenders beside one of the limit, and the best durable peer", "append/appenders=4/topics=1", false,
			map[string]result.Sample{"seglog": {Value: 37}, "limit": extras(20, extraOneAppender, 10), "pebble": {Value: 12}, "bbolt": {Value: 5}, "nats-default": {Value: 90}},
			[]string{"yes", "yes"},
		},
		{
			"many topics beside one", "append/appenders=64/topics=1000", false,
			map[string]result.Sample{"seglog": extras(90, extraOneTopic, 100), "pebble": {Value: 31}},
			[]string{"no", "no"},
		},
		{
			"quantiles beside another store's", "openloop/load=50", true,
			map[string]result.Sample{"seglog": {P50: 100, P99: 200}, "seglog-nogather": {P50: 100, P99: 150}},
			[]string{"yes", "no"},
		},
		{"a figure that is to be small", "disk", true, map[string]result.Sample{"seglog": {Value: 301}, "seglog-zstd": {Value: 300}}, []string{"no", "yes"}},
		{"a ratio of times", "seek/read=10", false, map[string]result.Sample{"seglog": {Value: 30}, "seglog-plain": {Value: 9}, "pebble": {Value: 20}, "bbolt": {Value: 10}}, []string{"no", "yes"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if met := verdicts(t, c.row, c.lowerIsBetter, c.samples); !slices.Equal(met, c.want) {
				t.Errorf("got %q, want %q", met, c.want)
			}
		})
	}
}

func TestTargetsArePrinted(t *testing.T) {
	for _, markdown := range []bool{false, true} {
		var b strings.Builder
		printTargets(&b, &result.Run{}, markdown)
		lines := strings.Split(strings.TrimSpace(b.String()), "\n")
		last, table := lines[len(lines)-1], lines[:len(lines)-2]
		head := 1
		if markdown {
			head = 2
		}
		if len(table) != len(targets())+head || !strings.HasPrefix(last, "0 of ") {
			t.Errorf("markdown %t: %d lines, the last %q", markdown, len(lines), last)
		}
		for _, line := range table {
			if markdown && strings.Count(line, "|") != 4 {
				t.Errorf("no row of a table: %q", line)
			}
		}
	}
}
