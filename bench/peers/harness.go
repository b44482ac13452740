package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/seglog/seglog/bench"
	"github.com/seglog/seglog/bench/result"
	"github.com/seglog/seglog/engine"
)

// harness is what the turns of all rows share.
type harness struct {
	dir       string
	turn      time.Duration
	events    int                // that the rows that read have loaded
	loaded    map[string]string  // by store: the directory of its loaded log
	rates     map[string]float64 // by store: what its closed loop reached in this round
	realistic []engine.Event
	jsonBytes float64 // of a realistic event, in the mean
}

// fresh runs body on a new, empty log.
func (h *harness) fresh(s store, setup bench.Setup, body func(log engine.EventLog) error) error {
	dir, err := h.newDir(s)
	if err != nil {
		return err
	}
	defer h.remove(dir)
	return h.in(s, dir, setup, body)
}

func (h *harness) newDir(s store) (string, error) { return os.MkdirTemp(h.dir, s.Name+"-*.tmp") }

// in runs body on the log in dir.
func (h *harness) in(s store, dir string, setup bench.Setup, body func(log engine.EventLog) error) error {
	log, err := s.Open(dir, setup)
	if err != nil {
		return fmt.Errorf("open %s: %w", s.Name, err)
	}
	return errors.Join(body(log), log.Close())
}

// remove takes a directory away and waits for that, so that the next turn does
// not pay for it with its first sync.
func (h *harness) remove(dir string) {
	_ = os.RemoveAll(dir) // what is left is in a folder that says .tmp
	if parent, err := os.Open(h.dir); err == nil {
		_ = parent.Sync() // some systems cannot, and it is no part of the measurement
		_ = parent.Close()
	}
}

// sample takes the figures of a turn.
func sample(t bench.Turn) result.Sample {
	s := result.Sample{
		Value: t.PerSecond(), P50: micros(t.Latency.Quantile(0.50)), P99: micros(t.Latency.Quantile(0.99)),
		Allocs: t.Allocs, CPU: micros(t.CPU),
	}
	for _, q := range result.Quantiles {
		s.Latencies = append(s.Latencies, micros(t.Latency.Quantile(q)))
	}
	return s
}

func micros(d time.Duration) float64 { return float64(d) / 1e3 }
func millis(d time.Duration) float64 { return float64(d) / 1e6 }

// each has its figures of operations that are of many events each turned into
// figures of events; latencies stay those of an operation.
func each(s result.Sample, events int) result.Sample {
	s.Value *= float64(events)
	s.Allocs /= float64(events)
	s.CPU /= float64(events)
	return s
}

// crowd measures a closed loop on a new log.
func (h *harness) crowd(s store, setup bench.Setup, workers int, prepare func(log engine.EventLog) (op func(worker, turn int) error, err error)) (done result.Sample, err error) {
	err = h.fresh(s, setup, func(log engine.EventLog) error {
		op, err := prepare(log)
		if err != nil {
			return err
		}
		turn, err := bench.TakeTurn(workers, h.turn, op)
		done = sample(turn)
		return err
	})
	return done, err
}

// append measures a closed loop. What it is to be compared with is measured just
// before, so that the two are neighbours in time: one appender of the limit, one
// topic of ours.
func (h *harness) append(s store, l load) (done result.Sample, err error) {
	reference, name := load{}, ""
	switch {
	case s.Name == limitName && l.topics == 1 && l.appenders > 1 && l.appenders <= 64 && l.bytes == 0:
		reference, name = load{appenders: 1, topics: 1}, extraOneAppender
	case s.Name == seglogName && l.topics > 1:
		reference, name = load{appenders: l.appenders, topics: 1}, extraOneTopic
	}
	var beside result.Sample
	if name != "" {
		if beside, err = h.appendTo(s, reference, h.turn); err != nil {
			return done, err
		}
	}
	d := h.turn
	if l.topics > batchEvents {
		d *= 3 // a turn has room for few rounds over all topics
	}
	if done, err = h.appendTo(s, l, d); err == nil && name != "" {
		if done.Extra == nil {
			done.Extra = map[string]float64{}
		}
		done.Extra[name] = beside.Value
	}
	return done, err
}

