// Package model is the reference that every test of a log compares with: maps
// and slices, no disk, no concurrency, nothing clever.
//
// A [Log] is immutable. Applying an operation gives the next one, so a test
// can keep the states before and after an operation whose outcome it does not
// know. A [View] is what a real log shows; [View.Diff] compares the two.
package model

import (
	"errors"
	"maps"
	"sort"

	"github.com/seglog/seglog/engine"
	"github.com/seglog/seglog/fuzz/script"
)

// Log is the state of a log that was handed a sequence of operations.
type Log struct {
	topics  map[string]topic
	cursors map[cursor]uint64
	events  uint64 // ever appended, over all topics
	changes int    // ever made
}

type topic struct {
	first   uint64 // lowest readable id
	entries []entry
}

type entry struct {
	event engine.Event
	order uint64 // over all topics, from 1
}

type cursor struct{ topic, consumer string }

func (t topic) latest() uint64 { return t.first + uint64(len(t.entries)) - 1 }

// New returns an empty log.
func New() *Log {
	return &Log{topics: map[string]topic{}, cursors: map[cursor]uint64{}}
}

// Result is the answer that an operation must get.
type Result struct {
	First, Last uint64
	Report      engine.CompactReport
	Err         error // sentinels; the error must match one of them
}

// Refused says whether err is the refusal that r asks for.
func (r Result) Refused(err error) bool {
	for _, s := range []error{engine.ErrConflict, engine.ErrBeyondLatest} {
		if errors.Is(err, s) && errors.Is(r.Err, s) {
			return true
		}
	}
	return false
}

// Latest returns the highest id ever assigned in a topic; 0: none.
func (l *Log) Latest(name string) uint64 {
	if t, ok := l.topics[name]; ok {
		return t.latest()
	}
	return 0
}

// Events returns how many events were ever appended.
func (l *Log) Events() uint64 { return l.events }

// Apply returns the log after op, and op's answer. An operation that changes
// nothing gives l itself.
func (l *Log) Apply(op script.Op) (*Log, Result) {
	next := &Log{topics: maps.Clone(l.topics), cursors: maps.Clone(l.cursors), events: l.events, changes: l.changes}
	r := next.apply(op)
	if r.Err != nil || next.changes == l.changes {
		return l, r
	}
	return next, r
}

func (l *Log) apply(op script.Op) Result {
	switch op.Kind {
	case script.Append, script.Batch, script.Async:
		if len(op.Events) == 0 {
			return Result{}
		}
		if op.Expect != nil && *op.Expect != l.Latest(op.Topic) {
			return Result{Err: engine.ErrConflict}
		}
		return l.append(op)
	case script.Ack:
		return l.ack(op)
	case script.DeleteCursor:
		if _, ok := l.cursors[cursor{op.Topic, op.Consumer}]; ok {
			delete(l.cursors, cursor{op.Topic, op.Consumer})
			l.changes++
		}
	case script.Compact:
		return Result{Report: l.compact(op.Topic, op.ID)}
	case script.Restore:
		return l.restore(op.Topic, op.ID)
	case script.Commit:
		return l.commit(op)
	}
	return Result{}
}

func (l *Log) append(op script.Op) Result {
	t, ok := l.topics[op.Topic]
	if !ok {
		t.first = 1
	}
	r := Result{First: t.latest() + 1}
	entries := make([]entry, len(t.entries), len(t.entries)+len(op.Events))
	copy(entries, t.entries)
	for _, s := range op.Events {
		l.events++
		l.changes++
		entries = append(entries, entry{s.Event(), l.events})
	}
	t.entries = entries
	l.topics[op.Topic] = t
	r.Last = t.latest()
	return r
}

func (l *Log) ack(op script.Op) Result {
	if op.ID > l.Latest(op.Topic) {
		return Result{Err: engine.ErrBeyondLatest}
	}
	if at, ok := l.cursors[cursor{op.Topic, op.Consumer}]; !ok || at != op.ID {
		l.cursors[cursor{op.Topic, op.Consumer}] = op.ID
		l.changes++
	}
	return Result{}
}

func (l *Log) compact(name string, before uint64) engine.CompactReport {
	t, ok := l.topics[name]
	if !ok {
		return engine.CompactReport{}
	}
	n := uint64(0)
	if before >= t.first && len(t.entries) > 0 {
		l.changes++
		n = min(before-t.first+1, uint64(len(t.entries)))
	}
	t.first += n
	t.entries = t.entries[n:]
	l.topics[name] = t
	latest := engine.EventID(t.latest())
	return engine.CompactReport{Removed: n, Remaining: uint64(len(t.entries)), Latest: &latest}
}

func (l *Log) restore(name string, latest uint64) Result {
	if latest == 0 {
		return Result{}
	}
	if _, ok := l.topics[name]; ok {
		return Result{Err: engine.ErrConflict}
	}
	l.topics[name] = topic{first: latest + 1}
	l.changes++
	return Result{}
}

// commit does the parts in order. Expectations are about the log as it was.
// Where it is refused for two reasons, its answer may be either.
func (l *Log) commit(op script.Op) Result {
	var r Result
	for _, p := range op.Parts {
		if p.Kind == script.Expect && p.ID != l.Latest(p.Topic) {
			r.Err = engine.ErrConflict
		}
	}
	for _, p := range op.Parts {
		switch p.Kind {
		case script.Append, script.Batch:
			a := l.append(p)
			if r.First == 0 {
				r.First = a.First
			}
			r.Last = a.Last
		case script.Ack:
			r.Err = errors.Join(r.Err, l.ack(p).Err)
		}
	}
	if r.Err != nil {
		return Result{Err: r.Err}
	}
	return r
}

// topicNames returns the topics that were ever appended to, sorted.
func (l *Log) topicNames() []string {
	var names []string
	for name := range l.topics {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}
