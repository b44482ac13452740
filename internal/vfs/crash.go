package vfs

import (
	"maps"
	"math/rand/v2"
	"slices"
)

// Survival says what of the un-synced effects is there after a power cut.
type Survival struct {
	Seed   uint64
	Mode   Mode
	Sector int // bytes that survive or are lost together; 0: 512
	Pick   int // see the modes
}

// Mode is a rule of survival. Effects are the writes, truncations and changes
// of entries that were not synced, in the order they were made in.
type Mode int

const (
	// DropAll leaves what was synced and nothing else.
	DropAll Mode = iota
	// KeepAll leaves everything, as if it had been synced.
	KeepAll
	// OnlyOne leaves effect number Pick alone; a negative one counts from the
	// end, and a large one goes round.
	OnlyOne
	// AllButOne loses effect number Pick alone.
	AllButOne
	// Ordered leaves the first Pick effects, or as many as the seed says.
	Ordered
	// ReverseOrder loses the first Pick effects, or as many as the seed says,
	// and leaves the later ones.
	ReverseOrder
	// Random throws a coin for each sector and each change of an entry, and
	// dice for each size and for what a file grew by. With a sector of 1 each
	// file is cut off at some byte of some write.
	Random
	// RandomSectors leaves all sizes and entries and throws a coin for each
	// sector; lost ones hold what they held, or zeros.
	RandomSectors
	// SizeOnly leaves sizes and entries but no data: what a file grew by is
	// zeros.
	SizeOnly
	// Garbage is SizeOnly with random bytes where files grew.
	Garbage
	// Stale is SizeOnly with bytes of former files, or of other ones, where
	// files grew; they are at the offset they had, so that records line up.
	Stale
	// Prefix leaves everything, but of the last write only the first Pick
	// bytes, or as many as the seed says.
	Prefix
	// EntriesOnly leaves entries but no data: new files are empty.
	EntriesOnly
	// DataOnly leaves all data but no change of an entry.
	DataOnly
	// DropDirEntries leaves no change of an entry, and throws a coin for each
	// write and truncation.
	DropDirEntries
)

// Survivals is the list for crash enumeration: each rule at least once. A
// caller who wants more of the random ones changes their seeds, and who wants
// each effect alone or missing picks up to Unsynced.
func Survivals() []Survival {
	return []Survival{
		{Mode: DropAll},
		{Mode: KeepAll},
		{Mode: OnlyOne, Pick: 0},
		{Mode: OnlyOne, Pick: 1},
		{Mode: OnlyOne, Pick: -1},
		{Mode: AllButOne, Pick: 0},
		{Mode: AllButOne, Pick: 1},
		{Mode: AllButOne, Pick: -1},
		{Mode: Ordered, Seed: 1},
		{Mode: ReverseOrder, Seed: 2},
		{Mode: Random, Seed: 3, Sector: 512},
		{Mode: Random, Seed: 4, Sector: 4096},
		{Mode: Random, Seed: 5, Sector: 1},
		{Mode: RandomSectors, Seed: 6, Sector: 512},
		{Mode: RandomSectors, Seed: 7, Sector: 4096},
		{Mode: SizeOnly},
		{Mode: Garbage, Seed: 8},
		{Mode: Stale, Seed: 9},
		{Mode: Prefix, Seed: 10},
		{Mode: Prefix, Pick: 1},
		{Mode: EntriesOnly},
		{Mode: DataOnly},
		{Mode: DropDirEntries, Seed: 11},
	}
}

// newRand is a source of chance for one thing among those that share a seed.
func newRand(seed, thing uint64) *rand.Rand {
	return rand.New(rand.NewPCG(seed, thing*0x9e3779b97f4a7c15+1))
}

// Unsynced is the number of effects that a power cut may lose.
func (s *Sim) Unsynced() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.unsynced())
}

