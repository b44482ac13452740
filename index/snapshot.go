package index

import "github.com/google/btree"

// Snapshot is the entries of an [Index] at one moment. It never changes.
// Looking something up takes no lock and allocates nothing.
type Snapshot struct{ tree *btree.BTreeG[Entry] }

// Seek returns the lowest entry that has an event at or above id.
func (s Snapshot) Seek(id uint64) (Entry, bool) {
	if e, ok := s.tree.Get(Entry{First: id, Last: id}); ok {
		return e, true
	}
	// Entries are dense, so an id in none of them is below or above all.
	if e, ok := s.tree.Min(); ok && id < e.First {
		return e, true
	}
	return Entry{}, false
}

// SeekBack returns the highest entry that has an event at or below id.
func (s Snapshot) SeekBack(id uint64) (Entry, bool) {
	if e, ok := s.tree.Get(Entry{First: id, Last: id}); ok {
		return e, true
	}
	if e, ok := s.tree.Max(); ok && id > e.Last {
		return e, true
	}
	return Entry{}, false
}

// SeekTime returns the lowest entry up to which some event's time reaches ms:
// the first event at or after ms is there, if its segment is still there.
// Times of events that were dropped count; they can make the answer an earlier
// entry, never a later one.
func (s Snapshot) SeekTime(ms int64) (Entry, bool) {
	if e, ok := s.tree.Min(); !ok || ms <= e.RunningMax {
		return e, ok
	}
	return s.tree.Get(Entry{probe: byTime, RunningMax: ms})
}

// Len is the number of entries; a span counts as one.
func (s Snapshot) Len() int { return s.tree.Len() }

// Ascend calls fn for each entry that has an event at or above from, in order,
// until fn returns false.
func (s Snapshot) Ascend(from uint64, fn func(Entry) bool) {
	s.tree.AscendGreaterOrEqual(Entry{First: from, Last: from}, fn)
}

// Descend calls fn for each entry that has an event at or below from, in
// falling order, until fn returns false.
func (s Snapshot) Descend(from uint64, fn func(Entry) bool) {
	s.tree.DescendLessOrEqual(Entry{First: from, Last: from}, fn)
}
