package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/seglog/seglog/bench"
)

// syncChildVar holds what a process under strace is to do: a store and a
// directory.
const syncChildVar = "PEERS_SYNC_CHILD"

const syncAppends = 50

// Directories whose making marks the appends in the trace.
const (
	syncBegin = "appends-begin"
	syncEnd   = "appends-end"
)

// syncChild appends one event after the other, between two marks.
func syncChild(task string) error {
	name, dir, _ := strings.Cut(task, " ")
	s, err := storeNamed(name)
	if err != nil {
		return err
	}
	log, err := s.Open(dir, bench.Setup{})
	if err != nil {
		return err
	}
	op := bench.AppendOp(log, bench.Topics(1), bench.Events(syncAppends, 256))
	err = op(0, 0) // what only the first append does does not count
	err = errors.Join(err, os.Mkdir(filepath.Join(dir, syncBegin), 0o700))
	for i := 0; i < syncAppends && err == nil; i++ {
		err = op(0, i)
	}
	return errors.Join(err, os.Mkdir(filepath.Join(dir, syncEnd), 0o700), log.Close())
}

// TestDurableStoresSyncEveryAppend counts the system calls that make data
// durable while one goroutine appends: at least one for each append where the
// store says durable, and clearly fewer where it says that it is not.
func TestDurableStoresSyncEveryAppend(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil || runtime.GOOS != "linux" {
		t.Skip("strace counts the sync calls, and there is none: apt-get install strace")
	}
	if out, err := exec.Command(strace, "-o", os.DevNull, "true").CombinedOutput(); err != nil {
		t.Skipf("strace is there and may not trace: %v\n%s", err, out)
	}
	eachStore(t, func(t *testing.T, s store) {
		calls := traceAppends(t, strace, s.Name)
		t.Logf("%d sync calls for %d appends", calls, syncAppends)
		switch {
		case s.durable && calls < syncAppends:
			t.Errorf("%s says durable: %d sync calls for %d appends", s.Name, calls, syncAppends)
		case !s.durable && calls > syncAppends/2:
			t.Errorf("%s does not say durable: %d sync calls for %d appends", s.Name, calls, syncAppends)
		}
	})
}

// traceAppends runs syncChild under strace and counts the sync calls between
// its marks.
func traceAppends(t *testing.T, strace, name string) int {
	t.Helper()
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	trace := filepath.Join(t.TempDir(), "trace")
	cmd := exec.Command(strace, "-f", "--seccomp-bpf", "-o", trace, "-e",
		"trace=fsync,fdatasync,msync,sync_file_range,syncfs,sync,?mkdir,mkdirat", binary)
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s", syncChildVar, name, t.TempDir()))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("strace: %v\n%s", err, out)
	}
	text, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	count, counting, marks := 0, false, 0
	for line := range strings.Lines(string(text)) {
		switch {
		case strings.Contains(line, "resumed>"): // counted where it began
		case strings.Contains(line, syncBegin), strings.Contains(line, syncEnd):
			counting = !counting
			marks++
		case counting && strings.Contains(line, "sync"):
			count++
		}
	}
	if marks != 2 {
		t.Fatalf("%d marks in the trace, want 2\n%s", marks, text)
	}
	return count
}
