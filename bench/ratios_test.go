package bench

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seglog/seglog/engine"
)

var (
	ratiosFlag    = flag.Bool("ratios", false, "run TestRatios")
	roundsFlag    = flag.Int("rounds", 5, "rounds of TestRatios, each with a turn of both stores")
	turnFlag      = flag.Duration("turn", 500*time.Millisecond, "length of a turn of TestRatios, after a warm-up of a fifth of it")
	appendersFlag = flag.String("appenders", "1,4,16,64,256,1024", "crowds of TestRatios")
	topicsFlag    = flag.String("topics", "1,100,1000", "topics of TestRatios")
	bytesFlag     = flag.Int("bytes", payloadBytes, "payload bytes of TestRatios")
	syncFlag      = flag.Int("sync", 0, "sync policy of TestRatios: 0 always, 1 interval, 2 never")
)

// TestRatios prints durable appends of the store beside those of the limit.
// Both take turns, each turn in a fresh directory, and the order changes from
// round to round. A ratio is the median of the rounds' ratios, each of two turns
// that were neighbours in time; spread is their range; best compares the best
// turns. Allocations and CPU time are those of the whole process, an event; on a
// busy machine the CPU time is the steadiest column. With -store limit, spread
// shows the machine's noise.
func TestRatios(t *testing.T) {
	if !*ratiosFlag {
		t.Skip("measures for minutes: asked for with -ratios")
	}
	our, reference := ours(t), limit(t)
	fmt.Printf("%s beside limit: medians of %d rounds of %v, payload %d bytes; ratio above 1: better than the limit\n",
		our.Store.Name, *roundsFlag, *turnFlag, *bytesFlag)
	fmt.Printf("%9s %6s %9s %9s %7s %6s %7s %8s %8s %8s %8s %7s %7s %8s %8s\n", "appenders", "topics",
		our.Store.Name+"/s", "limit/s", "ratio", "spread", "best", "p50", "limit", "p99", "limit", "allocs", "limit", "cpu", "limit")
	for _, topics := range numbers(t, *topicsFlag) {
		for _, appenders := range numbers(t, *appendersFlag) {
			var a, b []Turn
			for round := range *roundsFlag {
				first, second, firsts, seconds := our, reference, &a, &b
				if round%2 == 1 {
					first, second, firsts, seconds = reference, our, &b, &a
				}
				*firsts = append(*firsts, takeTurn(t, first, appenders, topics))
				*seconds = append(*seconds, takeTurn(t, second, appenders, topics))
			}
			printRow(appenders, topics, a, b)
		}
	}
}

func takeTurn(t *testing.T, r Runner, appenders, topics int) Turn {
	t.Helper()
	dir, err := os.MkdirTemp(r.Dir, "ratios-*.tmp")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	log, err := r.Store.Open(dir, Setup{Sync: engine.SyncPolicy(*syncFlag)})
	if err != nil {
		t.Fatalf("open %s: %v", r.Store.Name, err)
	}
	turn, err := TakeTurn(appenders, *turnFlag, AppendOp(log, Topics(topics), Events(distinctEvents, *bytesFlag)))
	if err := errors.Join(err, log.Close()); err != nil {
		t.Fatalf("%s: %v", r.Store.Name, err)
	}
	return turn
}

func printRow(appenders, topics int, ours, limits []Turn) {
	ratios := make([]float64, len(ours))
	for i := range ours {
		ratios[i] = ours[i].PerSecond() / limits[i].PerSecond()
	}
	ratio := median(ratios)
	us := func(d float64) string { return strconv.FormatFloat(d/1e3, 'g', 4, 64) + "µs" }
	of := func(turns []Turn, value func(Turn) float64) float64 {
		values := make([]float64, len(turns))
		for i := range turns {
			values[i] = value(turns[i])
		}
		return median(values)
	}
	perSecond := func(t Turn) float64 { return t.PerSecond() }
	p50 := func(t Turn) float64 { return float64(t.Latency.Quantile(0.50)) }
	p99 := func(t Turn) float64 { return float64(t.Latency.Quantile(0.99)) }
	allocs := func(t Turn) float64 { return t.Allocs }
	cpu := func(t Turn) float64 { return float64(t.CPU) }
	fmt.Printf("%9d %6d %9.0f %9.0f %7.3f %5.0f%% %7.3f %8s %8s %8s %8s %7.2f %7.2f %8s %8s\n",
		appenders, topics, of(ours, perSecond), of(limits, perSecond),
		ratio, 100*(slices.Max(ratios)-slices.Min(ratios))/ratio, best(ours)/best(limits),
		us(of(ours, p50)), us(of(limits, p50)), us(of(ours, p99)), us(of(limits, p99)),
		of(ours, allocs), of(limits, allocs), us(of(ours, cpu)), us(of(limits, cpu)))
}

// best is the highest rate: on a busy machine the turn that was disturbed least.
func best(turns []Turn) float64 {
	return slices.MaxFunc(turns, func(a, b Turn) int { return cmp.Compare(a.PerSecond(), b.PerSecond()) }).PerSecond()
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

func numbers(t *testing.T, list string) []int {
	t.Helper()
	var numbers []int
	for field := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(field)
		if err != nil || n < 1 {
			t.Fatalf("%q is not a list of numbers from 1 up", list)
		}
		numbers = append(numbers, n)
	}
	return numbers
}
