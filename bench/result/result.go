// Package result is a run of the workloads over several stores as it is kept: a
// JSON file with every turn's figures, from which tables and plots are made.
package result

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"time"
)

// Run is everything that one command measured.
type Run struct {
	Command  string    `json:"command"`
	Began    time.Time `json:"began"`
	Seconds  float64   `json:"seconds"`
	Machine  Machine   `json:"machine"`
	Revision string    `json:"revision"` // of the repository; empty where git does not say
	Turn     string    `json:"turn"`
	Rounds   int       `json:"rounds"`
	Events   int       `json:"events"` // that the rows that read have loaded
	Stores   []Store   `json:"stores"`
	Rows     []*Row    `json:"rows"`
}

// Machine is where it was measured. What the system does not say is empty.
type Machine struct {
	OS          string  `json:"os"`
	Arch        string  `json:"arch"`
	Kernel      string  `json:"kernel"`
	CPU         string  `json:"cpu"`
	Cores       int     `json:"cores"`
	MemoryBytes int64   `json:"memory_bytes"`
	FileSystem  string  `json:"file_system"`
	Go          string  `json:"go"`
	SyncP50     float64 `json:"sync_p50_us"` // 4 KiB written into a zeroed file, and synced
	SyncP99     float64 `json:"sync_p99_us"`
}

// Store is one that took part.
type Store struct {
	Name    string `json:"name"`
	Module  string `json:"module,omitempty"`
	Version string `json:"version,omitempty"`
	// Durable: an acknowledged append survives power loss in the rows that say
	// durable.
	Durable bool   `json:"durable"`
	Note    string `json:"note"`
}

// Row is one workload over all stores that offer it.
type Row struct {
	Name  string `json:"name"`
	Title string `json:"title"`
	// Unit of the samples' values.
	Unit string `json:"unit"`
	// LowerIsBetter: the values are times or sizes, not rates.
	LowerIsBetter bool `json:"lower_is_better,omitempty"`
	// Durable: what is acknowledged is to be on disk, and a store for which it
	// is not is no peer here.
	Durable bool     `json:"durable,omitempty"`
	Entries []*Entry `json:"entries"`
}

// Entry is one store in one row: a sample for each round, or why there is none.
type Entry struct {
	Store   string   `json:"store"`
	Error   string   `json:"error,omitempty"`
	Samples []Sample `json:"samples,omitempty"`
}

// Sample is one turn. Latencies are of one operation, in microseconds;
// allocations and processor time are of the whole process, for one event.
type Sample struct {
	Round  int     `json:"round"`
	Value  float64 `json:"value"`
	P50    float64 `json:"p50_us,omitempty"`
	P99    float64 `json:"p99_us,omitempty"`
	Allocs float64 `json:"allocs,omitempty"`
	CPU    float64 `json:"cpu_us,omitempty"`
	// Latencies are those at Quantiles.
	Latencies []float64 `json:"latencies_us,omitempty"`
	// Extra is what only some rows have.
	Extra map[string]float64 `json:"extra,omitempty"`
}

// Quantiles are the fractions at which Sample.Latencies are.
var Quantiles = []float64{0, .1, .2, .3, .4, .5, .6, .7, .8, .9, .95, .98, .99, .995, .998, .999, .9995, .9998, .9999, 1}

// Latency is that at a quantile; NaN where the sample has none.
func (s Sample) Latency(quantile float64) float64 {
	if i := slices.Index(Quantiles, quantile); i >= 0 && i < len(s.Latencies) {
		return s.Latencies[i]
	}
	return math.NaN()
}

// Row returns the row of that name; nil where there is none.
func (r *Run) Row(name string) *Row {
	for _, row := range r.Rows {
		if row.Name == name {
			return row
		}
	}
	return nil
}

// Store returns what is known of a store.
func (r *Run) Store(name string) Store {
	for _, s := range r.Stores {
		if s.Name == name {
			return s
		}
	}
	return Store{Name: name}
}

// Entry returns a store's entry; nil where there is none.
func (r *Row) Entry(store string) *Entry {
	for _, e := range r.Entries {
		if e.Store == store {
			return e
		}
	}
	return nil
}

// Median of a figure over the samples; NaN where there are none.
func (e *Entry) Median(figure func(Sample) float64) float64 {
	if e == nil {
		return math.NaN()
	}
	values := make([]float64, len(e.Samples))
	for i, s := range e.Samples {
		values[i] = figure(s)
	}
	return median(values)
}

// Value is the median of the samples' values.
func (e *Entry) Value() float64 { return e.Median(func(s Sample) float64 { return s.Value }) }

// Extra is the median of an extra figure; NaN where a sample lacks it.
func (e *Entry) Extra(name string) float64 {
	return e.Median(func(s Sample) float64 {
		if v, ok := s.Extra[name]; ok {
			return v
		}
		return math.NaN()
	})
}

// Spread is how far the values lie apart: (max-min)/median.
func (e *Entry) Spread() float64 {
	if e == nil || len(e.Samples) == 0 {
		return math.NaN()
	}
	lo, hi := math.Inf(1), math.Inf(-1)
	for _, s := range e.Samples {
		lo, hi = min(lo, s.Value), max(hi, s.Value)
	}
	return (hi - lo) / e.Value()
}

// Ratio is how much better a is than b in this row, above 1: better; the median
// over the rounds in which both took their turn. NaN where there are none.
func (r *Row) Ratio(a, b string) float64 {
	return r.Paired(a, b, func(s, t Sample) float64 {
		if r.LowerIsBetter {
			return t.Value / s.Value
		}
		return s.Value / t.Value
	})
}

// Paired is the median of a figure over the rounds in which both stores took
// their turn. NaN where there are none.
func (r *Row) Paired(a, b string, figure func(a, b Sample) float64) float64 {
	ea, eb := r.Entry(a), r.Entry(b)
	if ea == nil || eb == nil {
		return math.NaN()
	}
	var figures []float64
	for _, s := range ea.Samples {
		for _, t := range eb.Samples {
			if s.Round == t.Round {
				figures = append(figures, figure(s, t))
			}
		}
	}
	return median(figures)
}

// Best returns the store with the best value among those that ok allows; ""
// where there is none.
func (r *Row) Best(ok func(store string) bool) string {
	best, name := math.NaN(), ""
	for _, e := range r.Entries {
		v := e.Value()
		if math.IsNaN(v) || !ok(e.Store) {
			continue
		}
		if name == "" || (v < best) == r.LowerIsBetter {
			best, name = v, e.Store
		}
	}
	return name
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// Read reads a run from a file.
func Read(name string) (*Run, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read run: %w", err)
	}
	var run Run
	if err := json.Unmarshal(text, &run); err != nil {
		return nil, fmt.Errorf("read run %s: %w", name, err)
	}
	return &run, nil
}

// Write writes the run into a file.
func (r *Run) Write(name string) error {
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return fmt.Errorf("write run %s: %w", name, err)
	}
	if err := os.WriteFile(name, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("write run: %w", err)
	}
	return nil
}
