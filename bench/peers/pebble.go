package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"

	"github.com/cockroachdb/pebble/v2"

	"github.com/seglog/seglog/bench"
	"github.com/seglog/seglog/engine"
)

// pebbleStore: keys are the topic, a zero byte and the id; the topic's lock is
// held until the batch has its place in the commit order, and the wait for the
// sync is outside it, so that many share one.
func pebbleStore() store {
	return store{
		Store: bench.Store{Name: "pebble", Open: func(dir string, setup bench.Setup) (engine.EventLog, error) {
			db, err := pebble.Open(dir, &pebble.Options{FormatMajorVersion: pebble.FormatNewest, Logger: quiet{}})
			if err != nil {
				return nil, err
			}
			return &pebbleLog{base: base{"pebble"}, db: db, sync: setup.Sync == engine.SyncAlways}, nil
		}},
		module:  "github.com/cockroachdb/pebble/v2",
		durable: true,
		note:    "ApplyNoSyncWait in the topic's lock, SyncWait outside it",
	}
}

type pebbleLog struct {
	base
	db     *pebble.DB
	sync   bool
	topics perTopic[*numbered]
}

// quiet drops what a store logs.
type quiet struct{}

func (quiet) Infof(string, ...any)           {}
func (quiet) Errorf(string, ...any)          {}
func (quiet) Fatalf(format string, a ...any) { panic(fmt.Sprintf(format, a...)) }

// eventKey is the key of an event in stores of sorted keys. Topics hold no zero
// byte.
func eventKey(dst []byte, topic engine.Topic, id engine.EventID) []byte {
	dst = append(append(dst, topic.String()...), 0)
	return binary.BigEndian.AppendUint64(dst, uint64(id))
}

func idOfKey(key []byte) engine.EventID {
	return engine.EventID(binary.BigEndian.Uint64(key[len(key)-8:]))
}

// cursorKey does not meet an event's: a topic begins with no zero byte.
func cursorKey(topic engine.Topic, consumer engine.ConsumerID) []byte {
	return []byte("\x00" + topic.String() + "\x00" + consumer.String())
}

const lastID = ^engine.EventID(0)

func (p *pebbleLog) topic(topic engine.Topic) (*numbered, error) {
	return p.topics.get(topic.String(), func() (*numbered, error) {
		it, err := p.events(topic, 0)
		if err != nil {
			return nil, err
		}
		n := &numbered{}
		if it.Last() {
			n.latest = idOfKey(it.Key())
		}
		return n, errors.Join(it.Error(), it.Close())
	})
}

func (p *pebbleLog) events(topic engine.Topic, after engine.EventID) (*pebble.Iterator, error) {
	return p.db.NewIter(&pebble.IterOptions{LowerBound: eventKey(nil, topic, after+1), UpperBound: eventKey(nil, topic, lastID)})
}

func (p *pebbleLog) Append(ctx context.Context, topic engine.Topic, event engine.Event, _ ...engine.AppendOption) (engine.EventID, error) {
	first, _, err := p.AppendBatch(ctx, topic, []engine.Event{event})
	return first, err
}

func (p *pebbleLog) AppendBatch(_ context.Context, topic engine.Topic, events []engine.Event, _ ...engine.AppendOption) (first, last engine.EventID, err error) {
	n, err := p.topic(topic)
	if err != nil {
		return 0, 0, err
	}
	batch := p.db.NewBatch()
	n.mu.Lock()
	first, last = n.latest+1, n.latest+engine.EventID(len(events))
	var key []byte
	for i := range events {
		key = eventKey(key[:0], topic, first+engine.EventID(i))
		if err == nil {
			err = withEnvelope(&events[i], func(envelope []byte) error { return batch.Set(key, envelope, nil) })
		}
	}
	if err == nil {
		err = p.apply(batch)
	}
	if err == nil {
		n.latest = last
	}
	n.mu.Unlock()
	if err == nil && p.sync {
		err = batch.SyncWait()
	}
	return first, last, errors.Join(err, batch.Close())
}

// apply gives the batch its place; with sync it is durable after SyncWait.
func (p *pebbleLog) apply(batch *pebble.Batch) error {
	if p.sync {
		return p.db.ApplyNoSyncWait(batch, pebble.Sync)
	}
	return p.db.Apply(batch, pebble.NoSync)
}

func (p *pebbleLog) Read(ctx context.Context, topic engine.Topic, opts engine.ReadOptions) iter.Seq2[engine.Record, error] {
	return decoded(topic, p.ReadRaw(ctx, topic, opts))
}

func (p *pebbleLog) ReadRaw(_ context.Context, topic engine.Topic, opts engine.ReadOptions) iter.Seq2[engine.RawRecord, error] {
	return func(yield func(engine.RawRecord, error) bool) {
		it, err := p.events(topic, opts.After)
		if err != nil {
			yield(engine.RawRecord{}, err)
			return
		}
		defer it.Close()
		left := opts.Limit
		for ok := it.First(); ok; ok = it.Next() {
			value, err := it.ValueAndErr()
			if !yield(engine.RawRecord{ID: idOfKey(it.Key()), Payload: value}, err) || err != nil {
				return
			}
			if left--; left == 0 {
				return
			}
		}
		if err := it.Error(); err != nil {
			yield(engine.RawRecord{}, err)
		}
	}
}

func (p *pebbleLog) Ack(_ context.Context, topic engine.Topic, consumer engine.ConsumerID, upTo engine.EventID) error {
	sync := pebble.NoSync
	if p.sync {
		sync = pebble.Sync
	}
	return p.db.Set(cursorKey(topic, consumer), binary.BigEndian.AppendUint64(nil, uint64(upTo)), sync)
}

func (p *pebbleLog) Latest(_ context.Context, topic engine.Topic) (engine.EventID, bool, error) {
	n, err := p.topic(topic)
	if err != nil {
		return 0, false, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.latest, n.latest > 0, nil
}

// Compact writes one range tombstone; the space is freed by compactions in the
// background.
func (p *pebbleLog) Compact(_ context.Context, topic engine.Topic, before engine.EventID) (engine.CompactReport, error) {
	removed := engine.CompactReport{Removed: uint64(before)} // dense from 1 in the workload
	return removed, p.db.DeleteRange(eventKey(nil, topic, 1), eventKey(nil, topic, before+1), pebble.Sync)
}

func (p *pebbleLog) Flush(context.Context) error { return p.db.LogData(nil, pebble.Sync) }

func (p *pebbleLog) Close() error { return p.db.Close() }
