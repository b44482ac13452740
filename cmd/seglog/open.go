package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/seglog/seglog/engine"
)

// choice is what the global flags say.
type choice struct {
	dir, path, backend string
	json               bool
}

// target is the log that a command works on.
type target struct {
	backend    engine.BackendKind
	location   string
	queueDepth int
}

// openMode says what a command may do to the log.
type openMode int

const (
	modeRead   openMode = iota // changes nothing, works beside a writer
	modeChange                 // changes a log that is there
	modeCreate                 // also makes one
)

// opener opens a log; tests put another in place of [openLog].
type opener func(t target, mode openMode) (engine.EventLog, error)

// openLog is the one place that knows how to open each backend.
func openLog(t target, mode openMode) (engine.EventLog, error) {
	switch t.backend {
	case engine.BackendSegment:
		return openSegment(t, mode)
	default:
		return nil, unsupported(t.backend)
	}
}

func openSegment(t target, mode openMode) (engine.EventLog, error) {
	log, err := engine.Open(t.location, engine.Options{ReadOnly: mode == modeRead, QueueDepth: t.queueDepth})
	if err != nil {
		return nil, err // not a nil *Engine in an interface that is not nil
	}
	return log, nil
}

// reportOf is what opening the log found, where its backend says that.
func reportOf(log engine.EventLog) engine.OpenReport {
	reporter, ok := log.(interface{ OpenReport() engine.OpenReport })
	if !ok {
		return engine.OpenReport{}
	}
	return reporter.OpenReport()
}

func unsupported(kind engine.BackendKind) error {
	return fmt.Errorf("%w: backend %s cannot be used from the command line", engine.ErrConfig, kind)
}

// resolve finds the log that the flags, else the environment, name.
func (c choice) resolve(env environment) (target, error) {
	kind, chosen, err := c.kind(env)
	if err != nil {
		return target{}, err
	}
	if kind != engine.BackendSQLite && c.path != "" {
		return target{}, usagef("--path is for --backend sqlite; a %s log has a --dir", kind)
	}
	if kind == engine.BackendSQLite && c.dir != "" {
		return target{}, usagef("an sqlite log is one file: use --path instead of --dir")
	}
	location, ok := env.location(kind)
	if !ok {
		return target{}, unsupported(kind)
	}
	if flag := c.dir + c.path; flag != "" { // at most one of them is set
		location = env.absolute(flag)
	}
	t := target{kind, location, queueDepth(env)}
	if !chosen && !t.exists() {
		return t, env.checkOlder()
	}
	return t, nil
}

// checkOlder refuses to take the default, a segmented log that is not there
// yet, where a log of another kind holds somebody's data: a new, empty log
// would hide it from programs that take the default too.
func (e environment) checkOlder() error {
	for _, older := range []struct {
		kind engine.BackendKind
		sign string // in the location: there only if there is a log
	}{{engine.BackendSQLite, ""}, {engine.BackendFile, "topics"}} {
		location, _ := e.location(older.kind)
		if _, err := os.Stat(filepath.Join(location, older.sign)); err != nil {
			continue
		}
		return fmt.Errorf("%w: no kind of log is chosen, and there is already one at %s; "+
			"use it with --backend %s or HARN_EVENT_LOG_BACKEND=%s, or begin a segmented log with --backend segment",
			engine.ErrConfig, location, older.kind, older.kind)
	}
	return nil
}

// location is where the environment puts a log of a kind.
func (e environment) location(kind engine.BackendKind) (string, bool) {
	var variable, name string
	switch kind {
	case engine.BackendSegment:
		variable, name = "HARN_EVENT_LOG_SEGMENT_DIR", "events.seglog"
	case engine.BackendFile:
		variable, name = "HARN_EVENT_LOG_DIR", "events"
	case engine.BackendSQLite:
		variable, name = "HARN_EVENT_LOG_SQLITE_PATH", "events.sqlite"
	default:
		return "", false
	}
	state := orDefault(e.getenv("HARN_STATE_DIR"), ".harn")
	return e.absolute(orDefault(e.getenv(variable), filepath.Join(state, name))), true
}

func (e environment) absolute(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(e.dir, path)
}

// kind is --backend; else what --dir or --path implies; else the environment's.
// It reports whether any of them chose it.
func (c choice) kind(env environment) (kind engine.BackendKind, chosen bool, err error) {
	variable := env.getenv("HARN_EVENT_LOG_BACKEND")
	switch {
	case c.dir != "" && c.path != "":
		return "", false, usagef("--dir and --path exclude each other")
	case c.backend != "":
		kind, err := engine.ParseBackendKind(c.backend)
		if err != nil {
			return "", false, &usageError{err}
		}
		return kind, true, nil
	case c.dir != "":
		return engine.BackendSegment, true, nil
	case c.path != "":
		return engine.BackendSQLite, true, nil
	case strings.TrimSpace(variable) == "":
		return engine.BackendSegment, false, nil
	}
	kind, err = engine.ParseBackendKind(variable)
	if err != nil {
		return "", false, fmt.Errorf("HARN_EVENT_LOG_BACKEND: %w", err)
	}
	return kind, true, nil
}

func queueDepth(env environment) int {
	n, err := strconv.ParseUint(env.getenv("HARN_EVENT_LOG_QUEUE_DEPTH"), 10, 31)
	if err != nil {
		return engine.DefaultQueueDepth
	}
	return max(1, int(n))
}

func orDefault(s, or string) string {
	if strings.TrimSpace(s) == "" {
		return or
	}
	return s
}

// exists reports whether there is something to open. What it is, and whether
// it may be opened, the backend finds out.
func (t target) exists() bool {
	_, err := os.Stat(t.location)
	return !errors.Is(err, fs.ErrNotExist)
}
