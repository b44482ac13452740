package adapter

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/seglog/seglog/engine"
)

// ErrDiffers: the target of a [Copy] holds something that is not a copy of the
// source.
var ErrDiffers = errors.New("the logs differ")

const (
	// copyBatchEvents and copyBatchBytes bound what a copy holds in memory and
	// commits at once. One event may go over the bytes.
	copyBatchEvents = 8 << 10
	copyBatchBytes  = 4 << 20
	// copySample is how many events of a topic are compared before more are
	// copied behind them.
	copySample = 1000
	// copyProgressEvents is how often a comparison tells how far it is.
	copyProgressEvents = 4 << 10
)

// CopyReport says what a [Copy] did.
type CopyReport struct {
	// Topics and Events are in the source, and compared at the end.
	Topics, Events uint64
	// Copied events and Cursors were written; the rest was there already.
	Copied, Cursors uint64
	// Clamped cursors were beyond the latest event: see [ClampCursors].
	Clamped uint64
	// Kept cursors were acknowledged in the target after the source's were, and
	// left as they are.
	Kept uint64
	// Unlisted: the source cannot list topics that have cursors and no events,
	// so that these cursors were not copied.
	Unlisted bool
}

// CopyOption changes what a [Copy] does.
type CopyOption func(*copier)

// ClampCursors copies a cursor that is beyond its topic's latest event, as the
// logs of the original may have, as a cursor at the latest event; without it,
// such a source is refused. It calls each, if that is not nil, for each of them.
func ClampCursors(each func(ClampedCursor)) CopyOption {
	return func(c *copier) { c.clamp, c.clamped = true, each }
}

// ClampedCursor is a cursor that is beyond its topic's latest event.
type ClampedCursor struct {
	Topic    engine.Topic
	Consumer engine.ConsumerID
	// Cursor is what the source has, Latest is what the target gets.
	Cursor, Latest engine.EventID
}

// CopyProgress says how far a [Copy] is.
type CopyProgress struct {
	// Comparing: everything is copied and is now compared.
	Comparing bool
	Topic     engine.Topic
	// Done of Total events are copied, or compared.
	Done, Total uint64
}

// Copy makes to, which is empty or holds the beginning of an earlier copy, a
// copy of from: the same topics with the same ids, kinds, headers, times and
// payloads, byte for byte, and the same cursors with their times. Topics that
// begin above event 1 do so in the copy, and emptied topics keep their latest
// id. It calls progress, if that is not nil, now and then.
//
// At its end it reads both logs and compares them. Memory is bounded whatever
// their size.
//
// It copies what is there when it begins. A topic, an event or an ack that comes
// later is left for another call, which goes on where the target ends. So does
// the call after one that failed or was killed: whatever a copy has written it
// never writes again. Before it writes anything it compares where the topics of
// both begin, and the first and the last thousand events that the target has.
// It fails with [ErrDiffers] where the target holds what the source does not,
// and where compaction of the source meanwhile took away what the copy has
// (compact the copy as well, or begin a new one); with [engine.ErrCompacted]
// where that happens while it reads; with [*engine.ConflictError] where somebody
// else appends to the target.
//
// Cursors on topics without events are copied too, where the source has
// CursorTopics, as all backends of this module do; else the report says so. A
// cursor beyond its topic's latest event, which no log of this module lets
// anybody set, is refused with [engine.ErrBeyondLatest] before anything is
// written, unless [ClampCursors] says otherwise.
//
// Where a consumer has acknowledged something in the target later than in the
// source, as the times of its cursors say, its cursor in the target is left as
// it is, and counts as a copy: nobody's progress is taken back.
//
// Positions are not carried: the copy has those that its own commits get, topic
// after topic. A target in files keeps a payload with line
// breaks on one line, and is compared without the white space between its
// tokens; an SQLite target refuses ids above the signed 64-bit range.
func Copy(ctx context.Context, from, to engine.EventLog, progress func(CopyProgress), opts ...CopyOption) (CopyReport, error) {
	c := copier{from: from, to: to, progress: progress}
	for _, opt := range opts {
		opt(&c)
	}
	d, err := to.Describe(ctx)
	if err != nil {
		return c.report, fmt.Errorf("copy: target: %w", err)
	}
	c.oneLine = d.Backend == engine.BackendFile
	for _, step := range []func(context.Context) error{c.plan, c.check, c.copy, c.compare} {
		if err := step(ctx); err != nil {
			return c.report, fmt.Errorf("copy: %w", err)
		}
	}
	return c.report, nil
}

