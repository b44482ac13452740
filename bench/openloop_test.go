package bench

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"
)

func TestOpenLoopChargesForTheWait(t *testing.T) {
	// The store stands still until everything is due: each operation has waited
	// since then, however quick it is itself.
	const perSecond, d = 10_000, 20 * time.Millisecond
	var blocked atomic.Bool
	release := make(chan struct{})
	began := time.Now()
	time.AfterFunc(2*d, func() { close(release) })
	result, err := OpenLoop(perSecond, d, func(int, int) error {
		blocked.Store(true)
		<-release
		return nil
	})
	if err != nil || !blocked.Load() {
		t.Fatalf("got %v, blocked %t", err, blocked.Load())
	}
	if result.Operations < 100 || result.Operations > 400 {
		t.Errorf("got %d operations, want about %v", result.Operations, perSecond*d.Seconds())
	}
	if least := result.Latency.Quantile(0); least < d*3/4 {
		t.Errorf("the shortest latency is %v after %v, want at least the wait of about %v", least, time.Since(began), d)
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
