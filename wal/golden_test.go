package wal

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/seglog/seglog/internal/vfs"
)

var update = flag.Bool("update", false, "write the golden files")

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

// goldenPacked is the same of version 2: the first two frames share a page, and
// so do, behind a sync, the end of the third and the fourth.
func goldenPacked(t *testing.T) *logTest {
	t.Helper()
	l := newPackedTest(t)
	l.write(20, 376)
	l.sync()
	l.write(4500, 20)
	l.sync()
	if err := l.w.Seal(Header{Position: 7, ManifestGen: 2, ManifestLen: 8192, Flags: 0x300}); err != nil {
		t.Fatal(err)
	}
	l.close()
	return l
}

// The file of version 1 opens for ever, and writing it gives the same bytes.
func TestGoldenVersion1(t *testing.T) { testGolden(t, golden(t), "v1.wal", 4) }

func TestGoldenVersion2(t *testing.T) { testGolden(t, goldenPacked(t), "v2.wal", 6) }

func testGolden(t *testing.T, l *logTest, base string, frames int) {
	name := filepath.Join("testdata", base)
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
		t.Errorf("the writer no longer writes %s", base)
	}
	sim := vfs.NewSim(1)
	sim.SetFile(fileName(1), b)
	l.cfg.FS = sim
	res, got := l.mustScan(ScanOptions{CleanExpected: true})
	if err := l.check(got); err != nil {
		t.Fatal(err)
	}
	if res.Frames != frames || !res.Clean {
		t.Errorf("%d frames, clean %v; want %d, true", res.Frames, res.Clean, frames)
	}
}