// copier is one copy on its way.
type copier struct {
	from, to engine.EventLog
	oneLine  bool // the target keeps a payload on one line
	progress func(CopyProgress)
	clamp    bool                // cursors beyond latest are copied as latest
	clamped  func(ClampedCursor) // or nil
	report   CopyReport
	topics   []topicCopy // sorted by name
	copied   uint64      // events that the target has; those of earlier copies too
	compared uint64
}

// topicCopy is a topic of the source as it is when the copy begins.
type topicCopy struct {
	engine.Topic
	first     engine.EventID // the lowest that can be read; latest+1: none can
	latest    engine.EventID
	consumers []engine.ConsumerInfo
	copied    engine.EventID // the target's latest; 0: it does not have the topic
}

// plan notes what there is to copy.
func (c *copier) plan(ctx context.Context) error {
	topics, err := c.sourceTopics(ctx)
	if err != nil {
		return fmt.Errorf("source: %w", err)
	}
	for _, topic := range topics {
		t := topicCopy{Topic: topic}
		// Cursors first: beside a writer both move, and none may be beyond latest.
		if t.consumers, err = Consumers(ctx, c.from, topic); err != nil {
			return fmt.Errorf("source: %w", err)
		}
		if t.first, t.latest, err = bounds(ctx, c.from, topic); err != nil {
			return fmt.Errorf("source: %w", err)
		}
		if err := c.checkCursors(&t); err != nil {
			return fmt.Errorf("source: %w", err)
		}
		c.topics = append(c.topics, t)
		if t.latest > 0 {
			c.report.Topics++
		}
		c.report.Events += uint64(t.latest + 1 - t.first)
	}
	return nil
}

// sourceTopics are the topics that have events, had some, or have cursors.
func (c *copier) sourceTopics(ctx context.Context) ([]engine.Topic, error) {
	withCursors, err := CursorTopics(ctx, c.from)
	if errors.Is(err, errors.ErrUnsupported) {
		c.report.Unlisted, err = true, nil
	}
	if err != nil {
		return nil, err
	}
	topics, err := c.from.Topics(ctx)
	if err != nil {
		return nil, err
	}
	topics = append(topics, withCursors...)
	slices.SortFunc(topics, func(a, b engine.Topic) int { return strings.Compare(a.String(), b.String()) })
	return slices.Compact(topics), nil
}

// checkCursors finds the cursors that no log takes.
func (c *copier) checkCursors(t *topicCopy) error {
	for i := range t.consumers {
		had := &t.consumers[i]
		if had.Cursor <= t.latest {
			continue
		}
		if !c.clamp {
			return fmt.Errorf("%w: the cursor of consumer %q on topic %s is at event %d, and the latest is event %d; "+
				"to copy such cursors as ones at the latest event, give seglog copy --clamp-cursors (adapter.ClampCursors), "+
				"or move this one back in the source",
				engine.ErrBeyondLatest, had.Consumer, t, had.Cursor, t.latest)
		}
		c.report.Clamped++
		if c.clamped != nil {
			c.clamped(ClampedCursor{t.Topic, had.Consumer, had.Cursor, t.latest})
		}
		had.Cursor = t.latest
	}
	return nil
}

