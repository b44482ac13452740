package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/seglog/seglog/adapter"
	"github.com/seglog/seglog/engine"
)

func newAck(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "ack TOPIC CONSUMER ID",
		Short: "Move a consumer's cursor",
		Long: `ack says that a consumer has processed a topic up to and including an event. The
cursor may also go back, down to 0; beyond the latest event it is refused.`,
		Example:           `  seglog ack jobs billing 42`,
		Args:              exactArgs("TOPIC", "CONSUMER", "ID"),
		ValidArgsFunction: a.completeTopics,
		RunE: func(cmd *cobra.Command, args []string) error {
			topic, consumer, err := parseTopicConsumer(args)
			if err != nil {
				return err
			}
			upTo, err := parseID(args[2])
			if err != nil {
				return err
			}
			return a.withLog(modeChange, func(cmd *cobra.Command, log engine.EventLog, _ []string) error {
				if err := log.Ack(cmd.Context(), topic, consumer, upTo); err != nil {
					return err
				}
				if !a.print.objects {
					return nil
				}
				return a.print.row(cursorRow{topic, consumer, upTo})
			})(cmd, args)
		},
	}
}

func newCursor(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "cursor TOPIC CONSUMER",
		Short: "Print a consumer's cursor",
		Long: `cursor prints the id that a consumer acknowledged last in a topic. Where there is
none it prints nothing and exits with status 1.`,
		Args:              exactArgs("TOPIC", "CONSUMER"),
		ValidArgsFunction: a.completeTopics,
		RunE: func(cmd *cobra.Command, args []string) error {
			topic, consumer, err := parseTopicConsumer(args)
			if err != nil {
				return err
			}
			return a.withLog(modeRead, func(cmd *cobra.Command, log engine.EventLog, _ []string) error {
				id, ok, err := log.Cursor(cmd.Context(), topic, consumer)
				if err != nil {
					return err
				}
				if !ok {
					return fmt.Errorf("consumer %q has no cursor on topic %s", consumer, topic)
				}
				return a.print.answer(id, cursorRow{topic, consumer, id})
			})(cmd, args)
		},
	}
}

func parseTopicConsumer(args []string) (engine.Topic, engine.ConsumerID, error) {
	topic, err := parseTopic(args[0])
	if err != nil {
		return topic, engine.ConsumerID{}, err
	}
	consumer, err := parseConsumer(args[1])
	return topic, consumer, err
}

type cursorRow struct {
	Topic    engine.Topic      `json:"topic"`
	Consumer engine.ConsumerID `json:"consumer"`
	Cursor   engine.EventID    `json:"cursor"`
}

func (r cursorRow) cells() []string {
	return []string{r.Topic.String(), r.Consumer.String(), idText(r.Cursor)}
}

func newConsumers(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "consumers TOPIC",
		Short:             "List the consumers of a topic",
		Long:              `consumers lists who has a cursor on a topic, how far it is and how far behind.`,
		Args:              exactArgs("TOPIC"),
		ValidArgsFunction: a.completeTopics,
		RunE: func(cmd *cobra.Command, args []string) error {
			topic, err := parseTopic(args[0])
			if err != nil {
				return err
			}
			return a.withLog(modeRead, func(cmd *cobra.Command, log engine.EventLog, _ []string) error {
				consumers, listErr := adapter.Consumers(cmd.Context(), log, topic) // an error may come with some
				a.print.titles = []string{"CONSUMER", "CURSOR", "LAG", "ACKED"}
				for _, c := range consumers {
					row := consumerRow{topic, c.Consumer, c.Cursor, c.Lag, c.AckedAt.UnixMilli()}
					if err := a.print.row(row); err != nil {
						return err
					}
				}
				return listErr
			})(cmd, args)
		},
	}
}

type consumerRow struct {
	Topic     engine.Topic      `json:"topic"`
	Consumer  engine.ConsumerID `json:"consumer"`
	Cursor    engine.EventID    `json:"cursor"`
	Lag       uint64            `json:"lag"`
	AckedAtMS int64             `json:"acked_at_ms"`
}

func (r consumerRow) cells() []string {
	return []string{r.Consumer.String(), idText(r.Cursor), strconv.FormatUint(r.Lag, 10), timeText(r.AckedAtMS)}
}
