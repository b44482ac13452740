package main

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/seglog/seglog/adapter/file"
	"github.com/seglog/seglog/adapter/sqlite"
	"github.com/seglog/seglog/bench"
	"github.com/seglog/seglog/engine"
	"github.com/seglog/seglog/internal/env"
	"github.com/seglog/seglog/internal/vfs"
)

const seglogModule = "github.com/seglog/seglog"

// Stores of this module. What a name has behind seglog is a setting, or a
// backend.
const (
	seglogName         = "seglog"
	seglogZstdName     = "seglog-zstd"
	seglogPlainName    = "seglog-plain"
	seglogNoGatherName = "seglog-nogather"
	seglogFileName     = "seglog-file"
	seglogSQLiteName   = "seglog-sqlite"
	limitName          = "limit"
)

// ownStores returns the stores of this module. All but the first and the limit
// take part where they differ.
func ownStores() []store {
	return []store{
		seglogStore(),
		engineStore(seglogZstdName, "Compression: CompressionZstd, BlockBytes: 64 KiB",
			engine.Options{Compression: engine.CompressionZstd, BlockBytes: 64 << 10}, "batch", "scan", "disk"),
		engineStore(seglogPlainName, "Compression: CompressionNone", engine.Options{Compression: engine.CompressionNone},
			load{appenders: 64, topics: 1}.name(), load{appenders: 256, topics: 1}.name(), "batch", "scan", "seek", "disk"),
		noGatherStore(),
		fileStore(),
		sqliteBackendStore(),
		limitStore(),
	}
}

// seglogStore is the segmented log with its default options.
func seglogStore() store { return engineStore(seglogName, "default options", engine.Options{}) }

func engineStore(name, note string, opts engine.Options, rows ...string) store {
	return store{
		Store: bench.Store{Name: name, Async: seglogAsync, Open: func(dir string, setup bench.Setup) (engine.EventLog, error) {
			opts := opts
			opts.Sync = setup.Sync
			return engine.Open(dir, opts)
		}},
		module: seglogModule, durable: true, note: note, rows: rows,
	}
}

// noGatherStore shows what an open loop pays for the gathering of crowds: it
// has the load of the log that gathers.
func noGatherStore() store {
	s := engineStore(seglogNoGatherName, "a leader does not wait for those it woke; in the open loop with the load of seglog", engine.Options{}, "openloop")
	s.loadOf = seglogStore
	s.Open = func(dir string, setup bench.Setup) (engine.EventLog, error) {
		fs, err := vfs.Dir(dir)
		if err != nil {
			return nil, err
		}
		world := env.OS(fs)
		world.NoGather = true
		log, err := engine.OpenEnv(world, dir, engine.Options{Sync: setup.Sync})
		if err != nil {
			return nil, errors.Join(err, fs.Close())
		}
		return log, nil
	}
	return s
}

// fileStore and sqliteBackendStore are the backends for the original's logs.

func fileStore() store {
	return store{
		Store: bench.Store{Name: seglogFileName, Open: func(dir string, setup bench.Setup) (engine.EventLog, error) {
			return file.Open(dir, file.Options{Sync: setup.Sync})
		}},
		module: seglogModule, durable: true, note: "adapter/file", rows: backendRows(),
	}
}

func sqliteBackendStore() store {
	return store{
		Store: bench.Store{Name: seglogSQLiteName, Open: func(dir string, setup bench.Setup) (engine.EventLog, error) {
			return sqlite.Open(filepath.Join(dir, "events.sqlite"), sqlite.Options{Sync: setup.Sync})
		}},
		module: seglogModule, durable: true, note: "adapter/sqlite", rows: backendRows(),
	}
}

func backendRows() []string {
	return []string{load{appenders: 1, topics: 1}.name(), load{appenders: 64, topics: 1}.name()}
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
