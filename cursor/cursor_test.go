package cursor

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
)

func TestTableKeepsTheLastCursor(t *testing.T) {
	x := New()
	if _, ok := x.Get(1, "a"); ok {
		t.Fatal("an empty table has a cursor")
	}
	x.Set(1, "a", Cursor{10, 100})
	x.Set(2, "a", Cursor{20, 200})
	x.Set(1, "a", Cursor{5, 300})
	if got, ok := x.Get(1, "a"); !ok || got != (Cursor{5, 300}) {
		t.Fatalf("got %+v, %v", got, ok)
	}
	if got, ok := x.Get(2, "a"); !ok || got != (Cursor{20, 200}) {
		t.Fatalf("got %+v, %v", got, ok)
	}
	if x.Len() != 2 {
		t.Fatalf("Len is %d, want 2", x.Len())
	}
}

func TestDeleteTakesOneCursorAway(t *testing.T) {
	x := New()
	x.Set(1, "a", Cursor{1, 1})
	x.Set(1, "b", Cursor{2, 2})
	if !x.Delete(1, "a") || x.Delete(1, "a") || x.Delete(7, "a") {
		t.Fatal("Delete reports the wrong thing")
	}
	if _, ok := x.Get(1, "a"); ok || x.Len() != 1 {
		t.Fatalf("the cursor is still there, or Len %d is wrong", x.Len())
	}
	x.Delete(1, "b")
	if x.Len() != 0 || len(x.All()) != 0 {
		t.Fatal("the table is not empty")
	}
}

func TestDeleteTopicTakesItsCursorsAway(t *testing.T) {
	x := New()
	x.Set(1, "a", Cursor{1, 1})
	x.Set(1, "b", Cursor{1, 1})
	x.Set(2, "b", Cursor{1, 1})
	x.DeleteTopic(1)
	x.DeleteTopic(9)
	if got := x.All(); len(got) != 1 || got[0].Topic != 2 || x.Len() != 1 {
		t.Fatalf("left are %+v, Len %d", got, x.Len())
	}
}

func TestListsAreSorted(t *testing.T) {
	x := New()
	for i := range 50 {
		x.Set(uint64(3-i%3), fmt.Sprint("consumer-", i*7%50), Cursor{uint64(i), int64(-i)})
	}
	list := x.List(2)
	if len(list) != 17 || !slices.IsSortedFunc(list, func(a, b Entry) int { return strings.Compare(a.Consumer, b.Consumer) }) {
		t.Fatalf("List is %+v", list)
	}
	for _, e := range list {
		if c, ok := x.Get(2, e.Consumer); !ok || c != e.Cursor || e.Topic != 2 || e.Deleted {
			t.Fatalf("List has %+v, Get says %+v, %v", e, c, ok)
		}
	}
	all := x.All()
	if len(all) != 50 || !slices.IsSortedFunc(all, compare) || all[0].Topic != 1 || all[49].Topic != 3 {
		t.Fatalf("All is %+v", all)
	}
	if len(x.List(99)) != 0 {
		t.Fatal("an unknown topic has cursors")
	}
}

func TestMinIsTheSlowestConsumer(t *testing.T) {
	x := New()
	if _, ok := x.Min(1); ok {
		t.Fatal("a topic without consumers has a minimum")
	}
	for i, id := range []uint64{30, 10, 20} {
		x.Set(1, fmt.Sprint(i), Cursor{ID: id})
	}
	if got, ok := x.Min(1); got != 10 || !ok {
		t.Fatalf("got %d, %v, want 10", got, ok)
	}
	x.Set(1, "new", Cursor{})
	if got, ok := x.Min(1); got != 0 || !ok {
		t.Fatalf("got %d, %v, want 0", got, ok)
	}
}

func TestApplyDoesWhatTheRecordSays(t *testing.T) {
	x := New()
	x.Apply(Entry{Topic: 1, Consumer: "a", Cursor: Cursor{3, 4}})
	if c, ok := x.Get(1, "a"); !ok || c != (Cursor{3, 4}) {
		t.Fatalf("got %+v, %v", c, ok)
	}
	x.Apply(Entry{Topic: 1, Consumer: "a", Deleted: true})
	if _, ok := x.Get(1, "a"); ok {
		t.Fatal("the cursor is still there")
	}
}

