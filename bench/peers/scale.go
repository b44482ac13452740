package main

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/seglog/seglog/bench"
	"github.com/seglog/seglog/bench/result"
	"github.com/seglog/seglog/engine"
)

// growth measures what must not grow with a log.
func (h *harness) growth(s store, events int) (done result.Sample, err error) {
	dir, err := h.fill(s, events)
	if err != nil {
		return done, err
	}
	defer h.remove(dir)
	times, calls, err := h.openTimes(s, dir, events)
	if err != nil {
		return done, err
	}
	used, err := bench.DiskUse(dir)
	if err != nil {
		return done, err
	}
	done.Value, done.Extra = millis(medianOf(times)), map[string]float64{
		"events": float64(events), extraOpenCall: millis(medianOf(calls)), "bytes_before": float64(used.Allocated - used.WAL),
	}
	err = h.in(s, dir, bench.Setup{Keep: true}, func(log engine.EventLog) error {
		turn, err := bench.TakeTurn(1, h.turn, h.seekOp(log, events))
		if err != nil {
			return err
		}
		done.Extra["seek_us"] = micros(turn.Latency.Quantile(0.50))
		if peak, ok, err := peakMemory(func() error { return readAll(log, events) }); err != nil {
			return err
		} else if ok {
			done.Extra["read_peak_bytes"] = peak
		}
		spent, err := compactHalf(log, events)
		if err != nil {
			return err
		}
		done.Extra[extraCompact] = millis(spent)
		freed, now, err := untilFreed(dir, used)
		done.Extra[extraFreed], done.Extra["bytes_after"] = millis(freed), float64(now)
		return err
	})
	return done, err
}

const (
	extraCompact = "compact_ms"
	extraFreed   = "freed_ms"
)

// untilFreed waits until half of the data is gone from the disk, but for the
// segment that the bound lies in.
func untilFreed(dir string, before bench.DiskUsage) (spent time.Duration, now int64, err error) {
	const segmentBytes, waitMax = 65 << 20, time.Minute // about the default size of a segment
	data := before.Allocated - before.WAL
	most := data/2 + min(data/2, segmentBytes) + 4<<20
	for began := time.Now(); ; time.Sleep(time.Millisecond) {
		used, err := bench.DiskUse(dir)
		now, spent = used.Allocated-used.WAL, time.Since(began)
		if err != nil || now <= most {
			return spent, now, err
		}
		if spent > waitMax {
			return spent, now, fmt.Errorf("%d bytes are left of %d after %v, want %d at most", now, data, waitMax, most)
		}
	}
}

func readAll(log engine.EventLog, events int) error {
	count := 0
	for _, err := range log.Read(context.Background(), loadTopic, engine.ReadOptions{}) {
		if err != nil {
			return err
		}
		count++
	}
	if count != events {
		return fmt.Errorf("read %d events, want %d", count, events)
	}
	return nil
}

// topicCosts are what topics cost beside the time of their appends.
type topicCosts struct {
	begun   bool
	heap    int64 // before the log was opened
	figures map[string]float64
}

func (c *topicCosts) begin() { c.begun, c.heap = true, heapBytes() }

// open takes the figures of a log that was appended to.
func (c *topicCosts) open(log engine.EventLog) error {
	e := log.(*engine.Engine)
	stats := e.Stats()
	began := time.Now()
	if err := e.Checkpoint(context.Background()); err != nil {
		return err
	}
	c.figures = map[string]float64{
		"checkpoints":          float64(stats.Checkpoints),
		"last_checkpoint_ms":   millis(time.Since(began)),
		"last_checkpoint_tail": float64(stats.TailBytes),
	}
	c.figures["heap_bytes"] = float64(heapBytes() - c.heap)
	return nil
}

// reopen times opening, after the clean close, until the topics are known.
func (c *topicCosts) reopen(open func() (engine.EventLog, error)) error {
	began := time.Now()
	log, err := open()
	if err != nil {
		return err
	}
	c.figures["open_ms"] = millis(time.Since(began))
	return log.Close()
}

func heapBytes() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what the first one's finalizers and pools held
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
