package adaptertest

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/seglog/seglog/engine"
)

// consumerLister is the part of a backend that tells who reads a topic.
type consumerLister interface {
	Consumers(ctx context.Context, topic engine.Topic) ([]engine.ConsumerInfo, error)
}

// cursorDeleter is the part of a backend that forgets consumers.
type cursorDeleter interface {
	DeleteCursor(ctx context.Context, topic engine.Topic, consumer engine.ConsumerID) error
}

var consumersRules = []rule{
	{"ListedByID", consumersListedByID},
	{"TellTheTimeOfTheAck", consumersTellTheTimeOfTheAck},
	{"DeletedCursorsAreGone", deletedCursorsAreGone},
	{"BadCallsAreRefused", badConsumerCallsAreRefused},
	{"StayAfterReopening", consumersStayAfterReopening},
}

// consumers lists the consumers of topic, or skips the rule where the backend
// cannot.
func (f *fixture) consumers(topic engine.Topic) ([]engine.ConsumerInfo, error) {
	f.Helper()
	lister, ok := f.log.(consumerLister)
	if !ok {
		f.Skipf("%T has no Consumers", f.log)
	}
	infos, err := lister.Consumers(f.ctx, topic)
	if errors.Is(err, errors.ErrUnsupported) {
		f.Skipf("Consumers: %v", err)
	}
	return infos, err
}

func (f *fixture) deleteCursor(topic engine.Topic, consumer engine.ConsumerID) error {
	f.Helper()
	deleter, ok := f.log.(cursorDeleter)
	if !ok {
		f.Skipf("%T has no DeleteCursor", f.log)
	}
	err := deleter.DeleteCursor(f.ctx, topic, consumer)
	if errors.Is(err, errors.ErrUnsupported) {
		f.Skipf("DeleteCursor: %v", err)
	}
	return err
}

// forget is deleteCursor that is to succeed.
func (f *fixture) forget(topic engine.Topic, consumer string) {
	f.Helper()
	if err := f.deleteCursor(topic, engine.MustConsumerID(consumer)); err != nil {
		f.Fatalf("DeleteCursor of %s, consumer %q: %v", topic, consumer, err)
	}
}

// wantConsumers fails unless topic has exactly these consumers.
func (f *fixture) wantConsumers(topic engine.Topic, want map[string]engine.EventID) {
	f.Helper()
	infos, err := f.consumers(topic)
	if err != nil {
		f.Fatalf("Consumers of %s: %v", topic, err)
	}
	latest, _ := f.latest(topic)
	var names []string
	for _, c := range infos {
		name := c.Consumer.String()
		names = append(names, name)
		if id, ok := want[name]; !ok || c.Cursor != id {
			f.Fatalf("Consumers of %s tell of %q at %d, want %v", topic, name, c.Cursor, want)
		}
		if c.Lag != uint64(latest-c.Cursor) {
			f.Fatalf("Consumers of %s tell of %q with lag %d, at %d with latest %d", topic, name, c.Lag, c.Cursor, latest)
		}
		if c.AckedAt.IsZero() {
			f.Fatalf("Consumers of %s tell of %q without the time of its ack", topic, name)
		}
	}
	if len(names) != len(want) || !slices.IsSorted(names) {
		f.Fatalf("Consumers of %s are %q, want %v, sorted", topic, names, want)
	}
}

func consumersListedByID(f *fixture) {
	f.wantConsumers(jobs, nil)
	f.fill(jobs, 5)
	f.wantConsumers(jobs, nil)
	f.ack(jobs, "b", 2)
	f.ack(jobs, "a", 5)
	f.ack(jobs, "B", 0)
	f.ack(jobs, "a/b", 1)
	f.ack(engine.MustTopic("unknown"), "c", 0)
	f.wantConsumers(jobs, map[string]engine.EventID{"B": 0, "a": 5, "a/b": 1, "b": 2})
	f.wantConsumers(engine.MustTopic("unknown"), map[string]engine.EventID{"c": 0})
	f.ack(jobs, "b", 4)
	f.compact(jobs, 5, 5, 0, 5)
	f.fill(jobs, 7)
	f.wantConsumers(jobs, map[string]engine.EventID{"B": 0, "a": 5, "a/b": 1, "b": 4})
}

func consumersTellTheTimeOfTheAck(f *fixture) {
	f.fill(jobs, 5)
	for _, upTo := range []engine.EventID{3, 5, 1} {
		f.ackNow(jobs, "c", upTo)
	}
}

// ackNow acks as the topic's only consumer, and fails unless the cursor's time
// is that of the ack, to the millisecond.
func (f *fixture) ackNow(topic engine.Topic, consumer string, upTo engine.EventID) {
	f.Helper()
	before := time.Now().UnixMilli()
	f.ack(topic, consumer, upTo)
	after := time.Now().UnixMilli()
	infos, err := f.consumers(topic)
	if err != nil || len(infos) != 1 || infos[0].Cursor != upTo {
		f.Fatalf("Consumers of %s after an ack up to %d: %v, %v", topic, upTo, infos, err)
	}
	if at := infos[0].AckedAt.UnixMilli(); at < before || at > after {
		f.Fatalf("Consumers of %s tell of an ack at %d ms, which was between %d and %d", topic, at, before, after)
	}
}

func deletedCursorsAreGone(f *fixture) {
	f.fill(jobs, 5)
	f.forget(jobs, "nobody")
	f.forget(engine.MustTopic("unknown"), "nobody")
	f.wantTopics(jobs)
	f.ack(jobs, "a", 3)
	f.ack(jobs, "b", 4)
	f.forget(jobs, "a")
	f.wantNoCursor(jobs, "a")
	f.wantCursor(jobs, "b", 4)
	f.forget(jobs, "a") // again
	f.ack(jobs, "a", 1)
	f.wantCursor(jobs, "a", 1)
	f.ack(engine.MustTopic("unknown"), "zero", 0)
	f.forget(engine.MustTopic("unknown"), "zero")
	f.wantNoCursor(engine.MustTopic("unknown"), "zero")
}

func badConsumerCallsAreRefused(f *fixture) {
	consumer := engine.MustConsumerID("c")
	f.wantErr("DeleteCursor of the zero consumer", f.deleteCursor(jobs, engine.ConsumerID{}), engine.ErrInvalidConsumer)
	f.wantErr("DeleteCursor on the zero topic", f.deleteCursor(engine.Topic{}, consumer), engine.ErrInvalidTopic)
	_, err := f.consumers(engine.Topic{})
	f.wantErr("Consumers of the zero topic", err, engine.ErrInvalidTopic)
	if err := f.log.Close(); err != nil {
		f.Fatalf("Close: %v", err)
	}
	f.wantErr("DeleteCursor after Close", f.deleteCursor(jobs, consumer), engine.ErrClosed)
	_, err = f.consumers(jobs)
	f.wantErr("Consumers after Close", err, engine.ErrClosed)
}

func consumersStayAfterReopening(f *fixture) {
	f.fill(jobs, 5)
	f.ack(jobs, "a", 3)
	f.ack(jobs, "b", 4)
	f.ack(jobs, "c", 0)
	f.forget(jobs, "b")
	f.reopened()
	f.wantConsumers(jobs, map[string]engine.EventID{"a": 3, "c": 0})
	f.wantNoCursor(jobs, "b")
}
