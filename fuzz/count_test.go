package fuzz

import (
	"path"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/seglog/seglog/engine"
	"github.com/seglog/seglog/internal/vfs"
)

// counter counts from many goroutines.
type counter struct{ v atomic.Int64 }

func (c *counter) add(n int) { c.v.Add(int64(n)) }
func (c *counter) n() int    { return int(c.v.Load()) }

// sometimes counts what a test must have met to be worth anything. A count of
// zero fails it: the test is dead, whatever else it says.
type sometimes struct {
	torn, replayed, clean                       counter // by openings
	recycled, rotated, carried, removed, synced counter // by the files of a run
	settled                                     counter // the same
}

// opened counts what an opening found.
func (s *sometimes) opened(log engine.EventLog) {
	e, ok := log.(*engine.Engine)
	if !ok {
		return
	}
	report := e.OpenReport()
	if report.TornBytes > 0 {
		s.torn.add(1)
	}
	if report.Events > 0 {
		s.replayed.add(1)
	}
	if report.Clean {
		s.clean.add(1)
	}
}

// ran counts what the operations of a disk tell.
func (s *sometimes) ran(disk *vfs.Sim) {
	firstPages := map[string]int{} // writes of a log file's first page: zeros, then one for each use
	segments := map[string]bool{}  // topics that have a segment
	for _, line := range disk.Log() {
		words := strings.Fields(line)
		if len(words) < 3 {
			continue
		}
		kind, name := words[1], words[2]
		base := path.Base(name)
		topic, _, _ := strings.Cut(base, "-")
		switch {
		case kind == "write" && strings.HasPrefix(base, "wal-") && len(words) > 3 && words[3] == "at=0":
			if firstPages[base]++; firstPages[base] > 2 {
				s.recycled.add(1)
			}
		case kind == "create" && strings.HasSuffix(base, ".seg"):
			if segments[topic] {
				s.rotated.add(1)
			}
			segments[topic] = true
		case kind == "create" && strings.HasPrefix(base, "carry-"):
			s.carried.add(1)
		case kind == "remove" && strings.HasSuffix(base, ".seg"):
			s.removed.add(1)
		case kind == "openuncached":
			s.settled.add(1)
		case strings.HasPrefix(kind, "sync"):
			s.synced.add(1)
		}
	}
}

// add sums up.
func (s *sometimes) add(o *sometimes) {
	for i, c := range s.all() {
		c.add(o.all()[i].n())
	}
}

func (s *sometimes) all() []*counter {
	return []*counter{&s.torn, &s.replayed, &s.clean, &s.recycled, &s.rotated, &s.carried, &s.removed, &s.synced, &s.settled}
}

var sometimesNames = []string{
	"a torn write was found", "commits were replayed", "a clean log was opened", "a log file was used again", "a second segment was begun",
	"a carry file was made", "a segment was removed", "a file was synced", "a log was read from the disk itself",
}

// check fails the test for what was never met.
func (s *sometimes) check(t *testing.T) {
	t.Helper()
	for i, c := range s.all() {
		t.Logf("%s: %d times", sometimesNames[i], c.n())
		if c.n() == 0 {
			t.Errorf("never: %s", sometimesNames[i])
		}
	}
}
