package bench

import (
	"context"
	"fmt"
	"sync"

	"github.com/seglog/seglog/engine"
)

// Audience is subscribers, each a goroutine.
type Audience struct {
	cancel  context.CancelFunc
	running sync.WaitGroup
	ended   chan error // why a subscription ended by itself; buffered for all
}

// Subscribe starts count subscribers to what is appended to topic from now on.
func Subscribe(log engine.EventLog, topic engine.Topic, count int, deliver func(engine.Record)) (*Audience, error) {
	ctx, cancel := context.WithCancel(context.Background())
	a := &Audience{cancel: cancel, ended: make(chan error, count)}
	latest, _, err := log.Latest(ctx, topic)
	if err != nil {
		cancel()
		return nil, err
	}
	for range count {
		records := log.Subscribe(ctx, topic, engine.SubscribeOptions{After: latest})
		a.running.Go(func() {
			for record, err := range records {
				if err != nil {
					a.ended <- err
					return
				}
				deliver(record)
			}
		})
	}
	return a, nil
}

// Wait waits for what subscribers are to do, or for one that fails.
func (a *Audience) Wait(done <-chan struct{}) error {
	select {
	case <-done:
		return nil
	case err := <-a.ended:
		return fmt.Errorf("subscription ended: %w", err)
	}
}

// Stop ends all subscriptions and waits for that.
func (a *Audience) Stop() {
	a.cancel()
	a.running.Wait()
}
