package engine_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/seglog/seglog/engine"
	"github.com/seglog/seglog/internal/env"
	"github.com/seglog/seglog/internal/vfs"
)

// fullFS has no space for anything but files that are there, as long as full
// says so.
type fullFS struct {
	vfs.FS
	full atomic.Bool
}

type fullFile struct {
	vfs.File
	fs   *fullFS
	name string
}

func (f *fullFS) wrap(file vfs.File, name string, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &fullFile{file, f, name}, nil
}

func (f *fullFS) Create(name string) (vfs.File, error) {
	file, err := f.FS.Create(name)
	return f.wrap(file, name, err)
}

func (f *fullFS) Open(name string) (vfs.File, error) {
	file, err := f.FS.Open(name)
	return f.wrap(file, name, err)
}

func (f *fullFS) OpenDirect(name string) (vfs.File, error) {
	file, err := f.FS.OpenDirect(name)
	return f.wrap(file, name, err)
}

func (f *fullFile) WriteAt(b []byte, off int64) (int, error) {
	if f.fs.full.Load() && !strings.HasPrefix(f.name, "wal-") {
		return 0, vfs.ErrNoSpace
	}
	return f.File.WriteAt(b, off)
}

// On a full disk consumers go on from the reserve, also while others go on
// trying to append, and when there is space so do they.
func TestAcksGoOnBesideAppendsOnAFullDisk(t *testing.T) {
	fs := &fullFS{FS: vfs.NewSim(1)}
	log, err := engine.OpenEnv(env.OS(fs), "sim", engine.Options{WALBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	topic, consumer := engine.MustTopic("t"), engine.MustConsumerID("c")
	event := mustEvent(t, "k", strings.Repeat("x", 2000))
	fs.full.Store(true)
	latest := engine.EventID(0)
	for err == nil {
		var id engine.EventID
		if id, err = log.Append(t.Context(), topic, event); err == nil {
			latest = id
		}
	}
	if !errors.Is(err, engine.ErrNoSpace) {
		t.Fatal(err)
	}
	var stop atomic.Bool
	var appenders sync.WaitGroup
	for range 4 {
		appenders.Go(func() {
			for !stop.Load() {
				if _, err := log.Append(context.Background(), topic, event); !errors.Is(err, engine.ErrNoSpace) {
					t.Errorf("append on a full disk: %v", err)
					return
				}
			}
		})
	}
	for i := range engine.EventID(8) { // the reserve has room for 16 frames of a page
		if err := log.Ack(t.Context(), topic, consumer, latest-i); err != nil {
			t.Errorf("ack on a full disk: %v", err)
		}
	}
	stop.Store(true)
	appenders.Wait()
	fs.full.Store(false)
	if id, err := log.Append(t.Context(), topic, event); err != nil || id != latest+1 {
		t.Errorf("append on a disk with space gives id %d, %v, want %d", id, err, latest+1)
	}
	if id, ok, err := log.Cursor(t.Context(), topic, consumer); err != nil || !ok || id != latest-7 {
		t.Errorf("cursor is %d, %v, %v, want %d", id, ok, err, latest-7)
	}
}
