package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seglog/seglog/engine"
	"github.com/seglog/seglog/internal/env"
)

// writeManifest writes a log whose bytes are the same each time: a topic with
// a sealed and an open segment, one with a carried block, and an empty one. It
// returns the manifest's file.
func writeManifest(t *testing.T, s *shell) string {
	t.Helper()
	seed := uint64(0)
	world := env.Env{
		FS: logDir(t, s), Now: func() time.Time { return time.UnixMilli(1700000000000) }, Inline: true,
		Rand: func() uint64 { seed++; return seed },
	}
	log, err := engine.OpenEnv(world, s.dir, engine.Options{
		WALBytes: 1 << 20, SegmentBytes: 16 << 10, BlockBytes: 1024, Compression: engine.CompressionNone,
	})
	check(t, err)
	fill := func(topic string, n int, payload string) {
		for range n {
			_, err := log.Append(t.Context(), engine.MustTopic(topic), engine.Event{Payload: []byte(payload), OccurredAtMS: 1700000000000})
			check(t, err)
		}
	}
	fill("big", 40, `"`+strings.Repeat("x", 500)+`"`)
	check(t, log.Checkpoint(t.Context()))
	fill("big", 10, `"`+strings.Repeat("y", 500)+`"`)
	fill("empty", 1, "1")
	fill("small", 2, "{}")
	check(t, log.Ack(t.Context(), engine.MustTopic("small"), engine.MustConsumerID("c"), 1))
	check(t, log.Checkpoint(t.Context()))
	_, err = log.Compact(t.Context(), engine.MustTopic("empty"), 1)
	check(t, err)
	check(t, log.Close())
	files, err := filepath.Glob(filepath.Join(s.dir, "manifest-*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("got manifests %v, %v; want one", files, err)
	}
	return files[0]
}

func TestDumpPrintsAManifest(t *testing.T) {
	s := newEngineShell(t)
	file := writeManifest(t, s)
	check(t, os.Rename(file, filepath.Join(s.dir, "copy")))
	s.run("", "dump copy").must(statusOK).prints(`{"type":"manifest","file":"manifest-0000000000000001","uuid":"01000000000000000200000000000000","generation":1,"frames":4,"bytes":32768,"checkpoint_lsn":225280,"position":53,"next_segment":4}
{"type":"topic","topic":"big","topic_number":1,"first_id":1,"latest":50,"consumers":0}
{"type":"segment","topic":"big","file":"seg/0000000000000001-0000000000000001-0000000000000001.seg","bytes":22496,"first_id":1,"last_id":20,"sealed":true}
{"type":"segment","topic":"big","file":"seg/0000000000000001-0000000000000015-0000000000000002.seg","bytes":22496,"first_id":21,"last_id":40,"sealed":true}
{"type":"carried","topic":"big","file":"carry-0000000000000003","offset":4096,"bytes":645,"first_id":41,"last_id":41}
{"type":"carried","topic":"big","file":"carry-0000000000000003","offset":4741,"bytes":645,"first_id":42,"last_id":42}
{"type":"carried","topic":"big","file":"carry-0000000000000003","offset":5386,"bytes":645,"first_id":43,"last_id":43}
{"type":"carried","topic":"big","file":"carry-0000000000000003","offset":6031,"bytes":645,"first_id":44,"last_id":44}
{"type":"carried","topic":"big","file":"carry-0000000000000003","offset":6676,"bytes":645,"first_id":45,"last_id":45}
{"type":"carried","topic":"big","file":"carry-0000000000000003","offset":7321,"bytes":645,"first_id":46,"last_id":46}
{"type":"carried","topic":"big","file":"carry-0000000000000003","offset":7966,"bytes":645,"first_id":47,"last_id":47}
{"type":"carried","topic":"big","file":"carry-0000000000000003","offset":8611,"bytes":645,"first_id":48,"last_id":48}
{"type":"carried","topic":"big","file":"carry-0000000000000003","offset":9256,"bytes":645,"first_id":49,"last_id":49}
{"type":"carried","topic":"big","file":"carry-0000000000000003","offset":9901,"bytes":645,"first_id":50,"last_id":50}
{"type":"topic","topic":"empty","topic_number":2,"first_id":2,"latest":1,"consumers":0}
{"type":"topic","topic":"small","topic_number":3,"first_id":1,"latest":2,"consumers":1}
{"type":"carried","topic":"small","file":"carry-0000000000000003","offset":10689,"bytes":160,"first_id":1,"last_id":2}
{"type":"carry","file":"carry-0000000000000003","bytes":10849}
`)
	s.terminal()
	s.run("", "dump copy").must(statusOK).prints(`manifest        manifest-0000000000000001
log             01000000000000000200000000000000
generation      1
frames          4 in 32768 bytes
checkpoint lsn  225280
position        53
next segment    4
PART     TOPIC  EVENTS  FILE                                                        OFFSET  BYTES  NOTE
topic    big    1..50                                                                              number 1, 0 consumers
segment  big    1..20   seg/0000000000000001-0000000000000001-0000000000000001.seg          22496  sealed
segment  big    21..40  seg/0000000000000001-0000000000000015-0000000000000002.seg          22496  sealed
carried  big    41..41  carry-0000000000000003                                      4096    645    
carried  big    42..42  carry-0000000000000003                                      4741    645    
carried  big    43..43  carry-0000000000000003                                      5386    645    
carried  big    44..44  carry-0000000000000003                                      6031    645    
carried  big    45..45  carry-0000000000000003                                      6676    645    
carried  big    46..46  carry-0000000000000003                                      7321    645    
carried  big    47..47  carry-0000000000000003                                      7966    645    
carried  big    48..48  carry-0000000000000003                                      8611    645    
carried  big    49..49  carry-0000000000000003                                      9256    645    
carried  big    50..50  carry-0000000000000003                                      9901    645    
topic    empty  none                                                                               number 2, 0 consumers
topic    small  1..2                                                                               number 3, 1 consumer
carried  small  1..2    carry-0000000000000003                                      10689   160    
carry                   carry-0000000000000003                                              10849  
`)
}

func TestDumpOfADamagedManifest(t *testing.T) {
	const page = 4096
	for _, test := range []struct {
		name    string
		offsets []int64 // of flipped bits
		topics  int
		says    string
		status  int
	}{
		{"one copy of the first frame", []int64{20}, 3, `{"type":"damage","offset":0,`, statusDamaged},
		{"both copies of the first frame", []int64{20, page + 20}, 0, `"reason":`, statusDamaged},
		{"both copies of a later frame", []int64{2*page + 20, 3*page + 20}, 0, `{"type":"damage","offset":8192,`, statusDamaged},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newEngineShell(t)
			file := writeManifest(t, s)
			for _, offset := range test.offsets {
				flip(t, file, offset)
			}
			r := s.run("", "dump "+file).must(test.status)
			if got := strings.Count(r.out, `"type":"topic"`); got != test.topics {
				t.Errorf("got %d topics, want %d in\n%s", got, test.topics, r.out)
			}
			if !strings.Contains(r.out, test.says) {
				t.Errorf("want %s in\n%s", test.says, r.out)
			}
		})
	}
	t.Run("a frame that was cut short", func(t *testing.T) {
		s := newEngineShell(t)
		file := writeManifest(t, s)
		b, err := os.ReadFile(file)
		check(t, err)
		check(t, os.WriteFile(file, append(b, "rest"...), 0o600))
		r := s.run("", "dump "+file).must(statusOK)
		if want := fmt.Sprintf(`{"type":"torn","offset":%d,"reason":"4 bytes `, len(b)); !strings.Contains(r.out, want) {
			t.Errorf("want %s in\n%s", want, r.out)
		}
	})
}
