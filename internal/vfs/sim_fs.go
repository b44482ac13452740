package vfs

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"syscall"
)

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
	if err == nil || errors.Is(err, io.EOF) {
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

// OpenDirect promises no more than Open, and so the disk does no more for it.
func (s *Sim) OpenDirect(name string) (File, error) { return s.openAs("opendirect", name, true) }

func (s *Sim) OpenRead(name string) (File, error) { return s.openAs("openread", name, false) }

// OpenUncached opens a file whose reads see what the disk has.
func (s *Sim) OpenUncached(name string) (File, error) {
	f, err := s.openAs("openuncached", name, false)
	if err == nil {
		f.(*simFile).uncached = true
	}
	return f, err
}

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
		case !errors.Is(f.err, ErrCrashed):
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

// Locked implements [FS].
func (s *Sim) Locked(name string) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	held := false
	err := s.do("locked", name, func() error {
		id, err := s.findID(name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		held = err == nil && s.locks[id]
		return err
	})
	return held, err
}
