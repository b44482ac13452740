package bench

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seglog/seglog/engine"
)

var (
	scaleFlag       = flag.Bool("scale", false, "run TestScale, which loads -events events, 10 million where that is not set")
	scaleTopicsFlag = flag.Int("scale-topics", 100_000, "topics of TestScale/topics")
)

const (
	scaleEvents      = 10_000_000
	scaleSmallEvents = 10_000
	// scaleNoise is how far two figures that should be the same may lie apart,
	// each a median; scaleSingleNoise is the same for a single one. What grows
	// with the events would differ by the factor between the logs' sizes.
	scaleNoise       = 3
	scaleSingleNoise = 20
)

// TestScale prints what must not grow with the size of a log, and fails where
// it does:
//
//	go test ./bench -run TestScale -scale -v -timeout 30m [-events 10000000] [-scale-topics 100000] [-dir DIR]
//	go test ./bench -run TestScale/kill -scale -v                         only a part of it
//
// Times are compared with one another only; sizes and counts have bounds of
// their own.
func TestScale(t *testing.T) {
	if !*scaleFlag {
		t.Skip("writes gigabytes: asked for with -scale")
	}
	diskDir(t)
	for _, topics := range []int{1, 8} {
		t.Run(fmt.Sprintf("events/topics=%d", topics), func(t *testing.T) { newScale(t).size(topics) })
	}
	// One event a frame takes a sync for each page of the write-ahead log, so
	// it gets less time to grow than batches do.
	t.Run("kill/batch=1", func(t *testing.T) { newScale(t).kill(1, 3) })
	t.Run(fmt.Sprintf("kill/batch=%d", loadBatch), func(t *testing.T) { newScale(t).kill(loadBatch, 5) })
	t.Run("topics", func(t *testing.T) { newScale(t).topics(*scaleTopicsFlag) })
}

// scale is one part of TestScale, in a directory of its own.
type scale struct {
	*testing.T
	dir    string
	events int
}

