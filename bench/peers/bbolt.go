package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"

	"github.com/seglog/seglog/bench"
	"github.com/seglog/seglog/engine"
)

// bboltStore: a bucket for each topic, ids from the bucket's sequence. Appenders
// that meet share a transaction through DB.Batch; one that is alone would only
// wait for its timer, and takes a transaction of its own, as its documentation
// advises.
func bboltStore() store {
	return store{
		Store:   bench.Store{Name: "bbolt", Open: openBbolt},
		module:  "go.etcd.io/bbolt",
		durable: true,
		note:    "DB.Batch with MaxBatchDelay 0.5 ms, DB.Update for one that is alone; FillPercent 1",
	}
}

func openBbolt(dir string, setup bench.Setup) (engine.EventLog, error) {
	db, err := bbolt.Open(filepath.Join(dir, "bbolt.db"), 0o600, &bbolt.Options{
		FreelistType: bbolt.FreelistMapType,
		NoSync:       setup.Sync != engine.SyncAlways,
	})
	if err != nil {
		return nil, err
	}
	db.MaxBatchDelay = 500 * time.Microsecond
	return &bboltLog{base: base{"bbolt"}, db: db}, nil
}

type bboltLog struct {
	base
	db      *bbolt.DB
	waiting atomic.Int64 // appenders and ackers
}

var bboltCursors = []byte("\x00cursors")

// write runs fn in a transaction, which it may share. fn may run twice.
func (b *bboltLog) write(fn func(*bbolt.Tx) error) error {
	alone := b.waiting.Add(1) == 1
	defer b.waiting.Add(-1)
	if alone {
		return b.db.Update(fn)
	}
	return b.db.Batch(fn)
}

func (b *bboltLog) Append(ctx context.Context, topic engine.Topic, event engine.Event, _ ...engine.AppendOption) (engine.EventID, error) {
	first, _, err := b.AppendBatch(ctx, topic, []engine.Event{event})
	return first, err
}

func (b *bboltLog) AppendBatch(_ context.Context, topic engine.Topic, events []engine.Event, _ ...engine.AppendOption) (first, last engine.EventID, err error) {
	envelopes := make([][]byte, len(events)) // bbolt keeps them until the commit
	for i := range events {
		envelopes[i] = bench.AppendEnvelope(make([]byte, 0, len(events[i].Payload)+128), &events[i])
	}
	err = b.write(func(tx *bbolt.Tx) error {
		bucket, err := tx.CreateBucketIfNotExists([]byte(topic.String()))
		if err != nil {
			return err
		}
		bucket.FillPercent = 1 // keys only grow
		first = engine.EventID(bucket.Sequence() + 1)
		last = first + engine.EventID(len(events)) - 1
		for i, envelope := range envelopes {
			key := binary.BigEndian.AppendUint64(nil, uint64(first)+uint64(i))
			if err := bucket.Put(key, envelope); err != nil {
				return err
			}
		}
		return bucket.SetSequence(uint64(last))
	})
	return first, last, err
}

func (b *bboltLog) Read(ctx context.Context, topic engine.Topic, opts engine.ReadOptions) iter.Seq2[engine.Record, error] {
	return decoded(topic, b.ReadRaw(ctx, topic, opts))
}

var errStop = errors.New("the reader stops")

func (b *bboltLog) ReadRaw(_ context.Context, topic engine.Topic, opts engine.ReadOptions) iter.Seq2[engine.RawRecord, error] {
	return func(yield func(engine.RawRecord, error) bool) {
		err := b.db.View(func(tx *bbolt.Tx) error {
			bucket := tx.Bucket([]byte(topic.String()))
			if bucket == nil {
				return nil
			}
			left, cursor := opts.Limit, bucket.Cursor()
			from := binary.BigEndian.AppendUint64(nil, uint64(opts.After)+1)
			for key, value := cursor.Seek(from); key != nil; key, value = cursor.Next() {
				if !yield(engine.RawRecord{ID: idOfKey(key), Payload: value}, nil) {
					return errStop
				}
				if left--; left == 0 {
					return nil
				}
			}
			return nil
		})
		if err != nil && !errors.Is(err, errStop) {
			yield(engine.RawRecord{}, err)
		}
	}
}

func (b *bboltLog) Ack(_ context.Context, topic engine.Topic, consumer engine.ConsumerID, upTo engine.EventID) error {
	return b.write(func(tx *bbolt.Tx) error {
		bucket, err := tx.CreateBucketIfNotExists(bboltCursors)
		if err != nil {
			return err
		}
		return bucket.Put(cursorKey(topic, consumer), binary.BigEndian.AppendUint64(nil, uint64(upTo)))
	})
}

func (b *bboltLog) Latest(_ context.Context, topic engine.Topic) (latest engine.EventID, ok bool, err error) {
	err = b.db.View(func(tx *bbolt.Tx) error {
		if bucket := tx.Bucket([]byte(topic.String())); bucket != nil {
			latest, ok = engine.EventID(bucket.Sequence()), true
		}
		return nil
	})
	return latest, ok, err
}

func (b *bboltLog) Compact(_ context.Context, topic engine.Topic, before engine.EventID) (report engine.CompactReport, err error) {
	err = b.db.Update(func(tx *bbolt.Tx) error {
		bucket := tx.Bucket([]byte(topic.String()))
		if bucket == nil {
			return fmt.Errorf("no topic %s", topic)
		}
		cursor := bucket.Cursor()
		for key, _ := cursor.First(); key != nil && idOfKey(key) <= before; key, _ = cursor.Next() {
			if err := cursor.Delete(); err != nil {
				return err
			}
			report.Removed++
		}
		return nil
	})
	return report, err
}

func (b *bboltLog) Flush(context.Context) error { return b.db.Sync() }

func (b *bboltLog) Close() error { return b.db.Close() }
