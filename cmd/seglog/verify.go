package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/seglog/seglog/adapter"
	"github.com/seglog/seglog/engine"
)

func newVerify(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "verify",
		Short: "Read and check everything",
		Long: `verify reads every event of every topic, which checks every checksum on the way
where the log has some, and checks that ids have no gap, positions rise, payloads
are JSON, and no cursor is beyond its topic. Then it checks what reading can do
without, such as the footers of segments. It lists each place that is damaged and goes on behind it;
with damage it exits with status 3. It changes nothing, and works beside a
running writer.`,
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, args []string) error {
			config, err := a.choice.resolve(a.env)
			if err != nil {
				return err
			}
			v := verifier{print: a.print, progress: newProgress(a.streams), seen: map[damageRow]bool{}, places: map[place]bool{}}
			if config.Backend == engine.BackendFile || config.Backend == engine.BackendSQLite {
				v.ahead = a.err
			}
			a.print.titles = damageTitles
			a.verifies = true
			err = a.withLog(modeRead, func(cmd *cobra.Command, log engine.EventLog, _ []string) error {
				return v.log(cmd.Context(), log)
			})(cmd, args)
			v.progress.clear()
			if d, ok := damageOf("", err); ok { // found by opening the log
				err = v.found(d)
			}
			if err != nil {
				return err
			}
			return v.finish()
		},
	}
}

// verifier reads a log to its end and lists what is wrong with it.
type verifier struct {
	print    *printer
	progress *progress
	ahead    io.Writer // for cursors beyond latest; nil: they are damage
	summary  verifyRow
	seen     map[damageRow]bool // listed: what opening found, reading may find again
	places   map[place]bool     // where they are
}

// place is where in the log's files damage is.
type place struct {
	file   string
	offset int64
}

func (v *verifier) log(ctx context.Context, log engine.EventLog) error {
	for _, c := range reportOf(log).Damage {
		d, _ := damageOf("", c)
		if err := v.found(d); err != nil {
			return err
		}
	}
	topics, err := log.Topics(ctx)
	if err != nil {
		if err := v.damageOr(engine.Topic{}, err); err != nil {
			return err
		}
	}
	for _, topic := range topics {
		if err := v.cursors(ctx, log, topic); err != nil {
			return err
		}
		if err := v.topic(ctx, log, topic); err != nil {
			return err
		}
		v.summary.Topics++
	}
	if err := v.otherCursors(ctx, log, topics); err != nil {
		return err
	}
	return v.files(log)
}

// otherCursors checks the cursors on topics that have no events and had none.
func (v *verifier) otherCursors(ctx context.Context, log engine.EventLog, checked []engine.Topic) error {
	topics, err := adapter.CursorTopics(ctx, log)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	if err != nil {
		if err := v.damageOr(engine.Topic{}, err); err != nil {
			return err
		}
	}
	done := map[engine.Topic]bool{}
	for _, topic := range checked {
		done[topic] = true
	}
	for _, topic := range topics {
		if done[topic] {
			continue
		}
		if err := v.cursors(ctx, log, topic); err != nil {
			return err
		}
	}
	return nil
}

// files checks what reading events steps over, such as footers. It comes last:
// what is lost with a damaged place, reading has said better.
func (v *verifier) files(log engine.EventLog) error {
	checker, ok := log.(interface {
		VerifyFiles(damaged func(*engine.CorruptError)) error
	})
	if !ok {
		return nil
	}
	var failed error
	err := checker.VerifyFiles(func(c *engine.CorruptError) {
		if d, _ := damageOf("", c); failed == nil && !v.places[place{d.File, d.Offset}] {
			failed = v.found(d)
		}
	})
	return errors.Join(failed, err)
}

// cursors checks the cursors of topic. They are read before the latest id is:
// beside a writer both move.
func (v *verifier) cursors(ctx context.Context, log engine.EventLog, topic engine.Topic) error {
	consumers, err := adapter.Consumers(ctx, log, topic)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	if err != nil { // some may be listed all the same
		if err := v.damageOr(topic, err); err != nil {
			return err
		}
	}
	latest, _, err := log.Latest(ctx, topic)
	if err != nil {
		return v.damageOr(topic, err)
	}
	for _, c := range consumers {
		if c.Cursor <= latest {
			continue
		}
		if v.ahead != nil {
			v.progress.clear()
			fmt.Fprintf(v.ahead, "seglog: the cursor of consumer %q on topic %s is at event %d, beyond the latest event, %d: it skips what comes up to there\n",
				c.Consumer, topic, c.Cursor, latest)
			continue
		}
		reason := fmt.Sprintf("cursor of consumer %q: got %d, want at most the latest event, %d", c.Consumer, c.Cursor, latest)
		if err := v.found(damageRow{Topic: topic.String(), Reason: reason}); err != nil {
			return err
		}
	}
	return nil
}

