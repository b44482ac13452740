package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/seglog/seglog/engine"
)

func newExport(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export [TOPIC]",
		Short: "Write events as JSON lines",
		Long: `export writes the events of a topic, or of all topics one after the other, as
JSON lines: what read prints in a pipe, and what import reads. It writes what is
there when it comes to a topic. White space between the tokens of a payload is
left out. Cursors, and topics that have no events, are not in it: copy carries
those. Of a damaged topic it writes the events before the damage, says on standard
error what is wrong, goes on with the next topic, and ends with exit status 3.`,
		Example: `  seglog export jobs | gzip >jobs.jsonl.gz
  seglog export | seglog -C elsewhere import`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completeTopics,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var only *engine.Topic
		if len(args) > 0 {
			topic, err := parseTopic(args[0])
			if err != nil {
				return err
			}
			only = &topic
		}
		a.print.json = true
		return a.withLog(modeRead, func(cmd *cobra.Command, log engine.EventLog, _ []string) error {
			export := func(topic engine.Topic) error {
				return a.printTopic(cmd.Context(), log, topic, engine.ReadOptions{})
			}
			if only != nil {
				return export(*only)
			}
			return a.eachTopic(cmd.Context(), log, export)
		})(cmd, args)
	}
	return cmd
}

func newImport(a *app) *cobra.Command {
	var name string
	var renumber, quiet bool
	cmd := &cobra.Command{
		Use:   "import",
		Short: "Append events from what export wrote",
		Long: `import reads JSON lines as export writes them from standard input, and appends
each as one event to the topic that it names. All that a line says is kept; of
kind, headers and time it may leave out what append would set. An id, where a
line has one, must be the one that its event gets: the next in its topic, or any
where the topic is new, which then begins there. With --renumber ids in the
input do not count.

At a line that is refused it stops, says the line's number and why, and exits
with status 1: the lines before it are committed, it and those after it are not.
Lines share commits; in a file log, which has none over several topics, those of
one topic that follow one another do.`,
		Example: `  gunzip <jobs.jsonl.gz | seglog import
  seglog export jobs | seglog import --topic jobs-again --renumber`,
		Args: exactArgs(),
	}
	cmd.Flags().StringVar(&name, "topic", "", "append to this `topic`, whatever the lines say")
	cmd.Flags().BoolVar(&renumber, "renumber", false, "give the events new ids")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "print nothing")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		decode := decoder{kind: defaultKind, envelope: true, ids: !renumber}
		if name != "" {
			var err error
			if decode.topic, err = parseTopic(name); err != nil {
				return err
			}
		}
		a.print.quiet = false // input that is left behind is a failure
		return a.withLog(modeCreate, func(cmd *cobra.Command, log engine.EventLog, _ []string) error {
			ap := appender{log: log, progress: newProgress(a.streams)}
			if err := ap.run(cmd.Context(), newLines(a.in, decode)); err != nil || quiet {
				return err
			}
			return a.imported(importRow{ap.count})
		})(cmd, args)
	}
	return cmd
}

func (a *app) imported(r importRow) error {
	if a.print.json {
		return a.print.row(r)
	}
	return a.print.line(fmt.Sprintf("%s imported", plural(r.Events, "event")))
}

// importRow is what was imported.
type importRow struct {
	Events uint64 `json:"events"`
}

func (r importRow) cells() []string { return []string{plural(r.Events, "event")} }
