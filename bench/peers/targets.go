package main

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/seglog/seglog/bench/result"
)

// target is a figure that seglog is to reach.
type target struct {
	row    string
	what   string
	bound  float64
	atMost bool   // the figure is to be no more than the bound; else no less
	unit   string // of the bound and of the figure
	figure figureOf
}

// figureOf takes a figure out of a run, and says what it was compared with
// where the run decides that; NaN where the run does not have it.
type figureOf func(r *result.Run, w *result.Row) (figure float64, beside string)

const (
	timesLimit = "× limit"
	timesPeer  = "× best peer"
)

// targets returns all, in the order of the rows. A figure that is compared is
// compared within a round, between neighbours in time.
func targets() (all []target) {
	least := func(row, what string, bound float64, unit string, figure figureOf) {
		all = append(all, target{row: row, what: what, bound: bound, unit: unit, figure: figure})
	}
	most := func(row, what string, bound float64, unit string, figure figureOf) {
		all = append(all, target{row: row, what: what, bound: bound, atMost: true, unit: unit, figure: figure})
	}

	for _, n := range []int{1, 4, 16, 64, 256, 1024} {
		row, what := load{appenders: n, topics: 1}.name(), fmt.Sprintf("durable append, appenders %d", n)
		switch {
		case n == 1:
			least(row, what, 0.95, timesLimit, ratio(seglogName, limitName))
		case n <= 64:
			least(row, what, 0.9, fmt.Sprintf("× %d × limit with one appender", n), ofPair(seglogName, limitName, func(s, limit result.Sample) float64 {
				return s.Value / (float64(n) * extra(limit, extraOneAppender))
			}))
			least(row, what, 3, timesPeer, beforePeers(seglogName))
		default:
			least(row, what, map[int]float64{256: 1.25, 1024: 1}[n], timesLimit, ratio(seglogName, limitName))
			least(row, what, 2.5, timesPeer, beforePeers(seglogName))
		}
		if n == 1 || n == 64 {
			most(row, what+", allocations", 1, "an append", median(seglogName, func(s result.Sample) float64 { return s.Allocs }))
		}
	}
	row := load{appenders: 64, topics: 1}.name()
	least(row, "durable append, appenders 64, file backend", 0.6, timesLimit, ratio(seglogFileName, limitName))
	least(row, "durable append, appenders 64, SQLite backend", 10, "× SQLite with a synced transaction an append", ratio(seglogSQLiteName, "modernc-full"))

	for _, l := range []load{{topics: 100}, {topics: 1000}, {topics: 100_000}, {topics: 100_000, hot: 100}} {
		l.appenders = 64
		what := fmt.Sprintf("durable append, appenders 64, topics %d", l.topics)
		if l.hot > 0 {
			what += fmt.Sprintf(", half to %d of them", l.hot)
		}
		least(l.name(), what, 0.95, "× one topic", median(seglogName, func(s result.Sample) float64 { return s.Value / extra(s, extraOneTopic) }))
		least(l.name(), what, 3, timesPeer, beforePeers(seglogName))
	}

	for _, bytes := range []int{payloadBytes, 1 << 10} {
		least(batchName(bytes), fmt.Sprintf("durable batches of %d × %d bytes", batchEvents, bytes), 0.9, timesLimit, ratio(seglogName, limitName))
	}
	least(rowAsync, "asynchronous append", 1e6, "events/s", median(seglogName, value))
	least(rowAsync, "asynchronous append", 0.9, "× durable batches", median(seglogName, func(s result.Sample) float64 { return s.Value / extra(s, extraBatch) }))
	least(rowUnsync, "append without a sync", 1.2, timesLimit, ratio(seglogName, limitName))

	// A latency is known to within a step of its histogram, which is 6 %.
	const noWorse = 1.07
	for _, percent := range []int{10, 50, 90} {
		for _, q := range []struct {
			name string
			of   func(result.Sample) float64
		}{{"p50", p50}, {"p99", p99}} {
			most(openLoopName(percent), fmt.Sprintf("open loop at %d %%, %s", percent, q.name), noWorse, "× without gathering", besides(seglogName, seglogNoGatherName, q.of))
		}
	}
	for _, topics := range []int{1, 1000} {
		what := fmt.Sprintf("appends under checkpoints, %d topics", topics)
		most(checkpointsName(topics), what+", p99", 2, timesLimit, besides(seglogName, limitName, p99))
		most(checkpointsName(topics), what+", p99.9", 5, timesLimit, besides(seglogName, limitName, func(s result.Sample) float64 { return s.Latency(0.999) }))
	}
	least(ackName(1), "acknowledgement, 1 consumer", 0.95, timesLimit, ratio(seglogName, limitName))
	least(ackName(64), "acknowledgement, 64 consumers", 1.8, timesLimit, ratio(seglogName, limitName))
	most("deliver", "append and delivery, p50", 1.3, "× the append alone", median(seglogName, func(s result.Sample) float64 { return s.P50 / extra(s, extraAppendP50) }))
	least(rowFanOut, "fan-out to 8 subscribers", 10, timesPeer, beforePeers(seglogName))

	least("scan/decoded", "scan, decoded", 2.5, timesPeer, beforePeers(seglogName))
	least("scan/raw", "scan, raw, without compression", 1, "× bbolt", ratio(seglogPlainName, "bbolt"))
	least("scan/raw", "scan, raw, compressed", 0.5, "× bbolt", ratio(seglogName, "bbolt"))
	least("seek/read=10", "seek, without compression", 1, "× bbolt", ratio(seglogPlainName, "bbolt"))
	least("seek/read=10", "seek, compressed", 1.5, "× Pebble", ratio(seglogName, "pebble"))
	for _, batch := range []int{1, batchEvents} {
		most(killName(batch), fmt.Sprintf("open after a kill, batches of %d", batch), 2, "× reading and checking the log", median(seglogName, func(s result.Sample) float64 {
			return s.Value / extra(s, extraCheck)
		}))
	}
	most(rowDisk, "disk", 300, "bytes a realistic event", median(seglogName, value))
	most(rowDisk, "disk, zstd in blocks of 64 KiB", 300, "bytes a realistic event", median(seglogZstdName, value))
	most(rowRest, "memory at rest, 1,000 topics", 64, "MiB", median(seglogName, value))
	for _, events := range []int{1_000_000, 100_000_000} {
		most(growthName(events), fmt.Sprintf("open %d M events", events/1e6), 1, "ms", median(seglogName, func(s result.Sample) float64 { return extra(s, extraOpenCall) }))
		most(growthName(events), fmt.Sprintf("compact half of %d M events", events/1e6), 5, "ms", median(seglogName, func(s result.Sample) float64 { return extra(s, extraCompact) }))
		most(growthName(events), fmt.Sprintf("disk free after compacting %d M events", events/1e6), 1000, "ms", median(seglogName, func(s result.Sample) float64 { return extra(s, extraFreed) }))
	}
	return all
}

