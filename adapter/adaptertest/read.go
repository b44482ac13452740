package adaptertest

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/seglog/seglog/engine"
)

var readRules = []rule{
	{"BoundsSelectTheRange", boundsSelectTheRange},
	{"ReadRangeLimitZeroReturnsNone", readRangeLimitZeroReturnsNone},
	{"UnknownTopicIsEmptyAndNotMade", unknownTopicIsEmptyAndNotMade},
	{"AppendsAreSeenOnceAcknowledged", appendsAreSeenOnceAcknowledged},
	{"EndsWhereTheTopicEndedAtItsStart", endsWhereTheTopicEndedAtItsStart},
	{"LongTopicsAreReadWhole", longTopicsAreReadWhole},
	{"StoppingEarlyReleases", stoppingEarlyReleases},
	{"RecordsBelongToTheCaller", recordsBelongToTheCaller},
	{"CancelledContextEndsIt", cancelledContextEndsRead},
	{"ManyReadersBesideAppends", manyReadersBesideAppends},
}

func boundsSelectTheRange(f *fixture) {
	const latest = 10
	f.fill(jobs, latest)
	for _, after := range []engine.EventID{0, 1, 4, latest - 1, latest, latest + 1, math.MaxUint64} {
		for _, limit := range []int{0, 1, 2, latest, latest + 1, math.MaxInt} {
			f.wantRange(after, limit, latest)
		}
	}
}

// wantRange reads jobs, whose events are numbered up to latest.
func (f *fixture) wantRange(after engine.EventID, limit int, latest engine.EventID) {
	f.Helper()
	want := uint64(latest - min(after, latest))
	if limit > 0 {
		want = min(want, uint64(limit))
	}
	var n uint64
	for r, err := range f.log.Read(f.ctx, jobs, engine.ReadOptions{After: after, Limit: limit}) {
		if err != nil {
			f.Fatalf("Read after %d, limit %d: %v", after, limit, err)
		}
		n++
		if err := f.compareNumbered(r, jobs, after+engine.EventID(n)); err != nil {
			f.Fatalf("Read after %d, limit %d: %v", after, limit, err)
		}
	}
	if n != want {
		f.Fatalf("Read after %d, limit %d of %d events gave %d, want %d", after, limit, latest, n, want)
	}
}

func readRangeLimitZeroReturnsNone(f *fixture) {
	f.fill(jobs, 3)
	for limit, want := range map[int]int{0: 0, 1: 1, 2: 2, 3: 3, 4: 3, engine.NoLimit: 3} {
		records, err := engine.ReadRange(f.ctx, f.log, jobs, 0, limit)
		if err != nil || len(records) != want {
			f.Fatalf("ReadRange with limit %d of 3 events gave %d and error %v, want %d", limit, len(records), err, want)
		}
	}
}

func unknownTopicIsEmptyAndNotMade(f *fixture) {
	f.wantUntouched(jobs, "before anything was appended")
	if records := f.read(jobs, 7); len(records) > 0 {
		f.Fatalf("Read of an unknown topic after 7 gave %d events", len(records))
	}
	f.wantTopics()
}

func appendsAreSeenOnceAcknowledged(f *fixture) {
	for id := engine.EventID(1); id <= 20; id++ {
		f.append(jobs, numbered(id), id)
		f.wantEvents(jobs, 1, id)
	}
}

func endsWhereTheTopicEndedAtItsStart(f *fixture) {
	f.fill(jobs, 3)
	s := f.pull(jobs, 0, f.log.Read(f.ctx, jobs, engine.ReadOptions{}))
	defer s.stop()
	s.take(1)
	f.fill(jobs, 4)
	s.take(3)
	if r, err, ok := s.next(); ok {
		f.Fatalf("a read that began before event 4 was appended goes on with event %d, error %v", r.ID, err)
	}
}

// longLatest is enough events for several blocks of any backend.
const longLatest = 3000

