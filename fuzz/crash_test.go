package fuzz

import (
	"errors"
	"fmt"
	"testing"

	"github.com/seglog/seglog/fuzz/rig"
	"github.com/seglog/seglog/fuzz/script"
	"github.com/seglog/seglog/internal/vfs"
)

// crasher cuts the power at file operations of one workload.
type crasher struct {
	target rig.Target
	workload
	every  int // crash points are this far apart
	deeper int // as are those within recovery; 0: none
	images counter
	deep   counter
	met    sometimes
}

// enumerate crashes at each file operation, leaves each image that the disk's
// rules of survival allow, and checks each of them to its end.
func (c *crasher) enumerate() error {
	n, err := c.operations()
	if err != nil {
		return err
	}
	return parallel((n+c.every-1)/c.every, func(i int) error {
		return c.crashAt(min(n-1, i*c.every+i%max(1, c.every/2)))
	})
}

// operations counts what there is to crash at.
func (c *crasher) operations() (int, error) {
	r := rig.New(c.target, c.Options, 1)
	total, err := runCounting(r, c.Ops, -1)
	if err != nil {
		return 0, fmt.Errorf("without a crash: %w", err)
	}
	return total, nil
}

// runCounting runs ops and counts file operations over all disks of the run (a
// kill or crash in a script makes a new one). The power fails at operation
// crash of the count.
func runCounting(r *rig.Rig, ops []script.Op, crash int) (int, error) {
	past := 0
	disk := r.Disk
	arm := func() {
		if crash >= past {
			r.Disk.CrashAt(crash - past)
		}
	}
	arm()
	for i, op := range append([]script.Op{{Kind: script.Check}}, ops...) {
		err := r.Do(op)
		if err != nil {
			return 0, fmt.Errorf("operation %d, %s: %w", i, op, err)
		}
		if r.Disk != disk {
			past += disk.Ops()
			disk = r.Disk
			arm()
		}
	}
	return past + disk.Ops(), nil
}

func (c *crasher) crashAt(op int) error {
	r := rig.New(c.target, c.Options, 1)
	_, err := runCounting(r, c.Ops, op)
	if err != nil && !errors.Is(err, rig.ErrDead) {
		return fmt.Errorf("crash at file operation %d: %w", op, err)
	}
	for i, v := range vfs.Survivals() {
		if c.every > 1 && (i+op)%6 != 0 {
			continue // a sample takes other variants at each crash point
		}
		if err := c.check(r, v, op, i); err != nil {
			return fmt.Errorf("crash at file operation %d, survival %d (%+v): %w\nlast file operations:\n%s",
				op, i, v, err, tail(r.Disk, 25))
		}
	}
	return nil
}

// check opens one image and runs it to its end; then, where asked, crashes
// again within the opening.
func (c *crasher) check(r *rig.Rig, v vfs.Survival, op, i int) error {
	image := r.Disk.Crash(v)
	fork := r.Fork(image.Clone())
	c.images.add(1)
	before := fork.Disk.Ops()
	if err := fork.Run(nil); err != nil {
		return err
	}
	recovery := fork.Disk.Ops() - before
	c.met.opened(fork.Log)
	settled := r.Fork(nil)
	settled.Settle(fork)
	if err := fork.Finish(); err != nil {
		return err
	}
	if c.deeper == 0 {
		return nil
	}
	all := vfs.Survivals()
	for j := (op + i) % c.deeper; j < recovery; j += c.deeper {
		again := all[(op+i+j)%len(all)]
		if err := c.again(settled, image, j, again); err != nil {
			return fmt.Errorf("then crash at operation %d of recovery, survival %+v: %w", j, again, err)
		}
	}
	return nil
}

// again crashes within recovery: what is opened then must be what an
// undisturbed recovery opened.
func (c *crasher) again(settled *rig.Rig, image *vfs.Sim, at int, v vfs.Survival) error {
	disk := image.Clone()
	disk.CrashAt(disk.Ops() + at)
	second := settled.Fork(disk)
	if err := second.Run(nil); err != nil && !errors.Is(err, rig.ErrDead) {
		return fmt.Errorf("within the crash: %w", err)
	}
	third := settled.Fork(disk.Crash(v))
	c.deep.add(1)
	if c.deep.n()%8 > 0 { // the rest of a life is dear
		if err := third.Run(nil); err != nil {
			return err
		}
		return third.Log.Close()
	}
	return third.Finish()
}

// TestToyLogSurvivesCrashes shows that the house finds nothing where nothing
// is wrong.
func TestToyLogSurvivesCrashes(t *testing.T) {
	skipShort(t)
	for _, w := range workloads() {
		if w.Options.Sync != 0 {
			continue // the toy always syncs
		}
		c := &crasher{target: toy(noFlaw), workload: w, every: stride(100, 5), deeper: 5}
		if err := c.enumerate(); err != nil {
			t.Errorf("workload %s: %v", w.name, err)
		}
		if c.images.n() == 0 || c.deep.n() == 0 {
			t.Errorf("workload %s: %d images, %d of a crash in recovery: want some of both", w.name, c.images.n(), c.deep.n())
		}
	}
}

// TestHouseFindsFlaws shows that it finds something where something is wrong.
func TestHouseFindsFlaws(t *testing.T) {
	skipShort(t)
	for _, f := range toyFlaws {
		t.Run(string(f), func(t *testing.T) {
			for _, w := range workloads() {
				if w.Options.Sync != 0 {
					continue
				}
				c := &crasher{target: toy(f), workload: w, every: 9}
				if err := c.enumerate(); err != nil {
					return
				}
				s := &saboteur{target: toy(f), workload: w, every: 3}
				if err := s.enumerate(); err != nil {
					return
				}
			}
			t.Error("no test finds it")
		})
	}
}
