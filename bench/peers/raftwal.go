package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftwal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/metadb"

	"github.com/seglog/seglog/bench"
	"github.com/seglog/seglog/engine"
)

// raftwalSegmentBytes is below the default of 64 MiB because segments are
// allocated whole, and a thousand topics would take all of a disk.
const raftwalSegmentBytes = 8 << 20

// raftwalStore: a log for each topic. It has one writer, as Raft has, and no
// form without a sync.
func raftwalStore() store {
	return store{
		Store: bench.Store{Name: "raftwal", Open: func(dir string, setup bench.Setup) (engine.EventLog, error) {
			if setup.Sync != engine.SyncAlways && !setup.Keep {
				return nil, fmt.Errorf("raftwal: append without sync: %w", errors.ErrUnsupported)
			}
			return &raftwalLog{base: base{"raftwal"}, dir: dir}, nil
		}},
		module:  "github.com/hashicorp/raft-wal",
		durable: true,
		note:    "a log for each topic, segments of 8 MiB",
	}
}

type raftwalLog struct {
	base
	dir    string
	topics perTopic[*raftwalTopic]
}

type raftwalTopic struct {
	mu     sync.Mutex // held while appending
	log    *raftwal.WAL
	meta   *metadb.BoltMetaDB // locked until it is closed, which WAL.Close leaves out
	latest uint64
}

func (r *raftwalLog) topic(topic engine.Topic) (*raftwalTopic, error) {
	return r.topics.get(topic.String(), func() (*raftwalTopic, error) {
		dir := filepath.Join(r.dir, topic.String())
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
		meta := &metadb.BoltMetaDB{}
		log, err := raftwal.Open(dir, raftwal.WithSegmentSize(raftwalSegmentBytes), raftwal.WithMetaStore(meta),
			raftwal.WithLogger(hclog.NewNullLogger()))
		if err != nil {
			return nil, err
		}
		latest, err := log.LastIndex()
		return &raftwalTopic{log: log, meta: meta, latest: latest}, err
	})
}

func (r *raftwalLog) Append(ctx context.Context, topic engine.Topic, event engine.Event, _ ...engine.AppendOption) (engine.EventID, error) {
	first, _, err := r.AppendBatch(ctx, topic, []engine.Event{event})
	return first, err
}

func (r *raftwalLog) AppendBatch(_ context.Context, topic engine.Topic, events []engine.Event, _ ...engine.AppendOption) (first, last engine.EventID, err error) {
	s, err := r.topic(topic)
	if err != nil {
		return 0, 0, err
	}
	logs := make([]*raft.Log, len(events))
	now := time.Now()
	for i := range events {
		logs[i] = &raft.Log{
			Data:       bench.AppendEnvelope(make([]byte, 0, len(events[i].Payload)+128), &events[i]),
			AppendedAt: now,
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, log := range logs {
		log.Index = s.latest + 1 + uint64(i)
	}
	if err := s.log.StoreLogs(logs); err != nil {
		return 0, 0, err
	}
	first = engine.EventID(s.latest + 1)
	s.latest += uint64(len(events))
	return first, engine.EventID(s.latest), nil
}

func (r *raftwalLog) Read(ctx context.Context, topic engine.Topic, opts engine.ReadOptions) iter.Seq2[engine.Record, error] {
	return decoded(topic, r.ReadRaw(ctx, topic, opts))
}

func (r *raftwalLog) ReadRaw(_ context.Context, topic engine.Topic, opts engine.ReadOptions) iter.Seq2[engine.RawRecord, error] {
	return func(yield func(engine.RawRecord, error) bool) {
		s, err := r.topic(topic)
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
			var log raft.Log
			err := s.log.GetLog(id, &log)
			if !yield(engine.RawRecord{ID: engine.EventID(id), Payload: log.Data}, err) || err != nil {
				return
			}
		}
	}
}

func (r *raftwalLog) Latest(_ context.Context, topic engine.Topic) (engine.EventID, bool, error) {
	s, err := r.topic(topic)
	if err != nil {
		return 0, false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return engine.EventID(s.latest), s.latest > 0, nil
}

func (r *raftwalLog) Compact(_ context.Context, topic engine.Topic, before engine.EventID) (report engine.CompactReport, err error) {
	s, err := r.topic(topic)
	if err != nil {
		return report, err
	}
	first, err := s.log.FirstIndex()
	if err != nil {
		return report, err
	}
	report.Removed = uint64(before) + 1 - first
	return report, s.log.DeleteRange(first, uint64(before))
}

// Flush has nothing to do: there is no append without a sync.
func (r *raftwalLog) Flush(context.Context) error { return nil }

func (r *raftwalLog) Close() error {
	return r.topics.each(func(s *raftwalTopic) error { return errors.Join(s.log.Close(), s.meta.Close()) })
}
