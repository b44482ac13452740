// Package env is what the engine takes from the world: the file system, time
// and chance. Tests hand it a simulated disk and a seed, and then a run repeats
// exactly.
package env

import (
	"math/rand/v2"
	"time"

	"github.com/seglog/seglog/internal/vfs"
)

// Env is the world of one engine.
type Env struct {
	FS   vfs.FS
	Now  func() time.Time
	Rand func() uint64
	// Inline makes the engine do all its work in the goroutine that asks for
	// it: no background goroutine, no timer. A checkpoint then runs inside the
	// commit that makes it due.
	Inline bool
	// NoGather has the leader of a group not wait for the callers that were
	// woken just before. What waiting costs an open loop is measured against it.
	NoGather bool
}

// OS is the real world over fs.
func OS(fs vfs.FS) Env {
	return Env{FS: fs, Now: time.Now, Rand: rand.Uint64}
}
