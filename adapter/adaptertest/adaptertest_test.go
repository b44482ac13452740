package adaptertest

import (
	"testing"

	"github.com/seglog/seglog/adapter/memory"
	"github.com/seglog/seglog/engine"
)

func TestMemoryConforms(t *testing.T) {
	RunWith(t, Config{
		Open: func(*testing.T) engine.EventLog { return memory.New(memory.Options{}) },
		Reopen: func(t *testing.T, log engine.EventLog) engine.EventLog {
			if err := log.Close(); err != nil {
				t.Fatal(err)
			}
			return log.(*memory.Log).Clone()
		},
		OpenLimits: func(_ *testing.T, maxEventBytes, maxCommitBytes int) engine.EventLog {
			return memory.New(memory.Options{MaxEventBytes: maxEventBytes, MaxCommitBytes: maxCommitBytes})
		},
	})
}
