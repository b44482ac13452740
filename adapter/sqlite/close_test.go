package sqlite

import (
	"errors"
	"os"
	"runtime"
	"testing"

	"github.com/seglog/seglog/engine"
)

func TestCloseLeavesNothingBehind(t *testing.T) {
	use(t, newFile(t)) // what SQLite sets up once for all
	goroutines, descriptors := runtime.NumGoroutine(), openDescriptors(t)
	for range 5 {
		use(t, newFile(t))
	}
	// A goroutine that has told Close of its end may take a moment to be gone.
	for ctx := testContext(t); runtime.NumGoroutine() > goroutines && ctx.Err() == nil; {
		runtime.Gosched()
	}
	if n := runtime.NumGoroutine(); n > goroutines {
		stacks := make([]byte, 1<<20)
		t.Errorf("%d goroutines, there were %d:\n%s", n, goroutines, stacks[:runtime.Stack(stacks, true)])
	}
	if n := openDescriptors(t); n > descriptors {
		t.Errorf("%d descriptors are open, there were %d", n, descriptors)
	}
}

// use does with a log what starts goroutines and opens connections, and leaves
// subscriptions and reads unfinished.
func use(t *testing.T, file string) {
	t.Helper()
	log, err := Open(file, Options{Sync: engine.SyncInterval})
	if err != nil {
		t.Fatal(err)
	}
	fill(t, log, jobs, 3)
	ended := make(chan error)
	for range 3 {
		reached := make(chan struct{})
		go func() {
			for r, err := range log.Subscribe(t.Context(), jobs, engine.SubscribeOptions{}) {
				if err != nil {
					ended <- err
				} else if r.ID == 3 {
					close(reached)
				}
			}
		}()
		<-reached
	}
	for _, err := range log.Read(t.Context(), jobs, engine.ReadOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		break
	}
	follower, err := Open(file, Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range follower.Subscribe(t.Context(), jobs, engine.SubscribeOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		break
	}
	for _, l := range []*Log{follower, log, log} {
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		if err := <-ended; !errors.Is(err, engine.ErrClosed) {
			t.Errorf("a subscription ended with %v", err)
		}
	}
}

// openDescriptors counts them where the system tells; elsewhere it is always 0.
func openDescriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(entries)
}
