package adaptertest

import (
	"context"
	"errors"
	"iter"
	"testing"
	"time"

	"github.com/seglog/seglog/adapter/memory"
	"github.com/seglog/seglog/engine"
)

// broken is the memory backend with some of its calls replaced: what the suite
// must find wanting.
type broken struct {
	*memory.Log
	b breakage
}

// breakage is what a broken backend does in the place of the right thing. Nil
// functions are not broken.
type breakage struct {
	options     func(o *memory.Options)
	appendBatch func(l *memory.Log, ctx context.Context, topic engine.Topic, events []engine.Event, opts []engine.AppendOption) (first, last engine.EventID, err error)
	read        func(l *memory.Log, ctx context.Context, topic engine.Topic, opts engine.ReadOptions) records
	subscribe   func(l *memory.Log, ctx context.Context, topic engine.Topic, opts engine.SubscribeOptions) records
	record      func(r *engine.Record) // of every record read
	ack         func(l *memory.Log, ctx context.Context, topic engine.Topic, consumer engine.ConsumerID, upTo engine.EventID) error
	cursor      func(l *memory.Log, ctx context.Context, topic engine.Topic, consumer engine.ConsumerID) (engine.EventID, bool, error)
	latest      func(l *memory.Log, ctx context.Context, topic engine.Topic) (engine.EventID, bool, error)
	topics      func(l *memory.Log, ctx context.Context) ([]engine.Topic, error)
	compact     func(l *memory.Log, ctx context.Context, topic engine.Topic, before engine.EventID) (engine.CompactReport, error)
	flush       func(l *memory.Log, ctx context.Context) error
	describe    func(l *memory.Log, ctx context.Context) (engine.Description, error)
	commit      func(l *memory.Log, ctx context.Context, b *engine.Batch) (engine.Committed, error)
	consumers   func(l *memory.Log, ctx context.Context, topic engine.Topic) ([]engine.ConsumerInfo, error)
	forget      func(l *memory.Log, ctx context.Context, topic engine.Topic, consumer engine.ConsumerID) error
	close       func(l *memory.Log) error
	reopened    func(l *memory.Log)
	raw         func(r *engine.RawRecord)
	rawClosed   bool // ReadRaw goes on after Close
	restore     func(l *memory.Log, ctx context.Context, topic engine.Topic, latest engine.EventID) error
	setCursor   func(l *memory.Log, ctx context.Context, topic engine.Topic, consumer engine.ConsumerID, upTo engine.EventID, at time.Time) error
	beside      func(l *memory.Log, readOnly bool) (engine.EventLog, error)
}

type records = iter.Seq2[engine.Record, error]

func (l *broken) Append(ctx context.Context, topic engine.Topic, event engine.Event, opts ...engine.AppendOption) (engine.EventID, error) {
	_, last, err := l.AppendBatch(ctx, topic, []engine.Event{event}, opts...)
	return last, err
}

func (l *broken) AppendBatch(ctx context.Context, topic engine.Topic, events []engine.Event, opts ...engine.AppendOption) (first, last engine.EventID, err error) {
	if l.b.appendBatch != nil {
		return l.b.appendBatch(l.Log, ctx, topic, events, opts)
	}
	return l.Log.AppendBatch(ctx, topic, events, opts...)
}

func (l *broken) Read(ctx context.Context, topic engine.Topic, opts engine.ReadOptions) records {
	if l.b.read != nil {
		return l.spoil(l.b.read(l.Log, ctx, topic, opts))
	}
	return l.spoil(l.Log.Read(ctx, topic, opts))
}

func (l *broken) Subscribe(ctx context.Context, topic engine.Topic, opts engine.SubscribeOptions) records {
	if l.b.subscribe != nil {
		return l.spoil(l.b.subscribe(l.Log, ctx, topic, opts))
	}
	return l.spoil(l.Log.Subscribe(ctx, topic, opts))
}

