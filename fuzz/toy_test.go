package fuzz

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"github.com/cespare/xxhash/v2"

	"github.com/seglog/seglog/adapter/memory"
	"github.com/seglog/seglog/engine"
	"github.com/seglog/seglog/fuzz/rig"
	"github.com/seglog/seglog/internal/env"
	"github.com/seglog/seglog/internal/vfs"
)

// toyLog is the simplest log that is safe: a journal of calls in front of the
// memory backend. It is there to test the tests: each of its faults must be
// found, and without one nothing may be.
type toyLog struct {
	*memory.Log
	fs     vfs.FS
	file   vfs.File
	lock   interface{ Close() error }
	size   int64
	failed error
	flaw   flaw
}

type flaw string

const (
	noFlaw         flaw = ""
	neverSyncs     flaw = "never syncs"
	noDirSync      flaw = "does not sync the directory"
	ignoresSyncErr flaw = "ignores a failed sync"
	retriesSync    flaw = "tries a failed sync again"
	keepsTail      flaw = "appends behind a torn record"
	visibleFirst   flaw = "shows an append before it is durable"
	splitsBatch    flaw = "writes a batch as single appends"
	forgetsCursor  flaw = "keeps no cursors"
	leaksFile      flaw = "leaves its file open"
)

var toyFlaws = []flaw{
	neverSyncs, noDirSync, ignoresSyncErr, retriesSync, keepsTail, visibleFirst, splitsBatch, forgetsCursor, leaksFile,
}

func toy(f flaw) rig.Target {
	return rig.Target{Name: "toy", Open: func(e env.Env, _ engine.Options) (engine.EventLog, error) {
		l := &toyLog{Log: memory.New(memory.Options{}), fs: e.FS, flaw: f}
		if err := l.open(); err != nil {
			l.release()
			return nil, ioError("open", err)
		}
		return l, nil
	}}
}

func ioError(what string, err error) error {
	if errors.Is(err, vfs.ErrNoSpace) {
		return fmt.Errorf("%s: %w: %w", what, engine.ErrNoSpace, err)
	}
	return fmt.Errorf("%s: %w: %w", what, engine.ErrIO, err)
}

// call is one record of the journal.
type call struct {
	Op       string
	Topic    string
	Consumer string
	ID       uint64
	Expect   *engine.EventID
	Events   []stored
	Parts    []call
}

// stored is an event whose payload keeps its white space.
type stored struct {
	engine.Event
	Bytes []byte
}

func store(events []engine.Event) []stored {
	out := make([]stored, len(events))
	for i, e := range events {
		out[i] = stored{e, e.Payload}
		out[i].Payload = nil
	}
	return out
}

func restore(events []stored) []engine.Event {
	out := make([]engine.Event, len(events))
	for i, e := range events {
		out[i] = e.Event
		out[i].Payload = e.Bytes
	}
	return out
}

func (l *toyLog) open() (err error) {
	if l.lock, err = l.fs.Lock("LOCK"); err != nil {
		return err
	}
	l.file, err = l.fs.Open("journal")
	if errors.Is(err, fs.ErrNotExist) {
		l.file, err = l.fs.Create("journal")
	}
	if err != nil {
		return err
	}
	if err := l.replay(); err != nil {
		return err
	}
	if l.flaw == keepsTail {
		return nil
	}
	return l.rewrite()
}

