package file_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/seglog/seglog/adapter/file"
	"github.com/seglog/seglog/engine"
)

func Example() {
	dir, err := os.MkdirTemp("", "events")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)

	log, err := file.Open(dir, file.Options{})
	if err != nil {
		panic(err)
	}
	defer log.Close()

	ctx := context.Background()
	topic := engine.MustTopic("jobs")
	e := engine.Event{Kind: "job.done", Payload: []byte(`{"job": 42}`), OccurredAtMS: 1700000000000}
	id, err := log.Append(ctx, topic, e) // durable when it returns
	if err != nil {
		panic(err)
	}
	for r, err := range log.Subscribe(ctx, topic, engine.SubscribeOptions{}) {
		if err != nil {
			panic(err)
		}
		fmt.Println(r.ID, r.Kind, string(r.Payload))
		if r.ID == id {
			break
		}
	}
	lines, err := os.ReadFile(filepath.Join(dir, "topics", "jobs.jsonl"))
	if err != nil {
		panic(err)
	}
	fmt.Print(string(lines))
	// Output:
	// 1 job.done {"job": 42}
	// {"id":1,"event":{"kind":"job.done","payload":{"job": 42},"headers":{},"occurred_at_ms":1700000000000}}
}
