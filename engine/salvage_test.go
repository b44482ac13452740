package engine_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/seglog/seglog/engine"
	"github.com/seglog/seglog/internal/env"
	"github.com/seglog/seglog/internal/vfs"
)

// damagedWAL is the disk of a killed process whose WAL has one frame of each
// kind, with the frames' offsets in it.
func damagedWAL(t *testing.T) (disk *vfs.Sim, wal string, frames []string) {
	t.Helper()
	sim := vfs.NewSim(1)
	l := openSim(t, sim, engine.Options{})
	step := func(name string, fn func()) { fn(); frames = append(frames, name) }
	step("create a, event 1", func() { l.fill("a", 1, 1) })
	step("a, event 2", func() { l.fill("a", 2, 2) })
	step("ack a 2", func() {
		if err := l.Ack(t.Context(), engine.MustTopic("a"), engine.MustConsumerID("c"), 2); err != nil {
			t.Fatal(err)
		}
	})
	step("create b, begin 100", func() {
		if err := l.RestoreTopic(t.Context(), engine.MustTopic("b"), 100); err != nil {
			t.Fatal(err)
		}
	})
	step("b, event 101", func() {
		if id, err := l.Append(t.Context(), engine.MustTopic("b"), mustEvent(t, "k", 1)); id != 101 || err != nil {
			t.Fatal(id, err)
		}
	})
	step("ack b 101", func() {
		if err := l.Ack(t.Context(), engine.MustTopic("b"), engine.MustConsumerID("c"), 101); err != nil {
			t.Fatal(err)
		}
	})
	step("create c, event 1", func() { l.fill("c", 1, 1) })
	for name := range sim.Files() {
		if strings.HasPrefix(name, "wal-") {
			wal = name
		}
	}
	return sim.Kill(), wal, frames
}

// A damaged log opens read-only for what verifies, whichever frame it is that
// does not.
func TestReadOnlyOpensWhicheverFrameIsDamaged(t *testing.T) {
	disk, wal, frames := damagedWAL(t)
	const page = 4096
	for i, name := range frames[:len(frames)-1] { // the last one cannot be told from a torn write
		t.Run(fmt.Sprint(i, " ", name), func(t *testing.T) {
			d := disk.Clone()
			d.Corrupt(wal, int64(page*(1+i)+100), 0x55)
			e, err := engine.OpenEnv(env.Env{FS: d, Now: time.Now, Rand: rand.Uint64, Inline: true}, "sim", engine.Options{ReadOnly: true})
			if err != nil {
				t.Fatalf("read-only: %v", err)
			}
			defer e.Close()
			damage := e.OpenReport().Damage
			if len(damage) == 0 || damage[0].File == "" {
				t.Fatalf("damage is %v, want it reported", damage)
			}
			n, lost := 0, 0
			for _, topic := range []string{"a", "b", "c"} {
				for _, err := range e.Read(t.Context(), engine.MustTopic(topic), engine.ReadOptions{}) {
					if err != nil {
						lost++
						break
					}
					n++
				}
			}
			if n+lost < 2 || n == 0 {
				t.Errorf("%d events are read, %d topics report a loss, want most of them", n, lost)
			}
		})
	}
}
