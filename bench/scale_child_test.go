package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seglog/seglog/engine"
)

// scaleChildVar holds what a process that TestScale started is to do: a task,
// its numbers, and a directory.
const scaleChildVar = "SEGLOG_SCALE_CHILD"

// TestScaleChild is where a process that TestScale started begins.
func TestScaleChild(t *testing.T) {
	task, arg, ok := strings.Cut(os.Getenv(scaleChildVar), " ")
	if !ok {
		t.Skip("started by TestScale")
	}
	var err error
	switch task {
	case "read":
		err = readChild(arg)
	case "append":
		err = appendChild(arg)
	case "topics":
		err = topicsChild(arg)
	default:
		err = fmt.Errorf("unknown task %q", task)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// childCommand runs this test binary again, for one task.
func childCommand(task string, before ...string) (*exec.Cmd, error) {
	binary, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := append(before, binary, "-test.run", "^TestScaleChild$", "-test.timeout", "30m")
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), scaleChildVar+"="+task)
	cmd.Stderr = os.Stderr
	return cmd, nil
}

// reportPrefix begins the line with a child's report.
const reportPrefix = "scale-report "

func printReport(report any) error {
	line, err := json.Marshal(report)
	if err == nil {
		_, err = fmt.Printf("%s%s\n", reportPrefix, line)
	}
	return err
}

// child runs a task to its end and takes its report.
func (s *scale) child(task, arg string, report any) {
	s.Helper()
	cmd, err := childCommand(task + " " + arg)
	s.must(err)
	out, err := cmd.Output()
	if err != nil {
		s.Fatalf("%s in another process: %v\n%s", task, err, out)
	}
	s.must(parseReport(bytes.NewReader(out), report))
}

func parseReport(r interface{ Read([]byte) (int, error) }, report any) error {
	for lines := bufio.NewScanner(r); lines.Scan(); {
		if line, ok := strings.CutPrefix(lines.Text(), reportPrefix); ok {
			return json.Unmarshal([]byte(line), report)
		}
	}
	return errors.New("the other process has ended without a report")
}

type readReport struct {
	Events               int
	Spent                time.Duration
	PeakBytes, HeapBytes int64 // PeakBytes is 0 where the system does not say
}

func readChild(dir string) error {
	log, err := engine.Open(dir, engine.Options{})
	if err != nil {
		return err
	}
	defer log.Close()
	ctx := context.Background()
	topics, err := log.Topics(ctx)
	if err != nil {
		return err
	}
	var report readReport
	began := time.Now()
	for _, topic := range topics {
		for record, err := range log.Read(ctx, topic, engine.ReadOptions{}) {
			if err != nil {
				return err
			}
			if len(record.Payload) != payloadBytes {
				return fmt.Errorf("event %d of topic %s has %d bytes, want %d", record.ID, topic, len(record.Payload), payloadBytes)
			}
			report.Events++
		}
	}
	report.Spent = time.Since(began)
	report.PeakBytes = peakMemory()
	report.HeapBytes = heapBytes()
	return printReport(report)
}

// peakMemory is the most that this process has had in memory; 0 where the
// system does not say.
func peakMemory() int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if kib, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(kib), " kB"), 10, 64)
			return n << 10
		}
	}
	return 0
}

type appendReport struct {
	WrittenBytes int64 // into the write-ahead log, at least
	UsedBytes    int64 // of it, waiting for a checkpoint
	Spent        time.Duration
}

// killWhileAppending has another process append until it has written a number
// of budgets and its write-ahead log is about as full as it gets, and kills it.
func (s *scale) killWhileAppending(dir string, budgets, batch int) (report appendReport) {
	s.Helper()
	cmd, err := childCommand(fmt.Sprintf("append %d %d %s", budgets, batch, dir))
	s.must(err)
	out, err := cmd.StdoutPipe()
	s.must(err)
	s.must(cmd.Start())
	err = parseReport(out, &report)
	_ = cmd.Process.Kill() // where it fails, Wait says why
	waitErr := cmd.Wait()
	s.must(err)
	if cmd.ProcessState.Success() {
		s.Fatalf("the process that appends ended before it was killed: %v", waitErr)
	}
	return report
}

// appendChild appends until it is killed. Two appenders of single events fill
// the write-ahead log before they fill the tails.
func appendChild(arg string) error {
	fields := strings.SplitN(arg, " ", 3)
	if len(fields) != 3 {
		return fmt.Errorf("%q is not two numbers and a directory", arg)
	}
	budgets, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		return err
	}
	batch, err := strconv.Atoi(fields[1])
	if err != nil {
		return err
	}
	log, err := engine.Open(fields[2], engine.Options{})
	if err != nil {
		return err
	}
	topics, events := Topics(2), Events(batch, payloadBytes)
	ended := make(chan error, len(topics))
	for _, topic := range topics {
		go func() {
			for {
				if _, _, err := log.AppendBatch(context.Background(), topic, events); err != nil {
					ended <- err
					return
				}
			}
		}()
	}
	var report appendReport
	var before, most int64
	for began := time.Now(); ; {
		used := log.Stats().WALBytes
		report.WrittenBytes += max(0, used-before)
		before, most = used, max(most, used)
		if report.WrittenBytes >= budgets*walBudget && used >= most*9/10 {
			report.UsedBytes, report.Spent = used, time.Since(began)
			if err := printReport(report); err != nil {
				return err
			}
			return <-ended // until killed
		}
		select {
		case err := <-ended:
			return err
		case <-time.After(time.Millisecond):
		}
	}
}

// syncCalls are system calls by name.
type syncCalls struct {
	total int
	names []string
}

func (c syncCalls) String() string {
	return fmt.Sprintf("%d (%s)", c.total, strings.Join(c.names, ", "))
}

// traceTopics runs the appends to many topics once more under strace, to count
// what really reaches the system.
func (s *scale) traceTopics(count int) (c syncCalls, err error) {
	strace, err := exec.LookPath("strace")
	if err != nil || runtime.GOOS != "linux" {
		return c, errors.New("there is no strace")
	}
	summary := filepath.Join(s.dir, "strace.txt")
	cmd, err := childCommand(fmt.Sprintf("topics %d %s", count, filepath.Join(s.dir, "traced")),
		strace, "-f", "--seccomp-bpf", "-c", "-U", "calls,name", "-e", "trace=fsync,fdatasync,sync_file_range,syncfs,sync,msync", "-o", summary)
	if err != nil {
		return c, err
	}
	cmd.Stderr = nil // strace says here which threads come and go
	if out, err := cmd.Output(); err != nil {
		return c, fmt.Errorf("strace: %w\n%s", err, out)
	}
	text, err := os.ReadFile(summary)
	if err != nil {
		return c, err
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) != 2 || fields[1] == "total" {
			continue
		}
		if n, err := strconv.Atoi(fields[0]); err == nil {
			c.total += n
			c.names = append(c.names, fmt.Sprintf("%d %s", n, fields[1]))
		}
	}
	if c.total == 0 {
		return c, fmt.Errorf("strace counted nothing: %q", text)
	}
	return c, nil
}

// topicsChild appends to very many topics, closes, and does it once more.
func topicsChild(arg string) error {
	number, dir, _ := strings.Cut(arg, " ")
	count, err := strconv.Atoi(number)
	if err != nil {
		return err
	}
	for range 2 {
		log, err := engine.Open(dir, engine.Options{})
		if err != nil {
			return err
		}
		if err := errors.Join(appendToAll(log, count), log.Close()); err != nil {
			return err
		}
	}
	return nil
}
