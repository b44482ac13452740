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

// openLog is the one place that knows the backends.
func openLog(t target, mode openMode) (engine.EventLog, error) {
	return nil, unsupported(t.backend)
}

func unsupported(kind engine.BackendKind) error {
	return fmt.Errorf("%w: backend %s cannot be used from the command line", engine.ErrConfig, kind)
}

// resolve finds the log that the flags, else the environment, name. Relative
// paths are taken from the current directory.
func (c choice) resolve(env environment) (target, error) {
	kind, err := c.kind(env)
	if err != nil {
		return target{}, err
	}
	state := orDefault(env.getenv("HARN_STATE_DIR"), ".harn")
	flag, variable, name := c.dir, "HARN_EVENT_LOG_SEGMENT_DIR", "events.seglog"
	switch kind {
	case engine.BackendSegment:
	case engine.BackendFile:
		variable, name = "HARN_EVENT_LOG_DIR", "events"
	case engine.BackendSQLite:
		flag, variable, name = c.path, "HARN_EVENT_LOG_SQLITE_PATH", "events.sqlite"
	default:
		return target{}, unsupported(kind)
	}
	if kind != engine.BackendSQLite && c.path != "" {
		return target{}, usagef("--path is for --backend sqlite; a %s log has a --dir", kind)
	}
	if kind == engine.BackendSQLite && c.dir != "" {
		return target{}, usagef("an sqlite log is one file: use --path instead of --dir")
	}
	location := flag
	if location == "" {
		location = orDefault(env.getenv(variable), filepath.Join(state, name))
	}
	if !filepath.IsAbs(location) {
		location = filepath.Join(env.dir, location)
	}
	return target{kind, location, queueDepth(env)}, nil
}

// kind is --backend; else what --dir or --path implies; else the environment's.
func (c choice) kind(env environment) (engine.BackendKind, error) {
	if c.backend != "" {
		kind, err := engine.ParseBackendKind(c.backend)
		if err != nil {
			return "", &usageError{err}
		}
		return kind, nil
	}
	variable := env.getenv("HARN_EVENT_LOG_BACKEND")
	switch {
	case c.dir != "" && c.path != "":
		return "", usagef("--dir and --path exclude each other")
	case c.dir != "" || strings.TrimSpace(variable) == "" && c.path == "":
		return engine.BackendSegment, nil
	case c.path != "":
		return engine.BackendSQLite, nil
	}
	kind, err := engine.ParseBackendKind(variable)
	if err != nil {
		return "", fmt.Errorf("HARN_EVENT_LOG_BACKEND: %w", err)
	}
	return kind, nil
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