// check refuses a target that is not the beginning of a copy of the source, or
// that cannot become a copy. It writes nothing.
func (c *copier) check(ctx context.Context) error {
	topics, err := c.to.Topics(ctx)
	if err != nil {
		return fmt.Errorf("target: %w", err)
	}
	for _, topic := range topics {
		byName := func(t topicCopy, name string) int { return strings.Compare(t.String(), name) }
		if _, ok := slices.BinarySearchFunc(c.topics, topic.String(), byName); !ok {
			return fmt.Errorf("%w: the target has topic %s, which the source does not have", ErrDiffers, topic)
		}
	}
	_, restores := c.to.(engine.Restorer)
	for i := range c.topics {
		t := &c.topics[i]
		if err := c.checkTopic(ctx, t); err != nil {
			return err
		}
		if t.copied == 0 && t.first-1 > math.MaxInt64 {
			return fmt.Errorf("target: topic %s: %w: a topic can begin behind event %d at most, and this one ends at event %d",
				t, engine.ErrTooLarge, int64(math.MaxInt64), t.latest)
		}
		if needed := len(t.consumers) > 0 || t.copied == 0 && t.first > 1; needed && !restores {
			return fmt.Errorf("target: topic %s begins at event %d and has %d consumers, and this kind of log cannot restore either: %w",
				t, t.first, len(t.consumers), errors.ErrUnsupported)
		}
	}
	return nil
}

// checkTopic finds how far the target has a topic.
func (c *copier) checkTopic(ctx context.Context, t *topicCopy) error {
	consumers, err := Consumers(ctx, c.to, t.Topic)
	if err != nil {
		return fmt.Errorf("target: %w", err)
	}
	for _, had := range consumers {
		if !slices.ContainsFunc(t.consumers, func(c engine.ConsumerInfo) bool { return c.Consumer == had.Consumer }) {
			return fmt.Errorf("%w: the target has consumer %q of topic %s, which the source does not have", ErrDiffers, had.Consumer, t)
		}
	}
	first, latest, err := bounds(ctx, c.to, t.Topic)
	if err != nil {
		return fmt.Errorf("target: %w", err)
	}
	if latest == 0 {
		return nil
	}
	if first != t.first {
		return fmt.Errorf("%w: topic %s begins at event %d in the target, and at event %d in the source", ErrDiffers, t, first, t.first)
	}
	if latest > t.latest {
		return fmt.Errorf("%w: topic %s has events up to %d in the target, and up to %d in the source", ErrDiffers, t, latest, t.latest)
	}
	t.copied = latest
	c.copied += uint64(latest + 1 - first)
	if err := c.compareEvents(ctx, t, first-1, min(latest, first-1+copySample), nil); err != nil {
		return err
	}
	return c.compareEvents(ctx, t, max(first-1, latest-min(latest, copySample)), latest, nil)
}

// copy writes what the target lacks.
func (c *copier) copy(ctx context.Context) error {
	for i := range c.topics {
		t := &c.topics[i]
		if err := c.copyEvents(ctx, t); err != nil {
			return fmt.Errorf("topic %s: %w", t, err)
		}
		if err := c.copyCursors(ctx, t); err != nil {
			return fmt.Errorf("topic %s: %w", t, err)
		}
	}
	if err := c.to.Flush(ctx); err != nil {
		return fmt.Errorf("target: %w", err)
	}
	return nil
}

func (c *copier) copyEvents(ctx context.Context, t *topicCopy) error {
	if t.copied == 0 && t.first > 1 {
		if err := c.to.(engine.Restorer).RestoreTopic(ctx, t.Topic, t.first-1); err != nil {
			return fmt.Errorf("target: %w", err)
		}
		t.copied = t.first - 1
	}
	if t.copied == t.latest {
		return nil
	}
	var batch []engine.Event
	bytes, next := 0, t.copied+1
	for r, err := range c.from.Read(ctx, t.Topic, engine.ReadOptions{After: t.copied}) {
		if err != nil {
			return fmt.Errorf("source: %w", err)
		}
		if r.ID != next {
			return fmt.Errorf("source: %w: event %d follows event %d", engine.ErrCorrupt, r.ID, next-1)
		}
		if size := eventBytes(r.Event); len(batch) == copyBatchEvents || len(batch) > 0 && bytes+size > copyBatchBytes {
			if err := c.append(ctx, t, batch); err != nil {
				return err
			}
			batch, bytes = batch[:0], 0
		}
		batch, bytes = append(batch, r.Event), bytes+eventBytes(r.Event)
		if next++; r.ID == t.latest {
			return c.append(ctx, t, batch)
		}
	}
	return fmt.Errorf("source: %w: events end at %d, want the latest event, %d", engine.ErrCorrupt, next-1, t.latest)
}

