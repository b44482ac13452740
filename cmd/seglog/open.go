package main

import (
	"path/filepath"

	"github.com/seglog/seglog/adapter"
	"github.com/seglog/seglog/engine"
)

// choice is what the global flags say.
type choice struct {
	dir, path, backend string
	json               bool
}

// openMode says what a command may do to the log.
type openMode int

const (
	modeRead   openMode = iota // changes nothing, works beside a writer
	modeChange                 // changes a log that is there
	modeCreate                 // also makes one
)

// opener opens a log; tests put another in place of [adapter.Open].
type opener func(adapter.Config) (engine.EventLog, error)

// reportOf is what opening the log found, where its backend says that.
func reportOf(log engine.EventLog) engine.OpenReport {
	reporter, ok := log.(interface{ OpenReport() engine.OpenReport })
	if !ok {
		return engine.OpenReport{}
	}
	return reporter.OpenReport()
}

// resolve finds the log that the flags, else the environment, name.
func (c choice) resolve(env environment) (adapter.Config, error) {
	config, err := c.config(env)
	if err != nil {
		return config, err
	}
	if config.Backend == engine.BackendMemory {
		return config, usagef("backend memory cannot be used from the command line: it would be empty, and gone at once")
	}
	if config.Backend != engine.BackendSQLite && c.path != "" {
		return config, usagef("--path is for --backend sqlite; a %s log has a --dir", config.Backend)
	}
	if config.Backend == engine.BackendSQLite && c.dir != "" {
		return config, usagef("an sqlite log is one file: use --path instead of --dir")
	}
	if flag := c.dir + c.path; flag != "" { // at most one of them is set
		setLocation(&config, env.absolute(flag))
	}
	return config, nil
}

// config is the environment's configuration with the backend of --backend, or
// the one that --dir or --path implies.
func (c choice) config(env environment) (adapter.Config, error) {
	kind := c.backend
	switch {
	case c.dir != "" && c.path != "":
		return adapter.Config{}, usagef("--dir and --path exclude each other")
	case kind != "":
		if _, err := engine.ParseBackendKind(kind); err != nil {
			return adapter.Config{}, &usageError{err}
		}
	case c.dir != "":
		kind = string(engine.BackendSegment)
	case c.path != "":
		kind = string(engine.BackendSQLite)
	default:
		return adapter.FromEnv(env.dir, env.getenv)
	}
	return env.chosen(kind)
}

// chosen is the environment's configuration with another backend.
func (e environment) chosen(kind string) (adapter.Config, error) {
	return adapter.FromEnv(e.dir, func(name string) string {
		if name == adapter.BackendVariable {
			return kind
		}
		return e.getenv(name)
	})
}

// setLocation puts the log of config's kind at location.
func setLocation(config *adapter.Config, location string) {
	switch config.Backend {
	case engine.BackendSegment:
		config.SegmentDir = location
	case engine.BackendFile:
		config.FileDir = location
	case engine.BackendSQLite:
		config.SQLitePath = location
	}
}

func (e environment) absolute(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(e.dir, path)
}
