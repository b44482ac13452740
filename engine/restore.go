package engine

import (
	"context"
	"time"
)

// Restorer is what a copy of a log needs beside [EventLog]: topics that begin
// above event 1, and cursors that keep their time. The backends of this module
// have it.
type Restorer interface {
	// RestoreTopic makes topic as it is once its events up to and including
	// latest were appended and compacted: it is empty, and the next append gets
	// latest+1. With latest 0 it does nothing. A topic that has, or had, events
	// is refused with a [*ConflictError]. It is durable when it returns, as an
	// append is.
	RestoreTopic(ctx context.Context, topic Topic, latest EventID) error
	// RestoreCursor is [EventLog.Ack] with the time at which the consumer
	// acknowledged, to the millisecond.
	RestoreCursor(ctx context.Context, topic Topic, consumer ConsumerID, upTo EventID, at time.Time) error
}
