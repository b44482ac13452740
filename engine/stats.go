package engine

import "sync/atomic"

// Stats are counters since the log was opened, and gauges of this moment.
type Stats struct {
	// Events were made durable, in Frames commit groups, with Syncs syncs of
	// files.
	Events uint64 `json:"events"`
	Frames int64  `json:"frames"`
	Syncs  int64  `json:"syncs"`
	// Checkpoints moved events into Blocks, and sealed SegmentsSealed segment
	// files; SegmentsRemoved were removed after compactions.
	Checkpoints     int64 `json:"checkpoints"`
	Blocks          int64 `json:"blocks"`
	SegmentsSealed  int64 `json:"segments_sealed"`
	SegmentsRemoved int64 `json:"segments_removed"`
	// Stalls are appends that had to wait for a checkpoint.
	Stalls int64 `json:"stalls"`

	// Topics are known to the log, those without events included.
	Topics int `json:"topics"`
	// TailBytes are held in memory until the next checkpoint.
	TailBytes int64 `json:"tail_bytes"`
	// CacheBytes are held in memory for short reads.
	CacheBytes int64 `json:"cache_bytes"`
	// WALBytes are used in the write-ahead log, of WALDiskBytes on disk.
	WALBytes     int64 `json:"wal_bytes"`
	WALDiskBytes int64 `json:"wal_disk_bytes"`
	// DiskBytes is the size of all files.
	DiskBytes int64 `json:"disk_bytes"`
	// OpenFiles are segment files held open for reading.
	OpenFiles int `json:"open_files"`
	// Position is that of the last durable commit.
	Position uint64 `json:"position"`
}

type counters struct {
	events                                                       counter
	frames, syncs, checkpoints, blocks, sealed, unlinked, stalls atomic.Int64
	segmentBytes                                                 atomic.Int64 // of segments and carry files
}

type counter struct{ n atomic.Uint64 }

func (c *counter) Add(n uint64) { c.n.Add(n) }

// Stats returns counters and gauges. It is cheap, and takes no lock that
// appends need.
func (e *Engine) Stats() Stats {
	s := Stats{
		Events: e.stats.events.n.Load(), Frames: e.stats.frames.Load(), Syncs: e.stats.syncs.Load(),
		Checkpoints: e.stats.checkpoints.Load(), Blocks: e.stats.blocks.Load(),
		SegmentsSealed: e.stats.sealed.Load(), SegmentsRemoved: e.stats.unlinked.Load(), Stalls: e.stats.stalls.Load(),
		TailBytes: e.tailBytes.Load(), Position: e.visible.Load(), OpenFiles: e.files.count(), CacheBytes: e.cache.size(),
	}
	e.topicsMu.RLock()
	s.Topics = len(e.byName)
	e.topicsMu.RUnlock()
	if e.wal != nil {
		s.WALBytes, s.WALDiskBytes = e.wal.Used(), e.wal.DiskBytes()
	}
	s.DiskBytes = s.WALDiskBytes + e.stats.segmentBytes.Load() + e.manifestEnd.Load().bytes
	return s
}
