package sqlite

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/seglog/seglog/adapter/memory"
	"github.com/seglog/seglog/engine"
)

// TestSameAsTheModel does at random what a log can do, to one here and to one in
// memory, which must agree on everything but positions.
func TestSameAsTheModel(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			m := &twins{t: t, random: rand.New(rand.NewPCG(seed, 1)), file: newFile(t), model: memory.New(memory.Options{})}
			m.log = openLog(t, m.file, Options{})
			for range 300 {
				m.step()
			}
			m.compareAll()
		})
	}
}

type twins struct {
	t      *testing.T
	random *rand.Rand
	file   string
	log    *Log
	model  *memory.Log
	count  int
}

var (
	twinTopics    = []engine.Topic{jobs, engine.MustTopic("other"), engine.MustTopic("JOBS")}
	twinConsumers = []engine.ConsumerID{reader, engine.MustConsumerID("x/y"), engine.MustConsumerID("x_y")}
)

func (m *twins) topic() engine.Topic         { return twinTopics[m.random.IntN(len(twinTopics))] }
func (m *twins) consumer() engine.ConsumerID { return twinConsumers[m.random.IntN(len(twinConsumers))] }
func (m *twins) id() engine.EventID          { return engine.EventID(m.random.IntN(60)) }

func (m *twins) events() []engine.Event {
	events := make([]engine.Event, m.random.IntN(20))
	for i := range events {
		m.count++
		events[i] = engine.Event{Kind: fmt.Sprint("k", m.count%3), Payload: json.RawMessage(fmt.Sprintf("[%d ]", m.count)), OccurredAtMS: int64(m.count)}
		if m.count%4 == 0 {
			events[i].Headers = map[string]string{"n": fmt.Sprint(m.count)}
		}
	}
	return events
}

func (m *twins) step() {
	ctx := m.t.Context()
	topic, consumer, id := m.topic(), m.consumer(), m.id()
	switch m.random.IntN(8) {
	case 0, 1:
		events := m.events()
		first, last, err := m.log.AppendBatch(ctx, topic, events)
		wantFirst, wantLast, wantErr := m.model.AppendBatch(ctx, topic, events)
		m.same("AppendBatch", fmt.Sprint(first, last), fmt.Sprint(wantFirst, wantLast), err, wantErr)
	case 2:
		events := m.events()
		_, got, err := m.log.AppendBatch(ctx, topic, events, engine.ExpectLatest(id))
		_, want, wantErr := m.model.AppendBatch(ctx, topic, events, engine.ExpectLatest(id))
		m.same("AppendBatch expecting", fmt.Sprint(got), fmt.Sprint(want), err, wantErr)
	case 3:
		m.same("Ack", "", "", m.log.Ack(ctx, topic, consumer, id), m.model.Ack(ctx, topic, consumer, id))
	case 4:
		m.commit()
	case 5:
		got, err := m.log.Compact(ctx, topic, id)
		want, wantErr := m.model.Compact(ctx, topic, id)
		got.Checkpointed = false
		m.same("Compact", asJSON(m.t, got), asJSON(m.t, want), err, wantErr)
	case 6:
		m.same("DeleteCursor", "", "", m.log.DeleteCursor(ctx, topic, consumer), m.model.DeleteCursor(ctx, topic, consumer))
	case 7:
		m.compareAll()
		if err := m.log.Close(); err != nil {
			m.t.Fatal(err)
		}
		m.log = openLog(m.t, m.file, Options{})
	}
}

func (m *twins) commit() {
	var b engine.Batch
	for range m.random.IntN(5) {
		switch topic := m.topic(); m.random.IntN(4) {
		case 0:
			b.Ack(topic, m.consumer(), m.id())
		case 1:
			latest, _, _ := m.model.Latest(m.t.Context(), topic)
			b.ExpectLatest(topic, latest)
		default:
			b.Append(topic, m.events()...)
		}
	}
	got, err := m.log.Commit(m.t.Context(), &b)
	want, wantErr := m.model.Commit(m.t.Context(), &b)
	m.same("Commit", asJSON(m.t, got.Appended), asJSON(m.t, want.Appended), err, wantErr)
}

// same compares outcomes: the errors by what they match.
func (m *twins) same(what, got, want string, err, wantErr error) {
	m.t.Helper()
	for _, target := range []error{engine.ErrConflict, engine.ErrBeyondLatest} {
		if errors.Is(err, target) != errors.Is(wantErr, target) {
			m.t.Fatalf("%s: got error %v, the model %v", what, err, wantErr)
		}
	}
	if got != want || (err == nil) != (wantErr == nil) {
		m.t.Fatalf("%s: got %s, %v, the model %s, %v", what, got, err, want, wantErr)
	}
}

func (m *twins) compareAll() {
	m.t.Helper()
	ctx := m.t.Context()
	topics, err := m.log.Topics(ctx)
	wantTopics, wantErr := m.model.Topics(ctx)
	m.same("Topics", fmt.Sprint(topics), fmt.Sprint(wantTopics), err, wantErr)
	for _, topic := range twinTopics {
		after := m.id()
		limit := 1 + m.random.IntN(100)
		got, err := engine.ReadRange(ctx, m.log, topic, after, limit)
		want, wantErr := engine.ReadRange(ctx, m.model, topic, after, limit)
		for i := range want {
			want[i].Position = 0
		}
		m.same(fmt.Sprintf("Read of %s after %d, limit %d", topic, after, limit), asJSON(m.t, got), asJSON(m.t, want), err, wantErr)
		consumers, err := m.log.Consumers(ctx, topic)
		wantConsumers, wantErr := m.model.Consumers(ctx, topic)
		m.same("Consumers", cursors(consumers), cursors(wantConsumers), err, wantErr)
	}
}

func cursors(infos []engine.ConsumerInfo) (s string) {
	for _, info := range infos {
		s += fmt.Sprintf("%s at %d, lag %d; ", info.Consumer, info.Cursor, info.Lag)
	}
	return s
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
