package sqlite

import (
	"fmt"
	"time"

	"github.com/seglog/seglog/engine"
)

// Options configure [Open]. The zero value is the safe default.
type Options struct {
	// Sync says when an append is acknowledged; default [engine.SyncAlways].
	// The others are SQLite's synchronous=NORMAL, which is the original's way.
	Sync engine.SyncPolicy
	// SyncEvery is the interval of [engine.SyncInterval]; default 100 ms.
	SyncEvery time.Duration
	// QueueDepth is how many events may wait for an [engine.LagFail]
	// subscriber, at least 1; default [engine.DefaultQueueDepth].
	QueueDepth int
	// ReadOnly opens a database that exists, and never writes to it.
	ReadOnly bool
	// MaxEventBytes bounds one event, measured as the bytes of its kind, its
	// payload and its headers' keys and values; default 16 MiB, at most 512 MiB.
	MaxEventBytes int
	// MaxCommitBytes bounds the events of one commit together; default 64 MiB,
	// or MaxEventBytes where that is more; at most 1 GiB.
	MaxCommitBytes int
}

const (
	defaultSyncEvery      = 100 * time.Millisecond
	defaultMaxEventBytes  = 16 << 20
	defaultMaxCommitBytes = 64 << 20
)

// withDefaults validates o and fills in what is zero. The error matches
// [engine.ErrConfig] and names the field.
func (o Options) withDefaults() (Options, error) {
	if o.Sync < engine.SyncAlways || o.Sync > engine.SyncNever {
		return o, fmt.Errorf("%w: unknown Options.Sync %d", engine.ErrConfig, o.Sync)
	}
	if o.SyncEvery < 0 {
		return o, fmt.Errorf("%w: Options.SyncEvery %v is negative", engine.ErrConfig, o.SyncEvery)
	}
	if o.SyncEvery == 0 {
		o.SyncEvery = defaultSyncEvery
	}
	for _, f := range []struct {
		name         string
		value        *int
		or, greatest int
	}{
		{"QueueDepth", &o.QueueDepth, engine.DefaultQueueDepth, 1 << 30},
		{"MaxEventBytes", &o.MaxEventBytes, defaultMaxEventBytes, 1 << 29},
		{"MaxCommitBytes", &o.MaxCommitBytes, max(defaultMaxCommitBytes, o.MaxEventBytes), 1 << 30},
	} {
		if *f.value == 0 {
			*f.value = f.or
		}
		if *f.value < 1 || *f.value > f.greatest {
			return o, fmt.Errorf("%w: Options.%s %d is not between 1 and %d", engine.ErrConfig, f.name, *f.value, f.greatest)
		}
	}
	return o, nil
}
