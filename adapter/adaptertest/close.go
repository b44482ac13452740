package adaptertest

import (
	"errors"
	"fmt"

	"github.com/seglog/seglog/engine"
)

var closeRules = []rule{
	{"TwiceIsHarmless", closingTwiceIsHarmless},
	{"EverythingAfterItFails", everythingAfterCloseFails},
	{"EndsSubscriptions", closeEndsSubscriptions},
	{"RacingAppendsAreWholeOrRefused", closeRacingAppends},
}

func closingTwiceIsHarmless(f *fixture) {
	f.fill(jobs, 1)
	for i := range 3 {
		if err := f.log.Close(); err != nil {
			f.Fatalf("Close, call %d: %v", i+1, err)
		}
	}
	if err := parallel(appenders, func(int) error { return f.log.Close() }); err != nil {
		f.Fatalf("concurrent Close: %v", err)
	}
}

func everythingAfterCloseFails(f *fixture) {
	f.fill(jobs, 3)
	f.ack(jobs, "c", 1)
	if err := f.log.Close(); err != nil {
		f.Fatalf("Close: %v", err)
	}
	errs := everyCall(f, f.ctx, jobs)
	_, errs["Topics"] = f.log.Topics(f.ctx)
	_, errs["Describe"] = f.log.Describe(f.ctx)
	errs["Flush"] = f.log.Flush(f.ctx)
	_, _, errs["AppendBatch of nothing"] = f.log.AppendBatch(f.ctx, jobs, nil)
	for what, err := range errs {
		f.wantErr(what+" after Close", err, engine.ErrClosed)
	}
}

func closeEndsSubscriptions(f *fixture) {
	f.fill(jobs, 3)
	// One subscription is not ranged over until the log is closed.
	later := f.subscribe(jobs, engine.SubscribeOptions{})
	defer later.stop()

	const n = 4
	reached, ended := make(chan struct{}, n), make(chan error, n)
	for i := range n {
		opts := engine.SubscribeOptions{Lag: engine.LagPolicy(i % 2)}
		go func() {
			var last error
			for r, err := range f.log.Subscribe(f.ctx, jobs, opts) {
				if last = err; err == nil && r.ID == 3 {
					reached <- struct{}{}
				}
			}
			ended <- last
		}()
	}
	for range n {
		f.wait(reached, "a subscription's third event")
	}
	if err := f.log.Close(); err != nil {
		f.Fatalf("Close with running subscriptions: %v", err)
	}
	for range n {
		f.wantErr("a subscription whose log was closed", f.result(ended, "a subscription whose log was closed"), engine.ErrClosed)
	}
	later.wantEnd(engine.ErrClosed)
}

func closeRacingAppends(f *fixture) {
	started := make(chan struct{}, appenders)
	err := parallel(1+appenders, func(i int) error {
		if i == 0 {
			for range appenders {
				<-started
			}
			return f.log.Close()
		}
		topic := engine.MustTopic(fmt.Sprintf("t%d", i))
		for id := engine.EventID(1); ; id++ {
			got, err := f.log.Append(f.ctx, topic, numbered(id))
			if id == 1 {
				started <- struct{}{}
			}
			if errors.Is(err, engine.ErrClosed) {
				return nil
			}
			if err != nil {
				return err
			}
			if got != id {
				return fmt.Errorf("append gave id %d, want %d", got, id)
			}
		}
	})
	if err != nil {
		f.Fatalf("Close beside appends: %v", err)
	}
}
