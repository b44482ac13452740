package engine_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/seglog/seglog/engine"
	"github.com/seglog/seglog/internal/env"
	"github.com/seglog/seglog/internal/vfs"
)

// simLog is a log on a simulated disk, without goroutines of its own.
type simLog struct {
	*engine.Engine
	t    testing.TB
	disk *vfs.Sim
	opts engine.Options
}

func openSim(t testing.TB, disk *vfs.Sim, o engine.Options) *simLog {
	t.Helper()
	l := &simLog{t: t, disk: disk, opts: o}
	if err := l.tryOpen(o); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *simLog) tryOpen(o engine.Options) (err error) {
	world := env.OS(l.disk)
	world.Inline = true
	l.Engine, err = engine.OpenEnv(world, "sim", o)
	return err
}

func (l *simLog) fill(topic string, from, to int) {
	l.t.Helper()
	for i := from; i <= to; i++ {
		id, err := l.Append(l.t.Context(), engine.MustTopic(topic), mustEvent(l.t, "k", fmt.Sprintf("%s %d", topic, i)))
		if err != nil {
			l.t.Fatal(err)
		}
		if id != engine.EventID(i) {
			l.t.Fatalf("event %d of topic %s got id %d", i, topic, id)
		}
	}
}

// readAround reads a topic, stepping over damage, and returns the ids that
// could be read and those reported lost.
func (l *simLog) readAround(topic string) (read, lost int, places []*engine.CorruptError) {
	l.t.Helper()
	after := engine.EventID(0)
	for {
		again := false
		for r, err := range l.Read(l.t.Context(), engine.MustTopic(topic), engine.ReadOptions{After: after}) {
			var c *engine.CorruptError
			if errors.As(err, &c) {
				places = append(places, c)
				if c.Topic != topic || c.File == "" || c.FirstID != after+1 || c.LastID < c.FirstID {
					l.t.Fatalf("after event %d: damage is reported as %+v", after, c)
				}
				lost += int(c.LastID - after)
				after, again = c.LastID, true
				break
			}
			if err != nil {
				l.t.Fatal(err)
			}
			if want := fmt.Sprintf("%q", fmt.Sprintf("%s %d", topic, r.ID)); r.ID != after+1 || string(r.Payload) != want {
				l.t.Fatalf("after event %d: read event %d, payload %s", after, r.ID, r.Payload)
			}
			after = r.ID
			read++
		}
		if !again {
			return read, lost, places
		}
	}
}

func fileOf(disk *vfs.Sim, prefix string) string {
	for name := range disk.Files() {
		if strings.HasPrefix(name, prefix) {
			return name
		}
	}
	return ""
}

// TestDamagedSegmentHidesOnlyItself damages one block, then one block header,
// of a segment that is not sealed, and then its footer.
func TestDamagedSegmentHidesOnlyItself(t *testing.T) {
	l := openSim(t, vfs.NewSim(1), engine.Options{WALBytes: 1 << 20, BlockBytes: 512, Compression: engine.CompressionNone})
	l.fill("a", 1, 200)
	l.fill("b", 1, 200)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	name := fileOf(l.disk, "seg/0000000000000001-")
	for off := int64(4096); off < int64(len(l.disk.Files()[name])); off += 97 {
		bad := &simLog{t: t, disk: l.disk.Clone(), opts: l.opts}
		bad.disk.Corrupt(name, off, 4)
		if err := bad.tryOpen(l.opts); err != nil {
			t.Fatalf("offset %d: %v", off, err)
		}
		read, lost, places := bad.readAround("a")
		var verified []*engine.CorruptError
		if err := bad.Verify(func(c *engine.CorruptError) { verified = append(verified, c) }, nil); err != nil {
			t.Fatal(err)
		}
		if len(verified) != 1 || verified[0].File != name || verified[0].Topic != "a" {
			t.Fatalf("offset %d: Verify reports %v", off, verified)
		}
		if lost == 0 {
			places = verified // a gap between blocks: nothing is lost
		}
		if read+lost != 200 || lost > 40 || len(places) != 1 || places[0].File != name {
			t.Fatalf("offset %d: %d events read, %d lost, reported %v", off, read, lost, places)
		}
		if read, lost, _ := bad.readAround("b"); read != 200 || lost != 0 {
			t.Fatalf("offset %d: topic b: %d read, %d lost", off, read, lost)
		}
		bad.fill("a", 201, 300)
		bad.fill("b", 201, 300)
		if err := bad.Close(); err != nil {
			t.Fatalf("offset %d: %v", off, err)
		}
	}
}

