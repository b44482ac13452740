package bench

import (
	"context"
	"iter"

	"github.com/seglog/seglog/engine"
)

// Store opens one kind of log for the workloads.
type Store struct {
	Name string
	Open func(dir string, setup Setup) (engine.EventLog, error)
	// Async returns the log's asynchronous append; nil where there is none.
	Async func(log engine.EventLog) AsyncAppend
}

// Setup says what a workload needs of the log that it opens.
type Setup struct {
	Sync engine.SyncPolicy
	// Keep: what is appended will be read or measured on disk. Without it a
	// yardstick may recycle its room.
	Keep bool
}

// AsyncAppend appends without waiting.
type AsyncAppend func(ctx context.Context, topic engine.Topic, event engine.Event) Waiter

// Waiter is an append in flight.
type Waiter interface {
	Wait(ctx context.Context) (engine.EventID, error)
}

// rawReader is offered by logs that lend stored bytes.
type rawReader interface {
	ReadRaw(ctx context.Context, topic engine.Topic, opts engine.ReadOptions) iter.Seq2[engine.RawRecord, error]
}

// LimitStore is the yardstick as a store.
func LimitStore() Store {
	return Store{
		Name: "limit",
		Open: func(dir string, setup Setup) (engine.EventLog, error) {
			opts := LimitOptions{FileBytes: DefaultLimitFileBytes, NoSync: setup.Sync != engine.SyncAlways}
			if setup.Keep {
				opts.FileBytes, opts.Index = 0, true
			}
			return OpenLimit(dir, opts)
		},
		Async: func(log engine.EventLog) AsyncAppend {
			l := log.(*Limit)
			return func(ctx context.Context, topic engine.Topic, event engine.Event) Waiter {
				return l.AppendAsync(ctx, topic, event)
			}
		},
	}
}
