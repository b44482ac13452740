package engine

import (
	"fmt"
	"log/slog"
	"time"
)

// SyncPolicy says when an append is acknowledged.
type SyncPolicy int

const (
	// SyncAlways acknowledges what is durable. Concurrent appends share a sync.
	SyncAlways SyncPolicy = iota
	// SyncInterval acknowledges what was handed to the operating system and
	// syncs every [Options.SyncEvery]: power loss may take the last interval.
	SyncInterval
	// SyncNever acknowledges what was handed to the operating system and
	// leaves syncing to Flush, checkpoints and Close.
	SyncNever
)

// TailPolicy says what opening does with a torn write: the incomplete last
// commit that a crash leaves, which was never acknowledged.
type TailPolicy int

const (
	// TailReport drops the torn write and reports it in [OpenReport].
	TailReport TailPolicy = iota
	// TailRefuse fails the open with a [*CorruptError] instead.
	TailRefuse
)

// Compression of the blocks in segment files.
type Compression int

const (
	// CompressionS2 is fast in both directions.
	CompressionS2 Compression = iota
	// CompressionZstd is smaller and slower, smallest with an
	// [Options.BlockBytes] of 64 KiB.
	CompressionZstd
	// CompressionNone stores blocks as they are.
	CompressionNone
)

// Options configure [Open]. The zero value is the safe default.
type Options struct {
	// Sync says when an append is acknowledged; default [SyncAlways].
	Sync SyncPolicy
	// SyncEvery is the interval of [SyncInterval]; default 100 ms.
	SyncEvery time.Duration
	// QueueDepth is how many events may wait for a [LagFail] subscriber;
	// default 128.
	QueueDepth int
	// ReadOnly opens without changing a byte, also beside a running writer,
	// which it then follows; and it opens a damaged log for what verifies.
	ReadOnly bool
	// MaxEventBytes bounds one encoded event; default 16 MiB.
	MaxEventBytes int
	// MaxCommitBytes bounds the encoded events of one commit, and what its
	// records take beside them where there are many; default 64 MiB, and never
	// more than about half of WALBytes.
	MaxCommitBytes int
	// SegmentBytes is the size at which a segment file is sealed; default 64 MiB.
	SegmentBytes int64
	// BlockBytes bounds a block before compression, unless one event is larger;
	// default 8 KiB, and 16 KiB in carry files.
	BlockBytes int
	// Compression of blocks; default [CompressionS2].
	Compression Compression
	// WALBytes bounds the write-ahead log's files together, and with them the
	// time that opening after a crash takes; default 128 MiB.
	WALBytes int64
	// TailBytes bounds the events in memory that are not yet in segment files;
	// appends wait above it. Default 64 MiB.
	TailBytes int64
	// CacheBytes bounds the blocks in memory that short reads came back to;
	// default 8 MiB; 1 is none.
	CacheBytes int64
	// PendingBytes bounds appends in flight, asynchronous ones above all;
	// default 16 MiB.
	PendingBytes int64
	// TailPolicy says what opening does with a torn write; default [TailReport].
	TailPolicy TailPolicy
	// Logger hears of what happens in the background; default: nobody.
	Logger *slog.Logger

	carryBlockBytes int // BlockBytes for carry files
}

const (
	defaultSyncEvery       = 100 * time.Millisecond
	defaultMaxEventBytes   = 16 << 20
	defaultMaxCommitBytes  = 64 << 20
	defaultSegmentBytes    = 64 << 20
	defaultBlockBytes      = 8 << 10
	defaultCarryBlockBytes = 16 << 10
	defaultWALBytes        = 128 << 20
	defaultTailBytes       = 64 << 20
	defaultCacheBytes      = 8 << 20
	defaultPendingBytes    = 16 << 20

	minBlockBytes = 256
	maxBlockBytes = 1 << 20
)

// withDefaults validates o and fills in what is zero. The error matches
// [ErrConfig] and names the field.
func (o Options) withDefaults() (Options, error) {
	if o.Sync < SyncAlways || o.Sync > SyncNever {
		return o, fmt.Errorf("%w: unknown Options.Sync %d", ErrConfig, o.Sync)
	}
	if o.Compression < CompressionS2 || o.Compression > CompressionNone {
		return o, fmt.Errorf("%w: unknown Options.Compression %d", ErrConfig, o.Compression)
	}
	if o.TailPolicy < TailReport || o.TailPolicy > TailRefuse {
		return o, fmt.Errorf("%w: unknown Options.TailPolicy %d", ErrConfig, o.TailPolicy)
	}
	if o.SyncEvery < 0 {
		return o, fmt.Errorf("%w: Options.SyncEvery %v is negative", ErrConfig, o.SyncEvery)
	}
	if o.SyncEvery == 0 {
		o.SyncEvery = defaultSyncEvery
	}
	for _, f := range []struct {
		name       string
		value      *int64
		or, lo, hi int64
	}{
		{"SegmentBytes", &o.SegmentBytes, defaultSegmentBytes, 16 << 10, 1 << 40},
		{"WALBytes", &o.WALBytes, defaultWALBytes, 64 << 10, 1 << 40},
		{"TailBytes", &o.TailBytes, defaultTailBytes, 16 << 10, 1 << 40},
		{"CacheBytes", &o.CacheBytes, defaultCacheBytes, 1, 1 << 40},
		{"PendingBytes", &o.PendingBytes, defaultPendingBytes, 1, 1 << 40},
	} {
		if err := checkBound(f.name, f.value, f.or, f.lo, f.hi); err != nil {
			return o, err
		}
	}
	if o.carryBlockBytes = o.BlockBytes; o.BlockBytes == 0 {
		o.carryBlockBytes = defaultCarryBlockBytes
	}
	for _, f := range []struct {
		name       string
		value      *int
		or, lo, hi int64
	}{
		{"QueueDepth", &o.QueueDepth, DefaultQueueDepth, 1, 1 << 30},
		{"MaxEventBytes", &o.MaxEventBytes, defaultMaxEventBytes, 1, 1 << 29},
		{"MaxCommitBytes", &o.MaxCommitBytes, max(defaultMaxCommitBytes, int64(o.MaxEventBytes)), 1, 1 << 30},
		{"BlockBytes", &o.BlockBytes, defaultBlockBytes, minBlockBytes, maxBlockBytes},
	} {
		v := int64(*f.value)
		if err := checkBound(f.name, &v, f.or, f.lo, f.hi); err != nil {
			return o, err
		}
		*f.value = int(v)
	}
	o.MaxCommitBytes = int(min(int64(o.MaxCommitBytes), o.walCommitBytes()))
	return o, nil
}

func checkBound(name string, v *int64, or, lo, hi int64) error {
	if *v == 0 {
		*v = or
	}
	if *v < lo || *v > hi {
		return fmt.Errorf("%w: Options.%s %d is not between %d and %d", ErrConfig, name, *v, lo, hi)
	}
	return nil
}
