package main

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"

	"github.com/seglog/seglog/bench/result"
)

func printHead(r *result.Run) {
	m := r.Machine
	fmt.Printf("%s\n%s on %s, %d cores, %s; %s %s, %s; %s; revision %s\n", r.Command, m.CPU, m.Arch, m.Cores, bytesText(m.MemoryBytes),
		m.OS, m.Kernel, m.FileSystem, m.Go, r.Revision)
	fmt.Printf("4 KiB written and synced: p50 %s µs, p99 %s µs\n", figure(m.SyncP50), figure(m.SyncP99))
	fmt.Printf("medians of %d rounds of %s; ratio: to the limit, above 1 is better; spread: (max-min)/median; latencies in µs; "+
		"allocs and cpu (µs): of the whole process, an event; a peer far behind the best takes part in the first round only\n", r.Rounds, r.Turn)
}

// printRow prints the best first.
func printRow(r *result.Run, w *result.Row) {
	fmt.Printf("\n%s: %s\n", w.Name, w.Title)
	fmt.Printf("%-18s %12s %8s %7s %9s %9s %8s %8s\n", "store", w.Unit, "ratio", "spread", "p50", "p99", "allocs", "cpu")
	entries := slices.Clone(w.Entries)
	slices.SortStableFunc(entries, func(a, b *result.Entry) int {
		if w.LowerIsBetter {
			return cmp.Compare(orLast(a.Value(), math.Inf(1)), orLast(b.Value(), math.Inf(1)))
		}
		return -cmp.Compare(orLast(a.Value(), -1), orLast(b.Value(), -1))
	})
	var unoffered []string
	for _, e := range entries {
		if e.Error == notOffered {
			unoffered = append(unoffered, e.Store)
			continue
		}
		printEntry(r, w, e)
	}
	if len(unoffered) > 0 {
		fmt.Printf("not offered by %v\n", unoffered)
	}
	peer := bestPeer(r, w)
	if ratio := w.Ratio(seglogName, peer); !math.IsNaN(ratio) {
		fmt.Printf("seglog beside the best peer (%s): %s\n", peer, figure(ratio))
	}
}

func printEntry(r *result.Run, w *result.Row, e *result.Entry) {
	name := e.Store
	if w.Durable && !r.Store(name).Durable {
		name += " (*)"
	}
	if e.Error != "" {
		fmt.Printf("%-18s failed: %s\n", name, e.Error)
	}
	if len(e.Samples) == 0 {
		return
	}
	of := func(f func(result.Sample) float64) string { return figure(e.Median(f)) }
	fmt.Printf("%-18s %12s %8s %7s %9s %9s %8s %8s", name, figure(e.Value()), figure(w.Ratio(e.Store, limitName)),
		strconv.Itoa(int(math.Round(100*e.Spread())))+"%",
		of(func(s result.Sample) float64 { return s.P50 }), of(func(s result.Sample) float64 { return s.P99 }),
		of(func(s result.Sample) float64 { return s.Allocs }), of(func(s result.Sample) float64 { return s.CPU }))
	for _, extra := range slices.Sorted(maps.Keys(e.Samples[0].Extra)) {
		fmt.Printf("  %s %s", extra, figure(e.Extra(extra)))
	}
	fmt.Println()
}

// bestPeer is the best of the other stores; in a durable row, of those that are
// durable.
func bestPeer(r *result.Run, w *result.Row) string {
	return w.Best(func(name string) bool {
		s := r.Store(name)
		return s.Module != seglogModule && (!w.Durable || s.Durable)
	})
}

func orLast(v, last float64) float64 {
	if math.IsNaN(v) {
		return last
	}
	return v
}

// figure is a number with four digits that count, and k or M for large ones.
func figure(v float64) string {
	switch {
	case math.IsNaN(v) || v == 0:
		return "-"
	case v >= 1e6:
		return strconv.FormatFloat(v/1e6, 'f', 2, 64) + "M"
	case v >= 1e4:
		return strconv.FormatFloat(v/1e3, 'f', 1, 64) + "k"
	case v >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 3, 64)
}
