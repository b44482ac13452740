package file

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/seglog/seglog/engine"
	"github.com/seglog/seglog/internal/env"
	"github.com/seglog/seglog/internal/vfs"
)

// appendTogether has n callers append to topic in one group. before runs once
// all of them wait.
func appendTogether(t *testing.T, l *Log, topic engine.Topic, n int, before func()) []error {
	t.Helper()
	errs := make([]error, n)
	var wg sync.WaitGroup
	l.writing.Lock()
	for i := range n {
		wg.Go(func() { _, errs[i] = l.Append(t.Context(), topic, numbered(i)) })
	}
	for gathered := 0; gathered < n; runtime.Gosched() {
		l.c.mu.Lock()
		if l.c.group != nil {
			gathered = int(l.c.group.callers.Load())
		}
		l.c.mu.Unlock()
	}
	before()
	l.writing.Unlock()
	wg.Wait()
	return errs
}

func numbered(i int) engine.Event {
	return engine.Event{Kind: "k", Payload: fmt.Appendf(nil, `"%d%s"`, i, strings.Repeat("x", 700)), OccurredAtMS: 1}
}

// TestGroupsSurviveCrashes cuts the power at each operation of a group of
// callers' single appends, behind a group of the same topic and behind one of
// another, and leaves what the disk's rules allow.
func TestGroupsSurviveCrashes(t *testing.T) {
	const callers = 6
	a, b := engine.MustTopic("a"), engine.MustTopic("b")
	survivals := vfs.Survivals()
	for seed := range uint64(5) {
		survivals = append(survivals, vfs.Survival{Mode: vfs.Random, Seed: seed}, vfs.Survival{Mode: vfs.RandomSectors, Seed: seed})
	}
	nothing := func() {}
	for name, prepare := range map[string]func(l *Log){
		"first group":             func(*Log) {},
		"after one of the same":   func(l *Log) { appendTogether(t, l, a, callers, nothing) },
		"after one of another":    func(l *Log) { appendTogether(t, l, b, callers, nothing) },
		"after a lone one":        func(l *Log) { appendTogether(t, l, a, callers, nothing); appendTogether(t, l, b, 1, nothing) },
		"after a compaction":      func(l *Log) { appendTogether(t, l, a, callers, nothing); mustCompact(t, l, a, 2) },
		"after one that had none": func(l *Log) { appendTogether(t, l, a, callers, nothing); fillDisk(t, l, a) },
	} {
		t.Run(name, func(t *testing.T) {
			images := 0
			for at := 0; ; at++ {
				disk := vfs.NewSim(1)
				l, err := openInline(disk)
				if err != nil {
					t.Fatal(err)
				}
				appendTogether(t, l, a, 1, nothing)
				prepare(l)
				before, _, _ := l.Latest(t.Context(), a)
				errs := appendTogether(t, l, a, callers, func() { disk.CrashAt(disk.Ops() + at) })
				if _, err := disk.Stat("."); err == nil && errs[0] == nil {
					break // the crash comes later
				}
				for _, v := range survivals {
					images++
					left := checkImage(t, disk.Crash(v), a, before)
					if left != before+callers && (left != before || errs[0] == nil) {
						t.Fatalf("crash at operation %d, %+v: the latest event is %d; it was %d before a group of %d, which gave %v",
							at, v, left, before, callers, errs[0])
					}
				}
			}
			if images == 0 {
				t.Error("no crash")
			}
		})
	}
}

// checkImage opens what a crash left and returns the latest id.
func checkImage(t *testing.T, image *vfs.Sim, topic engine.Topic, least engine.EventID) engine.EventID {
	t.Helper()
	l, err := openInline(image)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var last engine.EventID
	for r, err := range l.Read(t.Context(), topic, engine.ReadOptions{}) {
		if err != nil {
			t.Fatalf("after %d: %v\n%s", last, err, strings.Join(image.Log(), "\n"))
		}
		last = r.ID
	}
	if last < least {
		t.Fatalf("event %d is the last one that is left, want %d at least", last, least)
	}
	if id, err := l.Append(t.Context(), topic, numbered(0)); err != nil || id != last+1 {
		t.Fatalf("append gave id %d, %v, want %d", id, err, last+1)
	}
	return last
}

func openInline(disk *vfs.Sim) (*Log, error) {
	world := env.OS(disk)
	world.Inline = true
	return OpenEnv(world, "sim", Options{})
}

func mustCompact(t *testing.T, l *Log, topic engine.Topic, before engine.EventID) {
	t.Helper()
	if _, err := l.Compact(t.Context(), topic, before); err != nil {
		t.Fatal(err)
	}
}

// fillDisk has an append fail for want of space.
func fillDisk(t *testing.T, l *Log, topic engine.Topic) {
	t.Helper()
	disk := l.fs.(*vfs.Sim)
	disk.SetCapacity(1)
	if _, err := l.Append(t.Context(), topic, numbered(0)); err == nil {
		t.Fatal("an append on a full disk succeeded")
	}
	disk.SetCapacity(0)
}
