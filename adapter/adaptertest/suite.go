package adaptertest

import (
	"context"
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
	for _, g := range groups() {
		t.Run(g.name, func(t *testing.T) {
			for _, r := range g.rules {
				t.Run(r.name, func(t *testing.T) {
					f := newFixture(t, c.backend(t), patience)
					defer f.close()
					r.check(f)
				})
			}
		})
	}
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
	reopen     func(engine.EventLog) engine.EventLog              // nil: not possible
	openLimits func(maxEvent, maxCommitBytes int) engine.EventLog // nil: not possible
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
