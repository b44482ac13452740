package fuzz

import (
	"testing"

	"github.com/seglog/seglog/adapter/file"
	"github.com/seglog/seglog/engine"
	"github.com/seglog/seglog/fuzz/rig"
	"github.com/seglog/seglog/internal/env"
)

// fileTarget is the JSONL backend. It keeps each topic's promises, and none
// about topics among each other where it does not sync: so it is tested with
// syncs here.
func fileTarget() rig.Target {
	return rig.Target{
		Name: "file",
		Open: func(e env.Env, o engine.Options) (engine.EventLog, error) {
			log, err := file.OpenEnv(e, "log", file.Options{Sync: o.Sync, OpenFiles: 2})
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
			c := &crasher{target: fileTarget(), workload: w, every: apart(7), deeper: 11}
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

// TestFileSurvivesFaults lets file operations of every workload that syncs fail.
func TestFileSurvivesFaults(t *testing.T) {
	for _, w := range workloads() {
		if w.Options.Sync != engine.SyncAlways {
			continue
		}
		t.Run(w.name, func(t *testing.T) {
			s := &saboteur{target: fileTarget(), workload: w, every: apart(5)}
			if err := s.enumerate(); err != nil {
				t.Error(err)
			}
			if s.failed.n() == 0 {
				t.Errorf("%d runs, and no call ever failed", s.runs.n())
			}
		})
	}
}
