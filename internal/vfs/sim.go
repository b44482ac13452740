package vfs

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"sync"
)

// Sim is a disk in memory that can lose power. It is an [FS]; a test gives it
// to the code under test, cuts the power at an operation of its choice
// ([Sim.CrashAt], [Sim.OnOp]) and looks at what the code makes of what
// [Sim.Crash] left.
//
// # Model
//
// Each file has a current view, which reads see and a killed process leaves
// behind (the page cache), a durable view, and the ordered list of the writes
// and truncations between the two. Each directory has the same for its
// entries. Syncing a file makes its data durable, never its name; syncing a
// directory makes its entries durable, never what is in the files, nor the
// directory's own name in its parent. A power cut leaves the durable view and
// whatever part of the rest a [Survival] picks:
//
//   - data survives by the sector: of the versions that a sector had since the
//     last sync any one may be there, whatever became of its neighbours;
//   - a file's size survives apart from its data, and what it grew by without
//     data holds zeros, garbage, or old bytes of this or another file;
//   - each creation, renaming and removal survives by itself. A rename is
//     atomic for the name it takes, not durable; between two directories it is
//     an entry made in one and an entry removed from the other.
//
// A sync that fails ([Sim.Inject]) loses what it should have written: the
// current view keeps the new bytes, the durable view the old ones, and the next
// sync succeeds without writing them, as Linux does (Rebello et al., "Can
// Applications Recover from fsync Failures?", ATC 2020). A directory whose sync
// fails keeps its changes for the next one: file systems that cannot write
// metadata stop, they do not forget it. [Sim.OpenUncached] shows what the disk
// has: the writes of the current view but those that a failed sync has lost. An
// uncached read that fails is a write that failed before it, and loses as much.
//
// The rules are wider than any one file system, so that code which passes does
// not depend on ext4 being kind: it keeps, for one, a new file's name without
// the directory sync that POSIX asks for. They follow Pillai et al., "All File
// Systems Are Not Created Equal" (OSDI 2014).
//
// All choices follow from seeds and the order of operations, so a run can be
// repeated. Clones and images share pages with their origin and cost little.
//
// # Not modelled
//
// Times, modes, owners, links, sparse files (a hole costs its size of the
// capacity), allocation by the block, writes that land in the wrong place or
// nowhere (use [Sim.Corrupt] and [Sim.SetFile]), disks that lie about syncing,
// and what a failed sync does to the rest of a page: bytes are lost and kept
// by the write, not by the page.
type Sim struct {
	seed uint64

	mu       sync.Mutex // guards the fields below
	nodes    map[int]*node
	nextNode int
	seq      uint64    // of the last effect, in any file or directory
	old      []content // contents of removed and truncated files, newest last
	capacity int64
	used     int64
	open     int // descriptors
	locks    map[int]bool
	ops      int
	crashAt  int // -1: never
	faults   []Fault
	hook     func(op int, kind, name string)
	logOff   bool
	log      []record
}

// Fault makes operations fail.
type Fault struct {
	At    int    // index of the first operation that may fail
	Err   error  // what it fails with
	Count int    // so many operations fail; 0: one, -1: all from then on
	Short int    // so many bytes of a write are written before it fails
	Kind  string // only operations of this kind, as the log names them; "": any
	Name  string // only operations on this name; "": any
}

// ErrCrashed is what every call returns after the operation given to CrashAt.
var ErrCrashed = errors.New("the simulated machine has crashed")

const (
	rootNode      = 0
	neverCrash    = -1
	oldContents   = 16 // how many former contents are kept for stale blocks
	unlimitedFree = 1 << 40
	maxFileBytes  = 1 << 32 // past it, as on any disk, a file cannot grow
	simHolder     = "pid 1 on sim"
)

// node is a file or a directory, or something odd that is neither.
type node struct {
	dir, odd bool
	links    int // names in the current view
	opens    int

	// Of a file. durable with effects is current, unless a sync failed.
	current  content
	durable  content
	effects  []effect
	diverged bool // a sync failed: current is more than durable and effects

	// Of a directory.
	entries        map[string]int
	durableEntries map[string]int
	entryEffects   []entryEffect
}

// effect is a write of n bytes at off, of zeros where data is nil, or a
// truncation to off from a size of off+n.
type effect struct {
	seq      uint64
	truncate bool
	off, n   int64
	data     []byte
}

// entryEffect gives a name to a node, takes a name away, or both at once.
type entryEffect struct {
	seq    uint64
	remove string // "": nothing
	add    string // "": nothing
	node   int    // that add names
	gone   int    // that remove named
}

