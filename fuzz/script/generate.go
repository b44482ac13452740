package script

import (
	"fmt"
	"math/rand/v2"

	"github.com/seglog/seglog/engine"
)

// Weights say how often each kind of operation comes, relative to one another.
type Weights [numKinds]int

// Calm are weights of operations on the log alone: nothing fails.
var Calm = Weights{
	Append: 30, Batch: 10, Async: 4, Commit: 10, Ack: 12, DeleteCursor: 2, Compact: 5, Restore: 2, Flush: 2, Checkpoint: 3,
	Check: 4, Reopen: 2,
}

// Stormy adds what can happen to a process and its disk.
var Stormy = func() Weights {
	w := Calm
	w[Kill], w[Crash], w[CrashAfter], w[Fault], w[Heal], w[Clock] = 2, 3, 4, 3, 2, 1
	return w
}()

// Errors that a generated fault may name.
var Errors = []string{"eio", "enospc", "emfile", "eacces", "short"}

// Swarm takes each kind out of w with an even chance, all but Append: a run
// in which half of the operations never happen reaches states that a run of
// everything at once hardly does.
func Swarm(r *rand.Rand, w Weights) Weights {
	for k := range w {
		if Kind(k) != Append && r.IntN(2) == 0 {
			w[k] = 0
		}
	}
	if w[Fault] > 0 {
		w[Heal] = max(w[Heal], 1) // else the first lasting fault is the end of the story
	}
	return w
}

// Generate returns a script of n operations.
func Generate(r *rand.Rand, n int, w Weights) Script {
	g := generator{r: r, latest: map[string]uint64{}}
	s := Script{Options: g.options()}
	for i := range 1 + r.IntN(6) {
		g.topics = append(g.topics, fmt.Sprintf("t%d", i))
	}
	total := 0
	for _, weight := range w {
		total += weight
	}
	for range n {
		s.Ops = append(s.Ops, g.op(pick(r, w, total)))
	}
	return s
}

func pick(r *rand.Rand, w Weights, total int) Kind {
	x := r.IntN(total)
	for k, weight := range w {
		if x -= weight; x < 0 {
			return Kind(k)
		}
	}
	return Append
}

type generator struct {
	r      *rand.Rand
	topics []string
	latest map[string]uint64 // a guess: it does not see what fails or is lost
}

func (g *generator) options() engine.Options {
	return engine.Options{
		WALBytes:     64 << 10 << g.r.IntN(3),
		SegmentBytes: 16 << 10 << g.r.IntN(2),
		BlockBytes:   256 << g.r.IntN(4),
		TailBytes:    16 << 10 << g.r.IntN(6),
		Compression:  engine.Compression(g.r.IntN(3)),
	}
}

func (g *generator) op(k Kind) Op {
	o := Op{Kind: k}
	switch k {
	case Append:
		return g.appendOp(1)
	case Batch:
		o = g.appendOp(g.r.IntN(12))
		o.Kind = Batch
	case Async:
		o = g.appendOp(1 + g.r.IntN(8))
		o.Kind, o.Expect = Async, nil
	case Commit:
		for range 1 + g.r.IntN(4) {
			o.Parts = append(o.Parts, g.part())
		}
	case Ack, DeleteCursor:
		o = g.ackOp()
		o.Kind = k
	case Compact:
		o.Topic = g.topic()
		o.ID = g.near(g.latest[o.Topic])
	case Restore:
		o.Topic = g.topic()
		if o.ID = uint64(g.r.IntN(50)); g.latest[o.Topic] == 0 {
			g.latest[o.Topic] = o.ID
		}
	case Crash, CrashAfter:
		o.Variant, o.Seed, o.N = g.r.IntN(64), uint64(g.r.IntN(1000)), int64(g.r.IntN(60))
	case Fault:
		o.N, o.Error, o.Count = int64(g.r.IntN(40)), Errors[g.r.IntN(len(Errors))], 1
		if g.r.IntN(4) == 0 {
			o.Count = -1
		}
	case Clock:
		const tenYears = 10 * 365 * 24 * 3600 * 1000
		o.N = g.r.Int64N(2*tenYears) - tenYears
	}
	return o
}

func (g *generator) part() Op {
	switch g.r.IntN(4) {
	case 0:
		o := g.ackOp()
		o.Kind = Ack
		return o
	case 1:
		t := g.topic()
		if g.r.IntN(8) > 0 {
			return Op{Kind: Expect, Topic: t, ID: g.latest[t]}
		}
		return Op{Kind: Expect, Topic: t, ID: g.near(g.latest[t])}
	}
	o := g.appendOp(1)
	o.Expect = nil
	return o
}

func (g *generator) appendOp(n int) Op {
	o := Op{Kind: Append, Topic: g.topic()}
	for range n {
		o.Events = append(o.Events, Seed{uint64(g.r.IntN(1 << 20)), g.size()})
	}
	if g.r.IntN(12) == 0 {
		id := g.near(g.latest[o.Topic])
		o.Expect = &id
	}
	g.latest[o.Topic] += uint64(n)
	return o
}

func (g *generator) ackOp() Op {
	t := g.topic()
	return Op{Topic: t, Consumer: fmt.Sprintf("c%d", g.r.IntN(3)), ID: g.near(g.latest[t])}
}

func (g *generator) topic() string { return g.topics[g.r.IntN(len(g.topics))] }

// near returns an id that is most often in the topic, and sometimes an edge.
func (g *generator) near(latest uint64) uint64 {
	switch g.r.IntN(8) {
	case 0:
		return 0
	case 1:
		return latest
	case 2:
		return latest + 1
	case 3:
		return ^uint64(0) >> g.r.IntN(3)
	}
	return g.r.Uint64N(latest + 1)
}

func (g *generator) size() int {
	switch g.r.IntN(20) {
	case 0:
		return 1
	case 1:
		return 3000 + g.r.IntN(3000) // around a page of the log
	case 2:
		return 8000 + g.r.IntN(12000) // larger than a block
	}
	return 1 + g.r.IntN(300)
}
