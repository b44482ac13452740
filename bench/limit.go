package bench

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"

	"github.com/cespare/xxhash/v2"

	"github.com/seglog/seglog/engine"
)

// Limit is not a store but what the disk, the kernel and Go allow one: the
// yardstick of the workloads. It does what no durable log of events can leave
// out, and nothing else:
//
//   - the envelope is encoded as JSON and hashed by the caller, outside the lock;
//   - those who append at the same time share one pwrite and one fdatasync. The
//     first to join a group leads it; while one group is being written the next
//     one gathers (natural batching: no timer, no waiting for more);
//   - all topics share one file that was written once, with zeroes, and is then
//     used over and over, so that a sync moves no metadata;
//   - ids are dense per topic.
//
// It has no index, no segments and no cursors, it forgets the oldest events when
// the file wraps, and it cannot tell a torn write from corruption.
//
// A frame, one an event:
//
//	+------------+--------+----------------+----------+-------+---------------+
//	| length u32 | id u64 | xxhash64 ^ id  | topic    | topic | envelope JSON |
//	|            |        | u64            | bytes u8 |       |               |
//	+------------+--------+----------------+----------+-------+---------------+
//
// The length counts what follows the checksum, which covers the same; a length
// of 0 ends the file. What lies behind the end of a file that has wrapped is
// older frames, so such a file is for writing only: it is not read or reopened.
type Limit struct {
	path    string
	opts    LimitOptions
	offsets map[string][]int64 // of the event with id i+1; constant after OpenLimit
	file    *os.File
	frames  sync.Pool  // *[]byte: a frame under construction, outside the lock
	readers sync.Pool  // *bufio.Reader
	writing sync.Mutex // held by the leader that writes; locked before mu
	offset  int64      // guarded by writing: where the next group goes
	wrapped bool       // guarded by writing: the file's start was used again

	mu     sync.Mutex // guards the fields below
	group  *limitGroup
	spare  []byte // the buffer of the group before the last
	latest map[string]*engine.EventID
	failed error
}

// LimitOptions configure [OpenLimit].
type LimitOptions struct {
	// FileBytes is the size of the file, which is zeroed by OpenLimit and
	// recycled; 0: a file that grows, for the workloads that read.
	FileBytes int64
	// Index notes where the events are that OpenLimit finds, for the workloads
	// that seek. Appends do not add to it.
	Index bool
	// NoSync acknowledges what was written and not synced.
	NoSync bool
}

// DefaultLimitFileBytes is the size of the recycled file in the workloads.
const DefaultLimitFileBytes = 64 << 20

const (
	limitFile       = "limit.log"
	limitHeader     = 4 + 8 + 8
	limitZeroBytes  = 64 << 10 // larger pieces leave large folios, and every later write pays
	limitMaxBody    = 32 << 20
	limitReadBytes  = 256 << 10
	limitSeekBytes  = 8 << 10 // the buffer of a read with a small limit
	limitSeekEvents = 64
	limitGroupBytes = 4 << 20 // above it an asynchronous append waits
)

// limitGroup is what one write and one sync make durable.
type limitGroup struct {
	buf  []byte // guarded by Limit.mu until the leader takes the group off
	done chan struct{}
	err  error // set before done is closed
}

// OpenLimit opens the yardstick in dir, which exists.
func OpenLimit(dir string, opts LimitOptions) (*Limit, error) {
	path := filepath.Join(dir, limitFile)
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open limit: %w", err)
	}
	l := &Limit{path: path, opts: opts, file: file, latest: map[string]*engine.EventID{}, offsets: map[string][]int64{}}
	l.frames.New = func() any { return new([]byte) }
	if err := l.recover(); err != nil {
		return nil, errors.Join(fmt.Errorf("open limit: %w", err), file.Close())
	}
	return l, nil
}

