package sqlite

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/seglog/seglog/engine"
)

// Append adds one event.
func (l *Log) Append(ctx context.Context, topic engine.Topic, event engine.Event, opts ...engine.AppendOption) (engine.EventID, error) {
	_, last, err := l.AppendBatch(ctx, topic, []engine.Event{event}, opts...)
	return last, err
}

// AppendBatch adds events with consecutive ids, all or nothing.
func (l *Log) AppendBatch(ctx context.Context, topic engine.Topic, events []engine.Event, opts ...engine.AppendOption) (first, last engine.EventID, err error) {
	var b engine.Batch
	if expected := engine.NewAppendConfig(opts).ExpectLatest; expected != nil && len(events) > 0 {
		b.ExpectLatest(topic, *expected)
	}
	b.Append(topic, events...)
	done, err := l.commit(ctx, b.Ops())
	if err != nil {
		return 0, 0, fmt.Errorf("append: %w", err)
	}
	return done[0].First, done[0].Last, nil
}

// Commit carries out all changes of b in one transaction, or none of them.
func (l *Log) Commit(ctx context.Context, b *engine.Batch) (engine.Committed, error) {
	done, err := l.commit(ctx, b.Ops())
	if err != nil {
		return engine.Committed{}, fmt.Errorf("commit: %w", err)
	}
	return engine.Committed{Appended: done}, nil
}

// Ack moves the consumer's cursor on topic to upTo, forward or back.
func (l *Log) Ack(ctx context.Context, topic engine.Topic, consumer engine.ConsumerID, upTo engine.EventID) error {
	return l.moveCursor(ctx, topic, consumer, upTo, time.Now())
}

// RestoreCursor is Ack with the time at which the consumer acknowledged, to the
// millisecond.
func (l *Log) RestoreCursor(ctx context.Context, topic engine.Topic, consumer engine.ConsumerID, upTo engine.EventID, at time.Time) error {
	return l.moveCursor(ctx, topic, consumer, upTo, at)
}

func (l *Log) moveCursor(ctx context.Context, topic engine.Topic, consumer engine.ConsumerID, upTo engine.EventID, at time.Time) error {
	if err := validate(topic, consumer); err != nil {
		return fmt.Errorf("ack: %w", err)
	}
	move := change{kind: engine.OpAck, topic: topic, consumer: consumer, id: upTo, at: at.UnixMilli()}
	if _, err := l.submitChanges(ctx, []change{move}, 0); err != nil {
		return fmt.Errorf("ack: %w", err)
	}
	return nil
}

func validate(topic engine.Topic, consumer engine.ConsumerID) error {
	if err := topic.Validate(); err != nil {
		return err
	}
	return consumer.Validate()
}

// change is one operation of a commit, validated and encoded.
type change struct {
	kind     engine.BatchOpKind
	topic    engine.Topic
	rows     []row             // OpAppend
	consumer engine.ConsumerID // OpAck
	id       engine.EventID    // OpAck: up to; OpExpect: the expected latest id
	at       int64             // OpAck: Unix milliseconds
}

func (l *Log) commit(ctx context.Context, ops []engine.BatchOp) ([]engine.AppendedRange, error) {
	changes := make([]change, len(ops))
	size := 0
	for i, op := range ops {
		c, err := l.encodeOp(op, &size)
		if err != nil {
			return nil, err
		}
		changes[i] = c
	}
	return l.submitChanges(ctx, changes, size)
}