// unsynced is the effects' sequence numbers, in order.
func (s *Sim) unsynced() []uint64 {
	var seqs []uint64
	for _, n := range s.nodes {
		for _, e := range n.effects {
			seqs = append(seqs, e.seq)
		}
		for _, e := range n.entryEffects {
			seqs = append(seqs, e.seq)
		}
	}
	slices.Sort(seqs)
	return seqs
}

// Crash returns a disk as a power cut could leave it: with nothing un-synced,
// no open file, no lock and no fault, and with operations counted from 0. The
// same history and the same survival give the same image.
func (s *Sim) Crash(v Survival) *Sim {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := newCut(s, v)
	image := &Sim{
		seed: s.seed, nodes: make(map[int]*node, len(s.nodes)), nextNode: s.nextNode, seq: s.seq,
		old: slices.Clip(s.old), capacity: s.capacity, locks: map[int]bool{}, crashAt: neverCrash, logOff: s.logOff,
	}
	c.survive(image, rootNode)
	return image
}

// cut is a power cut: it decides what survives it.
type cut struct {
	sim    *Sim
	v      Survival
	seed   uint64
	sector int64
	picked uint64 // OnlyOne, AllButOne: the effect; 0: there is none
	from   uint64 // Ordered, ReverseOrder: the first effect of the later part
	last   uint64 // Prefix: the write to cut short
	length int64  // Prefix: of what is left of it
}

func newCut(s *Sim, v Survival) *cut {
	c := &cut{sim: s, v: v, sector: int64(v.Sector)}
	c.seed = newRand(s.seed, v.Seed).Uint64() ^ s.seq
	if c.sector <= 0 {
		c.sector = 512
	}
	rng := newRand(c.seed, 0)
	switch v.Mode {
	case OnlyOne, AllButOne:
		if seqs := s.unsynced(); len(seqs) > 0 {
			c.picked = seqs[(v.Pick%len(seqs)+len(seqs))%len(seqs)]
		}
	case Ordered, ReverseOrder:
		c.from = split(s.unsynced(), v.Pick, rng)
	case Prefix:
		c.pickPrefix(rng)
	}
	return c
}

// split returns the effect that the later part begins with.
func split(seqs []uint64, pick int, rng *rand.Rand) uint64 {
	if pick <= 0 {
		pick = 1 + rng.IntN(max(1, len(seqs)-1))
	}
	if pick >= len(seqs) {
		return ^uint64(0)
	}
	return seqs[pick]
}

func (c *cut) pickPrefix(rng *rand.Rand) {
	for _, n := range c.sim.nodes {
		for _, e := range n.effects {
			if !e.truncate && e.seq > c.last {
				c.last, c.length = e.seq, e.n
			}
		}
	}
	if c.last == 0 {
		return
	}
	if c.v.Pick > 0 {
		c.length = min(c.length, int64(c.v.Pick))
		return
	}
	c.length = rng.Int64N(c.length)
}

// survive puts what is left of a node, and of all below it, in the image.
func (c *cut) survive(image *Sim, id int) {
	n := c.sim.nodes[id]
	if kept, ok := image.nodes[id]; ok {
		// A file has two names where one half of a rename survived.
		if !kept.dir {
			kept.links++
		}
		return
	}
	kept := &node{dir: n.dir, odd: n.odd, links: 1}
	image.nodes[id] = kept
	if !n.dir {
		kept.current = c.data(id, n)
		kept.durable = kept.current.clone()
		image.used += kept.current.size
		return
	}
	kept.entries = c.entries(id, n)
	for _, base := range slices.Sorted(maps.Keys(kept.entries)) {
		child := kept.entries[base]
		if _, seen := image.nodes[child]; seen && c.sim.nodes[child].dir {
			delete(kept.entries, base)
			continue
		}
		c.survive(image, child)
	}
	kept.durableEntries = maps.Clone(kept.entries)
}

