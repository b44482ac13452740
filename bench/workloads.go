package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seglog/seglog/engine"
)

// Runner runs the workloads on one store. Each method is the body of a
// benchmark and makes its own sub-benchmarks.
type Runner struct {
	Store Store
	// Dir is where the logs are made, each in a fresh directory.
	Dir string
	// Events is how many events the workloads that read load first.
	Events int
}

const (
	payloadBytes   = 256
	distinctEvents = 64
	loadBatch      = 1000
	realisticLoad  = 100_000
)

// Append is one event at a time, waited for, by crowds of appenders.
func (r Runner) Append(b *testing.B) {
	for _, appenders := range []int{1, 16, 64, 256, 1024} {
		for _, topics := range []int{1, 100, 1000} {
			name := fmt.Sprintf("appenders=%d/topics=%d/bytes=%d", appenders, topics, payloadBytes)
			r.fresh(b, name, Setup{}, func(b *testing.B, log engine.EventLog) {
				measureCrowd(b, appenders, AppendOp(log, Topics(topics), Events(distinctEvents, payloadBytes)))
			})
		}
	}
}

// AppendOp is the operation of an appender: one event, to topics in turn.
func AppendOp(log engine.EventLog, topics []engine.Topic, events []engine.Event) func(worker, turn int) error {
	ctx := context.Background()
	return func(worker, turn int) error {
		// Neighbours start far apart, so that a crowd spreads over all topics.
		_, err := log.Append(ctx, topics[(worker*7919+turn)%len(topics)], events[(worker+turn)%len(events)])
		return err
	}
}

// AppendPolicy is Append under each sync policy.
func (r Runner) AppendPolicy(b *testing.B) {
	policies := []struct {
		name string
		sync engine.SyncPolicy
	}{{"always", engine.SyncAlways}, {"interval", engine.SyncInterval}, {"never", engine.SyncNever}}
	for _, policy := range policies {
		for _, appenders := range []int{1, 16} {
			name := fmt.Sprintf("sync=%s/appenders=%d/topics=100/bytes=%d", policy.name, appenders, payloadBytes)
			r.fresh(b, name, Setup{Sync: policy.sync}, func(b *testing.B, log engine.EventLog) {
				measureCrowd(b, appenders, AppendOp(log, Topics(100), Events(distinctEvents, payloadBytes)))
			})
		}
	}
}

// AppendBatch is one appender with batches. An operation is an event.
func (r Runner) AppendBatch(b *testing.B) {
	topic := engine.MustTopic("bench")
	for _, size := range []int{10, 100, 1000} {
		name := fmt.Sprintf("batch=%d/bytes=%d", size, payloadBytes)
		r.fresh(b, name, Setup{}, func(b *testing.B, log engine.EventLog) {
			events := Events(size, payloadBytes)
			left := b.N
			measure(b, func() CrowdResult {
				result, err := Crowd(1, func() bool { return left > 0 }, func(int, int) error {
					batch := events[:min(size, left)]
					left -= len(batch)
					_, _, err := log.AppendBatch(context.Background(), topic, batch)
					return err
				})
				failOn(b, err)
				result.Operations = int64(b.N)
				return result
			})
		})
	}
}

// AppendAsync appends without waiting and then waits for all. The latency of an
// operation is that of the call, not of the commit.
func (r Runner) AppendAsync(b *testing.B) {
	if r.Store.Async == nil {
		b.Skipf("%s has no asynchronous append", r.Store.Name)
	}
	for _, topicCount := range []int{1, 100} {
		name := fmt.Sprintf("appenders=1/topics=%d/bytes=%d", topicCount, payloadBytes)
		r.fresh(b, name, Setup{}, func(b *testing.B, log engine.EventLog) {
			topics, events, appendAsync := Topics(topicCount), Events(distinctEvents, payloadBytes), r.Store.Async(log)
			ctx := context.Background()
			measure(b, func() CrowdResult {
				var last Waiter
				began := time.Now()
				result, err := Crowd(1, Times(b.N), func(_, turn int) error {
					last = appendAsync(ctx, topics[turn%topicCount], events[turn%len(events)])
					return nil
				})
				failOn(b, err)
				_, err = last.Wait(ctx)
				failOn(b, err)
				failOn(b, log.Flush(ctx))
				result.Elapsed = time.Since(began)
				return result
			})
		})
	}
}