func eventBytes(e engine.Event) int {
	n := len(e.Kind) + len(e.Payload)
	for k, v := range e.Headers {
		n += len(k) + len(v)
	}
	return n
}

// append appends the events behind those that are copied. Somebody else who
// appends to the target is found out by the expected id.
func (c *copier) append(ctx context.Context, t *topicCopy, events []engine.Event) error {
	_, last, err := c.to.AppendBatch(ctx, t.Topic, events, engine.ExpectLatest(t.copied))
	if err != nil {
		return fmt.Errorf("target: events from %d: %w", t.copied+1, err)
	}
	t.copied = last
	c.copied += uint64(len(events))
	c.report.Copied += uint64(len(events))
	c.tell(CopyProgress{Topic: t.Topic, Done: c.copied, Total: c.report.Events})
	return nil
}

func (c *copier) tell(p CopyProgress) {
	if c.progress != nil {
		c.progress(p)
	}
}

// copyCursors puts the target's cursors where the source's are.
func (c *copier) copyCursors(ctx context.Context, t *topicCopy) error {
	had, err := Consumers(ctx, c.to, t.Topic)
	if err != nil {
		return fmt.Errorf("target: %w", err)
	}
	for _, want := range t.consumers {
		if slices.ContainsFunc(had, func(c engine.ConsumerInfo) bool { return isLater(c, want) }) {
			c.report.Kept++
			continue
		}
		if slices.ContainsFunc(had, func(c engine.ConsumerInfo) bool { return sameCursor(c, want) }) {
			continue
		}
		if err := c.to.(engine.Restorer).RestoreCursor(ctx, t.Topic, want.Consumer, want.Cursor, want.AckedAt); err != nil {
			return fmt.Errorf("target: %w", err)
		}
		c.report.Cursors++
	}
	return nil
}

// isLater reports whether the consumer of two cursors acknowledged a later.
func isLater(a, b engine.ConsumerInfo) bool {
	return a.Consumer == b.Consumer && a.AckedAt.UnixMilli() > b.AckedAt.UnixMilli()
}

func sameCursor(a, b engine.ConsumerInfo) bool {
	return a.Consumer == b.Consumer && a.Cursor == b.Cursor && a.AckedAt.UnixMilli() == b.AckedAt.UnixMilli()
}

// compare reads both logs, as far as was copied.
func (c *copier) compare(ctx context.Context) error {
	tell := func(t *topicCopy) {
		if c.compared++; c.compared%copyProgressEvents == 0 {
			c.tell(CopyProgress{Comparing: true, Topic: t.Topic, Done: c.compared, Total: c.report.Events})
		}
	}
	for i := range c.topics {
		t := &c.topics[i]
		first, latest, err := bounds(ctx, c.to, t.Topic)
		if err != nil {
			return fmt.Errorf("target: %w", err)
		}
		if first != t.first || latest != t.latest {
			return fmt.Errorf("%w: topic %s has events %d to %d in the target, and %d to %d in the source",
				ErrDiffers, t, first, latest, t.first, t.latest)
		}
		if err := c.compareEvents(ctx, t, t.first-1, t.latest, tell); err != nil {
			return err
		}
		consumers, err := Consumers(ctx, c.to, t.Topic)
		if err != nil {
			return fmt.Errorf("target: %w", err)
		}
		isCopy := func(got, want engine.ConsumerInfo) bool { return sameCursor(got, want) || isLater(got, want) }
		if !slices.EqualFunc(consumers, t.consumers, isCopy) {
			return fmt.Errorf("%w: topic %s has consumers %v in the target, and %v in the source", ErrDiffers, t, consumers, t.consumers)
		}
	}
	return nil
}

