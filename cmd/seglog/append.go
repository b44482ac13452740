package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seglog/seglog/engine"
)

// defaultKind is the kind of an event where nothing says another.
const defaultKind = "event"

func newAppend(a *app) *cobra.Command {
	var kind string
	var headers []string
	var envelope, quiet bool
	cmd := &cobra.Command{
		Use:   "append TOPIC",
		Short: "Append JSON lines from standard input",
		Long: `append reads JSON lines from standard input and appends each as one event. A
line is the event's payload, kept byte for byte without the white space around
it; with --envelope it is a whole event, and takes from --kind, --header and the
clock only what it leaves out. Blank lines are skipped.

It prints the ids, one a line, as the events become durable. On a terminal it
prints one summary, unless the events are typed there too.

At a line that is refused it stops, says the line's number and why, and exits
with status 1: the lines before it are committed, it and those after it are not.`,
		Example: `  echo '{"n":1}' | seglog append jobs --kind job.queued --header trace=4f2
  seglog append jobs --kind job.queued <jobs.jsonl
  seglog read jobs | seglog -C elsewhere append jobs --envelope --quiet`,
		Args:              exactArgs("TOPIC"),
		ValidArgsFunction: a.completeTopics,
	}
	cmd.Flags().StringVar(&kind, "kind", defaultKind, "the events' `kind`")
	cmd.Flags().StringArrayVar(&headers, "header", nil, "a header of the events as `key=value`; may be repeated")
	cmd.Flags().BoolVar(&envelope, "envelope", false, `lines are {"kind":…,"payload":…,"headers":{…},"occurred_at_ms":…}`)
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "print nothing")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		topic, err := parseTopic(args[0])
		if err != nil {
			return err
		}
		decode := decoder{topic: topic, kind: kind, envelope: envelope}
		if decode.headers, err = parseHeaders(headers); err != nil {
			return err
		}
		a.print.quiet = false // input that is left behind is a failure
		return a.withLog(modeCreate, func(cmd *cobra.Command, log engine.EventLog, _ []string) error {
			ap := appender{log: log, progress: newProgress(a.streams)}
			if !quiet {
				ap.print = a.print
				ap.summary = a.outTTY && !a.inTTY && !a.print.json
			}
			return ap.run(cmd.Context(), newLines(a.in, decode))
		})(cmd, args)
	}
	return cmd
}

func parseHeaders(flags []string) (map[string]string, error) {
	headers := make(map[string]string, len(flags))
	for _, f := range flags {
		key, value, ok := strings.Cut(f, "=")
		if !ok || key == "" {
			return nil, usagef("--header %q: want key=value", f)
		}
		headers[key] = value
	}
	return headers, nil
}

// appender moves lines into their topics. All lines that have arrived while a commit
// was on its way make up the next one, so a slow source sees each line
// committed at once and a fast one shares its syncs.
//
// It appends batch after batch rather than one by one without waiting: a line
// that the log refuses then has nothing behind it in flight, and "the lines
// before it, and no others" holds. A batch is all or nothing, on every backend.
type appender struct {
	log      engine.EventLog
	print    *printer // nil: print nothing
	summary  bool     // print one line at the end instead of the ids
	progress *progress

	count       uint64
	topic       engine.Topic // of the last event
	first, last engine.EventID
}

func (a *appender) run(ctx context.Context, in *lines) error {
	defer in.start(ctx)()
	err := a.drain(ctx, in)
	a.progress.clear()
	if printErr := a.finish(); err == nil {
		err = printErr
	}
	return err
}

// drain commits lines until they end or one of them cannot be appended.
func (a *appender) drain(ctx context.Context, in *lines) error {
	for {
		batch, err := in.take()
		if ctx.Err() != nil {
			return interruption(fmt.Sprintf("interrupted after %s", plural(a.count, "event")))
		}
		if len(batch) == 0 {
			return err
		}
		// A commit that has begun is waited for, also when ctx ends: what
		// became of it must be known.
		if err := a.commitAll(context.WithoutCancel(ctx), batch); err != nil {
			return err
		}
		a.progress.say("%s: %d events appended", a.topic, a.count)
	}
}

// commitAll appends lines of any topics: at once where the log can do that, and
// else, or where it refuses, run by run, which finds the line that is the reason.
func (a *appender) commitAll(ctx context.Context, batch []line) error {
	if n := runLength(batch); n < len(batch) {
		if done, err := a.commitTogether(ctx, batch); done || err != nil {
			return err
		}
	}
	for len(batch) > 0 {
		n := runLength(batch)
		if err := a.commit(ctx, batch[:n]); err != nil {
			return err
		}
		batch = batch[n:]
	}
	return nil
}

