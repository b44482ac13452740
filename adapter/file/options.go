package file

import (
	"cmp"
	"fmt"
	"time"

	"github.com/seglog/seglog/engine"
)

// Options configure [Open]. The zero value is the safe default.
type Options struct {
	// Sync says when an append is acknowledged; default [engine.SyncAlways].
	Sync engine.SyncPolicy
	// SyncEvery is the interval of [engine.SyncInterval]; default 100 ms.
	SyncEvery time.Duration
	// QueueDepth is how many events may wait for an [engine.LagFail]
	// subscriber; default [engine.DefaultQueueDepth].
	QueueDepth int
	// ReadOnly opens without changing a byte and without a lock, also beside a
	// running writer, which it then follows.
	ReadOnly bool
	// MaxEventBytes bounds one event, measured as the bytes of its kind, its
	// payload and its headers' keys and values; default 16 MiB.
	MaxEventBytes int
	// MaxCommitBytes bounds the events of one batch together; default 64 MiB.
	MaxCommitBytes int
	// OpenFiles is how many topic files are kept open for the next use;
	// default 128.
	OpenFiles int
}

const (
	defaultSyncEvery      = 100 * time.Millisecond
	defaultMaxEventBytes  = 16 << 20
	defaultMaxCommitBytes = 64 << 20
	defaultOpenFiles      = 128
)

// withDefaults validates o and fills in what is zero. The error matches
// [engine.ErrConfig] and names the field.
func (o Options) withDefaults() (Options, error) {
	if o.Sync < engine.SyncAlways || o.Sync > engine.SyncNever {
		return o, fmt.Errorf("%w: unknown Options.Sync %d", engine.ErrConfig, o.Sync)
	}
	o.SyncEvery = cmp.Or(o.SyncEvery, defaultSyncEvery)
	o.QueueDepth = cmp.Or(o.QueueDepth, engine.DefaultQueueDepth)
	o.MaxEventBytes = cmp.Or(o.MaxEventBytes, defaultMaxEventBytes)
	o.MaxCommitBytes = cmp.Or(o.MaxCommitBytes, max(defaultMaxCommitBytes, o.MaxEventBytes))
	o.OpenFiles = cmp.Or(o.OpenFiles, defaultOpenFiles)
	for _, f := range []struct {
		name  string
		value int64
		most  int64
	}{
		{"SyncEvery", int64(o.SyncEvery), int64(time.Hour)},
		{"QueueDepth", int64(o.QueueDepth), 1 << 30},
		{"MaxEventBytes", int64(o.MaxEventBytes), maxLineBytes / 8}, // a character may take six in the line
		{"MaxCommitBytes", int64(o.MaxCommitBytes), 1 << 30},
		{"OpenFiles", int64(o.OpenFiles), 1 << 20},
	} {
		if f.value < 1 || f.value > f.most {
			return o, fmt.Errorf("%w: Options.%s %d is not between 1 and %d", engine.ErrConfig, f.name, f.value, f.most)
		}
	}
	return o, nil
}
