package fuzz

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/seglog/seglog/engine"
	"github.com/seglog/seglog/fuzz/script"
)

// workload is a fixed script that leads through one part of the write path.
// Files are kept as small as options allow, so that a few hundred file
// operations meet every switch of a file.
type workload struct {
	name string
	script.Script
}

// tiny are the smallest files that options allow.
var tiny = engine.Options{
	WALBytes: 64 << 10, SegmentBytes: 16 << 10, BlockBytes: 256, TailBytes: 16 << 10, Compression: engine.CompressionNone,
}

func workloads() []workload {
	big := tiny
	big.WALBytes, big.TailBytes, big.BlockBytes = 256<<10, 128<<10, 4096
	never, interval := tiny, tiny
	never.Sync, interval.Sync = engine.SyncNever, engine.SyncInterval
	packed := tiny
	packed.Compression, packed.BlockBytes = engine.CompressionS2, 1024
	return []workload{
		build("singles", tiny, singles),
		build("batches", tiny, batches),
		build("topics", packed, manyTopics),
		build("recycle", tiny, recycle),
		build("checkpoints", tiny, checkpoints),
		build("compaction", tiny, compaction),
		build("cursors", tiny, cursors),
		build("restore", tiny, restored),
		build("reopening", tiny, reopening),
		build("big", big, bigEvents),
		build("never", never, lazy),
		build("interval", interval, lazy),
		build("packed", never, sharing),
		{"mixed", generated(3, 90)},
	}
}

func generated(seed uint64, n int) script.Script {
	return script.Generate(rand.New(rand.NewPCG(seed, 0)), n, script.Calm)
}

func build(name string, o engine.Options, write func(add func(format string, args ...any))) workload {
	var b strings.Builder
	write(func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) })
	s, err := script.Parse(b.String())
	if err != nil {
		panic(err) // a workload is our own text
	}
	s.Options = o
	return workload{name, s}
}

type adder = func(format string, args ...any)

func singles(add adder) {
	for i := range 30 {
		add("append t%d %d:%d", i%2, i, 1+i*13)
	}
	add("check")
	add("append t0 99:1 expect=15")
	add("append t0 99:1 expect=3")
}

func batches(add adder) {
	for i := range 14 {
		var line strings.Builder
		line.WriteString(fmt.Sprintf("batch t%d", i%3))
		for j := range i % 7 {
			line.WriteString(fmt.Sprintf(" %d:%d", i*10+j, 1+j*150))
		}
		add("%s", line.String())
	}
	add("async t0 1:10 2:500 3:4000")
	add("checkpoint")
	add("batch t1 1:100 2:4000 3:5000 4:100")
	add("check")
}

func manyTopics(add adder) {
	for i := range 18 {
		add("append t%d %d:40", i%6, i)
	}
	add("commit append t0 1:10; append t1 2:10; append t2 3:10; append t3 4:10; append t4 5:10; append t5 6:10")
	add("checkpoint")
	for i := range 8 {
		add("append t%d %d:700", i%3, i)
	}
	add("commit batch t0 1:10 2:20 3:30; batch t5 4:10 5:20; append t0 6:10")
	add("checkpoint")
	add("checkpoint")
	add("check")
}

// recycle fills the small log of commits several times over.
func recycle(add adder) {
	for i := range 45 {
		add("append t%d %d:%d", i%2, i, 500+(i*977)%4500)
	}
	add("reopen")
	for i := range 12 {
		add("append t%d %d:3000", i%2, i)
	}
	add("check")
}

func checkpoints(add adder) {
	for i := range 9 {
		for j := range 3 {
			add("batch t%d %d:900 %d:1100 %d:40", j%2, i*10+j, i*10+j+1, i*10+j+2)
		}
		add("checkpoint")
	}
	add("check")
}

