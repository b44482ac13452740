package model

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/seglog/seglog/engine"
)

// View is all that a log shows to its readers.
type View struct {
	Topics  []string
	Records map[string][]engine.Record
	Latest  map[string]uint64
	Cursors map[string]map[string]uint64 // by topic
}

// lister is what a log may offer beyond [engine.EventLog].
type lister interface {
	Consumers(ctx context.Context, topic engine.Topic) ([]engine.ConsumerInfo, error)
}

// Observe reads a whole log. It asks about the named topics too where the log
// does not list them. Its error is the log's, or says which rule the view
// breaks whatever was appended ([ErrBroken]).
func Observe(ctx context.Context, log engine.EventLog, topics, consumers []string) (*View, error) {
	v := &View{Records: map[string][]engine.Record{}, Latest: map[string]uint64{}, Cursors: map[string]map[string]uint64{}}
	listed, err := log.Topics(ctx)
	if err != nil {
		return nil, err
	}
	for _, t := range listed {
		v.Topics = append(v.Topics, t.String())
	}
	if !slices.IsSorted(v.Topics) {
		return nil, broken("topics are not sorted: %q", v.Topics)
	}
	all := slices.Concat(v.Topics, topics)
	slices.Sort(all)
	for _, name := range slices.Compact(all) {
		if err := v.topic(ctx, log, name, consumers); err != nil {
			return nil, err
		}
	}
	return v, v.positions()
}

// ErrBroken marks what no log may ever show.
var ErrBroken = errors.New("broken rule")

func broken(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrBroken, fmt.Sprintf(format, args...))
}

func (v *View) topic(ctx context.Context, log engine.EventLog, name string, consumers []string) error {
	t := engine.MustTopic(name)
	latest, ok, err := log.Latest(ctx, t)
	if err != nil {
		return err
	}
	listed := slices.Contains(v.Topics, name)
	if ok != listed || ok != (latest > 0) {
		return broken("topic %s: listed %v, latest %d, %v", name, listed, latest, ok)
	}
	if ok {
		v.Latest[name] = uint64(latest)
	}
	records, err := engine.ReadRange(ctx, log, t, 0, engine.NoLimit)
	if err != nil {
		return err
	}
	if err := dense(name, records, uint64(latest)); err != nil {
		return err
	}
	if len(records) > 0 {
		v.Records[name] = records
	}
	return v.cursors(ctx, log, t, consumers)
}

// dense holds for a topic that is read whole: what is left after a compaction
// goes up to the latest id without a hole.
func dense(name string, records []engine.Record, latest uint64) error {
	for i, r := range records {
		if want := latest - uint64(len(records)-1-i); uint64(r.ID) != want {
			return broken("topic %s: record %d of %d has id %d, want %d of latest %d", name, i, len(records), r.ID, want, latest)
		}
		if r.Topic.String() != name {
			return broken("topic %s: record %d says that its topic is %q", name, r.ID, r.Topic)
		}
	}
	return nil
}

func (v *View) cursors(ctx context.Context, log engine.EventLog, t engine.Topic, consumers []string) error {
	found := map[string]uint64{}
	for _, c := range consumers {
		id, ok, err := log.Cursor(ctx, t, engine.MustConsumerID(c))
		if err != nil {
			return err
		}
		if ok {
			found[c] = uint64(id)
		}
	}
	if l, ok := log.(lister); ok {
		infos, err := l.Consumers(ctx, t)
		if err != nil {
			return err
		}
		for _, info := range infos {
			name, id := info.Consumer.String(), uint64(info.Cursor)
			if have, ok := found[name]; slices.Contains(consumers, name) && (!ok || have != id) {
				return broken("topic %s: consumer %s is listed at %d, its cursor is %d, %v", t, name, id, have, ok)
			}
			if want := v.Latest[t.String()] - id; info.Lag != want {
				return broken("topic %s: consumer %s at %d lags by %d, want %d", t, name, id, info.Lag, want)
			}
			found[name] = id
		}
		if len(infos) < len(found) {
			return broken("topic %s: %d consumers listed, %d have cursors", t, len(infos), len(found))
		}
	}
	for name, id := range found {
		if id > v.Latest[t.String()] {
			return broken("topic %s: consumer %s is at %d, beyond latest %d", t, name, id, v.Latest[t.String()])
		}
	}
	if len(found) > 0 {
		v.Cursors[t.String()] = found
	}
	return nil
}

