package adaptertest

import (
	"github.com/seglog/seglog/engine"
)

var reopenRules = []rule{
	{"EventsStay", reopenKeepsEvents},
	{"OddTopicsStay", reopenKeepsOddTopics},
	{"OddPayloadsStay", reopenKeepsOddPayloads},
	{"OddFieldsStay", reopenKeepsOddFields},
	{"OddConsumersStay", reopenKeepsOddConsumers},
	{"LatestOfAnEmptiedTopicStays", reopenKeepsLatestOfAnEmptiedTopic},
	{"CompactionStays", reopenKeepsCompaction},
	{"CursorsStay", reopenKeepsCursors},
	{"PositionsGoOnRising", reopenGoesOnWithPositions},
	{"RefusalsLeaveNoTrace", reopenShowsNoTraceOfRefusals},
	{"NothingStaysNothing", reopenOfNothing},
}

func reopenKeepsEvents(f *fixture) {
	other := engine.MustTopic("other")
	var latest engine.EventID
	for _, n := range []engine.EventID{1, 1, 40, longLatest, 1} {
		latest += n
		f.fill(jobs, latest)
		f.fill(other, latest/2+1)
		f.reopened()
		f.wantLatest(jobs, latest)
		f.wantEvents(jobs, 1, latest)
		f.wantEvents(other, 1, latest/2+1)
	}
	f.reopened() // with nothing done in between
	f.wantEvents(jobs, 1, latest)
	s := f.subscribe(jobs, engine.SubscribeOptions{})
	defer s.stop()
	f.append(jobs, numbered(latest+1), latest+1)
	s.take(latest + 1)
}

func reopenKeepsOddTopics(f *fixture) {
	f.fillOddTopics()
	f.reopened()
	f.wantOddTopics()
}

func reopenKeepsOddPayloads(f *fixture) {
	f.fillOddPayloads()
	f.reopened()
	f.wantOddPayloads()
}

func reopenKeepsOddFields(f *fixture) {
	f.fillOddEvents()
	f.reopened()
	f.wantOddEvents()
}

func reopenKeepsOddConsumers(f *fixture) {
	f.fillOddConsumers()
	f.reopened()
	f.wantOddConsumers()
}

func reopenKeepsLatestOfAnEmptiedTopic(f *fixture) {
	f.fill(jobs, 3)
	f.compact(jobs, 3, 3, 0, 3)
	f.reopened()
	f.wantLatest(jobs, 3)
	f.wantTopics(jobs)
	f.wantEvents(jobs, 4, 3)
	f.compact(jobs, 3, 0, 0, 3)
	f.reopened()
	f.append(jobs, numbered(4), 4)
	f.wantEvents(jobs, 4, 4)
}

func reopenKeepsCompaction(f *fixture) {
	f.fillLong()
	f.compact(jobs, 1234, 1234, longLatest-1234, longLatest)
	f.reopened()
	f.wantEvents(jobs, 1235, longLatest)
	f.compact(jobs, 1234, 0, longLatest-1234, longLatest)
	f.compact(jobs, 2000, 2000-1234, longLatest-2000, longLatest)
	f.reopened()
	f.wantEvents(jobs, 2001, longLatest)
	f.fill(jobs, longLatest+1)
	f.reopened()
	f.wantEvents(jobs, 2001, longLatest+1)
}

func reopenKeepsCursors(f *fixture) {
	f.fill(jobs, 5)
	f.ack(jobs, "c", 2)
	f.ack(jobs, "c", 5)
	f.ack(jobs, "rewound", 5)
	f.ack(jobs, "rewound", 1)
	f.ack(jobs, "zero", 0)
	f.ack(engine.MustTopic("unknown"), "zero", 0)
	f.compact(jobs, 4, 4, 1, 5)
	f.reopened()
	f.wantCursor(jobs, "c", 5)
	f.wantCursor(jobs, "rewound", 1)
	f.wantCursor(jobs, "zero", 0)
	f.wantNoCursor(jobs, "none")
	f.wantCursor(engine.MustTopic("unknown"), "zero", 0)
	f.wantTopics(jobs)
	f.ack(jobs, "c", 3)
	f.reopened()
	f.wantCursor(jobs, "c", 3)
}

func reopenGoesOnWithPositions(f *fixture) {
	a, b := engine.MustTopic("a"), engine.MustTopic("b")
	f.fill(a, 2)
	f.fill(b, 1)
	f.needPositions(a)
	f.reopened()
	f.fill(b, 2)
	f.fill(a, 3)
	f.reopened()
	f.fill(b, 3)
	f.wantPositions(a, a, b, b, a, b)

	// What is compacted still counts.
	last := f.read(b, 2)[0].Position
	f.compact(a, 3, 3, 0, 3)
	f.compact(b, 3, 3, 0, 3)
	f.reopened()
	f.fill(a, 4)
	if r := f.read(a, 0)[0]; r.Position <= last {
		f.Fatalf("the first event after reopening an emptied log has position %d, want more than %d", r.Position, last)
	}
}

func reopenShowsNoTraceOfRefusals(f *fixture) {
	f.fill(jobs, 2)
	if _, err := f.log.Append(f.ctx, jobs, withPayload("{")); err == nil {
		f.Fatalf("Append of an invalid payload succeeded")
	}
	if _, _, err := f.log.AppendBatch(f.ctx, jobs, []engine.Event{numbered(3), withPayload("{")}); err == nil {
		f.Fatalf("AppendBatch with an invalid payload succeeded")
	}
	if err := f.log.Ack(f.ctx, jobs, engine.MustConsumerID("c"), 3); err == nil {
		f.Fatalf("Ack beyond latest succeeded")
	}
	f.reopened()
	f.wantEvents(jobs, 1, 2)
	f.wantNoCursor(jobs, "c")
	f.append(jobs, numbered(3), 3)
}

func reopenOfNothing(f *fixture) {
	f.reopened()
	f.wantTopics()
	f.wantUntouched(jobs, "after reopening an empty log")
	f.append(jobs, numbered(1), 1)
}