// Ack moves cursors durably, each worker its own.
func (r Runner) Ack(b *testing.B) {
	topic, ctx := engine.MustTopic("bench"), context.Background()
	for _, workers := range []int{1, 64} {
		r.fresh(b, fmt.Sprintf("consumers=%d", workers), Setup{}, func(b *testing.B, log engine.EventLog) {
			const latest = 1000
			_, _, err := log.AppendBatch(ctx, topic, Events(latest, payloadBytes))
			failOn(b, err)
			consumers := make([]engine.ConsumerID, workers)
			for i := range consumers {
				consumers[i] = engine.MustConsumerID(fmt.Sprintf("consumer-%d", i))
			}
			measureCrowd(b, workers, func(worker, turn int) error {
				return log.Ack(ctx, topic, consumers[worker], engine.EventID(1+turn%latest))
			})
		})
	}
}

// Scan reads a topic from its start to its end and decodes every event.
func (r Runner) Scan(b *testing.B) {
	r.loaded(b, "decoded", func(b *testing.B, log engine.EventLog, topic engine.Topic) {
		r.scan(b, func(ctx context.Context) (count int, err error) {
			for _, err := range log.Read(ctx, topic, engine.ReadOptions{}) {
				if err != nil {
					return count, err
				}
				count++
			}
			return count, nil
		})
	})
	r.loaded(b, "raw", func(b *testing.B, log engine.EventLog, topic engine.Topic) {
		raw, ok := log.(rawReader)
		if !ok {
			b.Skipf("%s has no raw read", r.Store.Name)
		}
		r.scan(b, func(ctx context.Context) (count int, err error) {
			for _, err := range raw.ReadRaw(ctx, topic, engine.ReadOptions{}) {
				if err != nil {
					return count, err
				}
				count++
			}
			return count, nil
		})
	})
}

func (r Runner) scan(b *testing.B, pass func(context.Context) (int, error)) {
	b.ReportAllocs()
	b.SetBytes(int64(r.Events) * payloadBytes)
	for b.Loop() {
		count, err := pass(context.Background())
		failOn(b, err)
		if count != r.Events {
			b.Fatalf("read %d events, want %d", count, r.Events)
		}
	}
	b.ReportMetric(float64(b.N)*float64(r.Events)/b.Elapsed().Seconds(), "events/s")
}

// Seek reads ten events from places all over a topic.
func (r Runner) Seek(b *testing.B) {
	const limit = 10
	r.loaded(b, fmt.Sprintf("read=%d", limit), func(b *testing.B, log engine.EventLog, topic engine.Topic) {
		ctx := context.Background()
		measureCrowd(b, 1, func(_, turn int) error {
			after := engine.EventID(turn * 7919 % max(1, r.Events-limit))
			records, err := engine.ReadRange(ctx, log, topic, after, limit)
			if err == nil && len(records) != min(limit, r.Events) {
				err = fmt.Errorf("read %d events after %d, want %d", len(records), after, limit)
			}
			return err
		})
	})
}

// Deliver is the time from the start of a durable append to the moment when a
// subscriber has the event.
func (r Runner) Deliver(b *testing.B) {
	topic := engine.MustTopic("bench")
	r.fresh(b, fmt.Sprintf("bytes=%d", payloadBytes), Setup{}, func(b *testing.B, log engine.EventLog) {
		delivered := make(chan struct{}, 1)
		subscribers, err := Subscribe(log, topic, 1, func(engine.Record) { delivered <- struct{}{} })
		failOn(b, err)
		defer subscribers.Stop()
		appendOne := AppendOp(log, []engine.Topic{topic}, Events(distinctEvents, payloadBytes))
		measureCrowd(b, 1, func(worker, turn int) error {
			if err := appendOne(worker, turn); err != nil {
				return err
			}
			return subscribers.Wait(delivered)
		})
	})
}

