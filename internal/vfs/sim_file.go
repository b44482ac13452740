package vfs

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"syscall"
)

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

	uncached bool // reads see what the disk has
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
	switch {
	case err == nil:
		n = f.view().readAt(p, off)
		if n < len(p) {
			err = io.EOF
		}
	case f.uncached && fate.err != nil && !errors.Is(fate.err, ErrCrashed):
		f.node.loseSync() // what failed was the writing before the reading
	}
	return n, s.end(fate, "read", f.name, off, int64(n), err)
}

// view is what reads see. An uncached one has the page cache hand its writes to
// the disk first, which may still lose them with the power; what a failed sync
// lost is not among them.
func (f *simFile) view() *content {
	n := f.node
	if !f.uncached || !n.diverged {
		return &n.current
	}
	c := n.durable.clone()
	for _, e := range n.effects {
		e.apply(&c)
	}
	return &c
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
	case fate.err != nil && !errors.Is(fate.err, ErrCrashed):
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
