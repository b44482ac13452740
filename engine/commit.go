package engine

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seglog/seglog/cursor"
	"github.com/seglog/seglog/internal/vfs"
	"github.com/seglog/seglog/internal/yield"
	"github.com/seglog/seglog/wal"
)

// The commit pipeline. Callers encode their changes outside any lock, and take
// ids and a place in the queue under committer.mu. The first caller of a group
// leads it: when its turn has come, it writes the group as one WAL frame, syncs
// it, hands over to the leader of the next group, publishes what is durable and
// wakes the others. There is no committer goroutine: a lone caller commits for
// itself without a switch, and one channel wakes a whole group.
//
// After waking a group, the next leader first lets those who were woken come
// back, for as long as they do (see gather): otherwise a crowd splits into two
// halves that take turns, and every append waits for two syncs.

type opKind uint8

const (
	opRun opKind = iota + 1
	opCursor
	opTrim
	opExpect
	opBegin
	opSync // asks for a sync, whatever the policy
)

// op is one change on its way through the pipeline.
type op struct {
	kind    opKind
	create  bool // the topic's creation record goes first
	deleted bool // opCursor
	topic   Topic
	t       *topicState

	count    uint32 // opRun: events
	first    uint64 // opRun: id of the first; opTrim: the latest id; assigned
	position uint64 // opRun: of the first; assigned
	data     []byte // opRun: encoded events
	lent     bool   // opRun: data is the caller's again once the group is done

	consumer string // opCursor
	id       uint64 // opCursor: up to; opTrim: before; opExpect, opBegin: latest
	ackedMS  int64  // opCursor

	removed, remaining uint64 // opTrim: outcome
}

// recordBytes is what o takes in a frame.
func (o *op) recordBytes() (n int64) {
	switch o.kind {
	case opRun:
		n = int64(recordHeaderBytes + runHeaderBytes + len(o.data))
	case opCursor:
		n = int64(recordHeaderBytes + cursor.EntryBytes(o.consumer))
	case opTrim:
		return recordHeaderBytes + trimBytes
	case opBegin:
		n = recordHeaderBytes + beginBytes
	default:
		return 0
	}
	if o.t == nil {
		n += int64(recordHeaderBytes + placeBytes + len(o.topic.name))
	}
	return n
}

// group is what one frame will hold.
type group struct {
	ops     []op
	bytes   int64 // of events
	size    int64 // of the records
	sync    bool
	end     wal.Start     // where replay goes on behind the group's frame, once it is written
	err     error         // the outcome; valid once it is known
	done    chan struct{} // closed when the outcome is known; nil: nobody asked for it
	turn    chan turn     // buffered: tells the leader, once
	led     bool          // somebody leads it, or will: a caller, or a goroutine of the engine's
	callers int64         // who wait, the leader included
}

// turn is what the leader of a group hears.
type turn uint8

const (
	turnLead turn = iota + 1 // commit the group
	turnOver                 // the outcome is known already
)

type committer struct {
	mu           sync.Mutex // guards the fields up to the next blank line, and what topicState says
	queue        []*group   // in order; the last one takes what comes
	committing   *group     // the last one taken off the queue, where it is not finished yet
	queuedBytes  int64
	leading      bool // somebody writes
	closed       bool
	full         bool  // there was no space for the last events
	failed       error // the cause, once the log has failed
	nextPosition uint64
	nextTopic    uint64
	spare        *group        // one that nobody looks at any more, to be used again
	spareOps     [][]op        // of some that somebody may still look at
	idle         chan struct{} // closed when nothing is queued; nil: nobody asks

	// Gathering, see gather. Who leads owns these.
	arrived    atomic.Int64 // callers waiting in the first group
	target     int64        // how many of them the next leader waits for
	crowd      int64        // how many there were of late
	gatherSkip int
	gatherMiss int
	yields     int // see yield
	others     yield.Yielder
	syncNanos  int64 // of a write and its sync, a running mean
	buf        wal.Buffer

	// inOrder is held from the moment that a group's outcome is known until it
	// is published: the next group may be written meanwhile, but no more.
	// It is taken before mu.
	inOrder sync.Mutex
	waking  atomic.Bool // a group is being published and woken
}

