package engine_test

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/seglog/seglog/engine"
)

func TestRestoredTopicGoesOnBehindItsLatest(t *testing.T) {
	dir := t.TempDir()
	jobs, emptied := engine.MustTopic("jobs"), engine.MustTopic("emptied")
	at := time.UnixMilli(1_700_000_000_123)
	open := func() *engine.Engine {
		t.Helper()
		log, err := engine.Open(dir, engine.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return log
	}
	log := open()
	for topic, latest := range map[engine.Topic]engine.EventID{jobs: 41, emptied: 1 << 40} {
		if err := log.RestoreTopic(t.Context(), topic, latest); err != nil {
			t.Fatal(err)
		}
	}
	event, err := engine.NewEvent("k", 1)
	if err != nil {
		t.Fatal(err)
	}
	if id, err := log.Append(t.Context(), jobs, event); id != 42 || err != nil {
		t.Fatalf("append behind event 41 gave id %d, %v", id, err)
	}
	if err := log.RestoreCursor(t.Context(), jobs, engine.MustConsumerID("c"), 40, at); err != nil {
		t.Fatal(err)
	}
	for range 2 { // once from the write-ahead log or memory, once from the manifest
		records, err := engine.ReadRange(t.Context(), log, jobs, 0, engine.NoLimit)
		if err != nil || len(records) != 1 || records[0].ID != 42 {
			t.Fatalf("read gave %v, %v, want event 42 alone", records, err)
		}
		if latest, ok, err := log.Latest(t.Context(), emptied); latest != 1<<40 || !ok || err != nil {
			t.Fatalf("latest of the emptied topic is %d, %v, %v", latest, ok, err)
		}
		consumers, err := log.Consumers(t.Context(), jobs)
		if err != nil || len(consumers) != 1 || consumers[0].Cursor != 40 || !consumers[0].AckedAt.Equal(at) {
			t.Fatalf("consumers are %v, %v, want one at 40, acked at %v", consumers, err, at)
		}
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
		log = open()
	}
	defer log.Close()
	var conflict *engine.ConflictError
	if err := log.RestoreTopic(t.Context(), jobs, 50); !errors.As(err, &conflict) || conflict.Latest != 42 {
		t.Errorf("restoring a topic with events gave %v, want a conflict with 42", err)
	}
	if err := log.RestoreTopic(t.Context(), engine.MustTopic("new"), math.MaxInt64+1); !errors.Is(err, engine.ErrTooLarge) {
		t.Errorf("restoring behind the last id gave %v, want ErrTooLarge", err)
	}
	if err := log.RestoreTopic(t.Context(), engine.MustTopic("new"), 0); err != nil {
		t.Error(err)
	}
	if topics, err := log.Topics(t.Context()); err != nil || len(topics) != 2 {
		t.Errorf("topics are %v, %v, want two", topics, err)
	}
}