func TestReadersRaceAWriter(t *testing.T) {
	x := New()
	x.Set(1, "a", Cursor{1, 1})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for range 2000 {
				if c, ok := x.Get(1, "a"); !ok || int64(c.ID) != c.AckedMS {
					t.Errorf("got %+v, %v", c, ok)
					return
				}
				x.List(1)
				x.Min(1)
				x.Len()
			}
		})
	}
	for i := range 2000 {
		x.Set(1, "a", Cursor{uint64(i), int64(i)})
		x.Set(2, fmt.Sprint(i), Cursor{})
		x.Delete(2, fmt.Sprint(i))
	}
	wg.Wait()
}

var entries = []Entry{
	{Topic: 1, Consumer: "a", Cursor: Cursor{1, 2}},
	{Topic: 1<<64 - 1, Consumer: strings.Repeat("ü", MaxConsumerBytes/2), Cursor: Cursor{1<<64 - 1, -1}},
	{Topic: 7, Consumer: "worker/1 ", Deleted: true},
	{Topic: 0, Consumer: "\x00"},
}

func TestEntriesRoundTrip(t *testing.T) {
	var p []byte
	for _, e := range entries {
		p = AppendEntry(p, e)
	}
	p = append(p, "rest"...)
	for _, want := range entries {
		var (
			got Entry
			err error
		)
		if got, p, err = DecodeEntry(p); err != nil || got != want {
			t.Fatalf("got %+v, %v, want %+v", got, err, want)
		}
	}
	if string(p) != "rest" {
		t.Fatalf("%q is left", p)
	}
}

func TestEntryHasTheBytesItAlwaysHad(t *testing.T) {
	got := AppendEntry(nil, Entry{Topic: 0x0102, Consumer: "mail", Cursor: Cursor{0x030405, -2}})
	want := "\x00\x04\x00\x02\x01\x00\x00\x00\x00\x00\x00\x05\x04\x03\x00\x00\x00\x00\x00\xfe\xff\xff\xff\xff\xff\xff\xffmail"
	if string(got) != want {
		t.Fatalf("got %x, want %x", got, want)
	}
}

func TestDeletedEntryHasNoCursor(t *testing.T) {
	e, _, err := DecodeEntry(AppendEntry(nil, Entry{Topic: 1, Consumer: "a", Cursor: Cursor{5, 5}, Deleted: true}))
	if err != nil || e.Cursor != (Cursor{}) || !e.Deleted {
		t.Fatalf("got %+v, %v", e, err)
	}
}

func TestDamagedEntriesAreRefused(t *testing.T) {
	good := AppendEntry(nil, entries[0])
	for n := range good {
		if _, _, err := DecodeEntry(good[:n]); err == nil {
			t.Errorf("%d of %d bytes decode", n, len(good))
		}
	}
	for name, change := range map[string]func(p []byte) []byte{
		"flags":           func(p []byte) []byte { p[0] = 2; return p },
		"deletes a value": func(p []byte) []byte { p[0] = flagDeleted; return p },
		"no consumer":     func(p []byte) []byte { p[1] = 0; return p },
		"long consumer":   func(p []byte) []byte { p[2] = 5; return append(p, make([]byte, 2000)...) },
	} {
		if _, _, err := DecodeEntry(change(bytes.Clone(good))); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestConsumerThatDoesNotFitPanics(t *testing.T) {
	for _, n := range []int{0, MaxConsumerBytes + 1} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("a consumer of %d bytes was encoded", n)
				}
			}()
			AppendEntry(nil, Entry{Consumer: strings.Repeat("x", n)})
		}()
	}
}

func FuzzEntry(f *testing.F) {
	for _, e := range entries {
		f.Add(AppendEntry(nil, e))
	}
	f.Add([]byte{})
	f.Add(bytes.Repeat([]byte{0xff}, 40))
	f.Fuzz(func(t *testing.T, src []byte) {
		e, rest, err := DecodeEntry(src)
		if err != nil {
			return
		}
		if got := append(AppendEntry(nil, e), rest...); !bytes.Equal(got, src) {
			t.Fatalf("%x decodes to %+v, which encodes to %x", src, e, got)
		}
	})
}

func BenchmarkSet(b *testing.B) {
	x := New()
	b.ReportAllocs()
	for i := uint64(0); b.Loop(); i++ {
		x.Set(i%100, "consumer", Cursor{ID: i})
	}
}