func value(s result.Sample) float64 { return s.Value }
func p50(s result.Sample) float64   { return s.P50 }
func p99(s result.Sample) float64   { return s.P99 }

func extra(s result.Sample, name string) float64 {
	if v, ok := s.Extra[name]; ok {
		return v
	}
	return math.NaN()
}

// median of a store's own figure.
func median(store string, figure func(result.Sample) float64) figureOf {
	return func(_ *result.Run, w *result.Row) (float64, string) { return w.Entry(store).Median(figure), "" }
}

// ratio is how much better one store is than another.
func ratio(a, b string) figureOf {
	return func(_ *result.Run, w *result.Row) (float64, string) { return w.Ratio(a, b), "" }
}

// ofPair is a figure of two stores' turns.
func ofPair(a, b string, figure func(a, b result.Sample) float64) figureOf {
	return func(_ *result.Run, w *result.Row) (float64, string) { return w.Paired(a, b, figure), "" }
}

// besides is one store's figure as a multiple of another's.
func besides(a, b string, figure func(result.Sample) float64) figureOf {
	return ofPair(a, b, func(s, t result.Sample) float64 { return figure(s) / figure(t) })
}

// beforePeers is how much better a store is than the best peer.
func beforePeers(store string) figureOf {
	return func(r *result.Run, w *result.Row) (float64, string) {
		peer := bestPeer(r, w)
		return w.Ratio(store, peer), peer
	}
}

// outcome is what a run says of a target.
type outcome struct{ target, reached, met string }

func judge(r *result.Run) (all []outcome, met, measured int) {
	for _, t := range targets() {
		sign := "≥"
		if t.atMost {
			sign = "≤"
		}
		o := outcome{fmt.Sprintf("%s: %s %s %s", t.what, sign, plain(t.bound), t.unit), "-", "not measured"}
		v, beside := math.NaN(), ""
		if w := r.Row(t.row); w != nil {
			v, beside = t.figure(r, w)
		}
		if !math.IsNaN(v) {
			measured++
			o.reached, o.met = plain(v), "no"
			if beside != "" {
				o.reached += " (" + beside + ")"
			}
			if v == t.bound || (v < t.bound) == t.atMost {
				o.met = "yes"
				met++
			}
		}
		all = append(all, o)
	}
	return all, met, measured
}

// plain is a number with about three digits that count.
func plain(v float64) string {
	switch {
	case v >= 1e4:
		return figure(v)
	case v >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

// printTargets prints which targets a run reaches.
func printTargets(to io.Writer, r *result.Run, markdown bool) {
	outcomes, met, measured := judge(r)
	all := append([]outcome{{"target", "reached", "met"}}, outcomes...)
	if markdown {
		all = append(all[:1:1], append([]outcome{{"---", "---", "---"}}, outcomes...)...)
	}
	wide, middle := 0, 0
	for _, o := range all {
		wide, middle = max(wide, utf8.RuneCountInString(o.target)), max(middle, utf8.RuneCountInString(o.reached))
	}
	for _, o := range all {
		if markdown {
			fmt.Fprintf(to, "| %s | %s | %s |\n", o.target, o.reached, o.met)
			continue
		}
		fmt.Fprintf(to, "%-*s  %-*s  %s\n", wide, o.target, middle, o.reached, o.met)
	}
	fmt.Fprintf(to, "\n%d of %d targets met, %d not measured\n", met, len(outcomes), len(outcomes)-measured)
}
