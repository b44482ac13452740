package adapter_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/seglog/seglog/adapter/adaptertest"
	"github.com/seglog/seglog/adapter/file"
	"github.com/seglog/seglog/adapter/memory"
	"github.com/seglog/seglog/adapter/sqlite"
	"github.com/seglog/seglog/engine"
)

var update = flag.Bool("update", false, "write the tables of docs/backends.md")

// howToOpen is what the suite varies when it opens a log.
type howToOpen struct {
	readOnly                      bool
	maxEventBytes, maxCommitBytes int
}

// onDisk is a backend that keeps a log at a path.
func onDisk(open func(path string, how howToOpen) (engine.EventLog, error)) adaptertest.Config {
	where := map[engine.EventLog]string{}
	at := func(path string, how howToOpen) (engine.EventLog, error) {
		log, err := open(path, how)
		if err != nil {
			return nil, err // not a nil pointer in an interface that is not nil
		}
		where[log] = path
		return log, nil
	}
	must := func(t *testing.T, path string, how howToOpen) engine.EventLog {
		t.Helper()
		log, err := at(path, how)
		check(t, err)
		return log
	}
	fresh := func(t *testing.T) string { return filepath.Join(t.TempDir(), "log") }
	return adaptertest.Config{
		Open: func(t *testing.T) engine.EventLog { return must(t, fresh(t), howToOpen{}) },
		Reopen: func(t *testing.T, log engine.EventLog) engine.EventLog {
			check(t, log.Close())
			return must(t, where[log], howToOpen{})
		},
		OpenLimits: func(t *testing.T, event, commit int) engine.EventLog {
			return must(t, fresh(t), howToOpen{maxEventBytes: event, maxCommitBytes: commit})
		},
		Beside: func(_ *testing.T, log engine.EventLog, readOnly bool) (engine.EventLog, error) {
			return at(where[log], howToOpen{readOnly: readOnly})
		},
	}
}

// column is a backend in the tables of docs/backends.md.
type column struct {
	kind   engine.BackendKind
	config adaptertest.Config
}

// columns are opened without syncing, which no rule sees.
func columns() []column {
	inMemory := adaptertest.Config{
		Open: func(*testing.T) engine.EventLog { return memory.New(memory.Options{}) },
		OpenLimits: func(_ *testing.T, event, commit int) engine.EventLog {
			return memory.New(memory.Options{MaxEventBytes: event, MaxCommitBytes: commit})
		},
	}
	segment := onDisk(func(path string, how howToOpen) (engine.EventLog, error) {
		return engine.Open(path, engine.Options{Sync: engine.SyncNever, ReadOnly: how.readOnly, MaxEventBytes: how.maxEventBytes, MaxCommitBytes: how.maxCommitBytes})
	})
	lines := onDisk(func(path string, how howToOpen) (engine.EventLog, error) {
		return file.Open(path, file.Options{Sync: engine.SyncNever, ReadOnly: how.readOnly, MaxEventBytes: how.maxEventBytes, MaxCommitBytes: how.maxCommitBytes})
	})
	lines.Reformats = true
	database := onDisk(func(path string, how howToOpen) (engine.EventLog, error) {
		return sqlite.Open(path, sqlite.Options{Sync: engine.SyncNever, ReadOnly: how.readOnly, MaxEventBytes: how.maxEventBytes, MaxCommitBytes: how.maxCommitBytes})
	})
	return []column{
		{engine.BackendSegment, segment},
		{engine.BackendFile, lines},
		{engine.BackendSQLite, database},
		{engine.BackendMemory, inMemory},
	}
}

const (
	tablesFile  = "../docs/backends.md"
	tablesBegin = "<!-- The tables are written by: go test ./adapter -run TestBackendsTables -update -->\n"
	tablesEnd   = "<!-- end of the tables -->\n"
)

// TestBackendsTables runs the conformance suite on every backend, and fails
// where docs/backends.md says something else than what came out.
func TestBackendsTables(t *testing.T) {
	var surveys [][]adaptertest.Outcome
	columns := columns()
	for _, c := range columns {
		t.Run(string(c.kind), func(t *testing.T) {
			surveys = append(surveys, adaptertest.Survey(t, c.config))
		})
	}
	if t.Failed() {
		t.Fatal("a rule is broken: the tables are not compared")
	}
	for _, survey := range surveys {
		if len(survey) != len(surveys[0]) {
			t.Fatal("not all rules ran on all backends: the tables are not compared")
		}
	}
	content, err := os.ReadFile(tablesFile)
	check(t, err)
	before, rest, begins := strings.Cut(string(content), tablesBegin)
	_, after, ends := strings.Cut(rest, tablesEnd)
	if !begins || !ends {
		t.Fatalf("%s has no place for the tables between %q and %q", tablesFile, tablesBegin, tablesEnd)
	}
	want := before + tablesBegin + "\n" + tables(columns, surveys) + "\n" + tablesEnd + after
	if want == string(content) {
		return
	}
	if !*update {
		t.Fatalf("%s is stale; run: go test ./adapter -run TestBackendsTables -update", tablesFile)
	}
	check(t, os.WriteFile(tablesFile, []byte(want), 0o644))
}

// tables are what the backends can do, and what they did with every rule.
func tables(columns []column, surveys [][]adaptertest.Outcome) string {
	var b strings.Builder
	row := func(name string, cell func(column int) string) {
		fmt.Fprintf(&b, "| %s |", name)
		for i := range columns {
			fmt.Fprintf(&b, " %s |", cell(i))
		}
		b.WriteString("\n")
	}
	title := func(heading string) {
		row(heading, func(i int) string { return string(columns[i].kind) })
		row("---", func(int) string { return "---" })
	}

	capabilities := make([][]adaptertest.Capability, len(surveys))
	for i, survey := range surveys {
		capabilities[i] = adaptertest.Capabilities(survey)
	}
	title("Optional part")
	for r, c := range capabilities[0] {
		row(c.Name, func(i int) string { return cell(capabilities[i][r].Lacks) })
	}
	b.WriteString("\n")
	title("Rule")
	for r, o := range surveys[0] {
		row(o.Group+": "+words(o.Rule), func(i int) string { return cell(surveys[i][r].Lacks) })
	}
	return b.String()
}

var (
	typeName = regexp.MustCompile(`^\S+ (has no )`)
	harness  = regexp.MustCompile(`: Config\.\w+ is nil$`)
	refusal  = regexp.MustCompile(`^(\w+): .*unsupported operation$`)
)

// cell is a reason to do without a rule, as the suite gives it, in the table's
// words.
func cell(lacks string) string {
	if lacks == "" {
		return "yes"
	}
	lacks = harness.ReplaceAllString(typeName.ReplaceAllString(lacks, "$1"), "")
	lacks = refusal.ReplaceAllString(lacks, "refuses $1")
	return "no: " + strings.ReplaceAll(lacks, "|", `\|`)
}

// words takes a rule's name apart.
func words(name string) string {
	var words []string
	start := 0
	for i := 1; i <= len(name); i++ {
		ends := i == len(name) || upper(name[i]) && (!upper(name[i-1]) || i+1 < len(name) && !upper(name[i+1]))
		if !ends {
			continue
		}
		word := name[start:i]
		if word != "ID" {
			word = strings.ToLower(word)
		}
		words = append(words, word)
		start = i
	}
	return strings.Join(words, " ")
}

func upper(c byte) bool { return 'A' <= c && c <= 'Z' }
