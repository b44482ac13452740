package adaptertest

import (
	"context"
	"errors"
	"fmt"

	"github.com/seglog/seglog/engine"
)

// committer is the part of a backend that changes several topics at once.
type committer interface {
	Commit(ctx context.Context, b *engine.Batch) (engine.Committed, error)
}

var commitRules = []rule{
	{"ChangesSeveralTopicsAtOnce", commitChangesSeveralTopicsAtOnce},
	{"AnEmptyBatchWritesNothing", commitOfNothing},
	{"RefusalsLeaveNoTrace", commitRefusalsLeaveNoTrace},
	{"TooLargeLeavesNoTrace", commitTooLargeLeavesNoTrace},
	{"ExpectsLatestFromBeforeTheBatch", commitExpectsLatestFromBeforeTheBatch},
	{"IsVisibleAtOnce", commitIsVisibleAtOnce},
	{"CancelledBeforeWritesNothing", commitCancelledBeforeWritesNothing},
	{"ArgumentsStayTheCallers", commitArgumentsStayTheCallers},
	{"ClosedLogRefuses", commitOnAClosedLog},
	{"Reopening", commitStaysAfterReopening},
}

// commit commits what fill put into a batch, or skips the rule where the
// backend cannot.
func (f *fixture) commit(ctx context.Context, fill func(b *engine.Batch)) (engine.Committed, error) {
	f.Helper()
	c, ok := f.log.(committer)
	if !ok {
		f.Skipf("%T has no Commit", f.log)
	}
	var b engine.Batch
	fill(&b)
	done, err := c.Commit(ctx, &b)
	if errors.Is(err, errors.ErrUnsupported) {
		f.Skipf("Commit: %v", err)
	}
	return done, err
}

// mustCommit is commit that is to succeed with these ranges.
func (f *fixture) mustCommit(fill func(b *engine.Batch), want ...engine.AppendedRange) engine.Committed {
	f.Helper()
	done, err := f.commit(f.ctx, fill)
	if err != nil {
		f.Fatalf("Commit: %v", err)
	}
	if fmt.Sprint(done.Appended) != fmt.Sprint(want) {
		f.Fatalf("Commit gave ranges %v, want %v", done.Appended, want)
	}
	return done
}

var inbox, outbox = engine.MustTopic("inbox"), engine.MustTopic("outbox")

func commitChangesSeveralTopicsAtOnce(f *fixture) {
	consumer := engine.MustConsumerID("c")
	f.fill(inbox, 3)
	done := f.mustCommit(func(b *engine.Batch) {
		b.Append(outbox, numbered(1), numbered(2))
		b.Append(inbox, numbered(4))
		b.Append(outbox)
		b.Ack(inbox, consumer, 4) // which the batch itself appends
		b.Ack(outbox, consumer, 1)
		b.Append(outbox, numbered(3))
		b.Ack(outbox, consumer, 2) // the last one wins
	}, engine.AppendedRange{Topic: outbox, First: 1, Last: 2}, engine.AppendedRange{Topic: inbox, First: 4, Last: 4},
		engine.AppendedRange{Topic: outbox}, engine.AppendedRange{Topic: outbox, First: 3, Last: 3})
	f.wantEvents(inbox, 1, 4)
	f.wantEvents(outbox, 1, 3)
	f.wantCursor(inbox, "c", 4)
	f.wantCursor(outbox, "c", 2)
	if first := f.read(outbox, 0)[0].Position; done.Position != first {
		f.Fatalf("Commit gave position %d, its first event has %d", done.Position, first)
	}
	f.wantPositions(inbox, inbox, inbox, outbox, outbox, inbox, outbox)
}

func commitOfNothing(f *fixture) {
	if done := f.mustCommit(func(*engine.Batch) {}); done.Position != 0 {
		f.Fatalf("Commit of nothing gave position %d, want 0", done.Position)
	}
	done := f.mustCommit(func(b *engine.Batch) { b.Append(jobs) }, engine.AppendedRange{Topic: jobs})
	if done.Position != 0 {
		f.Fatalf("Commit of no events gave position %d, want 0", done.Position)
	}
	f.wantTopics()
	done = f.mustCommit(func(b *engine.Batch) { b.Ack(jobs, engine.MustConsumerID("c"), 0) })
	if done.Position != 0 {
		f.Fatalf("Commit of an ack alone gave position %d, want 0", done.Position)
	}
	f.wantCursor(jobs, "c", 0)
	f.wantTopics()
}

func commitRefusalsLeaveNoTrace(f *fixture) {
	consumer := engine.MustConsumerID("c")
	f.fill(inbox, 3)
	f.ack(inbox, "c", 1)
	for _, c := range []struct {
		name   string
		spoil  func(b *engine.Batch)
		target error
	}{
		{"an invalid event", func(b *engine.Batch) { b.Append(inbox, numbered(5), withPayload("{")) }, engine.ErrInvalidEvent},
		{"an ack beyond latest", func(b *engine.Batch) { b.Ack(inbox, consumer, 5) }, engine.ErrBeyondLatest},
		{"an ack on an unknown topic", func(b *engine.Batch) { b.Ack(jobs, consumer, 1) }, engine.ErrBeyondLatest},
		{"an expected latest of another topic", func(b *engine.Batch) { b.ExpectLatest(jobs, 1) }, engine.ErrConflict},
		{"an expected latest from within", func(b *engine.Batch) { b.ExpectLatest(inbox, 4) }, engine.ErrConflict},
		{"the zero topic", func(b *engine.Batch) { b.Append(engine.Topic{}, numbered(1)) }, engine.ErrInvalidTopic},
		{"the zero topic for an ack", func(b *engine.Batch) { b.Ack(engine.Topic{}, consumer, 0) }, engine.ErrInvalidTopic},
		{"the zero consumer", func(b *engine.Batch) { b.Ack(inbox, engine.ConsumerID{}, 0) }, engine.ErrInvalidConsumer},
	} {
		_, err := f.commit(f.ctx, func(b *engine.Batch) {
			b.Append(outbox, numbered(1))
			b.Append(inbox, numbered(4))
			b.Ack(inbox, consumer, 2)
			c.spoil(b)
		})
		f.wantErr("Commit with "+c.name, err, c.target)
		f.wantUntouched(outbox, "after a commit with "+c.name)
		f.wantEvents(inbox, 1, 3)
		f.wantCursor(inbox, "c", 1)
	}
	f.wantTopics(inbox)
	f.fill(inbox, 4)
}

