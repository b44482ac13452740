package file_test

import (
	"testing"

	"github.com/seglog/seglog/adapter/adaptertest"
	"github.com/seglog/seglog/adapter/file"
	"github.com/seglog/seglog/engine"
	"github.com/seglog/seglog/internal/env"
	"github.com/seglog/seglog/internal/vfs"
)

// conformance runs the suite on disks that newDisk makes; open opens the log of
// one, again after it was closed.
func conformance[Disk any](t *testing.T, tune file.Options, newDisk func(t *testing.T) Disk, open func(Disk, file.Options) (*file.Log, error)) {
	t.Helper()
	where := map[engine.EventLog]Disk{}
	openOn := func(t *testing.T, disk Disk, o file.Options) engine.EventLog {
		t.Helper()
		log, err := open(disk, o)
		if err != nil {
			t.Fatal(err)
		}
		where[log] = disk
		return log
	}
	adaptertest.RunWith(t, adaptertest.Config{
		Open: func(t *testing.T) engine.EventLog { return openOn(t, newDisk(t), tune) },
		Reopen: func(t *testing.T, log engine.EventLog) engine.EventLog {
			if err := log.Close(); err != nil {
				t.Fatal(err)
			}
			return openOn(t, where[log], tune)
		},
		OpenLimits: func(t *testing.T, event, commit int) engine.EventLog {
			o := tune
			o.MaxEventBytes, o.MaxCommitBytes = event, commit
			return openOn(t, newDisk(t), o)
		},
		Reformats: true,
	})
}

func TestConformance(t *testing.T) {
	for name, tune := range map[string]file.Options{
		"synced":         {},
		"few open files": {OpenFiles: 1, QueueDepth: 1},
		"never synced":   {Sync: engine.SyncNever},
		"synced later":   {Sync: engine.SyncInterval},
	} {
		t.Run(name, func(t *testing.T) {
			conformance(t, tune, func(t *testing.T) string { return t.TempDir() }, file.Open)
		})
	}
}

// TestConformanceInline runs on the simulated disk.
func TestConformanceInline(t *testing.T) {
	conformance(t, file.Options{}, func(*testing.T) *vfs.Sim { return vfs.NewSim(1) }, openSim)
}

func openSim(disk *vfs.Sim, o file.Options) (*file.Log, error) {
	world := env.OS(disk)
	world.Inline = true
	return file.OpenEnv(world, "sim", o)
}