func (l *broken) spoil(seq records) records {
	if l.b.record == nil {
		return seq
	}
	return func(yield func(engine.Record, error) bool) {
		for r, err := range seq {
			if err == nil {
				l.b.record(&r)
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

func (l *broken) Ack(ctx context.Context, topic engine.Topic, consumer engine.ConsumerID, upTo engine.EventID) error {
	if l.b.ack != nil {
		return l.b.ack(l.Log, ctx, topic, consumer, upTo)
	}
	return l.Log.Ack(ctx, topic, consumer, upTo)
}

func (l *broken) Cursor(ctx context.Context, topic engine.Topic, consumer engine.ConsumerID) (engine.EventID, bool, error) {
	if l.b.cursor != nil {
		return l.b.cursor(l.Log, ctx, topic, consumer)
	}
	return l.Log.Cursor(ctx, topic, consumer)
}

func (l *broken) Latest(ctx context.Context, topic engine.Topic) (engine.EventID, bool, error) {
	if l.b.latest != nil {
		return l.b.latest(l.Log, ctx, topic)
	}
	return l.Log.Latest(ctx, topic)
}

func (l *broken) Topics(ctx context.Context) ([]engine.Topic, error) {
	if l.b.topics != nil {
		return l.b.topics(l.Log, ctx)
	}
	return l.Log.Topics(ctx)
}

func (l *broken) Compact(ctx context.Context, topic engine.Topic, before engine.EventID) (engine.CompactReport, error) {
	if l.b.compact != nil {
		return l.b.compact(l.Log, ctx, topic, before)
	}
	return l.Log.Compact(ctx, topic, before)
}

func (l *broken) Flush(ctx context.Context) error {
	if l.b.flush != nil {
		return l.b.flush(l.Log, ctx)
	}
	return l.Log.Flush(ctx)
}

func (l *broken) Describe(ctx context.Context) (engine.Description, error) {
	if l.b.describe != nil {
		return l.b.describe(l.Log, ctx)
	}
	return l.Log.Describe(ctx)
}

func (l *broken) Commit(ctx context.Context, b *engine.Batch) (engine.Committed, error) {
	if l.b.commit != nil {
		return l.b.commit(l.Log, ctx, b)
	}
	return l.Log.Commit(ctx, b)
}

func (l *broken) Consumers(ctx context.Context, topic engine.Topic) ([]engine.ConsumerInfo, error) {
	if l.b.consumers != nil {
		return l.b.consumers(l.Log, ctx, topic)
	}
	return l.Log.Consumers(ctx, topic)
}

func (l *broken) DeleteCursor(ctx context.Context, topic engine.Topic, consumer engine.ConsumerID) error {
	if l.b.forget != nil {
		return l.b.forget(l.Log, ctx, topic, consumer)
	}
	return l.Log.DeleteCursor(ctx, topic, consumer)
}

func (l *broken) RestoreTopic(ctx context.Context, topic engine.Topic, latest engine.EventID) error {
	if l.b.restore != nil {
		return l.b.restore(l.Log, ctx, topic, latest)
	}
	return l.Log.RestoreTopic(ctx, topic, latest)
}

func (l *broken) RestoreCursor(ctx context.Context, topic engine.Topic, consumer engine.ConsumerID, upTo engine.EventID, at time.Time) error {
	if l.b.setCursor != nil {
		return l.b.setCursor(l.Log, ctx, topic, consumer, upTo, at)
	}
	return l.Log.RestoreCursor(ctx, topic, consumer, upTo, at)
}

func (l *broken) Close() error {
	if l.b.close != nil {
		return l.b.close(l.Log)
	}
	return l.Log.Close()
}

// ReadRaw is there so that the rules about it have something to run on.
func (l *broken) ReadRaw(ctx context.Context, topic engine.Topic, opts engine.ReadOptions) iter.Seq2[engine.RawRecord, error] {
	return func(yield func(engine.RawRecord, error) bool) {
		from := l.Log
		if l.b.rawClosed {
			from = from.Clone()
		}
		for r, err := range from.Read(ctx, topic, opts) {
			raw := engine.RawRecord{ID: r.ID, Position: r.Position, OccurredAtMS: r.OccurredAtMS, Kind: []byte(r.Kind), Payload: r.Payload}
			if err == nil && l.b.raw != nil {
				l.b.raw(&raw)
			}
			if !yield(raw, err) {
				return
			}
		}
	}
}

// backendOf returns a backend that opens logs with the breakage that make
// returns; it makes one for each log, so that a breakage may have a state.
func backendOf(make func() breakage) backend {
	open := func(o memory.Options) engine.EventLog {
		b := make()
		if b.options != nil {
			b.options(&o)
		}
		return &broken{memory.New(o), b}
	}
	return backend{
		open: func() engine.EventLog { return open(memory.Options{}) },
		reopen: func(log engine.EventLog) engine.EventLog {
			old := log.(*broken)
			_ = old.Close()
			l := old.Log.Clone()
			if old.b.reopened != nil {
				old.b.reopened(l)
			}
			return &broken{l, old.b}
		},
		beside: func(log engine.EventLog, readOnly bool) (engine.EventLog, error) {
			l := log.(*broken)
			if l.b.beside != nil {
				return l.b.beside(l.Log, readOnly)
			}
			return beside(l.Log, readOnly)
		},
		openLimits: func(maxEvent, maxCommit int) engine.EventLog {
			return open(memory.Options{MaxEventBytes: maxEvent, MaxCommitBytes: maxCommit})
		},
	}
}

// beside is what another process gets that opens l.
func beside(l *memory.Log, readOnly bool) (engine.EventLog, error) {
	_, err := l.Describe(context.Background())
	switch closed := errors.Is(err, engine.ErrClosed); {
	case readOnly:
		return reader{l}, nil
	case closed:
		return l.Clone(), nil
	}
	return nil, engine.ErrLocked
}

// reader is a log as a process sees it that may not change it.
type reader struct{ *memory.Log }

func (reader) Append(context.Context, engine.Topic, engine.Event, ...engine.AppendOption) (engine.EventID, error) {
	return 0, engine.ErrReadOnly
}

func (reader) AppendBatch(context.Context, engine.Topic, []engine.Event, ...engine.AppendOption) (first, last engine.EventID, err error) {
	return 0, 0, engine.ErrReadOnly
}

func (reader) Ack(context.Context, engine.Topic, engine.ConsumerID, engine.EventID) error {
	return engine.ErrReadOnly
}

func (reader) Compact(context.Context, engine.Topic, engine.EventID) (engine.CompactReport, error) {
	return engine.CompactReport{}, engine.ErrReadOnly
}

func (reader) DeleteCursor(context.Context, engine.Topic, engine.ConsumerID) error {
	return engine.ErrReadOnly
}

func (reader) RestoreTopic(context.Context, engine.Topic, engine.EventID) error {
	return engine.ErrReadOnly
}

func (reader) RestoreCursor(context.Context, engine.Topic, engine.ConsumerID, engine.EventID, time.Time) error {
	return engine.ErrReadOnly
}

func (reader) Close() error { return nil }

// brokenAsync is the segmented log, the only one that appends asynchronously,
// with that call replaced; nil: not broken.
type brokenAsync struct {
	*engine.Engine
	append asyncHook
}

type asyncHook = func(e *engine.Engine, ctx context.Context, topic engine.Topic, event engine.Event, opts []engine.AppendOption) *engine.Pending

func (l *brokenAsync) AppendAsync(ctx context.Context, topic engine.Topic, event engine.Event, opts ...engine.AppendOption) *engine.Pending {
	if l.append != nil {
		return l.append(l.Engine, ctx, topic, event, opts)
	}
	return l.Engine.AppendAsync(ctx, topic, event, opts...)
}

func asyncBackend(t *testing.T, hook asyncHook) backend {
	return backend{open: func() engine.EventLog {
		e, err := engine.Open(t.TempDir(), engine.Options{Sync: engine.SyncNever, WALBytes: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		return &brokenAsync{e, hook}
	}}
}
