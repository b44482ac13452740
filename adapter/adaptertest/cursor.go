package adaptertest

import (
	"math"

	"github.com/seglog/seglog/engine"
)

var cursorRules = []rule{
	{"NoneAtFirst", noCursorAtFirst},
	{"LastWriteWins", lastWriteWins},
	{"ZeroIsAcceptedOnAnUnknownTopic", zeroIsAcceptedOnAnUnknownTopic},
	{"BeyondLatestIsRefused", beyondLatestIsRefused},
	{"SurvivesCompaction", cursorSurvivesCompaction},
	{"ConcurrentAcks", concurrentAcks},
}

func noCursorAtFirst(f *fixture) {
	f.wantNoCursor(jobs, "c")
	f.fill(jobs, 3)
	f.wantNoCursor(jobs, "c")
	f.ack(jobs, "c", 2)
	f.wantNoCursor(jobs, "d")
	f.wantNoCursor(engine.MustTopic("other"), "c")
}

func lastWriteWins(f *fixture) {
	f.fill(jobs, 5)
	for _, id := range []engine.EventID{3, 5, 5, 1, 0, 4, 0} {
		f.ack(jobs, "c", id)
		f.wantCursor(jobs, "c", id)
	}
}

func zeroIsAcceptedOnAnUnknownTopic(f *fixture) {
	f.ack(jobs, "c", 0)
	f.wantCursor(jobs, "c", 0)
	f.wantUntouched(jobs, "after an ack of 0")
	f.wantTopics()
	f.fill(jobs, 1)
	f.wantCursor(jobs, "c", 0)
}

func beyondLatestIsRefused(f *fixture) {
	consumer := engine.MustConsumerID("c")
	f.wantErr("Ack of event 1 of an unknown topic", f.log.Ack(f.ctx, jobs, consumer, 1), engine.ErrBeyondLatest, jobs.String())
	f.wantNoCursor(jobs, "c")
	f.wantTopics()
	f.fill(jobs, 3)
	f.ack(jobs, "c", 2)
	for _, upTo := range []engine.EventID{4, 100, math.MaxInt64, math.MaxInt64 + 1, math.MaxUint64} {
		f.wantErr("Ack beyond latest", f.log.Ack(f.ctx, jobs, consumer, upTo), engine.ErrBeyondLatest, jobs.String())
		f.wantCursor(jobs, "c", 2)
	}
	f.compact(jobs, 3, 3, 0, 3)
	f.wantErr("Ack beyond the latest of an emptied topic", f.log.Ack(f.ctx, jobs, consumer, 4), engine.ErrBeyondLatest, jobs.String())
	f.ack(jobs, "c", 3)
	f.fill(jobs, 4)
	f.ack(jobs, "c", 4)
	f.wantCursor(jobs, "c", 4)
}

func cursorSurvivesCompaction(f *fixture) {
	f.fill(jobs, 5)
	f.ack(jobs, "behind", 1)
	f.ack(jobs, "ahead", 4)
	f.compact(jobs, 3, 3, 2, 5)
	f.wantCursor(jobs, "behind", 1)
	f.wantCursor(jobs, "ahead", 4)
	f.compact(jobs, 5, 2, 0, 5)
	f.wantCursor(jobs, "behind", 1)
	f.wantCursor(jobs, "ahead", 4)
	f.ack(jobs, "ahead", 2) // rewinding below what is left is allowed
	f.wantCursor(jobs, "ahead", 2)
}

func concurrentAcks(f *fixture) {
	f.fill(jobs, eachAppends)
	consumers := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
	err := parallel(len(consumers), func(i int) error {
		for id := engine.EventID(1); id <= eachAppends-engine.EventID(i); id++ {
			if err := f.log.Ack(f.ctx, jobs, engine.MustConsumerID(consumers[i]), id); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		f.Fatalf("concurrent acks: %v", err)
	}
	for i, consumer := range consumers {
		f.wantCursor(jobs, consumer, eachAppends-engine.EventID(i))
	}
}