// fillLong appends numbered events in commits of different sizes.
func (f *fixture) fillLong() {
	f.Helper()
	for latest := engine.EventID(0); latest < longLatest; {
		latest = min(latest*3/2+1, longLatest)
		f.fill(jobs, latest)
	}
}

func longTopicsAreReadWhole(f *fixture) {
	f.fillLong()
	f.wantEvents(jobs, 1, longLatest)
	for after := engine.EventID(0); after < longLatest; after += 97 {
		f.wantRange(after, 5, longLatest)
	}
}

func stoppingEarlyReleases(f *fixture) {
	f.fill(jobs, 10)
	for range 200 {
		for _, err := range f.log.Read(f.ctx, jobs, engine.ReadOptions{}) {
			if err != nil {
				f.Fatalf("Read: %v", err)
			}
			break
		}
		f.log.Read(f.ctx, jobs, engine.ReadOptions{}) // never ranged over
	}
	f.fill(jobs, 11)
	f.compact(jobs, 5, 5, 6, 11)
	f.wantEvents(jobs, 6, 11)
}

func recordsBelongToTheCaller(f *fixture) {
	f.fill(jobs, 50)
	kept := f.read(jobs, 0)
	for _, r := range f.read(jobs, 0) {
		scribble(&r.Event)
	}
	for i := range kept {
		// What lies behind a payload is not another record's either.
		_ = append(kept[i].Payload, strings.Repeat("#", 64)...)
	}
	f.fill(jobs, 100)
	f.compact(jobs, 25, 25, 75, 100)
	for i, r := range kept {
		if err := f.compareNumbered(r, jobs, engine.EventID(i+1)); err != nil {
			f.Fatalf("a record changed after it was read: %v", err)
		}
	}
	f.wantEvents(jobs, 26, 100)
}

func cancelledContextEndsRead(f *fixture) {
	f.fillLong()
	ctx, cancel := context.WithCancel(f.ctx)
	s := f.pull(jobs, 0, f.log.Read(ctx, jobs, engine.ReadOptions{}))
	defer s.stop()
	s.take(3)
	cancel()
	f.wantCanceled("a read that had begun", s.end())
	if s.last == longLatest {
		f.Fatalf("a read yields all %d events after its context was cancelled at the third", longLatest)
	}
	f.wantCanceled("a new read", firstErr(f, "Read under a cancelled context", f.pull(jobs, 0, f.log.Read(ctx, jobs, engine.ReadOptions{}))))
}

func manyReadersBesideAppends(f *fixture) {
	f.fill(jobs, 100)
	err := parallel(1+appenders, func(i int) error {
		if i == 0 {
			for id := engine.EventID(101); id <= 200; id++ {
				if _, err := f.log.Append(f.ctx, jobs, numbered(id)); err != nil {
					return err
				}
			}
			return nil
		}
		for range 10 {
			latest, _, err := f.log.Latest(f.ctx, jobs)
			if err != nil {
				return err
			}
			if err := f.checkReader(latest); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		f.Fatalf("readers beside an appender: %v", err)
	}
}

// checkReader reads jobs, whose latest event was seen to be atLeast.
func (f *fixture) checkReader(atLeast engine.EventID) error {
	var last engine.EventID
	for r, err := range f.log.Read(f.ctx, jobs, engine.ReadOptions{}) {
		if err != nil {
			return err
		}
		if err := f.compareNumbered(r, jobs, last+1); err != nil {
			return err
		}
		last++
	}
	if last < atLeast {
		return fmt.Errorf("a read ends at event %d, latest was %d before", last, atLeast)
	}
	return nil
}

// ids returns the ids of records, for messages.
func ids(records []engine.Record) []engine.EventID {
	return slices.Collect(func(yield func(engine.EventID) bool) {
		for _, r := range records {
			if !yield(r.ID) {
				return
			}
		}
	})
}