func newScale(t *testing.T) *scale {
	t.Helper()
	dir, err := os.MkdirTemp(*dirFlag, "scale-*.tmp")
	if err != nil {
		t.Fatal(err)
	}
	if dir, err = filepath.Abs(dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	s := &scale{T: t, dir: dir, events: scaleEvents}
	flag.Visit(func(f *flag.Flag) {
		if f.Name == "events" {
			s.events = *eventsFlag
		}
	})
	fmt.Printf("\n%s\n", t.Name())
	return s
}

// row prints one figure; one that is not as wanted fails the test.
func (s *scale) row(ok bool, what, measured, want string) {
	s.Helper()
	verdict := "ok"
	if !ok {
		verdict = "MISSED"
		s.Errorf("%s: %s, want %s", what, measured, want)
	}
	fmt.Printf("  %-40s %-64s %-14s %s\n", what, measured, want, verdict)
}

// note prints a figure that has no bound.
func (s *scale) note(what, measured string) { fmt.Printf("  %-40s %s\n", what, measured) }

// same prints two durations that should not differ.
func (s *scale) same(what string, small, large []time.Duration) {
	s.Helper()
	a, b := medianTime(small), medianTime(large)
	ratio, most := float64(b)/float64(a), float64(scaleNoise)
	if len(large) == 1 {
		most = scaleSingleNoise
	}
	s.row(ratio <= most, what, fmt.Sprintf("%v → %v, ratio %.2f (%d and %d times)", round(a), round(b), ratio, len(small), len(large)),
		fmt.Sprintf("ratio ≤ %g", most))
}

func medianTime(times []time.Duration) time.Duration {
	values := make([]float64, len(times))
	for i := range times {
		values[i] = float64(times[i])
	}
	return time.Duration(median(values))
}

func round(d time.Duration) time.Duration { return d.Round(max(d/1000, 1)).Round(time.Microsecond) }

func mib(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

func (s *scale) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *scale) open(dir string, opts engine.Options) *engine.Engine {
	s.Helper()
	log, err := engine.Open(dir, opts)
	s.must(err)
	return log
}

// use opens a log, and checks that closing it leaves neither goroutines nor
// descriptors behind.
func (s *scale) use(dir string, opts engine.Options, body func(*engine.Engine)) {
	s.Helper()
	goroutines, descriptors := runtime.NumGoroutine(), openDescriptors()
	log := s.open(dir, opts)
	body(log)
	s.must(log.Close())
	waitUntil(func() bool { return runtime.NumGoroutine() <= goroutines })
	if n := runtime.NumGoroutine() - goroutines; n > 0 {
		s.Errorf("%d goroutines are left after Close", n)
	}
	if n := openDescriptors() - descriptors; n > 0 {
		s.Errorf("%d descriptors are left after Close", n)
	}
}

// openDescriptors is 0 where the system does not say. The first file that is
// opened has the runtime open descriptors of its own, for good.
func openDescriptors() int {
	if f, err := os.Open(os.DevNull); err == nil {
		_ = f.Close() // nothing was written
	}
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(entries)
}

// waitUntil waits for what goes on in the background, and says how long it
// took; after a minute it gives up.
func waitUntil(done func() bool) time.Duration {
	began := time.Now()
	for !done() && time.Since(began) < time.Minute {
		time.Sleep(time.Millisecond)
	}
	return time.Since(began)
}

// load makes a log of events, and closes it.
func (s *scale) load(name string, topicCount, events int) string {
	s.Helper()
	dir := filepath.Join(s.dir, name)
	s.use(dir, engine.Options{Sync: engine.SyncNever}, func(log *engine.Engine) {
		topics, batch := Topics(topicCount), Events(loadBatch, payloadBytes)
		for i, left := 0, events; left > 0; i, left = i+1, left-loadBatch {
			_, _, err := log.AppendBatch(context.Background(), topics[i%topicCount], batch[:min(left, loadBatch)])
			s.must(err)
		}
	})
	return dir
}

// size compares a large log with small ones.
func (s *scale) size(topics int) {
	began := time.Now()
	large := s.load("large", topics, s.events)
	spent := time.Since(began)
	used, err := DiskUse(large)
	s.must(err)
	s.note("loaded", fmt.Sprintf("%d events in %v, %.0f/s, %s (%s of it write-ahead log)", s.events, round(spent),
		float64(s.events)/spent.Seconds(), mib(used.Allocated), mib(used.WAL)))
	const smallLogs = 9
	small := make([]string, smallLogs)
	for i := range small {
		small[i] = s.load(fmt.Sprintf("small-%d", i), topics, min(scaleSmallEvents, s.events))
	}
	s.openClean(small[0], large)
	s.readAll(large)
	s.readRaw(large, topics)
	s.compact(small, large, topics)
	if !s.Failed() {
		s.note("goroutines, descriptors left after Close", "0, 0")
	}
}

func (s *scale) openClean(small, large string) {
	s.Helper()
	open := func(dir string) (spent time.Duration) {
		began := time.Now()
		s.use(dir, engine.Options{}, func(log *engine.Engine) {
			spent = time.Since(began)
			if !log.OpenReport().Clean {
				s.Fatalf("%s was not closed clean: %+v", dir, log.OpenReport())
			}
		})
		return spent
	}
	var a, b []time.Duration
	for range 31 {
		a, b = append(a, open(small)), append(b, open(large))
	}
	s.same("open after a clean close", a, b)
}

// readAll reads every event in another process, so that what this one used
// before does not count.
func (s *scale) readAll(dir string) {
	s.Helper()
	const most = 128 << 20
	var got readReport
	s.child("read", dir, &got)
	if got.Events != s.events {
		s.Fatalf("read %d events, want %d", got.Events, s.events)
	}
	s.note("read with Read", fmt.Sprintf("%d events in %v, %.0f/s", got.Events, round(got.Spent), float64(got.Events)/got.Spent.Seconds()))
	if got.PeakBytes == 0 {
		s.note("peak memory of the process that read", "not known on this system")
		return
	}
	s.row(got.PeakBytes < most, "peak memory of the process that read",
		fmt.Sprintf("%s (heap %s at the end)", mib(got.PeakBytes), mib(got.HeapBytes)), "< "+mib(most))
}

// readRaw counts allocations of a scan just after the log was opened.
func (s *scale) readRaw(dir string, topics int) {
	s.Helper()
	const most = 0.01
	s.use(dir, engine.Options{}, func(log *engine.Engine) {
		var before, after runtime.MemStats
		count := 0
		runtime.ReadMemStats(&before)
		began := time.Now()
		for _, topic := range Topics(topics) {
			for _, err := range log.ReadRaw(context.Background(), topic, engine.ReadOptions{}) {
				s.must(err)
				count++
			}
		}
		spent := time.Since(began)
		runtime.ReadMemStats(&after)
		if count != s.events {
			s.Fatalf("read %d events, want %d", count, s.events)
		}
		each := float64(after.Mallocs-before.Mallocs) / float64(count)
		s.note("read with ReadRaw", fmt.Sprintf("%d events in %v, %.0f/s", count, round(spent), float64(count)/spent.Seconds()))
		s.row(each < most, "allocations per event of ReadRaw", fmt.Sprintf("%.5f (%.1f bytes)", each,
			float64(after.TotalAlloc-before.TotalAlloc)/float64(count)), fmt.Sprintf("< %g", most))
	})
}

// compact drops the first half of every topic.
func (s *scale) compact(small []string, large string, topics int) {
	s.Helper()
	var a []time.Duration
	for _, dir := range small {
		s.use(dir, engine.Options{}, func(log *engine.Engine) { a = append(a, s.compactHalf(log, topics)...) })
	}
	s.use(large, engine.Options{}, func(log *engine.Engine) {
		before, err := DiskUse(large)
		s.must(err)
		b := s.compactHalf(log, topics)
		s.same("Compact half", a, b)
		data := before.Allocated - before.WAL
		want := data/2 + min(data/2, int64(topics)*scaleSegmentBytes) + 4<<20
		var now int64
		took := waitUntil(func() bool {
			used, err := DiskUse(large)
			s.must(err)
			now = used.Allocated - used.WAL
			return now <= want
		})
		s.row(now <= want, "data on disk after Compact",
			fmt.Sprintf("%s → %s after %v, %d files removed", mib(data), mib(now), round(took), log.Stats().SegmentsRemoved), "≤ "+mib(want))
	})
}

// scaleSegmentBytes is about the default size of a segment file: one that is
// only partly below the bound stays, for each topic.
const scaleSegmentBytes = 65 << 20

// compactHalf times each call by itself. What the calls before left to do in
// the background is done first.
func (s *scale) compactHalf(log *engine.Engine, topics int) (spent []time.Duration) {
	s.Helper()
	ctx := context.Background()
	for i, topic := range Topics(topics) {
		if i > 0 {
			s.must(log.Checkpoint(ctx))
		}
		latest, _, err := log.Latest(ctx, topic)
		s.must(err)
		began := time.Now()
		report, err := log.Compact(ctx, topic, latest/2)
		spent = append(spent, time.Since(began))
		s.must(err)
		if report.Removed != uint64(latest/2) || report.Remaining != uint64(latest-latest/2) {
			s.Fatalf("compact %s before %d: %+v", topic, latest/2, report)
		}
	}
	return spent
}

// kill opens logs whose process was killed while it appended, after it had
// written once and several times what the write-ahead log may hold.
func (s *scale) kill(batch, times int) {
	var opened [2][]time.Duration
	var events, onDisk [2]int64
	for i, budgets := range []int{1, times} {
		dir := filepath.Join(s.dir, fmt.Sprintf("killed-%d", budgets))
		had := s.killWhileAppending(dir, budgets, batch)
		opened[i], events[i] = s.openKilled(dir)
		var err error
		onDisk[i], err = walUse(dir)
		s.must(err)
		s.note(fmt.Sprintf("killed after %d× the budget", budgets), fmt.Sprintf("%s written in %v, %s in use; replayed %d events, opened in %v",
			mib(had.WrittenBytes), round(had.Spent), mib(had.UsedBytes), events[i], round(medianTime(opened[i]))))
		for n := range opened[i] { // a checkpoint leaves now more, now less
			opened[i][n] = opened[i][n] * 1000 / time.Duration(events[i])
		}
	}
	s.same(fmt.Sprintf("open after a kill, per 1,000 events, %d×", times), opened[0], opened[1])
	// A checkpoint begins at a quarter of Options.TailBytes, and appends go on
	// beside it until all of that is used.
	const most = 4
	ratio := float64(events[1]) / float64(events[0])
	s.row(ratio <= most, "events replayed", fmt.Sprintf("%d → %d, ratio %.2f", events[0], events[1], ratio), fmt.Sprintf("ratio ≤ %d", most))
	s.row(max(onDisk[0], onDisk[1]) <= walBudget, "write-ahead log on disk", mib(onDisk[0])+" → "+mib(onDisk[1]), "≤ "+mib(walBudget))
}

// openKilled opens copies of a log: opening one takes away what is measured.
func (s *scale) openKilled(dir string) (spent []time.Duration, events int64) {
	s.Helper()
	for n := range 3 {
		again := fmt.Sprintf("%s-%d", dir, n)
		s.must(os.CopyFS(again, os.DirFS(dir)))
		began := time.Now()
		s.use(again, engine.Options{}, func(log *engine.Engine) {
			spent = append(spent, time.Since(began))
			report := log.OpenReport()
			events = int64(report.Events)
			if report.Clean || events == 0 {
				s.Fatalf("nothing was replayed after a kill: %+v", report)
			}
		})
		s.must(os.RemoveAll(again))
	}
	return spent, events
}

// walBudget is the default of engine.Options.WALBytes.
const walBudget = 128 << 20

// walUse is the size of the write-ahead log's files.
func walUse(dir string) (n int64, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return 0, err
		}
		if strings.HasPrefix(e.Name(), "wal-") {
			n += info.Size()
		}
	}
	return n, nil
}

