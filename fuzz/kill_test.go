package fuzz

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/seglog/seglog/engine"
)

var kills = flag.Int("kills", 5, "how often a child process is killed while it appends")

// A test binary with this variable set is the child: it appends to the log in
// that directory until it is killed.
const childEnv = "SEGLOG_FUZZ_CHILD"

const (
	appenders   = 64
	killTopics  = 7
	killPadding = 400
)

var killOptions = engine.Options{
	WALBytes: 1 << 20, SegmentBytes: 64 << 10, BlockBytes: 1 << 10, TailBytes: 256 << 10,
}

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		if err := appendForEver(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	debug.SetGCPercent(400) // many small disks that live for a moment
	os.Exit(m.Run())
}

// mark is the payload of an event: who appended it, and as which of its own.
type mark struct {
	Run      string `json:"run"`
	Appender int    `json:"appender"`
	Number   int    `json:"number"`
	Padding  string `json:"padding"`
}

func (k mark) event() (engine.Event, error) {
	k.Padding = strings.Repeat(strconv.Itoa(k.Number%10), (k.Appender*31+k.Number*7)%killPadding)
	e, err := engine.NewEvent("mark", k)
	e.OccurredAtMS = int64(k.Number)
	return e, err
}

func killTopic(appender int) engine.Topic {
	return engine.MustTopic(fmt.Sprintf("topic-%d", appender%killTopics))
}

// appendForEver says of each append, once it is acknowledged, who made it and
// which id it got. Every so often an appender acknowledges, compacts, or
// commits to two topics at once.
func appendForEver(dir string) error {
	log, err := engine.Open(dir, killOptions)
	if err != nil {
		return err
	}
	run := strconv.Itoa(os.Getpid())
	var mu sync.Mutex
	say := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(os.Stdout, format+"\n", args...) // a dead parent is no concern of the log's
	}
	say("run %s", run)
	errs := make(chan error, appenders)
	for a := range appenders {
		go func() { errs <- appendAs(log, run, a, say) }()
	}
	return <-errs
}

func appendAs(log *engine.Engine, run string, a int, say func(string, ...any)) error {
	ctx := context.Background()
	topic := killTopic(a)
	consumer := engine.MustConsumerID(strconv.Itoa(a))
	for n := 0; ; n++ {
		event, err := mark{Run: run, Appender: a, Number: n}.event()
		if err != nil {
			return err
		}
		id, err := log.Append(ctx, topic, event)
		if err != nil {
			return err
		}
		say("append %d %d %d", a, n, id)
		if n%9 == 4 {
			if err := log.Ack(ctx, topic, consumer, id); err != nil {
				return err
			}
			say("ack %d %d", a, id)
		}
	}
}

// TestKilledProcessLosesNothing kills a real process with real files, again
// and again in one directory, and compares what is there with what the process
// had said was there.
func TestKilledProcessLosesNothing(t *testing.T) {
	dir := t.TempDir()
	k := &killed{acked: map[string]engine.EventID{}, cursors: map[int]engine.EventID{}}
	r := rand.New(rand.NewPCG(uint64(*kills), 3))
	for i := range *kills {
		if err := k.live(dir, 200+r.IntN(3000)); err != nil {
			t.Fatalf("life %d: %v", i, err)
		}
		if i%2 == 0 && i < *kills-1 {
			continue // the next child opens what this one left
		}
		if err := k.check(dir); err != nil {
			t.Fatalf("after kill %d: %v", i, err)
		}
	}
	if len(k.acked) == 0 || len(k.cursors) == 0 {
		t.Error("nothing was acknowledged")
	}
	t.Logf("%d kills, %d acknowledged appends", *kills, len(k.acked))
}

// killed is what all children said so far.
type killed struct {
	acked   map[string]engine.EventID // by run, appender and number
	cursors map[int]engine.EventID    // at least; by appender
}

// live starts a child and kills it after so many lines. What it says between
// the decision and its death counts as well.
func (k *killed) live(dir string, lines int) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	child := exec.Command(exe)
	child.Env = append(os.Environ(), childEnv+"="+dir)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		return err
	}
	if err := child.Start(); err != nil {
		return err
	}
	in := bufio.NewReader(out)
	run := ""
	for n := 0; ; n++ {
		line, err := in.ReadString('\n')
		if err == io.EOF && n > lines {
			break // a last line without an end was never said
		}
		if err != nil {
			return fmt.Errorf("the child ended by itself after %d lines: %w", n, child.Wait())
		}
		k.hear(line, &run)
		if n == lines {
			if err := child.Process.Kill(); err != nil {
				return err
			}
		}
	}
	_ = child.Wait() // it was killed
	return nil
}

func (k *killed) hear(line string, run *string) {
	var a, n int
	var id engine.EventID
	if _, err := fmt.Sscanf(line, "append %d %d %d", &a, &n, &id); err == nil {
		k.acked[fmt.Sprintf("%s/%d/%d", *run, a, n)] = id
	} else if _, err := fmt.Sscanf(line, "ack %d %d", &a, &id); err == nil {
		k.cursors[a] = id
	} else if _, err := fmt.Sscanf(line, "run %s", run); err != nil {
		*run = ""
	}
}

// check opens the log and compares.
func (k *killed) check(dir string) error {
	log, err := engine.Open(dir, killOptions)
	if err != nil {
		return err
	}
	found := map[string]engine.EventID{}
	for a := range killTopics {
		if err := k.topic(log, killTopic(a), found); err != nil {
			return err
		}
	}
	for key, id := range k.acked {
		if found[key] != id {
			return fmt.Errorf("append %s was acknowledged as event %d, and is %d", key, id, found[key])
		}
	}
	for a, id := range k.cursors {
		at, ok, err := log.Cursor(context.Background(), killTopic(a), engine.MustConsumerID(strconv.Itoa(a)))
		if err != nil {
			return err
		}
		if !ok || at < id {
			return fmt.Errorf("appender %d: cursor is %d, %v, want at least %d", a, at, ok, id)
		}
	}
	k.acked = found // what is seen once stays
	return log.Close()
}

// topic checks one topic and collects its events.
func (k *killed) topic(log engine.EventLog, topic engine.Topic, found map[string]engine.EventID) error {
	next := engine.EventID(1)
	last := map[string]int{}
	for r, err := range log.Read(context.Background(), topic, engine.ReadOptions{}) {
		if err != nil {
			return err
		}
		if r.ID != next {
			return fmt.Errorf("topic %s: event %d follows, want %d", topic, r.ID, next)
		}
		next++
		var m mark
		if err := json.Unmarshal(r.Payload, &m); err != nil {
			return err
		}
		want, err := m.event()
		if err != nil {
			return err
		}
		if string(want.Payload) != string(r.Payload) || r.OccurredAtMS != want.OccurredAtMS || killTopic(m.Appender) != topic {
			return fmt.Errorf("topic %s: event %d is %s, want %s", topic, r.ID, r.Payload, want.Payload)
		}
		who := fmt.Sprintf("%s/%d", m.Run, m.Appender)
		if n, ok := last[who]; ok && m.Number != n+1 || !ok && m.Number != 0 {
			return fmt.Errorf("topic %s: event %d is number %d of appender %s, after number %d", topic, r.ID, m.Number, who, n)
		}
		last[who] = m.Number
		found[fmt.Sprintf("%s/%d", who, m.Number)] = r.ID
	}
	return nil
}
