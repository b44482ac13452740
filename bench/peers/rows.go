package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/seglog/seglog/bench"
	"github.com/seglog/seglog/bench/result"
	"github.com/seglog/seglog/engine"
)

// row is one workload over the stores.
type row struct {
	name, title, unit string
	lowerIsBetter     bool
	durable           bool     // see [result.Row]
	stores            []string // that take part; nil: all
	rounds            int      // at most; 0: as many as the run has
	turn              func(h *harness, s store) (result.Sample, error)
}

const (
	payloadBytes   = 256
	distinctEvents = 64
	batchEvents    = 1000
	seekEvents     = 10
)

// Rows that more than one place names.
const (
	rowDisk   = "disk"
	rowRest   = "rest/topics=1000"
	rowAsync  = "async/appenders=1"
	rowUnsync = "unsynced/appenders=1"
	rowFanOut = "fanout/subscribers=8"
)

var ownOnly = []string{seglogName}

// rows returns all workloads, in the order in which they run. growthMost is the
// size of the largest log.
func rows(growthMost int) []row {
	all := appendRows()
	add := func(r row) { all = append(all, r) }
	add(batchRow(payloadBytes, "256 bytes", bench.Events(batchEvents, payloadBytes)))
	add(batchRow(1<<10, "1 KiB of base64 noise", bench.IncompressibleEvents(batchEvents, 1<<10)))
	add(row{
		name: rowAsync, unit: "events/s", durable: true, turn: (*harness).async,
		title: "asynchronous append by one goroutine; the latency is that of the call; batch_per_s: batches in the same turn",
	})
	add(row{name: rowUnsync, title: "append without a sync by one goroutine", unit: "events/s", turn: (*harness).unsynced})
	for _, percent := range []int{10, 50, 90} {
		add(row{
			name: openLoopName(percent), unit: "µs", lowerIsBetter: true, durable: true,
			stores: []string{seglogName, seglogNoGatherName, limitName, "pebble", "bbolt"}, // those whose appenders share a sync
			title:  fmt.Sprintf("latency (p50) of durable appends that arrive at %d %% of the rate that 64 appenders reach", percent),
			turn:   func(h *harness, s store) (result.Sample, error) { return h.openLoop(s, float64(percent)/100) },
		})
	}
	for _, topics := range []int{1, 1000} {
		add(row{
			name: checkpointsName(topics), unit: "µs", lowerIsBetter: true, durable: true, stores: []string{seglogName, limitName, "pebble"},
			title: fmt.Sprintf("latency (p99) of durable appends by 64 appenders to %d topics while checkpoints run", topics),
			turn:  func(h *harness, s store) (result.Sample, error) { return h.checkpoints(s, topics) },
		})
	}
	for _, consumers := range []int{1, 64} {
		add(row{
			name: ackName(consumers), title: fmt.Sprintf("durable acknowledgement by %d consumers", consumers),
			unit: "acks/s", durable: true,
			turn: func(h *harness, s store) (result.Sample, error) { return h.ack(s, consumers) },
		})
	}
	add(row{
		name: "deliver", title: "from the start of a durable append to its delivery (p50); append_p50_us: that append alone",
		unit: "µs", lowerIsBetter: true, durable: true, turn: (*harness).deliver,
	})
	add(row{name: rowFanOut, title: "unsynced batches of 100 to 8 subscribers", unit: "deliveries/s", turn: (*harness).fanOut})
	add(row{name: "scan/decoded", title: "read a topic from start to end, decoded", unit: "events/s", turn: (*harness).scanDecoded})
	add(row{name: "scan/raw", title: "read a topic from start to end, bytes as they are stored", unit: "events/s", turn: (*harness).scanRaw})
	add(row{name: "seek/read=10", title: "read ten events from anywhere", unit: "seeks/s", turn: (*harness).seek})
	add(row{
		name: "open", title: "open after a clean close, learn the latest id and read the first event", unit: "ms", lowerIsBetter: true,
		turn: (*harness).open,
	})
	for _, batch := range []int{1, batchEvents} {
		add(row{
			name: killName(batch), unit: "ms", lowerIsBetter: true, stores: ownOnly, rounds: 1,
			title: fmt.Sprintf("open after a kill in batches of %d, with a full write-ahead log; check_ms: reading and hashing it", batch),
			turn:  func(h *harness, s store) (result.Sample, error) { return h.kill(s, batch) },
		})
	}
	add(row{name: "compact", title: "drop the first half of a topic: the call", unit: "ms", lowerIsBetter: true, turn: (*harness).compact})
	add(row{
		name: rowDisk, title: "disk for a realistic event (1,035 bytes as JSON); ours without its write-ahead log, which does not grow",
		unit: "bytes/event", lowerIsBetter: true, rounds: 1, turn: (*harness).disk,
	})
	add(row{
		name: rowRest, title: "resident memory of a process a second after 64 appenders to 1,000 topics stopped; empty_mib: before it opened the log", unit: "MiB", lowerIsBetter: true,
		stores: ownOnly, turn: (*harness).rest,
	})
	for _, events := range []int{10_000, 100_000, 1_000_000, 10_000_000, 100_000_000} {
		if events > growthMost {
			continue
		}
		r := row{
			name: growthName(events), title: fmt.Sprintf("open a log of %d events and read the first", events), unit: "ms", lowerIsBetter: true, stores: ownOnly,
			turn: func(h *harness, s store) (result.Sample, error) { return h.growth(s, events) },
		}
		if events > 1_000_000 {
			r.rounds = 1
		}
		add(r)
	}
	return all
}

