package sqlite

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	driver "zombiezen.com/go/sqlite"

	"github.com/seglog/seglog/bench"
	"github.com/seglog/seglog/engine"
)

const benchPayloadBytes = 256

// BenchmarkAppend compares durable appends with the original's way, one
// immediate transaction for each, and with what the disk allows. Run it in a
// directory on a real disk: TMPDIR=. go test -bench Append.
func BenchmarkAppend(b *testing.B) {
	events := bench.Events(1024, benchPayloadBytes)
	topic := engine.MustTopic("bench")
	for _, workers := range []int{1, 64} {
		b.Run(fmt.Sprintf("way=ours/sync=FULL/workers=%d", workers), func(b *testing.B) {
			benchmarkLog(b, openBench(b, Options{}), topic, events, workers)
		})
		b.Run(fmt.Sprintf("way=ours/sync=NORMAL/workers=%d", workers), func(b *testing.B) {
			benchmarkLog(b, openBench(b, Options{Sync: engine.SyncNever}), topic, events, workers)
		})
		b.Run(fmt.Sprintf("way=limit/sync=FULL/workers=%d", workers), func(b *testing.B) {
			limit, err := bench.OpenLimit(b.TempDir(), bench.LimitOptions{FileBytes: bench.DefaultLimitFileBytes})
			if err != nil {
				b.Fatal(err)
			}
			benchmarkLog(b, limit, topic, events, workers)
		})
		for _, policy := range []engine.SyncPolicy{engine.SyncAlways, engine.SyncNever} {
			b.Run(fmt.Sprintf("way=original/sync=%s/workers=%d", synchronous(policy), workers), func(b *testing.B) {
				o := openOriginal(b, policy)
				benchmarkAppends(b, workers, func(i int) error { return o.append(topic, &events[i%len(events)]) })
			})
		}
	}
}

func openBench(b *testing.B, o Options) *Log {
	b.Helper()
	log, err := Open(filepath.Join(b.TempDir(), "events.sqlite"), o)
	if err != nil {
		b.Fatal(err)
	}
	return log
}

func benchmarkLog(b *testing.B, log engine.EventLog, topic engine.Topic, events []engine.Event, workers int) {
	b.Helper()
	defer log.Close()
	benchmarkAppends(b, workers, func(i int) error {
		_, err := log.Append(context.Background(), topic, events[i%len(events)])
		return err
	})
}

func benchmarkAppends(b *testing.B, workers int, appendOne func(i int) error) {
	b.Helper()
	var mu sync.Mutex
	turn := 0
	more := func() bool {
		mu.Lock()
		defer mu.Unlock()
		turn++
		return turn <= b.N
	}
	b.ReportAllocs()
	b.ResetTimer()
	result, err := bench.Crowd(workers, more, func(worker, turn int) error { return appendOne(worker + turn) })
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(result.PerSecond(), "events/s")
}

// original appends as the original does: one connection behind a mutex.
type original struct {
	mu sync.Mutex
	c  *conn
}

func openOriginal(b *testing.B, policy engine.SyncPolicy) *original {
	b.Helper()
	c, err := openConn(filepath.Join(b.TempDir(), "events.sqlite"), driver.OpenReadWrite|driver.OpenCreate)
	if err == nil {
		_, err = c.prepareToWrite(policy)
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.close() })
	return &original{c: c}
}

func (o *original) append(topic engine.Topic, e *engine.Event) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	r, err := encode(topic, e)
	if err != nil {
		return err
	}
	return o.c.immediate(func() error {
		if err := o.c.exec("INSERT OR IGNORE INTO topic_heads(topic, last_id) VALUES (?1, 0)", r.topic); err != nil {
			return err
		}
		if err := o.c.exec("UPDATE topic_heads SET last_id = last_id + 1 WHERE topic = ?1", r.topic); err != nil {
			return err
		}
		id, _, err := o.c.integer("SELECT last_id FROM topic_heads WHERE topic = ?1", r.topic)
		if err != nil {
			return err
		}
		return o.c.exec(insertOne, r.topic, id, r.kind, r.payload, r.headers, r.at)
	})
}

// BenchmarkScan reads a topic from its start to its end.
func BenchmarkScan(b *testing.B) {
	const count = 100_000
	log := openBench(b, Options{Sync: engine.SyncNever})
	defer log.Close()
	topic := engine.MustTopic("bench")
	events := bench.Events(1000, benchPayloadBytes)
	for range count / len(events) {
		if _, _, err := log.AppendBatch(b.Context(), topic, events); err != nil {
			b.Fatal(err)
		}
	}
	scans := map[string]func() (int, error){
		"read": func() (n int, err error) {
			for _, err := range log.Read(b.Context(), topic, engine.ReadOptions{}) {
				if err != nil {
					return n, err
				}
				n++
			}
			return n, nil
		},
		"raw": func() (n int, err error) {
			for _, err := range log.ReadRaw(b.Context(), topic, engine.ReadOptions{}) {
				if err != nil {
					return n, err
				}
				n++
			}
			return n, nil
		},
	}
	for _, way := range []string{"read", "raw"} {
		b.Run("way="+way, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if n, err := scans[way](); n != count || err != nil {
					b.Fatalf("scanned %d events, %v", n, err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/count, "ns/event")
		})
	}
}
