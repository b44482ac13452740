package sqlite

import (
	"errors"
	"sync"
	"testing"

	"github.com/seglog/seglog/engine"
)

// Defects of the original that concern this backend, one test each, with the
// number that they have in the list of all of them.

// 1. Once a topic is emptied, its ids begin anew.
func TestDefect01IDsGoOnAfterATopicIsEmptied(t *testing.T) {
	file := newFile(t)
	log := openLog(t, file, Options{})
	fill(t, log, jobs, 3)
	if _, err := log.Compact(t.Context(), jobs, 3); err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	log = openLog(t, file, Options{})
	fill(t, log, jobs, 4)
	wantNumbered(t, log, jobs, 4, 4)
}

// 4. Appends are published after the lock is released, in any order, and the
// subscriber drops what comes late.
func TestDefect04SubscribersSeeConcurrentAppendsInOrderAndAll(t *testing.T) {
	const appenders, each = 8, 50
	log := openLog(t, newFile(t), Options{})
	seq := log.Subscribe(testContext(t), jobs, engine.SubscribeOptions{})
	var appending sync.WaitGroup
	defer appending.Wait()
	for range appenders {
		appending.Go(func() {
			for range each {
				if _, err := log.Append(t.Context(), jobs, numbered(0)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	next := engine.EventID(1)
	for r, err := range seq {
		if err != nil || r.ID != next {
			t.Fatalf("got event %d, %v, want event %d", r.ID, err, next)
		}
		if next++; next > appenders*each {
			break
		}
	}
}

// 5. The lagged error is pushed into the queue that is full, and often arrives
// as a plain end.
func TestDefect05LaggedErrorAlwaysArrives(t *testing.T) {
	log := openLog(t, newFile(t), Options{QueueDepth: 2})
	for last := engine.EventID(10); last <= 200; last += 10 {
		live := pull(t, last-10, log.Subscribe(t.Context(), jobs, engine.SubscribeOptions{After: last - 10, Lag: engine.LagFail}))
		fill(t, log, jobs, last)
		_, err, ok := live.next()
		if lagged := new(engine.LaggedError); !ok || !errors.As(err, &lagged) || lagged.LastID != last-10 {
			t.Fatalf("a subscriber ten events behind gets %v, %v", err, ok)
		}
	}
}

// 6. Subscribing loads the whole history first, and a long read holds the only
// connection, so that it blocks every append.
func TestDefect06LongReadsBlockNothingAndHoldAPage(t *testing.T) {
	log := openLog(t, newFile(t), Options{})
	fill(t, log, jobs, longTopic)
	var streams []*stream
	for range 4 * readersMax {
		streams = append(streams,
			pull(t, 0, log.Read(t.Context(), jobs, engine.ReadOptions{})),
			pull(t, 0, log.Subscribe(t.Context(), jobs, engine.SubscribeOptions{})))
	}
	for _, s := range streams {
		s.take(100)
	}
	appended := engine.EventID(longTopic)
	for r, err := range log.Read(t.Context(), jobs, engine.ReadOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		if r.ID%100 == 0 { // from inside the loop, with all others open
			appended++
			fill(t, log, jobs, appended)
			if err := log.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	// All streams go on, each from where it is.
	for _, s := range streams {
		s.take(longTopic)
	}

	s, err := log.newSubscription(t.Context(), jobs, engine.SubscribeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok, err := s.next(t.Context(), longTopic); !ok || err != nil {
		t.Fatalf("next gave %v, %v", ok, err)
	}
	if len(s.page) >= pageEventsMax {
		t.Errorf("a subscription holds %d events in memory", len(s.page))
	}
}

// 7. Consumers whose ids differ in odd characters share a cursor.
func TestDefect07ConsumersNeverShareACursor(t *testing.T) {
	log := openLog(t, newFile(t), Options{})
	topics := []engine.Topic{engine.MustTopic("a"), engine.MustTopic("a__b"), engine.MustTopic("A")}
	consumers := []string{"c", "C", "b__c", "x/y", "x_y", " c", "c\x00", "c\x00d", "'; --"}
	n := engine.EventID(len(topics) * len(consumers))
	id := engine.EventID(0)
	for _, topic := range topics {
		fill(t, log, topic, n)
		for _, consumer := range consumers {
			id++
			if err := log.Ack(t.Context(), topic, engine.MustConsumerID(consumer), id); err != nil {
				t.Fatal(err)
			}
		}
	}
	id = 0
	for _, topic := range topics {
		for _, consumer := range consumers {
			id++
			if got, ok, err := log.Cursor(t.Context(), topic, engine.MustConsumerID(consumer)); got != id || !ok || err != nil {
				t.Errorf("Cursor of %q on %s is %d, %v, %v, want %d", consumer, topic, got, ok, err, id)
			}
		}
	}
}

// 9. The database runs with synchronous=NORMAL, so that power loss takes the
// last acknowledged appends.
func TestDefect09AppendsAreSyncedByDefault(t *testing.T) {
	for policy, want := range map[engine.SyncPolicy]int64{engine.SyncAlways: 2, engine.SyncInterval: 1, engine.SyncNever: 1} {
		log := openLog(t, newFile(t), Options{Sync: policy})
		var level int64
		var mode string
		err := onWriter(t, log, func(c *conn) (err error) {
			mode, err = c.journalMode("PRAGMA journal_mode")
			if err == nil {
				level, _, err = c.integer("PRAGMA synchronous")
			}
			return err
		})
		if err != nil || mode != "wal" || level != want {
			t.Errorf("policy %d: journal mode %s, synchronous %d, %v, want wal and %d", policy, mode, level, err, want)
		}
	}
}

// 10. An ack beyond the latest event is stored, and the consumer then skips the
// events to come.
func TestDefect10AckBeyondLatestIsRefused(t *testing.T) {
	file := newFile(t)
	s := openSeed(t, file, false)
	s.append("jobs", "numbered", `{"n": 1}`, "{}", 1)
	s.ack("jobs", "reader", 1)
	s.ack("jobs", "ahead", 100) // what the original has stored stays as it is
	s.close()
	log := openLog(t, file, Options{})
	for _, upTo := range []engine.EventID{2, 100} {
		wantErr(t, "Ack beyond latest", log.Ack(t.Context(), jobs, reader, upTo), []error{engine.ErrBeyondLatest}, "jobs")
	}
	if cursor, ok, err := log.Cursor(t.Context(), jobs, reader); cursor != 1 || !ok || err != nil {
		t.Errorf("Cursor is %d, %v, %v, want 1", cursor, ok, err)
	}
	infos, err := log.Consumers(t.Context(), jobs)
	if err != nil || len(infos) != 2 || infos[0].Cursor != 100 || infos[0].Lag != 0 {
		t.Errorf("Consumers gave %+v, %v", infos, err)
	}
	if err := log.Ack(t.Context(), jobs, engine.MustConsumerID("ahead"), 1); err != nil {
		t.Errorf("the cursor cannot be taken back: %v", err)
	}
}

// 11. Two processes mint the same ids, and subscriptions see the appends of
// their own process only. Two logs on one file are two processes to SQLite; see
// also TestTwoProcesses. Topics that differ in case are two topics.
func TestDefect11LogsOnOneDatabaseShareIDsAndSubscriptions(t *testing.T) {
	file := newFile(t)
	a, b := openLog(t, file, Options{}), openLog(t, file, Options{})
	ctx := testContext(t)
	liveA := pull(t, 0, a.Subscribe(ctx, jobs, engine.SubscribeOptions{}))
	liveB := pull(t, 0, b.Subscribe(ctx, jobs, engine.SubscribeOptions{}))
	for id := engine.EventID(1); id <= 10; id += 2 {
		fill(t, a, jobs, id)
		fill(t, b, jobs, id+1)
		liveA.take(id + 1)
		liveB.take(id + 1)
	}
	upper := engine.MustTopic("JOBS")
	fill(t, b, upper, 1)
	wantNumbered(t, a, upper, 1, 1)
	wantNumbered(t, a, jobs, 1, 10)
}
