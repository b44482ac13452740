package fuzz

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/seglog/seglog/adapter/memory"
	"github.com/seglog/seglog/engine"
	"github.com/seglog/seglog/fuzz/rig"
	"github.com/seglog/seglog/fuzz/script"
	"github.com/seglog/seglog/internal/env"
)

func memoryTarget() rig.Target {
	return rig.Target{Name: "memory", Volatile: true, Open: func(env.Env, engine.Options) (engine.EventLog, error) {
		return memory.New(memory.Options{}), nil
	}}
}

// storm is the script of one seed of the simulation.
func storm(seed uint64, ops int) script.Script {
	r := rand.New(rand.NewPCG(seed, 2))
	s := script.Generate(r, ops/2+r.IntN(ops), script.Swarm(r, script.Stormy))
	switch r.IntN(6) {
	case 0:
		s.Options.Sync = engine.SyncNever
	case 1:
		s.Options.Sync = engine.SyncInterval
	}
	return s
}

// simulate runs the seeds from first on.
func simulate(target rig.Target, first uint64, n, ops int, total *rig.Counts) error {
	results := make([]rig.Counts, n)
	err := parallel(n, func(i int) error {
		seed := first + uint64(i)
		s := storm(seed, ops)
		r, err := play(target, s, seed)
		results[i] = r.Counts
		if err != nil {
			return fmt.Errorf("seed %d: %s", seed, explain(target, s, seed, err))
		}
		return nil
	})
	for _, c := range results {
		total.Add(c)
	}
	return err
}

// TestMemoryMatchesModel compares the two simplest logs with each other.
func TestMemoryMatchesModel(t *testing.T) {
	var total rig.Counts
	if err := simulate(memoryTarget(), *from, max(100, *seeds), 100, &total); err != nil {
		t.Fatal(err)
	}
	if total.Acked == 0 || total.Refused == 0 {
		t.Errorf("%+v: want some of everything", total)
	}
}

func TestToyLogWeathersStorms(t *testing.T) {
	var total rig.Counts
	if err := simulate(toy(noFlaw), *from, max(100, *seeds), 60, &total); err != nil {
		t.Fatal(err)
	}
	if total.Failed == 0 || total.Crashes == 0 || total.OpenFailures == 0 {
		t.Errorf("%+v: want some of everything", total)
	}
}

// TestFlawIsShrunk shows that a failure is made small, and that its text
// shows it again.
func TestFlawIsShrunk(t *testing.T) {
	target := toy(neverSyncs)
	for seed := range uint64(50) {
		s := storm(seed, 60)
		if _, err := play(target, s, seed); err == nil {
			continue
		}
		fails := func(c script.Script) bool {
			_, err := play(target, c, seed)
			return err != nil
		}
		small := script.Shrink(s, 2000, fails)
		if len(small.Ops) > 3 {
			t.Errorf("seed %d: %d operations are left of %d:\n%s", seed, len(small.Ops), len(s.Ops), small)
		}
		again, err := script.Parse(small.String())
		if err != nil {
			t.Fatal(err)
		}
		if !fails(again) {
			t.Errorf("seed %d: the text of the script does not fail:\n%s", seed, small)
		}
		return
	}
	t.Error("no seed shows a log that never syncs")
}
