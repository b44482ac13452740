package sqlite

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"sync"

	"github.com/seglog/seglog/engine"
)

// subscription is a place in a topic, not a queue: the events that wait for a
// subscriber are those between the place and the topic's end.
type subscription struct {
	log   *Log
	topic engine.Topic
	lag   engine.LagPolicy
	live  int64 // latest when Subscribe was called; what comes after it can overflow

	mu    sync.Mutex      // guards the fields below: a sequence may be ranged over twice at a time
	after int64           // everything up to here was delivered, or is not asked for
	last  engine.EventID  // last one delivered, at first what the caller asked to start after
	page  []engine.Record // read, not delivered; they follow after
}

// Subscribe yields what is there after opts.After and then what is appended, by
// other processes too, within some 20 ms after they committed.
func (l *Log) Subscribe(ctx context.Context, topic engine.Topic, opts engine.SubscribeOptions) iter.Seq2[engine.Record, error] {
	s, refused := l.newSubscription(ctx, topic, opts)
	return func(yield func(engine.Record, error) bool) {
		left, err := false, refused
		if refused == nil {
			left, err = s.deliver(ctx, yield)
		}
		if !left {
			yield(engine.Record{}, fmt.Errorf("subscribe to topic %s: %w", topic, err))
		}
	}
}

func (l *Log) newSubscription(ctx context.Context, topic engine.Topic, opts engine.SubscribeOptions) (*subscription, error) {
	if err := topic.Validate(); err != nil {
		return nil, err
	}
	if opts.Lag != engine.LagCatchUp && opts.Lag != engine.LagFail {
		return nil, fmt.Errorf("%w: unknown SubscribeOptions.Lag %d", engine.ErrConfig, opts.Lag)
	}
	s := &subscription{log: l, topic: topic, lag: opts.Lag, last: opts.After}
	err := l.pool.with(ctx, func(c *conn) error {
		found, err := c.span(topic)
		s.live = found.latest
		s.after = max(int64(min(opts.After, maxID)), found.gone) // what was compacted by now is not missed
		return err
	})
	return s, err
}

// deliver yields records until the caller leaves or there is an error.
func (s *subscription) deliver(ctx context.Context, yield func(engine.Record, error) bool) (left bool, err error) {
	w := s.log.watches.join(s.topic)
	defer s.log.watches.leave(s.topic)
	err = s.log.pool.with(ctx, func(c *conn) error {
		latest, err := c.latest(s.topic)
		s.log.watches.raise(s.topic, latest)
		return err
	})
	for err == nil {
		var r engine.Record
		if r, err = s.wait(ctx, w); err == nil && !yield(r, nil) {
			return true, nil
		}
	}
	return false, err
}

// wait returns the next record as soon as there is one.
func (s *subscription) wait(ctx context.Context, w *watch) (engine.Record, error) {
	for {
		latest, changed, err := s.log.watches.state(w)
		if err == nil {
			err = s.log.ready(ctx)
		}
		if err != nil {
			return engine.Record{}, err
		}
		r, ok, err := s.next(ctx, latest)
		if ok || err != nil {
			return r, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
		case <-s.log.closed:
		}
	}
}

// next takes the next record, if there is one. latest is the topic's.
func (s *subscription) next(ctx context.Context, latest int64) (r engine.Record, ok bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lag == engine.LagFail && latest-max(s.after, s.live) > int64(s.log.opts.QueueDepth) {
		return r, false, &engine.LaggedError{LastID: s.last}
	}
	if len(s.page) == 0 {
		if latest <= s.after {
			return r, false, nil
		}
		if err := s.readPageLocked(ctx, latest); err != nil {
			return r, false, err
		}
	}
	r, s.page = s.page[0], s.page[1:]
	s.after, s.last = int64(r.ID), r.ID
	return r, true, nil
}

func (s *subscription) readPageLocked(ctx context.Context, latest int64) error {
	p := pager{log: s.log, topic: s.topic, begun: true, after: s.after, last: latest, left: math.MaxInt64, most: pageEventsMax}
	page, err := p.next(ctx)
	var compacted *engine.CompactedError
	switch {
	case len(page) > 0: // an error comes again when these are delivered
		s.page = page
		return nil
	case errors.As(err, &compacted):
		return &engine.LaggedError{LastID: s.last, First: compacted.First}
	}
	return err
}
