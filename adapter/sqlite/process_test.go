package sqlite

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/seglog/seglog/engine"
)

// childEnv makes the test's binary a child that does what it says, see children.
const childEnv = "SEGLOG_SQLITE_TEST_CHILD"

// children are what a child process can be. It prints a line for each thing
// that it knows.
var children = map[string]func(log *Log, name string, out io.Writer) error{
	"share": childShares,
	"crowd": childCrowds,
}

func TestMain(m *testing.M) {
	role := os.Getenv(childEnv)
	if role == "" {
		os.Exit(m.Run())
	}
	if err := runChild(role, os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func runChild(role, file, name string) error {
	log, err := Open(file, Options{})
	if err != nil {
		return err
	}
	if err := children[role](log, name, os.Stdout); err != nil {
		return err
	}
	return log.Close()
}

// child is a running child process, and its output line by line.
type child struct {
	cmd   *exec.Cmd
	lines *bufio.Scanner
}

func startChild(t *testing.T, role, file, name string) *child {
	t.Helper()
	cmd := exec.CommandContext(testContext(t), os.Args[0], file, name)
	cmd.Env = append(os.Environ(), childEnv+"="+role)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	return &child{cmd, bufio.NewScanner(out)}
}

const (
	shareAppenders = 4
	shareEach      = 50
	shareTotal     = 2 * shareAppenders * shareEach
)

// childShares appends from several goroutines beside another process, follows
// the topic to its end, and prints what it got and saw.
func childShares(log *Log, name string, out io.Writer) error {
	ctx := context.Background()
	var printing sync.Mutex
	say := func(what string, id engine.EventID, payload string) {
		printing.Lock()
		defer printing.Unlock()
		fmt.Fprintln(out, what, id, payload)
	}
	errs := make(chan error, shareAppenders+1)
	for a := range shareAppenders {
		go func() {
			for i := range shareEach {
				payload := fmt.Sprintf(`"%s-%d-%d"`, name, a, i)
				id, err := log.Append(ctx, jobs, engine.Event{Kind: "k", Payload: json.RawMessage(payload)})
				if err != nil {
					errs <- err
					return
				}
				say("got", id, payload)
			}
			errs <- nil
		}()
	}
	go func() {
		for r, err := range log.Subscribe(ctx, jobs, engine.SubscribeOptions{}) {
			if err != nil {
				errs <- err
				return
			}
			say("saw", r.ID, string(r.Payload))
			if r.ID == shareTotal {
				break
			}
		}
		errs <- nil
	}()
	for range shareAppenders + 1 {
		if err := <-errs; err != nil {
			return err
		}
	}
	return nil
}

func TestTwoProcesses(t *testing.T) {
	file := newFile(t)
	log := openLog(t, file, Options{})
	a, b := startChild(t, "share", file, "a"), startChild(t, "share", file, "b")
	var seen []string
	for r, err := range log.Subscribe(testContext(t), jobs, engine.SubscribeOptions{}) {
		if err != nil || r.ID != engine.EventID(len(seen)+1) {
			t.Fatalf("after event %d came %d, %v", len(seen), r.ID, err)
		}
		seen = append(seen, fmt.Sprintf("%d %s", r.ID, r.Payload))
		if len(seen) == shareTotal {
			break
		}
	}
	got := map[string]bool{}
	for _, c := range []*child{a, b} {
		saw := 0
		for c.lines.Scan() {
			what, rest, _ := strings.Cut(c.lines.Text(), " ")
			switch what {
			case "got":
				got[rest] = true
			case "saw":
				if rest != seen[saw] {
					t.Fatalf("a child saw %q, the parent %q", rest, seen[saw])
				}
				saw++
			}
		}
		if err := c.cmd.Wait(); err != nil || saw != shareTotal {
			t.Fatalf("a child saw %d events of %d, %v", saw, shareTotal, err)
		}
	}
	if len(got) != shareTotal {
		t.Errorf("the children got %d different ids and events, want %d", len(got), shareTotal)
	}
	for _, event := range seen {
		if !got[event] {
			t.Errorf("nobody appended %q", event)
		}
	}
}

// childCrowds appends from many goroutines until it is killed, and prints what
// was acknowledged.
func childCrowds(log *Log, name string, out io.Writer) error {
	const appenders = 32
	topics := []engine.Topic{jobs, engine.MustTopic("other")}
	var printing sync.Mutex
	errs := make(chan error)
	for a := range appenders {
		go func() {
			for i := 0; ; i++ {
				topic := topics[(a+i)%len(topics)]
				payload := fmt.Sprintf(`"%s-%d-%d"`, name, a, i)
				id, err := log.Append(context.Background(), topic, engine.Event{Kind: "k", Payload: json.RawMessage(payload)})
				if err != nil {
					errs <- err
					return
				}
				printing.Lock()
				fmt.Fprintln(out, topic, id, payload)
				printing.Unlock()
			}
		}()
	}
	return <-errs
}

func TestKilledProcessLosesNothingThatItAcknowledged(t *testing.T) {
	file := newFile(t)
	acknowledged := map[string]map[engine.EventID]string{"jobs": {}, "other": {}}
	for round := range 6 {
		c := startChild(t, "crowd", file, fmt.Sprint(round))
		for n := 0; c.lines.Scan(); n++ {
			var topic, payload string
			var id engine.EventID
			if _, err := fmt.Sscan(c.lines.Text(), &topic, &id, &payload); err != nil {
				break // the line that the kill cut
			}
			if before, taken := acknowledged[topic][id]; taken {
				t.Fatalf("event %d of %s was minted for %s and for %s", id, topic, before, payload)
			}
			acknowledged[topic][id] = payload
			if n == 200+97*round {
				if err := c.cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = c.cmd.Wait() // it says that it was killed
		log := openLog(t, file, Options{})
		for name, events := range acknowledged {
			checkAcknowledged(t, log, engine.MustTopic(name), events)
		}
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func checkAcknowledged(t *testing.T, log *Log, topic engine.Topic, events map[engine.EventID]string) {
	t.Helper()
	records, err := readErr(t, log, topic)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for i, r := range records {
		if r.ID != engine.EventID(i+1) {
			t.Fatalf("event %d of %s stands in the place of %d", r.ID, topic, i+1)
		}
		if payload, ok := events[r.ID]; ok {
			found++
			if payload != string(r.Payload) {
				t.Fatalf("event %d of %s is %s, acknowledged was %s", r.ID, topic, r.Payload, payload)
			}
		}
	}
	if found != len(events) {
		t.Fatalf("%d of %d acknowledged events of %s are there", found, len(events), topic)
	}
}

// Processes that find no database at the same time make one together.
func TestManyOpenANewDatabaseAtOnce(t *testing.T) {
	for range 10 {
		file := newFile(t)
		const openers = 8
		errs := make(chan error, openers)
		for range openers {
			go func() {
				log, err := Open(file, Options{})
				if err == nil {
					_, err = log.Append(context.Background(), jobs, numbered(1))
				}
				if err == nil {
					err = log.Close()
				}
				errs <- err
			}()
		}
		for range openers {
			if err := <-errs; err != nil {
				t.Fatal(err)
			}
		}
		log := openLog(t, file, Options{})
		if latest, _, err := log.Latest(t.Context(), jobs); latest != openers || err != nil {
			t.Fatalf("Latest is %d, %v, want %d", latest, err, openers)
		}
	}
}
