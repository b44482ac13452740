package memory

import (
	"context"
	"fmt"
	"iter"

	"github.com/seglog/seglog/engine"
)

// subscription is a place in a topic, not a queue: the events that wait for a
// subscriber are those between the place and the topic's end.
type subscription struct {
	log   *Log
	topic engine.Topic
	lag   engine.LagPolicy
	live  engine.EventID // latest when Subscribe was called; what comes after it can overflow

	// Guarded by log.mu.
	after engine.EventID // everything up to here was delivered, or is not asked for
	last  engine.EventID // last one delivered, at first what the caller asked to start after
}

// Subscribe yields what is there after opts.After and then what is appended.
func (l *Log) Subscribe(ctx context.Context, topic engine.Topic, opts engine.SubscribeOptions) iter.Seq2[engine.Record, error] {
	s, err := l.newSubscription(topic, opts)
	return func(yield func(engine.Record, error) bool) {
		for err == nil {
			r, next := s.wait(ctx)
			if next != nil {
				yield(engine.Record{}, fmt.Errorf("subscribe to topic %s: %w", topic, next))
				return
			}
			if !yield(r, nil) {
				return
			}
		}
		yield(engine.Record{}, fmt.Errorf("subscribe to topic %s: %w", topic, err))
	}
}

func (l *Log) newSubscription(topic engine.Topic, opts engine.SubscribeOptions) (*subscription, error) {
	if err := topic.Validate(); err != nil {
		return nil, err
	}
	if opts.Lag != engine.LagCatchUp && opts.Lag != engine.LagFail {
		return nil, fmt.Errorf("%w: unknown SubscribeOptions.Lag %d", engine.ErrConfig, opts.Lag)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s := &subscription{log: l, topic: topic, lag: opts.Lag, after: opts.After, last: opts.After}
	if t := l.topics[topic]; t != nil {
		s.live = t.latest()
		s.after = max(s.after, t.first-1) // what was compacted by now is not missed
	}
	return s, nil
}

// wait returns the next record as soon as there is one. An error is the end.
func (s *subscription) wait(ctx context.Context) (engine.Record, error) {
	for {
		r, ok, changed, err := s.next(ctx)
		if ok || err != nil {
			return r, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// next takes the next record; where there is none yet, it returns the channel
// that is closed when to look again.
func (s *subscription) next(ctx context.Context) (r engine.Record, ok bool, changed <-chan struct{}, err error) {
	l := s.log
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return r, false, nil, err
	}
	if l.closed {
		return r, false, nil, engine.ErrClosed
	}
	t := l.topics[s.topic]
	if t == nil {
		return r, false, l.changed, nil
	}
	if err := s.laggedLocked(t); err != nil {
		return r, false, nil, err
	}
	rest := t.after(s.after)
	if len(rest) == 0 {
		return r, false, l.changed, nil
	}
	r = rest[0]
	r.Event = clone(r.Event)
	s.after, s.last = r.ID, r.ID
	return r, true, nil, nil
}

// laggedLocked reports that compaction overtook the subscription or that,
// where that is a reason to fail, too many events wait for it.
func (s *subscription) laggedLocked(t *topicLog) error {
	lagged := engine.LaggedError{LastID: s.last}
	if s.after < t.first-1 {
		lagged.First = t.first
		return &lagged
	}
	seen := max(s.after, s.live)
	if s.lag == engine.LagFail && t.latest() > seen && uint64(t.latest()-seen) > uint64(s.log.queueDepth) {
		return &lagged
	}
	return nil
}