const (
	extraOneAppender = "one_appender_per_s"
	extraOneTopic    = "one_topic_per_s"
)

func (h *harness) appendTo(s store, l load, d time.Duration) (done result.Sample, err error) {
	if l.bytes == 0 {
		l.bytes = payloadBytes
	}
	dir, err := h.newDir(s)
	if err != nil {
		return done, err
	}
	defer h.remove(dir)
	costs := topicCosts{}
	if s.Name == seglogName && l.topics > 1 {
		costs.begin()
	}
	err = h.in(s, dir, bench.Setup{}, func(log engine.EventLog) error {
		topics, events := bench.Topics(l.topics), bench.Events(distinctEvents, l.bytes)
		if err := touch(log, topics, events[0]); err != nil {
			return err
		}
		op := bench.AppendOp(log, topics, events)
		if l.hot > 0 {
			op = hotOp(log, topics, l.hot, events)
		}
		turn, err := bench.TakeTurn(l.appenders, d, op)
		if done = sample(turn); err != nil || !costs.begun {
			return err
		}
		return costs.open(log)
	})
	if err == nil && costs.begun {
		err = costs.reopen(func() (engine.EventLog, error) { return s.Open(dir, bench.Setup{}) })
		done.Extra = costs.figures
	}
	return done, err
}

// hotOp has half of the appends go to the first hot topics and the others
// anywhere else.
func hotOp(log engine.EventLog, topics []engine.Topic, hot int, events []engine.Event) func(worker, turn int) error {
	return func(worker, turn int) error {
		x := uint64(worker)<<40 + uint64(turn) // stirred as in splitmix64
		x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
		x = (x ^ x>>27) * 0x94d049bb133111eb
		x ^= x >> 31
		at := hot + int(x>>1%uint64(len(topics)-hot))
		if x&1 == 0 {
			at = int(x >> 1 % uint64(hot))
		}
		_, err := log.Append(context.Background(), topics[at], events[turn%len(events)])
		return err
	}
}

// touch makes the topics: what the first append to each costs is another
// matter.
func touch(log engine.EventLog, topics []engine.Topic, event engine.Event) error {
	var next atomic.Int64
	_, err := bench.Crowd(64, bench.Times(len(topics)), func(int, int) error {
		_, err := log.Append(context.Background(), topics[next.Add(1)-1], event)
		return err
	})
	return err
}

func (h *harness) batch(s store, events []engine.Event) (result.Sample, error) {
	topic := engine.MustTopic("bench")
	done, err := h.crowd(s, bench.Setup{}, 1, func(log engine.EventLog) (func(worker, turn int) error, error) {
		return func(int, int) error {
			_, _, err := log.AppendBatch(context.Background(), topic, events)
			return err
		}, nil
	})
	return each(done, len(events)), err
}

func (h *harness) async(s store) (done result.Sample, err error) {
	if s.Async == nil {
		return done, fmt.Errorf("%s: asynchronous append: %w", s.Name, errors.ErrUnsupported)
	}
	batches, err := h.batch(s, bench.Events(batchEvents, payloadBytes))
	if err != nil {
		return done, err
	}
	ctx, topic, events := context.Background(), engine.MustTopic("bench"), bench.Events(distinctEvents, payloadBytes)
	err = h.fresh(s, bench.Setup{}, func(log engine.EventLog) error {
		appendAsync := s.Async(log)
		run := func(d time.Duration) (bench.CrowdResult, error) {
			var last bench.Waiter
			began := time.Now()
			r, err := bench.Crowd(1, bench.During(d), func(_, turn int) error {
				last = appendAsync(ctx, topic, events[turn%len(events)])
				return nil
			})
			if err != nil || last == nil {
				return r, err
			}
			_, err = last.Wait(ctx)
			r.Elapsed = time.Since(began)
			return r, err
		}
		if _, err := run(h.turn / 5); err != nil {
			return err
		}
		turn, err := bench.Count(func() (bench.CrowdResult, error) { return run(h.turn) })
		done = sample(turn)
		done.Extra = map[string]float64{extraBatch: batches.Value}
		return err
	})
	return done, err
}

