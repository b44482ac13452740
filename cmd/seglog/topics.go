package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/seglog/seglog/adapter"
	"github.com/seglog/seglog/engine"
)

func newTopics(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "topics",
		Short: "List the topics",
		Long: `topics lists every topic that was ever appended to, sorted by name, with the
id of its latest event. Emptied topics are listed too. One that is damaged is
listed without that id, and standard error says what is wrong with it; the exit
status is then 3.`,
		Args: exactArgs(),
		RunE: a.withLog(modeRead, func(cmd *cobra.Command, log engine.EventLog, _ []string) error {
			a.print.titles = []string{"TOPIC", "LATEST"}
			return a.eachTopic(cmd.Context(), log, func(topic engine.Topic) error {
				latest, _, err := log.Latest(cmd.Context(), topic)
				switch {
				case err == nil:
					return a.print.row(topicRow{topic, latest})
				case isDamage(err):
					if err := a.print.row(damagedTopicRow{Topic: topic}); err != nil {
						return err
					}
				}
				return err
			})
		}),
	}
}

// eachTopic calls do for all topics. Damage ends neither the list nor the work:
// it is reported on standard error, and the exit status tells of it.
func (a *app) eachTopic(ctx context.Context, log engine.EventLog, do func(engine.Topic) error) error {
	topics, err := log.Topics(ctx)
	found := isDamage(err)
	if err != nil && !found {
		return err
	}
	if found {
		fmt.Fprintf(a.err, "seglog: %v\n", err)
	}
	for _, topic := range topics {
		err := do(topic)
		if !isDamage(err) && err != nil {
			return err
		}
		if err != nil {
			found = true
			fmt.Fprintf(a.err, "seglog: %v\n", err)
		}
	}
	if found {
		return errDamage
	}
	return nil
}

// isDamage reports whether err is about stored bytes.
func isDamage(err error) bool {
	return errors.Is(err, engine.ErrCorrupt) || errors.Is(err, engine.ErrEncoding)
}

// damagedTopicRow is a topic whose latest event cannot be found out.
type damagedTopicRow struct {
	Topic  engine.Topic    `json:"topic"`
	Latest *engine.EventID `json:"latest"` // null
}

func (r damagedTopicRow) cells() []string { return []string{r.Topic.String(), "damaged"} }

type topicRow struct {
	Topic  engine.Topic   `json:"topic"`
	Latest engine.EventID `json:"latest"`
}

func (r topicRow) cells() []string { return []string{r.Topic.String(), idText(r.Latest)} }

func newLatest(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "latest TOPIC",
		Short: "Print the id of a topic's latest event",
		Long: `latest prints the highest event id ever assigned in a topic, whether that event
is still readable or compacted. Where nothing was ever appended it prints
nothing and exits with status 1.`,
		Args:              exactArgs("TOPIC"),
		ValidArgsFunction: a.completeTopics,
		RunE: func(cmd *cobra.Command, args []string) error {
			topic, err := parseTopic(args[0])
			if err != nil {
				return err
			}
			return a.withLog(modeRead, func(cmd *cobra.Command, log engine.EventLog, _ []string) error {
				latest, ok, err := log.Latest(cmd.Context(), topic)
				if err != nil {
					return err
				}
				if !ok {
					return fmt.Errorf("topic %s has no events", topic)
				}
				return a.print.answer(latest, topicRow{topic, latest})
			})(cmd, args)
		},
	}
}

func newDescribe(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "describe",
		Short: "Say which log it is, where, and how large",
		Long: `describe says which log the flags or the environment name, where it is and how
large its files are. It opens nothing: a log that is not there yet has size 0,
and is not created.`,
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, args []string) error {
			config, err := a.choice.resolve(a.env)
			if err != nil {
				return err
			}
			if _, err := config.Exists(); err != nil {
				return err
			}
			d, err := adapter.Describe(config)
			if err != nil {
				return err
			}
			return a.describe(d)
		},
	}
}

func (a *app) describe(d engine.Description) error {
	if a.print.json {
		return a.print.row(descriptionRow(d))
	}
	rows := []pairRow{{"backend", string(d.Backend)}}
	if d.Location != "" {
		rows = append(rows, pairRow{"location", d.Location})
	}
	if d.SizeBytes != nil {
		rows = append(rows, pairRow{"size", bytesText(*d.SizeBytes)})
	}
	rows = append(rows, pairRow{"queue depth", strconv.Itoa(d.QueueDepth)})
	return a.print.pairs(rows)
}

// descriptionRow is a description for programs; people get pairs.
type descriptionRow engine.Description

func (descriptionRow) cells() []string { return nil }
