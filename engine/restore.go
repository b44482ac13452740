package engine

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"
)

// Restorer is what a copy of a log needs beside [EventLog]: topics that begin
// above event 1, and cursors that keep their time. The backends of this module
// have it.
type Restorer interface {
	// RestoreTopic makes topic as it is once its events up to and including
	// latest were appended and compacted: it is empty, and the next append gets
	// latest+1. Latest is at most 2^63-1. A topic that has, or had, events is refused with a
	// [*ConflictError]; but with latest 0 nothing is done, whatever the topic. It is durable when it returns, as an
	// append is.
	RestoreTopic(ctx context.Context, topic Topic, latest EventID) error
	// RestoreCursor is [EventLog.Ack] with the time at which the consumer
	// acknowledged, to the millisecond.
	RestoreCursor(ctx context.Context, topic Topic, consumer ConsumerID, upTo EventID, at time.Time) error
}

// RestoreTopic implements [Restorer].
func (e *Engine) RestoreTopic(ctx context.Context, topic Topic, latest EventID) error {
	err := topic.Validate()
	switch {
	case err != nil:
	case latest > math.MaxInt64:
		err = fmt.Errorf("%w: a topic can begin behind event %d at most", ErrTooLarge, int64(math.MaxInt64))
	case latest == 0:
		if err = e.ready(ctx); err == nil {
			err = e.writable()
		}
	default:
		err = e.change(ctx, []op{{kind: opExpect, topic: topic}, {kind: opBegin, topic: topic, id: uint64(latest)}})
	}
	if err != nil {
		return fmt.Errorf("restore topic %s behind event %d: %w", topic, latest, err)
	}
	return nil
}

// RestoreCursor implements [Restorer].
func (e *Engine) RestoreCursor(ctx context.Context, topic Topic, consumer ConsumerID, upTo EventID, at time.Time) error {
	err := errors.Join(topic.Validate(), consumer.Validate())
	if err == nil {
		o := e.cursorOp(topic, consumer, upTo)
		o.ackedMS = at.UnixMilli()
		err = e.change(ctx, []op{o})
	}
	if err != nil {
		return fmt.Errorf("restore cursor of consumer %q at event %d of topic %s: %w", consumer, upTo, topic, err)
	}
	return nil
}