func restored(add adder) {
	add("restore t0 7")
	add("restore t0 9") // refused
	add("append t0 1:20")
	add("restore t1 1000000")
	add("ack t1 c0 999999")
	add("checkpoint")
	add("batch t1 2:300 3:300")
	add("restore t2 4")
	add("restore t3 9223372036854775000")
	add("reopen")
	add("append t2 4:10")
	add("kill")
	add("append t3 5:10")
	add("restore t2 9") // refused
	add("compact t1 1000001")
	add("restore t4 3")
	add("checkpoint")
	add("append t4 6:2000")
	add("check")
}

func compaction(add adder) {
	for i := range 8 {
		add("batch t0 %d:2000 %d:2000", i, i+100)
		add("append t1 %d:20", i)
	}
	add("compact t0 3")
	add("checkpoint")
	add("compact t0 12")
	add("ack t0 c0 5")
	add("compact t1 8")
	add("checkpoint")
	add("compact t0 99999999999")
	add("checkpoint")
	add("reopen")
	add("append t0 1:10")
	add("append t1 2:10")
	add("compact t0 17")
	add("compact t9 17")
	add("reopen")
	add("append t0 1:2000")
	add("checkpoint")
	add("compact t0 18")
	add("kill")
	add("append t0 1:10")
	add("batch t0 1:2000 2:2000 3:2000")
	add("checkpoint")
	add("compact t0 22")
	add("checkpoint")
	add("check")
}

func cursors(add adder) {
	for i := range 8 {
		add("append t0 %d:50", i)
		add("ack t0 c0 %d", i)
		add("commit append t1 %d:60; ack t0 c1 %d; ack t1 c0 %d", i, i+1, i+1)
	}
	add("ack t0 c0 0")
	add("ack t0 c0 99")
	add("ack t3 c0 0")
	add("uncursor t0 c1")
	add("checkpoint")
	add("ack t0 c2 2")
	add("reopen")
	add("ack t0 c2 1")
	add("uncursor t1 c0")
	add("uncursor t1 c0")
	add("kill")
	add("commit append t1 1:1; ack t1 c0 9; expect t1 8")
	add("commit append t1 1:1; expect t1 8")
	add("check")
}

func reopening(add adder) {
	for i := range 4 {
		add("append t0 %d:100", i)
		add("batch t1 %d:3000 %d:2500", i, i+1)
		add("reopen")
		add("append t2 %d:10", i)
		add("ack t0 c0 %d", i+1)
		add("kill")
	}
	add("reopen")
	add("reopen")
	add("checkpoint") // the first write after a clean close is not always one of the log
	add("reopen")
	add("checkpoint")
	add("kill")
	add("append t0 7:10")
	add("crash 0 0")
	add("append t0 8:10")
	add("check")
}

func bigEvents(add adder) {
	for i := range 5 {
		add("append t0 %d:%d", i, 30000+i*7000)
		add("append t1 %d:10", i)
	}
	add("batch t0 1:20000 2:20000 3:20000 4:10")
	add("checkpoint")
	add("append t0 9:80000")
	add("append t1 9:5")
	add("check")
}

// sharing has many commits in a page, and syncs at places of all kinds.
func sharing(add adder) {
	for i := range 60 {
		add("append t%d %d:%d", i%3, i, 1+i*29%300)
		switch {
		case i%11 == 7 || i%23 == 22:
			add("flush")
		case i%19 == 13:
			add("checkpoint")
		case i%17 == 16:
			add("append t0 %d:%d", i, 3500+i*20)
		case i == 40:
			add("reopen")
		case i == 50:
			add("kill")
		}
	}
	add("flush")
	add("flush")
	add("append t0 1:10")
	add("check")
}

func lazy(add adder) {
	for i := range 20 {
		add("append t%d %d:%d", i%3, i, 100+i*170)
		switch {
		case i%8 == 5:
			add("flush")
		case i == 11:
			add("checkpoint")
		case i%5 == 4:
			add("ack t%d c0 1", i%3)
		}
	}
	add("check")
	add("reopen")
	for i := range 6 {
		add("append t0 %d:2000", i)
	}
}