// rewrite moves what was replayed to a new file: what was read may be in the
// page cache alone, after a sync that failed.
func (l *toyLog) rewrite() error {
	b := make([]byte, l.size)
	if _, err := l.file.ReadAt(b, 0); err != nil && l.size > 0 {
		return err
	}
	if err := l.fs.Remove("new"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := l.fs.Create("new")
	if err != nil {
		return err
	}
	old := l.file
	l.file = file
	if err := old.Close(); err != nil {
		return err
	}
	if _, err := file.WriteAt(b, 0); err != nil {
		return err
	}
	if l.flaw != neverSyncs {
		if err := file.Sync(); err != nil {
			return err
		}
	}
	if err := l.fs.Rename("new", "journal"); err != nil {
		return err
	}
	if l.flaw == noDirSync {
		return nil
	}
	return l.fs.SyncDir(".")
}

// replay does the calls of the journal again, up to the first that is torn.
func (l *toyLog) replay() error {
	size, err := l.file.Size()
	if err != nil {
		return err
	}
	b := make([]byte, size)
	if _, err := l.file.ReadAt(b, 0); err != nil && size > 0 {
		return err
	}
	for len(b) >= 16 {
		n := binary.LittleEndian.Uint64(b)
		if n == 0 || n > uint64(len(b)-16) {
			break
		}
		body := b[16 : 16+n]
		var c call
		if xxhash.Sum64(body) != binary.LittleEndian.Uint64(b[8:]) || json.Unmarshal(body, &c) != nil {
			break
		}
		l.apply(c)
		b = b[16+n:]
		l.size += int64(16 + n)
	}
	if l.flaw == keepsTail {
		l.size = size
	}
	return nil
}

// apply hands a call to the memory backend. What that refuses now it refused
// when it was written, too.
func (l *toyLog) apply(c call) (any, error) {
	ctx := context.Background()
	var opts []engine.AppendOption
	if c.Expect != nil {
		opts = append(opts, engine.ExpectLatest(*c.Expect))
	}
	switch c.Op {
	case "append":
		first, _, err := l.Log.AppendBatch(ctx, engine.MustTopic(c.Topic), restore(c.Events), opts...)
		return first, err
	case "ack":
		return nil, l.Log.Ack(ctx, engine.MustTopic(c.Topic), engine.MustConsumerID(c.Consumer), engine.EventID(c.ID))
	case "uncursor":
		return nil, l.deleter().DeleteCursor(ctx, engine.MustTopic(c.Topic), engine.MustConsumerID(c.Consumer))
	case "compact":
		return l.Log.Compact(ctx, engine.MustTopic(c.Topic), engine.EventID(c.ID))
	case "restore":
		return nil, l.Log.RestoreTopic(ctx, engine.MustTopic(c.Topic), engine.EventID(c.ID))
	}
	var b engine.Batch
	for _, p := range c.Parts {
		switch topic := engine.MustTopic(p.Topic); p.Op {
		case "append":
			b.Append(topic, restore(p.Events)...)
		case "ack":
			b.Ack(topic, engine.MustConsumerID(p.Consumer), engine.EventID(p.ID))
		case "expect":
			b.ExpectLatest(topic, engine.EventID(p.ID))
		}
	}
	return l.Log.Commit(ctx, &b)
}

// do writes a call, syncs it and applies it.
func (l *toyLog) do(c call) (any, error) {
	if l.failed != nil {
		return nil, l.failed
	}
	if l.flaw == splitsBatch && len(c.Events) > 1 {
		first := engine.EventID(0)
		for i := range c.Events {
			one := c
			one.Events = c.Events[i : i+1]
			if i > 0 {
				one.Expect = nil
			}
			id, err := l.do(one)
			if err != nil {
				return engine.EventID(0), err
			}
			if i == 0 {
				first = id.(engine.EventID)
			}
		}
		return first, nil
	}
	var result any
	var refused error
	if l.flaw == visibleFirst {
		result, refused = l.apply(c)
	}
	if err := l.write(c); err != nil {
		err = ioError(c.Op, err)
		l.failed = fmt.Errorf("%w: %w", engine.ErrFailed, err)
		return nil, err
	}
	if l.flaw == visibleFirst {
		return result, refused
	}
	return l.apply(c)
}

func (l *toyLog) write(c call) error {
	if l.flaw == forgetsCursor && c.Op == "ack" {
		return nil
	}
	body, err := json.Marshal(c)
	if err != nil {
		return err
	}
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(body)))
	b = binary.LittleEndian.AppendUint64(b, xxhash.Sum64(body))
	b = append(b, body...)
	if _, err := l.file.WriteAt(b, l.size); err != nil {
		return err
	}
	if err := l.sync(); err != nil {
		return err
	}
	l.size += int64(len(b))
	return nil
}