// recover finds the end and the latest ids of a file that was there, and zeroes
// what is still missing to FileBytes.
func (l *Limit) recover() error {
	info, err := l.file.Stat()
	if err != nil {
		return err
	}
	if info.Size() > 0 {
		for f, err := range l.scan(context.Background()) {
			if err != nil {
				return err
			}
			*l.latestOf(string(f.topic)) = f.id
			l.offset = f.end
			if l.opts.Index {
				l.offsets[string(f.topic)] = append(l.offsets[string(f.topic)], f.start)
			}
		}
	}
	zeroes := make([]byte, limitZeroBytes)
	for at := info.Size(); at < l.opts.FileBytes; at += limitZeroBytes {
		n := min(limitZeroBytes, l.opts.FileBytes-at)
		if _, err := l.file.WriteAt(zeroes[:n], at); err != nil {
			return err
		}
	}
	return l.file.Sync()
}

// Append adds one event and returns its id once the group it is in is synced.
func (l *Limit) Append(_ context.Context, topic engine.Topic, event engine.Event, opts ...engine.AppendOption) (engine.EventID, error) {
	if len(opts) > 0 {
		return 0, fmt.Errorf("limit: append to %s with options: %w", topic, errors.ErrUnsupported)
	}
	frame := l.frames.Get().(*[]byte)
	*frame = appendLimitFrame((*frame)[:0], topic.String(), &event)
	id, group, leads := l.join(topic.String(), *frame, 1)
	l.frames.Put(frame)
	return id, l.commit(group, leads)
}

// AppendBatch adds events with consecutive ids in one write.
func (l *Limit) AppendBatch(_ context.Context, topic engine.Topic, events []engine.Event, opts ...engine.AppendOption) (first, last engine.EventID, err error) {
	if len(opts) > 0 {
		return 0, 0, fmt.Errorf("limit: append to %s with options: %w", topic, errors.ErrUnsupported)
	}
	if len(events) == 0 {
		return 0, 0, nil
	}
	frames := l.frames.Get().(*[]byte)
	*frames = (*frames)[:0]
	for i := range events {
		*frames = appendLimitFrame(*frames, topic.String(), &events[i])
	}
	first, group, leads := l.join(topic.String(), *frames, len(events))
	l.frames.Put(frames)
	return first, first + engine.EventID(len(events)) - 1, l.commit(group, leads)
}

// LimitPending is an asynchronous append in flight.
type LimitPending struct {
	id    engine.EventID
	group *limitGroup
}

// AppendAsync adds one event and returns before it is durable; a goroutine leads
// the group. It blocks while the group that gathers is large.
func (l *Limit) AppendAsync(_ context.Context, topic engine.Topic, event engine.Event) LimitPending {
	frame := l.frames.Get().(*[]byte)
	*frame = appendLimitFrame((*frame)[:0], topic.String(), &event)
	id, group, leads := l.join(topic.String(), *frame, 1)
	l.frames.Put(frame)
	if leads {
		go l.lead(group)
	}
	if id%64 == 0 && l.gathered(group) > limitGroupBytes {
		<-group.done
	}
	return LimitPending{id, group}
}

