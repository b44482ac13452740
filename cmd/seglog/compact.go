package main

import (
	"strconv"

	"github.com/spf13/cobra"

	"github.com/seglog/seglog/engine"
)

func newCompact(a *app) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "compact TOPIC BEFORE --yes",
		Short: "Destroy a topic's events up to an id",
		Long: `compact destroys the events of a topic up to and including the id BEFORE, for
good. Their ids are not used again, and consumers keep their cursors.`,
		Example:           `  seglog compact jobs "$(seglog cursor jobs billing)" --yes`,
		Args:              exactArgs("TOPIC", "BEFORE"),
		ValidArgsFunction: a.completeTopics,
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do it")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		topic, err := parseTopic(args[0])
		if err != nil {
			return err
		}
		before, err := parseID(args[1])
		if err != nil {
			return err
		}
		if !yes {
			return usagef("this destroys the events of topic %s up to %d for good; add --yes to do it", topic, before)
		}
		return a.withLog(modeChange, func(cmd *cobra.Command, log engine.EventLog, _ []string) error {
			report, err := log.Compact(cmd.Context(), topic, before)
			if err != nil {
				return err
			}
			return a.compacted(report)
		})(cmd, args)
	}
	return cmd
}

func (a *app) compacted(r engine.CompactReport) error {
	if a.print.json {
		return a.print.row(compactRow(r))
	}
	rows := []pairRow{
		{"removed", strconv.FormatUint(r.Removed, 10)},
		{"remaining", strconv.FormatUint(r.Remaining, 10)},
	}
	if r.Latest != nil {
		rows = append(rows, pairRow{"latest", idText(*r.Latest)})
	}
	return a.print.pairs(rows)
}

// compactRow is a report for programs; people get pairs.
type compactRow engine.CompactReport

func (compactRow) cells() []string { return nil }
