package adaptertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"

	"github.com/seglog/seglog/engine"
)

var appendRules = []rule{
	{"IdsAreDenseInEachTopic", idsAreDenseInEachTopic},
	{"BatchesGetConsecutiveIds", batchesGetConsecutiveIds},
	{"EmptyBatchWritesNothing", emptyBatchWritesNothing},
	{"PositionsOrderAllTopics", positionsOrderAllTopics},
	{"ArgumentsStayTheCallers", argumentsStayTheCallers},
	{"CancelledBeforeWritesNothing", cancelledBeforeWritesNothing},
	{"ConcurrentAppendsGetDenseIds", concurrentAppendsGetDenseIds},
	{"ConcurrentBatchesAreNotMixed", concurrentBatchesAreNotMixed},
	{"FlushKeepsEverything", flushKeepsEverything},
}

func idsAreDenseInEachTopic(f *fixture) {
	topics := sortedTopics("a", "b", "c")
	for id := engine.EventID(1); id <= 10; id++ {
		for _, topic := range topics {
			f.append(topic, numbered(id), id)
			f.wantLatest(topic, id)
		}
	}
	for _, topic := range topics {
		f.wantEvents(topic, 1, 10)
	}
}

func batchesGetConsecutiveIds(f *fixture) {
	var latest engine.EventID
	for _, n := range []engine.EventID{1, 2, 1, 50, 300} {
		f.fill(jobs, latest+n)
		latest += n
		f.wantLatest(jobs, latest)
		f.append(jobs, numbered(latest+1), latest+1)
		latest++
	}
	f.wantEvents(jobs, 1, latest)
}

func emptyBatchWritesNothing(f *fixture) {
	for _, events := range [][]engine.Event{nil, {}} {
		first, last, err := f.log.AppendBatch(f.ctx, jobs, events)
		if first != 0 || last != 0 || err != nil {
			f.Fatalf("AppendBatch of no events gave %d, %d, %v, want 0, 0 and no error", first, last, err)
		}
	}
	f.wantUntouched(jobs, "after an empty batch")
	f.wantTopics()
	f.append(jobs, numbered(1), 1)
	if first, last, err := f.log.AppendBatch(f.ctx, jobs, nil); first != 0 || last != 0 || err != nil {
		f.Fatalf("AppendBatch of no events to a topic that has some gave %d, %d, %v, want 0, 0 and no error", first, last, err)
	}
	f.wantLatest(jobs, 1)
}

func positionsOrderAllTopics(f *fixture) {
	a, b := engine.MustTopic("a"), engine.MustTopic("b")
	f.fill(a, 2)
	f.fill(b, 3)
	f.fill(a, 3)
	f.fill(b, 4)
	f.needPositions(a)
	f.wantPositions(a, a, b, b, b, a, b)
}

// needPositions skips the rule where the events of topic have no positions.
func (f *fixture) needPositions(topic engine.Topic) {
	f.Helper()
	if f.read(topic, 0)[0].Position == 0 {
		f.Skipf("its events have no positions")
	}
}

// wantPositions fails unless events were committed to topics in this order, as
// far as their positions say.
func (f *fixture) wantPositions(order ...engine.Topic) {
	f.Helper()
	next := map[engine.Topic]engine.EventID{}
	var last uint64
	for _, topic := range order {
		records := f.read(topic, next[topic])
		if len(records) == 0 {
			f.Fatalf("topic %s has no event after %d", topic, next[topic])
		}
		r := records[0]
		next[topic] = r.ID
		if r.Position == 0 && last == 0 {
			return // the backend has none
		}
		if r.Position <= last {
			f.Fatalf("event %d of %s has position %d, want more than the %d of the event committed before it", r.ID, topic, r.Position, last)
		}
		last = r.Position
	}
}

func argumentsStayTheCallers(f *fixture) {
	events := []engine.Event{numbered(1), numbered(2)}
	f.append(jobs, events[0], 1)
	f.appendBatch(jobs, events[1:], 2)
	for i := range events {
		scribble(&events[i])
	}
	clear(events)
	f.wantEvents(jobs, 1, 2)
}

// scribble overwrites all that e refers to, and the memory behind its payload.
func scribble(e *engine.Event) {
	behind := e.Payload[len(e.Payload):cap(e.Payload)]
	copy(behind, bytes.Repeat([]byte("#"), len(behind)))
	for i := range e.Payload {
		e.Payload[i] = '#'
	}
	if e.Headers != nil {
		clear(e.Headers)
		e.Headers["scribbled"] = "yes"
	}
}