const (
	// groupBytes is the size at which a group is full.
	groupBytes = 4 << 20
	// spareOpsMax bounds the memory that is kept for later groups: as many as
	// fill the queue where appends do not wait.
	spareOpsMax = 4
	// spareOpsCapMax is the largest of them: events of a few bytes come by the
	// hundred thousand.
	spareOpsCapMax = 32 << 10
	// gatherIdle is how long a leader waits for one more caller to come back.
	gatherIdle = 15 * time.Microsecond
	// gatherMissMax bounds how many groups are not gathered for after those
	// who were woken did not come back.
	gatherMissMax = 64
	// yieldsAfterCrowd is for how many groups a leader yields after there was
	// more than one caller.
	yieldsAfterCrowd = 64
)

// part is what falls to a caller whose change is queued.
type part uint8

const (
	partFollow    part = iota // wait for the outcome
	partLead                  // lead the group now
	partLeadLater             // lead the group when its turn has come
)

// submit queues ops as one atomic change and waits for it to be durable. It
// fills in what was assigned.
func (e *Engine) submit(ctx context.Context, ops []op) error {
	g, part, err := e.enqueue(ctx, ops, true)
	if err != nil {
		return err
	}
	switch part {
	case partLead:
		return e.lead(g)
	case partLeadLater:
		return e.awaitTurn(ctx, g)
	default:
		return e.await(ctx, g)
	}
}

// await waits for the outcome of a group that another caller leads.
func (e *Engine) await(ctx context.Context, g *group) error {
	if ended := ctx.Done(); ended == nil {
		<-g.done // cheaper than a select
	} else {
		select {
		case <-g.done:
		case <-ended:
			select {
			case <-g.done:
			default:
				return fmt.Errorf("%w; the change may or may not be kept", ctx.Err())
			}
		}
	}
	return g.err
}

// awaitTurn waits until g can be committed, and commits it. A caller that goes
// away leaves a goroutine behind that does.
func (e *Engine) awaitTurn(ctx context.Context, g *group) error {
	if ended := ctx.Done(); ended == nil {
		return e.take(g, <-g.turn)
	} else {
		select {
		case t := <-g.turn:
			return e.take(g, t)
		case <-ended:
		}
	}
	if t, ok := e.standIn(g); ok {
		return e.take(g, t)
	}
	return fmt.Errorf("%w; the change may or may not be kept", ctx.Err())
}

// standIn has a goroutine lead g in the caller's place, unless the caller's turn
// has come. As long as it has not, the log is not idle, and Close waits.
func (e *Engine) standIn(g *group) (t turn, ok bool) {
	e.c.mu.Lock()
	defer e.c.mu.Unlock()
	select {
	case t := <-g.turn:
		return t, true
	default:
		e.goroutines.Go(func() { _ = e.take(g, <-g.turn) }) // the others get the error from the group
		return 0, false
	}
}

// take does what the leader of g was told.
func (e *Engine) take(g *group, t turn) error {
	if t == turnOver {
		return g.err
	}
	return e.lead(g)
}

// enqueue checks ops against the state that all queued changes lead to,
// assigns ids and positions, and adds them to the last group. A caller that
// does not wait gets partLead or partFollow: somebody else must lead for it.
func (e *Engine) enqueue(ctx context.Context, ops []op, wait bool) (*group, part, error) {
	var bytes, size int64
	for i := range ops {
		if ops[i].topic != (Topic{}) {
			ops[i].t = e.topic(ops[i].topic)
		}
		bytes += int64(len(ops[i].data))
		size += ops[i].recordBytes()
	}
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	c := &e.c
	for {
		c.mu.Lock()
		err := e.admitLocked(ops, bytes)
		if err == nil {
			break
		}
		c.mu.Unlock()
		var again *notYet
		if !errors.As(err, &again) {
			return nil, 0, err
		}
		if err := again.wait(ctx); err != nil {
			return nil, 0, err
		}
	}
	defer c.mu.Unlock()
	g := e.lastGroupLocked(size, bytes > 0)
	for i := range ops {
		o := &ops[i]
		e.assignLocked(o)
		switch {
		case o.kind == opSync:
			g.sync = true
		case o.kind == opExpect, o.kind == opTrim && o.removed == 0: // nothing to write
		default:
			g.ops = append(g.ops, *o)
		}
	}
	g.bytes += bytes
	g.size += size
	c.queuedBytes += bytes
	return g, c.joinLocked(g, wait), nil
}