// encodeOp refuses what is wrong whatever the log holds. size counts the bytes
// of the commit's events.
func (l *Log) encodeOp(op engine.BatchOp, size *int) (change, error) {
	c := change{kind: op.Kind, topic: op.Topic, consumer: op.Consumer, id: op.ID}
	if err := op.Topic.Validate(); err != nil {
		return c, err
	}
	switch op.Kind {
	case engine.OpAppend, engine.OpExpect:
	case engine.OpAck:
		c.at = time.Now().UnixMilli()
		if err := op.Consumer.Validate(); err != nil {
			return c, fmt.Errorf("topic %s: %w", op.Topic, err)
		}
	default:
		return c, fmt.Errorf("operation %d of a batch: %w", op.Kind, errors.ErrUnsupported)
	}
	c.rows = make([]row, len(op.Events))
	for i := range op.Events {
		var err error
		if c.rows[i], err = l.encodeEvent(op.Topic, &op.Events[i]); err != nil {
			return c, fmt.Errorf("topic %s: event %d of %d: %w", op.Topic, i+1, len(op.Events), err)
		}
		if *size += eventBytes(&op.Events[i]); *size > l.opts.MaxCommitBytes {
			return c, fmt.Errorf("topic %s: %w: more than %d bytes in one commit", op.Topic, engine.ErrTooLarge, l.opts.MaxCommitBytes)
		}
	}
	return c, nil
}

func (l *Log) encodeEvent(topic engine.Topic, e *engine.Event) (row, error) {
	if size := eventBytes(e); size > l.opts.MaxEventBytes {
		return row{}, fmt.Errorf("%w: %d bytes, the limit is %d", engine.ErrTooLarge, size, l.opts.MaxEventBytes)
	}
	return encode(topic, e)
}

func eventBytes(e *engine.Event) int {
	n := len(e.Kind) + len(e.Payload)
	for k, v := range e.Headers {
		n += len(k) + len(v)
	}
	return n
}

// submitChanges has the writer carry out changes, and returns what was appended.
func (l *Log) submitChanges(ctx context.Context, changes []change, size int) ([]engine.AppendedRange, error) {
	var done []engine.AppendedRange
	err := l.submit(ctx, &request{changes: changes, bytes: size, change: func(t *transaction) error {
		if err := t.check(changes); err != nil {
			return err
		}
		done = nil // where this runs once more
		for i := range changes {
			if err := t.apply(&changes[i], &done); err != nil {
				return err
			}
		}
		return nil
	}})
	if err != nil {
		return nil, err
	}
	return done, nil
}

// topicsOf names the topics of changes, or the first one.
func topicsOf(changes []change) string {
	first := changes[0].topic
	if slices.ContainsFunc(changes, func(c change) bool { return c.topic != first }) {
		return fmt.Sprintf("topic %s and others", first)
	}
	return fmt.Sprintf("topic %s", first)
}

// check refuses changes that do not fit to what the log holds.
func (t *transaction) check(changes []change) error {
	var appended map[engine.Topic]int64 // by the changes so far
	if len(changes) > 1 {
		appended = map[engine.Topic]int64{}
	}
	for i := range changes {
		c := &changes[i]
		h, err := t.head(c.topic)
		if err != nil {
			return fmt.Errorf("topic %s: %w", c.topic, err)
		}
		switch latest := h.latest + appended[c.topic]; c.kind {
		case engine.OpAppend:
			count := int64(len(c.rows))
			if err := roomFor(latest, count); err != nil {
				return fmt.Errorf("topic %s: %w", c.topic, err)
			}
			if appended != nil {
				appended[c.topic] += count
			}
		case engine.OpAck:
			if c.id > engine.EventID(latest) {
				return fmt.Errorf("topic %s: consumer %q: %w: event %d, the latest is %d", c.topic, c.consumer, engine.ErrBeyondLatest, c.id, latest)
			}
		case engine.OpExpect:
			if c.id != engine.EventID(h.latest) {
				return fmt.Errorf("topic %s: expected latest %d: %w", c.topic, c.id, &engine.ConflictError{Latest: engine.EventID(h.latest)})
			}
		}
	}
	return nil
}

// apply carries out a change that was checked.
func (t *transaction) apply(c *change, done *[]engine.AppendedRange) error {
	switch c.kind {
	case engine.OpAppend:
		r := engine.AppendedRange{Topic: c.topic}
		if len(c.rows) > 0 {
			h := t.heads[c.topic]
			r.First = engine.EventID(h.latest + 1)
			t.append(h, c.rows)
			r.Last = engine.EventID(h.latest)
		}
		*done = append(*done, r)
	case engine.OpAck:
		return t.exec(`INSERT INTO consumers(topic, consumer_id, cursor, updated_at_ms) VALUES (?1, ?2, ?3, ?4)
			ON CONFLICT(topic, consumer_id) DO UPDATE SET cursor = excluded.cursor, updated_at_ms = excluded.updated_at_ms`,
			c.topic.String(), c.consumer.String(), int64(c.id), c.at)
	}
	return nil
}

