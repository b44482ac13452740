package wal

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/seglog/seglog/internal/vfs"
)

var update = flag.Bool("update", false, "write the golden file of the current version")

// golden writes the log that the golden file holds.
func golden(t *testing.T) *logTest {
	t.Helper()
	l := newLogTest(t)
	l.append(20, 4500)
	if err := l.w.Seal(Header{Position: 7, ManifestGen: 2, ManifestLen: 8192, Flags: 0x300}); err != nil {
		t.Fatal(err)
	}
	l.close()
	return l
}

// The file of version 1 opens for ever, and writing it gives the same bytes.
func TestGoldenVersion1(t *testing.T) {
	name := filepath.Join("testdata", "v1.wal")
	l := golden(t)
	if *update {
		if err := os.WriteFile(name, l.sim.Files()[fileName(1)], 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b, l.sim.Files()[fileName(1)]) {
		t.Error("the writer no longer writes version 1")
	}
	sim := vfs.NewSim(1)
	sim.SetFile(fileName(1), b)
	l.cfg.FS = sim
	res, got := l.mustScan(ScanOptions{CleanExpected: true})
	if err := l.check(got); err != nil {
		t.Fatal(err)
	}
	if res.Frames != 4 || !res.Clean {
		t.Errorf("%d frames, clean %v; want 4, true", res.Frames, res.Clean)
	}
}
