package adaptertest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/seglog/seglog/adapter/memory"
	"github.com/seglog/seglog/engine"
)

// breakages are things that backends get wrong, each with rules that must see
// it. Those with hangs are seen by waiting in vain.
var breakages = slices.Concat(valueBreakages, appendBreakages, readBreakages, subscribeBreakages, lagBreakages,
	cursorBreakages, topicsBreakages, compactBreakages, closeBreakages, reopenBreakages, consumersBreakages, commitBreakages, rawBreakages,
	restoreBreakages, besideBreakages)

type namedBreakage struct {
	name   string
	hangs  bool
	make   func() breakage
	breaks []string
}

// The hooks' types, for short.
type (
	appendHook    = func(l *memory.Log, ctx context.Context, topic engine.Topic, events []engine.Event, opts []engine.AppendOption) (first, last engine.EventID, err error)
	readHook      = func(l *memory.Log, ctx context.Context, topic engine.Topic, opts engine.ReadOptions) records
	subscribeHook = func(l *memory.Log, ctx context.Context, topic engine.Topic, opts engine.SubscribeOptions) records
	ackHook       = func(l *memory.Log, ctx context.Context, topic engine.Topic, consumer engine.ConsumerID, upTo engine.EventID) error
	cursorHook    = func(l *memory.Log, ctx context.Context, topic engine.Topic, consumer engine.ConsumerID) (engine.EventID, bool, error)
	latestHook    = func(l *memory.Log, ctx context.Context, topic engine.Topic) (engine.EventID, bool, error)
	compactHook   = func(l *memory.Log, ctx context.Context, topic engine.Topic, before engine.EventID) (engine.CompactReport, error)
	commitHook    = func(l *memory.Log, ctx context.Context, b *engine.Batch) (engine.Committed, error)
)

func onAppend(h appendHook) func() breakage {
	return func() breakage { return breakage{appendBatch: h} }
}

func onRead(h readHook) func() breakage { return func() breakage { return breakage{read: h} } }

func onSubscribe(h subscribeHook) func() breakage {
	return func() breakage { return breakage{subscribe: h} }
}

func onRecord(h func(r *engine.Record)) func() breakage {
	return func() breakage { return breakage{record: h} }
}

func onAck(h ackHook) func() breakage { return func() breakage { return breakage{ack: h} } }

func onCursor(h cursorHook) func() breakage { return func() breakage { return breakage{cursor: h} } }

func onLatest(h latestHook) func() breakage { return func() breakage { return breakage{latest: h} } }

func onCompact(h compactHook) func() breakage { return func() breakage { return breakage{compact: h} } }

func onCommit(h commitHook) func() breakage { return func() breakage { return breakage{commit: h} } }

// spoilEvents changes events on their way in.
func spoilEvents(spoil func(e *engine.Event)) func() breakage {
	return onAppend(func(l *memory.Log, ctx context.Context, topic engine.Topic, events []engine.Event, opts []engine.AppendOption) (first, last engine.EventID, err error) {
		events = slices.Clone(events)
		for i := range events {
			spoil(&events[i])
		}
		return l.AppendBatch(ctx, topic, events, opts...)
	})
}

// latestOf returns 0 for none.
func latestOf(l *memory.Log, topic engine.Topic) engine.EventID {
	id, _, _ := l.Latest(context.Background(), topic)
	return id
}

// firstOf is latest+1 for none.
func firstOf(l *memory.Log, topic engine.Topic) engine.EventID {
	records, _ := engine.ReadRange(context.Background(), l, topic, 0, 1)
	if len(records) == 0 {
		return latestOf(l, topic) + 1
	}
	return records[0].ID
}

var valueBreakages = []namedBreakage{
	{"folds the case of topics", false, onAppend(func(l *memory.Log, ctx context.Context, topic engine.Topic, events []engine.Event, opts []engine.AppendOption) (first, last engine.EventID, err error) {
		return l.AppendBatch(ctx, engine.MustTopic(strings.ToLower(topic.String())), events, opts...)
	}), []string{"Values/EveryTopicNameIsItsOwnTopic", "Topics/SortedByName", "Reopen/OddTopicsStay"}},
	{"accepts the zero topic", false, onCompact(func(l *memory.Log, ctx context.Context, topic engine.Topic, before engine.EventID) (engine.CompactReport, error) {
		if topic == (engine.Topic{}) {
			return engine.CompactReport{}, nil
		}
		return l.Compact(ctx, topic, before)
	}), []string{"Values/TheZeroTopicIsRefused"}},
	{"accepts the zero consumer", false, onAck(func(l *memory.Log, ctx context.Context, topic engine.Topic, consumer engine.ConsumerID, upTo engine.EventID) error {
		if consumer == (engine.ConsumerID{}) {
			return nil
		}
		return l.Ack(ctx, topic, consumer, upTo)
	}), []string{"Values/TheZeroConsumerIsRefused"}},
	{"escapes consumers into one another", false, func() breakage {
		escape := func(c engine.ConsumerID) engine.ConsumerID {
			return engine.MustConsumerID(strings.NewReplacer("/", "_", ":", "_").Replace(c.String()))
		}
		return breakage{
			ack: func(l *memory.Log, ctx context.Context, topic engine.Topic, consumer engine.ConsumerID, upTo engine.EventID) error {
				return l.Ack(ctx, topic, escape(consumer), upTo)
			},
			cursor: func(l *memory.Log, ctx context.Context, topic engine.Topic, consumer engine.ConsumerID) (engine.EventID, bool, error) {
				return l.Cursor(ctx, topic, escape(consumer))
			},
		}
	}, []string{"Values/ConsumersNeverShareACursor", "Reopen/OddConsumersStay"}},
	{"writes payloads anew", false, spoilEvents(func(e *engine.Event) {
		var v any
		if json.Unmarshal(e.Payload, &v) == nil {
			e.Payload, _ = json.Marshal(v)
		}
	}), []string{"Values/PayloadsAreKeptByteForByte", "Reopen/OddPayloadsStay", "Append/IdsAreDenseInEachTopic"}},
	{"drops white space", false, spoilEvents(func(e *engine.Event) {
		var b bytes.Buffer
		if json.Compact(&b, e.Payload) == nil {
			e.Payload = b.Bytes()
		}
	}), []string{"Values/PayloadsAreKeptByteForByte"}},
	{"takes time 0 for unset", false, spoilEvents(func(e *engine.Event) {
		if e.OccurredAtMS == 0 {
			e.OccurredAtMS = 1
		}
	}), []string{"Values/FieldsAreKept", "Reopen/OddFieldsStay"}},
	{"loses the header with the empty key", false, onRecord(func(r *engine.Record) { delete(r.Headers, "") }), []string{"Values/FieldsAreKept"}},
	{"reads nil headers", false, onRecord(func(r *engine.Record) {
		if len(r.Headers) == 0 {
			r.Headers = nil
		}
	}), []string{"Values/HeadersAreNeverNil"}},
	{"mends invalid text", false, spoilEvents(func(e *engine.Event) { e.Kind = strings.ToValidUTF8(e.Kind, "?") }), []string{"Values/InvalidEventsLeaveNoTrace"}},
	{"burns an id for what it refuses", false, onAppend(func(l *memory.Log, ctx context.Context, topic engine.Topic, events []engine.Event, opts []engine.AppendOption) (first, last engine.EventID, err error) {
		first, last, err = l.AppendBatch(ctx, topic, events, opts...)
		if err != nil && topic != (engine.Topic{}) {
			_, _, _ = l.AppendBatch(context.Background(), topic, []engine.Event{withPayload("null")})
		}
		return first, last, err
	}), []string{"Values/InvalidEventsLeaveNoTrace", "Values/TooLargeEventsLeaveNoTrace", "Values/TooLargeCommitsLeaveNoTrace", "Append/CancelledBeforeWritesNothing", "ExpectLatest/MismatchIsAConflict", "Reopen/RefusalsLeaveNoTrace"}},
	{"writes the good events of a bad batch", false, onAppend(func(l *memory.Log, ctx context.Context, topic engine.Topic, events []engine.Event, opts []engine.AppendOption) (first, last engine.EventID, err error) {
		for i, e := range events {
			last, err = l.Append(ctx, topic, e, opts...)
			if err != nil {
				return 0, 0, err
			}
			if i == 0 {
				first = last
			}
			opts = nil
		}
		return first, last, nil
	}), []string{"Values/InvalidEventsLeaveNoTrace", "Values/TooLargeCommitsLeaveNoTrace"}},
	{"has no limits", false, func() breakage {
		return breakage{options: func(o *memory.Options) { o.MaxEventBytes, o.MaxCommitBytes = 1<<30, 1<<30 }}
	}, []string{"Values/TooLargeEventsLeaveNoTrace", "Values/TooLargeCommitsLeaveNoTrace", "Commit/TooLargeLeavesNoTrace"}},
	{"does not count headers", false, spoilEvents(func(e *engine.Event) {
		if len(e.Payload) < 4<<10 {
			e.Headers, e.Kind = nil, ""
		}
	}), []string{"Values/TooLargeEventsLeaveNoTrace"}},
}

