package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// Append implements [EventLog]: it returns once the event is durable under the
// log's sync policy, and shares the sync with whoever appends at the same time.
func (e *Engine) Append(ctx context.Context, topic Topic, event Event, opts ...AppendOption) (EventID, error) {
	room := rooms.Get().(*[]byte)
	data, err := e.encode((*room)[:0], topic, &event)
	if err != nil {
		rooms.Put(room)
		return 0, fmt.Errorf("append to topic %s: %w", topic, err)
	}
	var two [2]op
	ops := append(two[:0], op{kind: opRun, topic: topic, count: 1, data: data, lent: true})
	ops = withOptions(ops, topic, opts)
	if err := e.change(ctx, ops); err != nil {
		return 0, fmt.Errorf("append to topic %s: %w", topic, err) // the room may still be read
	}
	if cap(data) <= roomBytesMax {
		*room = data
		rooms.Put(room)
	}
	return EventID(ops[len(ops)-1].first), nil
}

// rooms are for single events on their way into a commit group.
var rooms = sync.Pool{New: func() any { return new([]byte) }}

// roomBytesMax bounds what is kept of them.
const roomBytesMax = 64 << 10

// withOptions puts the conditions of opts in front of ops.
func withOptions(ops []op, topic Topic, opts []AppendOption) []op {
	if len(opts) == 0 {
		return ops
	}
	if cfg := NewAppendConfig(opts); cfg.ExpectLatest != nil {
		return append([]op{{kind: opExpect, topic: topic, id: uint64(*cfg.ExpectLatest)}}, ops...)
	}
	return ops
}

// encode checks an event and encodes it for the WAL, in room where it fits.
func (e *Engine) encode(room []byte, topic Topic, event *Event) ([]byte, error) {
	if err := topic.Validate(); err != nil {
		return nil, err
	}
	body, err := e.check(event)
	if err != nil {
		return nil, err
	}
	if size := encodedSize(body); cap(room) < size {
		room = make([]byte, 0, size)
	}
	return appendEvent(room, event, body), nil
}

// check says whether an event may be appended, and how large its body will be.
func (e *Engine) check(event *Event) (body int, err error) {
	headerBytes, err := event.validate()
	if err != nil {
		return 0, err
	}
	body = encodedBody(event, headerBytes)
	if size, most := encodedSize(body), min(e.opts.MaxEventBytes, e.opts.MaxCommitBytes); size > most {
		return 0, fmt.Errorf("%w: event of %d bytes, the limit is %d", ErrTooLarge, size, most)
	}
	return body, nil
}

// change submits ops, unless the log cannot be changed.
func (e *Engine) change(ctx context.Context, ops []op) error {
	if err := e.writable(); err != nil {
		return err
	}
	return e.submit(ctx, ops)
}

// writable refuses changes of a read-only log.
func (e *Engine) writable() error {
	if !e.opts.ReadOnly {
		return nil
	}
	if err := e.ready(context.Background()); err != nil {
		return err
	}
	return ErrReadOnly
}

// AppendBatch implements [EventLog].
func (e *Engine) AppendBatch(ctx context.Context, topic Topic, events []Event, opts ...AppendOption) (first, last EventID, err error) {
	data, err := e.encodeBatch(topic, events)
	if err != nil {
		return 0, 0, fmt.Errorf("append %d events to topic %s: %w", len(events), topic, err)
	}
	if len(events) == 0 {
		if err := e.ready(ctx); err != nil {
			return 0, 0, fmt.Errorf("append no events to topic %s: %w", topic, err)
		}
		return 0, 0, nil
	}
	ops := withOptions([]op{{kind: opRun, topic: topic, count: uint32(len(events)), data: data}}, topic, opts)
	if err := e.change(ctx, ops); err != nil {
		return 0, 0, fmt.Errorf("append %d events to topic %s: %w", len(events), topic, err)
	}
	run := &ops[len(ops)-1]
	return EventID(run.first), EventID(run.first + uint64(run.count) - 1), nil
}

// encodeBatch checks and encodes events for one commit.
func (e *Engine) encodeBatch(topic Topic, events []Event) ([]byte, error) {
	if err := topic.Validate(); err != nil {
		return nil, err
	}
	total := 0
	for i := range events {
		body, err := e.check(&events[i])
		if err != nil {
			return nil, fmt.Errorf("event %d of the batch: %w", i, err)
		}
		total += encodedSize(body)
	}
	if total > e.opts.MaxCommitBytes {
		return nil, fmt.Errorf("%w: commit of %d bytes, the limit is %d", ErrTooLarge, total, e.opts.MaxCommitBytes)
	}
	data := make([]byte, 0, total)
	for i := range events {
		event := &events[i]
		data = appendEvent(data, event, encodedBody(event, encodedHeaders(event.Headers)))
	}
	return data, nil
}

