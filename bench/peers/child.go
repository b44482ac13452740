package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/seglog/seglog/bench"
	"github.com/seglog/seglog/bench/result"
	"github.com/seglog/seglog/engine"
)

// childVar holds what a process that a row started is to do, as JSON.
const childVar = "PEERS_CHILD"

// childTask is what a process that a row started is to do.
type childTask struct {
	Name  string `json:"name"`
	Dir   string `json:"dir"`
	Batch int    `json:"batch"`
}

// childReport is the line that it prints.
type childReport struct {
	WALBytes int64 `json:"wal_bytes"` // in use
}

// child does what the environment asks this process to do, if anything.
func child() (asked bool, err error) {
	text := os.Getenv(childVar)
	if text == "" {
		return false, nil
	}
	var task childTask
	if err := json.Unmarshal([]byte(text), &task); err != nil {
		return true, err
	}
	if task.Name == "append" {
		return true, appendUntilKilled(task)
	}
	return true, fmt.Errorf("unknown task %q", task.Name)
}

// start runs this program again, for one task, and waits for its report.
func (task childTask) start() (cmd *exec.Cmd, report childReport, err error) {
	binary, err := os.Executable()
	if err != nil {
		return nil, report, err
	}
	text, err := json.Marshal(task)
	if err != nil {
		return nil, report, err
	}
	cmd = exec.Command(binary)
	cmd.Env = append(os.Environ(), childVar+"="+string(text))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, report, err
	}
	if err := cmd.Start(); err != nil {
		return nil, report, err
	}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &report)
	}
	if err != nil {
		_ = cmd.Process.Kill() // Wait says how it ended
		err = errors.Join(fmt.Errorf("%s in another process: %w", task.Name, err), cmd.Wait())
	}
	return cmd, report, err
}

func (r childReport) print() error { return json.NewEncoder(os.Stdout).Encode(r) }

const walBudget = 128 << 20 // the default of engine.Options.WALBytes

// appendUntilKilled reports once the write-ahead log was filled once and is
// about as full as it gets. Two appenders of single events fill it before they
// fill the tails.
func appendUntilKilled(task childTask) error {
	log, err := engine.Open(task.Dir, engine.Options{})
	if err != nil {
		return err
	}
	topics, events := bench.Topics(2), bench.Events(task.Batch, payloadBytes)
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
	var written, before, most int64
	for {
		used := log.Stats().WALBytes
		written += max(0, used-before)
		before, most = used, max(most, used)
		if written >= walBudget && used >= most*9/10 {
			if err := (childReport{WALBytes: used}).print(); err != nil {
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

// kill opens copies of a log whose process was killed: opening one takes away
// what is measured. Each is read and hashed before it is opened.
func (h *harness) kill(s store, batch int) (done result.Sample, err error) {
	dir, err := h.newDir(s)
	if err != nil {
		return done, err
	}
	defer h.remove(dir)
	logDir := filepath.Join(dir, "log")
	cmd, report, err := childTask{Name: "append", Dir: logDir, Batch: batch}.start()
	if err != nil {
		return done, err
	}
	if err := cmd.Process.Kill(); err != nil {
		return done, errors.Join(err, cmd.Wait())
	}
	_ = cmd.Wait() // it was killed
	var opened, checked []time.Duration
	var walBytes int64
	for n := range 5 {
		again := fmt.Sprintf("%s-%d", logDir, n)
		if err := os.CopyFS(again, os.DirFS(logDir)); err != nil {
			return done, err
		}
		if err := syncTree(again); err != nil {
			return done, err
		}
		spent, bytes, err := checkWAL(again)
		if err != nil {
			return done, err
		}
		checked, walBytes = append(checked, spent), bytes
		began := time.Now()
		err = h.in(s, again, bench.Setup{Keep: true}, func(log engine.EventLog) error {
			opened = append(opened, time.Since(began))
			report := log.(*engine.Engine).OpenReport()
			done.Extra = map[string]float64{"events": float64(report.Events), "frames": float64(report.Frames)}
			if report.Events == 0 {
				return fmt.Errorf("nothing was replayed after a kill: %+v", report)
			}
			return nil
		})
		if err != nil {
			return done, err
		}
		if err := os.RemoveAll(again); err != nil {
			return done, err
		}
	}
	done.Value = millis(medianOf(opened))
	done.Extra["wal_bytes"], done.Extra["wal_used_bytes"] = float64(walBytes), float64(report.WALBytes)
	// What is not in use is read here and not by an open.
	done.Extra[extraCheck] = millis(medianOf(checked)) * min(1, float64(report.WALBytes)/float64(walBytes))
	return done, nil
}

const extraCheck = "check_ms"

// checkWAL reads the write-ahead log's files and hashes them.
func checkWAL(dir string) (spent time.Duration, bytes int64, err error) {
	names, err := filepath.Glob(filepath.Join(dir, "wal-*"))
	if err != nil {
		return 0, 0, err
	}
	buf, hash := make([]byte, 256<<10), xxhash.New()
	began := time.Now()
	for _, name := range names {
		file, err := os.Open(name)
		if err != nil {
			return 0, 0, err
		}
		n, err := io.CopyBuffer(struct{ io.Writer }{hash}, struct{ io.Reader }{file}, buf)
		if err := errors.Join(err, file.Close()); err != nil {
			return 0, 0, err
		}
		bytes += n
	}
	return time.Since(began), bytes, nil
}

// rest measures a process that holds an open log and does nothing. It is one
// without the other stores.
func (h *harness) rest(s store) (done result.Sample, err error) {
	dir, err := h.newDir(s)
	if err != nil {
		return done, err
	}
	defer h.remove(dir)
	binary := filepath.Join(dir, "resident")
	build := exec.Command("go", "build", "-o", binary, "github.com/seglog/seglog/bench/peers/resident")
	if text, err := build.CombinedOutput(); err != nil {
		return done, fmt.Errorf("%s (only in the module's folder): %w: %s", build, err, text)
	}
	text, err := exec.Command(binary, "-dir", filepath.Join(dir, "log"), "-turn", h.turn.String()).Output()
	if err != nil {
		return done, fmt.Errorf("resident memory: %w: %s", err, stderrOf(err))
	}
	var report struct {
		Empty  float64 `json:"empty_bytes"`
		Opened float64 `json:"opened_bytes"`
		Loaded float64 `json:"loaded_bytes"`
	}
	if err := json.Unmarshal(text, &report); err != nil {
		return done, fmt.Errorf("resident memory: %w", err)
	}
	const mib = 1 << 20
	done.Value = report.Loaded / mib
	done.Extra = map[string]float64{"empty_mib": report.Empty / mib, "opened_mib": report.Opened / mib}
	return done, nil
}

func stderrOf(err error) string {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return string(exit.Stderr)
	}
	return ""
}
