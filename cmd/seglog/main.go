package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/term"

	"github.com/seglog/seglog/adapter"
	"github.com/seglog/seglog/engine"
)

// Exit statuses.
const (
	statusOK          = 0
	statusFailed      = 1
	statusUsage       = 2
	statusDamaged     = 3
	statusInterrupted = 130 // as a shell reports a process that SIGINT ended
)

func main() { os.Exit(start(adapter.Open)) }

// start runs the program as a process: with its signals and standard streams.
func start(open opener) int {
	// A write to a closed pipe then fails like any other write, instead of
	// killing the process while a commit is on its way.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // the second signal kills
	dir, err := os.Getwd()
	if err != nil {
		dir = "."
	}
	return run(ctx, os.Args[1:], streams{
		in: os.Stdin, inTTY: isTerminal(os.Stdin),
		out: os.Stdout, outTTY: isTerminal(os.Stdout),
		err: os.Stderr, errTTY: isTerminal(os.Stderr),
	}, environment{dir: dir, getenv: os.Getenv, open: open})
}

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// streams are the standard streams, and which of them are terminals.
type streams struct {
	in                    io.Reader
	out, err              io.Writer
	inTTY, outTTY, errTTY bool
}

// environment is what a command takes from outside besides its arguments.
type environment struct {
	dir    string // the current directory
	getenv func(string) string
	open   opener
}

// run executes one command line and returns its exit status. A ctx that ends
// interrupts it.
func run(ctx context.Context, args []string, s streams, env environment) int {
	a := &app{streams: s, env: env}
	a.print = newPrinter(s.out, s.outTTY)
	root := newRoot(a)
	root.SetArgs(args)
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	cmd, err := root.ExecuteContextC(ctx)
	if flushErr := a.print.flush(); err == nil {
		err = flushErr
	}
	status := exitStatus(err, a.started)
	switch {
	case status == statusOK || errors.Is(err, errSilent):
	case status == statusUsage:
		fmt.Fprintf(s.err, "seglog: %v\nRun '%s --help' for usage.\n", err, cmd.CommandPath())
	case status == statusInterrupted:
		fmt.Fprintf(s.err, "seglog: %v\n", interruptedBy(err))
	default:
		fmt.Fprintf(s.err, "seglog: %v\n", err)
	}
	return status
}

// errSilent marks errors that were reported already.
var errSilent = errors.New("reported")

// errDamage ends a command that found damage and listed it.
var errDamage = fmt.Errorf("damage found (%w)", errSilent)

// usageError is a command line that makes no sense.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}

// interruption is how far a command had come when it was interrupted.
type interruption string

func (i interruption) Error() string { return string(i) }

// Is matches [context.Canceled].
func (i interruption) Is(target error) bool { return target == context.Canceled }

// interruptedBy is err in words for the one who did it.
func interruptedBy(err error) interruption {
	var i interruption
	if errors.As(err, &i) {
		return i
	}
	return "interrupted"
}

// exitStatus is the status for err; started says whether the command's own
// code ran, since what fails before it is the command line.
func exitStatus(err error, started bool) int {
	var usage *usageError
	var out *outputError
	switch {
	case err == nil:
		return statusOK
	case errors.As(err, &usage) || !started:
		return statusUsage
	case errors.Is(err, errDamage), errors.Is(err, engine.ErrCorrupt):
		return statusDamaged
	case errors.Is(err, context.Canceled):
		return statusInterrupted
	case errors.As(err, &out) && out.quiet && brokenPipe(out.err):
		return statusOK
	}
	return statusFailed
}

// brokenPipe reports whether a write failed because the reader of the output
// is gone.
func brokenPipe(err error) bool {
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe) {
		return true
	}
	const errorBrokenPipe, errorNoData = syscall.Errno(109), syscall.Errno(232)
	return runtime.GOOS == "windows" && (errors.Is(err, errorBrokenPipe) || errors.Is(err, errorNoData))
}
