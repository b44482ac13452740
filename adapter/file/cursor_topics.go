package file

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/seglog/seglog/engine"
)

// CursorTopics returns the topics that have cursors, sorted by name, also those
// that nothing was ever appended to. A cursor's file that does not say whose it
// is may be that of any topic, and is an error.
func (l *Log) CursorTopics(ctx context.Context) ([]engine.Topic, error) {
	topics, err := l.cursorTopics(ctx)
	if err != nil {
		return nil, fmt.Errorf("list topics with cursors: %w", classify(err))
	}
	return topics, nil
}

func (l *Log) cursorTopics(ctx context.Context) (topics []engine.Topic, err error) {
	if err := l.ready(ctx); err != nil {
		return nil, err
	}
	c := &l.cursors
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.loadLocked(); err != nil {
		return nil, err
	}
	for _, stem := range slices.Sorted(maps.Keys(c.broken)) {
		return nil, c.broken[stem]
	}
	for key := range c.byKey {
		topics = append(topics, key.topic)
	}
	slices.SortFunc(topics, func(a, b engine.Topic) int { return cmp.Compare(a.String(), b.String()) })
	return slices.Compact(topics), nil
}
