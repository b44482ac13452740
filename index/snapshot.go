package index

// Snapshot is the entries of an [Index] at one moment. It never changes.
// Looking something up takes no lock and allocates nothing.
type Snapshot struct{ tree *tree }

// Seek returns the lowest entry that has an event at or above id.
func (s Snapshot) Seek(id uint64) (Entry, bool) {
	if it, ok := s.tree.Get(atID(id)); ok {
		return it.leaf.at(id), true
	}
	// Entries are dense, so an id in none of them is below or above all.
	if it, ok := s.tree.Min(); ok && id < it.first {
		return it.leaf.at(it.first), true
	}
	return Entry{}, false
}

// SeekBack returns the highest entry that has an event at or below id.
func (s Snapshot) SeekBack(id uint64) (Entry, bool) {
	if it, ok := s.tree.Get(atID(id)); ok {
		return it.leaf.at(id), true
	}
	if it, ok := s.tree.Max(); ok && id > it.last {
		return it.leaf.at(it.last), true
	}
	return Entry{}, false
}

// SeekTime returns the first entry that reaches the time ms: the first event
// at or after ms is in it, or behind it. (Behind it only where ms was reached
// by an event that was dropped since.)
func (s Snapshot) SeekTime(ms int64) (Entry, bool) {
	it, ok := s.tree.Min()
	if ok && ms > it.reach {
		it, ok = s.tree.Get(atTime(ms))
	}
	if !ok {
		return Entry{}, false
	}
	if it.leaf.blocks == nil || ms <= it.before {
		return it.leaf.at(it.first), true
	}
	for i := 0; ; i++ { // one of them does
		if e := it.leaf.blocks.Entry(i); e.MaxTime >= ms {
			return e, true
		}
	}
}

// Len is the number of entries; a span counts as one.
func (s Snapshot) Len() int {
	n := 0
	s.tree.Ascend(func(it item) bool {
		n++
		if it.leaf.blocks != nil {
			n += it.leaf.blocks.Len() - 1
		}
		return true
	})
	return n
}

// Ascend calls fn for each entry that has an event at or above from, in order,
// until fn returns false.
func (s Snapshot) Ascend(from uint64, fn func(Entry) bool) {
	s.tree.AscendGreaterOrEqual(atID(from), func(it item) bool {
		l := it.leaf
		if l.blocks == nil {
			return fn(l.Entry)
		}
		for i := l.find(from); i < l.blocks.Len(); i++ {
			if !fn(l.blocks.Entry(i)) {
				return false
			}
		}
		return true
	})
}

// Descend calls fn for each entry that has an event at or below from, in
// falling order, until fn returns false.
func (s Snapshot) Descend(from uint64, fn func(Entry) bool) {
	s.tree.DescendLessOrEqual(atID(from), func(it item) bool {
		l := it.leaf
		if l.blocks == nil {
			return fn(l.Entry)
		}
		for i := l.find(min(from, it.last)); i >= 0; i-- {
			if !fn(l.blocks.Entry(i)) {
				return false
			}
		}
		return true
	})
}
