package sqlite

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seglog/seglog/engine"
)

// Group commit. Callers validate and encode outside any lock, queue a request
// and wait; one goroutine, which owns the writing connection, carries out all
// that has gathered in one immediate transaction. A request that is refused,
// because an expected latest id does not match for instance, has written
// nothing, and the others of its group go on.

// request is one caller's change, all or nothing.
type request struct {
	// change checks everything before it writes anything. It runs in a
	// transaction, and once more where that failed because of another request.
	change func(*transaction) error
	// outside runs on the writing connection between transactions, after all
	// requests that were queued before. A request has one of the two.
	outside func(*conn) error

	changes []change   // what change carries out, for errors; empty where the caller says it
	bytes   int        // of its events
	refused error      // what change returned; the writer's
	done    chan error // buffered: the writer does not wait for the caller
}

// failed says what err, which is not about r alone, has kept from happening.
func (r *request) failed(err error) error {
	if len(r.changes) == 0 {
		return err
	}
	return fmt.Errorf("%s: %w", topicsOf(r.changes), err)
}

// writer carries out requests.
type writer struct {
	log    *Log
	conn   *conn // the goroutine's own
	tx     transaction
	failed error // the goroutine's own: why nothing is written any more
	// The goroutine's own: something was committed and not synced, and since when.
	dirty      bool
	dirtySince time.Time
	target     int64 // the goroutine's own: how many requests it gathers
	ended      chan struct{}

	wake    chan struct{} // buffered: there are requests, or the log closes
	arrived atomic.Int64  // len(queue), read without the lock

	mu     sync.Mutex // guards the fields below
	queue  []*request
	closed bool
}

const (
	// groupBytes is the size of events at which a group is full.
	groupBytes = 64 << 20
	// gatherIdle is how long the writer waits for one more caller to come back.
	gatherIdle = 15 * time.Microsecond
)

// checkpointWait is how long a checkpoint waits for readers. Nobody can append
// meanwhile.
const checkpointWait = 200 * time.Millisecond

// newWriter starts the writer, which owns c from now on.
func newWriter(l *Log, c *conn, found layout) *writer {
	w := &writer{
		log: l, conn: c, tx: transaction{blob: found.blobPayload, heads: map[engine.Topic]*head{}},
		ended: make(chan struct{}), wake: make(chan struct{}, 1),
	}
	go w.run()
	return w
}

// submit queues r and waits for its outcome, or for the context's end.
func (w *writer) submit(ctx context.Context, r *request) error {
	if err := ctx.Err(); err != nil {
		return r.failed(err)
	}
	r.done = make(chan error, 1)
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return r.failed(engine.ErrClosed)
	}
	w.queue = append(w.queue, r)
	w.arrived.Store(int64(len(w.queue)))
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default: // it is awake
	}
	select {
	case err := <-r.done:
		return err
	case <-ctx.Done():
		return r.failed(ctx.Err())
	}
}

// close refuses later requests, and returns when the queued ones are done.
func (w *writer) close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
	<-w.ended
}

// run is the writer's goroutine.
func (w *writer) run() {
	defer close(w.ended)
	for {
		group, more := w.next()
		if !more {
			return
		}
		w.carryOut(group)
		w.syncWhenDue()
	}
}

// next waits for requests and takes them off the queue, in order, as many as
// fit into a group. more is false when the log has closed and none is left.
func (w *writer) next() (group []*request, more bool) {
	for {
		w.gather()
		w.mu.Lock()
		group = w.takeLocked()
		closed := w.closed
		w.mu.Unlock()
		if len(group) > 0 || closed {
			return group, len(group) > 0
		}
		w.waitForRequests()
	}
}

func (w *writer) takeLocked() []*request {
	n, size := 0, 0
	for n < len(w.queue) && (n == 0 || size+w.queue[n].bytes <= groupBytes) {
		size += w.queue[n].bytes
		n++
	}
	group := w.queue[:n:n]
	if w.queue = w.queue[n:]; len(w.queue) == 0 {
		w.queue = nil // lets go of what is done
	}
	w.arrived.Store(int64(len(w.queue)))
	return group
}

