package sqlite

import (
	"path/filepath"
	"testing"

	"github.com/seglog/seglog/adapter/adaptertest"
	"github.com/seglog/seglog/engine"
)

func onDisk(opts Options) adaptertest.Config {
	where := map[engine.EventLog]string{}
	open := func(t *testing.T, path string, o Options) engine.EventLog {
		t.Helper()
		log, err := Open(path, o)
		if err != nil {
			t.Fatal(err)
		}
		where[log] = path
		return log
	}
	return adaptertest.Config{
		Open: func(t *testing.T) engine.EventLog {
			return open(t, filepath.Join(t.TempDir(), "events.sqlite"), opts)
		},
		Reopen: func(t *testing.T, log engine.EventLog) engine.EventLog {
			if err := log.Close(); err != nil {
				t.Fatal(err)
			}
			return open(t, where[log], opts)
		},
		OpenLimits: func(t *testing.T, event, commit int) engine.EventLog {
			o := opts
			o.MaxEventBytes, o.MaxCommitBytes = event, commit
			return open(t, filepath.Join(t.TempDir(), "events.sqlite"), o)
		},
	}
}

func TestConformance(t *testing.T) {
	adaptertest.RunWith(t, onDisk(Options{}))
}

func TestConformanceNeverSynced(t *testing.T) {
	adaptertest.RunWith(t, onDisk(Options{Sync: engine.SyncNever}))
}
