package fuzz

import (
	"errors"
	"fmt"
	"testing"

	"github.com/seglog/seglog/engine"
	"github.com/seglog/seglog/fuzz/rig"
	"github.com/seglog/seglog/internal/env"
	"github.com/seglog/seglog/internal/vfs"
)

// engineTarget is the log that all this is about.
func engineTarget() rig.Target {
	return rig.Target{
		Name: "engine",
		Open: func(e env.Env, o engine.Options) (engine.EventLog, error) {
			log, err := engine.OpenEnv(e, "log", o)
			if err != nil {
				return nil, err
			}
			return log, nil
		},
		Verify: func(log engine.EventLog) error {
			var found error
			err := log.(*engine.Engine).Verify(func(c *engine.CorruptError) { found = errors.Join(found, c) }, nil)
			return errors.Join(found, err)
		},
	}
}

func knownDamage(log engine.EventLog) int {
	return len(log.(*engine.Engine).OpenReport().Damage)
}

// TestEngineSurvivesCrashes cuts the power at the file operations of every
// workload.
func TestEngineSurvivesCrashes(t *testing.T) {
	images, deep := 0, 0
	var met sometimes
	for _, w := range workloads() {
		t.Run(w.name, func(t *testing.T) {
			c := &crasher{target: engineTarget(), workload: w, every: apart(23), deeper: 41}
			if *depth2 {
				c.deeper = 1
			}
			if err := c.enumerate(); err != nil {
				t.Error(err)
			}
			if c.images.n() == 0 || c.deep.n() == 0 {
				t.Errorf("%d images, %d of a crash in recovery: want some of both", c.images.n(), c.deep.n())
			}
			images += c.images.n()
			deep += c.deep.n()
			r := rig.New(c.target, w.Options, 1)
			if err := r.Run(w.Ops); err != nil {
				t.Error(err)
			}
			c.met.ran(r.Disk)
			met.add(&c.met)
		})
	}
	t.Logf("%d images checked, %d of them after a crash in recovery as well", images, deep)
	met.check(t)
}

// cached is a disk that can only be read through the page cache.
type cached struct{ vfs.FS }

func (cached) OpenUncached(string) (vfs.File, error) { return nil, errors.ErrUnsupported }

// TestEngineSurvivesWithoutUncachedReads is a sample of the tests around it, on
// such a disk.
func TestEngineSurvivesWithoutUncachedReads(t *testing.T) {
	target := engineTarget()
	open := target.Open
	target.Open = func(e env.Env, o engine.Options) (engine.EventLog, error) {
		e.FS = cached{e.FS}
		return open(e, o)
	}
	for _, w := range workloads() {
		t.Run(w.name, func(t *testing.T) {
			c := &crasher{target: target, workload: w, every: apart(139), deeper: 89}
			s := &saboteur{target: target, workload: w, every: apart(101)}
			if err := errors.Join(c.enumerate(), s.enumerate()); err != nil {
				t.Error(err)
			}
			if c.images.n() == 0 || s.runs.n() == 0 {
				t.Errorf("%d images and %d runs: want some of both", c.images.n(), s.runs.n())
			}
		})
	}
}

// TestEngineSurvivesFaults lets file operations of every workload fail.
func TestEngineSurvivesFaults(t *testing.T) {
	runs, failed := 0, 0
	for _, w := range workloads() {
		t.Run(w.name, func(t *testing.T) {
			s := &saboteur{target: engineTarget(), workload: w, every: apart(13)}
			if err := s.enumerate(); err != nil {
				t.Error(err)
			}
			if s.failed.n() == 0 {
				t.Errorf("%d runs, and no call ever failed", s.runs.n())
			}
			runs += s.runs.n()
			failed += s.failed.n()
		})
	}
	t.Logf("%d runs, %d calls that reported a fault", runs, failed)
}

// TestEngineWeathersStorms is the seeded simulation.
func TestEngineWeathersStorms(t *testing.T) {
	if *replay != "" {
		s := readScript(t, *replay)
		if _, err := play(engineTarget(), s, *from); err != nil {
			t.Fatal(err)
		}
		return
	}
	n := 200
	if *seeds > 0 {
		n = *seeds
	}
	var total rig.Counts
	if err := simulate(engineTarget(), *from, n, 80, &total); err != nil {
		t.Fatal(err)
	}
	if total.Failed == 0 || total.Crashes == 0 || total.OpenFailures == 0 || total.Refused == 0 {
		t.Errorf("%+v: want some of everything", total)
	}
	t.Logf("%+v", total)
}

// TestOptionsChangeNoResult runs one script under options that have nothing in
// common.
func TestOptionsChangeNoResult(t *testing.T) {
	for seed := range uint64(20) {
		s := generated(seed, 80)
		for i, o := range []engine.Options{
			tiny, {}, {WALBytes: 1 << 20, SegmentBytes: 32 << 10, BlockBytes: 4 << 10, Compression: engine.CompressionZstd},
		} {
			s.Options = o
			if _, err := play(engineTarget(), s, seed); err != nil {
				t.Fatalf("seed %d, options %d: %s", seed, i, explain(engineTarget(), s, seed, err))
			}
		}
	}
}

// TestDamageIsReported damages a log that was closed, and one that was killed.
func TestDamageIsReported(t *testing.T) {
	every := apart(997)
	for _, v := range []struct {
		closed bool
		sync   engine.SyncPolicy
	}{{true, engine.SyncAlways}, {false, engine.SyncAlways}, {true, engine.SyncNever}, {false, engine.SyncNever}} {
		t.Run(fmt.Sprintf("closed=%v,sync=%d", v.closed, v.sync), func(t *testing.T) {
			p, err := newPatient(engineTarget(), v.closed, v.sync)
			if err != nil {
				t.Fatal(err)
			}
			counts, err := p.sweep(every)
			if err != nil {
				t.Error(err)
			}
			t.Logf("harmless %d, refused %d, reported by reads %d, last commit lost %d, not even read-only %d",
				counts[harmless].n(), counts[refused].n(), counts[reported].n(), counts[lastLost].n(), counts[unopened].n())
			if counts[slightlyUnopened].n() > 0 {
				t.Errorf("%d flipped bits each keep the log from being opened at all", counts[slightlyUnopened].n())
			}
			if counts[refused].n() == 0 || counts[reported].n() == 0 {
				t.Error("want some damage that opening refuses, and some that reads report")
			}
		})
	}
}