// Wait returns the event's id once it is durable.
func (p LimitPending) Wait(ctx context.Context) (engine.EventID, error) {
	select {
	case <-p.group.done:
		return p.id, p.group.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// Ack writes a frame as an append does, with the cursor for an envelope.
func (l *Limit) Ack(ctx context.Context, topic engine.Topic, consumer engine.ConsumerID, upTo engine.EventID) error {
	cursor := strconv.AppendUint(nil, uint64(upTo), 10)
	_, err := l.Append(ctx, topic, engine.Event{Kind: consumer.String(), Payload: cursor})
	return err
}

// join gives count encoded frames their ids and copies them into the group that
// gathers. Whoever opens a group leads it.
func (l *Limit) join(topic string, frames []byte, count int) (first engine.EventID, group *limitGroup, leads bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	latest := l.latestOf(topic)
	first = *latest + 1
	stampLimitFrames(frames, first)
	*latest += engine.EventID(count)
	if l.group == nil {
		l.group = &limitGroup{buf: l.spare[:0], done: make(chan struct{})}
		l.spare, leads = nil, true
	}
	l.group.buf = append(l.group.buf, frames...)
	return first, l.group, leads
}

// commit returns once the group is durable.
func (l *Limit) commit(group *limitGroup, leads bool) error {
	if leads {
		l.lead(group)
		return group.err
	}
	<-group.done
	return group.err
}

// lead waits for the write before, takes the group off, writes and syncs it, and
// wakes those who wait for it.
func (l *Limit) lead(group *limitGroup) {
	l.writing.Lock()
	l.mu.Lock()
	l.group = nil
	err := l.failed
	l.mu.Unlock()
	if err == nil {
		err = l.write(group.buf)
	}
	group.err = err
	l.mu.Lock()
	l.failed = err
	l.spare, group.buf = group.buf, nil
	l.mu.Unlock()
	l.writing.Unlock()
	close(group.done)
}

func (l *Limit) write(buf []byte) error {
	if l.opts.FileBytes > 0 && l.offset+int64(len(buf)) > l.opts.FileBytes {
		if int64(len(buf)) > l.opts.FileBytes {
			return fmt.Errorf("limit: a group of %d bytes, the file has %d", len(buf), l.opts.FileBytes)
		}
		l.offset, l.wrapped = 0, true
	}
	if _, err := l.file.WriteAt(buf, l.offset); err != nil {
		return fmt.Errorf("limit: write group: %w", err)
	}
	l.offset += int64(len(buf))
	if l.opts.NoSync {
		return nil
	}
	if err := syncData(l.file); err != nil {
		return fmt.Errorf("limit: sync group: %w", err)
	}
	return nil
}

func (l *Limit) gathered(group *limitGroup) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(group.buf)
}

func (l *Limit) latestOf(topic string) *engine.EventID {
	latest := l.latest[topic]
	if latest == nil {
		latest = new(engine.EventID)
		l.latest[topic] = latest
	}
	return latest
}

// Read decodes the events of one topic.
func (l *Limit) Read(ctx context.Context, topic engine.Topic, opts engine.ReadOptions) iter.Seq2[engine.Record, error] {
	return func(yield func(engine.Record, error) bool) {
		for f, err := range l.read(ctx, topic, opts) {
			if err != nil {
				yield(engine.Record{}, err)
				return
			}
			event, err := DecodeEnvelope(f.envelope)
			if err != nil {
				yield(engine.Record{}, fmt.Errorf("limit: event %d: %w", f.id, err))
				return
			}
			if !yield(engine.Record{ID: f.id, Topic: topic, Event: event}, nil) {
				return
			}
		}
	}
}

// ReadRaw lends the envelopes of one topic, verified and not decoded.
func (l *Limit) ReadRaw(ctx context.Context, topic engine.Topic, opts engine.ReadOptions) iter.Seq2[engine.RawRecord, error] {
	return func(yield func(engine.RawRecord, error) bool) {
		for f, err := range l.read(ctx, topic, opts) {
			if !yield(engine.RawRecord{ID: f.id, Payload: f.envelope}, err) || err != nil {
				return
			}
		}
	}
}

// read yields the frames of one topic, from the place that the index gives or
// else from the start.
func (l *Limit) read(ctx context.Context, topic engine.Topic, opts engine.ReadOptions) iter.Seq2[limitFrame, error] {
	return func(yield func(limitFrame, error) bool) {
		from, bufferBytes := int64(0), limitReadBytes
		if offsets := l.offsets[topic.String()]; opts.After < engine.EventID(len(offsets)) {
			from = offsets[opts.After]
		}
		if opts.Limit > 0 && opts.Limit <= limitSeekEvents {
			bufferBytes = limitSeekBytes
		}
		left := opts.Limit
		for f, err := range l.scanFrom(ctx, from, bufferBytes) {
			if err == nil && (f.id <= opts.After || string(f.topic) != topic.String()) {
				continue
			}
			if !yield(f, err) || err != nil {
				return
			}
			if left--; left == 0 {
				return
			}
		}
	}
}

// Subscribe is not offered.
func (l *Limit) Subscribe(context.Context, engine.Topic, engine.SubscribeOptions) iter.Seq2[engine.Record, error] {
	return func(yield func(engine.Record, error) bool) {
		yield(engine.Record{}, fmt.Errorf("limit: subscribe: %w", errors.ErrUnsupported))
	}
}

// Cursor is not offered: acks are written and not kept.
func (l *Limit) Cursor(context.Context, engine.Topic, engine.ConsumerID) (engine.EventID, bool, error) {
	return 0, false, fmt.Errorf("limit: cursor: %w", errors.ErrUnsupported)
}

// Latest returns the last id given in topic.
func (l *Limit) Latest(_ context.Context, topic engine.Topic) (engine.EventID, bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	latest, ok := l.latest[topic.String()]
	if !ok {
		return 0, false, nil
	}
	return *latest, true, nil
}

// Topics returns the topics that were appended to, sorted.
func (l *Limit) Topics(context.Context) ([]engine.Topic, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var topics []engine.Topic
	for _, name := range slices.Sorted(maps.Keys(l.latest)) {
		topic, err := engine.NewTopic(name)
		if err != nil {
			return nil, err
		}
		topics = append(topics, topic)
	}
	return topics, nil
}

// Compact is not offered.
func (l *Limit) Compact(context.Context, engine.Topic, engine.EventID) (engine.CompactReport, error) {
	return engine.CompactReport{}, fmt.Errorf("limit: compact: %w", errors.ErrUnsupported)
}

// Flush syncs the file.
func (l *Limit) Flush(context.Context) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	return syncData(l.file)
}

