package main

import (
	"context"
	"errors"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/seglog/seglog/engine"
)

func newRead(a *app) *cobra.Command {
	var after, limit uint64
	cmd := &cobra.Command{
		Use:   "read TOPIC",
		Short: "Print a topic's events",
		Long: `read prints the events of a topic in id order, as they stand when it begins.
A topic that nothing was appended to has none, and is no error.`,
		Example: `  seglog read jobs --after 100 --limit 10
  seglog read jobs | jq -r .payload.name`,
		Args:              exactArgs("TOPIC"),
		ValidArgsFunction: a.completeTopics,
	}
	cmd.Flags().Uint64Var(&after, "after", 0, "read the events after this `id`")
	cmd.Flags().Uint64Var(&limit, "limit", 0, "print at most this `number` of events (default all)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		topic, err := parseTopic(args[0])
		if err != nil {
			return err
		}
		opts := engine.ReadOptions{After: engine.EventID(after), Limit: int(min(limit, math.MaxInt))}
		none := limit == 0 && cmd.Flags().Changed("limit")
		return a.withLog(modeRead, func(cmd *cobra.Command, log engine.EventLog, _ []string) error {
			if none {
				return nil
			}
			a.print.titles = recordTitles
			return a.printTopic(cmd.Context(), log, topic, opts)
		})(cmd, args)
	}
	return cmd
}

// printTopic prints the events of a topic.
func (a *app) printTopic(ctx context.Context, log engine.EventLog, topic engine.Topic, opts engine.ReadOptions) error {
	for r, err := range log.Read(ctx, topic, opts) {
		if err != nil {
			return err
		}
		if err := a.print.row(newRecordRow(r)); err != nil {
			return err
		}
	}
	return nil
}

func newTail(a *app) *cobra.Command {
	var after uint64
	cmd := &cobra.Command{
		Use:   "tail TOPIC",
		Short: "Follow a topic",
		Long: `tail prints the events of a topic and then each new one as it becomes durable,
until it is interrupted. The process that writes them may be another one, and
the topic one that nothing was appended to yet.`,
		Example: `  seglog tail jobs
  seglog tail jobs --after "$(seglog latest jobs)"
  seglog tail jobs --after "$(seglog cursor jobs billing)" | worker`,
		Args:              exactArgs("TOPIC"),
		ValidArgsFunction: a.completeTopics,
	}
	cmd.Flags().Uint64Var(&after, "after", 0, "begin after this `id` (default all history first)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		topic, err := parseTopic(args[0])
		if err != nil {
			return err
		}
		err = a.withLog(modeRead, func(cmd *cobra.Command, log engine.EventLog, _ []string) error {
			return a.follow(cmd.Context(), log, topic, engine.EventID(after))
		})(cmd, args)
		if errors.Is(err, context.Canceled) {
			return nil // the way to end it
		}
		return err
	}
	return cmd
}

// follow prints what is there in large writes, and from then on each event by
// itself.
func (a *app) follow(ctx context.Context, log engine.EventLog, topic engine.Topic, after engine.EventID) error {
	latest, _, err := log.Latest(ctx, topic)
	if err != nil {
		return err
	}
	a.print.titles = recordTitles
	for r, err := range log.Subscribe(ctx, topic, engine.SubscribeOptions{After: after}) {
		if err != nil {
			return err
		}
		if err := a.print.row(newRecordRow(r)); err != nil {
			return err
		}
		if r.ID < latest {
			continue
		}
		if err := a.print.flush(); err != nil {
			return err
		}
	}
	return nil
}

// recordRow is a record as it is printed.
type recordRow engine.Record

func newRecordRow(r engine.Record) recordRow {
	if r.Headers == nil {
		r.Headers = map[string]string{} // {}, not null
	}
	return recordRow(r)
}

var recordTitles = []string{"ID", "TIME", "KIND", "PAYLOAD", "HEADERS"}

func (r recordRow) cells() []string {
	return []string{idText(r.ID), timeText(r.OccurredAtMS), r.Kind, printablePayload(r.Payload), headersText(r.Headers)}
}

func idText(id engine.EventID) string { return strconv.FormatUint(uint64(id), 10) }

// timeText is a time in UTC, so that it reads the same on every machine.
func timeText(ms int64) string {
	return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z07:00")
}

func headersText(headers map[string]string) string {
	var pairs []string
	for _, k := range slices.Sorted(maps.Keys(headers)) {
		pairs = append(pairs, k+"="+headers[k])
	}
	return strings.Join(pairs, " ")
}
