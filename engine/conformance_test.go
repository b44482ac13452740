package engine_test

import (
	"testing"

	"github.com/seglog/seglog/adapter/adaptertest"
	"github.com/seglog/seglog/engine"
	"github.com/seglog/seglog/internal/env"
	"github.com/seglog/seglog/internal/vfs"
)

func onDisk(tune engine.Options) adaptertest.Config {
	where := map[engine.EventLog]string{}
	open := func(t *testing.T, dir string, o engine.Options) engine.EventLog {
		t.Helper()
		log, err := engine.Open(dir, o)
		if err != nil {
			t.Fatal(err)
		}
		where[log] = dir
		return log
	}
	return adaptertest.Config{
		Open: func(t *testing.T) engine.EventLog { return open(t, t.TempDir(), tune) },
		Reopen: func(t *testing.T, log engine.EventLog) engine.EventLog {
			if err := log.Close(); err != nil {
				t.Fatal(err)
			}
			return open(t, where[log], tune)
		},
		Beside: func(_ *testing.T, log engine.EventLog, readOnly bool) (engine.EventLog, error) {
			o := tune
			o.ReadOnly = readOnly
			again, err := engine.Open(where[log], o)
			if err != nil {
				return nil, err // not a nil *Engine in an interface that is not nil
			}
			return again, nil
		},
		OpenLimits: func(t *testing.T, event, commit int) engine.EventLog {
			o := tune
			o.MaxEventBytes, o.MaxCommitBytes = event, commit
			return open(t, t.TempDir(), o)
		},
	}
}

func TestConformance(t *testing.T) {
	adaptertest.RunWith(t, onDisk(engine.Options{}))
}

// TestConformanceTiny forces rotation, checkpoints and recycling all the time.
func TestConformanceTiny(t *testing.T) {
	adaptertest.RunWith(t, onDisk(engine.Options{WALBytes: 512 << 10, SegmentBytes: 16 << 10, BlockBytes: 256, TailBytes: 16 << 10}))
}

func TestConformanceNeverSynced(t *testing.T) {
	adaptertest.RunWith(t, onDisk(engine.Options{Sync: engine.SyncNever}))
}

// TestConformanceInline runs on the simulated disk, without a goroutine of the
// engine's own.
func TestConformanceInline(t *testing.T) {
	sims := map[engine.EventLog]*vfs.Sim{}
	open := func(t *testing.T, sim *vfs.Sim, o engine.Options) engine.EventLog {
		t.Helper()
		world := env.OS(sim)
		world.Inline = true
		log, err := engine.OpenEnv(world, "sim", o)
		if err != nil {
			t.Fatal(err)
		}
		sims[log] = sim
		return log
	}
	tune := engine.Options{WALBytes: 4 << 20, BlockBytes: 1 << 10}
	adaptertest.RunWith(t, adaptertest.Config{
		Open: func(t *testing.T) engine.EventLog { return open(t, vfs.NewSim(1), tune) },
		Reopen: func(t *testing.T, log engine.EventLog) engine.EventLog {
			if err := log.Close(); err != nil {
				t.Fatal(err)
			}
			return open(t, sims[log], tune)
		},
	})
}
