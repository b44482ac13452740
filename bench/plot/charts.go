package main

import (
	"fmt"
	"math"
	"strings"

	"github.com/seglog/seglog/bench/result"
)

// charts are all pictures. draw returns "" where the run lacks the rows.
var charts = []struct {
	name string
	draw func(run *result.Run) string
}{
	{"throughput-appenders", func(run *result.Run) string {
		rows := rowsFor(run, "append/appenders=%d/topics=1", 1, 4, 16, 64, 256, 1024)
		return throughput(run, rows, "Durable appends against appenders", "appenders, each waiting for its append (one topic)")
	}},
	{"throughput-topics", func(run *result.Run) string {
		rows := rowsFor(run, "append/appenders=64/topics=%d", 1, 100, 1000, 100_000)
		return throughput(run, rows, "Durable appends against topics", "topics that 64 appenders share")
	}},
	{"throughput-payload", func(run *result.Run) string {
		rows := rowsFor(run, "payload/bytes=%d", 64, 256, 1<<10, 4<<10, 16<<10)
		return throughput(run, rows, "Durable appends against the size of the payload", "bytes of an event's payload (64 appenders, one topic)")
	}},
	{"latency-1", func(run *result.Run) string {
		return latency(run, "append/appenders=1/topics=1", "Latency of durable appends, one appender")
	}},
	{"latency-64", func(run *result.Run) string {
		return latency(run, "append/appenders=64/topics=1", "Latency of durable appends, 64 appenders")
	}},
	{"latency-checkpoints", func(run *result.Run) string {
		return latency(run, "checkpoints/topics=1", "Latency of durable appends while checkpoints run, 64 appenders")
	}},
	{"latency-openloop-10", openLoop(10)},
	{"latency-openloop-50", openLoop(50)},
	{"latency-openloop-90", openLoop(90)},
	{"growth", growth},
	{"disk", disk},
}

// style is how a store is drawn, in every chart the same.
type style struct {
	color  string
	width  float64
	dashes string
	strong bool
}

func (s style) stroke() string {
	stroke := fmt.Sprintf(`stroke="%s" stroke-width="%g"`, s.color, s.width)
	if s.dashes != "" {
		stroke += fmt.Sprintf(` stroke-dasharray="%s"`, s.dashes)
	}
	return stroke
}

const own = "seglog"

// styleOf gives ours and the limit weight; stores that are not durable are
// dashed.
func styleOf(run *result.Run, name string) style {
	colors := map[string]string{
		own: "#1864ab", own + "-zstd": "#4dabf7", own + "-plain": "#4dabf7", own + "-nogather": "#4dabf7",
		own + "-file": "#63e6be", own + "-sqlite": "#b197fc", "limit": "#212529",
		"pebble": "#e8590c", "bbolt": "#2f9e44", "badger": "#9c36b5", "raftwal": "#c2255c", "tidwall": "#0c8599",
		"jsonl": "#868e96", "nats": "#f08c00", "nats-default": "#f08c00",
		"modernc-full": "#5f3dc4", "modernc-normal": "#5f3dc4", "ncruces-full": "#a0522d", "ncruces-normal": "#a0522d",
	}
	s := style{color: colors[name], width: 1.5}
	if s.color == "" {
		s.color = faint
	}
	switch {
	case name == own:
		s.width, s.strong = 3, true
	case name == "limit":
		s.width, s.dashes, s.strong = 2, "7 4", true
	case !run.Store(name).Durable:
		s.width, s.dashes = 1.2, "2 3"
	}
	return s
}

// label is a store's name; in charts of durable appends a star says who is not.
func label(run *result.Run, name string) string {
	if !run.Store(name).Durable {
		return name + " *"
	}
	return name
}

const footnote = "* acknowledged and not on disk"

// subtitle says where, and how, it was measured.
func subtitle(run *result.Run) string {
	m := run.Machine
	return fmt.Sprintf("%s, %d cores, %s, %s; 4 KiB written and synced in %.0f µs (p50); median of %d rounds of %s; revision %s",
		strings.TrimSpace(m.CPU), m.Cores, m.FileSystem, m.Go, m.SyncP50, run.Rounds, run.Turn, run.Revision)
}

// numbered is a row at a place of the x axis.
type numbered struct {
	x   float64
	row *result.Row
}

func rowsFor(run *result.Run, format string, numbers ...int) (rows []numbered) {
	for _, n := range numbers {
		if row := run.Row(fmt.Sprintf(format, n)); row != nil {
			rows = append(rows, numbered{float64(n), row})
		}
	}
	return rows
}

// storesOf are those with a value in any of the rows, in the run's order.
func storesOf(run *result.Run, rows []numbered) (names []string) {
	for _, s := range run.Stores {
		for _, r := range rows {
			if !math.IsNaN(r.row.Entry(s.Name).Value()) {
				names = append(names, s.Name)
				break
			}
		}
	}
	return names
}

func throughput(run *result.Run, rows []numbered, title, xTitle string) string {
	if len(rows) < 2 {
		return ""
	}
	chart := lineChart{title: title, subtitle: subtitle(run), footnote: footnote, x: axis{title: xTitle}, y: axis{title: "events per second"}}
	var all []float64
	for _, name := range storesOf(run, rows) {
		s := series{name: label(run, name), style: styleOf(run, name)}
		for _, r := range rows {
			if v := r.row.Entry(name).Value(); !math.IsNaN(v) {
				s.points = append(s.points, point{r.x, v})
				all = append(all, v)
			}
		}
		chart.series = append(chart.series, s)
	}
	if len(all) == 0 {
		return ""
	}
	chart.y.fitLog(all)
	chart.x.ticksAt(rows)
	return chart.svg()
}

