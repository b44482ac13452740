package adaptertest

import (
	"errors"
	"fmt"

	"github.com/seglog/seglog/engine"
)

var besideRules = []rule{
	{"ReadersFollowTheWriter", readersFollowTheWriter},
	{"ReadersChangeNothing", readersChangeNothing},
	{"ASecondWriterIsLockedOutOrTakesTurns", secondWriter},
}

// openBeside opens the rule's log once more, as another process would.
func (f *fixture) openBeside(readOnly bool) (engine.EventLog, error) {
	f.Helper()
	if f.beside == nil {
		f.Skipf("the log is of one process: Config.Beside is nil")
	}
	log, err := f.beside(f.log, readOnly)
	if errors.Is(err, errors.ErrUnsupported) {
		f.Skipf("opening the log once more: %v", err)
	}
	return log, err
}

// reader opens the rule's log read-only beside the rule's own.
func (f *fixture) reader() *fixture {
	f.Helper()
	log, err := f.openBeside(true)
	if err != nil {
		f.Fatalf("opening the log read-only beside its writer: %v", err)
	}
	return f.on(log)
}

// on is the rule with another log, which it closes when done.
func (f *fixture) on(log engine.EventLog) *fixture {
	other := *f
	other.log = log
	return &other
}

// done closes the log that on took.
func (f *fixture) done() {
	if err := f.log.Close(); err != nil {
		f.Errorf("Close: %v", err)
	}
}

// readersFollowTheWriter waits by subscribing: a reader sees what is durable,
// which another process may learn a little later than the writer.
func readersFollowTheWriter(f *fixture) {
	f.fill(jobs, 3)
	f.ack(jobs, "c", 2)
	r := f.reader()
	defer r.done()
	s := r.subscribe(jobs, engine.SubscribeOptions{After: 1})
	defer s.stop()
	for last := engine.EventID(4); last <= 300; last += 148 {
		f.fill(jobs, last)
		f.flush()
		s.take(last)
		r.wantEvents(jobs, 1, last)
		r.wantCursor(jobs, "c", 2)
	}
	later := engine.MustTopic("later")
	s = r.subscribe(later, engine.SubscribeOptions{})
	defer s.stop()
	f.fill(later, 2)
	f.flush()
	s.take(2)
	r.wantLatest(later, 2)
	r.wantTopics(jobs, later)
}

func readersChangeNothing(f *fixture) {
	f.fill(jobs, 3)
	f.ack(jobs, "c", 2)
	r := f.reader()
	c := engine.MustConsumerID("c")
	calls := map[string]error{"Ack": r.log.Ack(f.ctx, jobs, c, 3)}
	_, calls["Append"] = r.log.Append(f.ctx, jobs, numbered(4))
	_, _, calls["AppendBatch"] = r.log.AppendBatch(f.ctx, engine.MustTopic("new"), []engine.Event{numbered(1)})
	_, calls["Compact"] = r.log.Compact(f.ctx, jobs, 2)
	if d, ok := r.log.(cursorDeleter); ok {
		calls["DeleteCursor"] = d.DeleteCursor(f.ctx, jobs, c)
	}
	if l, ok := r.log.(engine.Restorer); ok {
		calls["RestoreTopic"] = l.RestoreTopic(f.ctx, engine.MustTopic("new"), 5)
		calls["RestoreCursor"] = l.RestoreCursor(f.ctx, jobs, c, 1, ackTimes[0])
	}
	for what, err := range calls {
		if !errors.Is(err, errors.ErrUnsupported) {
			f.wantErr(what+" of a read-only log", err, engine.ErrReadOnly)
		}
	}
	r.done()
	f.wantEvents(jobs, 1, 3)
	f.wantTopics(jobs)
	f.wantCursor(jobs, "c", 2)
	f.fill(jobs, 4)
	f.wantEvents(jobs, 1, 4)
}

func secondWriter(f *fixture) {
	f.fill(jobs, 3)
	log, err := f.openBeside(false)
	if err == nil {
		f.shared(log)
		return
	}
	f.wantErr("opening the log for writing beside its writer", err, engine.ErrLocked)
	f.fill(jobs, 4)
	if err := f.log.Close(); err != nil {
		f.Fatalf("Close: %v", err)
	}
	if log, err = f.openBeside(false); err != nil {
		f.Fatalf("opening the log for writing once its writer closed it: %v", err)
	}
	next := f.on(log)
	defer next.done()
	next.fill(jobs, 5)
	next.wantEvents(jobs, 1, 5)
}

// shared lets two writers of one log append in turns: no id is handed out
// twice, and each sees what the other appends.
func (f *fixture) shared(log engine.EventLog) {
	second := f.on(log)
	defer second.done()
	second.wantEvents(jobs, 1, 3)
	topic := engine.MustTopic("shared")
	s := second.subscribe(topic, engine.SubscribeOptions{})
	defer s.stop()
	writers := []*fixture{f, second}
	owner := make([]map[engine.EventID]engine.Event, len(writers))
	err := parallel(len(writers), func(w int) error {
		owner[w] = map[engine.EventID]engine.Event{}
		for i := range eachAppends {
			e := withPayload(fmt.Sprintf("[%d,%d]", w, i))
			id, err := writers[w].log.Append(f.ctx, topic, e)
			if err != nil {
				return err
			}
			owner[w][id] = e
		}
		return nil
	})
	if err != nil {
		f.Fatalf("appends of two writers: %v", err)
	}
	all := map[engine.EventID]engine.Event{}
	for w := range owner {
		for id, e := range owner[w] {
			if _, taken := all[id]; taken {
				f.Fatalf("id %d was handed out by both writers", id)
			}
			all[id] = e
		}
	}
	for _, w := range writers {
		w.wantDense(topic, len(writers)*eachAppends, all)
	}
	for id := engine.EventID(1); id <= engine.EventID(len(all)); id++ {
		if r, err, ok := s.next(); err != nil || !ok || r.ID != id {
			f.Fatalf("a subscriber of one writer gets event %d, %v (more: %v), want event %d", r.ID, err, ok, id)
		}
	}
}