// Commit carries out all of b in one atomic commit. Where it is refused,
// nothing of it is done.
func (e *Engine) Commit(ctx context.Context, b *Batch) (Committed, error) {
	ops, err := e.batchOps(b)
	if err == nil {
		if len(ops) == 0 {
			err = e.ready(ctx)
		} else {
			err = e.change(ctx, ops)
		}
	}
	if err != nil {
		return Committed{}, fmt.Errorf("commit batch: %w", err)
	}
	return committed(b, ops), nil
}

// batchOps encodes a batch: first what it expects, then its changes in order.
func (e *Engine) batchOps(b *Batch) ([]op, error) {
	var ops []op
	for _, o := range b.ops {
		if o.Kind == OpExpect {
			if err := o.Topic.Validate(); err != nil {
				return nil, err
			}
			ops = append(ops, op{kind: opExpect, topic: o.Topic, id: uint64(o.ID)})
		}
	}
	size := int64(0)
	add := func(o op) error {
		o.t = e.topic(o.topic)
		ops = append(ops, o)
		size += o.recordBytes()
		if most := int64(e.opts.MaxCommitBytes) + oneRunBytesMax; size > most {
			return fmt.Errorf("%w: commit of %d bytes and more, the limit is %d", ErrTooLarge, size, most)
		}
		return nil
	}
	for _, o := range b.ops {
		switch o.Kind {
		case OpAppend:
			data, err := e.encodeBatch(o.Topic, o.Events)
			if err == nil && len(o.Events) > 0 {
				err = add(op{kind: opRun, topic: o.Topic, count: uint32(len(o.Events)), data: data})
			}
			if err != nil {
				return nil, fmt.Errorf("topic %s: %w", o.Topic, err)
			}
		case OpAck:
			err := errors.Join(o.Topic.Validate(), o.Consumer.Validate())
			if err == nil {
				err = add(e.cursorOp(o.Topic, o.Consumer, o.ID))
			}
			if err != nil {
				return nil, err
			}
		}
	}
	return ops, nil
}

func (e *Engine) cursorOp(topic Topic, consumer ConsumerID, upTo EventID) op {
	return op{kind: opCursor, topic: topic, consumer: consumer.id, id: uint64(upTo), ackedMS: e.env.Now().UnixMilli()}
}

// committed says what the batch's calls were assigned.
func committed(b *Batch, ops []op) Committed {
	var c Committed
	next := 0
	for _, o := range b.ops {
		if o.Kind != OpAppend {
			continue
		}
		r := AppendedRange{Topic: o.Topic}
		if len(o.Events) > 0 {
			for ops[next].kind != opRun {
				next++
			}
			run := &ops[next]
			next++
			r.First, r.Last = EventID(run.first), EventID(run.first+uint64(run.count)-1)
			if c.Position == 0 {
				c.Position = run.position
			}
		}
		c.Appended = append(c.Appended, r)
	}
	return c
}

// Pending is an append on its way.
type Pending struct {
	id    EventID
	topic Topic
	g     *group
	err   error // refused: never queued
}

var closedChan = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// AppendAsync queues an event and returns at once; it blocks only while more
// than [Options.PendingBytes] are in flight or the tails are full. Handles of
// one topic complete in the order of the calls.
func (e *Engine) AppendAsync(ctx context.Context, topic Topic, event Event, opts ...AppendOption) *Pending {
	data, inSlab, err := e.encodeInSlab(topic, &event)
	if err == nil {
		err = e.writable()
	}
	if err != nil {
		return &Pending{topic: topic, err: err}
	}
	var two [2]op
	ops := append(two[:0], op{kind: opRun, topic: topic, count: 1, data: data, lent: inSlab})
	ops = withOptions(ops, topic, opts)
	g, part, err := e.enqueue(ctx, ops, false)
	if err != nil {
		return &Pending{topic: topic, err: err}
	}
	p := &Pending{id: EventID(ops[len(ops)-1].first), topic: topic, g: g}
	switch {
	case part != partLead:
	case e.env.Inline:
		_ = e.lead(g) // Wait reports it
	default:
		e.goroutines.Go(func() { _ = e.lead(g) }) // Wait reports it
	}
	return p
}

// slabs are what is left of memory that asynchronous events are encoded in, some
// two hundred in each: one by one they kept the garbage collector busy. The tail
// copies them, so that an event that stays there does not keep a slab.
var slabs = sync.Pool{New: func() any { return new([]byte) }}

