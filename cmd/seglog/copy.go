package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seglog/seglog/adapter"
	"github.com/seglog/seglog/engine"
)

// copyEventBytesMax is the largest event that a copy takes: more than logs take
// by default, since they measure events in several ways, and the original of
// the file and the SQLite backend has no limit.
const copyEventBytesMax = 128 << 20

func newCopy(a *app) *cobra.Command {
	var from, to string
	var clamp bool
	cmd := &cobra.Command{
		Use:   "copy --from BACKEND:LOCATION --to BACKEND:LOCATION",
		Short: "Copy a log into one of another kind",
		Long: `copy makes the second log a copy of the first: all topics with the ids, kinds,
headers, times and payloads of their events, and the cursors of their consumers.
Then it reads both from beginning to end and compares them. The first log is
opened read-only; the second one is made where it is not there.

It copies what is there when it begins. Run it again for what came later, and
after it was interrupted or killed: it goes on where the second log ends, once
it has seen that this is a copy of the first. A log that holds anything else is
refused, and nothing is written to it. Where events were compacted away in the
first log meanwhile, compact the second one up to the same id before going on.

A cursor beyond its topic's latest event, which the original of the file and the
SQLite log lets consumers have, is refused before anything is written; with
--clamp-cursors it is copied as a cursor at the latest event, and standard error
says so.

Where a consumer has acknowledged in the second log later than in the first one,
its cursor there is left as it is.

Events get the positions of their new log, topic after topic. A log in files
keeps payloads with line breaks on one line.`,
		Example: `  seglog copy --from sqlite:.harn/events.sqlite --to segment:.harn/events.seglog`,
		Args:    exactArgs(),
	}
	cmd.Flags().StringVar(&from, "from", "", "the log to copy, as `backend:location`")
	cmd.Flags().StringVar(&to, "to", "", "the log to copy to, as `backend:location`")
	cmd.Flags().BoolVar(&clamp, "clamp-cursors", false, "copy cursors beyond the latest event as cursors at the latest event")
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		if a.choice.dir+a.choice.path+a.choice.backend != "" {
			return usagef("copy has --from and --to in the place of --backend, --dir and --path")
		}
		source, err := a.openNamed("--from", from, modeRead)
		if err != nil {
			return err
		}
		defer closeLog(source, &err)
		target, err := a.openNamed("--to", to, modeCreate)
		if err != nil {
			return err
		}
		defer closeLog(target, &err)
		var opts []adapter.CopyOption
		if clamp {
			opts = append(opts, adapter.ClampCursors(a.clamped))
		}
		return a.copy(cmd.Context(), source, target, opts...)
	}
	return cmd
}

// openNamed opens the log that a flag names as backend:location.
func (a *app) openNamed(flag, value string, mode openMode) (engine.EventLog, error) {
	kind, location, _ := strings.Cut(value, ":")
	if location == "" {
		return nil, usagef("%s %q: want BACKEND:LOCATION, like sqlite:events.sqlite", flag, value)
	}
	if _, err := engine.ParseBackendKind(kind); err != nil {
		return nil, &usageError{fmt.Errorf("%s %q: %w", flag, value, err)}
	}
	config, err := a.env.chosen(kind)
	if err != nil {
		return nil, err
	}
	if config.Backend == engine.BackendMemory {
		return nil, usagef("%s %q: a log in memory cannot be copied from or to", flag, value)
	}
	setLocation(&config, a.env.absolute(location))
	config.MaxEventBytes = copyEventBytesMax
	log, err := a.open(config, mode)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", flag, value, err)
	}
	return log, nil
}

func (a *app) copy(ctx context.Context, source, target engine.EventLog, opts ...adapter.CopyOption) error {
	progress := newProgress(a.streams)
	report, err := adapter.Copy(ctx, source, target, func(p adapter.CopyProgress) {
		done := "copied"
		if p.Comparing {
			done = "compared"
		}
		progress.say("%s: %d of %d events %s", p.Topic, p.Done, p.Total, done)
	}, opts...)
	progress.clear()
	if errors.Is(err, context.Canceled) {
		return interruption(fmt.Sprintf("interrupted after %s; run it again to go on", plural(report.Copied, "event")))
	}
	if err != nil {
		return err
	}
	if report.Unlisted {
		fmt.Fprintln(a.err, "seglog: warning: cursors on topics without events were not copied, since the source cannot list them")
	}
	if report.Kept > 0 {
		fmt.Fprintf(a.err, "seglog: %s left as it is in the copy, where the consumer acknowledged later\n", plural(report.Kept, "cursor"))
	}
	row := copyRow{report.Topics, report.Events, report.Copied, report.Cursors, report.Clamped, report.Kept}
	if a.print.json {
		return a.print.row(row)
	}
	return a.print.line(row.String())
}

func (a *app) clamped(c adapter.ClampedCursor) {
	fmt.Fprintf(a.err, "seglog: the cursor of consumer %q on topic %s is at event %d in the source and, being beyond the latest event, at %d in the copy\n",
		c.Consumer, c.Topic, c.Cursor, c.Latest)
}

// copyRow is what was copied; topics and events are all that both logs hold.
type copyRow struct {
	Topics  uint64 `json:"topics"`
	Events  uint64 `json:"events"`
	Copied  uint64 `json:"copied"`
	Cursors uint64 `json:"cursors"`
	Clamped uint64 `json:"clamped,omitempty"`
	Kept    uint64 `json:"kept,omitempty"`
}

func (r copyRow) String() string {
	return fmt.Sprintf("%s and %s copied; both logs hold %s with the same %s",
		plural(r.Copied, "event"), plural(r.Cursors, "cursor"), plural(r.Topics, "topic"), plural(r.Events, "event"))
}

func (r copyRow) cells() []string { return []string{r.String()} }
