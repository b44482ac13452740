package fuzz

import (
	"errors"
	"fmt"
	"testing"

	"github.com/seglog/seglog/fuzz/rig"
	"github.com/seglog/seglog/fuzz/script"
	"github.com/seglog/seglog/internal/vfs"
)

// saboteur lets file operations of one workload fail.
type saboteur struct {
	target rig.Target
	workload
	every  int // fault points
	runs   counter
	failed counter // calls that reported a fault
}

// enumerate lets each file operation fail with each error, once and for ever.
func (s *saboteur) enumerate() error {
	c := crasher{target: s.target, workload: s.workload}
	n, err := c.operations()
	if err != nil {
		return err
	}
	points := (n + s.every - 1) / s.every
	return parallel(points, func(i int) error {
		at := i * s.every
		for j, name := range script.Errors {
			for k, count := range []int{1, -1} {
				if s.every > 1 && (i+j*2+k)%3 != 0 {
					continue // a sample takes other errors at each point
				}
				if err := s.fail(at, name, count); err != nil {
					return fmt.Errorf("%s at file operation %d, count %d: %w", name, at, count, err)
				}
			}
		}
		return nil
	})
}

// fail runs the workload with one fault. Whatever the log makes of it, a
// loss of power right then keeps its promises, and so does going on.
func (s *saboteur) fail(at int, name string, count int) error {
	r := rig.New(s.target, s.Options, 1)
	s.runs.add(1)
	err := r.Do(script.Op{Kind: script.Fault, N: int64(at), Error: name, Count: count})
	if err != nil {
		return err
	}
	if err := r.Run(s.Ops); err != nil && !errors.Is(err, rig.ErrDead) {
		return fmt.Errorf("%w\nlast file operations:\n%s", err, tail(r.Disk, 25))
	}
	s.failed.add(r.Counts.Failed)
	all := vfs.Survivals()
	v := all[at%len(all)]
	if err := r.Fork(r.Disk.Crash(v)).Finish(); err != nil {
		return fmt.Errorf("then a loss of power, survival %+v: %w\nlast file operations:\n%s", v, err, tail(r.Disk, 25))
	}
	if err := r.Finish(); err != nil {
		return fmt.Errorf("then healed: %w\nlast file operations:\n%s", err, tail(r.Disk, 25))
	}
	return nil
}

func TestToyLogSurvivesFaults(t *testing.T) {
	skipShort(t)
	for _, w := range workloads() {
		if w.Options.Sync != 0 {
			continue
		}
		s := &saboteur{target: toy(noFlaw), workload: w, every: stride(100, 9)}
		if err := s.enumerate(); err != nil {
			t.Errorf("workload %s: %v", w.name, err)
		}
		if s.failed.n() == 0 {
			t.Errorf("workload %s: %d runs, and no call ever failed", w.name, s.runs.n())
		}
	}
}