// FanOut is 16 appenders and subscribers that each get everything. An operation
// is an append that all have received.
func (r Runner) FanOut(b *testing.B) {
	topic := engine.MustTopic("bench")
	for _, count := range []int{1, 8} {
		name := fmt.Sprintf("subscribers=%d/appenders=16/bytes=%d", count, payloadBytes)
		r.fresh(b, name, Setup{}, func(b *testing.B, log engine.EventLog) {
			var missing atomic.Int64
			missing.Store(int64(count * b.N))
			all := make(chan struct{})
			subscribers, err := Subscribe(log, topic, count, func(engine.Record) {
				if missing.Add(-1) == 0 {
					close(all)
				}
			})
			failOn(b, err)
			defer subscribers.Stop()
			measure(b, func() CrowdResult {
				began := time.Now()
				result, err := Crowd(16, Times(b.N), AppendOp(log, []engine.Topic{topic}, Events(distinctEvents, payloadBytes)))
				failOn(b, err)
				failOn(b, subscribers.Wait(all))
				result.Elapsed = time.Since(began)
				b.ReportMetric(float64(count)*result.PerSecond(), "deliveries/s")
				return result
			})
		})
	}
}

// Compact drops the first half of a topic. Only the call is counted, not the
// load before it.
func (r Runner) Compact(b *testing.B) {
	b.Run(fmt.Sprintf("events=%d", r.Events), func(b *testing.B) {
		var spent time.Duration
		for b.Loop() {
			spent += r.compactHalf(b)
		}
		b.ReportMetric(float64(spent.Nanoseconds())/float64(b.N), "ns/op")
	})
}

func (r Runner) compactHalf(b *testing.B) time.Duration {
	dir, topic := r.load(b)
	defer os.RemoveAll(dir)
	log := r.open(b, dir, Setup{Keep: true})
	defer log.Close()
	began := time.Now()
	report, err := log.Compact(context.Background(), topic, engine.EventID(r.Events/2))
	spent := time.Since(began)
	failOn(b, err)
	if report.Removed != uint64(r.Events/2) {
		b.Fatalf("removed %d events, want %d", report.Removed, r.Events/2)
	}
	return spent
}

// Open opens a log that was closed properly, and reads its first event. Closing
// it again is not counted.
func (r Runner) Open(b *testing.B) {
	b.Run(fmt.Sprintf("events=%d", r.Events), func(b *testing.B) {
		dir, topic := r.load(b)
		defer os.RemoveAll(dir)
		var spent time.Duration
		for b.Loop() {
			began := time.Now()
			log := r.open(b, dir, Setup{Keep: true})
			records, err := engine.ReadRange(context.Background(), log, topic, 0, 1)
			spent += time.Since(began)
			failOn(b, err)
			if len(records) != 1 {
				b.Fatalf("read %d events, want 1", len(records))
			}
			failOn(b, log.Close())
		}
		b.ReportMetric(float64(spent.Nanoseconds())/float64(b.N), "ns/op")
	})
}

// Disk is the space that realistic events take once the log is closed: what the
// file system allocated, what the files' sizes say, and the former without the
// write-ahead log, whose size does not depend on the events.
func (r Runner) Disk(b *testing.B) {
	var used DiskUsage
	var jsonBytes float64
	b.Run(fmt.Sprintf("events=%d", realisticLoad), func(b *testing.B) {
		if jsonBytes == 0 { // once, whatever b.N is
			used, jsonBytes = r.loadRealistic(b)
		}
		b.ReportMetric(0, "ns/op") // nothing is timed
		b.ReportMetric(jsonBytes/realisticLoad, "json-B/event")
		b.ReportMetric(float64(used.Allocated)/realisticLoad, "disk-B/event")
		b.ReportMetric(float64(used.Apparent)/realisticLoad, "size-B/event")
		b.ReportMetric(float64(used.Allocated-used.WAL)/realisticLoad, "data-B/event")
	})
}

