package engine

import (
	"context"
	"fmt"
	"iter"
	"math"
	"strings"
)

// EventLog is what every backend offers. All methods are safe for concurrent
// use and fail with [ErrClosed] after Close. A context that ends stops the
// waiting, not the commit: an append whose context ends may or may not be kept.
type EventLog interface {
	// Append adds one event and returns its id once the event is durable
	// under the log's sync policy.
	Append(ctx context.Context, topic Topic, event Event, opts ...AppendOption) (EventID, error)
	// AppendBatch adds events with consecutive ids, all or nothing. An empty
	// batch writes nothing and returns 0, 0 and no error.
	AppendBatch(ctx context.Context, topic Topic, events []Event, opts ...AppendOption) (first, last EventID, err error)
	// Read yields the events after opts.After in id order, as they stood when
	// the iteration began. An unknown topic yields nothing. An error is the
	// last thing it yields.
	Read(ctx context.Context, topic Topic, opts ReadOptions) iter.Seq2[Record, error]
	// Subscribe yields what is there after opts.After and then what is
	// appended, in id order without gap or duplicate, until the context ends,
	// the log closes or the caller stops. Ranging over the sequence again goes
	// on after the last record it delivered.
	Subscribe(ctx context.Context, topic Topic, opts SubscribeOptions) iter.Seq2[Record, error]
	// Ack moves the consumer's cursor on topic to upTo, forward or back, and
	// returns once the move is durable. Beyond the topic's latest event:
	// [ErrBeyondLatest].
	Ack(ctx context.Context, topic Topic, consumer ConsumerID, upTo EventID) error
	// Cursor returns the consumer's last acknowledged id, if there is one.
	Cursor(ctx context.Context, topic Topic, consumer ConsumerID) (id EventID, ok bool, err error)
	// Latest returns the highest id ever assigned in topic, if there is one.
	Latest(ctx context.Context, topic Topic) (id EventID, ok bool, err error)
	// Topics returns every topic that was ever appended to, sorted by name.
	Topics(ctx context.Context) ([]Topic, error)
	// Compact makes the events up to and including before unreadable, at once
	// and durably.
	Compact(ctx context.Context, topic Topic, before EventID) (CompactReport, error)
	// Flush returns once everything appended before it is durable, whatever
	// the sync policy.
	Flush(ctx context.Context) error
	// Describe says what the log is and where.
	Describe(ctx context.Context) (Description, error)
	// Close waits for appends in flight, flushes and releases the log.
	// Calling it again is harmless.
	Close() error
}

// ReadOptions bound a read. The zero value reads a whole topic.
type ReadOptions struct {
	// After is the id that the read starts strictly after; 0: the start.
	After EventID
	// Limit is the most events to yield; 0: no limit.
	Limit int
}

// SubscribeOptions say where a subscription starts. The zero value is all
// history first.
type SubscribeOptions struct {
	// After is the id that the subscription starts strictly after; 0: all
	// history first. It is fixed when Subscribe is called.
	After EventID
	// Lag says what happens to a subscriber that falls behind.
	Lag LagPolicy
}

// LagPolicy says what happens to a subscriber that falls behind.
type LagPolicy int

const (
	// LagCatchUp goes on from the log itself. The subscriber gets a
	// [*LaggedError] only where compaction overtakes it.
	LagCatchUp LagPolicy = iota
	// LagFail ends the subscription with a [*LaggedError] when more than the
	// log's queue depth of events, committed after the call to Subscribe, wait
	// for the subscriber.
	LagFail
)

// AppendOption makes an append conditional.
type AppendOption func(*AppendConfig)

// AppendConfig is what append options set. Backends read it with
// [NewAppendConfig].
type AppendConfig struct {
	// ExpectLatest is nil where any latest id will do.
	ExpectLatest *EventID
}

// NewAppendConfig applies opts to the zero configuration.
func NewAppendConfig(opts []AppendOption) AppendConfig {
	var c AppendConfig
	for _, opt := range opts {
		opt(&c)
	}
	return c
}

// ExpectLatest refuses the append with a [*ConflictError] unless the topic's
// latest id is id; 0: the topic must be new.
func ExpectLatest(id EventID) AppendOption {
	return func(c *AppendConfig) { c.ExpectLatest = &id }
}

// CompactReport says what a compaction did, in events.
type CompactReport struct {
	Removed   uint64 `json:"removed"`
	Remaining uint64 `json:"remaining"`
	// Latest is nil for an unknown topic.
	Latest *EventID `json:"latest"`
	// Checkpointed is true where the backend's write-ahead log was folded
	// back into its database by the compaction (SQLite).
	Checkpointed bool `json:"checkpointed"`
}

// Description says what a log is and where.
type Description struct {
	Backend BackendKind `json:"backend"`
	// Location is empty for a log in memory.
	Location string `json:"location,omitempty"`
	// SizeBytes is the size of the log's files; nil for a log in memory.
	SizeBytes *uint64 `json:"size_bytes,omitempty"`
	// QueueDepth is the queue depth of subscribers with [LagFail], in events.
	QueueDepth int `json:"queue_depth"`
}

// BackendKind names a backend.
type BackendKind string

// The backends.
const (
	BackendSegment   BackendKind = "segment"
	BackendMemory    BackendKind = "memory"
	BackendFile      BackendKind = "file"
	BackendSQLite    BackendKind = "sqlite"
	BackendJetStream BackendKind = "jetstream"
)

// ParseBackendKind trims s, ignores its case, and refuses what is not a
// backend with [ErrConfig].
func ParseBackendKind(s string) (BackendKind, error) {
	kind := BackendKind(strings.ToLower(strings.TrimSpace(s)))
	switch kind {
	case BackendSegment, BackendMemory, BackendFile, BackendSQLite, BackendJetStream:
		return kind, nil
	}
	return "", fmt.Errorf("%w: unsupported event log backend '%s'", ErrConfig, s)
}

// DefaultQueueDepth is the queue depth where none is configured, in events.
const DefaultQueueDepth = 128

// NoLimit asks [ReadRange] for everything.
const NoLimit = math.MaxInt

// ReadRange collects at most limit events of topic after the given id. Unlike
// [ReadOptions.Limit], a limit of 0 returns none; [NoLimit] returns all.
func ReadRange(ctx context.Context, log EventLog, topic Topic, after EventID, limit int) ([]Record, error) {
	if limit < 0 {
		return nil, fmt.Errorf("%w: read topic %s: negative limit %d", ErrConfig, topic, limit)
	}
	opts := ReadOptions{After: after, Limit: limit}
	switch limit {
	case 0:
		_, _, err := log.Latest(ctx, topic) // a log that cannot be read says so
		return nil, err
	case NoLimit:
		opts.Limit = 0
	}
	var records []Record
	for r, err := range log.Read(ctx, topic, opts) {
		if err != nil {
			return records, err
		}
		if records == nil {
			records = make([]Record, 0, min(limit, 16))
		}
		records = append(records, r)
	}
	return records, nil
}

type contextKey struct{}

// NewContext returns a context that carries log as the active log; nil takes
// it away.
func NewContext(ctx context.Context, log EventLog) context.Context {
	return context.WithValue(ctx, contextKey{}, log)
}

// FromContext returns the active log of ctx, if there is one.
func FromContext(ctx context.Context) (EventLog, bool) {
	log, ok := ctx.Value(contextKey{}).(EventLog)
	return log, ok && log != nil
}
