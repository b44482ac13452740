package bench

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/seglog/seglog/adapter/file"
	"github.com/seglog/seglog/adapter/memory"
	"github.com/seglog/seglog/adapter/sqlite"
	"github.com/seglog/seglog/engine"
)

var (
	dirFlag    = flag.String("dir", ".", "directory on a real disk in which the logs are made")
	eventsFlag = flag.Int("events", 10_000, "events that the workloads that read load first")
	storeFlag  = flag.String("store", defaultStore, "store beside the limit: "+strings.Join(slices.Sorted(maps.Keys(stores)), ", "))
)

const defaultStore = "segment"

// stores are those of this module that the workloads can run on. The limit
// beside itself shows what the machine's noise is worth.
var stores = map[string]Store{
	"limit": LimitStore(),
	"segment": {
		Name: "segment",
		Open: func(dir string, setup Setup) (engine.EventLog, error) {
			return engine.Open(dir, engine.Options{Sync: setup.Sync})
		},
		Async: func(log engine.EventLog) AsyncAppend {
			e := log.(*engine.Engine)
			return func(ctx context.Context, topic engine.Topic, event engine.Event) Waiter {
				return e.AppendAsync(ctx, topic, event)
			}
		},
	},
	"file": {
		Name: "file",
		Open: func(dir string, setup Setup) (engine.EventLog, error) {
			return file.Open(dir, file.Options{Sync: setup.Sync})
		},
	},
	"sqlite": {
		Name: "sqlite",
		Open: func(dir string, setup Setup) (engine.EventLog, error) {
			return sqlite.Open(filepath.Join(dir, "events.sqlite"), sqlite.Options{Sync: setup.Sync})
		},
	},
	"memory": {
		Name: "memory",
		Open: func(_ string, setup Setup) (engine.EventLog, error) {
			if setup.Keep {
				return nil, fmt.Errorf("memory does not keep events: %w", errors.ErrUnsupported)
			}
			return memory.New(memory.Options{}), nil
		},
	},
}

func ours(tb testing.TB) Runner {
	tb.Helper()
	store, ok := stores[*storeFlag]
	if !ok {
		tb.Fatalf("unknown -store %q", *storeFlag)
	}
	return Runner{Store: store, Dir: diskDir(tb), Events: *eventsFlag}
}

func limit(tb testing.TB) Runner {
	tb.Helper()
	return Runner{Store: LimitStore(), Dir: diskDir(tb), Events: *eventsFlag}
}

// diskDir says so where the directory is in memory: a sync costs nothing there,
// so the workloads run, and their durable figures are worth nothing.
func diskDir(tb testing.TB) string {
	tb.Helper()
	inMemory, err := InMemory(*dirFlag)
	if err != nil {
		tb.Fatal(err)
	}
	if inMemory {
		fmt.Fprintf(os.Stderr, "-dir %s is in memory: durable figures mean nothing\n", *dirFlag)
	}
	return *dirFlag
}

func BenchmarkAppend(b *testing.B)            { ours(b).Append(b) }
func BenchmarkLimitAppend(b *testing.B)       { limit(b).Append(b) }
func BenchmarkAppendPolicy(b *testing.B)      { ours(b).AppendPolicy(b) }
func BenchmarkLimitAppendPolicy(b *testing.B) { limit(b).AppendPolicy(b) }
func BenchmarkAppendBatch(b *testing.B)       { ours(b).AppendBatch(b) }
func BenchmarkLimitAppendBatch(b *testing.B)  { limit(b).AppendBatch(b) }
func BenchmarkAppendAsync(b *testing.B)       { ours(b).AppendAsync(b) }
func BenchmarkLimitAppendAsync(b *testing.B)  { limit(b).AppendAsync(b) }
func BenchmarkAck(b *testing.B)               { ours(b).Ack(b) }
func BenchmarkLimitAck(b *testing.B)          { limit(b).Ack(b) }
func BenchmarkScan(b *testing.B)              { ours(b).Scan(b) }
func BenchmarkLimitScan(b *testing.B)         { limit(b).Scan(b) }
func BenchmarkSeek(b *testing.B)              { ours(b).Seek(b) }
func BenchmarkLimitSeek(b *testing.B)         { limit(b).Seek(b) }
func BenchmarkOpen(b *testing.B)              { ours(b).Open(b) }
func BenchmarkLimitOpen(b *testing.B)         { limit(b).Open(b) }
func BenchmarkDisk(b *testing.B)              { ours(b).Disk(b) }
func BenchmarkLimitDisk(b *testing.B)         { limit(b).Disk(b) }

// The limit has no subscriptions and drops nothing.

func BenchmarkDeliver(b *testing.B) { ours(b).Deliver(b) }
func BenchmarkFanOut(b *testing.B)  { ours(b).FanOut(b) }
func BenchmarkCompact(b *testing.B) { ours(b).Compact(b) }
