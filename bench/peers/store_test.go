package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"

	"github.com/seglog/seglog/bench"
	"github.com/seglog/seglog/engine"
)

// eachStore runs a test on every store, in fresh directories.
func eachStore(t *testing.T, body func(t *testing.T, s store)) {
	t.Helper()
	for _, s := range stores() {
		t.Run(s.Name, func(t *testing.T) { body(t, s) })
	}
}

func open(t *testing.T, s store, dir string, setup bench.Setup) engine.EventLog {
	t.Helper()
	log, err := s.Open(dir, setup)
	if err != nil {
		t.Fatalf("open %s: %v", s.Name, err)
	}
	return log
}

func closeLog(t *testing.T, log engine.EventLog) {
	t.Helper()
	if err := log.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
}

// wantEvents checks that a read yields exactly these events, with ids from
// first on.
func wantEvents(t *testing.T, log engine.EventLog, topic engine.Topic, opts engine.ReadOptions, first engine.EventID, want []engine.Event) {
	t.Helper()
	got := 0
	for r, err := range log.Read(t.Context(), topic, opts) {
		if err != nil {
			t.Fatalf("read %s: %v", topic, err)
		}
		if got == len(want) {
			t.Fatalf("read %s: more than %d events", topic, len(want))
		}
		if r.ID != first+engine.EventID(got) || r.Kind != want[got].Kind || string(r.Payload) != string(want[got].Payload) ||
			fmt.Sprint(r.Headers) != fmt.Sprint(want[got].Headers) || r.OccurredAtMS != want[got].OccurredAtMS {
			t.Fatalf("read %s: got %d %+v, want %d %+v", topic, r.ID, r.Event, first+engine.EventID(got), want[got])
		}
		got++
	}
	if got != len(want) {
		t.Fatalf("read %s: got %d events, want %d", topic, got, len(want))
	}
}

func TestStoresKeepWhatWasAppended(t *testing.T) {
	eachStore(t, func(t *testing.T, s store) {
		dir, topics, events := t.TempDir(), bench.Topics(2), bench.RealisticEvents(20)
		setup := bench.Setup{Keep: true}
		log := open(t, s, dir, setup)
		for i := range 5 {
			if id, err := log.Append(t.Context(), topics[0], events[i]); err != nil || id != engine.EventID(i+1) {
				t.Fatalf("append: got id %d and %v, want %d", id, err, i+1)
			}
		}
		first, last, err := log.AppendBatch(t.Context(), topics[0], events[5:])
		if err != nil || first != 6 || last != 20 {
			t.Fatalf("append batch: got ids %d..%d and %v, want 6..20", first, last, err)
		}
		if id, err := log.Append(t.Context(), topics[1], events[3]); err != nil || id != 1 {
			t.Fatalf("append to another topic: got id %d and %v, want 1", id, err)
		}
		closeLog(t, log)

		log = open(t, s, dir, setup)
		wantEvents(t, log, topics[0], engine.ReadOptions{}, 1, events)
		wantEvents(t, log, topics[0], engine.ReadOptions{After: 7, Limit: 10}, 8, events[7:17])
		wantEvents(t, log, topics[0], engine.ReadOptions{After: 18}, 19, events[18:])
		wantEvents(t, log, topics[1], engine.ReadOptions{}, 1, events[3:4])
		if latest, ok, err := log.Latest(t.Context(), topics[0]); err != nil || !ok || latest != 20 {
			t.Errorf("latest: got %d %t %v, want 20", latest, ok, err)
		}
		if id, err := log.Append(t.Context(), topics[0], events[0]); err != nil || id != 21 {
			t.Errorf("append after reopening: got id %d and %v, want 21", id, err)
		}
		closeLog(t, log)
	})
}

func TestStoresLendWhatTheyHave(t *testing.T) {
	eachStore(t, func(t *testing.T, s store) {
		topic, events := engine.MustTopic("bench"), bench.Events(10, 256)
		dir := t.TempDir()
		log := open(t, s, dir, bench.Setup{Keep: true})
		if _, _, err := log.AppendBatch(t.Context(), topic, events); err != nil {
			t.Fatal(err)
		}
		closeLog(t, log)
		log = open(t, s, dir, bench.Setup{Keep: true})
		defer log.Close()
		lender, ok := log.(rawReader)
		if !ok && !(row{name: "scan/raw"}).takesPart(s) {
			return
		}
		bytes, count := 0, 0
		for r, err := range lender.ReadRaw(t.Context(), topic, engine.ReadOptions{}) {
			if err != nil {
				t.Fatal(err)
			}
			bytes += len(r.Payload)
			count++
			if r.ID != engine.EventID(count) {
				t.Errorf("got id %d, want %d", r.ID, count)
			}
		}
		if count != len(events) || bytes < 256*len(events) {
			t.Errorf("got %d events of %d bytes, want %d of at least %d", count, bytes, len(events), 256*len(events))
		}
	})
}