// Describe says where the file is and how large.
func (l *Limit) Describe(context.Context) (engine.Description, error) {
	info, err := l.file.Stat()
	if err != nil {
		return engine.Description{}, fmt.Errorf("describe limit: %w", err)
	}
	size := uint64(info.Size())
	return engine.Description{Backend: "limit", Location: l.path, SizeBytes: &size}, nil
}

// Close syncs and closes the file. No call may be running.
func (l *Limit) Close() error {
	l.writing.Lock()
	defer l.writing.Unlock()
	if l.file == nil {
		return nil
	}
	err := errors.Join(syncData(l.file), l.file.Close())
	l.file = nil
	return err
}

// limitFrame is one event as it is stored. Its slices are lent until the next.
type limitFrame struct {
	id       engine.EventID
	topic    []byte
	envelope []byte
	start    int64 // offset in the file
	end      int64
}

// scan yields the frames of the file in the order they were written.
func (l *Limit) scan(ctx context.Context) iter.Seq2[limitFrame, error] {
	return l.scanFrom(ctx, 0, limitReadBytes)
}

func (l *Limit) scanFrom(ctx context.Context, from int64, bufferBytes int) iter.Seq2[limitFrame, error] {
	return func(yield func(limitFrame, error) bool) {
		l.writing.Lock()
		to, wrapped := l.offset, l.wrapped
		l.writing.Unlock()
		if wrapped {
			yield(limitFrame{}, errors.New("limit: the file has wrapped: give it room for what is to be read"))
			return
		}
		if to == 0 { // being recovered: until a length of 0, or the end of the file
			to = math.MaxInt64
		}
		section := io.NewSectionReader(l.file, from, to-from)
		in, _ := l.readers.Get().(*bufio.Reader)
		if in == nil || in.Size() != bufferBytes {
			in = bufio.NewReaderSize(section, bufferBytes)
		}
		in.Reset(section)
		defer l.readers.Put(in)
		scanLimit(ctx, in, from, to, yield)
	}
}

