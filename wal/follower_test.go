package wal

import (
	"bytes"
	"errors"
	"slices"
	"testing"
)

// follow returns the payloads of all frames that a follower shows now.
func follow(t *testing.T, f *Follower) [][]byte {
	t.Helper()
	var got [][]byte
	for {
		frame, ok, err := f.Next()
		if err != nil {
			t.Fatalf("follow: %v", err)
		}
		if !ok {
			return got
		}
		if frame.Records > 0 {
			got = append(got, frame.Payload)
		}
	}
}

func wantFrames(t *testing.T, got, want [][]byte) {
	t.Helper()
	if !slices.EqualFunc(got, want, bytes.Equal) {
		t.Fatalf("%d frames, want %d", len(got), len(want))
	}
}

func TestFollowerShowsOnlyWhatIsProven(t *testing.T) {
	l := newLogTest(t)
	f := NewFollower(l.cfg, Start{})
	defer f.Close()
	wantFrames(t, follow(t, f), nil)
	l.append(100)
	wantFrames(t, follow(t, f), nil) // durable, but nothing says so
	l.append(200)
	wantFrames(t, follow(t, f), l.acked[:1])
	if err := l.tryWrite(payload(2, 300)); err != nil {
		t.Fatal(err)
	}
	wantFrames(t, follow(t, f), l.acked[1:2])
	if err := l.tryWrite(payload(3, 300)); err != nil {
		t.Fatal(err)
	}
	wantFrames(t, follow(t, f), nil) // neither is durable
	if err := l.w.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := l.w.Seal(Header{}); err != nil {
		t.Fatal(err)
	}
	wantFrames(t, follow(t, f), l.tried)
}

func TestFollowerCrossesFilesAndCloses(t *testing.T) {
	l := newLogTest(t)
	f := NewFollower(l.cfg, Start{})
	l.others = 1
	var got [][]byte
	for range 5 {
		l.append(9000, 300, 9000, 20)
		got = append(got, follow(t, f)...)
		l.close()
		res, _ := l.mustScan(ScanOptions{CleanExpected: true})
		l.start(res)
		got = append(got, follow(t, f)...)
		wantFrames(t, got, l.acked)
	}
	if err := f.Close(); err != nil || l.sim.OpenFiles() != 0 {
		t.Fatalf("close: %v, %d files are open", err, l.sim.OpenFiles())
	}
}

func TestFollowerNoticesRecycling(t *testing.T) {
	l := newLogTest(t)
	f := NewFollower(l.cfg, Start{})
	defer f.Close()
	l.append(300, 300)
	follow(t, f)
	for range 10 {
		l.append(9000, 9000)
		l.checkpoint()
		if err := l.w.Free(l.at); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	for ok := true; ok && err == nil; {
		_, ok, err = f.Next()
	}
	if !errors.Is(err, ErrRecycled) {
		t.Fatalf("after its place was recycled the follower got %v", err)
	}
	again := NewFollower(l.cfg, l.at)
	defer again.Close()
	l.append(10, 10)
	wantFrames(t, follow(t, again), l.acked[:1])
}

func TestFollowerReportsDamage(t *testing.T) {
	l := newLogTest(t)
	f := NewFollower(l.cfg, Start{})
	defer f.Close()
	l.append(300, 300)
	follow(t, f)
	l.append(300, 300)
	l.sim.Corrupt(fileName(1), 3*PageBytes+200, 0xff)
	// The frame before the damaged one is proven by the file's next start only.
	l.append(20000)
	var err error
	for ok := true; ok && err == nil; {
		_, ok, err = f.Next()
	}
	var c *CorruptError
	if err != nil && !errors.As(err, &c) {
		t.Fatalf("follower got %v", err)
	}
}

// A follower goes on where the log does: frames that were dropped there do not
// keep it from seeing that those before them are durable.
func TestFollowerPassesDroppedFrames(t *testing.T) {
	for keep := 1; keep < 5; keep++ {
		l := newPackedTest(t)
		l.append(300, 300)
		l.write(310, 310, 310, 310, 310)
		first := l.w.use.header.offset(l.w.Durable().nextPage())
		disk := l.sim.Kill()
		for i := range int64(200) { // the payload of one, behind its header
			disk.Corrupt(l.w.use.file.name, first+448*int64(keep)+150+i, 0xff)
		}
		l.acked, l.tried = append(l.acked, l.tried[:keep]...), nil
		l.mustGoOn(disk, 2)
		if len(l.acked) != 2+keep {
			t.Fatalf("%d frames are there, want %d", len(l.acked), 2+keep)
		}
		f := NewFollower(l.cfg, Start{})
		defer f.Close()
		l.append(320, 330)
		wantFrames(t, follow(t, f), l.acked[:len(l.acked)-1])
	}
}

// After an unclean end the old files are removed: whoever has one open, and finds
// the next one used again, starts again.
func TestFollowerOfARemovedFile(t *testing.T) {
	l := newLogTest(t)
	l.append(300, 300, 300)
	l.mustGoOn(l.sim.Kill(), 2)
	f := NewFollower(l.cfg, Start{})
	defer f.Close()
	wantFrames(t, follow(t, f), l.acked[:2])
	l.append(300)
	for range 20 {
		l.append(9000)
		l.checkpoint()
		if err := l.w.Free(l.at); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	for ok := true; ok && err == nil; {
		_, ok, err = f.Next()
	}
	if !errors.Is(err, ErrRecycled) {
		t.Fatalf("after its file was removed the follower got %v", err)
	}
}
