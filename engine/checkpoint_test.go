package engine_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/seglog/seglog/engine"
	"github.com/seglog/seglog/internal/env"
	"github.com/seglog/seglog/internal/vfs"
)

// TestCheckpointOfManyTopicsOpensFewFiles moves a thousand topics into
// segments of their own at once.
func TestCheckpointOfManyTopicsOpensFewFiles(t *testing.T) {
	l := openSim(t, vfs.NewSim(1), engine.Options{BlockBytes: 256, TailBytes: 256 << 20, WALBytes: 1 << 30})
	const topics = 1000
	large := mustEvent(t, "k", strings.Repeat("x", 5000))
	for i := range topics {
		if _, err := l.Append(t.Context(), engine.MustTopic(fmt.Sprint("t", i)), large); err != nil {
			t.Fatal(err)
		}
	}
	most := 0
	l.disk.OnOp(func(int, string, string) { most = max(most, l.disk.OpenFiles()) })
	if err := l.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.disk.OnOp(nil)
	segments := 0
	for name := range l.disk.Files() {
		if strings.HasPrefix(name, "seg/") {
			segments++
		}
	}
	if segments != topics {
		t.Fatalf("%d segments, want one for each of %d topics", segments, topics)
	}
	if most > 200 {
		t.Errorf("%d files were open at once", most)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if open := l.disk.OpenFiles(); open != 0 {
		t.Errorf("%d files are open after Close", open)
	}
}

// TestOldCarryFilesAreEmptied lets cold topics sit in carry files while others
// fill more of them: the cold ones move on, and nothing is lost.
func TestOldCarryFilesAreEmptied(t *testing.T) {
	l := openSim(t, vfs.NewSim(1), engine.Options{BlockBytes: 4096, SegmentBytes: 16 << 10, Compression: engine.CompressionNone})
	l.fill("cold", 1, 3)
	l.fill("warm", 1, 200)
	last := map[string]int{}
	for round := range 40 {
		for i := range 4 {
			name := fmt.Sprint("busy", i)
			l.fill(name, last[name]+1, last[name]+60)
			last[name] += 60
		}
		if err := l.Checkpoint(t.Context()); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}
	carries := 0
	for name := range l.disk.Files() {
		if name == "carry-0000000000000001" {
			t.Error("the first carry file is still there")
		}
		if strings.HasPrefix(name, "carry-") {
			carries++
		}
	}
	if carries > 12 {
		t.Errorf("there are %d carry files", carries)
	}
	last["cold"], last["warm"] = 3, 200
	check := func() {
		t.Helper()
		for name, want := range last {
			if read, lost, _ := l.readAround(name); read != want || lost != 0 {
				t.Errorf("topic %s: %d events read, %d lost, want %d", name, read, lost, want)
			}
		}
	}
	check()
	l.disk = l.disk.Kill()
	if err := l.tryOpen(l.opts); err != nil {
		t.Fatal(err)
	}
	check()
}

// carries are the log's carry files, and what they have in all.
func (l *simLog) carries() (n, bytes int) {
	for name, content := range l.disk.Files() {
		if strings.HasPrefix(name, "carry-") {
			n, bytes = n+1, bytes+len(content)
		}
	}
	return n, bytes
}

// TestCarryFilesAreEmptiedAsFastAsTheyFill has each checkpoint fill many carry
// files, with an event of a topic of its own in each, which needs it for ever.
func TestCarryFilesAreEmptiedAsFastAsTheyFill(t *testing.T) {
	l := openSim(t, vfs.NewSim(1), engine.Options{BlockBytes: 4096, SegmentBytes: 16 << 10, Compression: engine.CompressionNone})
	const rounds, busy, perRound = 60, 10, 200
	for round := range rounds {
		for i := range busy {
			l.fill(fmt.Sprint("busy", i), round*perRound+1, (round+1)*perRound)
			l.fill(fmt.Sprintf("cold%d.%d", round, i), 1, 1)
		}
		if err := l.Checkpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n, bytes := l.carries(); bytes > 1<<20 {
		t.Errorf("%d carry files have %d bytes", n, bytes)
	}
	for i := range busy {
		if read, lost, _ := l.readAround(fmt.Sprint("busy", i)); read != rounds*perRound || lost != 0 {
			t.Errorf("busy topic %d: %d events read, %d lost", i, read, lost)
		}
		for round := range rounds {
			if read, lost, _ := l.readAround(fmt.Sprintf("cold%d.%d", round, i)); read != 1 || lost != 0 {
				t.Errorf("cold topic %d of round %d: %d events read, %d lost", i, round, read, lost)
			}
		}
	}
}

// TestColdTopicsAreNotWrittenAgainAndAgain: what many topics of an event each
// have stays where it is, also where that is more than a few carry files.
func TestColdTopicsAreNotWrittenAgainAndAgain(t *testing.T) {
	l := openSim(t, vfs.NewSim(1), engine.Options{BlockBytes: 4096, SegmentBytes: 16 << 10, Compression: engine.CompressionNone})
	for i := range 2000 {
		l.fill(fmt.Sprint("cold", i), 1, 1)
		if i%200 == 199 {
			if err := l.Checkpoint(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	before := l.disk.Files()
	for round := range 30 {
		l.fill("busy", round*20+1, (round+1)*20)
		if err := l.Checkpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	after := l.disk.Files()
	carries, gone := 0, 0
	for name := range before {
		if strings.HasPrefix(name, "carry-") {
			carries++
			if after[name] == nil {
				gone++
			}
		}
	}
	if carries < 20 || gone > 0 {
		t.Errorf("of %d carry files with cold topics %d are gone", carries, gone)
	}
}

// TestCarryFilesOfLostEventsDoNotKeepOthers: a file that is kept for what is
// left of damaged events is not one that can be emptied.
func TestCarryFilesOfLostEventsDoNotKeepOthers(t *testing.T) {
	l := openSim(t, vfs.NewSim(1), engine.Options{BlockBytes: 4096, SegmentBytes: 16 << 10, Compression: engine.CompressionNone})
	l.fill("damaged", 1, 3)
	if err := l.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	const name = "carry-0000000000000001"
	l.disk.Corrupt(name, 4096+150, 1)
	l.fill("damaged", 4, 8)
	last := map[string]int{}
	for round := range 60 {
		for i := range 4 {
			busy := fmt.Sprint("busy", i)
			l.fill(busy, last[busy]+1, last[busy]+60)
			last[busy] += 60
		}
		l.fill(fmt.Sprint("cold", round), 1, 1)
		last[fmt.Sprint("cold", round)] = 1
		if err := l.Checkpoint(t.Context()); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}
	if n, _ := l.carries(); n > 12 {
		t.Errorf("there are %d carry files", n)
	}
	if l.disk.Files()[name] == nil {
		t.Error("the file of the lost events is gone")
	}
	if read, lost, _ := l.readAround("damaged"); read != 5 || lost != 3 {
		t.Errorf("damaged topic: %d events read, %d lost", read, lost)
	}
	for topic, want := range last {
		if read, lost, _ := l.readAround(topic); read != want || lost != 0 {
			t.Errorf("topic %s: %d events read, %d lost, want %d", topic, read, lost, want)
		}
	}
}

// TestTopicsThatGrowAlikeMoveInTurns gives many topics the same load, so that
// all of them have enough for a segment at the same checkpoint.
func TestTopicsThatGrowAlikeMoveInTurns(t *testing.T) {
	l := openSim(t, vfs.NewSim(1), engine.Options{BlockBytes: 512, Compression: engine.CompressionNone})
	const topics, perRound = 60, 20
	segments := func() (n int) {
		for name := range l.disk.Files() {
			if strings.HasPrefix(name, "seg/") {
				n++
			}
		}
		return n
	}
	last, moved, most := 0, 0, 0
	for range 40 {
		for i := range topics {
			l.fill(fmt.Sprint("t", i), last+1, last+perRound)
		}
		last += perRound
		if err := l.Checkpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
		now := segments()
		most, moved = max(most, now-moved), now
	}
	if moved != topics {
		t.Errorf("%d of %d topics have a segment", moved, topics)
	}
	if most > topics/3 {
		t.Errorf("%d of %d topics moved at one checkpoint", most, topics)
	}
	check := func() {
		t.Helper()
		for i := range topics {
			if read, lost, _ := l.readAround(fmt.Sprint("t", i)); read != last || lost != 0 {
				t.Fatalf("topic %d: %d events read, %d lost, want %d", i, read, lost, last)
			}
		}
	}
	check()
	l.disk = l.disk.Kill()
	if err := l.tryOpen(l.opts); err != nil {
		t.Fatal(err)
	}
	check()
	if err := l.Verify(func(c *engine.CorruptError) { t.Error(c) }, nil); err != nil {
		t.Fatal(err)
	}
}

// TestBlocksAreCompressedBesideACheckpoint has a topic's blocks compressed by
// several goroutines: they stand in the segments in order, and are all there.
func TestBlocksAreCompressedBesideACheckpoint(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(8))
	disk := vfs.NewSim(1)
	open := func() *engine.Engine {
		log, err := engine.OpenEnv(env.OS(disk), "sim", engine.Options{BlockBytes: 1 << 10, SegmentBytes: 64 << 10, CacheBytes: 1})
		if err != nil {
			t.Fatal(err)
		}
		return log
	}
	topic, log := engine.MustTopic("t"), open()
	var want []string
	for round := range 20 {
		var batch []engine.Event
		for i := range 50 * (1 + round%5) {
			event := mustEvent(t, "k", strings.Repeat(fmt.Sprint(round, "-", i, " "), 1+i%40))
			batch, want = append(batch, event), append(want, string(event.Payload))
		}
		if _, _, err := log.AppendBatch(t.Context(), topic, batch); err != nil {
			t.Fatal(err)
		}
		if err := log.Checkpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	log = open()
	defer log.Close()
	if err := log.Verify(func(damage *engine.CorruptError) { t.Error(damage) }, nil); err != nil {
		t.Fatal(err)
	}
	next := 0
	for r, err := range log.Read(t.Context(), topic, engine.ReadOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		if next == len(want) || string(r.Payload) != want[next] {
			t.Fatalf("event %d has payload %s", r.ID, r.Payload)
		}
		next++
	}
	if next != len(want) {
		t.Errorf("read %d events, want %d", next, len(want))
	}
}
