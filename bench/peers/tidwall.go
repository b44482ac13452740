package main

import (
	"context"
	"iter"
	"path/filepath"
	"sync"

	"github.com/tidwall/wal"

	"github.com/seglog/seglog/bench"
	"github.com/seglog/seglog/engine"
)

// tidwallStore: a log for each topic; a write is synced before it returns, and
// the log's index has no holes, so appenders of a topic take turns.
func tidwallStore() store {
	return store{
		Store: bench.Store{Name: "tidwall", Open: func(dir string, setup bench.Setup) (engine.EventLog, error) {
			return &tidwallLog{base: base{"tidwall"}, dir: dir, sync: setup.Sync == engine.SyncAlways}, nil
		}},
		module:  "github.com/tidwall/wal",
		durable: true,
		note:    "a log for each topic; NoCopy",
	}
}

type tidwallLog struct {
	base
	dir    string
	sync   bool
	topics perTopic[*tidwallTopic]
}

type tidwallTopic struct {
	mu     sync.Mutex // held while appending
	log    *wal.Log
	latest uint64
}

func (t *tidwallLog) topic(topic engine.Topic) (*tidwallTopic, error) {
	return t.topics.get(topic.String(), func() (*tidwallTopic, error) {
		opts := *wal.DefaultOptions
		opts.NoSync, opts.NoCopy, opts.AllowEmpty = !t.sync, true, true
		log, err := wal.Open(filepath.Join(t.dir, topic.String()), &opts)
		if err != nil {
			return nil, err
		}
		latest, err := log.LastIndex()
		return &tidwallTopic{log: log, latest: latest}, err
	})
}

func (t *tidwallLog) Append(_ context.Context, topic engine.Topic, event engine.Event, _ ...engine.AppendOption) (engine.EventID, error) {
	s, err := t.topic(topic)
	if err != nil {
		return 0, err
	}
	var id engine.EventID
	err = withEnvelope(&event, func(envelope []byte) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if err := s.log.Write(s.latest+1, envelope); err != nil {
			return err
		}
		s.latest++
		id = engine.EventID(s.latest)
		return nil
	})
	return id, err
}

func (t *tidwallLog) AppendBatch(_ context.Context, topic engine.Topic, events []engine.Event, _ ...engine.AppendOption) (first, last engine.EventID, err error) {
	s, err := t.topic(topic)
	if err != nil {
		return 0, 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var batch wal.Batch
	for i := range events {
		_ = withEnvelope(&events[i], func(envelope []byte) error {
			batch.Write(s.latest+uint64(i)+1, envelope) // copies it
			return nil
		})
	}
	if err := s.log.WriteBatch(&batch); err != nil {
		return 0, 0, err
	}
	first = engine.EventID(s.latest + 1)
	s.latest += uint64(len(events))
	return first, engine.EventID(s.latest), nil
}

func (t *tidwallLog) Read(ctx context.Context, topic engine.Topic, opts engine.ReadOptions) iter.Seq2[engine.Record, error] {
	return decoded(topic, t.ReadRaw(ctx, topic, opts))
}

func (t *tidwallLog) ReadRaw(_ context.Context, topic engine.Topic, opts engine.ReadOptions) iter.Seq2[engine.RawRecord, error] {
	return func(yield func(engine.RawRecord, error) bool) {
		s, err := t.topic(topic)
		if err != nil {
			yield(engine.RawRecord{}, err)
			return
		}
		first, err := s.log.FirstIndex()
		if err != nil {
			yield(engine.RawRecord{}, err)
			return
		}
		last, err := s.log.LastIndex()
		if err != nil {
			yield(engine.RawRecord{}, err)
			return
		}
		for id := max(first, uint64(opts.After)+1); id <= boundedLast(last, opts); id++ {
			envelope, err := s.log.Read(id)
			if !yield(engine.RawRecord{ID: engine.EventID(id), Payload: envelope}, err) || err != nil {
				return
			}
		}
	}
}

// boundedLast is the last id of a read in a log without holes.
func boundedLast(last uint64, opts engine.ReadOptions) uint64 {
	if opts.Limit == 0 {
		return last
	}
	return min(last, uint64(opts.After)+uint64(opts.Limit))
}

func (t *tidwallLog) Latest(_ context.Context, topic engine.Topic) (engine.EventID, bool, error) {
	s, err := t.topic(topic)
	if err != nil {
		return 0, false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return engine.EventID(s.latest), s.latest > 0, nil
}

func (t *tidwallLog) Compact(_ context.Context, topic engine.Topic, before engine.EventID) (report engine.CompactReport, err error) {
	s, err := t.topic(topic)
	if err != nil {
		return report, err
	}
	first, err := s.log.FirstIndex()
	if err != nil {
		return report, err
	}
	report.Removed = uint64(before) + 1 - first
	return report, s.log.TruncateFront(uint64(before) + 1)
}

func (t *tidwallLog) Flush(context.Context) error {
	return t.topics.each(func(s *tidwallTopic) error { return s.log.Sync() })
}

func (t *tidwallLog) Close() error {
	return t.topics.each(func(s *tidwallTopic) error { return s.log.Close() })
}
