package sqlite

import (
	"errors"
	"sync"
	"time"

	driver "zombiezen.com/go/sqlite"

	"github.com/seglog/seglog/engine"
)

// pollEvery is how often the log asks whether another process has committed,
// while somebody subscribes. Asking reads a counter in shared memory.
const pollEvery = 20 * time.Millisecond

// failingLooksMax is how many looks in a row may fail, over ten seconds and
// more, before subscribers are told: a process that is out of file descriptors
// or memory gets some back.
const failingLooksMax = 500

// watches wake subscribers: at once after this log's own commits, and within
// [pollEvery] after those of other processes. There is one poller for all of
// them, and it runs only while there are any.
type watches struct {
	open   func() (*conn, error)
	closed chan struct{} // closed when the log closes
	poller sync.WaitGroup

	mu      sync.Mutex // guards the fields below
	byTopic map[engine.Topic]*watch
	users   int           // of all topics
	stop    chan struct{} // closed to end the poller; nil: there is none
	joined  bool          // since the poller looked at all topics
	ended   bool          // no poller starts any more
}

// watch is what subscribers of one topic share; guarded by watches.mu.
type watch struct {
	users   int
	latest  int64         // as far as is known
	err     error         // other processes cannot be followed any more
	changed chan struct{} // closed and replaced whenever they should look again
}

func newWatches(open func() (*conn, error), closed chan struct{}) *watches {
	return &watches{open: open, closed: closed, byTopic: map[engine.Topic]*watch{}}
}

// join returns topic's watch. The caller reads the topic's latest id
// afterwards, and leaves in the end.
func (w *watches) join(topic engine.Topic) *watch {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := w.byTopic[topic]
	if t == nil {
		t = &watch{changed: make(chan struct{})}
		w.byTopic[topic] = t
	}
	t.users++
	w.users++
	w.joined = true
	if w.stop == nil && !w.ended {
		stop := make(chan struct{})
		w.stop = stop
		w.poller.Go(func() { w.poll(stop) })
	}
	return t
}

func (w *watches) leave(topic engine.Topic) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := w.byTopic[topic]
	if t.users--; t.users == 0 {
		delete(w.byTopic, topic)
	}
	if w.users--; w.users == 0 && w.stop != nil {
		close(w.stop)
		w.stop = nil
	}
}

// state returns what is known of a topic, and the channel that is closed when
// that has changed.
func (w *watches) state(t *watch) (latest int64, changed <-chan struct{}, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return t.latest, t.changed, t.err
}

// raise notes that topic has events up to latest.
func (w *watches) raise(topic engine.Topic, latest int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.raiseLocked(topic, latest)
}

func (w *watches) raiseLocked(topic engine.Topic, latest int64) {
	if t := w.byTopic[topic]; t != nil && latest > t.latest {
		t.latest = latest
		t.wake()
	}
}

func (t *watch) wake() {
	close(t.changed)
	t.changed = make(chan struct{})
}

// publish tells subscribers of a transaction that has been committed.
func (w *watches) publish(t *transaction) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.users == 0 {
		return
	}
	for _, h := range t.changed {
		w.raiseLocked(h.topic, h.latest)
	}
}

// close waits for the poller to end, which closed tells it to.
func (w *watches) close() {
	w.mu.Lock()
	w.ended = true
	w.mu.Unlock()
	w.poller.Wait()
}

// poll is the poller.
func (w *watches) poll(stop chan struct{}) {
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	f := follower{watches: w}
	defer f.close()
	for {
		select {
		case <-stop:
			return
		case <-w.closed:
			return
		case <-ticker.C:
			if err := f.lookAgain(); err != nil {
				w.fail(err)
			}
		}
	}
}

// fail tells all subscribers that other processes cannot be followed.
func (w *watches) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range w.byTopic {
		t.err = err
		t.wake()
	}
}

// follower notices commits. It needs one connection all the time, because
// data_version has a meaning only within one.
type follower struct {
	watches *watches
	conn    *conn
	version int64
	failing int // looks in a row
}

// lookAgain is look for every tick. It returns an error only where subscribers
// must know: the next look will do for what may pass. It goes on then with
// another connection, since this one may be of a file that is gone.
func (f *follower) lookAgain() error {
	err := f.look()
	if err == nil {
		f.failing = 0
		return nil
	}
	if driver.ErrCode(err).ToPrimary() == driver.ResultBusy {
		return nil
	}
	f.close()
	if f.failing++; f.failing < failingLooksMax && !errors.Is(err, engine.ErrCorrupt) {
		return nil
	}
	return err
}

func (f *follower) look() error {
	if f.conn == nil {
		c, err := f.watches.open()
		if err != nil {
			return err
		}
		f.conn, f.version = c, -1 // which differs from all: the first look is at all topics
	}
	version, _, err := f.conn.integer("PRAGMA data_version")
	if err != nil {
		return err
	}
	// The version is read before the topics, so that nothing falls between.
	for _, topic := range f.watches.toLookAt(version != f.version) {
		latest, err := f.conn.latest(topic)
		if err != nil {
			f.version = -1 // the next look is at all topics
			return err
		}
		f.watches.raise(topic, latest)
	}
	f.version = version
	return nil
}

// toLookAt returns all topics where something was committed, or where somebody
// joined: what was committed before the poller's first look shows in no
// version.
func (w *watches) toLookAt(committed bool) (topics []engine.Topic) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if committed || w.joined {
		for topic := range w.byTopic {
			topics = append(topics, topic)
		}
	}
	w.joined = false
	return topics
}

func (f *follower) close() {
	if f.conn != nil {
		_ = f.conn.close() // it has only read
		f.conn = nil
	}
}
