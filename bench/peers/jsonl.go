package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/seglog/seglog/bench"
	"github.com/seglog/seglog/engine"
)

// jsonlStore is a plain file for each topic, one event a line, which every
// append opens, writes, syncs and closes.
func jsonlStore() store {
	return store{
		Store: bench.Store{Name: "jsonl", Open: func(dir string, setup bench.Setup) (engine.EventLog, error) {
			return &jsonlLog{base: base{"jsonl"}, dir: dir, sync: setup.Sync == engine.SyncAlways}, nil
		}},
		durable: true,
		note:    "a file for each topic; open, append, fsync and close for each append or batch",
	}
}

type jsonlLog struct {
	base
	dir    string
	sync   bool
	topics perTopic[*jsonlTopic]
}

type jsonlTopic struct {
	path   string
	mu     sync.Mutex // held while appending and compacting
	latest uint64
	buf    []byte
}

func (j *jsonlLog) topic(topic engine.Topic) (*jsonlTopic, error) {
	return j.topics.get(topic.String(), func() (*jsonlTopic, error) {
		t := &jsonlTopic{path: filepath.Join(j.dir, topic.String()+".jsonl")}
		for r, err := range t.lines() {
			if err != nil {
				return nil, err
			}
			t.latest = uint64(r.ID)
		}
		return t, nil
	})
}

func (j *jsonlLog) Append(ctx context.Context, topic engine.Topic, event engine.Event, _ ...engine.AppendOption) (engine.EventID, error) {
	first, _, err := j.AppendBatch(ctx, topic, []engine.Event{event})
	return first, err
}

func (j *jsonlLog) AppendBatch(_ context.Context, topic engine.Topic, events []engine.Event, _ ...engine.AppendOption) (first, last engine.EventID, err error) {
	t, err := j.topic(topic)
	if err != nil {
		return 0, 0, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = t.buf[:0]
	for i := range events {
		t.buf = append(t.buf, `{"id":`...)
		t.buf = strconv.AppendUint(t.buf, t.latest+uint64(i)+1, 10)
		t.buf = append(t.buf, `,"event":`...)
		t.buf = append(bench.AppendEnvelope(t.buf, &events[i]), "}\n"...)
	}
	if err := appendFile(t.path, t.buf, j.sync); err != nil {
		return 0, 0, err
	}
	first = engine.EventID(t.latest + 1)
	t.latest += uint64(len(events))
	return first, engine.EventID(t.latest), nil
}

func appendFile(path string, text []byte, sync bool) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	if err == nil && sync {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

func (j *jsonlLog) Read(ctx context.Context, topic engine.Topic, opts engine.ReadOptions) iter.Seq2[engine.Record, error] {
	return decoded(topic, j.ReadRaw(ctx, topic, opts))
}

func (j *jsonlLog) ReadRaw(_ context.Context, topic engine.Topic, opts engine.ReadOptions) iter.Seq2[engine.RawRecord, error] {
	return func(yield func(engine.RawRecord, error) bool) {
		t := jsonlTopic{path: filepath.Join(j.dir, topic.String()+".jsonl")}
		left := opts.Limit
		for r, err := range t.lines() {
			if err == nil && r.ID <= opts.After {
				continue
			}
			if !yield(r, err) || err != nil {
				return
			}
			if left--; left == 0 {
				return
			}
		}
	}
}

// lines yields each line's id and envelope. A line lives until the next one.
func (t *jsonlTopic) lines() iter.Seq2[engine.RawRecord, error] {
	return func(yield func(engine.RawRecord, error) bool) {
		file, err := os.Open(t.path)
		if errors.Is(err, fs.ErrNotExist) {
			return
		}
		if err != nil {
			yield(engine.RawRecord{}, err)
			return
		}
		defer file.Close()
		in := bufio.NewScanner(file)
		in.Buffer(make([]byte, 256<<10), 32<<20)
		for in.Scan() {
			r, err := parseLine(in.Bytes())
			if !yield(r, err) || err != nil {
				return
			}
		}
		if err := in.Err(); err != nil {
			yield(engine.RawRecord{}, err)
		}
	}
}

func parseLine(line []byte) (r engine.RawRecord, err error) {
	rest, ok := bytes.CutPrefix(line, []byte(`{"id":`))
	number, rest, found := bytes.Cut(rest, []byte(`,"event":`))
	envelope, ends := bytes.CutSuffix(rest, []byte("}"))
	if !ok || !found || !ends {
		return r, fmt.Errorf("not a line of an event: %.40q", line)
	}
	id, err := strconv.ParseUint(string(number), 10, 64)
	return engine.RawRecord{ID: engine.EventID(id), Payload: envelope}, err
}

func (j *jsonlLog) Latest(_ context.Context, topic engine.Topic) (engine.EventID, bool, error) {
	t, err := j.topic(topic)
	if err != nil {
		return 0, false, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return engine.EventID(t.latest), t.latest > 0, nil
}

// Compact writes the file anew without the events.
func (j *jsonlLog) Compact(_ context.Context, topic engine.Topic, before engine.EventID) (report engine.CompactReport, err error) {
	t, err := j.topic(topic)
	if err != nil {
		return report, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	file, err := os.Open(t.path)
	if err != nil {
		return report, err
	}
	defer file.Close()
	in := bufio.NewReaderSize(file, 256<<10)
	for id := engine.EventID(0); id < before; report.Removed++ {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return report, err
		}
		r, err := parseLine(bytes.TrimSuffix(line, []byte("\n")))
		if err != nil {
			return report, err
		}
		id = r.ID
	}
	return report, replaceFile(t.path, in)
}

// replaceFile gives the file a new content, durably.
func replaceFile(path string, content io.Reader) error {
	file, err := os.Create(path + ".tmp")
	if err != nil {
		return err
	}
	_, err = io.Copy(file, content)
	if err == nil {
		err = file.Sync()
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func (j *jsonlLog) Flush(context.Context) error {
	return j.topics.each(func(t *jsonlTopic) error {
		file, err := os.OpenFile(t.path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		return errors.Join(file.Sync(), file.Close())
	})
}
