package fuzz

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seglog/seglog/adapter/file"
	"github.com/seglog/seglog/adapter/memory"
	"github.com/seglog/seglog/adapter/sqlite"
	"github.com/seglog/seglog/engine"
	"github.com/seglog/seglog/fuzz/model"
	"github.com/seglog/seglog/fuzz/rig"
	"github.com/seglog/seglog/fuzz/script"
)

var scripts = flag.Int("scripts", 100, "scripts that are run on all backends and compared")

// TestBackendsAgree runs scripts of all operations, reopening and the death of
// the process included, on every backend. After each operation all have given
// the answer of the model, and whenever a script looks, and at its end, all show
// just the records, latest ids and cursors that the model has.
func TestBackendsAgree(t *testing.T) {
	n := *scripts
	if testing.Short() {
		n = min(n, 50)
	}
	var met [2]counter // reopened, killed
	err := parallel(n, func(i int) error {
		seed := *from + uint64(i)
		dir, err := os.MkdirTemp(t.TempDir(), "script")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		s := differentialScript(seed)
		if err := agree(dir, s, &met); err != nil {
			return fmt.Errorf("seed %d: %w\n%s", seed, err, s)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, what := range []string{"reopened", "killed"} {
		t.Logf("%d scripts; a log was %s %d times", n, what, met[i].n())
		if met[i].n() == 0 {
			t.Errorf("no log was ever %s", what)
		}
	}
}

// differentialScript makes the script of a seed: operations that no disk
// stands in the way of.
func differentialScript(seed uint64) script.Script {
	r := rand.New(rand.NewPCG(seed, 5))
	weights := script.Calm
	weights[script.Kill] = 2
	return script.Generate(r, 20+r.IntN(60), weights)
}

// contender is one backend in a comparison.
type contender struct {
	name string
	open func(dir string) (engine.EventLog, error) // nil: it keeps nothing on disk
	dir  string
	log  engine.EventLog
}

func contenders(s script.Script, dir string) []*contender {
	sync := engine.SyncPolicy(len(s.Ops) % 2 * int(engine.SyncNever)) // a process dies here, not a machine
	segment := s.Options
	segment.Sync = sync
	segment.WALBytes = 1 << 20 // takes the largest commit of a script
	all := []*contender{
		{name: "memory"},
		{name: "segment", open: func(dir string) (engine.EventLog, error) { return engine.Open(dir, segment) }},
		{name: "file", open: func(dir string) (engine.EventLog, error) { return file.Open(dir, file.Options{Sync: sync}) }},
		{name: "sqlite", open: func(dir string) (engine.EventLog, error) {
			return sqlite.Open(filepath.Join(dir, "log.sqlite"), sqlite.Options{Sync: sync})
		}},
	}
	for _, c := range all {
		c.dir = filepath.Join(dir, c.name)
	}
	return all
}

// agree runs s on all backends.
func agree(dir string, s script.Script, met *[2]counter) (err error) {
	all := contenders(s, dir)
	for _, c := range all {
		if err := c.start(); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		defer func() { err = errors.Join(err, c.log.Close()) }()
	}
	want := model.New()
	topics, consumers := names(s)
	look := func() error {
		for _, c := range all {
			view, err := model.Observe(context.Background(), c.log, topics, consumers)
			if err == nil {
				err = view.Diff(want)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
		}
		return nil
	}
	for i, op := range s.Ops {
		var next *model.Log
		switch op.Kind {
		case script.Check:
			err = look()
		case script.Reopen, script.Kill:
			met[op.Kind-script.Reopen].add(1)
			for _, c := range all {
				if err = c.again(op.Kind == script.Kill); err != nil {
					err = fmt.Errorf("%s: %w", c.name, err)
					break
				}
			}
		default:
			var answer model.Result
			next, answer = want.Apply(op)
			for _, c := range all {
				if err = c.do(op, answer); err != nil {
					err = fmt.Errorf("%s: %w", c.name, err)
					break
				}
			}
			want = next
		}
		if err != nil {
			return fmt.Errorf("operation %d, %s: %w", i, op, err)
		}
	}
	return look()
}

// names are the topics and consumers that a script speaks of.
func names(s script.Script) (topics, consumers []string) {
	for i := range 6 {
		topics = append(topics, fmt.Sprintf("t%d", i))
	}
	return topics, []string{"c0", "c1", "c2"}
}

func (c *contender) start() (err error) {
	if c.open == nil {
		c.log = memory.New(memory.Options{})
		return nil
	}
	c.log, err = c.open(c.dir)
	return err
}

// do hands op to the log, whose answer must be the given one.
func (c *contender) do(op script.Op, want model.Result) error {
	switch op.Kind {
	case script.Async: // the same appends, one after the other
		for i := range op.Events {
			one := script.Op{Kind: script.Append, Topic: op.Topic, Events: op.Events[i : i+1]}
			id := want.First + uint64(i)
			if err := c.do(one, model.Result{First: id, Last: id}); err != nil {
				return err
			}
		}
		return nil
	case script.Flush, script.Checkpoint:
		return c.log.Flush(context.Background())
	}
	got, err := rig.Call(c.log, op)
	switch {
	case errors.Is(err, errors.ErrUnsupported) && op.Kind == script.Commit:
		return c.doParts(op, want)
	case want.Err != nil:
		if !want.Refused(err) {
			return fmt.Errorf("got %+v and error %v, want error %w", got, err, want.Err)
		}
		return nil
	case err != nil:
		return err
	}
	return rig.SameResult(got, want)
}

// doParts does what a commit does, one part after the other, where a backend
// has no atomic commit. What it must refuse is left out.
func (c *contender) doParts(op script.Op, want model.Result) error {
	if want.Err != nil {
		return nil //nolint:nilerr // the model refuses it, so there is nothing to do
	}
	for _, p := range op.Parts {
		if p.Kind == script.Expect {
			continue
		}
		if _, err := rig.Call(c.log, p); err != nil {
			return fmt.Errorf("part %s: %w", p, err)
		}
	}
	return nil
}

// again closes the log and opens it again; or, where its process is killed,
// opens what was on disk at that moment.
func (c *contender) again(killed bool) error {
	if c.open == nil {
		old := c.log.(*memory.Log)
		c.log = old.Clone()
		return old.Close()
	}
	if !killed {
		if err := c.log.Close(); err != nil {
			return err
		}
		return c.start()
	}
	old, left := c.log, c.dir
	c.dir += "+"
	if err := copyStill(c.dir, left); err != nil {
		return err
	}
	if err := c.start(); err != nil {
		c.log = old
		return err
	}
	return errors.Join(old.Close(), os.RemoveAll(left))
}

// copyStill copies the files of a log that nobody writes to just now. Where it
// tidies up meanwhile, what was copied is nothing that was ever there at once,
// and it is copied anew.
func copyStill(to, from string) error {
	for {
		before, err := listing(from)
		if err == nil {
			err = copyTree(to, from)
		}
		after, listErr := listing(from)
		if err == nil && listErr == nil && before == after {
			return nil
		}
		if !errors.Is(errors.Join(err, listErr), fs.ErrNotExist) && before == after {
			return errors.Join(err, listErr)
		}
		if err := os.RemoveAll(to); err != nil {
			return err
		}
	}
}

// listing tells one state of a tree from another.
func listing(dir string) (string, error) {
	var b strings.Builder
	err := filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		fmt.Fprintln(&b, name, info.Size(), info.ModTime().UnixNano())
		return nil
	})
	return b.String(), err
}

// copyTree copies files, but for what only lives as long as the processes that
// share it.
func copyTree(to, from string) error {
	return filepath.WalkDir(from, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || strings.HasSuffix(name, "-shm") {
			return err
		}
		rel, err := filepath.Rel(from, name)
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), b, 0o600)
	})
}