func (r Runner) loadRealistic(b *testing.B) (used DiskUsage, jsonBytes float64) {
	dir := r.freshDir(b)
	defer os.RemoveAll(dir)
	log := r.open(b, dir, Setup{Sync: engine.SyncNever, Keep: true})
	topics, events := Topics(10), RealisticEvents(realisticLoad)
	for i, from := 0, 0; from < len(events); i, from = i+1, from+loadBatch {
		_, _, err := log.AppendBatch(context.Background(), topics[i%len(topics)], events[from:from+loadBatch])
		failOn(b, err)
	}
	for i := range events {
		jsonBytes += float64(len(AppendEnvelope(nil, &events[i])))
	}
	failOn(b, log.Close())
	used, err := DiskUse(dir)
	failOn(b, err)
	return used, jsonBytes
}

// fresh runs a sub-benchmark on a new, empty log, which all its repetitions
// share: opening one costs more than most of them.
func (r Runner) fresh(b *testing.B, name string, setup Setup, body func(*testing.B, engine.EventLog)) {
	var log engine.EventLog
	var dir string
	b.Run(name, func(b *testing.B) {
		if log == nil {
			dir = r.freshDir(b)
			log = r.open(b, dir, setup)
		}
		body(b, log)
	})
	if log != nil {
		failOn(b, log.Close())
		failOn(b, os.RemoveAll(dir))
	}
}

// loaded runs a sub-benchmark on a log that was loaded, closed and reopened.
func (r Runner) loaded(b *testing.B, name string, body func(*testing.B, engine.EventLog, engine.Topic)) {
	var log engine.EventLog
	var dir string
	var topic engine.Topic
	b.Run(fmt.Sprintf("%s/events=%d/bytes=%d", name, r.Events, payloadBytes), func(b *testing.B) {
		if log == nil {
			dir, topic = r.load(b)
			log = r.open(b, dir, Setup{Keep: true})
		}
		b.ResetTimer()
		body(b, log, topic)
	})
	if log != nil {
		failOn(b, log.Close())
		failOn(b, os.RemoveAll(dir))
	}
}

// load fills a log of one topic and closes it.
func (r Runner) load(b *testing.B) (dir string, topic engine.Topic) {
	b.Helper()
	dir, topic = r.freshDir(b), engine.MustTopic("bench")
	log := r.open(b, dir, Setup{Sync: engine.SyncNever, Keep: true})
	events := Events(loadBatch, payloadBytes)
	for left := r.Events; left > 0; left -= loadBatch {
		_, _, err := log.AppendBatch(context.Background(), topic, events[:min(left, loadBatch)])
		failOn(b, err)
	}
	failOn(b, log.Close())
	return dir, topic
}

func (r Runner) freshDir(b *testing.B) string {
	b.Helper()
	dir, err := os.MkdirTemp(r.Dir, "bench-*.tmp")
	failOn(b, err)
	return dir
}

func (r Runner) open(b *testing.B, dir string, setup Setup) engine.EventLog {
	b.Helper()
	log, err := r.Store.Open(dir, setup)
	if err != nil {
		failOn(b, errors.Join(fmt.Errorf("open %s: %w", r.Store.Name, err), os.RemoveAll(dir)))
	}
	return log
}

// measureCrowd shares b.N operations among workers.
func measureCrowd(b *testing.B, workers int, op func(worker, turn int) error) {
	b.Helper()
	measure(b, func() CrowdResult {
		result, err := Crowd(workers, Times(b.N), op)
		failOn(b, err)
		return result
	})
}

func measure(b *testing.B, run func() CrowdResult) {
	b.Helper()
	b.ReportAllocs()
	b.ResetTimer()
	result := run()
	b.StopTimer()
	b.ReportMetric(result.PerSecond(), "events/s")
	b.ReportMetric(float64(result.Latency.Quantile(0.50))/1e3, "p50-µs")
	b.ReportMetric(float64(result.Latency.Quantile(0.99))/1e3, "p99-µs")
}

// failOn ends the benchmark; one that the log does not offer is skipped.
func failOn(b *testing.B, err error) {
	b.Helper()
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		b.Skip(err)
	case err != nil:
		b.Fatal(err)
	}
}
