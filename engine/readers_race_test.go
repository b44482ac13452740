package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seglog/seglog/adapter/memory"
	"github.com/seglog/seglog/engine"
)

// payloadOf is what event id of a topic says: of any size up to a block and,
// now and then, of many.
func payloadOf(topic string, id engine.EventID) string {
	r := rand.New(rand.NewPCG(uint64(id), uint64(len(topic))+uint64(topic[0])))
	n := r.IntN(200)
	switch r.IntN(300) {
	case 0:
		n = 20_000 + r.IntN(30_000)
	case 1, 2, 3:
		n = 1000 + r.IntN(4000)
	}
	return `"` + topic + " " + strconv.FormatUint(uint64(id), 10) + " " + strings.Repeat(string(rune('a'+id%26)), n) + `"`
}

// race is a writer, its model, and those who read beside it.
type race struct {
	log, follower *engine.Engine
	model         *memory.Log
	topics        []string
	done          atomic.Bool
	ended         chan struct{} // once done
	read          atomic.Int64
}

// TestReadersBesideEverything has readers of a writer and of a follower go from
// any place while topics grow, are moved, sealed, compacted and unlinked: each
// event they get must be the one, and an error only says that it was compacted.
func TestReadersBesideEverything(t *testing.T) {
	for _, procs := range []int{1, 2, 8} {
		for seed := range uint64(2) {
			t.Run(fmt.Sprintf("%d processors, seed %d", procs, seed), func(t *testing.T) {
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
				raceReaders(t, seed)
			})
		}
	}
}