const extraBatch = "batch_per_s"

func (h *harness) unsynced(s store) (result.Sample, error) {
	return h.crowd(s, bench.Setup{Sync: engine.SyncNever}, 1, func(log engine.EventLog) (func(worker, turn int) error, error) {
		return bench.AppendOp(log, bench.Topics(1), bench.Events(distinctEvents, payloadBytes)), nil
	})
}

// openLoop has appends arrive at a part of what 64 appenders reach in a closed
// loop, for twice a turn.
func (h *harness) openLoop(s store, load float64) (done result.Sample, err error) {
	rate, err := h.closedRate(s)
	if err != nil {
		return done, err
	}
	offered := load * rate
	err = h.fresh(s, bench.Setup{}, func(log engine.EventLog) error {
		op := bench.AppendOp(log, bench.Topics(1), bench.Events(distinctEvents, payloadBytes))
		if _, err := bench.Crowd(openLoopAppenders, bench.During(h.turn/5), op); err != nil {
			return err
		}
		turn, err := bench.Count(func() (bench.CrowdResult, error) { return bench.OpenLoop(offered, 2*h.turn, op) })
		done = sample(turn)
		done.Value, done.Extra = done.P50, map[string]float64{
			"offered_per_s": offered, "done_per_s": done.Value, "p999_us": done.Latency(0.999),
		}
		return err
	})
	return done, err
}

const openLoopAppenders = 64

// closedRate is what a store's appenders reach in a closed loop, measured once a
// round; a store that takes another one's load has that one's rate.
func (h *harness) closedRate(s store) (float64, error) {
	if s.loadOf != nil {
		s = s.loadOf()
	}
	if rate, ok := h.rates[s.Name]; ok {
		return rate, nil
	}
	closed, err := h.appendTo(s, load{appenders: openLoopAppenders, topics: 1}, h.turn)
	if err == nil {
		h.rates[s.Name] = closed.Value
	}
	return closed.Value, err
}

// checkpoints measures a closed loop for three turns at least, and until
// checkpoints of ours fell into it.
func (h *harness) checkpoints(s store, topicCount int) (done result.Sample, err error) {
	const checkpointsLeast, most = 3, 20 * time.Second
	err = h.fresh(s, bench.Setup{}, func(log engine.EventLog) error {
		topics, events := bench.Topics(topicCount), bench.Events(distinctEvents, payloadBytes)
		op := bench.AppendOp(log, topics, events)
		if err := touch(log, topics, events[0]); err != nil {
			return err
		}
		if _, err := bench.Crowd(64, bench.During(h.turn/5), op); err != nil {
			return err
		}
		count := func() int64 { return checkpointsLeast }
		if e, ok := log.(*engine.Engine); ok {
			before := e.Stats().Checkpoints
			count = func() int64 { return e.Stats().Checkpoints - before }
		}
		turn, err := bench.Count(func() (bench.CrowdResult, error) {
			least, longest := bench.During(3*h.turn), bench.During(most)
			return bench.Crowd(64, func() bool { return least() || count() < checkpointsLeast && longest() }, op)
		})
		done = sample(turn)
		done.Value, done.Extra = done.P99, map[string]float64{"events_per_s": done.Value, "p999_us": done.Latency(0.999)}
		if s.module == seglogModule && s.Name != limitName {
			done.Extra["checkpoints"] = float64(count())
			if err == nil && count() < checkpointsLeast {
				err = fmt.Errorf("%s: %d checkpoints in %v, want %d", s.Name, count(), turn.Elapsed, checkpointsLeast)
			}
		}
		return err
	})
	return done, err
}