// positions holds for every log that has them: unique over all topics, rising
// in each.
func (v *View) positions() error {
	seen := map[uint64]string{}
	for name, records := range v.Records {
		last := uint64(0)
		for _, r := range records {
			if r.Position == 0 {
				continue
			}
			if r.Position <= last {
				return broken("topic %s: event %d has position %d after position %d", name, r.ID, r.Position, last)
			}
			if other, ok := seen[r.Position]; ok {
				return broken("position %d is of topic %s and of %s", r.Position, name, other)
			}
			seen[r.Position], last = name, r.Position
		}
	}
	return nil
}

// Diff says where the view differs from the log that it should show; nil:
// nowhere.
func (v *View) Diff(l *Log) error {
	if want := l.topicNames(); !slices.Equal(v.Topics, want) {
		return fmt.Errorf("topics are %q, want %q", v.Topics, want)
	}
	for _, name := range v.Topics {
		t := l.topics[name]
		if v.Latest[name] != t.latest() {
			return fmt.Errorf("topic %s: latest is %d, want %d", name, v.Latest[name], t.latest())
		}
		records := v.Records[name]
		if len(records) != len(t.entries) {
			return fmt.Errorf("topic %s: %d events are readable, want %d, from %d to %d", name, len(records), len(t.entries), t.first, t.latest())
		}
		for i, r := range records {
			if err := sameEvent(r.Event, t.entries[i].event); err != nil {
				return fmt.Errorf("topic %s, event %d: %w", name, r.ID, err)
			}
		}
	}
	if err := v.diffCursors(l); err != nil {
		return err
	}
	return v.diffOrder(l)
}

func (v *View) diffCursors(l *Log) error {
	n := 0
	for name, found := range v.Cursors {
		for consumer, id := range found {
			n++
			if want, ok := l.cursors[cursor{name, consumer}]; !ok || want != id {
				return fmt.Errorf("topic %s: cursor of %s is %d, want %d, %v", name, consumer, id, want, ok)
			}
		}
	}
	if n != len(l.cursors) {
		return fmt.Errorf("%d cursors are there, want %d", n, len(l.cursors))
	}
	return nil
}

// diffOrder compares the order of positions over all topics with the order of
// commits.
func (v *View) diffOrder(l *Log) error {
	type place struct {
		position, order uint64
		topic           string
		id              engine.EventID
	}
	var places []place
	for name, records := range v.Records {
		for i, r := range records {
			if r.Position == 0 {
				return nil // this log has none
			}
			places = append(places, place{r.Position, l.topics[name].entries[i].order, name, r.ID})
		}
	}
	slices.SortFunc(places, func(a, b place) int { return int(int64(a.position - b.position)) })
	for i := 1; i < len(places); i++ {
		if a, b := places[i-1], places[i]; a.order > b.order {
			return fmt.Errorf("event %d of %s at position %d stands before event %d of %s at position %d, but was appended later",
				a.id, a.topic, a.position, b.id, b.topic, b.position)
		}
	}
	return nil
}

// Same says where an event that was read differs from the one that the model
// has under that id; nil: nowhere, or the model has none.
func (l *Log) Same(name string, r engine.Record) error {
	t, ok := l.topics[name]
	if !ok || uint64(r.ID) < t.first || uint64(r.ID) > t.latest() {
		return fmt.Errorf("topic %s has no event %d", name, r.ID)
	}
	return sameEvent(r.Event, t.entries[uint64(r.ID)-t.first].event)
}

// Range returns the ids that are readable in a topic; first > latest: none.
func (l *Log) Range(name string) (first, latest uint64) {
	if t, ok := l.topics[name]; ok {
		return t.first, t.latest()
	}
	return 1, 0
}

// Names returns the topics that were ever appended to, sorted.
func (l *Log) Names() []string { return l.topicNames() }

// Cursor returns a consumer's cursor.
func (l *Log) Cursor(topic, consumer string) (uint64, bool) {
	id, ok := l.cursors[cursor{topic, consumer}]
	return id, ok
}

func sameEvent(got, want engine.Event) error {
	switch {
	case got.Kind != want.Kind:
		return fmt.Errorf("kind is %q, want %q", got.Kind, want.Kind)
	case !bytes.Equal(got.Payload, want.Payload):
		return fmt.Errorf("payload is %.80q (%d bytes), want %.80q (%d bytes)", got.Payload, len(got.Payload), want.Payload, len(want.Payload))
	case !maps.Equal(got.Headers, want.Headers):
		return fmt.Errorf("headers are %q, want %q", got.Headers, want.Headers)
	case got.OccurredAtMS != want.OccurredAtMS:
		return fmt.Errorf("occurred at %d, want %d", got.OccurredAtMS, want.OccurredAtMS)
	}
	return nil
}