// compareEvents reads the events of a topic after one up to another in both
// logs, and calls each, if that is not nil, for each that is the same.
func (c *copier) compareEvents(ctx context.Context, t *topicCopy, after, last engine.EventID, each func(*topicCopy)) error {
	if after >= last {
		return nil
	}
	source, stop := iter.Pull2(c.from.Read(ctx, t.Topic, engine.ReadOptions{After: after}))
	defer stop()
	target, stop := iter.Pull2(c.to.Read(ctx, t.Topic, engine.ReadOptions{After: after}))
	defer stop()
	for id := after; id < last; {
		id++
		want, err, ok := source()
		if err != nil || !ok || want.ID != id {
			return missing("source", t, id, err)
		}
		got, err, ok := target()
		if err != nil || !ok || got.ID != id {
			return missing("target", t, id, err)
		}
		if field := c.difference(got.Event, want.Event); field != "" {
			return fmt.Errorf("%w: event %d of topic %s has another %s in the target than in the source", ErrDiffers, id, t, field)
		}
		if each != nil {
			each(t)
		}
	}
	return nil
}

func missing(side string, t *topicCopy, id engine.EventID, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", side, err)
	}
	return fmt.Errorf("%w: the %s does not have event %d of topic %s", ErrDiffers, side, id, t)
}

// difference is the first field of two events that is not the same, or "".
func (c *copier) difference(got, want engine.Event) string {
	switch {
	case got.Kind != want.Kind:
		return "kind"
	case got.OccurredAtMS != want.OccurredAtMS:
		return "time"
	case !maps.Equal(got.Headers, want.Headers):
		return "header"
	case !bytes.Equal(got.Payload, want.Payload) && !c.sameOnOneLine(got.Payload, want.Payload):
		return "payload"
	}
	return ""
}

// sameOnOneLine reports whether payloads differ in white space alone, and may.
func (c *copier) sameOnOneLine(got, want []byte) bool {
	if !c.oneLine || !bytes.ContainsAny(want, "\r\n") {
		return false
	}
	var g, w bytes.Buffer
	return json.Compact(&g, got) == nil && json.Compact(&w, want) == nil && bytes.Equal(g.Bytes(), w.Bytes())
}

// bounds are the first event of a topic that can be read, latest+1 where none
// can, and its latest; 1 and 0 for a topic that does not exist.
func bounds(ctx context.Context, log engine.EventLog, topic engine.Topic) (first, latest engine.EventID, err error) {
	latest, _, err = log.Latest(ctx, topic)
	if err != nil {
		return 0, 0, err
	}
	first = latest + 1
	for r, err := range log.Read(ctx, topic, engine.ReadOptions{Limit: 1}) {
		if err != nil {
			return 0, 0, err
		}
		first = min(first, r.ID)
	}
	return first, latest, nil
}

// Consumers lists the consumers of a topic, sorted by id. A log that cannot is
// refused with [errors.ErrUnsupported].
func Consumers(ctx context.Context, log engine.EventLog, topic engine.Topic) ([]engine.ConsumerInfo, error) {
	lister, ok := log.(interface {
		Consumers(ctx context.Context, topic engine.Topic) ([]engine.ConsumerInfo, error)
	})
	if !ok {
		return nil, fmt.Errorf("list the consumers of topic %s: this kind of log cannot: %w", topic, errors.ErrUnsupported)
	}
	return lister.Consumers(ctx, topic)
}

// CursorTopics lists the topics that have cursors, sorted by name, also those
// that nothing was ever appended to. A log that cannot is refused with
// [errors.ErrUnsupported].
func CursorTopics(ctx context.Context, log engine.EventLog) ([]engine.Topic, error) {
	lister, ok := log.(interface {
		CursorTopics(ctx context.Context) ([]engine.Topic, error)
	})
	if !ok {
		return nil, fmt.Errorf("list the topics with cursors: this kind of log cannot: %w", errors.ErrUnsupported)
	}
	return lister.CursorTopics(ctx)
}
