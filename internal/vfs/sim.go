package vfs

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"sync"
	"syscall"
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
// metadata stop, they do not forget it.
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

// fate is what an operation comes to.
type fate struct {
	op    int
	err   error
	short int  // bytes of a write to do before err
	apply bool // do all of it, and then fail
}

// begin counts an operation and decides its fate. It gives up s.mu while a
// hook runs, so it comes before anything is looked at.
func (s *Sim) begin(kind, name string) fate {
	f := fate{op: s.ops}
	s.ops++
	if s.hook != nil && !s.crashed(f.op) {
		s.callHook(f.op, kind, name)
	}
	if s.crashed(f.op) {
		f.err, f.apply = ErrCrashed, f.op == s.crashAt
		return f
	}
	for i := range s.faults {
		if s.faults[i].strike(f.op, kind, name) {
			f.err, f.short = s.faults[i].Err, max(s.faults[i].Short, 0)
			break
		}
	}
	return f
}

func (s *Sim) callHook(op int, kind, name string) {
	hook := s.hook
	s.mu.Unlock()
	defer s.mu.Lock()
	hook(op, kind, name)
}

// crashed says whether the process is dead at an operation, or dies of it.
func (s *Sim) crashed(op int) bool { return s.crashAt != neverCrash && op >= s.crashAt }

// strike says whether the fault hits this operation, and counts it.
func (f *Fault) strike(op int, kind, name string) bool {
	if f.Count == 0 || op < f.At || f.Kind != "" && f.Kind != kind || f.Name != "" && f.Name != name {
		return false
	}
	if f.Count > 0 {
		f.Count--
	}
	return true
}

// end logs an operation and gives its error the name.
func (s *Sim) end(f fate, kind, name string, off, n int64, err error) error {
	if !s.logOff {
		s.log = append(s.log, record{f.op, kind, name, off, n, err})
	}
	if err == nil || err == io.EOF {
		return err
	}
	return pathError(kind, name, err)
}

// do runs an operation that changes a directory or opens a file.
func (s *Sim) do(kind, name string, change func() error) error {
	f := s.begin(kind, name)
	err := f.err
	if err == nil || f.apply {
		err = cmp.Or(f.err, change())
	}
	return s.end(f, kind, name, 0, 0, err)
}

// find returns the node of a name in the current view.
func (s *Sim) find(name string) (*node, error) {
	id, err := s.findID(name)
	if err != nil {
		return nil, err
	}
	return s.nodes[id], nil
}

func (s *Sim) findID(name string) (int, error) {
	if name == "." {
		return rootNode, nil
	}
	dir, base, err := s.parent(name)
	if err != nil {
		return 0, err
	}
	id, ok := dir.entries[base]
	if !ok {
		return 0, fs.ErrNotExist
	}
	return id, nil
}

// parent returns the directory that holds, or would hold, a name.
func (s *Sim) parent(name string) (*node, string, error) {
	if !fs.ValidPath(name) || name == "." {
		return nil, "", fs.ErrInvalid
	}
	dir, err := s.find(path.Dir(name))
	if err != nil {
		return nil, "", err
	}
	if !dir.dir {
		return nil, "", syscall.ENOTDIR
	}
	return dir, path.Base(name), nil
}

// changeEntries does an effect in the current view and notes that it is not
// durable.
func (s *Sim) changeEntries(dir *node, e entryEffect) {
	s.seq++
	e.seq = s.seq
	e.apply(dir.entries)
	dir.entryEffects = append(dir.entryEffects, e)
}

func (e entryEffect) apply(entries map[string]int) {
	// A name may have been given to another node if effects before this one
	// were lost; then it is not the name this effect takes away.
	if id, ok := entries[e.remove]; ok && e.remove != "" && id == e.gone {
		delete(entries, e.remove)
	}
	if e.add != "" {
		entries[e.add] = e.node
	}
}

// release gives back the space of a file that has no name and is not open.
func (s *Sim) release(n *node) {
	if n.links > 0 || n.opens > 0 || n.dir {
		return
	}
	s.used -= n.current.size
	s.remember(n)
}

// remember keeps the bytes of a file for blocks that are used again.
func (s *Sim) remember(n *node) {
	if n.current.size == 0 {
		return
	}
	keep := s.old[max(0, len(s.old)+1-oldContents):]
	s.old = append(slices.Clip(keep), n.current.clone())
}

// full says whether so many bytes more are too many.
func (s *Sim) full(more int64) bool {
	return s.capacity > 0 && s.used+more > s.capacity
}

