package memory_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/seglog/seglog/adapter/adaptertest"
	"github.com/seglog/seglog/adapter/memory"
	"github.com/seglog/seglog/engine"
)

var jobs = engine.MustTopic("jobs")

func event(payload string) engine.Event {
	return engine.Event{Kind: "k", Payload: json.RawMessage(payload)}
}

func mustAppend(t *testing.T, log engine.EventLog, payload string) engine.EventID {
	t.Helper()
	id, err := log.Append(t.Context(), jobs, event(payload))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestConformance(t *testing.T) {
	for name, depth := range map[string]int{"queue of 1": 1, "default queue": 0} {
		t.Run(name, func(t *testing.T) {
			adaptertest.Run(t, func(*testing.T) engine.EventLog { return memory.New(memory.Options{QueueDepth: depth}) })
		})
	}
}

func TestNewContextCarriesTheLog(t *testing.T) {
	ctx, log := memory.NewContext(t.Context(), memory.Options{})
	if got, ok := engine.FromContext(ctx); !ok || got != engine.EventLog(log) {
		t.Fatalf("FromContext gave %v, %v, want the log of NewContext", got, ok)
	}
	if _, ok := engine.FromContext(engine.NewContext(ctx, nil)); ok {
		t.Fatal("the log is still there after a reset")
	}
}

func TestQueueDepthIsAtLeastOne(t *testing.T) {
	for given, want := range map[int]int{-5: 1, 0: engine.DefaultQueueDepth, 1: 1, 7: 7} {
		d, err := memory.New(memory.Options{QueueDepth: given}).Describe(t.Context())
		if err != nil || d.QueueDepth != want || d.Backend != engine.BackendMemory {
			t.Errorf("Describe with QueueDepth %d gave %+v, %v, want queue depth %d", given, d, err, want)
		}
	}
}

func TestLimitsAreExact(t *testing.T) {
	log := memory.New(memory.Options{MaxEventBytes: 10, MaxCommitBytes: 25})
	e := engine.Event{Kind: "kk", Payload: json.RawMessage("1234"), Headers: map[string]string{"k": "vvv"}}
	if _, _, err := log.AppendBatch(t.Context(), jobs, []engine.Event{e, e}); err != nil {
		t.Fatalf("two events of 10 bytes: %v", err)
	}
	if _, _, err := log.AppendBatch(t.Context(), jobs, []engine.Event{e, e, e}); !errors.Is(err, engine.ErrTooLarge) {
		t.Fatalf("three events of 10 bytes gave %v, want ErrTooLarge", err)
	}
	e.Kind += "k"
	if _, err := log.Append(t.Context(), jobs, e); !errors.Is(err, engine.ErrTooLarge) {
		t.Fatalf("an event of 11 bytes gave %v, want ErrTooLarge", err)
	}
}

func TestCloneIsIndependentAndOpen(t *testing.T) {
	log := memory.New(memory.Options{})
	mustAppend(t, log, "1")
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	a, b := log.Clone(), log.Clone()
	if id := mustAppend(t, a, "2"); id != 2 {
		t.Fatalf("an append to the first clone gave id %d, want 2", id)
	}
	if id := mustAppend(t, b, "3"); id != 2 {
		t.Fatalf("an append to the second clone gave id %d, want 2", id)
	}
	records, err := engine.ReadRange(t.Context(), a, jobs, 0, engine.NoLimit)
	if err != nil || len(records) != 2 || string(records[1].Payload) != "2" {
		t.Fatalf("the first clone holds %v, %v", records, err)
	}
}

func TestNonsenseOptionsAreRefused(t *testing.T) {
	log := memory.New(memory.Options{})
	for _, err := range log.Subscribe(t.Context(), jobs, engine.SubscribeOptions{Lag: 7}) {
		if !errors.Is(err, engine.ErrConfig) {
			t.Errorf("Subscribe with an unknown lag policy gave %v, want ErrConfig", err)
		}
	}
	for _, err := range log.Read(t.Context(), jobs, engine.ReadOptions{Limit: -1}) {
		if !errors.Is(err, engine.ErrConfig) {
			t.Errorf("Read with a negative limit gave %v, want ErrConfig", err)
		}
	}
}

func TestSubscribersLeaveNothingBehind(t *testing.T) {
	log := memory.New(memory.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	seq := log.Subscribe(ctx, jobs, engine.SubscribeOptions{})
	cancel()
	n := 0
	for range 2 { // also when it is ranged over again
		for _, err := range seq {
			if n++; !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want the context's error", err)
			}
		}
	}
	if n != 2 {
		t.Errorf("two iterations yielded %d times, want one error each", n)
	}
}