// TestDamagedCarryDoesNotStopTheLog: the carried block of one topic does not
// verify when more is to be put behind it, or when it is to be moved as it is.
func TestDamagedCarryDoesNotStopTheLog(t *testing.T) {
	for _, events := range []int{10, 40} {
		t.Run(fmt.Sprint(events), func(t *testing.T) { damagedCarry(t, events) })
	}
}

func damagedCarry(t *testing.T, events int) {
	o := engine.Options{WALBytes: 1 << 20, BlockBytes: 4096, Compression: engine.CompressionNone}
	l := openSim(t, vfs.NewSim(1), o)
	l.fill("a", 1, events)
	l.fill("b", 1, events)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	name := fileOf(l.disk, "carry-")
	l.disk.Corrupt(name, 4096+200, 1)
	if err := l.tryOpen(o); err != nil {
		t.Fatal(err)
	}
	check := func(last int) {
		t.Helper()
		read, lost, places := l.readAround("a")
		if read != last-events || lost != events || len(places) != 1 || places[0].File != name || places[0].Offset < 4096 {
			t.Fatalf("%d events read, %d lost, reported %v", read, lost, places)
		}
		if read, lost, _ := l.readAround("b"); read != last || lost != 0 {
			t.Fatalf("topic b: %d read, %d lost", read, lost)
		}
	}
	check(events)
	last := events
	for _, more := range []int{5, 300, 5, 300} {
		l.fill("a", last+1, last+more)
		l.fill("b", last+1, last+more)
		last += more
		if err := l.Checkpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
		check(last)
		l.disk = l.disk.Kill()
		if err := l.tryOpen(o); err != nil {
			t.Fatal(err)
		}
		check(last)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if err := l.tryOpen(o); err != nil {
			t.Fatal(err)
		}
		check(last)
	}
	if l.disk.Files()[name] == nil {
		t.Fatal("the file with what is left of the lost events is gone")
	}
	if _, err := l.Compact(t.Context(), engine.MustTopic("a"), 100); err != nil {
		t.Fatal(err)
	}
	if err := l.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	records, err := engine.ReadRange(t.Context(), l, engine.MustTopic("a"), 0, engine.NoLimit)
	if err != nil || len(records) != last-100 {
		t.Fatalf("after compaction %d events are read, and then %v", len(records), err)
	}
}

// TestLaterEventsMayBeLostFirst: small carried blocks at the end are merged, and
// so found to be damaged, before those in front of them.
func TestLaterEventsMayBeLostFirst(t *testing.T) {
	l := openSim(t, vfs.NewSim(1), engine.Options{WALBytes: 1 << 20, BlockBytes: 512, Compression: engine.CompressionNone})
	last := 0
	more := func(n int) {
		t.Helper()
		l.fill("t", last+1, last+n)
		last += n
		if err := l.Checkpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	damage := func(at int64) { l.disk.Corrupt("carry-0000000000000001", at, 1) }
	more(20) // stays
	more(2)  // is merged with what follows
	damage(8192 + 150)
	more(4)
	check := func(want int) {
		t.Helper()
		if read, lost, _ := l.readAround("t"); lost != want || read != last-want {
			t.Fatalf("%d events read, %d lost, want %d and %d", read, lost, last-want, want)
		}
	}
	check(2)
	damage(4096 + 150)
	more(2000) // moves
	check(22)
	more(1)
	l.disk = l.disk.Kill()
	if err := l.tryOpen(l.opts); err != nil {
		t.Fatal(err)
	}
	check(22)
	if _, err := l.Compact(t.Context(), engine.MustTopic("t"), 21); err != nil {
		t.Fatal(err)
	}
	for r, err := range l.Read(t.Context(), engine.MustTopic("t"), engine.ReadOptions{After: 22, Limit: 1}) {
		if err != nil || r.ID != 23 {
			t.Errorf("behind the lost events: event %d, %v", r.ID, err)
		}
	}
}