func (h *harness) ack(s store, consumers int) (result.Sample, error) {
	topic, ctx := engine.MustTopic("bench"), context.Background()
	return h.crowd(s, bench.Setup{}, consumers, func(log engine.EventLog) (func(worker, turn int) error, error) {
		ids := make([]engine.ConsumerID, consumers)
		for i := range ids {
			ids[i] = engine.MustConsumerID(fmt.Sprintf("consumer-%d", i))
		}
		_, _, err := log.AppendBatch(ctx, topic, bench.Events(batchEvents, payloadBytes))
		return func(worker, turn int) error {
			return log.Ack(ctx, topic, ids[worker], engine.EventID(1+turn%batchEvents))
		}, err
	})
}

func (h *harness) deliver(s store) (done result.Sample, err error) {
	topic := engine.MustTopic("bench")
	err = h.fresh(s, bench.Setup{}, func(log engine.EventLog) error {
		appendOne := bench.AppendOp(log, []engine.Topic{topic}, bench.Events(distinctEvents, payloadBytes))
		bare, err := bench.TakeTurn(1, h.turn, appendOne)
		if err != nil {
			return err
		}
		delivered := make(chan struct{}, 1)
		subscribers, err := bench.Subscribe(log, topic, 1, func(engine.Record) { delivered <- struct{}{} })
		if err != nil {
			return err
		}
		defer subscribers.Stop()
		turn, err := bench.TakeTurn(1, h.turn, func(worker, turn int) error {
			if err := appendOne(worker, turn); err != nil {
				return err
			}
			return subscribers.Wait(delivered)
		})
		done = sample(turn)
		done.Value, done.Extra = done.P50, map[string]float64{extraAppendP50: micros(bare.Latency.Quantile(0.50))}
		return err
	})
	return done, err
}

const extraAppendP50 = "append_p50_us"

func (h *harness) fanOut(s store) (done result.Sample, err error) {
	const count, batch = 8, 100
	topic, events := engine.MustTopic("bench"), bench.Events(batch, payloadBytes)
	err = h.fresh(s, bench.Setup{Sync: engine.SyncNever, Keep: true}, func(log engine.EventLog) error {
		if _, err := log.Append(context.Background(), topic, events[0]); err != nil {
			return err
		}
		var missing atomic.Int64
		all := make(chan struct{}, 1)
		subscribers, err := bench.Subscribe(log, topic, count, func(engine.Record) {
			if missing.Add(-1) == 0 {
				all <- struct{}{}
			}
		})
		if err != nil {
			return err
		}
		defer subscribers.Stop()
		run := func(batches int) (bench.CrowdResult, error) {
			missing.Store(int64(count * batches * batch))
			began := time.Now()
			r, err := bench.Crowd(1, bench.Times(batches), func(int, int) error {
				_, _, err := log.AppendBatch(context.Background(), topic, events)
				return err
			})
			if err == nil {
				err = subscribers.Wait(all)
			}
			r.Elapsed = time.Since(began)
			return r, err
		}
		if _, err := run(1); err != nil { // until all subscribers are there
			return err
		}
		turn, err := bench.Count(func() (bench.CrowdResult, error) { return run(max(1, h.events/10/batch)) })
		done = each(sample(turn), batch*count)
		done.Extra = map[string]float64{"appends_per_s": done.Value / count}
		return err
	})
	return done, err
}

// load returns the directory of a closed log of h.events events in one topic.
// It is made once for each store.
func (h *harness) load(s store) (dir string, err error) {
	if dir, ok := h.loaded[s.Name]; ok {
		return dir, nil
	}
	dir, err = h.fill(s, h.events)
	if err == nil {
		h.loaded[s.Name] = dir
	}
	return dir, err
}

