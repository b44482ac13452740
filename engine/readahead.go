package engine

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/seglog/seglog/index"
	"github.com/seglog/seglog/segment"
)

// readAhead has the blocks behind a reader read, verified and decompressed by
// other goroutines, in runs; where the reader catches up with them it lends a
// hand. It is a guess that can only save time: a run is used where it is just
// what the reader wants next, and where anything is wrong with one the reader
// reads for itself, and finds out what.
type readAhead struct {
	runs  []*blockRun // waiting, under way or done, in id order
	next  uint64      // id of the event that the next run begins with
	taken *blockRun   // the reader is in it
	at    int         // the block of taken that comes next
}

// blockRun is a few blocks that stand in a file one behind the other.
type blockRun struct {
	place
	id     segment.Identity
	blocks []segment.Block
	files  *fileCache // which file is from: the pool is for all logs
	file   *openFile

	// begun is set by who reads the run: its goroutine, or a reader that cannot
	// wait for that. A goroutine that comes late may find the run used again,
	// and read it then: all that it needs is here.
	begun atomic.Bool
	buf   segment.RunBuffer
	raws  [][]byte
	err   error
	done  chan struct{} // has room for one: it says that raws and err are set
	start func()        // read, as a value that a go statement need not make
}

const (
	// aheadAfter is how many blocks are read one after another before there is
	// any reading ahead: short reads go without.
	aheadAfter = 3
	// aheadRuns is how many runs wait, are under way or done at most, beside the
	// one that the reader is in.
	aheadRuns = 5
	// runBytes bounds a run of more than one block, decompressed.
	runBytes = 64 << 10
	// aheadBlockBytes is the largest block that is read ahead.
	aheadBlockBytes = 256 << 10
)

var runPool = sync.Pool{New: func() any {
	run := &blockRun{done: make(chan struct{}, 1)}
	run.start = run.read
	return run
}}

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
	t.read() // unless it is under way or done
	<-t.done
	a.runs = slices.Delete(a.runs, 0, 1)
	a.taken, a.at = t, 1
	if t.err != nil {
		a.drop()
		return nil, nil, nil
	}
	return t, &t.blocks[0], t.raws[0]
}

// drop forgets all runs. One that is under way is left to who reads it.
func (a *readAhead) drop() {
	for _, run := range a.runs {
		if run.begun.CompareAndSwap(false, true) {
			run.files.release(run.file)
			run.recycle()
			continue
		}
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
	run.blocks, run.raws, run.err = run.blocks[:0], nil, nil
	run.files, run.file = nil, nil
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
		run.files, run.file = r.e.files, f
		run.begun.Store(false)
		go run.start()
		a.runs = append(a.runs, run)
		a.next = run.blocks[len(run.blocks)-1].Last + 1
	}
}

// read reads the run, unless somebody else does, and verifies all of it, down
// to the single events: so that this, too, is done ahead.
func (run *blockRun) read() {
	if !run.begun.CompareAndSwap(false, true) {
		return
	}
	run.raws, run.err = run.file.reader.ReadRun(run.blocks, &run.buf)
	for i := 0; i < len(run.blocks) && run.err == nil; i++ {
		b := &run.blocks[i]
		it, err := blockIter(run.place, b.First, b.Last, b.FirstPosition, run.raws[i])
		if err == nil {
			err = it.verify()
		}
		run.err = err
	}
	run.files.release(run.file) // for which closing the log waits
	run.done <- struct{}{}
}

// nextRun collects the blocks of a run from the event id on; nil where the
// index does not know them.
func (r *reader) nextRun(v *diskView, id, until uint64) *blockRun {
	run := runPool.Get().(*blockRun)
	run.blocks = run.blocks[:0]
	var segmentID uint64
	var raw int64
	v.index.Snapshot().Ascend(id, func(n index.Entry) bool {
		b := entryBlock(r.t.place, &n)
		if n.Span || lostBlock(b) || n.First > until || b.Raw > aheadBlockBytes {
			return false
		}
		if k := len(run.blocks); k > 0 {
			prev := &run.blocks[k-1]
			gap := b.Offset - prev.Offset - int64(prev.Stored)
			raw += int64(b.Raw)
			if n.Segment != segmentID || n.First != prev.Last+1 || gap < 0 || gap > segment.PageBytes || raw > runBytes {
				return false
			}
		} else if n.First > id {
			return false
		} else {
			segmentID, raw = n.Segment, int64(b.Raw)
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
	run.place, run.id = r.t.place, m.id
	run.id.UUID = r.e.uuid
	return run
}
