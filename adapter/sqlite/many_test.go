package sqlite

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"github.com/seglog/seglog/engine"
)

// Logs that are opened, used and closed at the same time do not touch one
// another's memory: the driver and SQLite itself are translated C. A mistake in
// an argument once had SQLite write into other connections' values, about once
// in five hundred opens.
func TestManyLogsAtOnce(t *testing.T) {
	opens := 1000
	if testing.Short() {
		opens = 100
	}
	dir := t.TempDir()
	var workers sync.WaitGroup
	for w := range 4 {
		workers.Go(func() {
			for n := range opens / 4 {
				if err := useOnce(t, filepath.Join(dir, fmt.Sprintf("%d-%d.sqlite", w, n))); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	workers.Wait()
}

// useOnce makes a log, and reads what it appends.
func useOnce(t *testing.T, path string) error {
	log, err := Open(path, Options{Sync: engine.SyncNever})
	if err != nil {
		return err
	}
	for i := range 20 {
		topic, want := engine.MustTopic(fmt.Sprint("t", i%3)), engine.EventID(i/3+1)
		id, err := log.Append(t.Context(), topic, engine.Event{Kind: "k", Payload: []byte(`"x"`)})
		if err != nil || id != want {
			return fmt.Errorf("append to topic %s gives id %d, %w, want %d", topic, id, err, want)
		}
		records, err := engine.ReadRange(t.Context(), log, topic, 0, engine.NoLimit)
		if err != nil || len(records) != int(want) {
			return fmt.Errorf("read of topic %s gives %d events, %w, want %d", topic, len(records), err, want)
		}
		for _, r := range records {
			if r.Kind != "k" || string(r.Payload) != `"x"` {
				return fmt.Errorf("event %d of topic %s is %q %s", r.ID, topic, r.Kind, r.Payload)
			}
		}
	}
	return log.Close()
}
