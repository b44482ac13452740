package main

import (
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/seglog/seglog/bench"
	"github.com/seglog/seglog/bench/result"
)

// options are the flags.
type options struct {
	rows, stores           string
	turn                   time.Duration
	rounds, events, growth int
	dir, out               string
	resume, list           bool
	targets, markdown      bool
}

func main() {
	var o options
	flag.StringVar(&o.rows, "rows", "", "rows to run: names or their first words, separated by commas; default: all")
	flag.StringVar(&o.stores, "stores", "", "stores to run, separated by commas; default: all")
	flag.DurationVar(&o.turn, "turn", time.Second, "length of a turn, after a warm-up of a fifth of it")
	flag.IntVar(&o.rounds, "rounds", 3, "rounds, in each of which every store takes a turn")
	flag.IntVar(&o.events, "events", 1_000_000, "events that the rows that read load first")
	flag.IntVar(&o.growth, "growth", 10_000_000, "events of the largest log in the growth rows, up to 100 million")
	flag.StringVar(&o.dir, "dir", ".", "directory on a real disk in which the stores are made")
	flag.StringVar(&o.out, "out", "run.json", "file to which the run is written, after every row")
	flag.BoolVar(&o.resume, "resume", false, "keep the rows that the file has, and run those that it lacks")
	flag.BoolVar(&o.targets, "targets", false, "print which targets the run in the file reaches, and stop")
	flag.BoolVar(&o.markdown, "markdown", false, "with -targets: as a Markdown table")
	flag.BoolVar(&o.list, "list", false, "list the rows and the stores, and stop")
	flag.Parse()
	asked, err := child()
	if !asked {
		err = run(o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

func run(o options) (err error) {
	if o.targets {
		done, err := result.Read(o.out)
		if err == nil {
			printTargets(os.Stdout, done, o.markdown)
		}
		return err
	}
	chosen, err := chooseStores(o.stores)
	if err != nil {
		return err
	}
	workloads, err := chooseRows(o.rows, o.growth)
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
	defer h.removeLoaded()
	done, err := begin(o, dir, chosen)
	if err != nil {
		return err
	}
	printHead(done)
	began, before := time.Now(), done.Seconds
	var failures []error
	for _, w := range workloads {
		if done.Row(w.name) != nil {
			continue // resumed
		}
		measured, errs := h.row(w, chosen, o.rounds)
		failures = append(failures, errs...)
		done.Rows, done.Seconds = append(done.Rows, measured), before+time.Since(began).Seconds()
		printRow(done, measured)
		if err := done.Write(o.out); err != nil {
			return err
		}
	}
	fmt.Printf("\n%.0f seconds\n\n", done.Seconds)
	printTargets(os.Stdout, done, false)
	return errors.Join(failures...)
}

// begin describes the run, or takes the one that is to be resumed.
func begin(o options, dir string, chosen []store) (*result.Run, error) {
	if o.resume {
		return result.Read(o.out)
	}
	done := &result.Run{
		Command: commandLine(), Began: time.Now().UTC(), Revision: revision(),
		Turn: o.turn.String(), Rounds: o.rounds, Events: o.events, Stores: describeStores(chosen),
	}
	var err error
	done.Machine, err = describeMachine(dir)
	return done, err
}

// row has the stores take turns. Each round begins with another store.
func (h *harness) row(w row, chosen []store, rounds int) (*result.Row, []error) {
	done := &result.Row{Name: w.name, Title: w.title, Unit: w.unit, LowerIsBetter: w.lowerIsBetter, Durable: w.durable}
	var part []store
	for _, s := range chosen {
		if w.takesPart(s) {
			part = append(part, s)
			done.Entries = append(done.Entries, &result.Entry{Store: s.Name})
		}
	}
	if w.rounds > 0 {
		rounds = min(rounds, w.rounds)
	}
	var failures []error
	for round := range rounds {
		h.rates = map[string]float64{}
		for i := range part {
			at := (round + i) % len(part)
			entry := done.Entries[at]
			if entry.Error != "" || round > 0 && farBehind(done, part, at) {
				continue
			}
			sample, err := h.take(w, part[at])
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

// take runs a turn; a driver that panics loses its own turn and no other.
func (h *harness) take(w row, s store) (done result.Sample, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return w.turn(h, s)
}

// farBehind says that another store's place is known after the first round:
// those at which a store of ours is measured are at least twice as good. The
// rounds it does without are most of a run's time.
func farBehind(w *result.Row, part []store, at int) bool {
	peer := func(s store) bool { return s.module != seglogModule && (!w.Durable || s.durable) }
	if s := part[at]; s.module == seglogModule {
		return false
	} else if !peer(s) {
		return true
	}
	first := func(e *result.Entry) float64 {
		if len(e.Samples) == 0 {
			return math.NaN()
		}
		return e.Samples[0].Value
	}
	mine := first(w.Entries[at])
	return slices.ContainsFunc(part, func(s store) bool {
		other := first(w.Entry(s.Name))
		if !peer(s) || math.IsNaN(other) {
			return false
		}
		return w.LowerIsBetter && mine > 2*other || !w.LowerIsBetter && 2*mine < other
	})
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

func chooseRows(names string, growthMost int) ([]row, error) {
	all := rows(growthMost)
	if names == "" {
		return all, nil
	}
	wanted := strings.Split(names, ",")
	for _, name := range wanted {
		if !slices.ContainsFunc(all, func(r row) bool { return named([]string{name}, r.name) }) {
			return nil, fmt.Errorf("there is no row %q", name)
		}
	}
	return slices.DeleteFunc(all, func(r row) bool { return !named(wanted, r.name) }), nil
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
