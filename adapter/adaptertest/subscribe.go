package adaptertest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync/atomic"

	"github.com/seglog/seglog/engine"
)

var subscribeRules = []rule{
	{"HistoryComesFirstThenLive", historyComesFirstThenLive},
	{"StartsAfterTheGivenID", startsAfterTheGivenID},
	{"WaitsForATopicThatIsNotThereYet", waitsForATopicThatIsNotThereYet},
	{"SeesItsTopicOnly", seesItsTopicOnly},
	{"NoGapNoDuplicateBesideAppends", noGapNoDuplicateBesideAppends},
	{"RangingAgainGoesOn", rangingAgainGoesOn},
	{"ContextEndsIt", contextEndsSubscription},
	{"LeavingReleases", leavingReleases},
	{"RecordsBelongToTheCaller", subscribersRecordsBelongToTheCaller},
}

// bothPolicies runs check once for each lag policy, on a topic of its own.
func bothPolicies(f *fixture, check func(topic engine.Topic, lag engine.LagPolicy)) {
	check(engine.MustTopic("catch-up"), engine.LagCatchUp)
	check(engine.MustTopic("fail"), engine.LagFail)
}

func historyComesFirstThenLive(f *fixture) {
	bothPolicies(f, func(topic engine.Topic, lag engine.LagPolicy) {
		f.fill(topic, 5)
		s := f.subscribe(topic, engine.SubscribeOptions{Lag: lag})
		defer s.stop()
		s.take(3)
		for id := engine.EventID(6); id <= 8; id++ { // one by one: the queue may be as short
			f.fill(topic, id)
			s.take(id)
		}
	})
}

func startsAfterTheGivenID(f *fixture) {
	bothPolicies(f, func(topic engine.Topic, lag engine.LagPolicy) {
		f.fill(topic, 5)
		var streams []*stream
		for after := range engine.EventID(8) {
			s := f.subscribe(topic, engine.SubscribeOptions{After: after, Lag: lag})
			defer s.stop()
			streams = append(streams, s)
		}
		for id := engine.EventID(6); id <= 10; id++ {
			f.fill(topic, id)
			for _, s := range streams {
				s.take(id)
			}
		}
	})
	// The highest id of all is a bound like any other.
	ctx, cancel := context.WithCancel(f.ctx)
	s := f.pull(jobs, math.MaxUint64, f.log.Subscribe(ctx, jobs, engine.SubscribeOptions{After: math.MaxUint64}))
	defer s.stop()
	f.fill(jobs, 3)
	cancel()
	f.wantCanceled("a subscription after the highest id", s.end())
}

func waitsForATopicThatIsNotThereYet(f *fixture) {
	bothPolicies(f, func(topic engine.Topic, lag engine.LagPolicy) {
		seq := f.log.Subscribe(f.ctx, topic, engine.SubscribeOptions{Lag: lag})
		got := make(chan error, 1)
		go func() {
			for r, err := range seq {
				if err == nil {
					err = f.compareNumbered(r, topic, 1)
				}
				got <- err
				return
			}
			got <- errors.New("the subscription ended")
		}()
		f.append(topic, numbered(1), 1)
		if err := f.result(got, "the topic's first event"); err != nil {
			f.Fatalf("a subscription from before the topic's first event: %v", err)
		}
	})
}

func seesItsTopicOnly(f *fixture) {
	other := engine.MustTopic("other")
	s := f.subscribe(jobs, engine.SubscribeOptions{})
	defer s.stop()
	f.append(other, withPayload(`"other"`), 1)
	f.fill(jobs, 1)
	f.append(other, withPayload(`"other"`), 2)
	f.fill(jobs, 2)
	s.take(2)
}

func noGapNoDuplicateBesideAppends(f *fixture) {
	joined := make(chan struct{}, appenders)
	var following atomic.Int64 // subscribers that are not done
	following.Store(appenders)
	err := parallel(1+appenders, func(i int) error {
		if i > 0 {
			defer following.Add(-1)
			if err := receive(f.ctx, joined); err != nil {
				return err
			}
			return f.follow(engine.EventID(i))
		}
		for id := engine.EventID(1); following.Load() > 0; id++ {
			if _, err := f.log.Append(f.ctx, jobs, numbered(id)); err != nil {
				return err
			}
			if id%10 == 0 && id <= 10*appenders { // they join one after the other
				joined <- struct{}{}
			}
		}
		return nil
	})
	if err != nil {
		f.Fatalf("subscribers beside an appender: %v", err)
	}
}

