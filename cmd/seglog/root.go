package main

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seglog/seglog/adapter"
	"github.com/seglog/seglog/engine"
)

// app is one run of the program: what its commands share.
type app struct {
	streams
	env      environment
	print    *printer
	choice   choice
	started  bool // the command's own code has run
	verifies bool // the command lists damage itself
}

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "seglog",
		Short: "Read, write, follow and check an event log",
		Long: `seglog reads, writes, follows and checks an event log: topics of events with
dense ids, and the cursors of their consumers.

The log is the one in --dir (a segmented log; --backend names another kind) or
in --path (an SQLite database), or the one that the environment names
(HARN_EVENT_LOG_BACKEND, HARN_EVENT_LOG_SEGMENT_DIR, HARN_EVENT_LOG_DIR,
HARN_EVENT_LOG_SQLITE_PATH, HARN_STATE_DIR), or .harn/events.seglog under the
current directory.

Output is a table on a terminal, JSON lines in a pipe or with --json.
Exit status: 0 done, 1 failed, 2 wrong usage, 3 damage found.`,
		Example: `  echo '{"n":1}' | seglog append jobs --kind job.queued
  seglog read jobs --after 100 --limit 10
  seglog tail jobs | jq .payload
  seglog -C /var/lib/app/events.seglog verify
  seglog copy --from sqlite:events.sqlite --to segment:events.seglog`,
		Version:       version(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return unknownCommand(cmd, args[0])
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usagef("a command is missing, like 'seglog topics'")
		},
		PersistentPreRun: func(*cobra.Command, []string) {
			a.started = true
			a.print.objects = a.choice.json
			a.print.json = a.print.json || a.choice.json
		},
	}
	root.SetVersionTemplate("seglog {{.Version}}\n")
	root.CompletionOptions.HiddenDefaultCmd = false
	flags := root.PersistentFlags()
	flags.StringVarP(&a.choice.dir, "dir", "C", "", "`directory` of a segmented or a file log")
	flags.StringVar(&a.choice.path, "path", "", "database `file` of an sqlite log")
	flags.StringVar(&a.choice.backend, "backend", "", "`kind` of log: segment, file or sqlite (default segment)")
	flags.BoolVar(&a.choice.json, "json", false, "print JSON lines, also on a terminal")
	root.AddCommand(
		newAppend(a), newRead(a), newTail(a),
		newTopics(a), newLatest(a), newDescribe(a),
		newAck(a), newCursor(a), newConsumers(a),
		newCompact(a), newVerify(a), newDump(a),
		newCopy(a), newExport(a), newImport(a),
	)
	return root
}

func unknownCommand(root *cobra.Command, name string) error {
	text := fmt.Sprintf("unknown command %q", name)
	root.SuggestionsMinimumDistance = 2
	if near := root.SuggestionsFor(name); len(near) > 0 {
		text += "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return errors.New(text)
}

// version is the module's version and the revision it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	if v == "" {
		v = "(devel)"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && !strings.Contains(v, s.Value[:min(12, len(s.Value))]) {
			v += " " + s.Value
		}
	}
	return v + " " + info.GoVersion
}

// withLog is the body of a command that needs the log: it opens it, runs f and
// closes it. A log that cannot be closed well has failed the command.
func (a *app) withLog(mode openMode, f func(cmd *cobra.Command, log engine.EventLog, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) (err error) {
		config, err := a.choice.resolve(a.env)
		if err != nil {
			return err
		}
		log, err := a.open(config, mode)
		if errors.Is(err, errNoLog) {
			return fmt.Errorf("%w; --dir and --path name another place, and append creates one", err)
		}
		if err != nil {
			return err
		}
		defer closeLog(log, &err)
		return f(cmd, log, args)
	}
}

// errNoLog: nothing is there that could be opened.
var errNoLog = errors.New("there is no log")

// open opens a log, and says what it found on the way.
func (a *app) open(config adapter.Config, mode openMode) (engine.EventLog, error) {
	exists, err := config.Exists()
	if err != nil {
		return nil, err
	}
	if mode != modeCreate && !exists {
		return nil, fmt.Errorf("%w at %s", errNoLog, config.Location())
	}
	config.ReadOnly = mode == modeRead
	log, err := a.env.open(config)
	if err != nil {
		return nil, err
	}
	a.warn(reportOf(log), mode)
	return log, nil
}

// closeLog closes log, and makes a failure to do so that of the command.
func closeLog(log engine.EventLog, err *error) {
	if closeErr := log.Close(); *err == nil && closeErr != nil {
		*err = fmt.Errorf("close the log: %w", closeErr)
	}
}

// warn says on standard error what opening the log found and no command may
// keep to itself.
func (a *app) warn(report engine.OpenReport, mode openMode) {
	if n := len(report.Damage); n > 0 && !a.verifies {
		fmt.Fprintf(a.err, "seglog: warning: the log is damaged (%v%s); 'seglog verify' lists all\n", report.Damage[0], more(n-1))
	}
	// A reader may find the writer in the middle of a write.
	if report.TornBytes > 0 && mode != modeRead {
		fmt.Fprintf(a.err, "seglog: dropped %d bytes of a commit that a crash had cut short and nobody was told of (%s at offset %d)\n",
			report.TornBytes, report.TornFile, report.TornOffset)
	}
}

func more(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(", and %d more", n)
}

// exactArgs wants arguments by name, and says which is missing.
func exactArgs(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < len(names) {
			return fmt.Errorf("%s: %s is missing", cmd.Name(), names[len(args)])
		}
		if len(args) > len(names) {
			return fmt.Errorf("%s: unexpected argument %q", cmd.Name(), args[len(names)])
		}
		return nil
	}
}

func parseTopic(arg string) (engine.Topic, error) {
	topic, err := engine.NewTopic(arg)
	if err != nil {
		return topic, &usageError{err}
	}
	return topic, nil
}

func parseConsumer(arg string) (engine.ConsumerID, error) {
	consumer, err := engine.NewConsumerID(arg)
	if err != nil {
		return consumer, &usageError{err}
	}
	return consumer, nil
}

func parseID(arg string) (engine.EventID, error) {
	id, err := strconv.ParseUint(arg, 10, 64)
	if err != nil {
		return 0, usagef("%q is not an event id: want a number from 0", arg)
	}
	return engine.EventID(id), nil
}

// completeTopics offers the log's topics for a first argument.
func (a *app) completeTopics(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	const directive = cobra.ShellCompDirectiveNoFileComp
	config, err := a.choice.resolve(a.env)
	if err != nil || len(args) > 0 {
		return nil, directive
	}
	if exists, err := config.Exists(); err != nil || !exists {
		return nil, directive
	}
	config.ReadOnly = true
	log, err := a.env.open(config)
	if err != nil {
		return nil, directive
	}
	defer log.Close() // read-only: nothing to lose
	ctx := cmd.Context()
	if ctx == nil {
		ctx = context.Background()
	}
	topics, err := log.Topics(ctx)
	if err != nil {
		return nil, directive
	}
	var names []string
	for _, t := range topics {
		if strings.HasPrefix(t.String(), prefix) {
			names = append(names, t.String())
		}
	}
	return names, directive
}
