package adaptertest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/seglog/seglog/adapter/memory"
	"github.com/seglog/seglog/engine"
)

// outcome is what became of one rule; the zero value: it was kept.
type outcome struct {
	failed  []string
	skipped string
}

// recorder is the reporter that does not fail the test.
type recorder struct{ outcome }

func (r *recorder) Helper() {}

func (r *recorder) Errorf(format string, args ...any) {
	r.failed = append(r.failed, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

func (r *recorder) Skipf(format string, args ...any) {
	r.skipped = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// run runs one rule against b.
func run(r rule, b backend, patience time.Duration) outcome {
	var rec recorder
	done := make(chan struct{})
	go func() {
		defer close(done)
		f := newFixture(&rec, b, patience)
		defer f.close()
		r.check(f)
	}()
	<-done
	return rec.outcome
}

// runAll runs the whole suite against b; the names are as Run's subtests.
func runAll(b backend, patience time.Duration) map[string]outcome {
	outcomes := map[string]outcome{}
	for _, g := range groups() {
		for _, r := range g.rules {
			outcomes[g.name+"/"+r.name] = run(r, b, patience)
		}
	}
	return outcomes
}

func TestBackendThatIsNotBrokenKeepsEveryRule(t *testing.T) {
	for name, o := range runAll(backendOf(func() breakage { return breakage{} }), patience) {
		if async := strings.HasPrefix(name, "Async/"); len(o.failed) > 0 || (o.skipped != "") != async {
			t.Errorf("%s: failed %q, skipped %q", name, o.failed, o.skipped)
		}
	}
}

func TestEveryBreakageIsFoundByTheRulesItNames(t *testing.T) {
	for _, c := range breakages {
		t.Run(c.name, func(t *testing.T) {
			wait := patience
			if c.hangs {
				wait = 50 * time.Millisecond
			}
			for _, name := range c.breaks {
				r, ok := findRule(name)
				if !ok {
					t.Errorf("there is no rule %s", name)
					continue
				}
				if o := run(r, backendOf(c.make), wait); len(o.failed) == 0 {
					t.Errorf("rule %s does not see it (skipped: %q)", name, o.skipped)
				}
			}
		})
	}
}

func TestWritersThatTakeTurnsKeepTheRule(t *testing.T) {
	share := onBeside(func(l *memory.Log, _ bool) (engine.EventLog, error) { return unclosed{l}, nil })
	if o := run(rule{"turns", secondWriter}, backendOf(share), patience); len(o.failed) > 0 || o.skipped != "" {
		t.Errorf("failed %q, skipped %q", o.failed, o.skipped)
	}
}

func TestEveryAsyncBreakageIsFound(t *testing.T) {
	for _, r := range asyncRules {
		if o := run(r, asyncBackend(t, nil), patience); len(o.failed) > 0 || o.skipped != "" {
			t.Errorf("%s without a breakage: failed %q, skipped %q", r.name, o.failed, o.skipped)
		}
	}
	for _, c := range asyncBreakages {
		for _, name := range c.breaks {
			if r, ok := findRule(name); !ok || len(run(r, asyncBackend(t, c.hook), patience).failed) == 0 {
				t.Errorf("rule %s (there: %v) does not see a log that %s", name, ok, c.name)
			}
		}
	}
}

func TestEveryRuleCanFail(t *testing.T) {
	broken := map[string]bool{}
	for _, c := range breakages {
		if len(c.breaks) == 0 {
			t.Errorf("breakage %q names no rule", c.name)
		}
		for _, name := range c.breaks {
			broken[name] = true
		}
	}
	for _, c := range asyncBreakages {
		for _, name := range c.breaks {
			broken[name] = true
		}
	}
	for _, g := range groups() {
		for _, r := range g.rules {
			if name := g.name + "/" + r.name; !broken[name] {
				t.Errorf("no breakage is known to make the rule %s fail", name)
			}
		}
	}
}

func findRule(name string) (rule, bool) {
	for _, g := range groups() {
		for _, r := range g.rules {
			if g.name+"/"+r.name == name {
				return r, true
			}
		}
	}
	return rule{}, false
}

// plain hides everything of a log that is not in the interface.
type plain struct{ engine.EventLog }

func TestWhatABackendLacksIsSkippedWithTheReason(t *testing.T) {
	b := backend{open: func() engine.EventLog { return plain{memory.New(memory.Options{})} }}
	skipped := map[string]string{
		"Commit/ChangesSeveralTopicsAtOnce":  "adaptertest.plain has no Commit",
		"Consumers/ListedByID":               "adaptertest.plain has no Consumers",
		"Consumers/DeletedCursorsAreGone":    "adaptertest.plain has no DeleteCursor",
		"Async/HandlesCompleteInOrder":       "adaptertest.plain has no AppendAsync",
		"Raw/SameAsRead":                     "adaptertest.plain has no ReadRaw",
		"Reopen/EventsStay":                  "the backend keeps nothing: Config.Reopen is nil",
		"Restore/AppendsGoOnBehindTheLatest": "adaptertest.plain has no RestoreTopic",
		"Beside/ReadersFollowTheWriter":      "the log is of one process: Config.Beside is nil",
		"Values/TooLargeCommitsLeaveNoTrace": "the limit of a commit is not known: Config.OpenLimits is nil",
	}
	for name, o := range runAll(b, patience) {
		if len(o.failed) > 0 {
			t.Errorf("%s: %q", name, o.failed)
		}
		if want, ok := skipped[name]; ok && o.skipped != want {
			t.Errorf("%s: skipped %q, want %q", name, o.skipped, want)
		}
	}
}

func TestCapabilitiesAreFoundByAsking(t *testing.T) {
	var survey []Outcome
	t.Run("survey", func(t *testing.T) { // its subtests are skipped, this test is not
		survey = Survey(t, Config{Open: func(*testing.T) engine.EventLog { return plain{memory.New(memory.Options{})} }})
	})
	rules := 0
	for _, g := range groups() {
		rules += len(g.rules)
	}
	if len(survey) != rules {
		t.Fatalf("the survey has %d rules, the suite %d", len(survey), rules)
	}
	lacks := map[string]string{}
	for _, c := range Capabilities(survey) {
		lacks[c.Name] = c.Lacks
	}
	if len(lacks) != len(capabilities) {
		t.Errorf("got %d capabilities, want %d", len(lacks), len(capabilities))
	}
	for name, want := range map[string]string{
		"conditional appends (ExpectLatest)":           "",
		"positions over all topics (Record.Position)":  "",
		"atomic commits over many topics (Commit)":     "adaptertest.plain has no Commit",
		"being the target of a copy (engine.Restorer)": "adaptertest.plain has no RestoreTopic",
		"keeping everything over a close (Reopen)":     "the backend keeps nothing: Config.Reopen is nil",
	} {
		if got, ok := lacks[name]; !ok || got != want {
			t.Errorf("%s: lacks %q (known: %v), want %q", name, got, ok, want)
		}
	}
}

func TestWhatABackendRefusesAsUnsupportedIsSkipped(t *testing.T) {
	refuse := func() breakage {
		return breakage{appendBatch: func(l *memory.Log, ctx context.Context, topic engine.Topic, events []engine.Event, opts []engine.AppendOption) (first, last engine.EventID, err error) {
			if len(opts) > 0 {
				return 0, 0, errors.ErrUnsupported
			}
			return l.AppendBatch(ctx, topic, events)
		}}
	}
	for _, r := range expectRules {
		if o := run(r, backendOf(refuse), patience); o.skipped == "" || len(o.failed) > 0 {
			t.Errorf("%s: failed %q, skipped %q", r.name, o.failed, o.skipped)
		}
	}
}