func scanLimit(ctx context.Context, in *bufio.Reader, from, to int64, yield func(limitFrame, error) bool) {
	var large []byte // a body that the buffer cannot hold
	for at := from; at < to; {
		if err := ctx.Err(); err != nil {
			yield(limitFrame{}, err)
			return
		}
		header, err := in.Peek(limitHeader)
		if err != nil && !errors.Is(err, io.EOF) {
			yield(limitFrame{}, fmt.Errorf("limit: frame at offset %d: %w", at, err))
			return
		}
		if len(header) < limitHeader || binary.LittleEndian.Uint32(header) == 0 {
			return
		}
		size := int(binary.LittleEndian.Uint32(header))
		if size > limitMaxBody {
			yield(limitFrame{}, fmt.Errorf("limit: frame at offset %d: length %d, at most %d", at, size, limitMaxBody))
			return
		}
		f := limitFrame{id: engine.EventID(binary.LittleEndian.Uint64(header[4:])), start: at, end: at + int64(limitHeader+size)}
		want := binary.LittleEndian.Uint64(header[12:])
		body, err := peekBody(in, &large, size)
		if err != nil {
			yield(limitFrame{}, fmt.Errorf("limit: frame at offset %d: body of %d bytes: %w", at, size, err))
			return
		}
		if got := xxhash.Sum64(body) ^ uint64(f.id); got != want {
			yield(limitFrame{}, fmt.Errorf("limit: frame at offset %d: checksum %016x, want %016x", at, got, want))
			return
		}
		if len(body) <= int(body[0]) {
			yield(limitFrame{}, fmt.Errorf("limit: frame at offset %d: topic of %d bytes in a body of %d", at, body[0], len(body)))
			return
		}
		f.topic, f.envelope = body[1:1+body[0]], body[1+body[0]:]
		if !yield(f, nil) {
			return
		}
		if size <= in.Size()-limitHeader {
			_, _ = in.Discard(limitHeader + size) // cannot fail: it was peeked
		}
		at = f.end
	}
}

// peekBody returns the body of the frame that in stands at. One that the buffer
// can hold stays in it; a larger one is read into large.
func peekBody(in *bufio.Reader, large *[]byte, size int) ([]byte, error) {
	if size <= in.Size()-limitHeader {
		frame, err := in.Peek(limitHeader + size)
		if err != nil {
			return nil, err
		}
		return frame[limitHeader:], nil
	}
	if _, err := in.Discard(limitHeader); err != nil {
		return nil, err
	}
	*large = slices.Grow((*large)[:0], size)[:size]
	_, err := io.ReadFull(in, *large)
	return *large, err
}

// appendLimitFrame appends a frame whose id is still missing. See [Limit].
func appendLimitFrame(dst []byte, topic string, event *engine.Event) []byte {
	start := len(dst)
	dst = append(dst, make([]byte, limitHeader)...)
	dst = append(dst, byte(len(topic)))
	dst = append(dst, topic...)
	dst = AppendEnvelope(dst, event)
	body := dst[start+limitHeader:]
	binary.LittleEndian.PutUint32(dst[start:], uint32(len(body)))
	binary.LittleEndian.PutUint64(dst[start+12:], xxhash.Sum64(body))
	return dst
}

// stampLimitFrames gives the frames consecutive ids.
func stampLimitFrames(frames []byte, id engine.EventID) {
	for ; len(frames) > 0; id++ {
		binary.LittleEndian.PutUint64(frames[4:], uint64(id))
		sum := binary.LittleEndian.Uint64(frames[12:])
		binary.LittleEndian.PutUint64(frames[12:], sum^uint64(id))
		frames = frames[limitHeader+int(binary.LittleEndian.Uint32(frames)):]
	}
}

var _ engine.EventLog = (*Limit)(nil)
