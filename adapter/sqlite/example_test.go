package sqlite_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/seglog/seglog/adapter/sqlite"
	"github.com/seglog/seglog/engine"
)

func Example() {
	dir, err := os.MkdirTemp("", "sqlite")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)

	log, err := sqlite.Open(filepath.Join(dir, "events.sqlite"), sqlite.Options{})
	if err != nil {
		panic(err)
	}
	defer log.Close()

	ctx := context.Background()
	inbox, outbox := engine.MustTopic("inbox"), engine.MustTopic("outbox")
	worker := engine.MustConsumerID("worker")
	job, err := engine.NewEvent("job", map[string]int{"n": 21})
	if err != nil {
		panic(err)
	}
	if _, err := log.Append(ctx, inbox, job); err != nil {
		panic(err)
	}

	for r, err := range log.Subscribe(ctx, inbox, engine.SubscribeOptions{}) {
		if err != nil {
			panic(err)
		}
		done, err := engine.NewEvent("job.done", map[string]int{"n": 42})
		if err != nil {
			panic(err)
		}
		// The answer and the acknowledgement are there together, or neither is.
		var b engine.Batch
		b.Append(outbox, done)
		b.Ack(inbox, worker, r.ID)
		committed, err := log.Commit(ctx, &b)
		if err != nil {
			panic(err)
		}
		fmt.Printf("inbox %d %s: outbox %d\n", r.ID, r.Payload, committed.Appended[0].Last)
		break
	}
	// Output: inbox 1 {"n":21}: outbox 1
}