// record is a line of the log.
type record struct {
	op         int
	kind, name string
	off, n     int64
	err        error
}

// NewSim makes an empty disk with an unlimited capacity.
func NewSim(seed uint64) *Sim {
	s := &Sim{seed: seed, nodes: map[int]*node{}, crashAt: neverCrash, locks: map[int]bool{}}
	s.addNode(newDir())
	return s
}

func newDir() *node {
	return &node{dir: true, entries: map[string]int{}, durableEntries: map[string]int{}}
}

func (s *Sim) addNode(n *node) int {
	id := s.nextNode
	s.nodes[id] = n
	s.nextNode++
	return id
}

// Ops is the number of operations so far: every call of FS and File but
// FS.Close, those that failed too.
func (s *Sim) Ops() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ops
}

// ResetOps starts counting at 0 again and empties the log. Faults stay, and
// their At counts from here.
func (s *Sim) ResetOps() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ops, s.log = 0, nil
}

// Log returns a line for each operation since the last ResetOps.
func (s *Sim) Log() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	lines := make([]string, len(s.log))
	for i, r := range s.log {
		lines[i] = r.String()
	}
	return lines
}

func (r record) String() string {
	line := fmt.Sprintf("%d %s %s", r.op, r.kind, r.name)
	switch r.kind {
	case "read", "write":
		line += fmt.Sprintf(" at=%d bytes=%d", r.off, r.n)
	case "truncate":
		line += fmt.Sprintf(" size=%d", r.off)
	}
	if r.err != nil {
		line += ": " + r.err.Error()
	}
	return line
}

// KeepLog turns the log on (the default) or off, which saves time and memory.
func (s *Sim) KeepLog(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.logOff = !on
}

// OnOp has f called before each operation, with no lock held: it may clone the
// disk, cut its power, or block. A nil f ends that.
func (s *Sim) OnOp(f func(op int, kind, name string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook = f
}

// Inject adds a fault.
func (s *Sim) Inject(f Fault) {
	if f.Count == 0 {
		f.Count = 1
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, f)
}

// ClearFaults takes back all that was injected.
func (s *Sim) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// SetCapacity bounds the sum of the files' sizes. Past it a write is cut short
// and fails with ErrNoSpace, as do Truncate and Create. 0 means no bound.
func (s *Sim) SetCapacity(bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.capacity = bytes
}

// CrashAt kills the process at operation op: it and all later ones fail with
// ErrCrashed. A change that op itself makes is there, not synced; a write may
// be there in part. A negative op takes it back.
func (s *Sim) CrashAt(op int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.crashAt = max(op, neverCrash)
}

// OpenFiles is the number of descriptors, locks included, that were not closed.
func (s *Sim) OpenFiles() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open
}

// Files returns the current view of all regular files.
func (s *Sim) Files() map[string][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	files := map[string][]byte{}
	s.walk(rootNode, "", func(name string, n *node) {
		if !n.dir && !n.odd {
			files[name] = n.current.bytes()
		}
	})
	return files
}

func (s *Sim) walk(dir int, prefix string, visit func(name string, n *node)) {
	for base, id := range s.nodes[dir].entries {
		n := s.nodes[id]
		name := path.Join(prefix, base)
		visit(name, n)
		if n.dir {
			s.walk(id, name, visit)
		}
	}
}

// SetFile gives a file this content in both views, and makes it and its
// directories where they are missing. It panics where it cannot.
func (s *Sim) SetFile(name string, b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.placeDurably(name, func() *node { return &node{} })
	if n.dir || n.odd {
		panic("vfs: SetFile of " + name + ", which is not a regular file")
	}
	s.used += int64(len(b)) - n.current.size
	n.current = content{}
	n.current.writeAt(b, int64(len(b)), 0)
	n.durable = n.current.clone()
	n.effects, n.diverged = nil, false
}

// SetDir makes a directory, and those it is in, in both views.
func (s *Sim) SetDir(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.placeDurably(name, newDir)
}

// SetOdd makes something that is neither a file nor a directory, such as a
// pipe or a link, in both views.
func (s *Sim) SetOdd(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.placeDurably(name, func() *node { return &node{odd: true} })
}