// joinLocked makes the caller one of g's.
func (c *committer) joinLocked(g *group, wait bool) part {
	if wait {
		g.callers++
		if c.queue[0] == g {
			c.arrived.Store(g.callers)
		}
	}
	switch {
	case !c.leading:
		c.leading, g.led = true, true
		if !wait {
			g.waitable()
		}
		return partLead
	case wait && !g.led:
		g.leadLater()
		return partLeadLater
	}
	g.waitable()
	return partFollow
}

// leadLater gives g a leader, who waits for its turn.
func (g *group) leadLater() {
	g.led = true
	if g.turn == nil {
		g.turn = make(chan turn, 1)
	}
}

// waitable makes sure that the outcome can be waited for.
func (g *group) waitable() {
	if g.done == nil {
		g.done = make(chan struct{})
	}
}

// notYet says that a change cannot be queued before something has happened.
type notYet struct{ wait func(context.Context) error }

func (*notYet) Error() string { return "not yet" }

// admitLocked says whether ops may be queued now. It changes nothing.
func (e *Engine) admitLocked(ops []op, bytes int64) error {
	c := &e.c
	if c.closed {
		return ErrClosed
	}
	if c.failed != nil {
		return c.failed
	}
	if bytes > 0 {
		if c.queuedBytes > 0 && c.queuedBytes+bytes > e.opts.PendingBytes {
			return c.afterLastLocked()
		}
		if used := e.tailBytes.Load(); used > 0 && used+bytes > e.opts.TailBytes {
			return &notYet{e.waitForRoom}
		}
	}
	for i := range ops {
		if err := e.checkLocked(ops, i); err != nil {
			return err
		}
	}
	return nil
}

