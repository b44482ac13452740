package adaptertest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/seglog/seglog/engine"
)

// Config says what the suite runs against, and what to expect of it.
type Config struct {
	// Open returns a new and empty log. The suite closes it.
	Open func(t *testing.T) engine.EventLog
	// Reopen closes log, which Open or Reopen returned, and opens it again.
	// Nil: the backend keeps nothing, and the rules about that are skipped.
	Reopen func(t *testing.T, log engine.EventLog) engine.EventLog
	// OpenLimits returns a new and empty log that refuses larger events and
	// commits with engine.ErrTooLarge. The suite asks for a few KiB. Nil: only
	// the default limit of an event, 16 MiB, is tested.
	OpenLimits func(t *testing.T, maxEventBytes, maxCommitBytes int) engine.EventLog
	// Beside opens log, which Open or Reopen returned, once more, as another
	// process would: read-only, or for writing. Log may be open, and then
	// engine.ErrLocked is one right answer to the second, and may have been
	// closed. The suite closes what it returns. Nil: the rules about that are
	// skipped.
	Beside func(t *testing.T, log engine.EventLog, readOnly bool) (engine.EventLog, error)
	// Reformats is set for a backend that may drop white space between the
	// tokens of a payload.
	Reformats bool
}

// Run tests that the logs which open returns keep the contract. Each call of
// open returns a new and empty log; the suite closes it.
func Run(t *testing.T, open func(t *testing.T) engine.EventLog) {
	t.Helper()
	RunWith(t, Config{Open: open})
}

// RunWith is Run with more known about the backend.
func RunWith(t *testing.T, c Config) {
	t.Helper()
	Survey(t, c)
}

// Outcome is what became of one rule.
type Outcome struct {
	// Group and Rule are the names of the rule's subtest.
	Group, Rule string
	// Lacks says what the backend does not have that the rule is about; empty
	// where it keeps the rule.
	Lacks string
}

// Survey is RunWith that tells which rules apply to the backend. Where one is
// broken, the test has failed.
func Survey(t *testing.T, c Config) []Outcome {
	t.Helper()
	var outcomes []Outcome
	for _, g := range groups() {
		t.Run(g.name, func(t *testing.T) {
			for _, r := range g.rules {
				o := Outcome{Group: g.name, Rule: r.name}
				ran := false // a -run flag may leave it out
				t.Run(r.name, func(t *testing.T) {
					ran = true
					f := newFixture(noting{t, &o.Lacks}, c.backend(t), patience)
					defer f.close()
					r.check(f)
				})
				if ran {
					outcomes = append(outcomes, o)
				}
			}
		})
	}
	return outcomes
}

// noting is a test that notes why it is skipped.
type noting struct {
	*testing.T
	reason *string
}

func (n noting) Skipf(format string, args ...any) {
	n.Helper()
	*n.reason = fmt.Sprintf(format, args...)
	n.T.Skip(*n.reason)
}

// Capability is a part of the contract that a backend may do without.
type Capability struct {
	Name string
	// Lacks says why the backend does not have it; empty where it does.
	Lacks string
}

// capabilities are known by a rule each: the first one about them.
var capabilities = []struct{ name, group, rule string }{
	{"conditional appends (ExpectLatest)", "ExpectLatest", "MatchAppends"},
	{"atomic commits over many topics (Commit)", "Commit", "ChangesSeveralTopicsAtOnce"},
	{"asynchronous appends (AppendAsync)", "Async", "HandlesCompleteInOrder"},
	{"reads that lend bytes (ReadRaw)", "Raw", "SameAsRead"},
	{"positions over all topics (Record.Position)", "Append", "PositionsOrderAllTopics"},
	{"listing consumers (Consumers)", "Consumers", "ListedByID"},
	{"deleting cursors (DeleteCursor)", "Consumers", "DeletedCursorsAreGone"},
	{"being the target of a copy (engine.Restorer)", "Restore", "AppendsGoOnBehindTheLatest"},
	{"keeping everything over a close (Reopen)", "Reopen", "EventsStay"},
	{"limits that are set (OpenLimits)", "Values", "TooLargeCommitsLeaveNoTrace"},
	{"readers in other processes (Beside)", "Beside", "ReadersFollowTheWriter"},
	{"writers in other processes kept apart (Beside)", "Beside", "ASecondWriterIsLockedOutOrTakesTurns"},
}

// Capabilities says which optional parts of the contract the backend of a
// survey has. They are found by asking: a method that is missing, or refused
// with errors.ErrUnsupported, is lacking.
func Capabilities(survey []Outcome) []Capability {
	var found []Capability
	for _, c := range capabilities {
		for _, o := range survey {
			if o.Group == c.group && o.Rule == c.rule {
				found = append(found, Capability{c.name, o.Lacks})
			}
		}
	}
	return found
}

// patience ends waits that would last for ever. It is long because reaching it
// is a failure, and a busy machine is not.
const patience = 30 * time.Second

// group is the rules about one part of the contract.
type group struct {
	name  string
	rules []rule
}

// rule is one promise, and how to see whether it is kept.
type rule struct {
	name  string
	check func(*fixture)
}

func groups() []group {
	return []group{
		{"Values", valueRules},
		{"Append", appendRules},
		{"ExpectLatest", expectRules},
		{"Read", readRules},
		{"Subscribe", subscribeRules},
		{"Lag", lagRules},
		{"Cursor", cursorRules},
		{"Topics", topicsRules},
		{"Compact", compactRules},
		{"Close", closeRules},
		{"Reopen", reopenRules},
		{"Consumers", consumersRules},
		{"Commit", commitRules},
		{"Async", asyncRules},
		{"Raw", rawRules},
		{"Restore", restoreRules},
		{"Beside", besideRules},
	}
}

// reporter is what a rule needs of *testing.T: little, so that the suite's own
// tests can watch it fail.
type reporter interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
}

// backend is a Config bound to one subtest.
type backend struct {
	open       func() engine.EventLog
	reopen     func(engine.EventLog) engine.EventLog                             // nil: not possible
	openLimits func(maxEvent, maxCommitBytes int) engine.EventLog                // nil: not possible
	beside     func(log engine.EventLog, readOnly bool) (engine.EventLog, error) // nil: not possible
	reformats  bool
}

func (c Config) backend(t *testing.T) backend {
	b := backend{
		open:      func() engine.EventLog { return c.Open(t) },
		reformats: c.Reformats,
	}
	if c.Reopen != nil {
		b.reopen = func(log engine.EventLog) engine.EventLog { return c.Reopen(t, log) }
	}
	if c.Beside != nil {
		b.beside = func(log engine.EventLog, readOnly bool) (engine.EventLog, error) { return c.Beside(t, log, readOnly) }
	}
	if c.OpenLimits != nil {
		b.openLimits = func(maxEvent, maxCommit int) engine.EventLog { return c.OpenLimits(t, maxEvent, maxCommit) }
	}
	return b
}

// newFixture opens a log for one rule, and gives the rule the time it may take.
func newFixture(r reporter, b backend, patience time.Duration) *fixture {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	return &fixture{reporter: r, backend: b, ctx: ctx, cancel: cancel, log: b.open()}
}
