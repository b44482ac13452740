package main

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seglog/seglog/bench/result"
)

// sampleRun has the rows of every chart, with figures that are made up.
func sampleRun() *result.Run {
	run := &result.Run{Rounds: 1, Turn: "1s", Stores: []result.Store{{Name: own, Durable: true}, {Name: "limit", Durable: true}, {Name: "nats-default"}, {Name: "a <new> one", Durable: true}}}
	row := func(name string, value float64) {
		r := &result.Row{Name: name}
		for i, s := range run.Stores {
			sample := result.Sample{Value: value * float64(i+1), Extra: map[string]float64{
				"seek_us": 10, "compact_ms": 1, "read_peak_bytes": 5 << 20, "json_bytes": 1035,
			}}
			for i := range result.Quantiles {
				sample.Latencies = append(sample.Latencies, float64(100+50*i))
			}
			r.Entries = append(r.Entries, &result.Entry{Store: s.Name, Samples: []result.Sample{sample}})
		}
		r.Entries = append(r.Entries, &result.Entry{Store: "absent", Error: "not offered"})
		run.Rows = append(run.Rows, r)
	}
	for _, n := range []int{1, 64, 1024} {
		row(fmt.Sprintf("append/appenders=%d/topics=1", n), 5000*float64(n))
	}
	row("append/appenders=64/topics=1000", 9000)
	row("append/appenders=64/topics=100000", 8000)
	row("checkpoints/topics=1", 300)
	for _, percent := range []int{10, 50, 90} {
		row(fmt.Sprintf("openloop/load=%d", percent), 200)
	}
	row("payload/bytes=64", 9000)
	row("payload/bytes=16384", 900)
	row("disk", 500)
	row("growth/events=10000", 1)
	row("growth/events=100000000", 1.5)
	return run
}

func TestPlotDrawsEveryChart(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "run.json")
	if err := sampleRun().Write(name); err != nil {
		t.Fatal(err)
	}
	if err := plot(name, dir); err != nil {
		t.Fatal(err)
	}
	for _, c := range charts {
		svg, err := os.ReadFile(filepath.Join(dir, c.name+".svg"))
		if err != nil {
			t.Error(err)
			continue
		}
		checkSVG(t, c.name, string(svg))
	}
}

// checkSVG wants a well-formed document that names a store and has no number
// that is none.
func checkSVG(t *testing.T, name, svg string) {
	t.Helper()
	for in := xml.NewDecoder(strings.NewReader(svg)); ; {
		_, err := in.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
	}
	if strings.Contains(svg, "NaN") || strings.Contains(svg, "Inf") {
		t.Errorf("%s has a number that is none", name)
	}
	if !strings.Contains(svg, own) && name != "growth" {
		t.Errorf("%s does not name %s", name, own)
	}
}

func TestPlotRefusesARunWithoutRows(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "run.json")
	if err := (&result.Run{}).Write(name); err != nil {
		t.Fatal(err)
	}
	if err := plot(name, dir); err == nil {
		t.Error("no error")
	}
}

func TestAxesFitTheirValues(t *testing.T) {
	for _, c := range []struct {
		values []float64
		lo, hi float64 // of the logarithmic axis
		top    float64 // of the linear one
	}{
		{[]float64{1, 1000}, 1, 1000, 1500},
		{[]float64{120, 450_000}, 100, 1e6, 500_000},
		{[]float64{3, 20}, 2.5, 40, 30},
		{[]float64{0.4}, 0.25, 1, 0.5},
	} {
		var a axis
		a.fitLog(c.values)
		if !near(a.lo, c.lo) || !near(a.hi, c.hi) {
			t.Errorf("%v: got a logarithmic axis from %v to %v, want %v to %v", c.values, a.lo, a.hi, c.lo, c.hi)
		}
		var b axis
		b.fitLinear(c.values)
		if b.lo != 0 || !near(b.hi, c.top) || len(b.ticks) < 3 || len(b.ticks) > 7 {
			t.Errorf("%v: got a linear axis to %v with %d ticks, want %v", c.values, b.hi, len(b.ticks), c.top)
		}
	}
}

func near(a, b float64) bool { return math.Abs(a-b) < 1e-6*b }
