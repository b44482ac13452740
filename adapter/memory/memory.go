package memory

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/seglog/seglog/engine"
)

// Options configure [New]. The zero value has the defaults of [engine.Options].
type Options struct {
	// QueueDepth is how many events may wait for an [engine.LagFail]
	// subscriber, at least 1; default [engine.DefaultQueueDepth].
	QueueDepth int
	// MaxEventBytes bounds one event, measured as the bytes of its kind, its
	// payload and its headers' keys and values; default 16 MiB.
	MaxEventBytes int
	// MaxCommitBytes bounds the events of one commit together; default 64 MiB.
	MaxCommitBytes int
}

const (
	defaultMaxEventBytes  = 16 << 20
	defaultMaxCommitBytes = 64 << 20
)

// Log is an [engine.EventLog] in memory.
type Log struct {
	queueDepth     int
	maxEventBytes  int
	maxCommitBytes int

	mu       sync.Mutex // guards the fields below
	closed   bool
	position uint64 // of the last event of all topics
	topics   map[engine.Topic]*topicLog
	cursors  map[cursorKey]cursor
	changed  chan struct{} // closed and replaced whenever a waiting subscriber should look again
}

var _ engine.EventLog = (*Log)(nil)

// topicLog is one topic that was appended to.
type topicLog struct {
	first   engine.EventID  // lowest id that is readable; latest()+1 where none is
	records []engine.Record // records[i].ID == first+i; the elements never change
}

func (t *topicLog) latest() engine.EventID {
	return t.first + engine.EventID(len(t.records)) - 1
}

// after returns the records with ids above id.
func (t *topicLog) after(id engine.EventID) []engine.Record {
	if id < t.first {
		return t.records
	}
	return t.records[min(uint64(id-t.first)+1, uint64(len(t.records))):]
}

type cursorKey struct {
	topic    engine.Topic
	consumer engine.ConsumerID
}

type cursor struct {
	id      engine.EventID
	ackedAt time.Time
}

// New returns an empty log.
func New(opts Options) *Log {
	return &Log{
		queueDepth:     max(1, cmp.Or(opts.QueueDepth, engine.DefaultQueueDepth)),
		maxEventBytes:  cmp.Or(opts.MaxEventBytes, defaultMaxEventBytes),
		maxCommitBytes: cmp.Or(opts.MaxCommitBytes, defaultMaxCommitBytes),
		topics:         map[engine.Topic]*topicLog{},
		cursors:        map[cursorKey]cursor{},
		changed:        make(chan struct{}),
	}
}

// NewContext returns a context that carries a new log as the active one.
func NewContext(ctx context.Context, opts Options) (context.Context, *Log) {
	l := New(opts)
	return engine.NewContext(ctx, l), l
}

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
	return done.Appended[0].First, done.Appended[0].Last, nil
}

// Commit carries out all changes of b at once, or none of them.
func (l *Log) Commit(ctx context.Context, b *engine.Batch) (engine.Committed, error) {
	done, err := l.commit(ctx, b.Ops())
	if err != nil {
		return engine.Committed{}, fmt.Errorf("commit: %w", err)
	}
	return done, nil
}

func (l *Log) commit(ctx context.Context, ops []engine.BatchOp) (engine.Committed, error) {
	return l.commitAt(ctx, ops, time.Now())
}