var appendBreakages = []namedBreakage{
	{"counts ids over all topics", false, func() breakage {
		var n engine.EventID
		return breakage{appendBatch: func(l *memory.Log, ctx context.Context, topic engine.Topic, events []engine.Event, opts []engine.AppendOption) (first, last engine.EventID, err error) {
			first, last, err = l.AppendBatch(ctx, topic, events, opts...)
			n += last + 1 - first
			return n - (last - first), n, err
		}}
	}, []string{"Append/IdsAreDenseInEachTopic"}},
	{"turns batches round", false, onAppend(func(l *memory.Log, ctx context.Context, topic engine.Topic, events []engine.Event, opts []engine.AppendOption) (first, last engine.EventID, err error) {
		events = slices.Clone(events)
		slices.Reverse(events)
		return l.AppendBatch(ctx, topic, events, opts...)
	}), []string{"Append/BatchesGetConsecutiveIds", "Append/ConcurrentBatchesAreNotMixed"}},
	{"refuses empty batches", false, onAppend(func(l *memory.Log, ctx context.Context, topic engine.Topic, events []engine.Event, opts []engine.AppendOption) (first, last engine.EventID, err error) {
		if len(events) == 0 {
			return 0, 0, engine.ErrInvalidEvent
		}
		return l.AppendBatch(ctx, topic, events, opts...)
	}), []string{"Append/EmptyBatchWritesNothing"}},
	{"counts positions in each topic", false, onRecord(func(r *engine.Record) { r.Position = uint64(r.ID) }), []string{"Append/PositionsOrderAllTopics", "Reopen/PositionsGoOnRising", "Commit/ChangesSeveralTopicsAtOnce", "Commit/Reopening"}},
	{"keeps the caller's slices", false, func() breakage {
		var mu sync.Mutex
		kept := map[engine.Topic][]engine.Event{}
		return breakage{
			appendBatch: func(l *memory.Log, ctx context.Context, topic engine.Topic, events []engine.Event, opts []engine.AppendOption) (first, last engine.EventID, err error) {
				mu.Lock()
				defer mu.Unlock()
				kept[topic] = append(kept[topic], events...)
				return l.AppendBatch(ctx, topic, events, opts...)
			},
			record: func(r *engine.Record) {
				mu.Lock()
				defer mu.Unlock()
				r.Payload = kept[r.Topic][r.ID-1].Payload
			},
		}
	}, []string{"Append/ArgumentsStayTheCallers"}},
	{"ignores contexts that ended", false, onAppend(func(l *memory.Log, ctx context.Context, topic engine.Topic, events []engine.Event, opts []engine.AppendOption) (first, last engine.EventID, err error) {
		return l.AppendBatch(context.WithoutCancel(ctx), topic, events, opts...)
	}), []string{"Append/CancelledBeforeWritesNothing"}},
	{"hands out an id twice now and then", false, func() breakage {
		var mu sync.Mutex
		n := 0
		return breakage{appendBatch: func(l *memory.Log, ctx context.Context, topic engine.Topic, events []engine.Event, opts []engine.AppendOption) (first, last engine.EventID, err error) {
			mu.Lock()
			defer mu.Unlock()
			first, last, err = l.AppendBatch(ctx, topic, events, opts...)
			if n++; n%50 == 0 {
				return first - 1, last - 1, err
			}
			return first, last, err
		}}
	}, []string{"Append/ConcurrentAppendsGetDenseIds"}},
	{"mixes concurrent batches", false, func() breakage {
		var mu sync.Mutex
		var held engine.Event
		return breakage{appendBatch: func(l *memory.Log, ctx context.Context, topic engine.Topic, events []engine.Event, opts []engine.AppendOption) (first, last engine.EventID, err error) {
			mu.Lock()
			defer mu.Unlock()
			events = slices.Clone(events)
			if held.Payload != nil {
				events[len(events)-1], held = held, events[len(events)-1]
			} else {
				held = events[len(events)-1]
			}
			return l.AppendBatch(ctx, topic, events, opts...)
		}}
	}, []string{"Append/ConcurrentBatchesAreNotMixed"}},
	{"fails to flush", false, func() breakage {
		return breakage{flush: func(*memory.Log, context.Context) error { return engine.ErrIO }}
	}, []string{"Append/FlushKeepsEverything"}},
	{"ignores an expected latest", false, onAppend(func(l *memory.Log, ctx context.Context, topic engine.Topic, events []engine.Event, _ []engine.AppendOption) (first, last engine.EventID, err error) {
		return l.AppendBatch(ctx, topic, events)
	}), []string{"ExpectLatest/MismatchIsAConflict", "ExpectLatest/AnEmptiedTopicIsNotNew", "ExpectLatest/OneOfManyWins"}},
	{"expects the next id", false, onAppend(func(l *memory.Log, ctx context.Context, topic engine.Topic, events []engine.Event, opts []engine.AppendOption) (first, last engine.EventID, err error) {
		if expected := engine.NewAppendConfig(opts).ExpectLatest; expected != nil {
			opts = []engine.AppendOption{engine.ExpectLatest(*expected - 1)}
		}
		return l.AppendBatch(ctx, topic, events, opts...)
	}), []string{"ExpectLatest/MatchAppends"}},
	{"hides the conflict's latest", false, onAppend(func(l *memory.Log, ctx context.Context, topic engine.Topic, events []engine.Event, opts []engine.AppendOption) (first, last engine.EventID, err error) {
		if first, last, err = l.AppendBatch(ctx, topic, events, opts...); errors.Is(err, engine.ErrConflict) {
			err = fmt.Errorf("append to topic %s: %w", topic, engine.ErrConflict)
		}
		return first, last, err
	}), []string{"ExpectLatest/MismatchIsAConflict"}},
}

