package engine

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
)

// A subscription is a reader that waits at the end. It has no goroutine and no
// queue: what waits for it is the distance between its place and the durable
// end of the topic, and both lag policies are comparisons.
type subscription struct {
	reader
	ctx   context.Context
	topic Topic
	opts  SubscribeOptions
	depth uint64
	// last is the id that was delivered last, or that the subscription
	// started after.
	last uint64
	// latest is the highest id that was visible at the last look.
	latest uint64
	// base is the topic's latest id when Subscribe was called: what came
	// later counts as waiting.
	base uint64
	err  error // a lag, which ends the subscription for good
	raw  RawRecord
}

// Subscribe implements [EventLog].
func (e *Engine) Subscribe(ctx context.Context, topic Topic, opts SubscribeOptions) iter.Seq2[Record, error] {
	s := &subscription{
		reader: reader{e: e, until: math.MaxUint64}, ctx: ctx, topic: topic, opts: opts,
		depth: uint64(e.opts.QueueDepth), last: uint64(opts.After),
	}
	s.err = e.readyFor(context.Background(), topic)
	if s.err == nil && opts.Lag != LagCatchUp && opts.Lag != LagFail {
		s.err = fmt.Errorf("%w: unknown SubscribeOptions.Lag %d", ErrConfig, opts.Lag)
	}
	if t := e.topic(topic); t != nil {
		s.base = t.visibleLatest(e.visible.Load())
		s.attach(t)
		s.next = max(s.next, t.low.Load())
	}
	return func(yield func(Record, error) bool) {
		if err := s.deliver(yield); err != nil {
			yield(Record{}, fmt.Errorf("subscribe to topic %s: %w", topic, err))
		}
	}
}

// attach starts the reader after s.last.
func (s *subscription) attach(t *topicState) {
	s.t = t
	s.next = s.last + 1
	if s.next == 0 {
		s.next = s.last // no event has that id
	}
}

// deliver yields events until the caller stops, then it returns nil, or until
// an error.
func (s *subscription) deliver(yield func(Record, error) bool) error {
	var own owner
	defer s.rest()
	for {
		if err := s.wait(); err != nil {
			return err
		}
		if err := s.read(&s.raw); err != nil {
			return s.lagged(err)
		}
		s.last = uint64(s.raw.ID)
		if !yield(own.own(s.topic, &s.raw, s.latest-s.last), nil) {
			return nil
		}
	}
}

// lagged turns the error of a reader that compaction overtook into that of a
// subscriber.
func (s *subscription) lagged(err error) error {
	var c *CompactedError
	if errors.As(err, &c) {
		s.err = &LaggedError{LastID: EventID(s.last), First: c.First}
		return s.err
	}
	return err
}

// wait returns when the event s.next is there.
func (s *subscription) wait() error {
	for {
		if s.err != nil {
			return s.err
		}
		if err := s.ctx.Err(); err != nil {
			return err
		}
		changed, ok := s.look()
		if err := s.e.ready(s.ctx); err != nil {
			return err
		}
		if s.err != nil {
			return s.err
		}
		if ok {
			return nil
		}
		s.rest()
		select {
		case <-changed:
		case <-s.ctx.Done():
		case <-s.e.closed:
		case <-s.e.follower.end():
			if err := s.e.poll(); err != nil {
				return err
			}
		}
	}
}

// rest lets go of blocks and of parts of the tail, for as long as the
// subscriber waits.
func (s *subscription) rest() {
	s.release()
	s.raw = RawRecord{}
}

// look says whether the next event is there; if not, the channel tells when to
// look again.
func (s *subscription) look() (changed <-chan struct{}, ok bool) {
	if s.t == nil {
		changed = s.e.topicAdded.waitChan()
		t := s.e.topic(s.topic)
		if t == nil {
			return changed, false
		}
		s.attach(t)
	}
	if s.here() {
		return nil, true
	}
	changed = s.t.changed.waitChan()
	return changed, s.here()
}

// here says whether the next event is visible, and notices a lag.
func (s *subscription) here() bool {
	latest := s.t.visibleLatest(s.e.visible.Load())
	s.latest = latest
	if s.opts.Lag == LagFail {
		if from := max(s.last, s.base); latest > from && latest-from > s.depth {
			s.err = &LaggedError{LastID: EventID(s.last)}
			return true
		}
	}
	if low := s.t.low.Load(); s.next < low && s.next <= latest {
		return true // reading it says that compaction overtook the subscriber
	}
	return s.next <= latest
}
