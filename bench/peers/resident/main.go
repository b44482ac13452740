// Command resident prints how much memory a process takes that holds an open log
// and does nothing. It is a program of its own because what the drivers of the
// other stores set up as they are loaded takes some 50 MiB.
//
//	resident -dir DIR -turn 1s
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/seglog/seglog/bench"
	"github.com/seglog/seglog/engine"
)

// report is what is printed, in bytes of resident memory.
type report struct {
	Empty  int64 `json:"empty_bytes"`  // before the log was opened
	Opened int64 `json:"opened_bytes"` // with the log open, an event appended to each topic, and nothing to do
	Loaded int64 `json:"loaded_bytes"` // a second after appenders stopped
}

const (
	topicCount     = 1000
	appenders      = 64
	distinctEvents = 64
	payloadBytes   = 256
)

func main() {
	dir := flag.String("dir", "", "directory for the log, empty or not there yet")
	turn := flag.Duration("turn", time.Second, "how long 64 appenders append")
	flag.Parse()
	r, err := measure(*dir, *turn)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(r)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "resident:", err)
		os.Exit(1)
	}
}

// measure opens a log, appends to each topic, closes and opens it, and looks at
// the memory when all is quiet; and once more after appenders had a turn.
func measure(dir string, turn time.Duration) (r report, err error) {
	if dir == "" {
		return r, errors.New("-dir is missing")
	}
	if r.Empty, err = resident(); err != nil {
		return r, err
	}
	topics, events := bench.Topics(topicCount), bench.Events(distinctEvents, payloadBytes)
	if err := withLog(dir, func(log *engine.Engine) error { return touch(log, topics, events[0]) }); err != nil {
		return r, err
	}
	err = withLog(dir, func(log *engine.Engine) error {
		if err := touch(log, topics, events[0]); err != nil {
			return err
		}
		if r.Opened, err = residentAtRest(); err != nil {
			return err
		}
		if _, err := bench.Crowd(appenders, bench.During(turn), bench.AppendOp(log, topics, events)); err != nil {
			return err
		}
		r.Loaded, err = residentAtRest()
		return err
	})
	return r, err
}

func withLog(dir string, use func(log *engine.Engine) error) error {
	log, err := engine.Open(dir, engine.Options{})
	if err != nil {
		return err
	}
	return errors.Join(use(log), log.Close())
}

func touch(log *engine.Engine, topics []engine.Topic, event engine.Event) error {
	var next atomic.Int64
	_, err := bench.Crowd(appenders, bench.Times(len(topics)), func(int, int) error {
		_, err := log.Append(context.Background(), topics[next.Add(1)-1], event)
		return err
	})
	return err
}

// residentAtRest lets what goes on in the background end.
func residentAtRest() (int64, error) {
	time.Sleep(time.Second)
	return resident()
}

// resident reads what Linux says of this process.
func resident() (bytes int64, err error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, fmt.Errorf("resident memory: %w", err)
	}
	_, after, _ := strings.Cut(string(status), "\nVmRSS:")
	line, _, _ := strings.Cut(after, "\n")
	kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(line), " kB"), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("resident memory: %w", err)
	}
	return kib << 10, nil
}