func raceReaders(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 77))
	opts := engine.Options{
		Sync: engine.SyncNever, SegmentBytes: 16 << 10 << r.IntN(3), BlockBytes: 256 << r.IntN(5), TailBytes: 64 << 10 << r.IntN(3),
		CacheBytes: 1 << (1 + r.IntN(18)), Compression: engine.Compression(r.IntN(3)), WALBytes: 4 << 20,
	}
	dir := t.TempDir()
	log, err := engine.Open(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	opts.ReadOnly = true
	follower, err := engine.Open(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	x := &race{log: log, follower: follower, model: memory.New(memory.Options{}), topics: []string{"a", "b", "c"}, ended: make(chan struct{})}
	var wait sync.WaitGroup
	for i := range 4 {
		wait.Go(func() { x.readLoop(t, rand.New(rand.NewPCG(seed, uint64(i)))) })
	}
	for _, e := range []*engine.Engine{log, follower} {
		for _, topic := range x.topics {
			wait.Go(func() { x.subscribe(t, e, topic) })
		}
	}
	x.write(t, r)
	x.done.Store(true)
	close(x.ended)
	wait.Wait()
	x.same(t, x.log)
	if err := x.log.Verify(func(c *engine.CorruptError) { t.Errorf("verify: %v", c) }, nil); err != nil {
		t.Error(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	x.same(t, follower)
	if err := follower.Close(); err != nil {
		t.Fatal(err)
	}
	opts.ReadOnly = false
	if x.log, err = engine.Open(dir, opts); err != nil {
		t.Fatal(err)
	}
	x.same(t, x.log)
	if err := x.log.Close(); err != nil {
		t.Fatal(err)
	}
	t.Logf("read %d events, %+v", x.read.Load(), opts)
}

func (x *race) write(t *testing.T, r *rand.Rand) {
	ctx := t.Context()
	rounds := 250
	if testing.Short() {
		rounds = 80
	}
	for range rounds {
		if t.Failed() {
			return
		}
		name := x.topics[r.IntN(len(x.topics))]
		if r.IntN(2) == 0 {
			name = "a"
		}
		topic := engine.MustTopic(name)
		latest, _, _ := x.model.Latest(ctx, topic)
		switch r.IntN(10) {
		case 0:
			before := engine.EventID(r.Uint64N(uint64(latest) + 1))
			if r.IntN(3) > 0 {
				before = latest - min(latest, engine.EventID(r.IntN(300)))
			}
			got, err := x.log.Compact(ctx, topic, before)
			want, _ := x.model.Compact(ctx, topic, before)
			if err != nil || got.Removed != want.Removed || got.Remaining != want.Remaining {
				t.Errorf("compact %s to %d: got %+v, %v, want %+v", topic, before, got, err, want)
			}
		case 1:
			if err := x.log.Checkpoint(ctx); err != nil {
				t.Error(err)
			}
		default:
			n := 1 + r.IntN(200)
			if r.IntN(3) == 0 {
				n = 1
			}
			events := make([]engine.Event, n)
			for i := range events {
				events[i] = engine.Event{Kind: "k", Payload: json.RawMessage(payloadOf(name, latest+1+engine.EventID(i))), OccurredAtMS: r.Int64N(1000)}
			}
			if _, _, err := x.log.AppendBatch(ctx, topic, events); err != nil {
				t.Error(err)
				return
			}
			if _, _, err := x.model.AppendBatch(ctx, topic, events); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// readLoop reads from anywhere, on the writer or the follower.
func (x *race) readLoop(t *testing.T, r *rand.Rand) {
	for !x.done.Load() && !t.Failed() {
		time.Sleep(time.Millisecond) // for the writer
		e, who := x.log, "writer"
		if r.IntN(2) == 0 {
			e, who = x.follower, "follower"
		}
		name := x.topics[r.IntN(len(x.topics))]
		topic := engine.MustTopic(name)
		latest, _, err := e.Latest(t.Context(), topic)
		if err != nil {
			t.Errorf("%s: %v", who, err)
			return
		}
		after := engine.EventID(r.Uint64N(uint64(latest) + 1))
		limit := r.IntN(3) * (1 + r.IntN(300))
		next := engine.EventID(0)
		see := func(id engine.EventID, payload []byte) bool {
			x.read.Add(1)
			if id <= after || next != 0 && id != next || string(payload) != payloadOf(name, id) {
				t.Errorf("%s: after %d of %s got event %d, want %d, with %.30q", who, after, topic, id, next, payload)
				return false
			}
			next = id + 1
			return r.IntN(3000) > 0
		}
		if r.IntN(2) == 0 {
			for rec, readErr := range e.ReadRaw(t.Context(), topic, engine.ReadOptions{After: after, Limit: limit}) {
				if err = readErr; err != nil || !see(rec.ID, rec.Payload) {
					break
				}
			}
		} else {
			for rec, readErr := range e.Read(t.Context(), topic, engine.ReadOptions{After: after, Limit: limit}) {
				if err = readErr; err != nil || !see(rec.ID, rec.Payload) {
					break
				}
			}
		}
		if err != nil && !errors.Is(err, engine.ErrCompacted) {
			t.Errorf("%s: read %s after %d, at %d: %v", who, topic, after, next, err)
			return
		}
	}
}

// subscribe follows a topic, and begins again where compaction overtakes it. It
// keeps some records, and looks later whether they are what they were.
func (x *race) subscribe(t *testing.T, e *engine.Engine, name string) {
	topic := engine.MustTopic(name)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		<-x.ended
		cancel()
	}()
	var kept []engine.Record
	last := engine.EventID(0)
	for {
		var lagged *engine.LaggedError
		var err error
		begun := false // what was compacted before it is no gap
		for rec, subErr := range e.Subscribe(ctx, topic, engine.SubscribeOptions{After: last}) {
			if err = subErr; err != nil {
				break
			}
			if rec.ID <= last || string(rec.Payload) != payloadOf(name, rec.ID) {
				t.Errorf("subscriber of %s got event %d after %d, with %.30q", topic, rec.ID, last, rec.Payload)
				return
			}
			if begun && rec.ID != last+1 {
				t.Errorf("subscriber of %s got event %d after %d", topic, rec.ID, last)
				return
			}
			begun, last = true, rec.ID
			if len(kept) < 2000 && rec.ID%7 == 0 {
				kept = append(kept, rec)
			}
		}
		if errors.As(err, &lagged) {
			last = lagged.First - 1
			continue
		}
		if !errors.Is(err, context.Canceled) {
			t.Errorf("subscriber of %s: %v", topic, err)
		}
		break
	}
	for _, rec := range kept {
		if string(rec.Payload) != payloadOf(name, rec.ID) {
			t.Errorf("event %d of %s has changed since it was delivered", rec.ID, topic)
		}
	}
}

// same compares all that a log has with the model.
func (x *race) same(t *testing.T, e *engine.Engine) {
	t.Helper()
	for _, name := range x.topics {
		topic := engine.MustTopic(name)
		want, _ := engine.ReadRange(t.Context(), x.model, topic, 0, engine.NoLimit)
		got, err := engine.ReadRange(t.Context(), e, topic, 0, engine.NoLimit)
		if err != nil || len(got) != len(want) {
			t.Errorf("topic %s has %d events, %v, want %d", topic, len(got), err, len(want))
			continue
		}
		for i := range got {
			if g, w := got[i], want[i]; g.ID != w.ID || g.OccurredAtMS != w.OccurredAtMS || string(g.Payload) != string(w.Payload) {
				t.Errorf("topic %s: got event %d, want %d", topic, g.ID, w.ID)
				break
			}
		}
	}
}
