package script

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"testing"
)

func TestGeneratedScriptsRoundTripAsText(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 0))
		s := Generate(r, 100, Swarm(r, Stormy))
		got, err := Parse("# a comment\n\n" + s.String())
		if err != nil {
			t.Fatal(err)
		}
		if got.String() != s.String() {
			t.Fatalf("seed %d: got\n%s\nwant\n%s", seed, got, s)
		}
	}
}

func TestGenerateRepeats(t *testing.T) {
	a := Generate(rand.New(rand.NewPCG(7, 0)), 200, Stormy)
	b := Generate(rand.New(rand.NewPCG(7, 0)), 200, Stormy)
	if !reflect.DeepEqual(a, b) {
		t.Error("one seed gave two scripts")
	}
}

func TestStormyMeetsEveryKind(t *testing.T) {
	seen := map[Kind]bool{}
	for _, op := range Generate(rand.New(rand.NewPCG(1, 0)), 2000, Stormy).Ops {
		seen[op.Kind] = true
		for _, p := range op.Parts {
			seen[p.Kind] = true
		}
	}
	for k := range numKinds {
		if !seen[k] {
			t.Errorf("no %s in 2000 operations", k)
		}
	}
}

func TestSeedMakesOneEvent(t *testing.T) {
	for n := range uint64(200) {
		for _, size := range []int{1, 2, 3, 100} {
			a, b := Seed{n, size}.Event(), Seed{n, size}.Event()
			if !reflect.DeepEqual(a, b) {
				t.Fatalf("seed %d:%d made two events", n, size)
			}
			if len(a.Payload) != size || !json.Valid(a.Payload) {
				t.Fatalf("seed %d:%d made payload %q", n, size, a.Payload)
			}
			if err := a.Validate(); err != nil {
				t.Fatal(err)
			}
			if size == 100 && bytes.Equal(a.Payload, Seed{n + 1, size}.Event().Payload) && a.Payload[0] == '"' && a.Payload[1] != 'z' {
				t.Fatalf("seeds %d and %d made one payload", n, n+1)
			}
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, line := range []string{
		"fly", "append", "append a", "append a 1:2 3:4", "append a x:1", "append a 1", "append a 1:-5", "append a 1:2 expect=x",
		"ack a c", "ack a c x", "ack a c 1 2", "compact a", "commit", "commit flush", "commit append a 1:1;", "flush now",
		"crash 1", "fault 1 eio", "clock", "options wal", "options wall=1",
	} {
		if s, err := Parse(line); err == nil {
			t.Errorf("%q was read as %q", line, s)
		}
	}
}

func TestShrinkFindsTheOperationsThatMatter(t *testing.T) {
	s := Generate(rand.New(rand.NewPCG(3, 0)), 300, Calm)
	bad := func(c Script) bool { // an ack behind a checkpoint
		checkpoint := false
		for _, op := range c.Ops {
			checkpoint = checkpoint || op.Kind == Checkpoint
			if checkpoint && op.Kind == Ack {
				return true
			}
		}
		return false
	}
	if !bad(s) {
		t.Fatal("the script does not fail to begin with")
	}
	if got := Shrink(s, 1000, bad); len(got.Ops) != 2 {
		t.Errorf("got %d operations, want 2:\n%s", len(got.Ops), got)
	}
}
