package sqlite

import (
	"errors"
	"math"
	"testing"

	"github.com/seglog/seglog/engine"
)

func TestCompactChecksPoints(t *testing.T) {
	log := openLog(t, newFile(t), Options{})
	fill(t, log, jobs, 10)
	report, err := log.Compact(t.Context(), jobs, 4)
	if err != nil || report.Removed != 4 || report.Remaining != 6 || *report.Latest != 10 || !report.Checkpointed {
		t.Fatalf("Compact gave %+v, %v", report, err)
	}
	if size, err := fileSize(log.file + "-wal"); size != 0 || err != nil {
		t.Errorf("the write-ahead log has %d bytes, %v, after a compaction", size, err)
	}
	report, err = log.Compact(t.Context(), engine.MustTopic("unknown"), math.MaxUint64)
	if err != nil || report.Removed != 0 || report.Remaining != 0 || report.Latest != nil || !report.Checkpointed {
		t.Errorf("Compact of an unknown topic gave %+v, %v", report, err)
	}
	wantNumbered(t, log, jobs, 5, 10)
}

func TestCompactBesideAReaderOfAnOldSnapshotSaysItDidNotCheckpoint(t *testing.T) {
	for _, policy := range []engine.SyncPolicy{engine.SyncAlways, engine.SyncNever} {
		file := newFile(t)
		log := openLog(t, file, Options{Sync: policy})
		fill(t, log, jobs, 10)
		other := openSeed(t, file, false)
		other.query("BEGIN", nil)
		other.readRange("jobs", 0, 1)
		fill(t, log, jobs, 11)

		report, err := log.Compact(t.Context(), jobs, 4)
		if err != nil || report.Removed != 4 || report.Remaining != 7 || report.Checkpointed {
			t.Fatalf("Compact gave %+v, %v", report, err)
		}
		if got := other.readRange("jobs", 0, 100); len(got) != 10 {
			t.Errorf("the old snapshot shows %d events, want 10", len(got))
		}
		wantNumbered(t, log, jobs, 5, 11)
		other.query("COMMIT", nil)
		if report, err = log.Compact(t.Context(), jobs, 4); err != nil || !report.Checkpointed {
			t.Errorf("Compact without the reader gave %+v, %v", report, err)
		}
		other.close()
	}
}

// longTopic has more events than a read fetches at once.
const longTopic = 4 * pageEventsMax

func TestReadsThatCompactionOvertakesAreNeverWrong(t *testing.T) {
	log := openLog(t, newFile(t), Options{})
	fill(t, log, jobs, longTopic)
	read := pull(t, 0, log.Read(t.Context(), jobs, engine.ReadOptions{}))
	live := pull(t, 0, log.Subscribe(t.Context(), jobs, engine.SubscribeOptions{}))
	read.take(1)
	live.take(1)
	report, err := log.Compact(t.Context(), jobs, longTopic-10)
	if err != nil || !report.Checkpointed {
		t.Fatalf("Compact beside a read that is between two records gave %+v, %v", report, err)
	}
	const first = longTopic - 10 + 1
	readTo, err := drain(t, read)
	if compacted := new(engine.CompactedError); !errors.As(err, &compacted) || compacted.First != first {
		t.Errorf("Read ended after event %d with %v, want compacted up to %d", readTo, err, first)
	}
	liveTo, err := drain(t, live)
	if lagged := new(engine.LaggedError); !errors.As(err, &lagged) || lagged.First != first || lagged.LastID != liveTo {
		t.Errorf("Subscribe ended after event %d with %v, want lagged, first %d", liveTo, err, first)
	}
}

// drain takes numbered events up to an error.
func drain(t *testing.T, s *stream) (last engine.EventID, err error) {
	t.Helper()
	for {
		r, err, ok := s.next()
		if err != nil || !ok {
			return s.last, err
		}
		if r.ID != s.last+1 || string(r.Payload) != string(numbered(r.ID).Payload) {
			t.Fatalf("event %d %s came after event %d", r.ID, r.Payload, s.last)
		}
		s.last = r.ID
	}
}

func TestEmptyingATopicEndsItsReads(t *testing.T) {
	log := openLog(t, newFile(t), Options{})
	fill(t, log, jobs, longTopic)
	read := pull(t, 0, log.Read(t.Context(), jobs, engine.ReadOptions{}))
	read.take(1)
	if _, err := log.Compact(t.Context(), jobs, math.MaxUint64); err != nil {
		t.Fatal(err)
	}
	_, err := drain(t, read)
	if compacted := new(engine.CompactedError); !errors.As(err, &compacted) || compacted.First != longTopic+1 {
		t.Errorf("Read ended with %v, want compacted up to %d", err, longTopic+1)
	}
	fill(t, log, jobs, longTopic+1)
	wantNumbered(t, log, jobs, longTopic+1, longTopic+1)
}
