package file_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/seglog/seglog/adapter/file"
	"github.com/seglog/seglog/engine"
)

var benchDir = flag.String("dir", ".", "directory on a real disk in which the benchmarks make their logs")

// BenchmarkAppend compares durable appends, by one goroutine and by 64, with
// the original's way: open, write a line, close, for each of them one after the
// other; as it is, and with a sync before the close.
func BenchmarkAppend(b *testing.B) {
	e := event(`{"text":"` + strings.Repeat("x", 245) + `"}`)
	for _, appenders := range []int{1, 64} {
		b.Run(fmt.Sprintf("way=ours/appenders=%d", appenders), func(b *testing.B) {
			log, err := file.Open(tempDir(b), file.Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer log.Close()
			crowd(b, appenders, func() error {
				_, err := log.Append(context.Background(), jobs, e)
				return err
			})
		})
		for _, synced := range []bool{true, false} {
			b.Run(fmt.Sprintf("way=original,synced=%t/appenders=%d", synced, appenders), func(b *testing.B) {
				w := originalWriter{path: filepath.Join(tempDir(b), "jobs.jsonl"), synced: synced}
				crowd(b, appenders, func() error { return w.append(e) })
			})
		}
	}
}

// originalWriter appends as the original does once it knows the latest id.
type originalWriter struct {
	path   string
	synced bool
	mu     sync.Mutex // guards the field below, and the file
	latest uint64
}

func (w *originalWriter) append(e engine.Event) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	f, err := os.OpenFile(w.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	w.latest++
	if _, err := f.WriteString(originalLine(w.latest, e) + "\n"); err != nil {
		return err
	}
	if w.synced {
		return f.Sync()
	}
	return nil
}

func crowd(b *testing.B, appenders int, do func() error) {
	b.Helper()
	b.ReportAllocs()
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	b.ResetTimer()
	for range appenders {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := do(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

func tempDir(b *testing.B) string {
	b.Helper()
	dir, err := os.MkdirTemp(*benchDir, "bench-*.tmp")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