// ticksAt puts a tick at each row of a logarithmic axis.
func (a *axis) ticksAt(rows []numbered) {
	a.log, a.lo, a.hi = true, rows[0].x, rows[len(rows)-1].x
	for _, r := range rows {
		a.ticks = append(a.ticks, tick{r.x, fmt.Sprint(r.x)})
	}
}

func openLoop(percent int) func(run *result.Run) string {
	return func(run *result.Run) string {
		return latency(run, fmt.Sprintf("openloop/load=%d", percent),
			fmt.Sprintf("Latency of durable appends that arrive at %d %% of the rate of 64 appenders to the same store", percent))
	}
}

// latency draws quantiles on an axis that gives each further nine the same
// room.
func latency(run *result.Run, rowName, title string) string {
	row := run.Row(rowName)
	if row == nil {
		return ""
	}
	chart := lineChart{title: title, subtitle: subtitle(run), footnote: footnote, x: axis{title: "fraction of appends that take at most this long"}, y: axis{title: "microseconds"}, plain: true}
	const last = 0.9991 // beyond it a turn has too few appends
	var all []float64
	for _, e := range row.Entries {
		s := series{name: label(run, e.Store), style: styleOf(run, e.Store)}
		for i, q := range result.Quantiles {
			v := e.Median(func(s result.Sample) float64 {
				if i < len(s.Latencies) {
					return s.Latencies[i]
				}
				return math.NaN()
			})
			if q < last && v > 0 {
				s.points = append(s.points, point{1 / (1 - q), v})
				all = append(all, v)
			}
		}
		if len(s.points) > 0 {
			chart.series = append(chart.series, s)
		}
	}
	if len(all) == 0 {
		return ""
	}
	chart.y.fitLog(all)
	chart.x.log, chart.x.lo, chart.x.hi = true, 1, 1000
	for _, t := range []struct {
		q     float64
		label string
	}{{0, "least"}, {.5, "50 %"}, {.9, "90 %"}, {.99, "99 %"}, {.999, "99.9 %"}} {
		chart.x.ticks = append(chart.x.ticks, tick{1 / (1 - t.q), t.label})
	}
	return chart.svg()
}

// growth is four small charts of what must not grow with a log.
func growth(run *result.Run) string {
	rows := rowsFor(run, "growth/events=%d", 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000)
	if len(rows) < 2 {
		return ""
	}
	extra := func(name string, scale float64) func(*result.Entry) float64 {
		return func(e *result.Entry) float64 { return e.Extra(name) * scale }
	}
	panels := []struct {
		title string
		value func(*result.Entry) float64
	}{
		{"open after a clean close, ms", (*result.Entry).Value},
		{"read ten events from anywhere, µs (p50)", extra("seek_us", 1)},
		{"drop the first half, ms", extra("compact_ms", 1)},
		{"memory that reading all adds, MiB (peak)", extra("read_peak_bytes", 1.0/(1<<20))},
	}
	const panelWidth, panelHeight = chartWidth / 2, 230
	c := &canvas{width: chartWidth, height: 64 + 2*panelHeight}
	c.title("What must not grow with a log: events from "+short(rows[0].x)+" to "+short(rows[len(rows)-1].x), subtitle(run))
	for i, p := range panels {
		chart := lineChart{x: axis{title: "events in the log"}}
		chart.x.ticksAt(rows)
		for i, t := range chart.x.ticks {
			chart.x.ticks[i].label = short(t.value)
		}
		s := series{name: own, style: styleOf(run, own)}
		var values []float64
		for _, r := range rows {
			if v := p.value(r.row.Entry(own)); !math.IsNaN(v) {
				s.points, values = append(s.points, point{r.x, v}), append(values, v)
			}
		}
		if len(values) == 0 {
			continue
		}
		chart.series = []series{s}
		chart.y.fitLinear(values)
		left, top := float64(i%2*panelWidth), 64+float64(i/2*panelHeight)
		c.text(left+60, top+14, "start", `font-weight="bold"`, p.title)
		chart.draw(c, left+60, top+30, left+panelWidth-24, top+panelHeight-56, false)
	}
	return c.String()
}

func disk(run *result.Run) string {
	row := run.Row("disk")
	if row == nil {
		return ""
	}
	chart := barChart{
		title: "Disk for a realistic event", subtitle: subtitle(run), x: axis{title: "bytes on disk for an event, after closing (" + own + " without its write-ahead log, which does not grow)"},
	}
	var values []float64
	for _, e := range row.Entries {
		if v := e.Value(); !math.IsNaN(v) {
			chart.bars, values = append(chart.bars, bar{e.Store, styleOf(run, e.Store), v}), append(values, v)
			if e.Store == own {
				chart.mark = e.Extra("json_bytes")
			}
		}
	}
	if len(values) == 0 {
		return ""
	}
	chart.markName = fmt.Sprintf("as JSON: %.0f", chart.mark)
	chart.x.fitLinear(append(values, chart.mark))
	return chart.svg()
}
