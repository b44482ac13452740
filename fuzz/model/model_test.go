package model

import (
	"context"
	"strings"
	"testing"

	"github.com/seglog/seglog/adapter/memory"
	"github.com/seglog/seglog/engine"
	"github.com/seglog/seglog/fuzz/script"
)

func apply(t *testing.T, l *Log, text string) (*Log, Result) {
	t.Helper()
	op, err := script.ParseOp(text)
	if err != nil {
		t.Fatal(err)
	}
	return l.Apply(op)
}

func TestModelAnswers(t *testing.T) {
	latest := func(id engine.EventID) *engine.EventID { return &id }
	l := New()
	for _, step := range []struct {
		op   string
		want Result
	}{
		{"append a 1:1", Result{First: 1, Last: 1}},
		{"batch a 2:1 3:1", Result{First: 2, Last: 3}},
		{"batch a", Result{}},
		{"append a 4:1 expect=2", Result{Err: engine.ErrConflict}},
		{"append a 4:1 expect=3", Result{First: 4, Last: 4}},
		{"append b 4:1 expect=0", Result{First: 1, Last: 1}},
		{"ack a c 5", Result{Err: engine.ErrBeyondLatest}},
		{"ack x c 1", Result{Err: engine.ErrBeyondLatest}},
		{"ack x c 0", Result{}},
		{"compact a 1", Result{Report: engine.CompactReport{Removed: 1, Remaining: 3, Latest: latest(4)}}},
		{"compact a 1", Result{Report: engine.CompactReport{Removed: 0, Remaining: 3, Latest: latest(4)}}},
		{"compact a 99", Result{Report: engine.CompactReport{Removed: 3, Remaining: 0, Latest: latest(4)}}},
		{"compact x 99", Result{}},
		{"append a 1:1", Result{First: 5, Last: 5}},
		{"commit append a 1:1; ack a c 6; append b 1:1; expect a 5", Result{First: 6, Last: 2}},
		{"commit ack a c 7; append a 1:1", Result{Err: engine.ErrBeyondLatest}},
		{"commit append a 1:1; expect b 0", Result{Err: engine.ErrConflict}},
	} {
		next, got := apply(t, l, step.op)
		if got.First != step.want.First || got.Last != step.want.Last || got.Err != nil != (step.want.Err != nil) || got.Err != nil && !got.Refused(step.want.Err) ||
			got.Report.Removed != step.want.Report.Removed || got.Report.Remaining != step.want.Report.Remaining ||
			(got.Report.Latest == nil) != (step.want.Report.Latest == nil) || got.Report.Latest != nil && *got.Report.Latest != *step.want.Report.Latest {
			t.Errorf("%s: got %+v, want %+v", step.op, got, step.want)
		}
		if got.Err != nil && next != l {
			t.Errorf("%s: refused, and changed the log", step.op)
		}
		l = next
	}
}

// TestViewFindsEveryDifference compares a log with the models of others.
func TestViewFindsEveryDifference(t *testing.T) {
	base := []string{"append a 1:9", "batch a 2:9 3:9", "append b 4:9", "ack a c 1"}
	ctx := context.Background()
	for _, c := range []struct{ name, last, want string }{
		{"nothing", "batch a", ""},
		{"an event more", "append a 5:9", "latest"},
		{"a topic more", "append d 5:9", "topics"},
		{"a cursor elsewhere", "ack a c 2", "cursor"},
		{"a cursor more", "ack b c 1", "cursors"},
		{"a cursor less", "uncursor a c", "cursor"},
		{"compacted", "compact a 1", "readable"},
	} {
		l := New()
		for _, op := range append(base[:len(base):len(base)], c.last) {
			l, _ = apply(t, l, op)
		}
		log := memory.New(memory.Options{})
		for _, op := range base {
			runOn(t, log, op)
		}
		view, err := Observe(ctx, log, []string{"a", "b", "x"}, []string{"c"})
		if err != nil {
			t.Fatal(err)
		}
		err = view.Diff(l)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}

// TestViewFindsWrongEvents compares single events.
func TestViewFindsWrongEvents(t *testing.T) {
	want := script.Seed{N: 1, Size: 20}.Event()
	for name, change := range map[string]func(*engine.Event){
		"kind":     func(e *engine.Event) { e.Kind += "x" },
		"payload":  func(e *engine.Event) { e.Payload = []byte("1") },
		"headers":  func(e *engine.Event) { e.Headers = map[string]string{"odd": "one"} },
		"occurred": func(e *engine.Event) { e.OccurredAtMS++ },
	} {
		got := want
		change(&got)
		if err := sameEvent(got, want); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if err := sameEvent(want, want); err != nil {
		t.Error(err)
	}
}

func runOn(t *testing.T, log *memory.Log, text string) {
	t.Helper()
	op, err := script.ParseOp(text)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	topic := engine.MustTopic(op.Topic)
	if op.Kind == script.Ack {
		err = log.Ack(ctx, topic, engine.MustConsumerID(op.Consumer), engine.EventID(op.ID))
	} else {
		for _, s := range op.Events {
			_, err = log.Append(ctx, topic, s.Event())
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}
