package sqlite

import (
	"errors"
	"fmt"
	"testing"

	"github.com/seglog/seglog/engine"
)

// failingOpens are watches whose poller cannot open a connection until it is
// allowed to.
func failingOpens(t *testing.T, log *Log, err error) (f *follower, t1 *watch, allow func()) {
	t.Helper()
	allowed := false
	w := newWatches(func() (*conn, error) {
		if !allowed {
			return nil, err
		}
		return log.openReader()
	}, make(chan struct{}))
	w.ended = true // the test looks, not a poller
	f = &follower{watches: w}
	t.Cleanup(f.close)
	return f, w.join(jobs), func() { allowed = true }
}

func TestSubscribersOutliveATimeWithoutFileDescriptors(t *testing.T) {
	log := openLog(t, newFile(t), Options{})
	f, w, allow := failingOpens(t, log, fmt.Errorf("%w: too many open files", engine.ErrSQLite))
	for range failingLooksMax - 1 {
		if err := f.lookAgain(); err != nil {
			t.Fatal(err)
		}
	}
	allow()
	fill(t, log, jobs, 3) // by another log than the one that follows
	if err := f.lookAgain(); err != nil {
		t.Fatal(err)
	}
	if latest, _, err := f.watches.state(w); err != nil || latest != 3 {
		t.Errorf("the subscribers know of events up to %d, %v, want 3", latest, err)
	}
	if f.failing != 0 {
		t.Errorf("%d failures still count", f.failing)
	}
}

func TestSubscribersLearnOfWhatDoesNotPass(t *testing.T) {
	for name, test := range map[string]struct {
		err   error
		looks int
	}{
		"damage":             {corrupt("db", "", 0, "gone bad"), 1},
		"no end of failures": {fmt.Errorf("%w: no such file", engine.ErrSQLite), failingLooksMax},
	} {
		f, _, _ := failingOpens(t, openLog(t, newFile(t), Options{}), test.err)
		looks := 1
		for f.lookAgain() == nil {
			looks++
		}
		if err := f.lookAgain(); !errors.Is(err, test.err) || looks != test.looks {
			t.Errorf("%s: got %v after %d looks, want %v after %d", name, err, looks, test.err, test.looks)
		}
	}
}
