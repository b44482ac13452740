package bench

import (
	"errors"
	"sync"
	"testing"
	"time"
)

func TestOpenLoopChargesForTheWait(t *testing.T) {
	// The store stands still for twice as long as operations become due, from
	// the first one on. So each has waited for at least d when it is done,
	// however late it was begun.
	const perSecond, d = 10_000, 20 * time.Millisecond
	release := make(chan struct{})
	stand := sync.OnceFunc(func() { time.AfterFunc(2*d, func() { close(release) }) })
	result, err := OpenLoop(perSecond, d, func(int, int) error {
		stand()
		<-release
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if result.Operations < 100 || result.Operations > 400 {
		t.Errorf("got %d operations, want about %v", result.Operations, perSecond*d.Seconds())
	}
	if least := result.Latency.Quantile(0); least < d*3/4 {
		t.Errorf("the shortest latency is %v, want at least the wait of %v", least, d)
	}
}

func TestOpenLoopEndsWithTheError(t *testing.T) {
	_, err := OpenLoop(1e6, time.Millisecond, func(int, int) error { return errSimulated })
	if !errors.Is(err, errSimulated) {
		t.Errorf("got %v, want %v", err, errSimulated)
	}
	if _, err := OpenLoop(0, time.Millisecond, func(int, int) error { return nil }); err == nil {
		t.Error("no operations a second: no error")
	}
}

func TestDuringAllowsTheFirstTurn(t *testing.T) {
	more := During(0)
	if !more() {
		t.Error("the first turn is not allowed")
	}
}
