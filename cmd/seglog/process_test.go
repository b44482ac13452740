package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/seglog/seglog/adapter"
	"github.com/seglog/seglog/adapter/memory"
	"github.com/seglog/seglog/engine"
)

// TestMain makes the test binary the program itself where processVariable asks
// for it: over a log in memory that holds processEvents events, or over logs on
// disk that tell what is appended to them.
func TestMain(m *testing.M) {
	switch os.Getenv(processVariable) {
	case "filled":
		os.Exit(start(openFilled))
	case "telling":
		os.Exit(start(openTelling))
	}
	os.Exit(m.Run())
}

const (
	processVariable = "SEGLOG_TEST_PROCESS"
	processEvents   = 20_000 // more than the buffers of a pipe hold
)

func openFilled(adapter.Config) (engine.EventLog, error) {
	log := memory.New(memory.Options{})
	events := make([]engine.Event, processEvents)
	for i := range events {
		events[i] = engine.Event{Payload: fmt.Append(nil, i+1)}
	}
	_, _, err := log.AppendBatch(context.Background(), engine.MustTopic("jobs"), events)
	return log, err
}

// process is a running seglog.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    io.ReadCloser
	stderr bytes.Buffer
}

func startProcess(t *testing.T, args ...string) *process {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("a process cannot be interrupted from another one on windows")
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	check(t, os.WriteFile(filepath.Join(dir, signOfALog), nil, 0o600))
	p := &process{t: t, cmd: exec.CommandContext(t.Context(), exe, append(args, "-C", dir)...)}
	p.cmd.Env = append(os.Environ(), processVariable+"=filled")
	p.cmd.Stderr = &p.stderr
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if p.out, err = p.cmd.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

// ends waits for the process and checks how it ended.
func (p *process) ends(status int, stderr string) {
	p.t.Helper()
	_ = p.cmd.Wait() // the status is compared below
	if got := p.cmd.ProcessState.ExitCode(); got != status || p.stderr.String() != stderr {
		p.t.Errorf("got status %d and %q on standard error, want %d and %q", got, p.stderr.String(), status, stderr)
	}
}

func (p *process) reads(want string) {
	p.t.Helper()
	expect(p.t, p.out, want)
}

func (p *process) interrupt() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		p.t.Fatal(err)
	}
}

func TestProcessReadIntoHeadEndsQuietly(t *testing.T) {
	p := startProcess(t, "read", "jobs")
	p.reads(`{"id":1,`)
	p.out.Close()
	p.ends(statusOK, "")
}

func TestProcessTailEndsAtAnInterrupt(t *testing.T) {
	p := startProcess(t, "tail", "jobs", "--after", fmt.Sprint(processEvents-1))
	p.reads(fmt.Sprintf(`{"id":%d,`, processEvents))
	p.interrupt()
	p.ends(statusOK, "")
}

func TestProcessAppendEndsAtAnInterruptWhileItWaitsForInput(t *testing.T) {
	p := startProcess(t, "append", "jobs")
	fmt.Fprintln(p.in, "1")
	p.reads(fmt.Sprintln(processEvents + 1))
	p.interrupt()
	p.ends(statusInterrupted, "seglog: interrupted after 1 event\n")
}

func TestProcessAppendToAReaderThatIsGoneFails(t *testing.T) {
	p := startProcess(t, "append", "jobs")
	p.out.Close()
	fmt.Fprintln(p.in, "1")
	p.ends(statusFailed, "seglog: write the output: write /dev/stdout: broken pipe\n")
}
