package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/seglog/seglog/bench"
	"github.com/seglog/seglog/bench/result"
)

// options are the flags.
type options struct {
	rows, stores   string
	turn           time.Duration
	rounds, events int
	dir, out       string
	list           bool
}

func main() {
	var o options
	flag.StringVar(&o.rows, "rows", "", "rows to run: names or their first words, separated by commas; default: all")
	flag.StringVar(&o.stores, "stores", "", "stores to run, separated by commas; default: all")
	flag.DurationVar(&o.turn, "turn", time.Second, "length of a turn, after a warm-up of a fifth of it")
	flag.IntVar(&o.rounds, "rounds", 3, "rounds, in each of which every store takes a turn")
	flag.IntVar(&o.events, "events", 1_000_000, "events that the rows that read load first")
	flag.StringVar(&o.dir, "dir", ".", "directory on a real disk in which the stores are made")
	flag.StringVar(&o.out, "out", "run.json", "file to which the run is written, after every row")
	flag.BoolVar(&o.list, "list", false, "list the rows and the stores, and stop")
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

func run(o options) (err error) {
	chosen, err := chooseStores(o.stores)
	if err != nil {
		return err
	}
	workloads, err := chooseRows(o.rows)
	if err != nil {
		return err
	}
	if o.list {
		list(chosen, workloads)
		return nil
	}
	if o.turn <= 0 || o.rounds < 1 || o.events < batchEvents {
		return fmt.Errorf("-turn must be above 0, -rounds at least 1 and -events at least %d", batchEvents)
	}
	if inMemory, err := bench.InMemory(o.dir); err != nil {
		return err
	} else if inMemory {
		fmt.Fprintf(os.Stderr, "peers: -dir %s is in memory: durable figures mean nothing\n", o.dir)
	}
	// A folder of its own: its parent's other files stay out of every sync.
	dir, err := os.MkdirTemp(o.dir, "peers-*.tmp")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	h := &harness{dir: dir, turn: o.turn, events: o.events, loaded: map[string]string{}}
	done := &result.Run{
		Command: commandLine(), Began: time.Now().UTC(), Revision: revision(),
		Turn: o.turn.String(), Rounds: o.rounds, Events: o.events, Stores: describeStores(chosen),
	}
	if done.Machine, err = describeMachine(dir); err != nil {
		return err
	}
	printHead(done)
	var failures []error
	for _, w := range workloads {
		measured, errs := h.row(w, chosen, o.rounds)
		failures = append(failures, errs...)
		done.Rows, done.Seconds = append(done.Rows, measured), time.Since(done.Began).Seconds()
		printRow(done, measured)
		if err := done.Write(o.out); err != nil {
			return err
		}
	}
	h.removeLoaded()
	return errors.Join(failures...)
}

// row has the stores take turns. Each round begins with another store.
func (h *harness) row(w row, chosen []store, rounds int) (*result.Row, []error) {
	done := &result.Row{Name: w.name, Title: w.title, Unit: w.unit, LowerIsBetter: w.lowerIsBetter, Durable: w.durable}
	var part []store
	for _, s := range chosen {
		if s.takesPart(w.name) && (!w.ownOnly || s.module == seglogModule && s.Name == "seglog") {
			part = append(part, s)
			done.Entries = append(done.Entries, &result.Entry{Store: s.Name})
		}
	}
	var failures []error
	for round := range rounds {
		for i := range part {
			at := (round + i) % len(part)
			entry := done.Entries[at]
			if entry.Error != "" {
				continue
			}
			sample, err := w.turn(h, part[at])
			switch {
			case errors.Is(err, errors.ErrUnsupported):
				entry.Error = notOffered
			case err != nil:
				entry.Error = err.Error()
				failures = append(failures, fmt.Errorf("row %s, store %s: %w", w.name, entry.Store, err))
			default:
				sample.Round = round
				entry.Samples = append(entry.Samples, sample)
			}
		}
	}
	return done, failures
}

const notOffered = "not offered"

func chooseStores(names string) ([]store, error) {
	if names == "" {
		return stores(), nil
	}
	var chosen []store
	for name := range strings.SplitSeq(names, ",") {
		s, err := storeNamed(name)
		if err != nil {
			return nil, err
		}
		chosen = append(chosen, s)
	}
	return chosen, nil
}

func chooseRows(names string) ([]row, error) {
	if names == "" {
		return rows(), nil
	}
	wanted := strings.Split(names, ",")
	matches := func(r row, name string) bool { return r.name == name || strings.HasPrefix(r.name, name+"/") }
	for _, name := range wanted {
		if !slices.ContainsFunc(rows(), func(r row) bool { return matches(r, name) }) {
			return nil, fmt.Errorf("there is no row %q", name)
		}
	}
	var chosen []row
	for _, r := range rows() {
		if slices.ContainsFunc(wanted, func(name string) bool { return matches(r, name) }) {
			chosen = append(chosen, r)
		}
	}
	return chosen, nil
}

func list(chosen []store, workloads []row) {
	for _, w := range workloads {
		fmt.Printf("%-36s %s\n", w.name, w.title)
	}
	fmt.Println()
	for _, s := range describeStores(chosen) {
		durable := "durable"
		if !s.Durable {
			durable = "NOT durable"
		}
		fmt.Printf("%-16s %-12s %s %s\n%29s %s\n", s.Name, durable, s.Module, s.Version, "", s.Note)
	}
}

func describeStores(chosen []store) []result.Store {
	version := versions()
	delete(version, seglogModule) // Run.Revision says which
	var described []result.Store
	for _, s := range chosen {
		described = append(described, result.Store{Name: s.Name, Module: s.module, Version: version[s.module], Durable: s.durable, Note: s.note})
	}
	return described
}

func commandLine() string {
	return strings.Join(append([]string{filepath.Base(os.Args[0])}, os.Args[1:]...), " ")
}
