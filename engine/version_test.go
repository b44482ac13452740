package engine_test

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/seglog/seglog/engine"
	"github.com/seglog/seglog/internal/env"
	"github.com/seglog/seglog/internal/vfs"
	"github.com/seglog/seglog/wal"
)

// A record of an unknown type is a newer version's, and not corruption.
func TestUnknownRecordIsANewerVersion(t *testing.T) {
	sim := vfs.NewSim(1)
	openSim(t, sim, engine.Options{})
	disk := sim.Kill()
	cfg := wal.Config{FS: disk, MaxBytes: 1 << 20, FileBytes: 64 << 10, Rand: rand.Uint64}
	for name, b := range disk.Files() {
		if strings.HasPrefix(name, "manifest-") {
			copy(cfg.UUID[:], b[16:32])
		}
	}
	w, err := wal.NewWriter(cfg, wal.ScanResult{})
	if err != nil {
		t.Fatal(err)
	}
	var buf wal.Buffer
	b := buf.Extend(16)
	clear(b)
	b[0] = 6
	binary.LittleEndian.PutUint32(b[4:], 8)
	buf.AddRecord()
	if _, _, err := w.Write(&buf, wal.Header{ManifestGen: 1}, false); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Sync(), w.Close()); err != nil {
		t.Fatal(err)
	}
	for _, readOnly := range []bool{false, true} {
		e, err := engine.OpenEnv(env.Env{FS: disk.Clone(), Now: time.Now, Rand: rand.Uint64, Inline: true}, "sim", engine.Options{ReadOnly: readOnly})
		if err == nil {
			_ = e.Close()
		}
		if !errors.Is(err, engine.ErrVersion) {
			t.Errorf("read-only %v: got %v, want ErrVersion", readOnly, err)
		}
	}
}
