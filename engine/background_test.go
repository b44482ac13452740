package engine_test

import (
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seglog/seglog/engine"
	"github.com/seglog/seglog/internal/env"
	"github.com/seglog/seglog/internal/vfs"
)

// slowFS makes a call wait, once it is told to, until it may go on.
type slowFS struct {
	vfs.FS
	syncs, removes gate // of segment and carry files
}

// gate is where calls wait.
type gate struct{ reached, open chan struct{} }

func newGate() gate { return gate{make(chan struct{}, 1000), make(chan struct{})} }

func (g gate) pass(name string) {
	if g.open == nil || !strings.HasPrefix(name, "seg/") && !strings.HasPrefix(name, "carry-") {
		return
	}
	g.reached <- struct{}{}
	<-g.open
}

func (s *slowFS) Remove(name string) error {
	s.removes.pass(name)
	return s.FS.Remove(name)
}

func (s *slowFS) Create(name string) (vfs.File, error) {
	file, err := s.FS.Create(name)
	if err != nil {
		return nil, err
	}
	return &slowFile{file, s, name}, nil
}

type slowFile struct {
	vfs.File
	fs   *slowFS
	name string
}

func (f *slowFile) Sync() error {
	f.fs.syncs.pass(f.name)
	return f.File.Sync()
}

func (f *slowFile) SyncData() error {
	f.fs.syncs.pass(f.name)
	return f.File.SyncData()
}

const soon = 30 * time.Second

// Removing the files of a large topic takes seconds, in which the tails fill up
// and appends would wait for the next checkpoint.
func TestCheckpointsGoOnWhileFilesAreRemoved(t *testing.T) {
	fs := &slowFS{FS: vfs.NewSim(1), removes: newGate()}
	log, err := engine.OpenEnv(env.OS(fs), "sim", engine.Options{SegmentBytes: 16 << 10, BlockBytes: 1 << 10, Compression: engine.CompressionNone})
	if err != nil {
		t.Fatal(err)
	}
	topic := engine.MustTopic("t")
	fill := func() engine.EventID {
		var batch []engine.Event
		for range 100 {
			batch = append(batch, mustEvent(t, "k", strings.Repeat("x", 1000)))
		}
		_, latest, err := log.AppendBatch(t.Context(), topic, batch)
		if err != nil {
			t.Fatal(err)
		}
		if err := log.Checkpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
		return latest
	}
	before := fill()
	files := len(segmentFiles(t, fs))
	if _, err := log.Compact(t.Context(), topic, before); err != nil {
		t.Fatal(err)
	}
	await(t, fs.removes.reached, "removal of a segment")

	filled := make(chan struct{})
	go func() {
		defer close(filled)
		fill()
	}()
	await(t, filled, "checkpoint beside the removal")
	close(fs.removes.open)
	<-filled
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	if left := len(segmentFiles(t, fs)); left > files {
		t.Errorf("%d segment files are left, want the %d of the second half at most", left, files)
	}
}

// A log that syncs at intervals does so also while a checkpoint runs.
func TestIntervalSyncsBesideACheckpoint(t *testing.T) {
	fs := &slowFS{FS: vfs.NewSim(1), syncs: newGate()}
	log, err := engine.OpenEnv(env.OS(fs), "sim", engine.Options{Sync: engine.SyncInterval, SyncEvery: time.Millisecond, TailBytes: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	topic, event := engine.MustTopic("t"), mustEvent(t, "k", strings.Repeat("x", 1000))
	for range 32 { // half of the tails: a checkpoint in the background
		if _, err := log.Append(t.Context(), topic, event); err != nil {
			t.Fatal(err)
		}
	}
	await(t, fs.syncs.reached, "checkpoint")
	if _, err := log.Append(t.Context(), topic, event); err != nil {
		t.Fatal(err)
	}
	syncs := log.Stats().Syncs
	for start := time.Now(); log.Stats().Syncs == syncs; time.Sleep(time.Millisecond) {
		if time.Since(start) > soon {
			t.Error("no sync while a checkpoint runs")
			break
		}
	}
	close(fs.syncs.open)
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
}

func await(t *testing.T, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(soon):
		t.Errorf("no %s", what)
	}
}

func segmentFiles(t *testing.T, fs vfs.FS) []vfs.Entry {
	t.Helper()
	entries, err := fs.ReadDir("seg")
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

// A checkpoint lets others go first between two blocks. Where they compute, it
// must not wait for each of them at every block: appends wait for it in the end.
func TestCheckpointsGoOnBesideThoseWhoCompute(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	log, err := engine.OpenEnv(env.OS(vfs.NewSim(1)), "sim", engine.Options{BlockBytes: 1 << 10})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	batch := make([]engine.Event, 400)
	for i := range batch {
		batch[i] = mustEvent(t, "k", strings.Repeat("x", 1000))
	}
	if _, _, err := log.AppendBatch(t.Context(), engine.MustTopic("t"), batch); err != nil {
		t.Fatal(err)
	}
	var last, turns atomic.Int64
	var done atomic.Bool
	var computing sync.WaitGroup
	for who := range int64(2) {
		computing.Go(func() {
			for !done.Load() {
				if last.Swap(who) != who {
					turns.Add(1)
				}
			}
		})
	}
	err = log.Checkpoint(t.Context())
	n := turns.Load()
	done.Store(true)
	computing.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if blocks := log.Stats().Blocks; blocks < 300 || n > blocks/2 {
		t.Errorf("others had the processor %d times during a checkpoint of %d blocks, want half as often at most", n, blocks)
	}
}
