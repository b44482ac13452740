package engine

import (
	"sync"
	"testing"

	"github.com/seglog/seglog/internal/env"
	"github.com/seglog/seglog/internal/vfs"
)

// A frame that claims more of a manifest than was ever written makes the next
// open after a crash report corruption. So what a commit takes beside a rotation
// is the old manifest and its length, or the new one and its length.
func TestFramesKnowOneManifestAtATime(t *testing.T) {
	log, err := OpenEnv(env.OS(vfs.NewSim(1)), "sim", Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	topic := MustTopic("t")
	sizes, claimed := map[uint64]int64{}, map[uint64]int64{} // by generation
	stop, first := make(chan struct{}), make(chan struct{})
	var reader sync.WaitGroup
	reader.Go(func() {
		for i := 0; ; i++ {
			h := log.walHeader()
			claimed[h.ManifestGen] = max(claimed[h.ManifestGen], h.ManifestLen)
			if i == 0 {
				close(first)
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	<-first
	for i := range 400 {
		if i%2 == 0 { // the next manifest is shorter than this one
			for range 3 {
				if _, err := log.Append(t.Context(), topic, Event{Kind: "k", Payload: []byte(`1`)}); err != nil {
					t.Fatal(err)
				}
				if err := log.Checkpoint(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		log.checkpointMu.Lock()
		sizes[log.manifest.gen] = log.manifest.size
		err := log.rotateManifest(nil, false)
		log.checkpointMu.Unlock()
		if err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	reader.Wait()
	for gen, size := range sizes {
		if claimed[gen] > size {
			t.Errorf("%d bytes of manifest %d claimed, which had %d", claimed[gen], gen, size)
		}
	}
}
