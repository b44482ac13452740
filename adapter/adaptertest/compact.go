package adaptertest

import (
	"errors"
	"fmt"
	"math"

	"github.com/seglog/seglog/engine"
)

var compactRules = []rule{
	{"RemovesExactlyUpTo", compactRemovesExactlyUpTo},
	{"UnknownTopicGivesAZeroReport", compactUnknownTopic},
	{"EmptiesATopic", compactEmptiesATopic},
	{"BoundsAreClamped", compactBoundsAreClamped},
	{"OtherTopicsStay", compactLeavesOtherTopics},
	{"ReadsStartAtTheFirstLeft", readsStartAtTheFirstLeft},
	{"LongTopics", compactLongTopics},
	{"RunningReadsAreNeverWrong", runningReadsAreNeverWrong},
	{"RacingReadersAndAppends", compactRacingReadersAndAppends},
}

func compactRemovesExactlyUpTo(f *fixture) {
	f.fill(jobs, 10)
	f.compact(jobs, 0, 0, 10, 10)
	f.wantEvents(jobs, 1, 10)
	f.compact(jobs, 1, 1, 9, 10)
	f.wantEvents(jobs, 2, 10)
	f.compact(jobs, 5, 4, 5, 10)
	f.wantEvents(jobs, 6, 10)
	f.compact(jobs, 5, 0, 5, 10) // again
	f.compact(jobs, 3, 0, 5, 10) // below what is gone
	f.wantEvents(jobs, 6, 10)
	f.fill(jobs, 12)
	f.compact(jobs, 11, 6, 1, 12)
	f.wantEvents(jobs, 12, 12)
}

func compactUnknownTopic(f *fixture) {
	f.compact(jobs, 5, 0, 0, 0)
	f.wantUntouched(jobs, "after a compaction of an unknown topic")
	f.wantTopics()
	f.ack(jobs, "c", 0)
	f.compact(jobs, 5, 0, 0, 0)
	f.append(jobs, numbered(1), 1)
	f.wantEvents(jobs, 1, 1)
}

func compactEmptiesATopic(f *fixture) {
	f.fill(jobs, 3)
	f.compact(jobs, 3, 3, 0, 3)
	f.wantEvents(jobs, 4, 3)
	f.compact(jobs, 3, 0, 0, 3)
	f.append(jobs, numbered(4), 4)
	f.wantEvents(jobs, 4, 4)
}

func compactBoundsAreClamped(f *fixture) {
	var latest engine.EventID
	for _, before := range []engine.EventID{4, 100, math.MaxInt64, math.MaxInt64 + 1, math.MaxUint64} {
		latest += 3
		f.fill(jobs, latest)
		f.compact(jobs, max(before, latest), 3, 0, latest)
		f.wantEvents(jobs, latest+1, latest)
	}
}

func compactLeavesOtherTopics(f *fixture) {
	other := engine.MustTopic("other")
	f.fill(jobs, 5)
	f.fill(other, 5)
	f.compact(jobs, 4, 4, 1, 5)
	f.wantEvents(jobs, 5, 5)
	f.wantEvents(other, 1, 5)
}

func readsStartAtTheFirstLeft(f *fixture) {
	f.fill(jobs, 10)
	f.compact(jobs, 6, 6, 4, 10)
	for after := range engine.EventID(11) {
		first := max(after, 6) + 1
		records := f.read(jobs, after)
		if len(records) != int(11-first) || (first <= 10 && records[0].ID != first) {
			f.Fatalf("Read after %d of a topic with events 7 to 10 gave %v", after, ids(records))
		}
	}
	records, err := engine.ReadRange(f.ctx, f.log, jobs, 0, 2)
	if err != nil || len(records) != 2 || records[0].ID != 7 {
		f.Fatalf("ReadRange with limit 2 of a topic with events 7 to 10 gave %v, %v", ids(records), err)
	}
}

func compactLongTopics(f *fixture) {
	f.fillLong()
	var gone engine.EventID
	for _, before := range []engine.EventID{1, 500, 501, 1777, longLatest - 1} {
		f.compact(jobs, before, uint64(before-gone), uint64(longLatest-before), longLatest)
		gone = before
		f.wantEvents(jobs, before+1, longLatest)
	}
	f.fill(jobs, longLatest+10)
	f.wantEvents(jobs, longLatest, longLatest+10)
}

func runningReadsAreNeverWrong(f *fixture) {
	f.fillLong()
	s := f.pull(jobs, 0, f.log.Read(f.ctx, jobs, engine.ReadOptions{}))
	defer s.stop()
	s.take(1)
	f.compact(jobs, 2900, 2900, longLatest-2900, longLatest)
	err := s.end()
	if err == nil {
		if s.last != longLatest {
			f.Fatalf("a read that compaction overtook ends in silence after event %d", s.last)
		}
		return
	}
	f.wantCompacted(err, 2901)
}

func (f *fixture) wantCompacted(err error, first engine.EventID) {
	f.Helper()
	f.wantErr("a read that compaction overtook", err, engine.ErrCompacted)
	var compacted *engine.CompactedError
	if !errors.As(err, &compacted) || compacted.First != first {
		f.Fatalf("error %q holds no *engine.CompactedError with first %d", err, first)
	}
}

func compactRacingReadersAndAppends(f *fixture) {
	const last = 400
	f.fill(jobs, 100)
	err := parallel(4, func(i int) error {
		switch i {
		case 0:
			for id := engine.EventID(101); id <= last; id++ {
				if _, err := f.log.Append(f.ctx, jobs, numbered(id)); err != nil {
					return fmt.Errorf("append %d: %w", id, err)
				}
			}
		case 1:
			for before := engine.EventID(0); before < last; before += 10 {
				if err := f.compactRacing(before); err != nil {
					return fmt.Errorf("compact before %d: %w", before, err)
				}
			}
		default:
			for range 40 {
				if err := f.readRacing(); err != nil {
					return fmt.Errorf("read: %w", err)
				}
			}
		}
		return nil
	})
	if err != nil {
		f.Fatalf("compactions beside readers and an appender: %v", err)
	}
	f.wantLatest(jobs, last)
}

// compactRacing checks what a report can promise while appends go on.
func (f *fixture) compactRacing(before engine.EventID) error {
	r, err := f.log.Compact(f.ctx, jobs, before)
	if err != nil {
		return err
	}
	if r.Latest == nil {
		return errors.New("the report has no latest")
	}
	if latest := *r.Latest; r.Remaining != uint64(latest-min(before, latest)) {
		return fmt.Errorf("the report says %d remain, with latest %d", r.Remaining, latest)
	}
	records, err := engine.ReadRange(f.ctx, f.log, jobs, 0, 1)
	if err != nil && !errors.Is(err, engine.ErrCompacted) {
		return err
	}
	if len(records) > 0 && records[0].ID <= min(before, *r.Latest) {
		return fmt.Errorf("event %d is still readable", records[0].ID)
	}
	return nil
}

// readRacing checks what a read can promise while compactions go on.
func (f *fixture) readRacing() error {
	var last engine.EventID
	for r, err := range f.log.Read(f.ctx, jobs, engine.ReadOptions{}) {
		if errors.Is(err, engine.ErrCompacted) {
			return nil
		}
		if err != nil {
			return err
		}
		if last == 0 {
			last = r.ID - 1
		}
		last++
		if err := f.compareNumbered(r, jobs, last); err != nil {
			return err
		}
	}
	return nil
}