// without leaves out the records that drop names.
func without(seq records, drop func(r engine.Record) bool) records {
	return func(yield func(engine.Record, error) bool) {
		for r, err := range seq {
			if err == nil && drop(r) {
				continue
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

// stepwise reads one event at a time, by its id.
func stepwise(l *memory.Log, ctx context.Context, topic engine.Topic, opts engine.ReadOptions) records {
	return func(yield func(engine.Record, error) bool) {
		for {
			n := 0
			for r, err := range l.Read(ctx, topic, engine.ReadOptions{After: opts.After, Limit: 1}) {
				n++
				if !yield(r, err) || err != nil {
					return
				}
				opts.After = r.ID
			}
			if n == 0 || opts.Limit == 1 {
				return
			}
			opts.Limit--
		}
	}
}

var readBreakages = []namedBreakage{
	{"starts at the given id", false, onRead(func(l *memory.Log, ctx context.Context, topic engine.Topic, opts engine.ReadOptions) records {
		opts.After = max(opts.After, 1) - 1
		return l.Read(ctx, topic, opts)
	}), []string{"Read/BoundsSelectTheRange"}},
	{"takes limit 0 for one", false, onRead(func(l *memory.Log, ctx context.Context, topic engine.Topic, opts engine.ReadOptions) records {
		opts.Limit = max(opts.Limit, 1)
		return l.Read(ctx, topic, opts)
	}), []string{"Read/BoundsSelectTheRange", "Read/ReadRangeLimitZeroReturnsNone"}},
	{"makes the topics it reads", false, onRead(func(l *memory.Log, ctx context.Context, topic engine.Topic, opts engine.ReadOptions) records {
		if topic != (engine.Topic{}) && latestOf(l, topic) == 0 {
			_, _ = l.Append(ctx, topic, withPayload("null"))
		}
		return l.Read(ctx, topic, opts)
	}), []string{"Read/UnknownTopicIsEmptyAndNotMade", "Reopen/NothingStaysNothing", "Compact/UnknownTopicGivesAZeroReport"}},
	{"reads what was there a moment ago", false, onRead(func(l *memory.Log, ctx context.Context, topic engine.Topic, opts engine.ReadOptions) records {
		latest := latestOf(l, topic)
		return without(l.Read(ctx, topic, opts), func(r engine.Record) bool { return r.ID == latest })
	}), []string{"Read/AppendsAreSeenOnceAcknowledged", "Read/ManyReadersBesideAppends"}},
	{"reads on while there is more", false, onRead(stepwise), []string{"Read/EndsWhereTheTopicEndedAtItsStart", "Compact/RunningReadsAreNeverWrong"}},
	{"loses the first event of a block", false, onRead(func(l *memory.Log, ctx context.Context, topic engine.Topic, opts engine.ReadOptions) records {
		return without(l.Read(ctx, topic, opts), func(r engine.Record) bool { return r.ID%1024 == 0 })
	}), []string{"Read/LongTopicsAreReadWhole", "Compact/LongTopics", "Reopen/EventsStay", "Reopen/CompactionStays"}},
	{"holds a lock for each read that was left", false, func() breakage {
		left := 0
		return breakage{
			read: func(l *memory.Log, ctx context.Context, topic engine.Topic, opts engine.ReadOptions) records {
				left++
				return l.Read(ctx, topic, opts)
			},
			compact: func(l *memory.Log, ctx context.Context, topic engine.Topic, before engine.EventID) (engine.CompactReport, error) {
				if left > 100 {
					return engine.CompactReport{}, engine.ErrLocked
				}
				return l.Compact(ctx, topic, before)
			},
		}
	}, []string{"Read/StoppingEarlyReleases"}},
	{"hands the same record to all", false, func() breakage {
		var mu sync.Mutex
		cache := map[engine.EventID]engine.Record{}
		return breakage{record: func(r *engine.Record) {
			mu.Lock()
			defer mu.Unlock()
			if c, ok := cache[r.ID]; ok {
				*r = c
			}
			cache[r.ID] = *r
		}}
	}, []string{"Read/RecordsBelongToTheCaller", "Subscribe/RecordsBelongToTheCaller"}},
	{"cuts payloads out of one buffer", false, func() breakage {
		var mu sync.Mutex
		buf := make([]byte, 0, 1<<20)
		return breakage{record: func(r *engine.Record) {
			mu.Lock()
			defer mu.Unlock()
			start := len(buf)
			buf = append(buf, r.Payload...)
			r.Payload = buf[start:] // with all the capacity behind it
		}}
	}, []string{"Read/RecordsBelongToTheCaller"}},
	{"reads on under a context that ended", false, onRead(func(l *memory.Log, ctx context.Context, topic engine.Topic, opts engine.ReadOptions) records {
		return l.Read(context.WithoutCancel(ctx), topic, opts)
	}), []string{"Read/CancelledContextEndsIt"}},
}

// catchUp reads on from the log whatever happens, with no word of what was
// compacted.
func catchUp(l *memory.Log, ctx context.Context, topic engine.Topic, opts engine.SubscribeOptions) records {
	seq := l.Subscribe(ctx, topic, opts)
	last := opts.After
	return func(yield func(engine.Record, error) bool) {
		for {
			again := false
			for r, err := range seq {
				var lagged *engine.LaggedError
				if errors.As(err, &lagged) {
					opts.After = max(lagged.LastID, max(lagged.First, 1)-1)
					again = true
					break
				}
				if err == nil {
					last = r.ID
				}
				if !yield(r, err) {
					return
				}
			}
			if !again {
				return
			}
			opts.After = max(opts.After, last)
			seq = l.Subscribe(ctx, topic, opts)
		}
	}
}

// changeErr passes errors of a sequence through change; nil takes it away.
func changeErr(seq records, change func(err error) error) records {
	return func(yield func(engine.Record, error) bool) {
		for r, err := range seq {
			if err != nil {
				if err = change(err); err == nil {
					return
				}
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

var subscribeBreakages = []namedBreakage{
	{"delivers history only", false, onSubscribe(func(l *memory.Log, ctx context.Context, topic engine.Topic, opts engine.SubscribeOptions) records {
		return l.Read(ctx, topic, engine.ReadOptions{After: opts.After})
	}), []string{"Subscribe/HistoryComesFirstThenLive", "Subscribe/NoGapNoDuplicateBesideAppends", "Subscribe/RangingAgainGoesOn", "Subscribe/ContextEndsIt", "Close/EndsSubscriptions"}},
	{"delivers all history", false, onSubscribe(func(l *memory.Log, ctx context.Context, topic engine.Topic, opts engine.SubscribeOptions) records {
		opts.After = 0
		return l.Subscribe(ctx, topic, opts)
	}), []string{"Subscribe/StartsAfterTheGivenID", "Subscribe/RangingAgainGoesOn", "Lag/CompactedBeforeTheCallIsNoLag"}},
	{"does not see a topic that comes later", true, onSubscribe(func(l *memory.Log, ctx context.Context, topic engine.Topic, opts engine.SubscribeOptions) records {
		if topic != (engine.Topic{}) && latestOf(l, topic) == 0 {
			topic = engine.MustTopic("nowhere")
		}
		return l.Subscribe(ctx, topic, opts)
	}), []string{"Subscribe/WaitsForATopicThatIsNotThereYet"}},
	{"delivers another topic's events", false, onSubscribe(func(l *memory.Log, ctx context.Context, topic engine.Topic, opts engine.SubscribeOptions) records {
		return l.Subscribe(ctx, engine.MustTopic("other"), opts)
	}), []string{"Subscribe/SeesItsTopicOnly"}},
	{"delivers the seam between history and live twice", false, onSubscribe(func(l *memory.Log, ctx context.Context, topic engine.Topic, opts engine.SubscribeOptions) records {
		latest := latestOf(l, topic)
		seq := l.Subscribe(ctx, topic, opts)
		return func(yield func(engine.Record, error) bool) {
			for r, err := range seq {
				if !yield(r, err) {
					return
				}
				if err == nil && r.ID == latest && !yield(r, nil) {
					return
				}
			}
		}
	}), []string{"Subscribe/NoGapNoDuplicateBesideAppends", "Subscribe/HistoryComesFirstThenLive"}},
	{"loses the seam between history and live", true, onSubscribe(func(l *memory.Log, ctx context.Context, topic engine.Topic, opts engine.SubscribeOptions) records {
		latest := latestOf(l, topic)
		return without(l.Subscribe(ctx, topic, opts), func(r engine.Record) bool { return r.ID == latest+1 })
	}), []string{"Subscribe/NoGapNoDuplicateBesideAppends", "Subscribe/HistoryComesFirstThenLive"}},
	{"starts anew when ranged over again", true, onSubscribe(func(l *memory.Log, ctx context.Context, topic engine.Topic, opts engine.SubscribeOptions) records {
		return func(yield func(engine.Record, error) bool) { l.Subscribe(ctx, topic, opts)(yield) }
	}), []string{"Subscribe/RangingAgainGoesOn", "Lag/FailCountsFromTheCall", "Lag/OvertakenBeforeTheFirstIteration"}},
	{"ends in silence with its context", false, onSubscribe(func(l *memory.Log, ctx context.Context, topic engine.Topic, opts engine.SubscribeOptions) records {
		return changeErr(l.Subscribe(ctx, topic, opts), func(err error) error {
			if errors.Is(err, context.Canceled) {
				return nil
			}
			return err
		})
	}), []string{"Subscribe/ContextEndsIt", "Subscribe/StartsAfterTheGivenID"}},
	{"goes on when its context ends", true, onSubscribe(func(l *memory.Log, ctx context.Context, topic engine.Topic, opts engine.SubscribeOptions) records {
		return l.Subscribe(context.WithoutCancel(ctx), topic, opts)
	}), []string{"Subscribe/ContextEndsIt"}},
	{"counts those who left", false, func() breakage {
		left := 0
		return breakage{
			subscribe: func(l *memory.Log, ctx context.Context, topic engine.Topic, opts engine.SubscribeOptions) records {
				left++
				return l.Subscribe(ctx, topic, opts)
			},
			appendBatch: func(l *memory.Log, ctx context.Context, topic engine.Topic, events []engine.Event, opts []engine.AppendOption) (first, last engine.EventID, err error) {
				if left > 100 {
					return 0, 0, engine.ErrFailed
				}
				return l.AppendBatch(ctx, topic, events, opts...)
			},
		}
	}, []string{"Subscribe/LeavingReleases"}},
}

// describing is a breakage that has another queue depth than it says.
func describing(more int, lag func(opts *engine.SubscribeOptions)) func() breakage {
	return func() breakage {
		return breakage{
			describe: func(l *memory.Log, ctx context.Context) (engine.Description, error) {
				d, err := l.Describe(ctx)
				d.QueueDepth += more
				return d, err
			},
			subscribe: func(l *memory.Log, ctx context.Context, topic engine.Topic, opts engine.SubscribeOptions) records {
				lag(&opts)
				return l.Subscribe(ctx, topic, opts)
			},
		}
	}
}

func asGiven(*engine.SubscribeOptions) {}

var lagBreakages = []namedBreakage{
	{"holds one event less than it says", false, describing(1, asGiven), []string{"Lag/FailHoldsQueueDepthEvents", "Lag/FailCountsFromTheCall", "Lag/FailDoesNotCountWhatWasDelivered"}},
	{"holds one event more than it says", true, describing(-1, asGiven), []string{"Lag/FailEndsWhenTheQueueOverflows", "Lag/FailOverflowsByOneBatch"}},
	{"never fails for lag", true, describing(0, func(opts *engine.SubscribeOptions) { opts.Lag = engine.LagCatchUp }), []string{"Lag/FailEndsWhenTheQueueOverflows", "Lag/FailOverflowsByOneBatch", "Lag/FailCountsFromTheCall"}},
	{"always fails for lag", false, describing(0, func(opts *engine.SubscribeOptions) { opts.Lag = engine.LagFail }), []string{"Lag/CatchUpReadsOn"}},
	{"tells nobody of its lag", false, onSubscribe(func(l *memory.Log, ctx context.Context, topic engine.Topic, opts engine.SubscribeOptions) records {
		return changeErr(l.Subscribe(ctx, topic, opts), func(err error) error {
			if errors.Is(err, engine.ErrLagged) {
				return nil
			}
			return err
		})
	}), []string{"Lag/FailEndsWhenTheQueueOverflows", "Lag/FailOverflowsByOneBatch", "Lag/OvertakenByCompactionIsNeverAGap", "Lag/OvertakenBeforeTheFirstIteration", "Lag/OvertakenByEmptying"}},
	{"does not know where it lagged", false, onSubscribe(func(l *memory.Log, ctx context.Context, topic engine.Topic, opts engine.SubscribeOptions) records {
		return changeErr(l.Subscribe(ctx, topic, opts), func(err error) error {
			if errors.Is(err, engine.ErrLagged) {
				return &engine.LaggedError{}
			}
			return err
		})
	}), []string{"Lag/FailEndsWhenTheQueueOverflows", "Lag/OvertakenByCompactionIsNeverAGap", "Lag/OvertakenByEmptying"}},
	{"delivers what was queued before it says that it lagged", false, func() breakage {
		return breakage{subscribe: func(l *memory.Log, ctx context.Context, topic engine.Topic, opts engine.SubscribeOptions) records {
			seq := l.Subscribe(ctx, topic, opts)
			return func(yield func(engine.Record, error) bool) {
				for r, err := range seq {
					var lagged *engine.LaggedError
					if errors.As(err, &lagged) && lagged.First == 0 {
						for queued := range l.Read(ctx, topic, engine.ReadOptions{After: lagged.LastID, Limit: 128}) {
							lagged.LastID = queued.ID
							if !yield(queued, nil) {
								return
							}
						}
					}
					if !yield(r, err) {
						return
					}
				}
			}
		}}
	}, []string{"Lag/FailEndsWhenTheQueueOverflows", "Lag/FailOverflowsByOneBatch", "Lag/FailCountsFromTheCall"}},
	{"jumps over what was compacted", true, onSubscribe(catchUp), []string{"Lag/OvertakenByCompactionIsNeverAGap", "Lag/OvertakenBeforeTheFirstIteration", "Lag/OvertakenByEmptying"}},
	{"takes any compaction for lag", false, func() breakage {
		var mu sync.Mutex
		compacted := map[engine.Topic]engine.EventID{}
		return breakage{
			compact: func(l *memory.Log, ctx context.Context, topic engine.Topic, before engine.EventID) (engine.CompactReport, error) {
				mu.Lock()
				defer mu.Unlock()
				compacted[topic] = before
				return l.Compact(ctx, topic, before)
			},
			subscribe: func(l *memory.Log, ctx context.Context, topic engine.Topic, opts engine.SubscribeOptions) records {
				seq := l.Subscribe(ctx, topic, opts)
				return func(yield func(engine.Record, error) bool) {
					for r, err := range seq {
						mu.Lock()
						before := compacted[topic]
						mu.Unlock()
						if before > opts.After {
							yield(engine.Record{}, &engine.LaggedError{LastID: opts.After, First: before + 1})
							return
						}
						if !yield(r, err) {
							return
						}
					}
				}
			},
		}
	}, []string{"Lag/CompactionOfWhatWasDeliveredIsNoLag", "Lag/CompactedBeforeTheCallIsNoLag"}},
}

var cursorBreakages = []namedBreakage{
	{"has a cursor for everybody", false, onCursor(func(l *memory.Log, ctx context.Context, topic engine.Topic, consumer engine.ConsumerID) (engine.EventID, bool, error) {
		id, _, err := l.Cursor(ctx, topic, consumer)
		return id, true, err
	}), []string{"Cursor/NoneAtFirst", "Reopen/CursorsStay"}},
	{"takes cursor 0 for none", false, onCursor(func(l *memory.Log, ctx context.Context, topic engine.Topic, consumer engine.ConsumerID) (engine.EventID, bool, error) {
		id, _, err := l.Cursor(ctx, topic, consumer)
		return id, id > 0, err
	}), []string{"Cursor/ZeroIsAcceptedOnAnUnknownTopic", "Cursor/LastWriteWins"}},
	{"never rewinds a cursor", false, onAck(func(l *memory.Log, ctx context.Context, topic engine.Topic, consumer engine.ConsumerID, upTo engine.EventID) error {
		if id, ok, _ := l.Cursor(ctx, topic, consumer); ok && upTo < id {
			return nil
		}
		return l.Ack(ctx, topic, consumer, upTo)
	}), []string{"Cursor/LastWriteWins", "Reopen/CursorsStay"}},
	{"accepts acks beyond latest", false, onAck(func(l *memory.Log, ctx context.Context, topic engine.Topic, consumer engine.ConsumerID, upTo engine.EventID) error {
		return l.Ack(ctx, topic, consumer, min(upTo, latestOf(l, topic)))
	}), []string{"Cursor/BeyondLatestIsRefused", "Reopen/RefusalsLeaveNoTrace"}},
	{"refuses acks below the first event", false, onAck(func(l *memory.Log, ctx context.Context, topic engine.Topic, consumer engine.ConsumerID, upTo engine.EventID) error {
		if upTo+1 < firstOf(l, topic) {
			return &engine.CompactedError{}
		}
		return l.Ack(ctx, topic, consumer, upTo)
	}), []string{"Cursor/SurvivesCompaction"}},
	{"makes the topics it acks", false, onAck(func(l *memory.Log, ctx context.Context, topic engine.Topic, consumer engine.ConsumerID, upTo engine.EventID) error {
		if err := l.Ack(ctx, topic, consumer, upTo); err != nil || latestOf(l, topic) > 0 {
			return err
		}
		_, err := l.Append(ctx, topic, withPayload("null"))
		return err
	}), []string{"Cursor/ZeroIsAcceptedOnAnUnknownTopic"}},
	{"loses an ack now and then", false, func() breakage {
		return breakage{ack: func(l *memory.Log, ctx context.Context, topic engine.Topic, consumer engine.ConsumerID, upTo engine.EventID) error {
			if consumer.String() == "d" && upTo == eachAppends-3 {
				return nil
			}
			return l.Ack(ctx, topic, consumer, upTo)
		}}
	}, []string{"Cursor/ConcurrentAcks"}},
}

var topicsBreakages = []namedBreakage{
	{"sorts topics without case", false, func() breakage {
		return breakage{topics: func(l *memory.Log, ctx context.Context) ([]engine.Topic, error) {
			topics, err := l.Topics(ctx)
			slices.SortStableFunc(topics, func(a, b engine.Topic) int {
				return strings.Compare(strings.ToLower(a.String()), strings.ToLower(b.String()))
			})
			return topics, err
		}}
	}, []string{"Topics/SortedByName"}},
	{"forgets emptied topics", false, func() breakage {
		return breakage{topics: func(l *memory.Log, ctx context.Context) ([]engine.Topic, error) {
			topics, err := l.Topics(ctx)
			return slices.DeleteFunc(topics, func(t engine.Topic) bool { return firstOf(l, t) > latestOf(l, t) }), err
		}}
	}, []string{"Topics/EmptiedTopicsStay", "Reopen/LatestOfAnEmptiedTopicStays"}},
	{"forgets the latest id of emptied topics", false, onLatest(func(l *memory.Log, ctx context.Context, topic engine.Topic) (engine.EventID, bool, error) {
		id, ok, err := l.Latest(ctx, topic)
		if ok && firstOf(l, topic) > id {
			return 0, false, nil
		}
		return id, ok, err
	}), []string{"Topics/LatestNeverGoesBack", "Reopen/LatestOfAnEmptiedTopicStays"}},
	{"does not say what it is", false, func() breakage {
		return breakage{describe: func(*memory.Log, context.Context) (engine.Description, error) {
			return engine.Description{QueueDepth: 1}, nil
		}}
	}, []string{"Topics/DescribeTellsTheKind"}},
	{"does not say how large it is", false, func() breakage {
		return breakage{describe: func(*memory.Log, context.Context) (engine.Description, error) {
			return engine.Description{Backend: engine.BackendFile, Location: "x", QueueDepth: 1}, nil
		}}
	}, []string{"Topics/DescribeTellsTheKind"}},
	{"tells its topics whatever the context", false, func() breakage {
		return breakage{topics: func(l *memory.Log, ctx context.Context) ([]engine.Topic, error) {
			return l.Topics(context.WithoutCancel(ctx))
		}}
	}, []string{"Topics/EveryCallEndsWithItsContext"}},
	{"does not say where it is", false, func() breakage {
		return breakage{describe: func(*memory.Log, context.Context) (engine.Description, error) {
			return engine.Description{Backend: engine.BackendFile, QueueDepth: 1}, nil
		}}
	}, []string{"Topics/DescribeTellsTheKind"}},
}

var compactBreakages = []namedBreakage{
	{"keeps the event at the bound", false, onCompact(func(l *memory.Log, ctx context.Context, topic engine.Topic, before engine.EventID) (engine.CompactReport, error) {
		return l.Compact(ctx, topic, max(before, 1)-1)
	}), []string{"Compact/RemovesExactlyUpTo", "Compact/EmptiesATopic", "Compact/ReadsStartAtTheFirstLeft", "Compact/RacingReadersAndAppends"}},
	{"removes whole blocks only", false, onCompact(func(l *memory.Log, ctx context.Context, topic engine.Topic, before engine.EventID) (engine.CompactReport, error) {
		if before < latestOf(l, topic) {
			before -= before % 50
		}
		return l.Compact(ctx, topic, before)
	}), []string{"Compact/LongTopics", "Compact/RemovesExactlyUpTo", "Reopen/CompactionStays"}},
	{"counts what remains wrongly", false, onCompact(func(l *memory.Log, ctx context.Context, topic engine.Topic, before engine.EventID) (engine.CompactReport, error) {
		r, err := l.Compact(ctx, topic, before)
		r.Remaining++
		return r, err
	}), []string{"Compact/RemovesExactlyUpTo", "Compact/RacingReadersAndAppends"}},
	{"reports a latest for unknown topics", false, onCompact(func(l *memory.Log, ctx context.Context, topic engine.Topic, before engine.EventID) (engine.CompactReport, error) {
		r, err := l.Compact(ctx, topic, before)
		if err == nil && r.Latest == nil {
			r.Latest = new(engine.EventID)
		}
		return r, err
	}), []string{"Compact/UnknownTopicGivesAZeroReport"}},
	{"takes high bounds for negative ones", false, onCompact(func(l *memory.Log, ctx context.Context, topic engine.Topic, before engine.EventID) (engine.CompactReport, error) {
		if before > math.MaxInt64 {
			before = 0
		}
		return l.Compact(ctx, topic, before)
	}), []string{"Compact/BoundsAreClamped"}},
	{"compacts all topics", false, onCompact(func(l *memory.Log, ctx context.Context, topic engine.Topic, before engine.EventID) (engine.CompactReport, error) {
		topics, _ := l.Topics(ctx)
		for _, other := range topics {
			if other != topic {
				_, _ = l.Compact(ctx, other, before)
			}
		}
		return l.Compact(ctx, topic, before)
	}), []string{"Compact/OtherTopicsStay"}},
	{"refuses to read from below the first event", false, onRead(func(l *memory.Log, ctx context.Context, topic engine.Topic, opts engine.ReadOptions) records {
		first := firstOf(l, topic)
		if opts.After+1 >= first {
			return l.Read(ctx, topic, opts)
		}
		return func(yield func(engine.Record, error) bool) {
			yield(engine.Record{}, &engine.CompactedError{First: first})
		}
	}), []string{"Compact/ReadsStartAtTheFirstLeft", "Compact/EmptiesATopic"}},
	{"forgets cursors of emptied topics", false, onCursor(func(l *memory.Log, ctx context.Context, topic engine.Topic, consumer engine.ConsumerID) (engine.EventID, bool, error) {
		if latest := latestOf(l, topic); latest > 0 && firstOf(l, topic) > latest {
			return 0, false, nil
		}
		return l.Cursor(ctx, topic, consumer)
	}), []string{"Cursor/SurvivesCompaction"}},
}

var closeBreakages = []namedBreakage{
	{"fails to close twice", false, func() breakage {
		return breakage{close: func(l *memory.Log) error {
			if err := l.Flush(context.Background()); err != nil {
				return err
			}
			return l.Close()
		}}
	}, []string{"Close/TwiceIsHarmless"}},
	{"tells the latest id when closed", false, onLatest(func(l *memory.Log, _ context.Context, topic engine.Topic) (engine.EventID, bool, error) {
		return l.Clone().Latest(context.Background(), topic)
	}), []string{"Close/EverythingAfterItFails"}},
	{"ends subscriptions in silence when closed", false, onSubscribe(func(l *memory.Log, ctx context.Context, topic engine.Topic, opts engine.SubscribeOptions) records {
		return changeErr(l.Subscribe(ctx, topic, opts), func(err error) error {
			if errors.Is(err, engine.ErrClosed) {
				return nil
			}
			return err
		})
	}), []string{"Close/EndsSubscriptions", "Close/EverythingAfterItFails"}},
	{"fails appends when closed as if the disk had", false, onAppend(func(l *memory.Log, ctx context.Context, topic engine.Topic, events []engine.Event, opts []engine.AppendOption) (first, last engine.EventID, err error) {
		if first, last, err = l.AppendBatch(ctx, topic, events, opts...); errors.Is(err, engine.ErrClosed) {
			err = engine.ErrIO
		}
		return first, last, err
	}), []string{"Close/RacingAppendsAreWholeOrRefused", "Close/EverythingAfterItFails"}},
}

var reopenBreakages = []namedBreakage{
	{"comes back with an event that nobody appended", false, func() breakage {
		return breakage{reopened: func(l *memory.Log) { _, _ = l.Append(context.Background(), jobs, withPayload("null")) }}
	}, []string{"Reopen/EventsStay", "Reopen/NothingStaysNothing", "Reopen/RefusalsLeaveNoTrace"}},
	{"comes back with compacted topics emptied", false, func() breakage {
		return breakage{reopened: func(l *memory.Log) {
			if firstOf(l, jobs) > 1 {
				_, _ = l.Compact(context.Background(), jobs, math.MaxUint64)
			}
		}}
	}, []string{"Reopen/CompactionStays"}},
	{"comes back with all cursors at their highest", false, func() breakage {
		return breakage{reopened: func(l *memory.Log) {
			_ = l.Ack(context.Background(), jobs, engine.MustConsumerID("rewound"), 5)
		}}
	}, []string{"Reopen/CursorsStay"}},
	{"comes back with an old cursor after a commit", false, func() breakage {
		return breakage{reopened: func(l *memory.Log) {
			_ = l.Ack(context.Background(), inbox, engine.MustConsumerID("c"), 0)
		}}
	}, []string{"Commit/Reopening"}},
}

// split carries out a batch one change at a time.
func split(l *memory.Log, ctx context.Context, b *engine.Batch) (engine.Committed, error) {
	var all engine.Committed
	for _, op := range b.Ops() {
		var one engine.Batch
		switch op.Kind {
		case engine.OpAppend:
			one.Append(op.Topic, op.Events...)
		case engine.OpAck:
			one.Ack(op.Topic, op.Consumer, op.ID)
		case engine.OpExpect:
			one.ExpectLatest(op.Topic, op.ID)
		}
		done, err := l.Commit(ctx, &one)
		if err != nil {
			return engine.Committed{}, err
		}
		if all.Position == 0 {
			all.Position = done.Position
		}
		all.Appended = append(all.Appended, done.Appended...)
	}
	return all, nil
}

var commitBreakages = []namedBreakage{
	{"carries out a batch one by one", false, onCommit(split), []string{"Commit/RefusalsLeaveNoTrace", "Commit/TooLargeLeavesNoTrace", "Commit/ExpectsLatestFromBeforeTheBatch", "Commit/ClosedLogRefuses"}},
	{"shows a batch bit by bit", false, func() breakage {
		// The readers of the rule see the state between two changes.
		var mu sync.Mutex
		half := map[engine.Topic]engine.EventID{}
		return breakage{
			commit: func(l *memory.Log, ctx context.Context, b *engine.Batch) (engine.Committed, error) {
				done, err := l.Commit(ctx, b)
				mu.Lock()
				defer mu.Unlock()
				for _, r := range done.Appended {
					half[r.Topic] = r.Last
				}
				return done, err
			},
			read: func(l *memory.Log, ctx context.Context, topic engine.Topic, opts engine.ReadOptions) records {
				mu.Lock()
				latest := half[topic]
				mu.Unlock()
				return without(l.Read(ctx, topic, opts), func(r engine.Record) bool { return r.ID > latest-1 })
			},
		}
	}, []string{"Commit/IsVisibleAtOnce"}},
	{"refuses empty batches of changes", false, onCommit(func(l *memory.Log, ctx context.Context, b *engine.Batch) (engine.Committed, error) {
		if len(b.Ops()) == 0 {
			return engine.Committed{}, engine.ErrInvalidEvent
		}
		return l.Commit(ctx, b)
	}), []string{"Commit/AnEmptyBatchWritesNothing"}},
	{"commits under a context that ended", false, onCommit(func(l *memory.Log, ctx context.Context, b *engine.Batch) (engine.Committed, error) {
		return l.Commit(context.WithoutCancel(ctx), b)
	}), []string{"Commit/CancelledBeforeWritesNothing"}},
	{"keeps the slices of a batch", false, func() breakage {
		var kept []engine.Event
		return breakage{
			commit: func(l *memory.Log, ctx context.Context, b *engine.Batch) (engine.Committed, error) {
				for _, op := range b.Ops() {
					for _, e := range op.Events {
						e.Headers = maps.Clone(e.Headers)
						kept = append(kept, e)
					}
				}
				return l.Commit(ctx, b)
			},
			record: func(r *engine.Record) { r.Event = kept[r.ID-1] },
		}
	}, []string{"Commit/ArgumentsStayTheCallers"}},
	{"mistakes the ranges of a batch", false, onCommit(func(l *memory.Log, ctx context.Context, b *engine.Batch) (engine.Committed, error) {
		done, err := l.Commit(ctx, b)
		slices.Reverse(done.Appended)
		return done, err
	}), []string{"Commit/ChangesSeveralTopicsAtOnce"}},
}

var rawBreakages = []namedBreakage{
	{"lends other bytes", false, func() breakage {
		return breakage{raw: func(r *engine.RawRecord) {
			if utf8.Valid(r.Payload) {
				r.Payload = bytes.ReplaceAll(r.Payload, []byte(" "), nil)
			}
		}}
	}, []string{"Raw/SameAsRead"}},
	{"lends after closing", false, func() breakage { return breakage{rawClosed: true} }, []string{"Raw/CloseEndsIt"}},
}

var consumersBreakages = []namedBreakage{
	{"lists consumers in any order", false, func() breakage {
		return breakage{consumers: func(l *memory.Log, ctx context.Context, topic engine.Topic) ([]engine.ConsumerInfo, error) {
			infos, err := l.Consumers(ctx, topic)
			slices.Reverse(infos)
			return infos, err
		}}
	}, []string{"Consumers/ListedByID"}},
	{"counts lag from the first event", false, func() breakage {
		return breakage{consumers: func(l *memory.Log, ctx context.Context, topic engine.Topic) ([]engine.ConsumerInfo, error) {
			infos, err := l.Consumers(ctx, topic)
			for i := range infos {
				infos[i].Lag = uint64(latestOf(l, topic))
			}
			return infos, err
		}}
	}, []string{"Consumers/ListedByID", "Consumers/StayAfterReopening"}},
	{"rewinds instead of deleting a cursor", false, func() breakage {
		return breakage{forget: func(l *memory.Log, ctx context.Context, topic engine.Topic, consumer engine.ConsumerID) error {
			return l.Ack(ctx, topic, consumer, 0)
		}}
	}, []string{"Consumers/DeletedCursorsAreGone", "Consumers/StayAfterReopening"}},
	{"tells the time of the last look for that of the ack", false, func() breakage {
		return breakage{consumers: func(l *memory.Log, ctx context.Context, topic engine.Topic) ([]engine.ConsumerInfo, error) {
			infos, err := l.Consumers(ctx, topic)
			for i := range infos {
				infos[i].AckedAt = infos[i].AckedAt.Add(time.Hour)
			}
			return infos, err
		}}
	}, []string{"Consumers/TellTheTimeOfTheAck", "Restore/CursorsKeepTheirTime", "Restore/StayAfterReopening"}},
	{"forgets nothing and says nothing", false, func() breakage {
		return breakage{forget: func(*memory.Log, context.Context, engine.Topic, engine.ConsumerID) error { return nil }}
	}, []string{"Consumers/DeletedCursorsAreGone", "Consumers/BadCallsAreRefused"}},
}

func onRestore(h func(l *memory.Log, ctx context.Context, topic engine.Topic, latest engine.EventID) error) func() breakage {
	return func() breakage { return breakage{restore: h} }
}

func onSetCursor(h func(l *memory.Log, ctx context.Context, topic engine.Topic, consumer engine.ConsumerID, upTo engine.EventID, at time.Time) error) func() breakage {
	return func() breakage { return breakage{setCursor: h} }
}

var restoreBreakages = []namedBreakage{
	{"restores nothing", false, onRestore(func(l *memory.Log, ctx context.Context, topic engine.Topic, latest engine.EventID) error {
		return nil
	}), []string{"Restore/AppendsGoOnBehindTheLatest", "Restore/TopicsThatHadEventsAreAConflict", "Restore/BadCallsAreRefused", "Restore/StayAfterReopening"}},
	{"restores up to the event before", false, onRestore(func(l *memory.Log, ctx context.Context, topic engine.Topic, latest engine.EventID) error {
		return l.RestoreTopic(ctx, topic, latest-min(latest, 1))
	}), []string{"Restore/AppendsGoOnBehindTheLatest", "Restore/StayAfterReopening"}},
	{"restores with an event to read", false, onRestore(func(l *memory.Log, ctx context.Context, topic engine.Topic, latest engine.EventID) error {
		if latest == 0 {
			return l.RestoreTopic(ctx, topic, latest)
		}
		err := l.RestoreTopic(ctx, topic, latest-1)
		if err == nil {
			_, err = l.Append(ctx, topic, withPayload("null"))
		}
		return err
	}), []string{"Restore/AppendsGoOnBehindTheLatest", "Restore/StayAfterReopening"}},
	{"restores over events", false, onRestore(func(l *memory.Log, ctx context.Context, topic engine.Topic, latest engine.EventID) error {
		err := l.RestoreTopic(ctx, topic, latest)
		if errors.Is(err, engine.ErrConflict) {
			_, err = l.Compact(ctx, topic, latest)
		}
		return err
	}), []string{"Restore/TopicsThatHadEventsAreAConflict"}},
	{"takes an emptied topic for a new one", false, onRestore(func(l *memory.Log, ctx context.Context, topic engine.Topic, latest engine.EventID) error {
		err := l.RestoreTopic(ctx, topic, latest)
		if errors.Is(err, engine.ErrConflict) && firstOf(l, topic) > latestOf(l, topic) {
			return nil
		}
		return err
	}), []string{"Restore/TopicsThatHadEventsAreAConflict"}},
	{"hides the latest of a topic that it does not restore", false, onRestore(func(l *memory.Log, ctx context.Context, topic engine.Topic, latest engine.EventID) error {
		err := l.RestoreTopic(ctx, topic, latest)
		if errors.Is(err, engine.ErrConflict) {
			return fmt.Errorf("restore topic %s: %w", topic, &engine.ConflictError{})
		}
		return err
	}), []string{"Restore/TopicsThatHadEventsAreAConflict"}},
	{"makes a topic of nothing", false, onRestore(func(l *memory.Log, ctx context.Context, topic engine.Topic, latest engine.EventID) error {
		return l.RestoreTopic(ctx, topic, max(latest, 1))
	}), []string{"Restore/LatestZeroDoesNothing"}},
	{"restores under a context that ended", false, onRestore(func(l *memory.Log, ctx context.Context, topic engine.Topic, latest engine.EventID) error {
		return l.RestoreTopic(context.WithoutCancel(ctx), topic, latest)
	}), []string{"Restore/BadCallsAreRefused"}},
	{"stamps restored cursors itself", false, onSetCursor(func(l *memory.Log, ctx context.Context, topic engine.Topic, consumer engine.ConsumerID, upTo engine.EventID, _ time.Time) error {
		return l.Ack(ctx, topic, consumer, upTo)
	}), []string{"Restore/CursorsKeepTheirTime", "Restore/StayAfterReopening"}},
	{"keeps the seconds of a restored cursor", false, onSetCursor(func(l *memory.Log, ctx context.Context, topic engine.Topic, consumer engine.ConsumerID, upTo engine.EventID, at time.Time) error {
		return l.RestoreCursor(ctx, topic, consumer, upTo, at.Truncate(time.Second))
	}), []string{"Restore/CursorsKeepTheirTime", "Restore/StayAfterReopening"}},
	{"restores cursors beyond latest", false, onSetCursor(func(l *memory.Log, ctx context.Context, topic engine.Topic, consumer engine.ConsumerID, upTo engine.EventID, at time.Time) error {
		return l.RestoreCursor(ctx, topic, consumer, min(upTo, latestOf(l, topic)), at)
	}), []string{"Restore/CursorsKeepTheirTime"}},
	{"restores cursors of nobody", false, onSetCursor(func(l *memory.Log, ctx context.Context, topic engine.Topic, consumer engine.ConsumerID, upTo engine.EventID, at time.Time) error {
		if consumer == (engine.ConsumerID{}) {
			return nil
		}
		return l.RestoreCursor(ctx, topic, consumer, upTo, at)
	}), []string{"Restore/BadCallsAreRefused"}},
	{"never rewinds when it restores", false, onSetCursor(func(l *memory.Log, ctx context.Context, topic engine.Topic, consumer engine.ConsumerID, upTo engine.EventID, at time.Time) error {
		if id, ok, _ := l.Cursor(ctx, topic, consumer); ok && upTo < id {
			return nil
		}
		return l.RestoreCursor(ctx, topic, consumer, upTo, at)
	}), []string{"Restore/CursorsKeepTheirTime"}},
}

func onBeside(h func(l *memory.Log, readOnly bool) (engine.EventLog, error)) func() breakage {
	return func() breakage { return breakage{beside: h} }
}

// unclosed is a log that one of several who share it cannot close.
type unclosed struct{ *memory.Log }

func (unclosed) Close() error { return nil }

var besideBreakages = []namedBreakage{
	{"shows readers what was there when they came", true, onBeside(func(l *memory.Log, readOnly bool) (engine.EventLog, error) {
		if readOnly {
			return reader{l.Clone()}, nil
		}
		return beside(l, readOnly)
	}), []string{"Beside/ReadersFollowTheWriter"}},
	{"lets readers write", false, onBeside(func(l *memory.Log, readOnly bool) (engine.EventLog, error) {
		if readOnly {
			return unclosed{l}, nil
		}
		return beside(l, readOnly)
	}), []string{"Beside/ReadersChangeNothing"}},
	{"refuses what readers write with any error", false, onBeside(func(l *memory.Log, readOnly bool) (engine.EventLog, error) {
		if readOnly {
			c := l.Clone()
			return c, c.Close()
		}
		return beside(l, readOnly)
	}), []string{"Beside/ReadersChangeNothing", "Beside/ReadersFollowTheWriter"}},
	{"gives each writer a log of its own", false, onBeside(func(l *memory.Log, readOnly bool) (engine.EventLog, error) {
		return l.Clone(), nil
	}), []string{"Beside/ASecondWriterIsLockedOutOrTakesTurns"}},
	{"locks for ever", false, onBeside(func(*memory.Log, bool) (engine.EventLog, error) {
		return nil, engine.ErrLocked
	}), []string{"Beside/ASecondWriterIsLockedOutOrTakesTurns", "Beside/ReadersFollowTheWriter"}},
	{"says that it is broken where it is locked", false, onBeside(func(*memory.Log, bool) (engine.EventLog, error) {
		return nil, engine.ErrIO
	}), []string{"Beside/ASecondWriterIsLockedOutOrTakesTurns"}},
}

var asyncBreakages = []struct {
	name   string
	hook   asyncHook
	breaks []string
}{
	{"appends twice", func(e *engine.Engine, ctx context.Context, topic engine.Topic, event engine.Event, opts []engine.AppendOption) *engine.Pending {
		_, _ = e.AppendAsync(ctx, topic, event, opts...).Wait(ctx)
		return e.AppendAsync(ctx, topic, event, opts...)
	}, []string{"Async/HandlesCompleteInOrder", "Async/ExpectLatestIsHonoured"}},
	{"mends what it should refuse", func(e *engine.Engine, ctx context.Context, topic engine.Topic, event engine.Event, opts []engine.AppendOption) *engine.Pending {
		if event.Validate() != nil {
			event = withPayload("null")
		}
		return e.AppendAsync(ctx, topic, event, opts...)
	}, []string{"Async/RefusalsLeaveNoTrace"}},
	{"ignores contexts that ended", func(e *engine.Engine, ctx context.Context, topic engine.Topic, event engine.Event, opts []engine.AppendOption) *engine.Pending {
		return e.AppendAsync(context.WithoutCancel(ctx), topic, event, opts...)
	}, []string{"Async/RefusalsLeaveNoTrace"}},
	{"answers with the first handle for ever", func() asyncHook {
		var first *engine.Pending
		return func(e *engine.Engine, ctx context.Context, topic engine.Topic, event engine.Event, opts []engine.AppendOption) *engine.Pending {
			if p := e.AppendAsync(ctx, topic, event, opts...); first == nil {
				first = p
			}
			return first
		}
	}(), []string{"Async/HandlesCompleteInOrder"}},
	{"drops what is in flight when flushed", func(e *engine.Engine, ctx context.Context, topic engine.Topic, event engine.Event, opts []engine.AppendOption) *engine.Pending {
		return e.AppendAsync(ctx, engine.MustTopic("elsewhere"), event, opts...)
	}, []string{"Async/FlushWaitsForThem", "Async/HandlesCompleteInOrder"}},
}
