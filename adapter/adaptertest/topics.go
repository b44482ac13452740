package adaptertest

import (
	"context"

	"github.com/seglog/seglog/engine"
)

var topicsRules = []rule{
	{"SortedByName", topicsSortedByName},
	{"EmptiedTopicsStay", emptiedTopicsStay},
	{"LatestNeverGoesBack", latestNeverGoesBack},
	{"DescribeTellsTheKind", describeTellsTheKind},
	{"EveryCallEndsWithItsContext", everyCallEndsWithItsContext},
}

func topicsSortedByName(f *fixture) {
	f.wantTopics()
	for _, name := range []string{"b", "a", "B", "a.b", "a-b", "_", "10", "9", "ab"} {
		f.append(engine.MustTopic(name), numbered(1), 1)
	}
	f.wantTopics(sortedTopics("b", "a", "B", "a.b", "a-b", "_", "10", "9", "ab")...)
}

func emptiedTopicsStay(f *fixture) {
	a, b := engine.MustTopic("a"), engine.MustTopic("b")
	f.fill(a, 2)
	f.fill(b, 2)
	f.compact(a, 2, 2, 0, 2)
	f.wantTopics(a, b)
}

func latestNeverGoesBack(f *fixture) {
	f.wantLatest(jobs, 0)
	f.fill(jobs, 3)
	f.compact(jobs, 2, 2, 1, 3)
	f.wantLatest(jobs, 3)
	f.compact(jobs, 3, 1, 0, 3)
	f.wantLatest(jobs, 3)
	f.append(jobs, numbered(4), 4)
	f.compact(jobs, 100, 1, 0, 4)
	f.wantLatest(jobs, 4)
	f.fill(jobs, 6)
	f.wantEvents(jobs, 5, 6)
}

func describeTellsTheKind(f *fixture) {
	f.fill(jobs, 3)
	d, err := f.log.Describe(f.ctx)
	if err != nil {
		f.Fatalf("Describe: %v", err)
	}
	if d.Backend == "" {
		f.Errorf("Describe says no backend")
	}
	if d.QueueDepth < 1 {
		f.Errorf("Describe says queue depth %d, want at least 1", d.QueueDepth)
	}
	if d.Backend == engine.BackendMemory {
		if d.Location != "" || d.SizeBytes != nil {
			f.Errorf("Describe gives a log in memory location %q and a size (%v), want neither", d.Location, d.SizeBytes != nil)
		}
		return
	}
	if d.Location == "" {
		f.Errorf("Describe of a %s log gives no location", d.Backend)
	}
	if d.SizeBytes == nil {
		f.Errorf("Describe of a %s log gives no size", d.Backend)
	}
}

func everyCallEndsWithItsContext(f *fixture) {
	f.fill(jobs, 3)
	f.ack(jobs, "c", 2)
	ctx, cancel := context.WithCancel(f.ctx)
	cancel()
	errs := everyCall(f, ctx, jobs)
	_, errs["Topics"] = f.log.Topics(ctx)
	errs["Flush"] = f.log.Flush(ctx)
	_, errs["Describe"] = f.log.Describe(ctx)
	for what, err := range errs {
		f.wantCanceled(what, err)
	}
	f.wantEvents(jobs, 1, 3)
	f.wantCursor(jobs, "c", 2)
}
