package fuzz

import (
	"testing"

	"github.com/seglog/seglog/adapter/file"
	"github.com/seglog/seglog/engine"
	"github.com/seglog/seglog/fuzz/rig"
	"github.com/seglog/seglog/internal/env"
)

// fileTarget is the JSONL backend. It always syncs here: where it does not, it
// keeps promises about each topic, and none about topics among each other,
// which the rig would ask for.
func fileTarget() rig.Target {
	return rig.Target{
		Name: "file",
		Open: func(e env.Env, _ engine.Options) (engine.EventLog, error) {
			log, err := file.OpenEnv(e, "log", file.Options{OpenFiles: 2})
			if err != nil {
				return nil, err
			}
			return log, nil
		},
	}
}

// TestFileSurvivesCrashes cuts the power at the file operations of every
// workload that syncs.
func TestFileSurvivesCrashes(t *testing.T) {
	images, deep := 0, 0
	for _, w := range workloads() {
		if w.Options.Sync != engine.SyncAlways {
			continue
		}
		t.Run(w.name, func(t *testing.T) {
			c := &crasher{target: fileTarget(), workload: w, every: fileApart(7, 2), deeper: 11}
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
		})
	}
	t.Logf("%d images checked, %d of them after a crash in recovery as well", images, deep)
}

// fileApart is apart for sweeps that are dense as they are: -scale makes them no
// denser than at least, since taking every case, with every variant, is for -full.
func fileApart(every, least int) int {
	if *full {
		return 1
	}
	return max(least, apart(every))
}

// TestFileSurvivesFaults lets file operations of every workload that syncs fail.
func TestFileSurvivesFaults(t *testing.T) {
	for _, w := range workloads() {
		if w.Options.Sync != engine.SyncAlways {
			continue
		}
		t.Run(w.name, func(t *testing.T) {
			s := &saboteur{target: fileTarget(), workload: w, every: fileApart(5, 3)}
			if err := s.enumerate(); err != nil {
				t.Error(err)
			}
			if s.failed.n() == 0 {
				t.Errorf("%d runs, and no call ever failed", s.runs.n())
			}
		})
	}
}

// TestFileWeathersStorms is the seeded simulation.
func TestFileWeathersStorms(t *testing.T) {
	var total rig.Counts
	if err := simulate(fileTarget(), *from, max(60, *seeds), 80, &total); err != nil {
		t.Fatal(err)
	}
	if total.Failed == 0 || total.Crashes == 0 || total.OpenFailures == 0 || total.Refused == 0 {
		t.Errorf("%+v: want some of everything", total)
	}
	t.Logf("%+v", total)
}