// waitForRequests sleeps until there are some. Under [engine.SyncInterval] it
// syncs meanwhile, when the interval is over.
func (w *writer) waitForRequests() {
	if !w.dirty || w.failed != nil || w.log.opts.Sync != engine.SyncInterval {
		<-w.wake
		return
	}
	timer := time.NewTimer(w.log.opts.SyncEvery - time.Since(w.dirtySince))
	defer timer.Stop()
	select {
	case <-w.wake:
	case <-timer.C:
		w.syncWhenDue()
	}
}

// gather lets the callers that the last group woke come back, as long as they
// do: a crowd would otherwise split into two halves that take turns, and every
// append would wait for two syncs.
func (w *writer) gather() {
	target := w.target
	w.target = 0
	if target <= 1 {
		return
	}
	var seen int64
	for since := time.Now(); ; {
		runtime.Gosched()
		n := w.arrived.Load()
		if n >= target {
			return
		}
		now := time.Now()
		if n != seen {
			seen, since = n, now
		}
		if now.Sub(since) > gatherIdle {
			return
		}
	}
}

// carryOut does what the requests of group ask for, and tells them.
func (w *writer) carryOut(group []*request) {
	for len(group) > 0 {
		n := 0
		for n < len(group) && group[n].change != nil {
			n++
		}
		if n == 0 {
			group[0].done <- w.runOutside(group[0])
			group = group[1:]
			continue
		}
		w.commit(group[:n])
		group = group[n:]
	}
}

func (w *writer) runOutside(r *request) error {
	if w.failed != nil {
		return w.failed
	}
	return w.note(r.outside(w.conn))
}

// note remembers an error after which nothing more may be written.
func (w *writer) note(err error) error {
	if err != nil && stopsLog(err) {
		w.failed = fmt.Errorf("%w: %w", engine.ErrFailed, err)
	}
	return err
}

// commit carries out requests in one transaction, or each in one of its own
// where the rows of one are in the way of the others.
func (w *writer) commit(requests []*request) {
	err := w.attempt(requests)
	if err != nil && len(requests) > 1 && hurtsOneRequest(err) {
		for _, r := range requests {
			w.commit([]*request{r})
		}
		return
	}
	for _, r := range requests {
		if err == nil {
			r.done <- r.refused
		} else {
			r.done <- r.failed(err)
		}
	}
	w.target = int64(len(requests)) + w.arrived.Load()
}

// attempt commits what requests ask for, except for those that are refused.
// After an error nothing was written and no id was assigned.
func (w *writer) attempt(requests []*request) error {
	if w.failed != nil {
		return w.failed
	}
	if err := w.conn.beginImmediate(); err != nil {
		return w.note(err)
	}
	w.tx.reset(w.conn)
	for _, r := range requests {
		if r.refused = r.change(&w.tx); w.tx.err != nil {
			break
		}
	}
	err := w.tx.finish()
	if err == nil {
		err = w.conn.commit()
	}
	if err != nil {
		w.conn.rollback()
		return w.note(err)
	}
	if !w.dirty && w.log.opts.Sync != engine.SyncAlways {
		w.dirty, w.dirtySince = true, time.Now()
	}
	w.log.watches.publish(&w.tx)
	return nil
}

// flush is [Log.Flush], between transactions.
func (w *writer) flush(c *conn) error {
	done, err := c.checkpoint("FULL", checkpointWait)
	if err == nil && !done {
		err = c.syncWAL(w.log.opts.Sync)
	}
	if err == nil {
		w.dirty = false
	}
	return err
}

// release makes durable what is not, and closes the connection, when the
// goroutine has ended.
func (w *writer) release() error {
	var err error
	if w.dirty && w.failed == nil {
		err = w.flush(w.conn)
	}
	return errors.Join(err, w.conn.close())
}

// syncWhenDue makes durable what was committed an interval ago, however busy the
// writer is. What fails here fails the next append, or is tried again.
func (w *writer) syncWhenDue() {
	if !w.dirty || w.failed != nil || w.log.opts.Sync != engine.SyncInterval || time.Since(w.dirtySince) < w.log.opts.SyncEvery {
		return
	}
	if w.note(w.conn.syncWAL(w.log.opts.Sync)) == nil {
		w.dirty = false
	} else {
		w.dirtySince = time.Now()
	}
}