const (
	slabBytes = 64 << 10
	// slabLeftBytes is what a slab has left at least when it is used again:
	// larger events get memory of their own where it is not enough.
	slabLeftBytes = 4 << 10
)

// encodeInSlab is encode for an event whose caller does not wait.
func (e *Engine) encodeInSlab(topic Topic, event *Event) (data []byte, inSlab bool, err error) {
	left := slabs.Get().(*[]byte)
	defer slabs.Put(left)
	if len(*left) < slabLeftBytes {
		*left = make([]byte, slabBytes)
	}
	if data, err = e.encode((*left)[:0], topic, event); err != nil {
		return nil, false, err
	}
	n := len(data)
	if inSlab = n <= len(*left); inSlab {
		*left = (*left)[n:]
	}
	return data[:n:n], inSlab, nil
}

// Done is closed when the outcome is known.
func (p *Pending) Done() <-chan struct{} {
	if p.err != nil {
		return closedChan
	}
	return p.g.done
}

// Wait waits for the outcome: the event's id once it is durable under the
// log's sync policy. It may be called any number of times.
func (p *Pending) Wait(ctx context.Context) (EventID, error) {
	err := p.err
	if err == nil {
		select {
		case <-p.g.done:
			err = p.g.err
		default:
			select {
			case <-p.g.done:
				err = p.g.err
			case <-ctx.Done():
				err = fmt.Errorf("%w; the change may or may not be kept", ctx.Err())
			}
		}
	}
	if err != nil {
		return 0, fmt.Errorf("append to topic %s: %w", p.topic, err)
	}
	return p.id, nil
}

// Ack implements [EventLog]. It shares its sync with appends.
func (e *Engine) Ack(ctx context.Context, topic Topic, consumer ConsumerID, upTo EventID) error {
	err := errors.Join(topic.Validate(), consumer.Validate())
	if err == nil {
		err = e.change(ctx, []op{e.cursorOp(topic, consumer, upTo)})
	}
	if err != nil {
		return fmt.Errorf("ack event %d of topic %s for consumer %q: %w", upTo, topic, consumer, err)
	}
	return nil
}

// DeleteCursor forgets a consumer of topic; one that has no cursor is fine.
func (e *Engine) DeleteCursor(ctx context.Context, topic Topic, consumer ConsumerID) error {
	err := errors.Join(topic.Validate(), consumer.Validate())
	if err == nil && e.topic(topic) == nil {
		if err = e.ready(ctx); err == nil && e.opts.ReadOnly {
			err = ErrReadOnly
		}
	} else if err == nil {
		err = e.change(ctx, []op{{kind: opCursor, topic: topic, consumer: consumer.id, deleted: true}})
	}
	if err != nil {
		return fmt.Errorf("delete cursor of consumer %q on topic %s: %w", consumer, topic, err)
	}
	return nil
}

// Compact implements [EventLog]. Segment files that are wholly below the new
// bound are removed in the background; no file is rewritten.
func (e *Engine) Compact(ctx context.Context, topic Topic, before EventID) (CompactReport, error) {
	report, err := e.compact(ctx, topic, before)
	if err != nil {
		return CompactReport{}, fmt.Errorf("compact topic %s before event %d: %w", topic, before, err)
	}
	return report, nil
}

func (e *Engine) compact(ctx context.Context, topic Topic, before EventID) (CompactReport, error) {
	if err := topic.Validate(); err != nil {
		return CompactReport{}, err
	}
	if err := e.ready(ctx); err != nil {
		return CompactReport{}, err
	}
	if e.opts.ReadOnly {
		return CompactReport{}, ErrReadOnly
	}
	if e.topic(topic) == nil {
		return CompactReport{}, nil
	}
	ops := []op{{kind: opTrim, topic: topic, id: uint64(before)}}
	if err := e.submit(ctx, ops); err != nil {
		return CompactReport{}, err
	}
	e.reclaim(ops[0].t)
	report := CompactReport{Removed: ops[0].removed, Remaining: ops[0].remaining}
	if latest := EventID(ops[0].first); latest > 0 {
		report.Latest = &latest
	}
	return report, nil
}

// Flush implements [EventLog].
func (e *Engine) Flush(ctx context.Context) error {
	if e.opts.ReadOnly {
		return e.ready(ctx)
	}
	if err := e.submit(ctx, []op{{kind: opSync}}); err != nil {
		return fmt.Errorf("flush log %s: %w", e.dir, err)
	}
	return nil
}
