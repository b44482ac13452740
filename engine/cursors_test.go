package engine

import (
	"fmt"
	"testing"
)

func TestCheckpointWritesEachCursorOnce(t *testing.T) {
	dir, ctx, topic := t.TempDir(), t.Context(), MustTopic("a")
	e, err := Open(dir, Options{Sync: SyncNever})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	const moves = 1000
	if _, _, err := e.AppendBatch(ctx, topic, numberedEvents(moves)); err != nil {
		t.Fatal(err)
	}
	consumers := []ConsumerID{MustConsumerID("x"), MustConsumerID("y")}
	for i := range EventID(moves) {
		for _, c := range consumers {
			if err := e.Ack(ctx, topic, c, i); err != nil {
				t.Fatal(err)
			}
		}
	}
	before := e.manifestEnd.Load().bytes
	if err := e.Checkpoint(ctx); err != nil {
		t.Fatal(err)
	}
	if got, most := e.manifestEnd.Load().bytes-before, int64(2*manifestPage); got > most {
		t.Errorf("the edit for %d moves of %d cursors takes %d bytes, want at most %d", moves, len(consumers), got, most)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if e, err = Open(dir, Options{}); err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for _, c := range consumers {
		if got, ok, err := e.Cursor(ctx, topic, c); got != moves-1 || !ok || err != nil {
			t.Errorf("cursor of %s: %d, %t, %v; want %d", c, got, ok, err, moves-1)
		}
	}
}

func numberedEvents(count int) []Event {
	events := make([]Event, count)
	for i := range events {
		events[i] = Event{Kind: "k", Payload: fmt.Appendf(nil, "%d", i)}
	}
	return events
}