// entries is a directory after the cut.
func (c *cut) entries(id int, n *node) map[string]int {
	entries := maps.Clone(n.durableEntries)
	rng := newRand(c.seed, uint64(id)+1)
	for _, e := range n.entryEffects {
		if c.keepsEntry(e.seq, rng) {
			e.apply(entries)
		}
	}
	return entries
}

func (c *cut) keepsEntry(seq uint64, rng *rand.Rand) bool {
	switch c.v.Mode {
	case DropAll, DataOnly, DropDirEntries:
		return false
	case OnlyOne, AllButOne, Ordered, ReverseOrder:
		return c.keepsPicked(seq)
	case Random:
		return rng.IntN(2) == 0
	}
	return true
}

func (c *cut) keepsPicked(seq uint64) bool {
	switch c.v.Mode {
	case OnlyOne:
		return seq == c.picked
	case AllButOne:
		return seq != c.picked
	case Ordered:
		return seq < c.from
	}
	return seq >= c.from
}

// data is a file after the cut.
func (c *cut) data(id int, n *node) content {
	if len(n.effects) == 0 || c.v.Mode == DropAll || c.v.Mode == EntriesOnly {
		return n.durable.clone()
	}
	if c.v.Mode == KeepAll && !n.diverged {
		return n.current.clone()
	}
	rng := newRand(c.seed, uint64(id)+1)
	effects := c.shorten(n.effects, rng)
	kept := c.choose(effects, rng)
	left := n.durable.clone()
	kept.write(&left, effects, c.sector)
	size := c.size(n.durable.size, effects, kept, rng)
	left.truncate(min(left.size, size))
	c.fill(&left, n, kept, size, rng)
	return left
}

// shorten cuts writes off at a byte, where the mode does that.
func (c *cut) shorten(effects []effect, rng *rand.Rand) []effect {
	at, length := -1, c.length
	switch {
	case c.v.Mode == Prefix:
		at = slices.IndexFunc(effects, func(e effect) bool { return e.seq == c.last })
	case c.v.Mode == Random && c.sector == 1:
		at = rng.IntN(len(effects))
		effects = effects[:at+1]
		length = rng.Int64N(effects[at].n + 1)
		if effects[at].truncate {
			return effects[:at]
		}
	}
	if at < 0 {
		return effects
	}
	effects = slices.Clone(effects)
	e := &effects[at]
	e.n = length
	if e.data != nil {
		e.data = e.data[:length]
	}
	return effects
}

// choice is what survived of a file's effects.
type choice struct {
	whole  []bool        // by effect: its size
	sector map[int64]int // by sector: the last effect that reached it
}

// choose decides, for each effect, which of its sectors survive. A sector that
// has an effect has those before it too: it is written as a whole.
func (c *cut) choose(effects []effect, rng *rand.Rand) choice {
	kept := choice{make([]bool, len(effects)), map[int64]int{}}
	for i, e := range effects {
		keep, single := c.keepsData(e.seq, rng)
		kept.whole[i] = keep || single
		if !keep && !single {
			continue
		}
		first, end := e.sectors(c.sector)
		for sector := first; sector < end; sector++ {
			if keep || rng.IntN(2) == 0 {
				kept.sector[sector] = i
			}
		}
	}
	return kept
}

// keepsData says whether a write or truncation survives as a whole, or whether
// each sector has a chance of its own.
func (c *cut) keepsData(seq uint64, rng *rand.Rand) (keep, single bool) {
	switch c.v.Mode {
	case SizeOnly, Garbage, Stale:
		return false, false
	case OnlyOne, AllButOne, Ordered, ReverseOrder:
		return c.keepsPicked(seq), false
	case DropDirEntries:
		return rng.IntN(2) == 0, false
	case Random:
		return c.sector == 1, c.sector != 1
	case RandomSectors:
		return false, true
	}
	return true, false
}