// commitTogether appends all lines in one commit, or none of them.
func (a *appender) commitTogether(ctx context.Context, batch []line) (done bool, err error) {
	committer, ok := a.log.(interface {
		Commit(ctx context.Context, b *engine.Batch) (engine.Committed, error)
	})
	var b engine.Batch
	if !ok || !expectIDs(&b, batch) {
		return false, nil
	}
	for rest := batch; len(rest) > 0; {
		n := runLength(rest)
		events := make([]engine.Event, n)
		for i := range events {
			events[i] = rest[i].event
		}
		b.Append(rest[0].topic, events...)
		rest = rest[n:]
	}
	c, err := committer.Commit(ctx, &b)
	for _, refusal := range []error{errors.ErrUnsupported, engine.ErrConflict, engine.ErrTooLarge, engine.ErrInvalidEvent} {
		if errors.Is(err, refusal) {
			return false, nil // nothing was written
		}
	}
	if err != nil {
		return false, fmt.Errorf("lines %d to %d: %w", batch[0].number, batch[len(batch)-1].number, err)
	}
	for _, r := range c.Appended {
		if err := a.appended(r.Topic, r.First, r.Last); err != nil {
			return true, err
		}
	}
	return true, nil
}

// expectIDs makes b refuse other ids than those that the lines must get. It
// reports false where they cannot all get theirs.
func expectIDs(b *engine.Batch, batch []line) bool {
	counts := map[engine.Topic]engine.EventID{} // lines so far
	befores := map[engine.Topic]engine.EventID{}
	for _, l := range batch {
		counts[l.topic]++
		if l.id == 0 {
			continue
		}
		if l.id < counts[l.topic] {
			return false
		}
		before, ok := befores[l.topic]
		if !ok {
			before = l.id - counts[l.topic]
			befores[l.topic] = before
			b.ExpectLatest(l.topic, before)
		}
		if l.id != before+counts[l.topic] {
			return false
		}
	}
	return true
}

// runLength is how many of the lines go into the first one's topic one behind
// the other, with the ids that they must get: what one commit can append.
func runLength(batch []line) int {
	first := batch[0]
	for i, l := range batch {
		if l.topic != first.topic || l.id != 0 && (first.id == 0 || l.id != first.id+engine.EventID(i)) {
			return i
		}
	}
	return len(batch)
}

// commit appends a run of lines.
func (a *appender) commit(ctx context.Context, batch []line) error {
	topic, id := batch[0].topic, batch[0].id
	events := make([]engine.Event, len(batch))
	for i := range batch {
		events[i] = batch[i].event
	}
	var opts []engine.AppendOption
	if id != 0 {
		opts = append(opts, engine.ExpectLatest(id-1))
	}
	first, last, err := a.log.AppendBatch(ctx, topic, events, opts...)
	var conflict *engine.ConflictError
	switch {
	case err == nil:
		return a.appended(topic, first, last)
	case errors.As(err, &conflict):
		return a.renumbered(ctx, batch, conflict.Latest)
	case len(batch) == 1:
		return fmt.Errorf("line %d: %w", batch[0].number, err) // which says what was being done to which topic
	case errors.Is(err, engine.ErrTooLarge), errors.Is(err, engine.ErrInvalidEvent):
		return a.commitSingly(ctx, batch)
	}
	return fmt.Errorf("lines %d to %d: %w", batch[0].number, batch[len(batch)-1].number, err)
}

// renumbered is what to do with a run of lines whose first would get another
// id than its own: where the topic is new, it begins at that id.
func (a *appender) renumbered(ctx context.Context, batch []line, latest engine.EventID) error {
	l := batch[0]
	restorer, ok := a.log.(engine.Restorer)
	if latest > 0 || !ok {
		return fmt.Errorf("line %d: event %d of topic %s would become event %d; --renumber lets it: %w",
			l.number, l.id, l.topic, latest+1, &engine.ConflictError{Latest: latest})
	}
	if err := restorer.RestoreTopic(ctx, l.topic, l.id-1); err != nil {
		return fmt.Errorf("line %d: %w", l.number, err)
	}
	return a.commit(ctx, batch)
}

// commitSingly appends a batch that was refused as a whole up to the line that
// was the reason.
func (a *appender) commitSingly(ctx context.Context, batch []line) error {
	for i := range batch {
		if err := a.commit(ctx, batch[i:i+1]); err != nil {
			return err
		}
	}
	return nil
}

func (a *appender) appended(topic engine.Topic, first, last engine.EventID) error {
	if a.count == 0 {
		a.first = first
	}
	a.topic, a.last = topic, last
	a.count += uint64(last-first) + 1
	if a.print == nil || a.summary {
		return nil
	}
	for n := range uint64(last-first) + 1 { // not up to last, behind which there may be no id
		id := first + engine.EventID(n)
		if err := a.print.answer(id, idRow{topic, id}); err != nil {
			return err
		}
	}
	return a.print.flush()
}

func (a *appender) finish() error {
	if a.print == nil || !a.summary || a.count == 0 {
		return nil
	}
	if a.count == 1 {
		return a.print.line(fmt.Sprintf("%s %d", a.topic, a.first))
	}
	return a.print.line(fmt.Sprintf("%s %d..%d (%s)", a.topic, a.first, a.last, plural(a.count, "event")))
}

// idRow is an event's id with its topic.
type idRow struct {
	Topic engine.Topic   `json:"topic"`
	ID    engine.EventID `json:"id"`
}

func (r idRow) cells() []string { return []string{r.Topic.String(), idText(r.ID)} }
