package adaptertest

import (
	"context"
	"errors"

	"github.com/seglog/seglog/engine"
)

// asyncAppender is the part of a backend that appends without waiting.
type asyncAppender interface {
	AppendAsync(ctx context.Context, topic engine.Topic, event engine.Event, opts ...engine.AppendOption) *engine.Pending
}

var asyncRules = []rule{
	{"HandlesCompleteInOrder", asyncHandlesCompleteInOrder},
	{"RefusalsLeaveNoTrace", asyncRefusalsLeaveNoTrace},
	{"ExpectLatestIsHonoured", asyncExpectLatest},
	{"FlushWaitsForThem", flushWaitsForAsync},
}

func (f *fixture) appendAsync(ctx context.Context, e engine.Event, opts ...engine.AppendOption) *engine.Pending {
	f.Helper()
	a, ok := f.log.(asyncAppender)
	if !ok {
		f.Skipf("%T has no AppendAsync", f.log)
	}
	return a.AppendAsync(ctx, jobs, e, opts...)
}

// waitAsync returns the outcome, or skips the rule where the backend refuses.
func (f *fixture) waitAsync(p *engine.Pending) (engine.EventID, error) {
	f.Helper()
	id, err := p.Wait(f.ctx)
	if errors.Is(err, errors.ErrUnsupported) {
		f.Skipf("AppendAsync: %v", err)
	}
	return id, err
}

func asyncHandlesCompleteInOrder(f *fixture) {
	const last = 500
	var handles []*engine.Pending
	for id := engine.EventID(1); id <= last; id++ {
		handles = append(handles, f.appendAsync(f.ctx, numbered(id)))
	}
	if id, err := f.waitAsync(handles[last-1]); err != nil || id != last {
		f.Fatalf("the last of %d asynchronous appends gave id %d, %v", last, id, err)
	}
	for i, p := range handles {
		select {
		case <-p.Done():
		default:
			f.Fatalf("asynchronous append %d is not done, although that of event %d is", i+1, last)
		}
		for range 2 { // asking again is allowed
			if id, err := f.waitAsync(p); err != nil || id != engine.EventID(i+1) {
				f.Fatalf("asynchronous append %d gave id %d, %v", i+1, id, err)
			}
		}
	}
	f.wantEvents(jobs, 1, last)
}

func asyncRefusalsLeaveNoTrace(f *fixture) {
	_, err := f.waitAsync(f.appendAsync(f.ctx, withPayload("{")))
	f.wantErr("AppendAsync of an invalid payload", err, engine.ErrInvalidEvent, jobs.String())
	ctx, cancel := context.WithCancel(f.ctx)
	cancel()
	_, err = f.waitAsync(f.appendAsync(ctx, numbered(1)))
	f.wantCanceled("AppendAsync", err)
	f.wantUntouched(jobs, "after asynchronous appends that were refused")
	f.append(jobs, numbered(1), 1)
	if err := f.log.Close(); err != nil {
		f.Fatalf("Close: %v", err)
	}
	_, err = f.waitAsync(f.appendAsync(f.ctx, numbered(2)))
	f.wantErr("AppendAsync after Close", err, engine.ErrClosed)
}

func asyncExpectLatest(f *fixture) {
	a := f.appendAsync(f.ctx, numbered(1), engine.ExpectLatest(0))
	b := f.appendAsync(f.ctx, numbered(2), engine.ExpectLatest(0))
	c := f.appendAsync(f.ctx, numbered(2), engine.ExpectLatest(1))
	if id, err := f.waitAsync(a); err != nil || id != 1 {
		f.Fatalf("AppendAsync expecting a new topic gave %d, %v", id, err)
	}
	_, err := f.waitAsync(b)
	f.wantConflict(err, 1)
	if id, err := f.waitAsync(c); err != nil || id != 2 {
		f.Fatalf("AppendAsync expecting latest 1 gave %d, %v", id, err)
	}
	f.wantEvents(jobs, 1, 2)
}

func flushWaitsForAsync(f *fixture) {
	const last = 200
	e := numbered(0)
	for id := engine.EventID(1); id <= last; id++ {
		e = numbered(id)
		f.appendAsync(f.ctx, e)
		scribble(&e) // it is the caller's again
	}
	f.flush()
	f.wantEvents(jobs, 1, last)
}