// follow subscribes to jobs while somebody appends, and stays until it has
// passed from what was there when it came to what came later.
func (f *fixture) follow(after engine.EventID) error {
	var enough engine.EventID
	for r, err := range f.log.Subscribe(f.ctx, jobs, engine.SubscribeOptions{After: after}) {
		if err != nil {
			return fmt.Errorf("subscription after event %d: %w", after, err)
		}
		after++
		if err := f.compareNumbered(r, jobs, after); err != nil {
			return err
		}
		if enough == 0 {
			latest, _, err := f.log.Latest(f.ctx, jobs)
			if err != nil {
				return err
			}
			enough = latest + 20
		}
		if r.ID == enough {
			return nil
		}
	}
	return fmt.Errorf("the subscription ended after event %d", after)
}

func rangingAgainGoesOn(f *fixture) {
	bothPolicies(f, func(topic engine.Topic, lag engine.LagPolicy) {
		f.fill(topic, 5)
		seq := f.log.Subscribe(f.ctx, topic, engine.SubscribeOptions{After: 1, Lag: lag})
		s := f.pull(topic, 1, seq)
		s.take(3)
		s.stop()
		f.fill(topic, 6)
		s = f.pull(topic, 3, seq)
		defer s.stop()
		s.take(6)
	})
}

func contextEndsSubscription(f *fixture) {
	bothPolicies(f, func(topic engine.Topic, lag engine.LagPolicy) {
		ctx, cancel := context.WithCancel(f.ctx)
		defer cancel()
		f.fill(topic, 3)
		ended, reached := make(chan error, 1), make(chan struct{})
		go func() {
			var last error
			for r, err := range f.log.Subscribe(ctx, topic, engine.SubscribeOptions{Lag: lag}) {
				if last = err; err == nil && r.ID == 3 {
					close(reached)
				}
			}
			ended <- last
		}()
		f.wait(reached, "the subscription's third event")
		cancel()
		f.wantCanceled("a subscription that waits", f.result(ended, "a subscription whose context ended"))
		f.wantCanceled("a new subscription", firstErr(f, "Subscribe under a cancelled context", f.pull(topic, 0, f.log.Subscribe(ctx, topic, engine.SubscribeOptions{Lag: lag}))))
	})
	f.fillLong()
	ctx, cancel := context.WithCancel(f.ctx)
	s := f.pull(jobs, 0, f.log.Subscribe(ctx, jobs, engine.SubscribeOptions{}))
	defer s.stop()
	s.take(3)
	cancel()
	f.wantCanceled("a subscription amid history", s.end())
	if s.last == longLatest {
		f.Fatalf("a subscription yields all %d events after its context was cancelled at the third", longLatest)
	}
}

func leavingReleases(f *fixture) {
	f.fill(jobs, 10)
	for range 200 {
		for _, err := range f.log.Subscribe(f.ctx, jobs, engine.SubscribeOptions{Lag: engine.LagFail}) {
			if err != nil {
				f.Fatalf("Subscribe: %v", err)
			}
			break
		}
		f.log.Subscribe(f.ctx, jobs, engine.SubscribeOptions{}) // never ranged over
	}
	depth := f.queueDepth()
	f.fill(jobs, 10+3*depth)
	f.compact(jobs, 5, 5, uint64(5+3*depth), 10+3*depth)
}

func subscribersRecordsBelongToTheCaller(f *fixture) {
	a := f.subscribe(jobs, engine.SubscribeOptions{})
	defer a.stop()
	b := f.subscribe(jobs, engine.SubscribeOptions{})
	defer b.stop()
	f.fill(jobs, 5)
	for range 5 {
		r, err, _ := a.next()
		if err != nil {
			f.Fatalf("Subscribe: %v", err)
		}
		scribble(&r.Event)
	}
	b.take(5)
	f.wantEvents(jobs, 1, 5)
}

