package main

import (
	"context"
	"encoding/binary"
	"iter"

	"github.com/dgraph-io/badger/v4"

	"github.com/seglog/seglog/bench"
	"github.com/seglog/seglog/engine"
)

// badgerStore: keys as in Pebble; the topic's lock is held until the
// transaction is queued, and the wait for it is outside. SyncWrites is off by
// default.
func badgerStore() store {
	return store{
		Store: bench.Store{Name: "badger", Open: func(dir string, setup bench.Setup) (engine.EventLog, error) {
			opts := badger.DefaultOptions(dir).WithSyncWrites(setup.Sync == engine.SyncAlways).
				WithDetectConflicts(false).WithLogger(nil)
			db, err := badger.Open(opts)
			if err != nil {
				return nil, err
			}
			return &badgerLog{base: base{"badger"}, db: db}, nil
		}},
		module:  "github.com/dgraph-io/badger/v4",
		durable: true,
		note:    "SyncWrites; Txn.CommitWith in the topic's lock, the wait outside it; DetectConflicts off",
	}
}

type badgerLog struct {
	base
	db     *badger.DB
	topics perTopic[*numbered]
}

func (b *badgerLog) topic(topic engine.Topic) (*numbered, error) {
	return b.topics.get(topic.String(), func() (*numbered, error) {
		n := &numbered{}
		err := b.db.View(func(txn *badger.Txn) error {
			it := txn.NewIterator(badger.IteratorOptions{Reverse: true, Prefix: eventPrefix(topic)})
			defer it.Close()
			if it.Seek(eventKey(nil, topic, lastID)); it.Valid() {
				n.latest = idOfKey(it.Item().Key())
			}
			return nil
		})
		return n, err
	})
}

func eventPrefix(topic engine.Topic) []byte { return append([]byte(topic.String()), 0) }

func (b *badgerLog) Append(ctx context.Context, topic engine.Topic, event engine.Event, _ ...engine.AppendOption) (engine.EventID, error) {
	first, _, err := b.AppendBatch(ctx, topic, []engine.Event{event})
	return first, err
}

func (b *badgerLog) AppendBatch(_ context.Context, topic engine.Topic, events []engine.Event, _ ...engine.AppendOption) (first, last engine.EventID, err error) {
	n, err := b.topic(topic)
	if err != nil {
		return 0, 0, err
	}
	txn := b.db.NewTransaction(true)
	defer txn.Discard()
	committed := make(chan error, 1)
	n.mu.Lock()
	first, last = n.latest+1, n.latest+engine.EventID(len(events))
	for i := range events {
		// badger keeps both until the commit.
		envelope := bench.AppendEnvelope(make([]byte, 0, len(events[i].Payload)+128), &events[i])
		if err := txn.Set(eventKey(nil, topic, first+engine.EventID(i)), envelope); err != nil {
			n.mu.Unlock()
			return 0, 0, err
		}
	}
	txn.CommitWith(func(err error) { committed <- err })
	n.latest = last
	n.mu.Unlock()
	return first, last, <-committed
}

func (b *badgerLog) Read(ctx context.Context, topic engine.Topic, opts engine.ReadOptions) iter.Seq2[engine.Record, error] {
	return decoded(topic, b.ReadRaw(ctx, topic, opts))
}

func (b *badgerLog) ReadRaw(_ context.Context, topic engine.Topic, opts engine.ReadOptions) iter.Seq2[engine.RawRecord, error] {
	return func(yield func(engine.RawRecord, error) bool) {
		txn := b.db.NewTransaction(false)
		defer txn.Discard()
		options := badger.DefaultIteratorOptions
		options.Prefix = eventPrefix(topic)
		if opts.Limit > 0 {
			options.PrefetchSize = min(options.PrefetchSize, opts.Limit)
		}
		it := txn.NewIterator(options)
		defer it.Close()
		left := opts.Limit
		for it.Seek(eventKey(nil, topic, opts.After+1)); it.Valid(); it.Next() {
			item, more := it.Item(), true
			err := item.Value(func(value []byte) error {
				more = yield(engine.RawRecord{ID: idOfKey(item.Key()), Payload: value}, nil)
				return nil
			})
			if err != nil {
				yield(engine.RawRecord{}, err)
				return
			}
			if left--; !more || left == 0 {
				return
			}
		}
	}
}

func (b *badgerLog) Ack(_ context.Context, topic engine.Topic, consumer engine.ConsumerID, upTo engine.EventID) error {
	return b.db.Update(func(txn *badger.Txn) error {
		return txn.Set(cursorKey(topic, consumer), binary.BigEndian.AppendUint64(nil, uint64(upTo)))
	})
}

func (b *badgerLog) Latest(_ context.Context, topic engine.Topic) (engine.EventID, bool, error) {
	n, err := b.topic(topic)
	if err != nil {
		return 0, false, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.latest, n.latest > 0, nil
}

// Compact deletes key by key: badger has no deletion of a range.
func (b *badgerLog) Compact(_ context.Context, topic engine.Topic, before engine.EventID) (report engine.CompactReport, err error) {
	batch := b.db.NewWriteBatch()
	defer batch.Cancel()
	for id := engine.EventID(1); id <= before; id++ {
		if err := batch.Delete(eventKey(nil, topic, id)); err != nil {
			return report, err
		}
		report.Removed++
	}
	return report, batch.Flush()
}

func (b *badgerLog) Flush(context.Context) error { return b.db.Sync() }

func (b *badgerLog) Close() error { return b.db.Close() }