func TestStoresCompact(t *testing.T) {
	eachStore(t, func(t *testing.T, s store) {
		topic, events := engine.MustTopic("bench"), bench.Events(20, 256)
		dir := t.TempDir()
		log := open(t, s, dir, bench.Setup{Keep: true})
		if _, _, err := log.AppendBatch(t.Context(), topic, events); err != nil {
			t.Fatal(err)
		}
		report, err := log.Compact(t.Context(), topic, 10)
		if errors.Is(err, errors.ErrUnsupported) && s.Name == "limit" {
			closeLog(t, log)
			return
		}
		if err != nil || report.Removed != 10 {
			t.Fatalf("compact: got %+v and %v, want 10 removed", report, err)
		}
		closeLog(t, log)
		log = open(t, s, dir, bench.Setup{Keep: true})
		wantEvents(t, log, topic, engine.ReadOptions{}, 11, events[10:])
		closeLog(t, log)
	})
}

// TestStoresGiveDenseIDs has appenders of all topics meet.
func TestStoresGiveDenseIDs(t *testing.T) {
	eachStore(t, func(t *testing.T, s store) {
		const appenders, each = 8, 3
		topics, events := bench.Topics(2), bench.Events(1, 256)
		log := open(t, s, t.TempDir(), bench.Setup{Keep: true})
		defer log.Close()
		var mu sync.Mutex
		seen := map[engine.Topic]map[engine.EventID]bool{topics[0]: {}, topics[1]: {}}
		op := bench.AppendOp(log, topics, events)
		_, err := bench.Crowd(appenders, bench.Times(appenders*each), func(worker, turn int) error {
			topic := topics[worker%2]
			id, err := log.Append(t.Context(), topic, events[0])
			mu.Lock()
			defer mu.Unlock()
			seen[topic][id] = true
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		for topic, ids := range seen {
			latest, _, err := log.Latest(t.Context(), topic)
			if err != nil || int(latest) != len(ids) {
				t.Errorf("topic %s: %d different ids, latest %d, %v", topic, len(ids), latest, err)
			}
		}
		if err := op(0, 0); err != nil {
			t.Error(err)
		}
	})
}

// offers checks that an operation works where the store is named, and is
// refused where it is not.
func offers(t *testing.T, s store, operation string, err error, names ...string) (ok bool) {
	t.Helper()
	named := slices.Contains(names, s.Name)
	if named && err != nil {
		t.Errorf("%s: %v", operation, err)
	}
	if !named && !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("%s: got %v, want %v", operation, err, errors.ErrUnsupported)
	}
	return named
}

func TestStoresDeliverToSubscribers(t *testing.T) {
	eachStore(t, func(t *testing.T, s store) {
		topic, events := engine.MustTopic("bench"), bench.Events(3, 256)
		log := open(t, s, t.TempDir(), bench.Setup{})
		defer log.Close()
		if _, err := log.Append(t.Context(), topic, events[0]); err != nil {
			t.Fatal(err)
		}
		var got []engine.Record // owned by the subscriber until done is closed
		done := make(chan struct{})
		subscribers, err := bench.Subscribe(log, topic, 1, func(r engine.Record) {
			if got = append(got, r); len(got) == 2 {
				close(done)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		defer subscribers.Stop()
		for _, event := range events[1:] {
			if _, err := log.Append(t.Context(), topic, event); err != nil {
				t.Fatal(err)
			}
		}
		if !offers(t, s, "subscribe", subscribers.Wait(done), "seglog", "seglog-zstd", "seglog-plain", "seglog-nogather", "seglog-file", "seglog-sqlite",
			"nats", "nats-default") {
			return
		}
		for i, r := range got {
			if want := events[i+1]; r.ID != engine.EventID(i+2) || string(r.Payload) != string(want.Payload) {
				t.Errorf("delivered %d %s, want %d %s", r.ID, r.Payload, i+2, want.Payload)
			}
		}
	})
}

func TestStoresMoveCursors(t *testing.T) {
	eachStore(t, func(t *testing.T, s store) {
		topic := engine.MustTopic("bench")
		log := open(t, s, t.TempDir(), bench.Setup{})
		defer log.Close()
		if _, _, err := log.AppendBatch(t.Context(), topic, bench.Events(3, 256)); err != nil {
			t.Fatal(err)
		}
		err := log.Ack(t.Context(), topic, engine.MustConsumerID("c"), 2)
		offers(t, s, "ack", err, "seglog", "seglog-zstd", "seglog-plain", "seglog-nogather", "seglog-file", "seglog-sqlite",
			"limit", "pebble", "bbolt", "badger",
			"modernc-full", "modernc-normal", "ncruces-full", "ncruces-normal")
	})
}

func TestMain(m *testing.M) {
	if asked, err := child(); asked {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if os.Getenv(syncChildVar) != "" {
		if err := syncChild(os.Getenv(syncChildVar)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}