var lagRules = []rule{
	{"FailHoldsQueueDepthEvents", failHoldsQueueDepthEvents},
	{"FailEndsWhenTheQueueOverflows", failEndsWhenTheQueueOverflows},
	{"FailOverflowsByOneBatch", failOverflowsByOneBatch},
	{"FailCountsFromTheCall", failCountsFromTheCall},
	{"FailDoesNotCountWhatWasDelivered", failDoesNotCountWhatWasDelivered},
	{"CatchUpReadsOn", catchUpReadsOn},
	{"OvertakenByCompactionIsNeverAGap", overtakenByCompactionIsNeverAGap},
	{"OvertakenBeforeTheFirstIteration", overtakenBeforeTheFirstIteration},
	{"OvertakenByEmptying", overtakenByEmptying},
	{"CompactionOfWhatWasDeliveredIsNoLag", compactionOfWhatWasDeliveredIsNoLag},
	{"CompactedBeforeTheCallIsNoLag", compactedBeforeTheCallIsNoLag},
}

// queueDepth is that of the log; the rules append a few times as many events.
func (f *fixture) queueDepth() engine.EventID {
	f.Helper()
	d, err := f.log.Describe(f.ctx)
	if err != nil {
		f.Fatalf("Describe: %v", err)
	}
	if d.QueueDepth < 1 || d.QueueDepth > 10_000 {
		f.Fatalf("Describe says queue depth %d, want 1 to 10000", d.QueueDepth)
	}
	return engine.EventID(d.QueueDepth)
}

// fillSingly is fill with a commit for each event.
func (f *fixture) fillSingly(last engine.EventID) {
	f.Helper()
	latest, _ := f.latest(jobs)
	for id := latest + 1; id <= last; id++ {
		f.append(jobs, numbered(id), id)
	}
}

func failHoldsQueueDepthEvents(f *fixture) {
	depth := f.queueDepth()
	s := f.subscribe(jobs, engine.SubscribeOptions{Lag: engine.LagFail})
	defer s.stop()
	f.fillSingly(depth)
	s.take(depth)
	f.fill(jobs, 2*depth) // once more, in one commit
	s.take(2 * depth)
	f.fill(jobs, 2*depth+1)
	s.take(2*depth + 1)
}

func failEndsWhenTheQueueOverflows(f *fixture) {
	depth := f.queueDepth()
	s := f.subscribe(jobs, engine.SubscribeOptions{Lag: engine.LagFail})
	defer s.stop()
	for id := engine.EventID(1); id <= 2; id++ {
		f.fill(jobs, id)
		s.take(id)
	}
	f.fillSingly(2 + depth + 1)
	s.wantLagged(0)
	if s.last != 2 {
		f.Fatalf("a subscriber whose queue overflowed after event 2 gets events up to %d, want what was queued dropped", s.last)
	}
	again := f.subscribe(jobs, engine.SubscribeOptions{After: s.last, Lag: engine.LagFail})
	defer again.stop()
	again.take(2 + depth + 1)
	f.fill(jobs, 2+depth+2)
	again.take(2 + depth + 2)
}

func failOverflowsByOneBatch(f *fixture) {
	depth := f.queueDepth()
	s := f.subscribe(jobs, engine.SubscribeOptions{Lag: engine.LagFail})
	defer s.stop()
	f.fill(jobs, depth+1)
	s.wantLagged(0)
	if s.last != 0 {
		f.Fatalf("a subscriber whose queue overflowed at once gets events up to %d, want none", s.last)
	}
}

func failCountsFromTheCall(f *fixture) {
	depth := f.queueDepth()
	f.fill(jobs, 3*depth)
	s := f.subscribe(jobs, engine.SubscribeOptions{After: depth, Lag: engine.LagFail})
	defer s.stop()
	f.fill(jobs, 4*depth) // they fit, however much history is before them
	s.take(4 * depth)

	late := f.subscribe(jobs, engine.SubscribeOptions{Lag: engine.LagFail})
	defer late.stop()
	f.fill(jobs, 5*depth+1) // one too many, and the first iteration comes later
	late.wantLagged(0)
	if late.last > 4*depth {
		f.Fatalf("a subscriber whose queue overflowed gets events up to %d, want what was queued after %d dropped", late.last, 4*depth)
	}
}

func failDoesNotCountWhatWasDelivered(f *fixture) {
	depth := f.queueDepth()
	s := f.subscribe(jobs, engine.SubscribeOptions{Lag: engine.LagFail})
	defer s.stop()
	for last := engine.EventID(1); last <= 3*depth; last++ {
		f.append(jobs, numbered(last), last)
		s.take(last)
	}
	f.fill(jobs, 4*depth)
	s.take(4 * depth)
}