// topic reads a topic, over and past what is damaged.
func (v *verifier) topic(ctx context.Context, log engine.EventLog, topic engine.Topic) error {
	latest, _, err := log.Latest(ctx, topic)
	if err != nil {
		if err := v.damageOr(topic, err); err != nil {
			return err
		}
		latest = 0 // what can be read is checked all the same
	}
	t := topicCheck{verifier: v, topic: topic}
	for {
		err := t.read(ctx, log)
		var compacted *engine.CompactedError
		var corrupt *engine.CorruptError
		switch {
		case err == nil:
			return t.end(latest)
		case errors.As(err, &compacted) && compacted.First > t.last+1:
			t.last, t.any = compacted.First-1, false
		case errors.As(err, &corrupt) && corrupt.LastID > t.last:
			if err := v.damageOr(topic, err); err != nil {
				return err
			}
			t.last, t.any = corrupt.LastID, true
		default:
			return v.damageOr(topic, err)
		}
	}
}

// topicCheck is how far the check of one topic has come.
type topicCheck struct {
	*verifier
	topic    engine.Topic
	last     engine.EventID // read, or known to be lost
	position uint64         // of the last event read
	any      bool           // whether the next id must be last+1
}

func (t *topicCheck) read(ctx context.Context, log engine.EventLog) error {
	for r, err := range log.Read(ctx, t.topic, engine.ReadOptions{After: t.last}) {
		if err != nil {
			return err
		}
		if reason := t.check(r); reason != "" {
			if err := t.found(damageRow{Topic: t.topic.String(), FirstID: r.ID, LastID: r.ID, Reason: reason}); err != nil {
				return err
			}
		}
		t.last, t.position, t.any = r.ID, r.Position, true
		t.summary.Events++
		t.progress.say("%s: event %d; %d events checked", t.topic, r.ID, t.summary.Events)
	}
	return nil
}

// check says what is wrong with a record, or nothing.
func (t *topicCheck) check(r engine.Record) string {
	if t.any && r.ID != t.last+1 {
		return fmt.Sprintf("event id: got %d, want %d", r.ID, t.last+1)
	}
	if r.ID <= t.last {
		return fmt.Sprintf("event id: got %d, want more than %d", r.ID, t.last)
	}
	if r.Position != 0 && r.Position <= t.position {
		return fmt.Sprintf("position: got %d, want more than %d", r.Position, t.position)
	}
	if err := r.Event.Validate(); err != nil {
		return err.Error()
	}
	return ""
}

// end checks that the topic went on to what was its latest event. One that
// yielded nothing was emptied.
func (t *topicCheck) end(latest engine.EventID) error {
	if !t.any || t.last >= latest {
		return nil
	}
	return t.found(damageRow{
		Topic: t.topic.String(), FirstID: t.last + 1, LastID: latest,
		Reason: fmt.Sprintf("events end at %d, want the latest event, %d", t.last, latest),
	})
}

// damageOr lists err where it is damage, and else returns it.
func (v *verifier) damageOr(topic engine.Topic, err error) error {
	d, ok := damageOf(topic.String(), err)
	if !ok {
		return err
	}
	return v.found(d)
}

// found lists a damaged place, at once: the whole may take hours.
func (v *verifier) found(d damageRow) error {
	if v.seen[d] {
		return nil
	}
	v.seen[d], v.places[place{d.File, d.Offset}] = true, true
	v.summary.Damaged++
	v.progress.clear()
	if err := v.print.row(d); err != nil {
		return err
	}
	return v.print.flush()
}

func (v *verifier) finish() error {
	if !v.print.json {
		if err := v.print.flush(); err != nil {
			return err
		}
		if err := v.print.line(v.summary.String()); err != nil {
			return err
		}
	} else if err := v.print.row(v.summary); err != nil {
		return err
	}
	if v.summary.Damaged > 0 {
		return errDamage
	}
	return nil
}

// damageRow is a place that is damaged.
type damageRow struct {
	Topic   string         `json:"topic,omitempty"`
	File    string         `json:"file,omitempty"`
	Offset  int64          `json:"offset,omitempty"`
	FirstID engine.EventID `json:"first_id,omitempty"`
	LastID  engine.EventID `json:"last_id,omitempty"`
	Reason  string         `json:"reason"`
}

var damageTitles = []string{"TOPIC", "FILE", "OFFSET", "EVENTS", "DAMAGE"}

func (r damageRow) cells() []string {
	offset, events := "", ""
	if r.File != "" {
		offset = strconv.FormatInt(r.Offset, 10)
	}
	if r.LastID != 0 {
		events = fmt.Sprintf("%d..%d", r.FirstID, r.LastID)
	}
	return []string{r.Topic, r.File, offset, events, r.Reason}
}

// damageOf is err as a damaged place, if it is one.
func damageOf(topic string, err error) (damageRow, bool) {
	var c *engine.CorruptError
	switch {
	case errors.As(err, &c):
		if c.Topic != "" {
			topic = c.Topic
		}
		return damageRow{topic, c.File, c.Offset, c.FirstID, c.LastID, c.Reason}, true
	case isDamage(err):
		return damageRow{Topic: topic, Reason: err.Error()}, true
	}
	return damageRow{}, false
}

// verifyRow is what was verified; damaged counts places.
type verifyRow struct {
	Topics  uint64 `json:"topics"`
	Events  uint64 `json:"events"`
	Damaged uint64 `json:"damaged"`
}

func (r verifyRow) String() string {
	text := fmt.Sprintf("%s with %s: ", plural(r.Topics, "topic"), plural(r.Events, "event"))
	if r.Damaged == 0 {
		return text + "no damage found"
	}
	return text + plural(r.Damaged, "damaged place")
}

func (r verifyRow) cells() []string { return []string{r.String()} }
