// Package cursor keeps consumers' positions in topics: a table in memory, and
// the record by which a position is written down in a commit and in the
// manifest. FORMAT.md draws the record.
//
// A [Table] may be used by any number of goroutines. It decides nothing:
// whether a position makes sense, and when it is durable, is its caller's.
package cursor

import (
	"cmp"
	"slices"
	"strings"
	"sync"
)

// Cursor is how far a consumer has processed a topic.
type Cursor struct {
	// ID is the last event that was processed; 0 is before the first.
	ID uint64
	// AckedMS is when that was said, in Unix milliseconds.
	AckedMS int64
}

// Table holds the cursors of all topics.
type Table struct {
	mu     sync.RWMutex // guards the fields below
	topics map[uint64]map[string]Cursor
	count  int
}

// New returns an empty table.
func New() *Table { return &Table{topics: make(map[uint64]map[string]Cursor)} }

// Set moves a consumer's cursor, in either direction.
func (t *Table) Set(topic uint64, consumer string, c Cursor) {
	t.mu.Lock()
	defer t.mu.Unlock()
	consumers := t.topics[topic]
	if consumers == nil {
		consumers = make(map[string]Cursor, 1)
		t.topics[topic] = consumers
	}
	before := len(consumers)
	consumers[consumer] = c
	t.count += len(consumers) - before
}

// Get returns a consumer's cursor, if it has one.
func (t *Table) Get(topic uint64, consumer string) (Cursor, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	c, ok := t.topics[topic][consumer]
	return c, ok
}

// Delete takes a consumer's cursor away, and reports whether it was there.
func (t *Table) Delete(topic uint64, consumer string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	consumers := t.topics[topic]
	if _, ok := consumers[consumer]; !ok {
		return false
	}
	delete(consumers, consumer)
	t.count--
	if len(consumers) == 0 {
		delete(t.topics, topic)
	}
	return true
}

// DeleteTopic takes all cursors of a topic away.
func (t *Table) DeleteTopic(topic uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count -= len(t.topics[topic])
	delete(t.topics, topic)
}

// Apply does what a record says: it sets a cursor or deletes one.
func (t *Table) Apply(e Entry) {
	if e.Deleted {
		t.Delete(e.Topic, e.Consumer)
		return
	}
	t.Set(e.Topic, e.Consumer, e.Cursor)
}

// List returns a topic's cursors, sorted by consumer.
func (t *Table) List(topic uint64) []Entry {
	t.mu.RLock()
	list := appendTopic(nil, topic, t.topics[topic])
	t.mu.RUnlock()
	slices.SortFunc(list, compare)
	return list
}

// All returns the cursors of all topics, sorted by topic and consumer: the
// same table always gives the same list.
func (t *Table) All() []Entry {
	t.mu.RLock()
	list := make([]Entry, 0, t.count)
	for topic, consumers := range t.topics {
		list = appendTopic(list, topic, consumers)
	}
	t.mu.RUnlock()
	slices.SortFunc(list, compare)
	return list
}

func appendTopic(list []Entry, topic uint64, consumers map[string]Cursor) []Entry {
	list = slices.Grow(list, len(consumers))
	for consumer, c := range consumers {
		list = append(list, Entry{Topic: topic, Consumer: consumer, Cursor: c})
	}
	return list
}

func compare(a, b Entry) int {
	return cmp.Or(cmp.Compare(a.Topic, b.Topic), strings.Compare(a.Consumer, b.Consumer))
}

// Min returns the lowest id that a topic's cursors stand on: all consumers
// have processed the events up to it. It reports false without consumers.
func (t *Table) Min(topic uint64) (uint64, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	lowest, found := uint64(0), false
	for _, c := range t.topics[topic] {
		if !found || c.ID < lowest {
			lowest, found = c.ID, true
		}
	}
	return lowest, found
}

// Len is the number of cursors in all topics.
func (t *Table) Len() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.count
}
