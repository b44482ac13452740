package engine

import (
	"sync/atomic"

	"github.com/seglog/seglog/index"
)

// topicState is one topic of an open log.
type topicState struct {
	// Constant.
	place
	name Topic

	// What the next commit goes by, ahead of what is durable. Guarded by
	// committer.mu.
	assigned    uint64 // last id handed out
	assignedLow uint64 // lowest id readable once all that is queued is done
	created     bool   // the creation record is queued or durable

	// What readers see. Written under Engine.publishMu.
	known  bool          // the creation record is durable
	dirty  bool          // has changed since the last checkpoint
	latest atomic.Uint64 // last durable id
	low    atomic.Uint64 // lowest readable id, from 1
	tail   atomic.Pointer[tail]
	disk   atomic.Pointer[diskView] // nil: nothing on disk

	changed watchPoint // for subscribers
}

// diskView is what a topic has on disk, for readers. It is immutable, but for
// the index, which has snapshots of its own.
type diskView struct {
	meta  *topicMeta
	index *index.Index // nil: no segments
	// last is the highest id on disk.
	last uint64
	// gaps are ids that are lost to damage: first those that the manifest
	// knows, then those of a WAL that was opened read-only in spite of it.
	gaps []gap
}

// gap is a range of ids that cannot be read.
type gap struct {
	first, last uint64
	err         *CorruptError
}

func newTopicState(name Topic, p place) *topicState {
	t := &topicState{place: p, name: name, assignedLow: 1}
	t.low.Store(1)
	return t
}

// begin has a topic without events go on behind latest. The caller holds
// Engine.publishMu.
func (t *topicState) begin(latest uint64) {
	t.low.Store(latest + 1) // first: readers never see events where there are none
	t.latest.Store(latest)
}

// watchPoint wakes those who wait for a change. Its zero value is ready.
type watchPoint struct{ p atomic.Pointer[chan struct{}] }

// waitChan returns a channel that is closed at the next change. The caller must
// look once more before it waits.
func (w *watchPoint) waitChan() <-chan struct{} {
	fresh := make(chan struct{})
	for {
		if c := w.p.Load(); c != nil {
			return *c
		}
		if w.p.CompareAndSwap(nil, &fresh) {
			return fresh
		}
	}
}

// wake tells whoever waits that something has changed.
func (w *watchPoint) wake() {
	if w.p.Load() == nil {
		return
	}
	if c := w.p.Swap(nil); c != nil {
		close(*c)
	}
}

// visibleLatest is the highest id at or below the log-wide watermark of
// visible positions, which the caller loaded before. Events of one commit thus
// appear in all its topics at once.
func (t *topicState) visibleLatest(visible uint64) uint64 {
	chunks := t.tail.Load().published()
	for i := len(chunks) - 1; i >= 0; i-- {
		if chunks[i].position <= visible {
			return chunks[i].last()
		}
	}
	if d := t.disk.Load(); d != nil && d.last > 0 {
		return max(d.last, t.latest.Load())
	}
	return t.latest.Load()
}