// afterLastLocked waits for all that is queued now.
func (c *committer) afterLastLocked() *notYet {
	last := c.committing
	if n := len(c.queue); n > 0 {
		last = c.queue[n-1]
	}
	last.waitable()
	return &notYet{func(ctx context.Context) error {
		select {
		case <-last.done:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}}
}

// checkLocked checks ops[i], given what the ops before it do.
func (e *Engine) checkLocked(ops []op, i int) error {
	o := &ops[i]
	switch o.kind {
	case opExpect:
		latest := e.assignedLocked(o)
		if latest == o.id {
			return nil
		}
		if o.t != nil && latest != o.t.latest.Load() && (len(e.c.queue) > 0 || e.c.committing != nil) {
			return e.c.afterLastLocked() // what it conflicts with is not durable yet
		}
		return &ConflictError{Latest: EventID(latest)}
	case opCursor:
		latest := e.assignedLocked(o)
		for j := 0; j < i && o.id > latest; j++ {
			if ops[j].kind == opRun && ops[j].topic == o.topic {
				latest += uint64(ops[j].count)
			}
		}
		if o.id > latest && !o.deleted {
			return fmt.Errorf("%w: up to event %d, the latest is %d", ErrBeyondLatest, o.id, latest)
		}
	case opRun:
		if e.assignedLocked(o)+uint64(o.count) < uint64(o.count) {
			return fmt.Errorf("%w: no event ids are left", ErrTooLarge)
		}
	}
	return nil
}

func (e *Engine) assignedLocked(o *op) uint64 {
	if o.t == nil {
		o.t = e.topic(o.topic)
	}
	if o.t == nil {
		return 0
	}
	return o.t.assigned
}

// assignLocked gives o what the order of the queue decides.
func (e *Engine) assignLocked(o *op) {
	c := &e.c
	if o.kind == opSync || o.kind == opExpect {
		return
	}
	if o.t == nil {
		o.t = e.makeTopicLocked(o.topic)
	}
	t := o.t
	if !t.created && o.kind != opTrim {
		t.created, o.create = true, true
	}
	switch o.kind {
	case opRun:
		o.first, o.position = t.assigned+1, c.nextPosition
		sealEvents(o.data, t.place, o.first, o.position)
		t.assigned += uint64(o.count)
		c.nextPosition += uint64(o.count)
	case opBegin:
		t.assigned, t.assignedLow = o.id, o.id+1
	case opTrim:
		before := min(o.id, t.assigned)
		o.id = before
		if before >= t.assignedLow {
			o.removed = before + 1 - t.assignedLow
			t.assignedLow = before + 1
		}
		o.remaining = t.assigned + 1 - t.assignedLow
		o.first = t.assigned // for the report: the latest id
	}
}

// lastGroupLocked returns the group that takes the next change. As long as the
// disk is full, events do not share one with what needs none: that may use the
// WAL's reserve.
func (e *Engine) lastGroupLocked(size int64, events bool) *group {
	c := &e.c
	if n := len(c.queue); n > 0 {
		g := c.queue[n-1]
		if c.full && g.size > 0 && events != (g.bytes > 0) {
			g = &group{}
			c.queue = append(c.queue, g)
			return g
		}
		if g.size == 0 || g.size+size <= min(groupBytes, e.opts.walCommitBytes()) {
			return g
		}
	}
	g := c.spare
	c.spare = nil
	if g == nil {
		g = &group{}
		if n := len(c.spareOps); n > 0 {
			g.ops, c.spareOps = c.spareOps[n-1], c.spareOps[:n-1]
		}
	}
	c.queue = append(c.queue, g)
	return g
}

// lead commits the first group of the queue, which is g, and hands over.
func (e *Engine) lead(g *group) error {
	e.gather()
	c := &e.c
	c.mu.Lock()
	copy(c.queue, c.queue[1:])
	c.queue[len(c.queue)-1] = nil
	c.queue = c.queue[:len(c.queue)-1]
	c.arrived.Store(0)
	if len(c.queue) > 0 {
		c.arrived.Store(c.queue[0].callers)
	}
	c.committing = g
	err := c.failed
	c.mu.Unlock()

	if err == nil {
		err = e.commit(g)
	}
	return e.finish(g, err)
}

// gather lets the callers that the last leader woke come back before the next
// group is closed, for as long as they do come. Where they stay away (an open
// loop, asynchronous appends), or there are so many that bringing them together
// takes longer than three syncs, it soon stops waiting for them.
func (e *Engine) gather() {
	c := &e.c
	target := c.target
	c.target = 0
	if e.env.Inline {
		return
	}
	if target > 1 {
		c.yields = yieldsAfterCrowd
	}
	switch {
	case target > 1 && c.arrived.Load() >= target:
		return
	case target <= 1 || e.env.NoGather:
		c.yield()
		return
	case c.gatherSkip > 0:
		c.gatherSkip--
		c.yield()
		return
	}
	if c.gathered(target) {
		c.gatherMiss = 0
		return
	}
	c.gatherMiss = min(2*c.gatherMiss+1, gatherMissMax)
	c.gatherSkip = c.gatherMiss
}

// yield lets those who are ready run, unless nobody else was there for a while.
// A caller who commits for himself again and again does nothing but short system
// calls, and would keep his processor for as long as ten milliseconds from a
// crowd that was woken on it.
func (c *committer) yield() {
	if c.yields > 0 {
		c.yields--
		c.others.Yield()
	}
}

// gathered waits for target callers, and says whether that was worth it.
func (c *committer) gathered(target int64) bool {
	start := time.Now()
	limit := time.Duration(3 * c.syncNanos)
	var seen int64
	var since time.Duration
	for {
		runtime.Gosched() // those who were woken are in front of us
		n, elapsed := c.arrived.Load(), time.Since(start)
		switch {
		case elapsed > limit:
			return false
		case n >= target:
			return true
		case n != seen, c.waking.Load():
			seen, since = n, elapsed
		case elapsed-since > gatherIdle:
			return 2*seen >= target
		}
	}
}

// finish hands the lead over and, while the next leader writes, lets readers
// see g and tells everybody the outcome.
func (e *Engine) finish(g *group, err error) error {
	c := &e.c
	c.inOrder.Lock() // the group before is published
	c.mu.Lock()
	switch {
	case errors.Is(err, ErrNoSpace):
		c.full = true
		e.rollBackLocked(err)
	case g.bytes > 0:
		c.full = false
	}
	// Who was woken and has not run yet, because a checkpoint has the other
	// processor, is in neither of the two, but belongs to the crowd.
	c.crowd = max(g.callers+c.arrived.Load(), c.crowd-c.crowd/32-1)
	c.target = c.crowd
	c.waking.Store(true)
	e.handOverLocked()
	c.mu.Unlock()

	if err == nil {
		e.publish(g)
	}

	c.mu.Lock()
	if c.committing == g {
		c.committing = nil
	}
	c.queuedBytes -= g.bytes
	g.err = err
	done := g.done
	c.recycleLocked(g)
	c.mu.Unlock()
	if done != nil {
		close(done) // not under the lock, which all who wake up want
	}
	c.waking.Store(false)
	c.inOrder.Unlock()
	if err == nil {
		e.maybeCheckpoint()
		e.maybePrepare()
	}
	return err
}

// awaitPublished returns when all groups whose outcome is known are published.
func (c *committer) awaitPublished() {
	c.inOrder.Lock()
	defer c.inOrder.Unlock()
}

// recycleLocked keeps what a later group can use of one that is finished.
func (c *committer) recycleLocked(g *group) {
	ops := g.ops
	clear(ops)
	g.ops = nil
	if cap(ops) > spareOpsCapMax {
		ops = nil
	}
	if g.done != nil {
		if ops != nil && len(c.spareOps) < spareOpsMax {
			c.spareOps = append(c.spareOps, ops[:0]) // g is looked at by those who waited for it
		}
		return
	}
	*g = group{ops: ops[:0], turn: g.turn}
	c.spare = g
}

// handOverLocked finds the next leader.
func (e *Engine) handOverLocked() {
	c := &e.c
	if len(c.queue) == 0 {
		c.leading = false
		if c.idle != nil {
			close(c.idle)
			c.idle = nil
		}
		return
	}
	next := c.queue[0]
	if !next.led { // nobody waits who could: all its changes are asynchronous
		if e.env.Inline {
			panic("engine: asynchronous change left behind") // Inline appends wait at once
		}
		next.leadLater()
		e.goroutines.Go(func() { _ = e.take(next, <-next.turn) }) // those who are concerned get the error from the group
	}
	next.turn <- turnLead
}

// rollBackLocked takes back what was assigned to changes that were not
// written, those behind them included: nothing of them is on disk. Groups that
// need nothing of that, moves of cursors above all, stay in the queue.
func (e *Engine) rollBackLocked(err error) {
	c := &e.c
	e.publishMu.Lock()
	defer e.publishMu.Unlock()
	e.topicsMu.RLock()
	for _, t := range e.byNum {
		t.assigned, t.assignedLow, t.created = t.latest.Load(), t.low.Load(), t.known
	}
	e.topicsMu.RUnlock()
	c.nextPosition = e.visible.Load() + 1

	queue := c.queue
	c.queue = nil
	for _, g := range queue {
		if g.stands() {
			c.queue = append(c.queue, g)
			continue
		}
		c.queuedBytes -= g.bytes
		g.err = err
		if g.led {
			g.turn <- turnOver
		}
		if g.done != nil {
			close(g.done)
		}
	}
	c.arrived.Store(0)
	if len(c.queue) > 0 {
		c.arrived.Store(c.queue[0].callers)
	}
}

// stands says whether g's changes are right for topics as they are durable, and
// has compactions count again. The caller holds committer.mu and publishMu, and
// has taken everything back.
func (g *group) stands() bool {
	for i := range g.ops {
		o := &g.ops[i]
		latest := o.t.latest.Load()
		switch {
		case !o.t.known, o.create:
			return false
		case o.kind == opCursor && (o.deleted || o.id <= latest):
		case o.kind == opTrim && o.id <= latest:
		default:
			return false
		}
	}
	for i := range g.ops {
		if o := &g.ops[i]; o.kind == opTrim {
			o.t.assignedLow = max(o.t.assignedLow, o.id+1)
		}
	}
	return true
}

// commit writes g as one frame, and syncs it as the policy says.
// An error other than ErrNoSpace stops the log.
func (e *Engine) commit(g *group) error {
	began := e.syncBegins(g)
	if len(g.ops) > 0 {
		var err error
		if began, err = e.writeGroup(g); err != nil {
			if !errors.Is(err, ErrNoSpace) {
				err = e.fail(err)
			}
			return err
		}
	}
	if e.opts.Sync == SyncAlways || g.sync {
		e.walMu.Lock()
		err := e.wal.Sync()
		e.walMu.Unlock()
		if err != nil {
			return e.fail(fmt.Errorf("sync write-ahead log: %w", err))
		}
		e.c.syncNanos += (int64(time.Since(began)) - e.c.syncNanos) / 8
		e.stats.syncs.Add(1)
	}
	g.end = e.wal.Position()
	return nil
}

// syncBegins is now, where g is synced and that is measured: else it would be a
// twentieth of an append.
func (e *Engine) syncBegins(g *group) (now time.Time) {
	if e.opts.Sync == SyncAlways || g.sync {
		now = time.Now()
	}
	return now
}

// writeGroup writes g's frame, and makes room for it where there is none. It
// returns when the write began.
func (e *Engine) writeGroup(g *group) (began time.Time, err error) {
	buf := &e.c.buf
	buf.Reset()
	urgent, position := encodeGroup(buf, g)
	if e.needsRecovery.Load() {
		if err := e.checkpoint(checkpointRecovery); err != nil {
			return began, err
		}
	}
	for attempt := 0; ; attempt++ {
		h := e.walHeader()
		h.Position = position
		began = e.syncBegins(g)
		e.walMu.Lock()
		_, _, err := e.wal.Write(buf, h, urgent)
		e.walMu.Unlock()
		switch {
		case err == nil:
			e.stats.frames.Add(1)
			return began, nil
		case errors.Is(err, vfs.ErrNoSpace) && e.wal.Err() == nil:
			return began, fmt.Errorf("%w: extend write-ahead log: %w", ErrNoSpace, err)
		case !errors.Is(err, wal.ErrFull):
			return began, fmt.Errorf("write write-ahead log: %w", err)
		case attempt == 3:
			return began, fmt.Errorf("%w: write-ahead log is full: a frame of %d bytes, Options.WALBytes is %d", ErrNoSpace, buf.Len(), e.opts.WALBytes)
		}
		e.stats.stalls.Add(1)
		e.c.awaitPublished() // a checkpoint frees what is published
		if err := e.checkpoint(checkpointFull); err != nil {
			return began, err
		}
	}
}

// encodeGroup writes g's records into buf. Urgent groups hold no events and
// may use the WAL's reserve. Position is that of the first event.
func encodeGroup(buf *wal.Buffer, g *group) (urgent bool, position uint64) {
	urgent = true
	var run *op // the run that grows
	var runAt, runBytes int
	for i := range g.ops {
		o := &g.ops[i]
		if o.create {
			putRecord(buf, recordCreate, func(b []byte) []byte {
				return append(appendPlace(b, o.t.place), o.topic.name...)
			})
			run = nil
		}
		switch o.kind {
		case opRun:
			urgent = false
			if position == 0 {
				position = o.position
			}
			if run == nil || run.t != o.t {
				run, runAt, runBytes = o, buf.Len(), 0
				buf.Extend(recordHeaderBytes + runHeaderBytes)
				buf.AddRecord()
			}
			copy(buf.Extend(len(o.data)), o.data)
			runBytes += len(o.data)
			head := buf.Payload()[runAt:]
			putRecordHeader(head, recordRun, runHeaderBytes+runBytes)
			putRunHeader(head[recordHeaderBytes:], &runRecord{
				place: o.t.place, first: run.first, count: uint32(o.first - run.first + uint64(o.count)),
			})
			continue
		case opCursor:
			putRecord(buf, recordCursor, func(b []byte) []byte { return cursor.AppendEntry(b, o.entry()) })
		case opTrim:
			putRecord(buf, recordTrim, func(b []byte) []byte { return appendUint64(appendPlace(b, o.t.place), o.id) })
		case opBegin:
			putRecord(buf, recordBegin, func(b []byte) []byte { return appendUint64(appendPlace(b, o.t.place), o.id) })
		}
		run = nil
	}
	return urgent, position
}

func (o *op) entry() cursor.Entry {
	return cursor.Entry{Topic: o.t.topic, Consumer: o.consumer, Deleted: o.deleted, Cursor: cursor.Cursor{ID: o.id, AckedMS: o.ackedMS}}
}

// publish makes g visible to readers, all of it at once, and wakes those who
// wait for it.
func (e *Engine) publish(g *group) {
	e.publishMu.Lock()
	visible := e.visible.Load()
	for i := 0; i < len(g.ops); {
		o := &g.ops[i]
		e.markDirtyLocked(o.t)
		if o.create {
			o.t.known = true
		}
		n := 1
		switch o.kind {
		case opRun:
			n = runLength(g.ops[i:])
			c := e.mergeRunLocked(g.ops[i : i+n])
			e.pushLocked(o.t, c)
			visible = c.position + c.count - 1
		case opCursor:
			e.setCursorLocked(o.entry())
		case opTrim:
			e.trimLocked(o.t, o.id)
		case opBegin:
			o.t.begin(o.id)
		}
		i += n
	}
	e.visible.Store(visible)
	for i := range g.ops {
		if o := &g.ops[i]; o.kind == opRun && !continues(g.ops, i) {
			o.t.latest.Store(o.first + uint64(o.count) - 1)
		}
	}
	e.published = g.end
	e.publishMu.Unlock()
	for i := range g.ops {
		if !continues(g.ops, i) {
			g.ops[i].t.changed.wake()
		}
	}
}

// continues says whether ops[i] is an append to the same topic as the one
// behind it.
func continues(ops []op, i int) bool {
	return i+1 < len(ops) && ops[i+1].t == ops[i].t && ops[i].kind == opRun && ops[i+1].kind == opRun
}

// chunkBytesMax bounds the chunks that appends are merged into: readers look
// through a chunk from its start.
const chunkBytesMax = 64 << 10

// runLength is how many appends, from the first of ops, go into one chunk.
func runLength(ops []op) int {
	n, bytes := 1, len(ops[0].data)
	for continues(ops, n-1) && bytes+len(ops[n].data) <= chunkBytesMax {
		bytes += len(ops[n].data)
		n++
	}
	return n
}

// mergeRunLocked makes one chunk of appends to one topic: a crowd's events then
// take one slot of the tail. The chunk owns its bytes.
func (e *Engine) mergeRunLocked(ops []op) chunk {
	c := chunk{first: ops[0].first, position: ops[0].position, count: uint64(ops[0].count), data: ops[0].data}
	if len(ops) == 1 && !ops[0].lent {
		return c
	}
	bytes := 0
	for i := range ops {
		bytes += len(ops[i].data)
	}
	c.data, c.count = e.tailRoomLocked(bytes), 0
	for i := range ops {
		c.data = append(c.data, ops[i].data...)
		c.count += uint64(ops[i].count)
	}
	return c
}

// tailSlabBytes is the size of the pieces of memory that small chunks share.
const tailSlabBytes = 64 << 10

// tailRoomLocked returns room for a chunk of n bytes. Small ones are cut from
// shared slabs, which go when the last of their chunks does: every checkpoint
// takes all chunks that were there when it began.
func (e *Engine) tailRoomLocked(n int) []byte {
	if n > tailSlabBytes/4 {
		return make([]byte, 0, n)
	}
	if len(e.tailSlab) < n {
		e.tailSlab = make([]byte, tailSlabBytes)
	}
	room := e.tailSlab[:0:n]
	e.tailSlab = e.tailSlab[n:]
	return room
}

func (e *Engine) pushLocked(t *topicState, c chunk) {
	old := t.tail.Load()
	if grown := old.with(c); grown != old {
		t.tail.Store(grown)
	}
	e.tailBytes.Add(int64(len(c.data)) + chunkOverhead)
	e.stats.events.Add(c.count)
}

func (e *Engine) markDirtyLocked(t *topicState) {
	if !t.dirty {
		t.dirty = true
		e.dirty = append(e.dirty, t)
	}
}

func (e *Engine) setCursorLocked(entry cursor.Entry) {
	applyCursor(e.cursors, entry)
	e.markCursorLocked(entry)
}

// markCursorLocked has the next checkpoint write where the cursor is now; where
// it was in between is of no interest.
func (e *Engine) markCursorLocked(entry cursor.Entry) {
	if e.dirtyCursors == nil {
		e.dirtyCursors = map[cursorKey]cursor.Entry{}
	}
	e.dirtyCursors[cursorKey{entry.Topic, entry.Consumer}] = entry
}

// trimLocked moves a topic's low watermark; events of the tail that are wholly
// below it are given back at once.
func (e *Engine) trimLocked(t *topicState, before uint64) {
	if before < t.low.Load() {
		return
	}
	t.low.Store(before + 1)
	e.cutTailLocked(t, before)
}

// cutTailLocked drops the chunks of t's tail up to id.
func (e *Engine) cutTailLocked(t *topicState, id uint64) {
	old := t.tail.Load()
	cut := old.after(id)
	if cut == old {
		return
	}
	e.tailBytes.Add(chunkBytes(cut.published()) - chunkBytes(old.published()))
	t.tail.Store(cut)
}

// fail stops the log: no change is taken until it is opened again.
func (e *Engine) fail(cause error) error {
	e.c.mu.Lock()
	defer e.c.mu.Unlock()
	if e.c.failed == nil {
		e.c.failed = fmt.Errorf("%w: %w", ErrFailed, cause)
		e.log("log has failed", "cause", cause)
	}
	return e.c.failed
}

// hasFailed returns the error that the log has failed with.
func (e *Engine) hasFailed() error {
	e.c.mu.Lock()
	defer e.c.mu.Unlock()
	return e.c.failed
}

// appendPlace and appendUint64 build record bodies.
func appendPlace(b []byte, p place) []byte {
	b = appendUint64(b, p.topic)
	return append(b, byte(p.incarnation), byte(p.incarnation>>8), byte(p.incarnation>>16), byte(p.incarnation>>24))
}

func appendUint64(b []byte, v uint64) []byte {
	return append(b, byte(v), byte(v>>8), byte(v>>16), byte(v>>24), byte(v>>32), byte(v>>40), byte(v>>48), byte(v>>56))
}

// putRecord adds one record, whose body fill appends to what it is given.
func putRecord(buf *wal.Buffer, t recordType, fill func([]byte) []byte) {
	body := fill(nil)
	b := buf.Extend(recordHeaderBytes + len(body))
	putRecordHeader(b, t, len(body))
	copy(b[recordHeaderBytes:], body)
	buf.AddRecord()
}