func catchUpReadsOn(f *fixture) {
	depth := f.queueDepth()
	s := f.subscribe(jobs, engine.SubscribeOptions{})
	defer s.stop()
	f.fill(jobs, 1)
	s.take(1)
	f.fillSingly(depth + 10)
	f.fill(jobs, 5*depth+10)
	s.take(5*depth + 10)
	f.fill(jobs, 5*depth+11)
	s.take(5*depth + 11)
}

// wantOvertaken fails unless the stream, whose unread events up to first-1
// were compacted, delivers either all of them, as it had them already, or
// some, and then the lagged error. It tells whether that came.
func (s *stream) wantOvertaken(first, latest engine.EventID) bool {
	s.f.Helper()
	for s.last < latest {
		r, err, ok := s.next()
		if !ok {
			s.f.Fatalf("a subscription that compaction overtook ends in silence after event %d", s.last)
		}
		if err != nil {
			s.checkLagged(err, first)
			return true
		}
		if err := s.f.compareNumbered(r, s.topic, s.last+1); err != nil {
			s.f.Fatalf("a subscription that compaction overtook: %v", err)
		}
		s.last = r.ID
	}
	return false
}

func overtakenByCompactionIsNeverAGap(f *fixture) {
	f.fillLong()
	seq := f.log.Subscribe(f.ctx, jobs, engine.SubscribeOptions{})
	s := f.pull(jobs, 0, seq)
	defer s.stop()
	s.take(1)
	f.compact(jobs, 2900, 2900, longLatest-2900, longLatest)
	if !s.wantOvertaken(2901, longLatest) {
		return
	}
	if _, _, more := s.next(); more {
		f.Fatalf("a subscription goes on after the lagged error")
	}
	again := f.pull(jobs, s.last, seq)
	defer again.stop()
	if r, err, _ := again.next(); err == nil && r.ID > s.last+1 {
		f.Fatalf("ranging again after the lagged error goes on with event %d, silent about those after %d", r.ID, s.last)
	}
	fresh := f.subscribe(jobs, engine.SubscribeOptions{After: 2900})
	defer fresh.stop()
	fresh.take(longLatest)
}

func overtakenBeforeTheFirstIteration(f *fixture) {
	f.fill(jobs, 5)
	bound := func(lag engine.LagPolicy) *stream {
		return f.subscribe(jobs, engine.SubscribeOptions{After: 1, Lag: lag})
	}
	catchUp, fail := bound(engine.LagCatchUp), bound(engine.LagFail)
	defer catchUp.stop()
	defer fail.stop()
	f.compact(jobs, 3, 3, 2, 5)
	catchUp.wantOvertaken(4, 5)
	fail.wantOvertaken(4, 5)
}

func overtakenByEmptying(f *fixture) {
	f.fill(jobs, 2)
	s := f.subscribe(jobs, engine.SubscribeOptions{})
	defer s.stop()
	s.take(2)
	f.fill(jobs, 5)
	f.compact(jobs, 5, 3+2, 0, 5)
	s.wantOvertaken(6, 5)
}

func compactionOfWhatWasDeliveredIsNoLag(f *fixture) {
	bothPolicies(f, func(topic engine.Topic, lag engine.LagPolicy) {
		f.fill(topic, 5)
		s := f.subscribe(topic, engine.SubscribeOptions{Lag: lag})
		defer s.stop()
		s.take(4)
		f.compact(topic, 3, 3, 2, 5)
		s.take(5)
		f.compact(topic, 5, 2, 0, 5)
		f.fill(topic, 6)
		s.take(6)
	})
}

func compactedBeforeTheCallIsNoLag(f *fixture) {
	bothPolicies(f, func(topic engine.Topic, lag engine.LagPolicy) {
		f.fill(topic, 5)
		f.compact(topic, 3, 3, 2, 5)
		for after := range engine.EventID(5) {
			s := f.subscribe(topic, engine.SubscribeOptions{After: after, Lag: lag})
			defer s.stop()
			s.last = max(after, 3)
			s.take(5)
		}
		f.compact(topic, 5, 2, 0, 5)
		s := f.subscribe(topic, engine.SubscribeOptions{Lag: lag})
		defer s.stop()
		f.fill(topic, 6)
		s.last = 5
		s.take(6)
	})
}
