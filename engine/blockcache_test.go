package engine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestBlockCacheKeepsWhatIsReadAgain(t *testing.T) {
	const blockBytes, most = 1000, 12_000
	c := newBlockCache(most)
	read := func(n int) (hit bool) {
		t.Helper()
		k := blockKey{segment: 1, offset: int64(n), checksum: uint64(n) << 20}
		raw, keep := c.get(k, blockBytes)
		want := strings.Repeat(fmt.Sprint(n%10), blockBytes)
		if raw != nil {
			if string(raw) != want {
				t.Fatalf("block %d is %s", n, raw)
			}
			return true
		}
		if keep {
			c.put(k, []byte(want))
		}
		return false
	}
	for n := range 50 { // everything, once
		read(n)
	}
	if size := c.size(); size != 0 {
		t.Fatalf("%d bytes are kept of blocks that were read once", size)
	}
	if read(7) || !read(7) || !read(7) {
		t.Error("a block that is read again is not kept, or was kept before")
	}
	for n := 100; n < 120; n++ {
		read(n)
		read(n)
		if !read(7) {
			t.Fatalf("block 7, which is read all the time, is gone after %d others", n-99)
		}
		if size := c.size(); size > most {
			t.Fatalf("%d bytes are kept, of %d", size, most)
		}
	}
	if read(100) {
		t.Error("the block that was used least recently is still there")
	}
	if _, keep := c.get(blockKey{segment: 1, offset: 7, checksum: 8}, blockBytes); keep {
		t.Error("a block of another checksum is taken for the one that was there")
	}
	k := blockKey{segment: 2}
	c.get(k, most)
	if _, keep := c.get(k, most); keep {
		t.Error("one block may take all of the cache")
	}
}

// What small blocks take beside their bytes counts, too.
func TestBlockCacheOfSmallBlocksIsBounded(t *testing.T) {
	const most = 4 << 20
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	c := newBlockCache(most)
	for i := range 200_000 {
		k := blockKey{segment: 1, offset: int64(i)}
		c.get(k, 1)
		if _, keep := c.get(k, 1); !keep {
			t.Fatal("a block that is missed twice is not to be kept")
		}
		c.put(k, []byte{1})
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if took := int64(after.HeapAlloc) - int64(before.HeapAlloc); took > 2*most {
		t.Errorf("a cache of %d bytes takes %d", most, took)
	}
	runtime.KeepAlive(c)
}

// Reads from the cache are not what Verify goes by.
func TestVerifyReadsWhatIsCached(t *testing.T) {
	dir, topic := t.TempDir(), MustTopic("t")
	opts := Options{BlockBytes: 1 << 10, Compression: CompressionNone}
	e, err := Open(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	event := Event{Kind: "k", Payload: []byte(`"` + strings.Repeat("x", 100) + `"`)}
	events := make([]Event, 1000)
	for i := range events {
		events[i] = event
	}
	if _, _, err := e.AppendBatch(t.Context(), topic, events); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if e, err = Open(dir, opts); err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	read := func() {
		t.Helper()
		if got, err := ReadRange(t.Context(), e, topic, 500, 2); err != nil || len(got) != 2 || got[1].ID != 502 || string(got[1].Payload) != string(event.Payload) {
			t.Fatalf("read %v, %v", got, err)
		}
	}
	read()
	read()
	if e.Stats().CacheBytes == 0 {
		t.Fatal("nothing is cached after two reads of the same block")
	}
	files, err := filepath.Glob(filepath.Join(dir, "seg", "*.seg"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%d segments, %v: want one", len(files), err)
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	for i := 4096 + 128; i < len(b); i++ { // no block is whole any more
		b[i] ^= 1
	}
	if err := os.WriteFile(files[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
	read()
	found := false
	err = e.Verify(func(c *CorruptError) { found = found || c.FirstID <= 501 && 501 <= c.LastID }, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !found {
		t.Error("Verify did not find the damage of event 501")
	}
}

// Blocks of several topics stand at the same places of their files.
func TestCachedBlocksAreThoseOfTheirTopics(t *testing.T) {
	e, err := Open(t.TempDir(), Options{BlockBytes: 1 << 10, Compression: CompressionNone})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	topics := []Topic{MustTopic("a"), MustTopic("b"), MustTopic("c")}
	for _, topic := range topics {
		events := make([]Event, 1000)
		for i := range events {
			events[i] = Event{Kind: "k", Payload: fmt.Appendf(nil, "%q", fmt.Sprint(topic, i+1))}
		}
		if _, _, err := e.AppendBatch(t.Context(), topic, events); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		for _, topic := range topics {
			for range 2 {
				got, err := ReadRange(t.Context(), e, topic, 500, 2)
				if err != nil || len(got) != 2 || string(got[1].Payload) != fmt.Sprintf("%q", fmt.Sprint(topic, 502)) {
					t.Fatalf("topic %s: read %v, %v", topic, got, err)
				}
			}
		}
	}
	if e.Stats().CacheBytes == 0 {
		t.Error("nothing was cached")
	}
	if _, err := e.Compact(t.Context(), topics[0], 600); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadRange(t.Context(), e, topics[0], 500, 2); err != nil || len(got) != 2 || got[0].ID != 601 {
		t.Errorf("behind a compaction: read %v, %v", got, err)
	}
}

// Memory that changes under the cache is found out, as it is in a tail.
func TestCachedEventsAreVerified(t *testing.T) {
	e, err := Open(t.TempDir(), Options{BlockBytes: 1 << 10, Compression: CompressionNone})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	topic := MustTopic("t")
	events := make([]Event, 1000)
	for i := range events {
		events[i] = Event{Kind: "k", Payload: []byte("12345")}
	}
	if _, _, err := e.AppendBatch(t.Context(), topic, events); err != nil {
		t.Fatal(err)
	}
	if err := e.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	read := func(fn func(*RawRecord)) (err error) {
		for r, readErr := range e.ReadRaw(t.Context(), topic, ReadOptions{After: 500, Limit: 1}) {
			if err = readErr; err == nil {
				fn(&r)
			}
		}
		return err
	}
	for range 2 { // it is cached by then
		if err := read(func(*RawRecord) {}); err != nil {
			t.Fatal(err)
		}
	}
	if err := read(func(r *RawRecord) { r.Payload[0] = '9' }); err != nil { // which nobody may do
		t.Fatal(err)
	}
	err = read(func(r *RawRecord) { t.Errorf("payload %s is delivered", r.Payload) })
	var c *CorruptError
	if !errors.As(err, &c) || c.FirstID != 501 {
		t.Errorf("got %v, want a CorruptError for event 501", err)
	}
}