// commitAt carries out ops, with the time that acks have.
func (l *Log) commitAt(ctx context.Context, ops []engine.BatchOp, at time.Time) (engine.Committed, error) {
	if err := l.checkValues(ops); err != nil {
		return engine.Committed{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.checkStateLocked(ctx, ops); err != nil {
		return engine.Committed{}, err
	}
	var done engine.Committed
	for _, op := range ops {
		switch op.Kind {
		case engine.OpAppend:
			if len(op.Events) > 0 && done.Position == 0 {
				done.Position = l.position + 1
			}
			done.Appended = append(done.Appended, l.addLocked(op.Topic, op.Events))
		case engine.OpAck:
			l.cursors[cursorKey{op.Topic, op.Consumer}] = cursor{op.ID, at}
		}
	}
	l.wakeLocked()
	return done, nil
}

// checkValues refuses what is wrong whatever the log holds: invalid values,
// and events above the limits.
func (l *Log) checkValues(ops []engine.BatchOp) error {
	commitBytes := 0
	for _, op := range ops {
		if err := op.Topic.Validate(); err != nil {
			return err
		}
		if op.Kind == engine.OpAck {
			if err := op.Consumer.Validate(); err != nil {
				return fmt.Errorf("topic %s: %w", op.Topic, err)
			}
		}
		for i, e := range op.Events {
			if err := l.checkEvent(e); err != nil {
				return fmt.Errorf("topic %s: event %d of %d: %w", op.Topic, i+1, len(op.Events), err)
			}
			if commitBytes += eventBytes(e); commitBytes > l.maxCommitBytes {
				return fmt.Errorf("topic %s: %w: more than %d bytes in one commit", op.Topic, engine.ErrTooLarge, l.maxCommitBytes)
			}
		}
	}
	return nil
}

func (l *Log) checkEvent(e engine.Event) error {
	if size := eventBytes(e); size > l.maxEventBytes {
		return fmt.Errorf("%w: %d bytes, the limit is %d", engine.ErrTooLarge, size, l.maxEventBytes)
	}
	return e.Validate()
}

func eventBytes(e engine.Event) int {
	n := len(e.Kind) + len(e.Payload)
	for k, v := range e.Headers {
		n += len(k) + len(v)
	}
	return n
}

// checkStateLocked refuses what does not fit to what the log holds.
func (l *Log) checkStateLocked(ctx context.Context, ops []engine.BatchOp) error {
	if err := l.readyLocked(ctx); err != nil {
		return err
	}
	appended := map[engine.Topic]engine.EventID{} // by the operations so far
	for _, op := range ops {
		latest := l.latestLocked(op.Topic)
		switch op.Kind {
		case engine.OpAppend:
			appended[op.Topic] += engine.EventID(len(op.Events))
		case engine.OpAck:
			if latest += appended[op.Topic]; op.ID > latest {
				return fmt.Errorf("topic %s: consumer %q: %w: event %d, the latest is %d", op.Topic, op.Consumer, engine.ErrBeyondLatest, op.ID, latest)
			}
		case engine.OpExpect:
			if op.ID != latest {
				return fmt.Errorf("topic %s: expected latest %d: %w", op.Topic, op.ID, &engine.ConflictError{Latest: latest})
			}
		default:
			return fmt.Errorf("operation %d of a batch: %w", op.Kind, errors.ErrUnsupported)
		}
	}
	return nil
}

// readyLocked reports why nothing can be done: the log is closed, or the
// context ended.
func (l *Log) readyLocked(ctx context.Context) error {
	if l.closed {
		return engine.ErrClosed
	}
	return ctx.Err()
}

func (l *Log) latestLocked(topic engine.Topic) engine.EventID {
	if t := l.topics[topic]; t != nil {
		return t.latest()
	}
	return 0
}

// addLocked writes copies of events. No events make no topic.
func (l *Log) addLocked(topic engine.Topic, events []engine.Event) engine.AppendedRange {
	if len(events) == 0 {
		return engine.AppendedRange{Topic: topic}
	}
	t := l.topics[topic]
	if t == nil {
		t = &topicLog{first: 1}
		l.topics[topic] = t
	}
	first := t.latest() + 1
	for _, e := range events {
		l.position++
		t.records = append(t.records, engine.Record{
			ID:       t.latest() + 1,
			Topic:    topic,
			Position: l.position,
			Event:    clone(e),
		})
	}
	return engine.AppendedRange{Topic: topic, First: first, Last: t.latest()}
}

// clone copies e deeply; its headers come out non-nil.
func clone(e engine.Event) engine.Event {
	e = e.WithHeaders(e.Headers)
	e.Payload = bytes.Clone(e.Payload)
	return e
}

func (l *Log) wakeLocked() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// Read yields the events after opts.After as they stood when the iteration
// began: a compaction meanwhile takes nothing away from it.
func (l *Log) Read(ctx context.Context, topic engine.Topic, opts engine.ReadOptions) iter.Seq2[engine.Record, error] {
	return func(yield func(engine.Record, error) bool) {
		records, err := l.snapshot(ctx, topic, opts)
		if err != nil {
			yield(engine.Record{}, fmt.Errorf("read topic %s: %w", topic, err))
			return
		}
		for _, r := range records {
			if err := ctx.Err(); err != nil {
				yield(engine.Record{}, fmt.Errorf("read topic %s: %w", topic, err))
				return
			}
			r.Event = clone(r.Event)
			if !yield(r, nil) {
				return
			}
		}
	}
}

// snapshot returns the records that a read sees. They are shared with the log.
func (l *Log) snapshot(ctx context.Context, topic engine.Topic, opts engine.ReadOptions) ([]engine.Record, error) {
	if err := topic.Validate(); err != nil {
		return nil, err
	}
	if opts.Limit < 0 {
		return nil, fmt.Errorf("%w: negative limit %d", engine.ErrConfig, opts.Limit)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.readyLocked(ctx); err != nil {
		return nil, err
	}
	t := l.topics[topic]
	if t == nil {
		return nil, nil
	}
	records := t.after(opts.After)
	if opts.Limit > 0 {
		records = records[:min(opts.Limit, len(records))]
	}
	return records, nil
}

// Ack moves the consumer's cursor on topic to upTo, forward or back.
func (l *Log) Ack(ctx context.Context, topic engine.Topic, consumer engine.ConsumerID, upTo engine.EventID) error {
	var b engine.Batch
	b.Ack(topic, consumer, upTo)
	if _, err := l.commit(ctx, b.Ops()); err != nil {
		return fmt.Errorf("ack: %w", err)
	}
	return nil
}

// RestoreTopic implements [engine.Restorer].
func (l *Log) RestoreTopic(ctx context.Context, topic engine.Topic, latest engine.EventID) error {
	if err := topic.Validate(); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	if latest > math.MaxInt64 {
		return fmt.Errorf("restore topic %s: %w: a topic can begin behind event %d at most", topic, engine.ErrTooLarge, int64(math.MaxInt64))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.readyLocked(ctx)
	if had := l.latestLocked(topic); err == nil && had > 0 && latest > 0 {
		err = &engine.ConflictError{Latest: had}
	}
	if err != nil {
		return fmt.Errorf("restore topic %s behind event %d: %w", topic, latest, err)
	}
	if latest > 0 {
		l.topics[topic] = &topicLog{first: latest + 1}
		l.wakeLocked()
	}
	return nil
}

// RestoreCursor implements [engine.Restorer].
func (l *Log) RestoreCursor(ctx context.Context, topic engine.Topic, consumer engine.ConsumerID, upTo engine.EventID, at time.Time) error {
	var b engine.Batch
	b.Ack(topic, consumer, upTo)
	if _, err := l.commitAt(ctx, b.Ops(), at); err != nil {
		return fmt.Errorf("restore cursor: %w", err)
	}
	return nil
}

func validate(topic engine.Topic, consumer engine.ConsumerID) error {
	if err := topic.Validate(); err != nil {
		return err
	}
	return consumer.Validate()
}

// Cursor returns the consumer's last acknowledged id, if there is one.
func (l *Log) Cursor(ctx context.Context, topic engine.Topic, consumer engine.ConsumerID) (id engine.EventID, ok bool, err error) {
	if err := validate(topic, consumer); err != nil {
		return 0, false, fmt.Errorf("cursor: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.readyLocked(ctx); err != nil {
		return 0, false, fmt.Errorf("cursor on topic %s of consumer %q: %w", topic, consumer, err)
	}
	c, ok := l.cursors[cursorKey{topic, consumer}]
	return c.id, ok, nil
}

// Consumers returns the consumers of topic, sorted by id.
func (l *Log) Consumers(ctx context.Context, topic engine.Topic) ([]engine.ConsumerInfo, error) {
	if err := topic.Validate(); err != nil {
		return nil, fmt.Errorf("consumers: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.readyLocked(ctx); err != nil {
		return nil, fmt.Errorf("consumers of topic %s: %w", topic, err)
	}
	var infos []engine.ConsumerInfo
	for key, c := range l.cursors {
		if key.topic == topic {
			infos = append(infos, engine.ConsumerInfo{
				Consumer: key.consumer,
				Cursor:   c.id,
				AckedAt:  c.ackedAt,
				Lag:      uint64(l.latestLocked(topic) - c.id),
			})
		}
	}
	slices.SortFunc(infos, func(a, b engine.ConsumerInfo) int {
		return cmp.Compare(a.Consumer.String(), b.Consumer.String())
	})
	return infos, nil
}

// CursorTopics returns the topics that have cursors, sorted by name, also those
// that nothing was ever appended to.
func (l *Log) CursorTopics(ctx context.Context) ([]engine.Topic, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.readyLocked(ctx); err != nil {
		return nil, fmt.Errorf("list topics with cursors: %w", err)
	}
	var topics []engine.Topic
	for key := range l.cursors {
		topics = append(topics, key.topic)
	}
	slices.SortFunc(topics, func(a, b engine.Topic) int { return cmp.Compare(a.String(), b.String()) })
	return slices.Compact(topics), nil
}

// DeleteCursor forgets a consumer of topic; one that has no cursor is fine.
func (l *Log) DeleteCursor(ctx context.Context, topic engine.Topic, consumer engine.ConsumerID) error {
	if err := validate(topic, consumer); err != nil {
		return fmt.Errorf("delete cursor: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.readyLocked(ctx); err != nil {
		return fmt.Errorf("delete cursor of consumer %q on topic %s: %w", consumer, topic, err)
	}
	delete(l.cursors, cursorKey{topic, consumer})
	return nil
}

// Latest returns the highest id ever assigned in topic, if there is one.
func (l *Log) Latest(ctx context.Context, topic engine.Topic) (id engine.EventID, ok bool, err error) {
	if err := topic.Validate(); err != nil {
		return 0, false, fmt.Errorf("latest: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.readyLocked(ctx); err != nil {
		return 0, false, fmt.Errorf("latest of topic %s: %w", topic, err)
	}
	latest := l.latestLocked(topic)
	return latest, latest > 0, nil
}

// Topics returns every topic that was ever appended to, sorted by name.
func (l *Log) Topics(ctx context.Context) ([]engine.Topic, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.readyLocked(ctx); err != nil {
		return nil, fmt.Errorf("list topics: %w", err)
	}
	return slices.SortedFunc(maps.Keys(l.topics), func(a, b engine.Topic) int {
		return cmp.Compare(a.String(), b.String())
	}), nil
}

// Compact makes the events up to and including before unreadable.
func (l *Log) Compact(ctx context.Context, topic engine.Topic, before engine.EventID) (engine.CompactReport, error) {
	if err := topic.Validate(); err != nil {
		return engine.CompactReport{}, fmt.Errorf("compact: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.readyLocked(ctx); err != nil {
		return engine.CompactReport{}, fmt.Errorf("compact topic %s: %w", topic, err)
	}
	t := l.topics[topic]
	if t == nil {
		return engine.CompactReport{}, nil
	}
	latest, had := t.latest(), len(t.records)
	// A copy, so that what was removed is freed and running reads keep theirs.
	t.records = slices.Clone(t.after(before))
	t.first = latest + 1 - engine.EventID(len(t.records))
	l.wakeLocked()
	return engine.CompactReport{
		Removed:   uint64(had - len(t.records)),
		Remaining: uint64(len(t.records)),
		Latest:    &latest,
	}, nil
}

// Flush has nothing to do.
func (l *Log) Flush(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.readyLocked(ctx); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	return nil
}

// Describe says what the log is: it has no location and no size.
func (l *Log) Describe(ctx context.Context) (engine.Description, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.readyLocked(ctx); err != nil {
		return engine.Description{}, fmt.Errorf("describe: %w", err)
	}
	return engine.Description{Backend: engine.BackendMemory, QueueDepth: l.queueDepth}, nil
}

// Close ends all subscriptions and refuses every later call.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	l.wakeLocked()
	return nil
}

// Clone returns an open copy of the log as it is now, also of a closed one:
// for tests, what reopening is to a log on disk.
func (l *Log) Clone() *Log {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := New(Options{QueueDepth: l.queueDepth, MaxEventBytes: l.maxEventBytes, MaxCommitBytes: l.maxCommitBytes})
	c.position = l.position
	c.cursors = maps.Clone(l.cursors)
	for name, t := range l.topics {
		c.topics[name] = &topicLog{first: t.first, records: slices.Clone(t.records)}
	}
	return c
}
