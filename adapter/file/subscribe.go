package file

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/seglog/seglog/engine"
)

// subscription is a reader that waits at the end. It has no goroutine and no
// queue: what waits for it is the distance between its place and the topic's
// end, and both lag policies are comparisons.
type subscription struct {
	l    *Log
	t    *topic
	opts engine.SubscribeOptions
	err  error          // ends the subscription for good
	base engine.EventID // latest when Subscribe was called: what came later counts as waiting
	// after: everything up to here was delivered, or is not asked for.
	after engine.EventID
	last  engine.EventID // delivered last, or that the subscription started after
}

// A read-only log looks for news every followEvery, and less often while there
// is none, down to followIdle.
const (
	followEvery = 5 * time.Millisecond
	followIdle  = 40 * time.Millisecond
)

// Subscribe yields what is there after opts.After and then what is appended.
// History is read from the file as it is asked for.
func (l *Log) Subscribe(ctx context.Context, name engine.Topic, opts engine.SubscribeOptions) iter.Seq2[engine.Record, error] {
	s := &subscription{l: l, t: l.topic(name), opts: opts, after: opts.After, last: opts.After}
	s.err = l.readyFor(context.Background(), name)
	if s.err == nil && opts.Lag != engine.LagCatchUp && opts.Lag != engine.LagFail {
		s.err = fmt.Errorf("%w: unknown SubscribeOptions.Lag %d", engine.ErrConfig, opts.Lag)
	}
	if s.err == nil {
		var v view
		v, s.err = l.snapshot(s.t)
		s.base = v.latest
		s.after = max(s.after, v.first-1) // what was compacted by now is not missed
	}
	return func(yield func(engine.Record, error) bool) {
		if err := s.deliver(ctx, yield); err != nil {
			yield(engine.Record{}, fmt.Errorf("subscribe to topic %s: %w", name, classify(err)))
		}
	}
}

// deliver yields events until the caller stops, then it returns nil, or until
// an error.
func (s *subscription) deliver(ctx context.Context, yield func(engine.Record, error) bool) error {
	r := reader{l: s.l, t: s.t}
	defer r.close()
	for {
		v, err := s.wait(ctx)
		if err != nil {
			return err
		}
		ready, err := r.goOn(s.after, &v)
		if err != nil {
			return err
		}
		if !ready {
			continue // the file was replaced meanwhile
		}
		rec, err := r.read()
		if err != nil {
			return err
		}
		s.after, s.last = rec.ID, rec.ID
		if !yield(rec, nil) {
			return nil
		}
	}
}

// wait returns a view that has the event behind s.after.
func (s *subscription) wait(ctx context.Context) (view, error) {
	pause := followEvery
	for {
		if s.err != nil {
			return view{}, s.err
		}
		if err := s.l.ready(ctx); err != nil {
			return view{}, err
		}
		v, changed := s.look()
		if ok, err := s.judge(&v); ok || err != nil {
			return v, err
		}
		if s.l.opts.ReadOnly {
			v, err := s.l.snapshot(s.t)
			if err != nil {
				return v, err
			}
			if ok, err := s.judge(&v); ok || err != nil {
				return v, err
			}
		}
		s.sleep(ctx, changed, pause)
		pause = min(2*pause, followIdle)
	}
}

// look returns what is known of the topic, and when to look again.
func (s *subscription) look() (view, <-chan struct{}) {
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	return s.t.view, s.t.waitLocked()
}

// judge says whether the next event is there, or why it will never be.
func (s *subscription) judge(v *view) (bool, error) {
	if from := max(s.after, s.base); s.opts.Lag == engine.LagFail && v.latest > from && uint64(v.latest-from) > uint64(s.l.opts.QueueDepth) {
		s.err = &engine.LaggedError{LastID: s.last}
		return false, s.err
	}
	if s.after+1 < v.first && s.after < v.latest {
		s.err = &engine.LaggedError{LastID: s.last, First: v.first}
		return false, s.err
	}
	if v.broken != nil && s.after >= v.latest {
		return false, v.broken
	}
	return s.after < v.latest, nil
}

// sleep waits for news; a read-only log has to look for them.
func (s *subscription) sleep(ctx context.Context, changed <-chan struct{}, pause time.Duration) {
	var look <-chan time.Time
	if s.l.opts.ReadOnly {
		timer := time.NewTimer(pause)
		defer timer.Stop()
		look = timer.C
	}
	select {
	case <-changed:
	case <-look:
	case <-ctx.Done():
	case <-s.l.closed:
	}
}