func commitTooLargeLeavesNoTrace(f *fixture) {
	if f.openLimits == nil {
		f.Skipf("the limit of a commit is not known: Config.OpenLimits is nil")
	}
	const limit = 16 << 10
	f.withLimits(limit, limit)
	_, err := f.commit(f.ctx, func(b *engine.Batch) {
		for range 17 {
			b.Append(inbox, sized(1<<10))
			b.Append(outbox)
		}
	})
	f.wantErr("Commit above the limit", err, engine.ErrTooLarge)
	f.wantTopics()
}

func commitExpectsLatestFromBeforeTheBatch(f *fixture) {
	f.mustCommit(func(b *engine.Batch) {
		b.Append(inbox, numbered(1))
		b.ExpectLatest(inbox, 0) // wherever it stands in the batch
		b.ExpectLatest(outbox, 0)
	}, engine.AppendedRange{Topic: inbox, First: 1, Last: 1})
	_, err := f.commit(f.ctx, func(b *engine.Batch) {
		b.Append(inbox, numbered(2))
		b.ExpectLatest(inbox, 0)
	})
	var conflict *engine.ConflictError
	if !errors.As(err, &conflict) || conflict.Latest != 1 {
		f.Fatalf("Commit expecting a new topic gave %v, want a *engine.ConflictError with latest 1", err)
	}
	f.wantEvents(inbox, 1, 1)
}

func commitIsVisibleAtOnce(f *fixture) {
	const last = 100
	f.mustCommit(func(b *engine.Batch) {
		b.Append(inbox, numbered(1))
		b.Append(outbox, numbered(1))
	}, engine.AppendedRange{Topic: inbox, First: 1, Last: 1}, engine.AppendedRange{Topic: outbox, First: 1, Last: 1})
	err := parallel(3, func(i int) error {
		if i == 0 {
			for id := engine.EventID(2); id <= last; id++ {
				var b engine.Batch
				b.Append(inbox, numbered(id))
				b.Append(outbox, numbered(id))
				if _, err := f.log.(committer).Commit(f.ctx, &b); err != nil {
					return err
				}
			}
			return nil
		}
		// Each topic is behind the other one for one of the two readers.
		now, then := inbox, outbox
		if i == 2 {
			now, then = then, now
		}
		for seen := engine.EventID(0); seen < last; {
			var err error
			if seen, _, err = f.log.Latest(f.ctx, now); err != nil {
				return err
			}
			records, err := engine.ReadRange(f.ctx, f.log, then, seen-1, 1)
			if err != nil {
				return err
			}
			if len(records) == 0 {
				return fmt.Errorf("event %d is in %s and not yet in %s, to which the same commit appended it", seen, now, then)
			}
		}
		return nil
	})
	if err != nil {
		f.Fatalf("readers beside commits: %v", err)
	}
}

func commitCancelledBeforeWritesNothing(f *fixture) {
	ctx, cancel := context.WithCancel(f.ctx)
	cancel()
	_, err := f.commit(ctx, func(b *engine.Batch) {
		b.Append(inbox, numbered(1))
		b.Ack(outbox, engine.MustConsumerID("c"), 0)
	})
	f.wantCanceled("Commit", err)
	f.wantTopics()
	f.wantNoCursor(outbox, "c")
	f.append(inbox, numbered(1), 1)
}

func commitArgumentsStayTheCallers(f *fixture) {
	events := []engine.Event{numbered(1), numbered(2)}
	f.mustCommit(func(b *engine.Batch) { b.Append(jobs, events...) }, engine.AppendedRange{Topic: jobs, First: 1, Last: 2})
	for i := range events {
		scribble(&events[i])
	}
	clear(events)
	f.wantEvents(jobs, 1, 2)
}

func commitOnAClosedLog(f *fixture) {
	if err := f.log.Close(); err != nil {
		f.Fatalf("Close: %v", err)
	}
	_, err := f.commit(f.ctx, func(b *engine.Batch) { b.Append(jobs, numbered(1)) })
	f.wantErr("Commit after Close", err, engine.ErrClosed)
	_, err = f.commit(f.ctx, func(*engine.Batch) {})
	f.wantErr("Commit of nothing after Close", err, engine.ErrClosed)
}

func commitStaysAfterReopening(f *fixture) {
	f.mustCommit(func(b *engine.Batch) {
		b.Append(inbox, numbered(1), numbered(2))
		b.Append(outbox, numbered(1))
		b.Ack(inbox, engine.MustConsumerID("c"), 2)
		b.Append(inbox, numbered(3))
	}, engine.AppendedRange{Topic: inbox, First: 1, Last: 2}, engine.AppendedRange{Topic: outbox, First: 1, Last: 1}, engine.AppendedRange{Topic: inbox, First: 3, Last: 3})
	f.reopened()
	f.wantEvents(inbox, 1, 3)
	f.wantEvents(outbox, 1, 1)
	f.wantCursor(inbox, "c", 2)
	f.wantPositions(inbox, inbox, outbox, inbox)
}
