package main

import (
	"context"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seglog/seglog/engine"
)

func TestVerifyOfAGoodLog(t *testing.T) {
	s := newShell(t)
	s.fill("jobs")
	s.fill("other")
	s.run("", "compact jobs 2 --yes").must(statusOK)
	s.run("", "compact other 9 --yes").must(statusOK)
	s.run("", "verify").must(statusOK).prints("{\"topics\":2,\"events\":1,\"damaged\":0}\n")
	if !s.opened.ReadOnly {
		t.Error("verify did not open the log read-only")
	}
	s.terminal()
	s.run("", "verify").must(statusOK).prints("2 topics with 1 event: no damage found\n")
}

// script is a log with one topic, jobs, whose reads are given.
type script struct {
	engine.EventLog
	latest    engine.EventID
	read      func(after engine.EventID) ([]engine.Record, error)
	consumers []engine.ConsumerInfo
}

func (s *script) Topics(context.Context) ([]engine.Topic, error) {
	return []engine.Topic{engine.MustTopic("jobs")}, nil
}

func (s *script) Latest(context.Context, engine.Topic) (engine.EventID, bool, error) {
	return s.latest, true, nil
}

func (s *script) Consumers(context.Context, engine.Topic) ([]engine.ConsumerInfo, error) {
	return s.consumers, nil
}

func (s *script) Read(_ context.Context, _ engine.Topic, opts engine.ReadOptions) iter.Seq2[engine.Record, error] {
	return func(yield func(engine.Record, error) bool) {
		records, err := s.read(opts.After)
		for _, r := range records {
			if r.ID > opts.After && !yield(r, nil) {
				return
			}
		}
		if err != nil {
			yield(engine.Record{}, err)
		}
	}
}

func (s *script) Close() error { return nil }

// record is an event with position 10 times its id.
func record(id engine.EventID) engine.Record {
	return engine.Record{ID: id, Position: uint64(id) * 10, Event: engine.Event{Payload: []byte("1")}}
}

func records(ids ...engine.EventID) []engine.Record {
	var rs []engine.Record
	for _, id := range ids {
		rs = append(rs, record(id))
	}
	return rs
}

func TestVerifyListsDamageAndGoesOnBehindIt(t *testing.T) {
	corrupt := func(first, last engine.EventID) error {
		return fmt.Errorf("read topic jobs: %w", &engine.CorruptError{
			Topic: "jobs", File: "seg/1.seg", Offset: 4096, FirstID: first, LastID: last, Reason: "checksum",
		})
	}
	place := func(first, last int) string {
		return fmt.Sprintf(`{"topic":"jobs","file":"seg/1.seg","offset":4096,"first_id":%d,"last_id":%d,"reason":"checksum"}`+"\n", first, last)
	}
	total := func(events, damaged int) string {
		return fmt.Sprintf(`{"topics":1,"events":%d,"damaged":%d}`+"\n", events, damaged)
	}
	for _, test := range []struct {
		name string
		log  script
		want string
	}{
		{"a block is corrupt", script{latest: 6, read: func(after engine.EventID) ([]engine.Record, error) {
			if after == 0 {
				return records(1, 2), corrupt(3, 5)
			}
			return records(6), nil
		}}, place(3, 5) + total(3, 1)},
		{"two blocks are corrupt", script{latest: 5, read: func(after engine.EventID) ([]engine.Record, error) {
			switch after {
			case 0:
				return nil, corrupt(1, 2)
			case 2:
				return records(3), corrupt(4, 5)
			}
			return nil, nil
		}}, place(1, 2) + place(4, 5) + total(1, 2)},
		{"damage of unknown extent ends the topic", script{latest: 6, read: func(engine.EventID) ([]engine.Record, error) {
			return records(1), &engine.CorruptError{Topic: "jobs", File: "carry-1", Reason: "magic"}
		}}, `{"topic":"jobs","file":"carry-1","reason":"magic"}` + "\n" + total(1, 1)},
		{"damage that is reported again ends the topic", script{latest: 6, read: func(engine.EventID) ([]engine.Record, error) {
			return records(1, 2), corrupt(1, 1)
		}}, place(1, 1) + total(2, 1)},
		{"an id is missing", script{latest: 4, read: func(engine.EventID) ([]engine.Record, error) {
			return records(1, 2, 4), nil
		}}, `{"topic":"jobs","first_id":4,"last_id":4,"reason":"event id: got 4, want 3"}` + "\n" + total(3, 1)},
		{"the end is missing", script{latest: 4, read: func(engine.EventID) ([]engine.Record, error) {
			return records(1, 2), nil
		}}, `{"topic":"jobs","first_id":3,"last_id":4,"reason":"events end at 2, want the latest event, 4"}` + "\n" + total(2, 1)},
		{"a position goes back", script{latest: 2, read: func(engine.EventID) ([]engine.Record, error) {
			rs := records(1, 2)
			rs[1].Position = 10
			return rs, nil
		}}, `{"topic":"jobs","first_id":2,"last_id":2,"reason":"position: got 10, want more than 10"}` + "\n" + total(2, 1)},
		{"compaction overtakes the read", script{latest: 6, read: func(after engine.EventID) ([]engine.Record, error) {
			if after < 4 {
				return records(1, 2), &engine.CompactedError{First: 5}
			}
			return records(5, 6), nil
		}}, total(4, 0)},
		{"a cursor is beyond the end", script{
			latest: 1, consumers: []engine.ConsumerInfo{{Consumer: engine.MustConsumerID("c"), Cursor: 2}},
			read: func(engine.EventID) ([]engine.Record, error) { return records(1), nil },
		}, `{"topic":"jobs","reason":"cursor of consumer \"c\": got 2, want at most the latest event, 1"}` + "\n" + total(1, 1)},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newShell(t)
			s.openLog = &test.log
			status := statusDamaged
			if test.name == "compaction overtakes the read" {
				status = statusOK
			}
			s.run("", "verify").must(status).prints(test.want)
		})
	}
}