func (s *Sim) Create(name string) (File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var file *simFile
	err := s.do("create", name, func() error {
		n, err := s.create(name)
		if err == nil {
			file = s.handle(name, n, true)
		}
		return err
	})
	return s.opened(file, err)
}

func (s *Sim) create(name string) (*node, error) {
	dir, base, err := s.parent(name)
	if err != nil {
		return nil, err
	}
	if _, ok := dir.entries[base]; ok {
		return nil, fs.ErrExist
	}
	if s.full(1) {
		return nil, ErrNoSpace
	}
	n := &node{links: 1}
	s.changeEntries(dir, entryEffect{add: base, node: s.addNode(n)})
	return n, nil
}

func (s *Sim) Open(name string) (File, error) { return s.openAs("open", name, true) }

func (s *Sim) OpenRead(name string) (File, error) { return s.openAs("openread", name, false) }

func (s *Sim) openAs(kind, name string, write bool) (File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var file *simFile
	err := s.do(kind, name, func() error {
		n, err := s.find(name)
		if err != nil {
			return err
		}
		if n.dir || n.odd {
			return errNotRegular
		}
		file = s.handle(name, n, write)
		return nil
	})
	return s.opened(file, err)
}

// opened closes a file again that was opened as the process died.
func (s *Sim) opened(f *simFile, err error) (File, error) {
	if err == nil {
		return f, nil
	}
	if f != nil {
		f.drop()
	}
	return nil, err
}

func (s *Sim) Mkdir(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.do("mkdir", name, func() error {
		dir, base, err := s.parent(name)
		if err != nil {
			return err
		}
		if _, ok := dir.entries[base]; ok {
			return fs.ErrExist
		}
		if s.full(1) {
			return ErrNoSpace
		}
		n := newDir()
		n.links = 1
		s.changeEntries(dir, entryEffect{add: base, node: s.addNode(n)})
		return nil
	})
}