// topics has very many topics with one event, and then with two.
func (s *scale) topics(count int) {
	dir := filepath.Join(s.dir, "topics")
	syncs, began := int64(0), time.Now()
	phase := func(name string) {
		s.note(name, round(time.Since(began)).String())
		began = time.Now()
	}
	s.use(dir, engine.Options{}, func(log *engine.Engine) {
		phase("open an empty log")
		s.must(appendToAll(log, count))
		phase(fmt.Sprintf("append to %d topics", count))
		syncs += log.Stats().Syncs
	})
	phase("close")
	heap := heapBytes()
	began = time.Now()
	s.use(dir, engine.Options{}, func(log *engine.Engine) {
		phase("open again")
		each := float64(heapBytes()-heap) / float64(count)
		s.row(each < 1024, "memory per idle topic", fmt.Sprintf("%.0f bytes", each), "< 1024 bytes")
		began = time.Now()
		s.must(appendToAll(log, count))
		phase("append to all again")
		syncs += log.Stats().Syncs
		if got := log.Stats().Topics; got != count {
			s.Fatalf("%d topics, want %d", got, count)
		}
	})
	phase("close again")
	s.checkTopics(dir, count)
	used, err := DiskUse(dir)
	s.must(err)
	files, err := os.ReadDir(filepath.Join(dir, "seg"))
	s.must(err)
	s.note("disk", fmt.Sprintf("%s, %s without the write-ahead log, %d segment files", mib(used.Allocated), mib(used.Allocated-used.WAL), len(files)))
	s.row(syncs < int64(max(count/20, 50)), "syncs, as Stats counts them until Close", fmt.Sprint(syncs), fmt.Sprintf("< %d", max(count/20, 50)))
	calls, err := s.traceTopics(count)
	if err != nil {
		s.note("syncs, as strace counts them", err.Error())
		return
	}
	s.row(calls.total < max(count/20, 50), "syncs, as strace counts them", calls.String(), fmt.Sprintf("< %d", max(count/20, 50)))
}

// checkTopics reads the two events of each topic.
func (s *scale) checkTopics(dir string, count int) {
	s.Helper()
	began := time.Now()
	s.use(dir, engine.Options{}, func(log *engine.Engine) {
		for _, topic := range Topics(count) {
			records, err := engine.ReadRange(context.Background(), log, topic, 0, engine.NoLimit)
			s.must(err)
			if len(records) != 2 {
				s.Fatalf("topic %s has %d events, want 2", topic, len(records))
			}
		}
	})
	s.note("open, read all and close", round(time.Since(began)).String())
}

// appendToAll appends one event to each topic, many at a time.
func appendToAll(log engine.EventLog, count int) error {
	topics, events := Topics(count), Events(distinctEvents, payloadBytes)
	var next atomic.Int64
	_, err := Crowd(256, func() bool { return next.Load() < int64(count) }, func(int, int) error {
		i := int(next.Add(1)) - 1
		if i >= count {
			return nil
		}
		_, err := log.Append(context.Background(), topics[i], events[i%len(events)])
		return err
	})
	return err
}

func heapBytes() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what the first one's finalizers and pools held
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
