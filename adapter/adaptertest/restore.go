package adaptertest

import (
	"context"
	"errors"
	"time"

	"github.com/seglog/seglog/engine"
)

var restoreRules = []rule{
	{"AppendsGoOnBehindTheLatest", restoredTopicsGoOn},
	{"TopicsThatHadEventsAreAConflict", restoreConflicts},
	{"LatestZeroDoesNothing", restoreOfNothing},
	{"CursorsKeepTheirTime", restoredCursorsKeepTheirTime},
	{"BadCallsAreRefused", badRestoresAreRefused},
	{"StayAfterReopening", restoredStaysAfterReopening},
}

// restorer is the part of a backend that copies need, or skips the rule.
func (f *fixture) restorer() engine.Restorer {
	f.Helper()
	r, ok := f.log.(engine.Restorer)
	if !ok {
		f.Skipf("%T has no RestoreTopic", f.log)
	}
	return r
}

func (f *fixture) restoreTopic(ctx context.Context, topic engine.Topic, latest engine.EventID) error {
	f.Helper()
	err := f.restorer().RestoreTopic(ctx, topic, latest)
	if errors.Is(err, errors.ErrUnsupported) {
		f.Skipf("RestoreTopic: %v", err)
	}
	return err
}

func (f *fixture) restoreCursor(ctx context.Context, topic engine.Topic, consumer engine.ConsumerID, upTo engine.EventID, at time.Time) error {
	f.Helper()
	err := f.restorer().RestoreCursor(ctx, topic, consumer, upTo, at)
	if errors.Is(err, errors.ErrUnsupported) {
		f.Skipf("RestoreCursor: %v", err)
	}
	return err
}

// restore is restoreTopic that is to succeed.
func (f *fixture) restore(topic engine.Topic, latest engine.EventID) {
	f.Helper()
	if err := f.restoreTopic(f.ctx, topic, latest); err != nil {
		f.Fatalf("RestoreTopic of %s with latest %d: %v", topic, latest, err)
	}
}

func restoredTopicsGoOn(f *fixture) {
	other := engine.MustTopic("other")
	f.fill(other, 2)
	f.restore(jobs, 100)
	f.wantLatest(jobs, 100)
	f.wantTopics(jobs, other)
	f.wantEvents(jobs, 101, 100)
	f.compact(jobs, 50, 0, 0, 100)
	s := f.subscribe(jobs, engine.SubscribeOptions{})
	defer s.stop()
	s.last = 100
	f.append(jobs, numbered(101), 101)
	s.take(101)
	f.fill(jobs, 110)
	s.take(110)
	f.wantEvents(jobs, 101, 110)
	f.wantEvents(other, 1, 2)
	f.ack(jobs, "c", 50)
	f.wantCursor(jobs, "c", 50)
	f.compact(jobs, 105, 5, 5, 110)
	f.wantEvents(jobs, 106, 110)
}

func restoreConflicts(f *fixture) {
	emptied, restored := engine.MustTopic("emptied"), engine.MustTopic("restored")
	f.fill(jobs, 3)
	f.fill(emptied, 3)
	f.compact(emptied, 3, 3, 0, 3)
	f.restore(restored, 3)
	for _, topic := range []engine.Topic{jobs, emptied, restored} {
		for _, latest := range []engine.EventID{1, 3, 10} {
			err := f.restoreTopic(f.ctx, topic, latest)
			f.wantErr("RestoreTopic of a topic that has, or had, events", err, engine.ErrConflict, topic.String())
			var conflict *engine.ConflictError
			if !errors.As(err, &conflict) || conflict.Latest != 3 {
				f.Fatalf("conflict %v carries no *engine.ConflictError with latest 3", err)
			}
		}
		f.wantLatest(topic, 3)
		f.append(topic, numbered(4), 4)
	}
	f.wantEvents(jobs, 1, 4)
	f.wantEvents(emptied, 4, 4)
	f.wantEvents(restored, 4, 4)
}

func restoreOfNothing(f *fixture) {
	f.restore(jobs, 0)
	f.wantUntouched(jobs, "after RestoreTopic with latest 0")
	f.wantTopics()
	f.append(jobs, numbered(1), 1)
	f.wantEvents(jobs, 1, 1)
}