func (l *toyLog) sync() error {
	if l.flaw == neverSyncs {
		return nil
	}
	err := l.file.SyncData()
	switch {
	case l.flaw == ignoresSyncErr:
		return nil
	case l.flaw == retriesSync && err != nil:
		return l.file.SyncData()
	}
	return err
}

func (l *toyLog) Append(ctx context.Context, topic engine.Topic, event engine.Event, opts ...engine.AppendOption) (engine.EventID, error) {
	first, _, err := l.AppendBatch(ctx, topic, []engine.Event{event}, opts...)
	return first, err
}

func (l *toyLog) AppendBatch(_ context.Context, topic engine.Topic, events []engine.Event, opts ...engine.AppendOption) (engine.EventID, engine.EventID, error) {
	if len(events) == 0 {
		return 0, 0, nil
	}
	c := call{Op: "append", Topic: topic.String(), Events: store(events), Expect: engine.NewAppendConfig(opts).ExpectLatest}
	id, err := l.do(c)
	if err != nil {
		return 0, 0, err
	}
	first := id.(engine.EventID)
	return first, first + engine.EventID(len(events)) - 1, nil
}

func (l *toyLog) Ack(_ context.Context, topic engine.Topic, consumer engine.ConsumerID, upTo engine.EventID) error {
	_, err := l.do(call{Op: "ack", Topic: topic.String(), Consumer: consumer.String(), ID: uint64(upTo)})
	return err
}

type deleter interface {
	DeleteCursor(ctx context.Context, topic engine.Topic, consumer engine.ConsumerID) error
}

// deleter is nil where the memory backend keeps cursors for ever.
func (l *toyLog) deleter() deleter {
	d, _ := any(l.Log).(deleter)
	return d
}

func (l *toyLog) RestoreTopic(ctx context.Context, topic engine.Topic, latest engine.EventID) error {
	had, _, err := l.Latest(ctx, topic)
	if err != nil || latest == 0 {
		return err
	}
	if had > 0 {
		return &engine.ConflictError{Latest: had}
	}
	_, err = l.do(call{Op: "restore", Topic: topic.String(), ID: uint64(latest)})
	return err
}

func (l *toyLog) DeleteCursor(_ context.Context, topic engine.Topic, consumer engine.ConsumerID) error {
	if l.deleter() == nil {
		return errors.ErrUnsupported
	}
	_, err := l.do(call{Op: "uncursor", Topic: topic.String(), Consumer: consumer.String()})
	return err
}

func (l *toyLog) Compact(_ context.Context, topic engine.Topic, before engine.EventID) (engine.CompactReport, error) {
	report, err := l.do(call{Op: "compact", Topic: topic.String(), ID: uint64(before)})
	if err != nil {
		return engine.CompactReport{}, err
	}
	return report.(engine.CompactReport), nil
}

func (l *toyLog) Commit(_ context.Context, b *engine.Batch) (engine.Committed, error) {
	c := call{Op: "commit"}
	for _, op := range b.Ops() {
		p := call{Topic: op.Topic.String(), Consumer: op.Consumer.String(), ID: uint64(op.ID), Events: store(op.Events)}
		p.Op = map[engine.BatchOpKind]string{engine.OpAppend: "append", engine.OpAck: "ack", engine.OpExpect: "expect"}[op.Kind]
		c.Parts = append(c.Parts, p)
	}
	done, err := l.do(c)
	if err != nil {
		return engine.Committed{}, err
	}
	return done.(engine.Committed), nil
}

func (l *toyLog) Close() error {
	err := l.Log.Close()
	if l.flaw == leaksFile {
		l.file = nil
	}
	return errors.Join(err, l.release())
}

func (l *toyLog) release() error {
	var errs []error
	if l.file != nil {
		errs = append(errs, l.file.Close())
	}
	if l.lock != nil {
		errs = append(errs, l.lock.Close())
	}
	l.file, l.lock = nil, nil
	if err := errors.Join(errs...); err != nil {
		return ioError("close", err)
	}
	return nil
}