// placeDurably returns the node of a name, which it makes where it is missing.
func (s *Sim) placeDurably(name string, make func() *node) *node {
	if name == "." {
		return s.nodes[rootNode]
	}
	if !fs.ValidPath(name) {
		panic("vfs: invalid name " + name)
	}
	dir := s.placeDurably(path.Dir(name), newDir)
	if !dir.dir {
		panic("vfs: " + path.Dir(name) + " is not a directory")
	}
	base := path.Base(name)
	id, ok := dir.entries[base]
	if !ok {
		id = s.addNode(make())
		s.nodes[id].links = 1
		dir.entries[base] = id
	}
	dir.durableEntries[base] = id
	dir.forget(base)
	return s.nodes[id]
}

// forget drops the effects on a name.
func (n *node) forget(base string) {
	n.entryEffects = slices.DeleteFunc(slices.Clone(n.entryEffects), func(e entryEffect) bool {
		return e.add == base || e.remove == base
	})
}

// RemoveFile takes a name away in both views, with all that is below it.
func (s *Sim) RemoveFile(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	dir, base, err := s.parent(name)
	if err != nil {
		return
	}
	s.drop(dir, base)
	delete(dir.durableEntries, base)
	dir.forget(base)
	s.collect()
}

// drop takes a name out of the current view, with all that is below it.
func (s *Sim) drop(dir *node, base string) {
	id, ok := dir.entries[base]
	if !ok {
		return
	}
	n := s.nodes[id]
	for child := range n.entries {
		s.drop(n, child)
	}
	delete(dir.entries, base)
	n.links--
	s.release(n)
}

// Corrupt changes a byte of a file in both views: the bits in mask flip. It
// panics where there is no such byte.
func (s *Sim) Corrupt(name string, off int64, mask byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.find(name)
	if err != nil || off >= n.current.size {
		panic(fmt.Sprintf("vfs: no byte %d in %s", off, name))
	}
	n.diverged = n.diverged || len(n.effects) > 0
	same := !n.diverged
	flip(&n.current, off, mask)
	if same {
		n.durable = n.current.clone()
		return
	}
	if off < n.durable.size {
		flip(&n.durable, off, mask)
	}
}

func flip(c *content, off int64, mask byte) {
	b := make([]byte, 1)
	c.readAt(b, off)
	b[0] ^= mask
	c.writeAt(b, 1, off)
}

// Clone copies the disk with all its views, faults and counts. Open files and
// locks stay with the original.
func (s *Sim) Clone() *Sim {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.survivor()
	c.ops, c.crashAt = s.ops, s.crashAt
	c.faults = slices.Clone(s.faults)
	c.hook, c.log = s.hook, slices.Clip(s.log)
	return c
}

// Kill returns the disk as it is after the process was killed and the machine
// runs on: nothing written is lost, and nothing more is durable. The count of
// operations starts at 0; there are no faults.
func (s *Sim) Kill() *Sim {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.survivor()
}

// survivor copies what outlives a process.
func (s *Sim) survivor() *Sim {
	c := &Sim{
		seed: s.seed, nodes: make(map[int]*node, len(s.nodes)), nextNode: s.nextNode, seq: s.seq,
		old: slices.Clip(s.old), capacity: s.capacity, locks: map[int]bool{}, crashAt: neverCrash, logOff: s.logOff,
	}
	reached := s.reached(false)
	for id := range reached {
		n := s.nodes[id].clone()
		c.nodes[id] = n
		if n.links > 0 {
			c.used += n.current.size
		}
	}
	return c
}

func (n *node) clone() *node {
	c := *n
	c.opens = 0
	c.current, c.durable = n.current.clone(), n.durable.clone()
	c.effects = slices.Clip(n.effects)
	c.entries, c.durableEntries = maps.Clone(n.entries), maps.Clone(n.durableEntries)
	c.entryEffects = slices.Clip(n.entryEffects)
	return &c
}

// reached is the set of nodes that some view or effect names, and with opened
// those that are open.
func (s *Sim) reached(opened bool) map[int]bool {
	seen := make(map[int]bool, len(s.nodes))
	var visit func(id int)
	visit = func(id int) {
		if seen[id] {
			return
		}
		seen[id] = true
		n := s.nodes[id]
		for _, child := range n.entries {
			visit(child)
		}
		for _, child := range n.durableEntries {
			visit(child)
		}
		for _, e := range n.entryEffects {
			if e.add != "" {
				visit(e.node)
			}
		}
	}
	visit(rootNode)
	for id, n := range s.nodes {
		if opened && n.opens > 0 {
			visit(id)
		}
	}
	return seen
}

// collect forgets the nodes that no view can come back to.
func (s *Sim) collect() {
	reached := s.reached(true)
	maps.DeleteFunc(s.nodes, func(id int, _ *node) bool { return !reached[id] })
}