// ackTimes are times of acks to the millisecond, in no order.
var ackTimes = []time.Time{time.UnixMilli(1_500_000_000_123), time.UnixMilli(1), time.UnixMilli(2_500_000_000_999)}

func restoredCursorsKeepTheirTime(f *fixture) {
	c := engine.MustConsumerID("c")
	f.restore(jobs, 3)
	f.fill(jobs, 5)
	for i, at := range ackTimes {
		upTo := []engine.EventID{4, 1, 5}[i]
		if err := f.restoreCursor(f.ctx, jobs, c, upTo, at); err != nil {
			f.Fatalf("RestoreCursor to %d: %v", upTo, err)
		}
		f.wantCursor(jobs, "c", upTo)
		f.wantAckedAt(jobs, "c", at)
		err := f.restoreCursor(f.ctx, jobs, c, 6, at)
		f.wantErr("RestoreCursor beyond latest", err, engine.ErrBeyondLatest, jobs.String())
	}
	f.wantCursor(jobs, "c", 5)
	unknown := engine.MustTopic("unknown")
	if err := f.restoreCursor(f.ctx, unknown, c, 0, ackTimes[0]); err != nil {
		f.Fatalf("RestoreCursor to 0 on an unknown topic: %v", err)
	}
	f.wantTopics(jobs)
	f.wantAckedAt(unknown, "c", ackTimes[0])
	f.ackNow(jobs, "c", 2)
}

// wantAckedAt fails unless consumer has acknowledged at a time, where the
// backend tells that.
func (f *fixture) wantAckedAt(topic engine.Topic, consumer string, at time.Time) {
	f.Helper()
	infos, err := f.consumers(topic)
	if err != nil || len(infos) != 1 || infos[0].Consumer.String() != consumer || infos[0].AckedAt.UnixMilli() != at.UnixMilli() {
		f.Fatalf("Consumers of %s are %v, %v, want %q, acked at %v", topic, infos, err, consumer, at)
	}
}

func badRestoresAreRefused(f *fixture) {
	c := engine.MustConsumerID("c")
	f.wantErr("RestoreTopic of the zero topic", f.restoreTopic(f.ctx, engine.Topic{}, 1), engine.ErrInvalidTopic)
	f.wantErr("RestoreCursor on the zero topic", f.restoreCursor(f.ctx, engine.Topic{}, c, 0, ackTimes[0]), engine.ErrInvalidTopic)
	f.wantErr("RestoreCursor of the zero consumer", f.restoreCursor(f.ctx, jobs, engine.ConsumerID{}, 0, ackTimes[0]), engine.ErrInvalidConsumer)
	ctx, cancel := context.WithCancel(f.ctx)
	cancel()
	f.wantCanceled("RestoreTopic", f.restoreTopic(ctx, jobs, 5))
	f.wantCanceled("RestoreCursor", f.restoreCursor(ctx, jobs, c, 0, ackTimes[0]))
	f.wantUntouched(jobs, "after restoring under a cancelled context")
	f.wantNoCursor(jobs, "c")
	if err := f.log.Close(); err != nil {
		f.Fatalf("Close: %v", err)
	}
	f.wantErr("RestoreTopic after Close", f.restoreTopic(f.ctx, jobs, 5), engine.ErrClosed)
	f.wantErr("RestoreCursor after Close", f.restoreCursor(f.ctx, jobs, c, 0, ackTimes[0]), engine.ErrClosed)
}

func restoredStaysAfterReopening(f *fixture) {
	untouched := engine.MustTopic("untouched")
	f.restore(jobs, 100)
	f.restore(untouched, 7)
	f.fill(jobs, 103)
	if err := f.restoreCursor(f.ctx, jobs, engine.MustConsumerID("c"), 90, ackTimes[0]); err != nil {
		f.Fatalf("RestoreCursor: %v", err)
	}
	for range 2 {
		f.reopened()
		f.wantTopics(jobs, untouched)
		f.wantLatest(untouched, 7)
		f.wantEvents(untouched, 8, 7)
		f.wantEvents(jobs, 101, 103)
		f.wantCursor(jobs, "c", 90)
		f.wantAckedAt(jobs, "c", ackTimes[0])
	}
	f.append(untouched, numbered(8), 8)
	f.append(jobs, numbered(104), 104)
}
