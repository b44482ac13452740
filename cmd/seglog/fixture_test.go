package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/seglog/seglog/adapter"
	"github.com/seglog/seglog/adapter/memory"
	"github.com/seglog/seglog/engine"
)

// shell runs command lines against one log that outlives them.
type shell struct {
	t       *testing.T
	log     engine.EventLog
	openLog engine.EventLog // what a command gets; nil: log
	openErr error
	opens   opener         // how a command opens a log; nil: with log or openLog
	opened  adapter.Config // by the last command
	vars    map[string]string
	dir     string
	streams streams
}

// signOfALog is a file that makes a directory look like a segmented log, where
// another one is opened in its place.
const signOfALog = "carry-1"

func newShell(t *testing.T) *shell {
	t.Helper()
	dir := t.TempDir()
	check(t, os.WriteFile(filepath.Join(dir, signOfALog), nil, 0o600))
	return &shell{
		t: t, dir: dir,
		log:  memory.New(memory.Options{}),
		vars: map[string]string{"HARN_EVENT_LOG_SEGMENT_DIR": dir},
	}
}

func (s *shell) open(config adapter.Config) (engine.EventLog, error) {
	s.opened = config
	if s.opens != nil {
		return s.opens(config)
	}
	if s.openErr != nil {
		return nil, s.openErr
	}
	if s.openLog != nil {
		return s.openLog, nil
	}
	return keepOpen{s.log}, nil
}

// keepOpen is a log that a command cannot close.
type keepOpen struct{ engine.EventLog }

func (keepOpen) Close() error { return nil }

// result is what a command line did.
type result struct {
	t        *testing.T
	args     string
	status   int
	out, err string
}

// run executes a command line, whose words are separated by single spaces.
func (s *shell) run(stdin string, args string) result {
	s.t.Helper()
	return s.runContext(s.t.Context(), strings.NewReader(stdin), strings.Split(args, " ")...)
}

func (s *shell) runContext(ctx context.Context, stdin io.Reader, args ...string) result {
	s.t.Helper()
	var out, err bytes.Buffer
	st := s.streams
	st.in = stdin
	if st.out == nil {
		st.out = &out
	}
	st.err = &err
	status := run(ctx, args, st, s.env())
	return result{s.t, strings.Join(args, " "), status, out.String(), err.String()}
}

func (s *shell) env() environment {
	return environment{dir: s.dir, getenv: func(k string) string { return s.vars[k] }, open: s.open}
}

// terminal makes all later commands run on a terminal.
func (s *shell) terminal() { s.streams.outTTY, s.streams.errTTY = true, true }

// must fails the test unless the command ended with status.
func (r result) must(status int) result {
	r.t.Helper()
	if r.status != status {
		r.t.Fatalf("seglog %s: got status %d, want %d\nstdout: %s\nstderr: %s", r.args, r.status, status, r.out, r.err)
	}
	return r
}

// prints checks standard output.
func (r result) prints(want string) result {
	r.t.Helper()
	if r.out != want {
		r.t.Fatalf("seglog %s\ngot  %q\nwant %q\nstderr: %s", r.args, r.out, want, r.err)
	}
	return r
}

// says checks that standard error has each of the texts in it.
func (r result) says(texts ...string) result {
	r.t.Helper()
	for _, text := range texts {
		if !strings.Contains(r.err, text) {
			r.t.Fatalf("seglog %s\nstderr %q\nwant   %q in it", r.args, r.err, text)
		}
	}
	return r
}

// faultLog is a log that answers some calls wrongly.
type faultLog struct {
	engine.EventLog
	mu          sync.Mutex // guards batches
	batches     []int      // events in each batch appended
	appendBatch func(events []engine.Event) error
	consumers   []engine.ConsumerInfo
}

func (f *faultLog) AppendBatch(ctx context.Context, topic engine.Topic, events []engine.Event, opts ...engine.AppendOption) (first, last engine.EventID, err error) {
	f.mu.Lock()
	f.batches = append(f.batches, len(events))
	f.mu.Unlock()
	if f.appendBatch != nil {
		if err := f.appendBatch(events); err != nil {
			return 0, 0, err
		}
	}
	return f.EventLog.AppendBatch(ctx, topic, events, opts...)
}

func (*faultLog) Close() error { return nil }