func cancelledBeforeWritesNothing(f *fixture) {
	ctx, cancel := context.WithCancel(f.ctx)
	cancel()
	_, err := f.log.Append(ctx, jobs, numbered(1))
	f.wantCanceled("Append", err)
	_, _, err = f.log.AppendBatch(ctx, jobs, []engine.Event{numbered(1), numbered(2)})
	f.wantCanceled("AppendBatch", err)
	f.wantUntouched(jobs, "after appends under a cancelled context")
	f.append(jobs, numbered(1), 1)
	_, err = f.log.Append(ctx, jobs, numbered(2))
	f.wantCanceled("Append", err)
	f.append(jobs, numbered(2), 2)
	f.wantEvents(jobs, 1, 2)
}

const (
	appenders       = 8
	eachAppends     = 40
	concurrentTotal = appenders * eachAppends
)

func concurrentAppendsGetDenseIds(f *fixture) {
	topics := sortedTopics("all", "half-0", "half-1")
	// got[a] has the ids that appender a got in topics[0] and in its half.
	var got [appenders][2][eachAppends]engine.EventID
	err := parallel(appenders, func(a int) (err error) {
		for i := range eachAppends {
			for which, topic := range []engine.Topic{topics[0], topics[1+a%2]} {
				if got[a][which][i], err = f.log.Append(f.ctx, topic, withPayload(fmt.Sprintf("[%d,%d]", a, i))); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		f.Fatalf("concurrent appends: %v", err)
	}
	owners := [3]map[engine.EventID]engine.Event{{}, {}, {}}
	for a := range got {
		f.own(owners[0], a, got[a][0][:])
		f.own(owners[1+a%2], a, got[a][1][:])
	}
	f.wantDense(topics[0], concurrentTotal, owners[0])
	f.wantDense(topics[1], concurrentTotal/2, owners[1])
	f.wantDense(topics[2], concurrentTotal/2, owners[2])
}

// own notes which event of appender a has each of its ids in one topic, which
// must rise and be nobody else's.
func (f *fixture) own(owner map[engine.EventID]engine.Event, a int, ids []engine.EventID) {
	f.Helper()
	for i, id := range ids {
		if i > 0 && id <= ids[i-1] {
			f.Fatalf("appender %d got id %d and then %d", a, ids[i-1], id)
		}
		if _, taken := owner[id]; taken {
			f.Fatalf("id %d was handed out twice", id)
		}
		owner[id] = withPayload(fmt.Sprintf("[%d,%d]", a, i))
	}
}

// wantDense fails unless topic holds ids 1 to n with rising positions and the
// events that owner says.
func (f *fixture) wantDense(topic engine.Topic, n int, owner map[engine.EventID]engine.Event) {
	f.Helper()
	records := f.read(topic, 0)
	if len(records) != n {
		f.Fatalf("topic %s holds %d events, want %d", topic, len(records), n)
	}
	for i, r := range records {
		if r.ID != engine.EventID(i+1) {
			f.Fatalf("topic %s holds event %d in the place of %d", topic, r.ID, i+1)
		}
		if i > 0 && r.Position > 0 && r.Position <= records[i-1].Position {
			f.Fatalf("topic %s: event %d has position %d, the one before it %d", topic, r.ID, r.Position, records[i-1].Position)
		}
		if err := f.compare(r.Event, owner[r.ID]); err != nil {
			f.Fatalf("topic %s: event %d: %v", topic, r.ID, err)
		}
	}
	f.wantLatest(topic, engine.EventID(n))
}

func concurrentBatchesAreNotMixed(f *fixture) {
	const batch = 5
	owner := make([]map[engine.EventID]engine.Event, appenders)
	err := parallel(appenders, func(a int) error {
		owner[a] = map[engine.EventID]engine.Event{}
		for i := range eachAppends / batch {
			events := make([]engine.Event, batch)
			for j := range events {
				events[j] = withPayload(fmt.Sprintf("[%d,%d,%d]", a, i, j))
			}
			first, last, err := f.log.AppendBatch(f.ctx, jobs, events)
			if err != nil {
				return err
			}
			if last != first+batch-1 {
				return fmt.Errorf("a batch of %d got ids %d to %d", batch, first, last)
			}
			for j, e := range events {
				owner[a][first+engine.EventID(j)] = e
			}
		}
		return nil
	})
	if err != nil {
		f.Fatalf("concurrent batches: %v", err)
	}
	all := map[engine.EventID]engine.Event{}
	for _, events := range owner {
		maps.Copy(all, events)
	}
	f.wantDense(jobs, concurrentTotal, all)
}

func flushKeepsEverything(f *fixture) {
	f.fill(jobs, 5)
	f.flush()
	f.wantEvents(jobs, 1, 5)
	f.fill(jobs, 6)
	f.wantEvents(jobs, 1, 6)
}

var expectRules = []rule{
	{"MatchAppends", expectMatchAppends},
	{"MismatchIsAConflict", expectMismatchIsAConflict},
	{"AnEmptiedTopicIsNotNew", expectAnEmptiedTopicIsNotNew},
	{"OneOfManyWins", expectOneOfManyWins},
}

// appendExpecting appends with an expected latest id, or skips the rule where
// the backend cannot.
func (f *fixture) appendExpecting(e engine.Event, latest engine.EventID) (engine.EventID, error) {
	f.Helper()
	id, err := f.log.Append(f.ctx, jobs, e, engine.ExpectLatest(latest))
	if errors.Is(err, errors.ErrUnsupported) {
		f.Skipf("ExpectLatest: %v", err)
	}
	return id, err
}

func expectMatchAppends(f *fixture) {
	for id := engine.EventID(1); id <= 3; id++ {
		if got, err := f.appendExpecting(numbered(id), id-1); err != nil || got != id {
			f.Fatalf("Append expecting latest %d gave %d, %v", id-1, got, err)
		}
	}
	first, last, err := f.log.AppendBatch(f.ctx, jobs, []engine.Event{numbered(4), numbered(5)}, engine.ExpectLatest(3))
	if first != 4 || last != 5 || err != nil {
		f.Fatalf("AppendBatch expecting latest 3 gave %d, %d, %v", first, last, err)
	}
	f.wantEvents(jobs, 1, 5)
}

func expectMismatchIsAConflict(f *fixture) {
	_, err := f.appendExpecting(numbered(1), 1)
	f.wantConflict(err, 0)
	f.wantUntouched(jobs, "after a conflict")
	f.wantTopics()
	f.fill(jobs, 3)
	for _, expected := range []engine.EventID{0, 1, 2, 4, math.MaxUint64} {
		_, err := f.appendExpecting(numbered(4), expected)
		f.wantConflict(err, 3)
		_, _, err = f.log.AppendBatch(f.ctx, jobs, []engine.Event{numbered(4), numbered(5)}, engine.ExpectLatest(expected))
		f.wantConflict(err, 3)
	}
	f.wantEvents(jobs, 1, 3)
	f.append(jobs, numbered(4), 4)
}

func (f *fixture) wantConflict(err error, latest engine.EventID) {
	f.Helper()
	f.wantErr("a call that expects another latest id", err, engine.ErrConflict, jobs.String())
	var conflict *engine.ConflictError
	if !errors.As(err, &conflict) || conflict.Latest != latest {
		f.Fatalf("conflict %v carries no *engine.ConflictError with latest %d", err, latest)
	}
}

func expectAnEmptiedTopicIsNotNew(f *fixture) {
	f.fill(jobs, 3)
	f.compact(jobs, 3, 3, 0, 3)
	_, err := f.appendExpecting(numbered(4), 0)
	f.wantConflict(err, 3)
	if id, err := f.appendExpecting(numbered(4), 3); err != nil || id != 4 {
		f.Fatalf("Append to an emptied topic expecting latest 3 gave %d, %v", id, err)
	}
}

func expectOneOfManyWins(f *fixture) {
	_, err := f.appendExpecting(numbered(1), 0)
	if err != nil {
		f.Fatalf("Append to a new topic expecting latest 0: %v", err)
	}
	const rounds = 10
	var won [appenders]int
	err = parallel(appenders, func(a int) error {
		for latest := engine.EventID(1); latest <= rounds; {
			_, err := f.log.Append(f.ctx, jobs, numbered(latest+1), engine.ExpectLatest(latest))
			var conflict *engine.ConflictError
			switch {
			case err == nil:
				won[a]++
				latest++
			case errors.As(err, &conflict) && conflict.Latest > latest:
				latest = conflict.Latest
			default:
				return fmt.Errorf("append expecting %d: %w", latest, err)
			}
		}
		return nil
	})
	if err != nil {
		f.Fatalf("racing appends with an expected latest id: %v", err)
	}
	total := 0
	for _, n := range won {
		total += n
	}
	if total != rounds {
		f.Fatalf("%d appends won, want one for each of %d ids", total, rounds)
	}
	f.wantEvents(jobs, 1, rounds+1)
}
