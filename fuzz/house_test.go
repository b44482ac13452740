package fuzz

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/seglog/seglog/fuzz/rig"
	"github.com/seglog/seglog/fuzz/script"
	"github.com/seglog/seglog/internal/vfs"
)

var (
	full   = flag.Bool("full", false, "all crash points, faults and bits instead of a sample: hours")
	scale  = flag.Int("scale", 1, "how many times as many crash points, faults and bits as the usual sample")
	depth2 = flag.Bool("deep", false, "with -full: every crash point within every recovery")
	seeds  = flag.Int("seeds", 0, "seeds of the simulation; 0: a few")
	from   = flag.Uint64("from", 0, "the first seed of the simulation")
	replay = flag.String("replay", "", "file with a script to run instead of generated ones")
)

// apart is how far apart the cases of a sweep are that takes each every-th. The
// short form is for the race detector: it repeats what one goroutine does.
func apart(every int) int {
	switch {
	case *full:
		return 1
	case testing.Short():
		return 4 * every
	}
	return max(1, every / *scale)
}

// skipShort skips a long test of the house alone where the race detector, which
// has nothing to find in it, would make it longer.
func skipShort(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("not in the short form")
	}
}

// part is how many of n cases the short form of a test takes; they are spread
// over all, at places that differ from one variant to the next.
func stride(n, most int) int {
	if *full {
		return 1
	}
	return max(1, n/most)
}

// parallel runs jobs on all cores and stops at the first error.
func parallel(n int, job func(i int) error) error {
	var (
		next  atomic.Int64
		wg    sync.WaitGroup
		once  sync.Once
		first error
	)
	for range min(n, runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := job(i); err != nil {
					once.Do(func() { first = err })
					next.Store(int64(n))
				}
			}
		})
	}
	wg.Wait()
	return first
}

// play runs a script in a fresh rig, to its end and beyond.
func play(target rig.Target, s script.Script, seed uint64) (*rig.Rig, error) {
	r := rig.New(target, s.Options, seed)
	if err := r.Run(s.Ops); err != nil {
		return r, err
	}
	if target.Volatile {
		if err := r.Check(); err != nil {
			return r, err
		}
		return r, r.Log.Close()
	}
	return r, r.Finish()
}

// explain shrinks a script that fails and returns what a person needs: the
// smallest script and the end of its list of file operations.
func explain(target rig.Target, s script.Script, seed uint64, err error) string {
	small := script.Shrink(s, 2000, func(c script.Script) bool {
		_, err := play(target, c, seed)
		return err != nil
	})
	r, smallErr := play(target, small, seed)
	return fmt.Sprintf("%v\nthe smallest script, seed %d:\n%s%v\nlast file operations:\n%s", err, seed, small, smallErr, tail(r.Disk, 30))
}

func tail(disk *vfs.Sim, n int) string {
	log := disk.Log()
	return strings.Join(log[max(0, len(log)-n):], "\n")
}

// readScript parses a script file given by flag.
func readScript(t *testing.T, name string) script.Script {
	t.Helper()
	b, err := os.ReadFile(filepath.Clean(name))
	if err != nil {
		t.Fatal(err)
	}
	s, err := script.Parse(string(b))
	if err != nil {
		t.Fatal(err)
	}
	return s
}