var loadTopic = engine.MustTopic("bench")

func (h *harness) fill(s store, count int) (dir string, err error) {
	if dir, err = os.MkdirTemp(h.dir, s.Name+"-loaded-*.tmp"); err != nil {
		return "", err
	}
	err = h.in(s, dir, bench.Setup{Sync: engine.SyncNever, Keep: true}, func(log engine.EventLog) error {
		events := bench.Events(batchEvents, payloadBytes)
		for left := count; left > 0; left -= batchEvents {
			if _, _, err := log.AppendBatch(context.Background(), loadTopic, events[:min(left, batchEvents)]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		h.remove(dir)
	}
	return dir, err
}

// removeLoaded takes away what load made.
func (h *harness) removeLoaded() {
	for _, dir := range h.loaded {
		h.remove(dir)
	}
}

// onLoaded runs body on the loaded log, opened.
func (h *harness) onLoaded(s store, body func(log engine.EventLog) error) error {
	dir, err := h.load(s)
	if err != nil {
		return err
	}
	return h.in(s, dir, bench.Setup{Keep: true}, body)
}

func (h *harness) scanDecoded(s store) (result.Sample, error) {
	return h.scan(s, func(log engine.EventLog) (count int, err error) {
		for _, err := range log.Read(context.Background(), loadTopic, engine.ReadOptions{}) {
			if err != nil {
				return count, err
			}
			count++
		}
		return count, nil
	})
}

func (h *harness) scanRaw(s store) (result.Sample, error) {
	return h.scan(s, func(log engine.EventLog) (count int, err error) {
		for _, err := range log.(rawReader).ReadRaw(context.Background(), loadTopic, engine.ReadOptions{}) {
			if err != nil {
				return count, err
			}
			count++
		}
		return count, nil
	})
}

// scan reads everything, as often as a turn has room for.
func (h *harness) scan(s store, pass func(log engine.EventLog) (int, error)) (done result.Sample, err error) {
	err = h.onLoaded(s, func(log engine.EventLog) error {
		turn, err := bench.Count(func() (bench.CrowdResult, error) {
			return bench.Crowd(1, bench.During(h.turn), func(int, int) error {
				count, err := pass(log)
				if err == nil && count != h.events {
					err = fmt.Errorf("%s: read %d events, want %d", s.Name, count, h.events)
				}
				return err
			})
		})
		done = each(sample(turn), h.events)
		done.P50, done.P99, done.Latencies = 0, 0, nil // of a pass: the value says it
		return err
	})
	return done, err
}

func (h *harness) seek(s store) (done result.Sample, err error) {
	err = h.onLoaded(s, func(log engine.EventLog) error {
		turn, err := bench.TakeTurn(1, h.turn, h.seekOp(log, h.events))
		done = sample(turn)
		return err
	})
	return done, err
}

// seekOp reads a few events from a place far from the last one.
func (h *harness) seekOp(log engine.EventLog, events int) func(worker, turn int) error {
	return func(_, turn int) error {
		after := engine.EventID(turn * 7919 % max(1, events-seekEvents))
		records, err := engine.ReadRange(context.Background(), log, loadTopic, after, seekEvents)
		if err == nil && len(records) != min(seekEvents, events) {
			err = fmt.Errorf("read %d events after %d, want %d", len(records), after, seekEvents)
		}
		return err
	}
}

func (h *harness) open(s store) (done result.Sample, err error) {
	dir, err := h.load(s)
	if err != nil {
		return done, err
	}
	times, calls, err := h.openTimes(s, dir, h.events)
	if err != nil {
		return done, err
	}
	done.Value, done.Extra = millis(medianOf(times)), map[string]float64{extraOpenCall: millis(medianOf(calls))}
	return done, nil
}

const extraOpenCall = "open_call_ms"

// openTimes opens a log as often as a turn has room for, three times at least,
// and reads its first event. calls are the times of opening alone. Closing it is
// not counted.
func (h *harness) openTimes(s store, dir string, events int) (times, calls []time.Duration, err error) {
	for began := time.Now(); len(times) < 3 || time.Since(began) < h.turn; {
		start := time.Now()
		err := h.in(s, dir, bench.Setup{Keep: true}, func(log engine.EventLog) error {
			calls = append(calls, time.Since(start))
			latest, _, err := log.Latest(context.Background(), loadTopic)
			if err != nil {
				return err
			}
			records, err := engine.ReadRange(context.Background(), log, loadTopic, 0, 1)
			if err == nil && (len(records) != 1 || int(latest) != events) {
				err = fmt.Errorf("%s: %d events after opening and latest %d, want 1 and %d", s.Name, len(records), latest, events)
			}
			times = append(times, time.Since(start))
			return err
		})
		if err != nil {
			return times, calls, err
		}
	}
	return times, calls, nil
}

func medianOf(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/2]
}

func (h *harness) compact(s store) (done result.Sample, err error) {
	loaded, err := h.load(s)
	if err != nil {
		return done, err
	}
	dir, err := h.newDir(s)
	if err != nil {
		return done, err
	}
	defer h.remove(dir)
	if err := os.CopyFS(dir, os.DirFS(loaded)); err != nil {
		return done, err
	}
	if err := syncTree(dir); err != nil {
		return done, err
	}
	before, err := bench.DiskUse(dir)
	if err != nil {
		return done, err
	}
	err = h.in(s, dir, bench.Setup{Keep: true}, func(log engine.EventLog) error {
		spent, err := compactHalf(log, h.events)
		done.Value = millis(spent)
		return err
	})
	if err != nil {
		return done, err
	}
	after, err := bench.DiskUse(dir)
	done.Extra = map[string]float64{"bytes_before": float64(before.Allocated), "bytes_after_close": float64(after.Allocated)}
	return done, err
}

func compactHalf(log engine.EventLog, events int) (time.Duration, error) {
	began := time.Now()
	report, err := log.Compact(context.Background(), loadTopic, engine.EventID(events/2))
	spent := time.Since(began)
	if err == nil && report.Removed != uint64(events/2) {
		err = fmt.Errorf("compaction removed %d events, want %d", report.Removed, events/2)
	}
	return spent, err
}

// syncTree has a copy reach the disk before anything is measured on it.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(name string, entry os.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		file, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		return errors.Join(file.Sync(), file.Close())
	})
}

