package main

import (
	"context"

	"github.com/seglog/seglog/bench"
	"github.com/seglog/seglog/engine"
)

const seglogModule = "github.com/seglog/seglog"

// seglogStore is the segmented log with its default options.
func seglogStore() store {
	return store{
		Store:   bench.Store{Name: "seglog", Open: openSeglog(engine.Options{}), Async: seglogAsync},
		module:  seglogModule,
		durable: true,
		note:    "default options",
	}
}

// seglogZstdStore differs where bytes on disk are read or counted.
func seglogZstdStore() store {
	return store{
		Store:   bench.Store{Name: "seglog-zstd", Open: openSeglog(engine.Options{Compression: engine.CompressionZstd}), Async: seglogAsync},
		module:  seglogModule,
		durable: true,
		note:    "Compression: CompressionZstd",
		rows:    []string{"batch", "scan", "disk"},
	}
}

func openSeglog(opts engine.Options) func(string, bench.Setup) (engine.EventLog, error) {
	return func(dir string, setup bench.Setup) (engine.EventLog, error) {
		opts := opts
		opts.Sync = setup.Sync
		return engine.Open(dir, opts)
	}
}

func seglogAsync(log engine.EventLog) bench.AsyncAppend {
	e := log.(*engine.Engine)
	return func(ctx context.Context, topic engine.Topic, event engine.Event) bench.Waiter {
		return e.AppendAsync(ctx, topic, event)
	}
}

// limitStore is the yardstick.
func limitStore() store {
	return store{
		Store:   bench.LimitStore(),
		module:  seglogModule,
		durable: true,
		note:    "not a store: what disk, kernel and Go allow one; see package bench",
	}
}
