package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"

	"github.com/seglog/seglog/bench"
	"github.com/seglog/seglog/engine"
)

// store is one kind of log, with what its figures need beside them.
type store struct {
	bench.Store
	module  string // whose version the run notes
	durable bool   // with [engine.SyncAlways] an append that returned is on disk
	note    string
	// rows are the rows that it takes part in, or their first words; nil: all.
	// Some stores are another one with other settings, and differ in a few rows
	// only.
	rows []string
	// loadOf is the store whose load it has in an open loop; nil: its own.
	loadOf func() store
}

// stores returns all, in the order of the tables.
func stores() []store {
	return append(ownStores(),
		pebbleStore(),
		bboltStore(),
		badgerStore(),
		raftwalStore(),
		tidwallStore(),
		jsonlStore(),
		natsStore(),
		natsDefaultStore(),
		sqliteStore(modernc, "FULL"),
		sqliteStore(modernc, "NORMAL"),
		sqliteStore(ncruces, "FULL"),
		sqliteStore(ncruces, "NORMAL"),
	)
}

// base refuses what a store does not offer. A driver embeds it and overrides
// the rest.
type base struct{ name string }

func (b base) refuse(operation string) error {
	return fmt.Errorf("%s: %s: %w", b.name, operation, errors.ErrUnsupported)
}

func (b base) Append(context.Context, engine.Topic, engine.Event, ...engine.AppendOption) (engine.EventID, error) {
	return 0, b.refuse("append")
}

func (b base) AppendBatch(context.Context, engine.Topic, []engine.Event, ...engine.AppendOption) (first, last engine.EventID, err error) {
	return 0, 0, b.refuse("append batch")
}

func (b base) Read(context.Context, engine.Topic, engine.ReadOptions) iter.Seq2[engine.Record, error] {
	return func(yield func(engine.Record, error) bool) { yield(engine.Record{}, b.refuse("read")) }
}

func (b base) Subscribe(context.Context, engine.Topic, engine.SubscribeOptions) iter.Seq2[engine.Record, error] {
	return func(yield func(engine.Record, error) bool) { yield(engine.Record{}, b.refuse("subscribe")) }
}

func (b base) Ack(context.Context, engine.Topic, engine.ConsumerID, engine.EventID) error {
	return b.refuse("ack")
}

func (b base) Cursor(context.Context, engine.Topic, engine.ConsumerID) (engine.EventID, bool, error) {
	return 0, false, b.refuse("cursor")
}

func (b base) Latest(context.Context, engine.Topic) (engine.EventID, bool, error) {
	return 0, false, b.refuse("latest")
}

func (b base) Topics(context.Context) ([]engine.Topic, error) { return nil, b.refuse("topics") }

func (b base) Compact(context.Context, engine.Topic, engine.EventID) (engine.CompactReport, error) {
	return engine.CompactReport{}, b.refuse("compact")
}

func (b base) Flush(context.Context) error { return b.refuse("flush") }

func (b base) Describe(context.Context) (engine.Description, error) {
	return engine.Description{Backend: engine.BackendKind(b.name)}, nil
}

func (b base) Close() error { return nil }

var _ engine.EventLog = base{}

// rawReader is a store that lends the bytes it has: here, encoded envelopes.
type rawReader interface {
	ReadRaw(ctx context.Context, topic engine.Topic, opts engine.ReadOptions) iter.Seq2[engine.RawRecord, error]
}

// decoded is Read of a store that keeps envelopes: ReadRaw, and each decoded.
func decoded(topic engine.Topic, raw iter.Seq2[engine.RawRecord, error]) iter.Seq2[engine.Record, error] {
	return func(yield func(engine.Record, error) bool) {
		for r, err := range raw {
			record := engine.Record{ID: r.ID, Topic: topic}
			if err == nil {
				record.Event, err = bench.DecodeEnvelope(r.Payload)
			}
			if !yield(record, err) || err != nil {
				return
			}
		}
	}
}

// envelopes are buffers for events under construction.
var envelopes = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// withEnvelope encodes the event and lends it to use.
func withEnvelope(event *engine.Event, use func(envelope []byte) error) error {
	buf := envelopes.Get().(*bytes.Buffer)
	defer envelopes.Put(buf)
	buf.Reset()
	buf.Write(bench.AppendEnvelope(buf.AvailableBuffer(), event))
	return use(buf.Bytes())
}

// perTopic is what a driver holds for each topic, made at its first use.
type perTopic[S any] struct {
	mu     sync.RWMutex
	states map[string]S // guarded by mu
}

func (p *perTopic[S]) get(topic string, open func() (S, error)) (S, error) {
	p.mu.RLock()
	state, ok := p.states[topic]
	p.mu.RUnlock()
	if ok {
		return state, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if state, ok := p.states[topic]; ok {
		return state, nil
	}
	state, err := open()
	if err != nil {
		return state, err
	}
	if p.states == nil {
		p.states = map[string]S{}
	}
	p.states[topic] = state
	return state, nil
}

// each calls use for every topic's state and joins the errors.
func (p *perTopic[S]) each(use func(S) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for _, state := range p.states {
		errs = append(errs, use(state))
	}
	return errors.Join(errs...)
}

// numbered is a topic of a store that has keys and not ids.
type numbered struct {
	mu     sync.Mutex // held from taking an id until the store has the event's place
	latest engine.EventID
}

func storeNamed(name string) (store, error) {
	for _, s := range stores() {
		if s.Name == name {
			return s, nil
		}
	}
	return store{}, fmt.Errorf("there is no store %q", name)
}