// appendRows are the closed loops of durable appends.
func appendRows() (all []row) {
	for _, n := range []int{1, 4, 16, 64, 256, 1024} {
		all = append(all, appendRow(load{appenders: n, topics: 1}))
	}
	for _, topics := range []int{100, 1000} {
		all = append(all, appendRow(load{appenders: 64, topics: topics}))
	}
	for _, hot := range []int{0, 100} {
		r := appendRow(load{appenders: 64, topics: 100_000, hot: hot})
		r.stores = []string{seglogName, limitName, "pebble", "bbolt"} // a stream or a file for each of so many takes minutes
		all = append(all, r)
	}
	for _, bytes := range []int{64, 256, 1 << 10, 4 << 10, 16 << 10} {
		all = append(all, row{
			name: fmt.Sprintf("payload/bytes=%d", bytes), title: fmt.Sprintf("durable append, 64 appenders, payload of %d bytes", bytes),
			unit: "events/s", durable: true,
			turn: func(h *harness, s store) (result.Sample, error) {
				return h.append(s, load{appenders: 64, topics: 1, bytes: bytes})
			},
		})
	}
	return all
}

// load is what appenders do.
type load struct {
	appenders, topics int
	hot               int // topics that get half of the appends; 0: all get the same
	bytes             int // of a payload; 0: payloadBytes
}

func (l load) name() string {
	name := fmt.Sprintf("append/appenders=%d/topics=%d", l.appenders, l.topics)
	if l.hot > 0 {
		name += fmt.Sprintf("/hot=%d", l.hot)
	}
	return name
}

func appendRow(l load) row {
	title := fmt.Sprintf("durable append, %d appenders, %d topics", l.appenders, l.topics)
	if l.hot > 0 {
		title += fmt.Sprintf(", half of the appends to %d of them", l.hot)
	}
	return row{
		name: l.name(), title: title, unit: "events/s", durable: true,
		turn: func(h *harness, s store) (result.Sample, error) { return h.append(s, l) },
	}
}

func batchRow(bytes int, what string, events []engine.Event) row {
	return row{
		name:  batchName(bytes),
		title: fmt.Sprintf("durable batches of %d events, %s, by one goroutine; the latency is that of a batch", len(events), what), unit: "events/s", durable: true,
		turn: func(h *harness, s store) (result.Sample, error) { return h.batch(s, events) },
	}
}

func batchName(bytes int) string        { return fmt.Sprintf("batch/events=%d/bytes=%d", batchEvents, bytes) }
func openLoopName(percent int) string   { return fmt.Sprintf("openloop/load=%d", percent) }
func checkpointsName(topics int) string { return fmt.Sprintf("checkpoints/topics=%d", topics) }
func ackName(consumers int) string      { return fmt.Sprintf("ack/consumers=%d", consumers) }
func killName(batch int) string         { return fmt.Sprintf("kill/batch=%d", batch) }
func growthName(events int) string      { return fmt.Sprintf("growth/events=%d", events) }

// named says whether a list of names, or of their first words, has this one.
func named(names []string, name string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return name == n || strings.HasPrefix(name, n+"/") })
}

// takesPart: a store may name its rows, and a row its stores.
func (r row) takesPart(s store) bool {
	return (s.rows == nil || named(s.rows, r.name)) && (r.stores == nil || slices.Contains(r.stores, s.Name))
}
