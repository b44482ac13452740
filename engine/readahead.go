package engine

import (
	"runtime"
	"slices"
	"sync"

	"github.com/seglog/seglog/index"
	"github.com/seglog/seglog/segment"
)

// readAhead has the blocks behind a reader read, verified and decompressed by
// other goroutines, in runs. It is a guess that can only save time: a run is
// used where it is just what the reader wants next, and where anything is wrong
// with one the reader reads for itself, and finds out what.
type readAhead struct {
	runs  []*blockRun // under way or done, in id order
	next  uint64      // id of the event that the next run begins with
	taken *blockRun   // the reader is in it
	at    int         // the block of taken that comes next
}

// blockRun is a few blocks that stand in a file one behind the other.
type blockRun struct {
	id     segment.Identity
	blocks []segment.Block
	buf    segment.RunBuffer
	raws   [][]byte
	err    error
	done   chan struct{}
}

const (
	// aheadAfter is how many blocks are read one after another before there is
	// any reading ahead: short reads go without.
	aheadAfter = 3
	// runStoredBytes and runRawBytes bound a run of more than one block.
	runStoredBytes = 32 << 10
	runRawBytes    = 64 << 10
	// aheadBlockBytes is the largest block that is read ahead.
	aheadBlockBytes = 256 << 10
)

// aheadRuns is how many runs are under way at most: one for each processor,
// within reason, beside the one that the reader is in.
var aheadRuns = min(runtime.GOMAXPROCS(0), 4)

var runPool = sync.Pool{New: func() any { return &blockRun{} }}

// take returns the block with the event id if it was read ahead. What else was
// read ahead is of no use then, and dropped.
func (a *readAhead) take(id uint64) (run *blockRun, block *segment.Block, raw []byte) {
	if t := a.taken; t != nil {
		if a.at < len(t.blocks) && t.blocks[a.at].First <= id && id <= t.blocks[a.at].Last {
			a.at++
			return t, &t.blocks[a.at-1], t.raws[a.at-1]
		}
		a.taken = nil
		t.recycle()
	}
	if len(a.runs) == 0 {
		return nil, nil, nil
	}
	t := a.runs[0]
	if first := &t.blocks[0]; id < first.First || first.Last < id {
		a.drop()
		return nil, nil, nil
	}
	<-t.done
	if t.err != nil {
		a.drop()
		return nil, nil, nil
	}
	a.runs = slices.Delete(a.runs, 0, 1)
	a.taken, a.at = t, 1
	return t, &t.blocks[0], t.raws[0]
}

// drop forgets all runs. Their goroutines end by themselves.
func (a *readAhead) drop() {
	for _, run := range a.runs {
		select {
		case <-run.done:
			run.recycle()
		default: // it still reads into its buffers
		}
	}
	a.runs, a.next = nil, 0
	if a.taken != nil {
		a.taken.recycle()
		a.taken = nil
	}
}

// recycle gives back the buffers, which nobody looks at any more.
func (run *blockRun) recycle() {
	run.blocks, run.raws, run.err, run.done = run.blocks[:0], nil, nil, nil
	runPool.Put(run)
}

// extend starts runs up to the event until, from from on where none is under
// way.
func (a *readAhead) extend(r *reader, v *diskView, from, until uint64) {
	if len(a.runs) == 0 {
		a.next = from
	}
	for len(a.runs) < aheadRuns && a.next <= until {
		run := r.nextRun(v, a.next, until)
		if run == nil {
			return
		}
		f, err := r.e.files.acquire(run.id)
		if err != nil {
			run.recycle()
			return
		}
		run.done = make(chan struct{})
		go func() {
			run.raws, run.err = f.reader.ReadRun(run.blocks, &run.buf)
			close(run.done)
			r.e.files.release(f) // for which closing the log waits
		}()
		a.runs = append(a.runs, run)
		a.next = run.blocks[len(run.blocks)-1].Last + 1
	}
}

// nextRun collects the blocks of a run from the event id on; nil where the
// index does not know them.
func (r *reader) nextRun(v *diskView, id, until uint64) *blockRun {
	run := runPool.Get().(*blockRun)
	run.blocks = run.blocks[:0]
	var segmentID uint64
	var stored, raw int64
	v.index.Snapshot().Ascend(id, func(n index.Entry) bool {
		b := entryBlock(r.t.place, &n)
		if n.Span || lostBlock(b) || n.First > until || b.Raw > aheadBlockBytes {
			return false
		}
		if k := len(run.blocks); k > 0 {
			prev := &run.blocks[k-1]
			gap := b.Offset - prev.Offset - int64(prev.Stored)
			stored, raw = stored+int64(b.Stored), raw+int64(b.Raw)
			if n.Segment != segmentID || n.First != prev.Last+1 || gap < 0 || gap > segment.PageBytes ||
				stored > runStoredBytes || raw > runRawBytes {
				return false
			}
		} else if n.First > id {
			return false
		} else {
			segmentID, stored, raw = n.Segment, int64(b.Stored), int64(b.Raw)
		}
		run.blocks = append(run.blocks, b)
		return true
	})
	m := (*segmentMeta)(nil)
	if len(run.blocks) > 0 {
		m = v.meta.segment(segmentID)
	}
	if m == nil {
		run.recycle()
		return nil
	}
	run.id = m.id
	run.id.UUID = r.e.uuid
	return run
}