func TestVerifyFailsWhereItCannotRead(t *testing.T) {
	s := newShell(t)
	s.openLog = &script{latest: 1, read: func(engine.EventID) ([]engine.Record, error) { return nil, engine.ErrIO }}
	s.run("", "verify").must(statusFailed).says("i/o error")
}

func TestVerifyListsDamageThatStopsTheOpen(t *testing.T) {
	s := newShell(t)
	s.openErr = fmt.Errorf("open log: %w", &engine.CorruptError{File: "manifest-1", Offset: 16, Reason: "both copies"})
	s.run("", "verify").must(statusDamaged).
		prints("{\"file\":\"manifest-1\",\"offset\":16,\"reason\":\"both copies\"}\n{\"topics\":0,\"events\":0,\"damaged\":1}\n")
	s.terminal()
	s.run("", "verify").must(statusDamaged).
		prints("TOPIC  FILE        OFFSET  EVENTS  DAMAGE\n       manifest-1  16              both copies\n0 topics with 0 events: 1 damaged place\n")
}

// TestVerifyTellsOfCursorsThatTheOriginalLeft: what the original lets consumers
// do is no damage, but what it leaves after a power cut is.
func TestVerifyTellsOfCursorsThatTheOriginalLeft(t *testing.T) {
	s := newEngineShell(t)
	s.run("1\n", "append jobs --quiet --backend file -C log").must(statusOK)
	put := func(name, text string) {
		check(t, os.WriteFile(filepath.Join(s.dir, "log/consumers", name), []byte(text), 0o600))
	}
	put("jobs__c.json", `{"topic":"jobs","consumer_id":"c","cursor":5,"updated_at_ms":1}`)
	s.run("", "verify --backend file -C log").must(statusOK).
		prints("{\"topics\":1,\"events\":1,\"damaged\":0}\n").says(`consumer "c" on topic jobs is at event 5`, "the latest event, 1")
	put("jobs__d.json", "")
	r := s.run("", "verify --backend file -C log").must(statusDamaged)
	if !strings.Contains(r.out, "consumers/jobs__d.json") {
		t.Errorf("verify printed %s, want the file of the cursor in it", r.out)
	}
}