const realisticEvents = 100_000

func (h *harness) disk(s store) (done result.Sample, err error) {
	if h.realistic == nil {
		h.realistic = bench.RealisticEvents(min(realisticEvents, h.events))
		for i := range h.realistic {
			h.jsonBytes += float64(len(bench.AppendEnvelope(nil, &h.realistic[i])))
		}
		h.jsonBytes /= float64(len(h.realistic))
	}
	dir, err := h.newDir(s)
	if err != nil {
		return done, err
	}
	defer h.remove(dir)
	err = h.in(s, dir, bench.Setup{Sync: engine.SyncNever, Keep: true}, func(log engine.EventLog) error {
		topics := bench.Topics(10)
		for i, from := 0, 0; from < len(h.realistic); i, from = i+1, from+batchEvents {
			batch := h.realistic[from:min(from+batchEvents, len(h.realistic))]
			if _, _, err := log.AppendBatch(context.Background(), topics[i%len(topics)], batch); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return done, err
	}
	used, err := bench.DiskUse(dir)
	count := float64(len(h.realistic))
	done.Value = float64(used.Allocated) / count
	done.Extra = map[string]float64{"json_bytes": h.jsonBytes, "size_bytes": float64(used.Apparent) / count}
	if used.WAL > 0 && s.module == seglogModule {
		done.Extra["with_wal_bytes"] = done.Value
		done.Value -= float64(used.WAL) / count
	}
	return done, err
}
