package adaptertest

import (
	"testing"

	"github.com/seglog/seglog/adapter/memory"
	"github.com/seglog/seglog/engine"
)

func TestMemoryConforms(t *testing.T) {
	Run(t, func(*testing.T) engine.EventLog { return memory.New(memory.Options{}) })
}