// RestoreTopic makes topic as it is once its events up to and including latest
// were appended and compacted.
func (l *Log) RestoreTopic(ctx context.Context, topic engine.Topic, latest engine.EventID) error {
	err := topic.Validate()
	if err == nil {
		err = l.submit(ctx, &request{change: func(t *transaction) error { return t.restore(topic, latest) }})
	}
	if err != nil {
		return fmt.Errorf("restore topic %s at event %d: %w", topic, latest, err)
	}
	return nil
}

func (t *transaction) restore(topic engine.Topic, latest engine.EventID) error {
	h, err := t.head(topic)
	if err != nil {
		return err
	}
	if h.latest > 0 && latest > 0 {
		return &engine.ConflictError{Latest: engine.EventID(h.latest)}
	}
	if latest > maxID {
		return fmt.Errorf("%w: ids end at %d", engine.ErrTooLarge, int64(maxID))
	}
	if latest > 0 {
		h.latest = int64(latest)
		t.setChanged(h)
	}
	return nil
}

// DeleteCursor forgets a consumer of topic; one that has no cursor is fine.
func (l *Log) DeleteCursor(ctx context.Context, topic engine.Topic, consumer engine.ConsumerID) error {
	if err := validate(topic, consumer); err != nil {
		return fmt.Errorf("delete cursor: %w", err)
	}
	err := l.submit(ctx, &request{change: func(t *transaction) error {
		return t.exec("DELETE FROM consumers WHERE topic = ?1 AND consumer_id = ?2", topic.String(), consumer.String())
	}})
	if err != nil {
		return fmt.Errorf("delete cursor of consumer %q on topic %s: %w", consumer, topic, err)
	}
	return nil
}

// Compact makes the events up to and including before unreadable. It deletes
// them in one transaction, which takes time in proportion to their number, and
// during which nobody can append. Then it copies the write-ahead log into the
// database and empties it; where a reader is in the way for 200 ms,
// Checkpointed is false.
func (l *Log) Compact(ctx context.Context, topic engine.Topic, before engine.EventID) (engine.CompactReport, error) {
	var report engine.CompactReport
	err := topic.Validate()
	if err == nil {
		err = l.submit(ctx, &request{outside: func(c *conn) (err error) {
			report, err = l.writer.compact(c, topic, int64(min(before, maxID)))
			return err
		}})
	}
	if err != nil {
		return engine.CompactReport{}, fmt.Errorf("compact topic %s: %w", topic, err)
	}
	return report, nil
}

func (w *writer) compact(c *conn, topic engine.Topic, before int64) (r engine.CompactReport, err error) {
	err = c.immediate(func() error {
		r, err = c.deleteUpTo(topic, before)
		return err
	})
	if err != nil {
		return r, err
	}
	if r.Checkpointed, err = c.checkpoint("TRUNCATE", checkpointWait); err != nil {
		return r, err
	}
	if !r.Checkpointed && w.log.opts.Sync != engine.SyncAlways {
		if err := c.syncWAL(w.log.opts.Sync); err != nil {
			return r, err
		}
	}
	w.dirty = false
	return r, nil
}

func (c *conn) deleteUpTo(topic engine.Topic, before int64) (r engine.CompactReport, err error) {
	if err := c.exec("DELETE FROM events WHERE topic = ?1 AND event_id <= ?2", topic.String(), before); err != nil {
		return r, err
	}
	r.Removed = uint64(c.db.Changes())
	s, err := c.span(topic)
	if err != nil || s.latest == 0 {
		return r, err
	}
	latest := engine.EventID(s.latest)
	r.Latest = &latest
	r.Remaining = uint64(s.latest - s.gone) // ids are dense
	return r, nil
}