func (s *Sim) ReadDir(name string) ([]Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Entry
	err := s.do("readdir", name, func() error {
		dir, err := s.find(name)
		if err != nil {
			return err
		}
		if !dir.dir {
			return syscall.ENOTDIR
		}
		for _, base := range slices.Sorted(maps.Keys(dir.entries)) {
			list = append(list, s.nodes[dir.entries[base]].entry(base))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

func (n *node) entry(base string) Entry {
	return Entry{Name: base, Size: n.current.size, Dir: n.dir, Regular: !n.dir && !n.odd}
}

func (s *Sim) Stat(name string) (Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var entry Entry
	err := s.do("stat", name, func() error {
		n, err := s.find(name)
		if err == nil {
			entry = n.entry(path.Base(name))
		}
		return err
	})
	if err != nil {
		return Entry{}, err
	}
	return entry, nil
}

func (s *Sim) Rename(oldName, newName string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.begin("rename", oldName)
	err := f.err
	if err == nil || f.apply {
		err = cmp.Or(f.err, s.rename(oldName, newName))
	}
	return s.end(f, "rename", oldName+" to "+newName, 0, 0, err)
}

func (s *Sim) rename(oldName, newName string) error {
	from, oldBase, err := s.parent(oldName)
	if err != nil {
		return err
	}
	to, newBase, err := s.parent(newName)
	if err != nil {
		return err
	}
	id, ok := from.entries[oldBase]
	if !ok {
		return fs.ErrNotExist
	}
	replaced, taken := to.entries[newBase]
	if taken && replaced == id {
		return nil
	}
	if taken && (s.nodes[id].dir || s.nodes[replaced].dir) {
		return fs.ErrExist
	}
	move := entryEffect{add: newBase, node: id}
	if from == to {
		move.remove, move.gone = oldBase, id
	}
	s.changeEntries(to, move)
	if from != to {
		s.changeEntries(from, entryEffect{remove: oldBase, gone: id})
	}
	if taken {
		s.nodes[replaced].links--
		s.release(s.nodes[replaced])
	}
	return nil
}

func (s *Sim) Remove(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.do("remove", name, func() error {
		dir, base, err := s.parent(name)
		if err != nil {
			return err
		}
		id, ok := dir.entries[base]
		if !ok {
			return fs.ErrNotExist
		}
		n := s.nodes[id]
		if len(n.entries) > 0 {
			return syscall.ENOTEMPTY
		}
		s.changeEntries(dir, entryEffect{remove: base, gone: id})
		n.links--
		s.release(n)
		return nil
	})
}

func (s *Sim) SyncDir(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.begin("syncdir", name)
	err := f.err
	if err == nil {
		err = s.syncDir(name)
	}
	return s.end(f, "syncdir", name, 0, 0, err)
}

func (s *Sim) syncDir(name string) error {
	dir, err := s.find(name)
	if err != nil {
		return err
	}
	if !dir.dir {
		return syscall.ENOTDIR
	}
	if dir.syncEntries() {
		s.collect()
	}
	return nil
}

// syncEntries says whether a node may have lost its last name.
func (n *node) syncEntries() (lost bool) {
	for _, e := range n.entryEffects {
		_, taken := n.durableEntries[e.add]
		lost = lost || taken || e.remove != ""
		e.apply(n.durableEntries)
	}
	n.entryEffects = nil
	return lost
}

func (s *Sim) SyncAll() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.begin("syncall", ".")
	for _, n := range s.nodes {
		switch {
		case f.err == nil:
			n.syncData()
			n.syncEntries()
		case f.err != ErrCrashed:
			n.loseSync()
		}
	}
	if f.err == nil {
		s.collect()
	}
	return s.end(f, "syncall", ".", 0, 0, f.err)
}

func (s *Sim) Lock(name string) (io.Closer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var lock *simLock
	var held error
	err := s.do("lock", name, func() error {
		n, id, err := s.lockNode(name)
		if err != nil {
			return err
		}
		if s.locks[id] {
			held = &LockedError{Name: name, Holder: string(n.current.bytes())}
			return held
		}
		s.locks[id] = true
		lock = &simLock{id: id, file: s.handle(name, n, true)}
		if string(n.current.bytes()) == simHolder {
			return nil
		}
		s.truncate(n, 0)
		s.write(n, []byte(simHolder), 0)
		return nil
	})
	if err == nil {
		return lock, nil
	}
	if lock != nil {
		lock.release()
	}
	return nil, cmp.Or(held, err)
}

func (s *Sim) lockNode(name string) (*node, int, error) {
	n, err := s.find(name)
	if errors.Is(err, fs.ErrNotExist) {
		n, err = s.create(name)
	}
	if err != nil {
		return nil, 0, err
	}
	if n.dir || n.odd {
		return nil, 0, errNotRegular
	}
	id, err := s.findID(name)
	return n, id, err
}

func (s *Sim) Free() (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	free := int64(unlimitedFree)
	if s.capacity > 0 {
		free = max(0, s.capacity-s.used)
	}
	return free, s.do("free", ".", func() error { return nil })
}

// Close does nothing: the same disk can be opened again.
func (s *Sim) Close() error { return nil }

// simLock is a held lock; it counts as a descriptor.
type simLock struct {
	id   int
	file *simFile
}

func (l *simLock) Close() error {
	s := l.file.sim
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.begin("unlock", l.file.name)
	err := f.err
	if l.file.closed {
		err = fs.ErrClosed
	}
	l.release()
	return s.end(f, "unlock", l.file.name, 0, 0, err)
}

func (l *simLock) release() {
	if l.file.closed {
		return
	}
	delete(l.file.sim.locks, l.id)
	l.file.drop()
}

// simFile is a descriptor.
type simFile struct {
	sim    *Sim
	name   string // it was opened with
	node   *node
	write  bool
	closed bool
}

func (s *Sim) handle(name string, n *node, write bool) *simFile {
	n.opens++
	s.open++
	return &simFile{sim: s, name: name, node: n, write: write}
}

// drop gives the descriptor back, whatever its close came to.
func (f *simFile) drop() {
	if f.closed {
		return
	}
	f.closed = true
	f.node.opens--
	f.sim.open--
	f.sim.release(f.node)
}

// check says why a descriptor cannot do what it is asked to.
func (f *simFile) check(writes bool, off int64) error {
	switch {
	case f.closed:
		return fs.ErrClosed
	case writes && !f.write:
		return fs.ErrPermission
	case off < 0:
		return fs.ErrInvalid
	}
	return nil
}

func (f *simFile) ReadAt(p []byte, off int64) (int, error) {
	s := f.sim
	s.mu.Lock()
	defer s.mu.Unlock()
	fate := s.begin("read", f.name)
	err := cmp.Or(fate.err, f.check(false, off))
	n := 0
	if err == nil {
		n = f.node.current.readAt(p, off)
		if n < len(p) {
			err = io.EOF
		}
	}
	return n, s.end(fate, "read", f.name, off, int64(n), err)
}

func (f *simFile) WriteAt(p []byte, off int64) (int, error) {
	s := f.sim
	s.mu.Lock()
	defer s.mu.Unlock()
	fate := s.begin("write", f.name)
	n := 0
	err := f.check(true, off)
	if err == nil {
		n, err = s.room(f.node, len(p), off)
		if fate.err != nil {
			n, err = s.cutShort(fate, n), fate.err
		}
		s.write(f.node, p[:n], off)
	}
	return n, s.end(fate, "write", f.name, off, int64(n), cmp.Or(fate.err, err))
}

// room is how much of a write fits on the disk.
func (s *Sim) room(n *node, length int, off int64) (int, error) {
	if off > maxFileBytes-int64(length) {
		return 0, syscall.EFBIG
	}
	grow := off + int64(length) - n.current.size
	if grow <= 0 || !s.full(grow) {
		return length, nil
	}
	fits := n.current.size + max(0, s.capacity-s.used) - off
	return int(min(max(fits, 0), int64(length))), ErrNoSpace
}

// cutShort is how much of a write is done before it fails. One write in four
// is torn where the process dies, at a place that the seed and the operation
// decide.
func (s *Sim) cutShort(f fate, length int) int {
	if !f.apply {
		return min(f.short, length)
	}
	rng := newRand(s.seed, uint64(f.op))
	if rng.IntN(4) > 0 {
		return length
	}
	return rng.IntN(length + 1)
}

// write changes the current view and notes that it is not durable.
func (s *Sim) write(n *node, p []byte, off int64) {
	if len(p) == 0 {
		return
	}
	size := n.current.size
	s.seq++
	e := effect{seq: s.seq, off: off, n: int64(len(p)), data: copyData(p)}
	n.current.writeAt(e.data, e.n, e.off)
	n.effects = append(n.effects, e)
	s.used += n.current.size - size
}

// copyData copies bytes, and leaves out zeros.
func copyData(p []byte) []byte {
	for rest := p; len(rest) > 0; {
		k := min(len(rest), pageSize)
		if string(rest[:k]) != string(zeroPage[:k]) {
			return append([]byte(nil), p...)
		}
		rest = rest[k:]
	}
	return nil
}

func (s *Sim) truncate(n *node, size int64) {
	old := n.current.size
	if size == old {
		return
	}
	if size < old {
		s.remember(n)
	}
	s.seq++
	n.effects = append(n.effects, effect{seq: s.seq, truncate: true, off: size, n: old - size})
	n.current.truncate(size)
	s.used += size - old
}

func (f *simFile) Size() (int64, error) {
	s := f.sim
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.do("size", f.name, func() error { return f.check(false, 0) })
	if err != nil {
		return 0, err
	}
	return f.node.current.size, nil
}

func (f *simFile) Truncate(size int64) error {
	s := f.sim
	s.mu.Lock()
	defer s.mu.Unlock()
	fate := s.begin("truncate", f.name)
	err := fate.err
	if err == nil || fate.apply {
		err = cmp.Or(fate.err, f.truncate(size))
	}
	return s.end(fate, "truncate", f.name, size, 0, err)
}

func (f *simFile) truncate(size int64) error {
	if err := f.check(true, size); err != nil {
		return err
	}
	if size > maxFileBytes {
		return syscall.EFBIG
	}
	if grow := size - f.node.current.size; grow > 0 && f.sim.full(grow) {
		return ErrNoSpace
	}
	f.sim.truncate(f.node, size)
	return nil
}

func (f *simFile) SyncData() error { return f.syncAs("syncdata") }

func (f *simFile) Sync() error { return f.syncAs("sync") }

func (f *simFile) syncAs(kind string) error {
	s := f.sim
	s.mu.Lock()
	defer s.mu.Unlock()
	fate := s.begin(kind, f.name)
	err := cmp.Or(fate.err, f.check(false, 0))
	switch {
	case err == nil:
		f.node.syncData()
	case fate.err != nil && fate.err != ErrCrashed:
		f.node.loseSync()
	}
	return s.end(fate, kind, f.name, 0, 0, err)
}

// syncData makes all effects durable.
func (n *node) syncData() {
	if len(n.effects) == 0 {
		return
	}
	if !n.diverged {
		n.durable = n.current.clone()
	} else {
		for _, e := range n.effects {
			e.apply(&n.durable)
		}
	}
	n.effects = nil
}

// loseSync is a sync that failed: the effects count as written and are not.
func (n *node) loseSync() {
	n.diverged = n.diverged || len(n.effects) > 0
	n.effects = nil
}

func (e effect) apply(c *content) {
	if e.truncate {
		c.truncate(e.off)
		return
	}
	c.writeAt(e.data, e.n, e.off)
}

func (f *simFile) Close() error {
	s := f.sim
	s.mu.Lock()
	defer s.mu.Unlock()
	fate := s.begin("close", f.name)
	err := fate.err
	if f.closed {
		err = fs.ErrClosed
	}
	f.drop()
	return s.end(fate, "close", f.name, 0, 0, err)
}
