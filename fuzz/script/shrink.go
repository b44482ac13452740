package script

// Shrink returns a smaller script that still fails: fewer operations, then
// fewer and smaller events. It calls fails at most budget times; fails must
// give the same answer for the same script.
func Shrink(s Script, budget int, fails func(Script) bool) Script {
	z := &shrinker{best: s, budget: budget, fails: fails}
	for z.pass() && z.budget > 0 {
	}
	return z.best
}

type shrinker struct {
	best   Script
	budget int
	fails  func(Script) bool
}

// try keeps ops as the best script where it still fails.
func (z *shrinker) try(ops []Op) bool {
	if z.budget <= 0 {
		return false
	}
	z.budget--
	candidate := Script{Options: z.best.Options, Ops: ops}
	if !z.fails(candidate) {
		return false
	}
	z.best = candidate
	return true
}

// pass goes over the script once and reports whether that helped.
func (z *shrinker) pass() bool {
	helped := false
	for size := max(1, len(z.best.Ops)/2); size > 0; size /= 2 {
		for i := 0; i < len(z.best.Ops); {
			if z.try(without(z.best.Ops, i, size)) {
				helped = true
				continue // what follows has moved to i
			}
			i += size
		}
	}
	for i := 0; i < len(z.best.Ops); i++ {
		for _, op := range simpler(z.best.Ops[i]) {
			if z.try(with(z.best.Ops, i, op)) {
				helped = true
				break
			}
		}
	}
	return helped
}

func without(ops []Op, i, n int) []Op {
	out := append([]Op(nil), ops[:i]...)
	return append(out, ops[min(i+n, len(ops)):]...)
}

func with(ops []Op, i int, op Op) []Op {
	out := append([]Op(nil), ops...)
	out[i] = op
	return out
}

// simpler returns operations that might show the same failure as o.
func simpler(o Op) []Op {
	var out []Op
	switch o.Kind {
	case Commit:
		for i := range o.Parts {
			if len(o.Parts) > 1 {
				p := o
				p.Parts = without(o.Parts, i, 1)
				out = append(out, p)
			}
		}
	case Batch, Async:
		for i := range o.Events {
			p := o
			p.Events = append(append([]Seed(nil), o.Events[:i]...), o.Events[i+1:]...)
			out = append(out, p)
		}
	}
	for i, e := range o.Events {
		if e.Size > 10 {
			p := o
			p.Events = append([]Seed(nil), o.Events...)
			p.Events[i].Size /= 2
			out = append(out, p)
		}
	}
	if o.Expect != nil {
		p := o
		p.Expect = nil
		out = append(out, p)
	}
	return out
}