// sectors is the range of sectors an effect changes. A truncation changes those
// it cuts off: they are zeros if the file grows again.
func (e effect) sectors(sector int64) (first, end int64) {
	if e.n <= 0 {
		return 0, 0
	}
	return e.off / sector, (e.off + e.n + sector - 1) / sector
}

// write brings the effects to the sectors that they reached.
func (k choice) write(left *content, effects []effect, sector int64) {
	for i, e := range effects {
		first, end := e.sectors(sector)
		for at := first; at < end; {
			if last, ok := k.sector[at]; !ok || last < i {
				at++
				continue
			}
			run := at + 1
			for run < end {
				if last, ok := k.sector[run]; !ok || last < i {
					break
				}
				run++
			}
			e.writePart(left, at*sector, run*sector)
			at = run
		}
	}
}

// writePart does what the effect does between two offsets.
func (e effect) writePart(left *content, from, to int64) {
	from, to = max(from, e.off), min(to, e.off+e.n)
	if e.data == nil {
		left.writeAt(nil, to-from, from)
		return
	}
	left.writeAt(e.data[from-e.off:to-e.off], to-from, from)
}

// size is how long a file is after the cut.
func (c *cut) size(durable int64, effects []effect, kept choice, rng *rand.Rand) int64 {
	if c.v.Mode == Random && c.sector != 1 {
		return randomSize(durable, effects, rng)
	}
	every := c.v.Mode == SizeOnly || c.v.Mode == Garbage || c.v.Mode == Stale
	size := durable
	for i, e := range effects {
		if every || kept.whole[i] {
			size = e.resize(size)
		}
	}
	return size
}

func (e effect) resize(size int64) int64 {
	if e.truncate {
		return e.off
	}
	return max(size, e.off+e.n)
}

// randomSize is the old size, the new one, or any between the smallest and the
// largest.
func randomSize(durable int64, effects []effect, rng *rand.Rand) int64 {
	size, least, most := durable, durable, durable
	for _, e := range effects {
		size = e.resize(size)
		least, most = min(least, size), max(most, size)
	}
	switch rng.IntN(3) {
	case 0:
		return durable
	case 1:
		return size
	}
	return least + rng.Int64N(most-least+1)
}

// fill brings a file to its size. What it grew by without data is zeros, or
// what the disk had there.
func (c *cut) fill(left *content, n *node, kept choice, size int64, rng *rand.Rand) {
	grown := n.durable.size
	left.truncate(size)
	with := c.v.Mode
	if with == Random && c.sector != 1 {
		with = []Mode{SizeOnly, Garbage, Stale}[rng.IntN(3)]
	}
	if with != Garbage && with != Stale || size <= grown {
		return
	}
	donor := content{}
	if with == Stale {
		donor = c.donor(n, grown, rng)
	}
	for at := grown; at < size; {
		end := min(size, (at/c.sector+1)*c.sector)
		if _, ok := kept.sector[at/c.sector]; !ok {
			left.writeAt(junk(with, donor, at, end, rng), end-at, at)
		}
		at = end
	}
}

// junk is what a block held before it was given to the file.
func junk(with Mode, donor content, at, end int64, rng *rand.Rand) []byte {
	b := make([]byte, end-at)
	if with == Stale {
		donor.readAt(b, at)
		return b
	}
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// donor is a former content of some file, or the content of another one, that
// has bytes past an offset if any has.
func (c *cut) donor(n *node, off int64, rng *rand.Rand) content {
	candidates := slices.Clone(c.sim.old)
	for _, id := range slices.Sorted(maps.Keys(c.sim.nodes)) {
		if other := c.sim.nodes[id]; other != n && other.durable.size > 0 {
			candidates = append(candidates, other.durable)
		}
	}
	long := slices.DeleteFunc(slices.Clone(candidates), func(d content) bool { return d.size <= off })
	if len(long) > 0 {
		return long[rng.IntN(len(long))]
	}
	if len(candidates) > 0 {
		return candidates[rng.IntN(len(candidates))]
	}
	return content{}
}
