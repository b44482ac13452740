package adapter_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/seglog/seglog/adapter"
	"github.com/seglog/seglog/engine"
)

// A program that takes its log from the environment, and carries it in a
// context.
func ExampleOpenContext() {
	base, err := os.MkdirTemp("", "seglog")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(base)

	ctx, events, err := adapter.OpenContext(context.Background(), base)
	if err != nil {
		log.Fatal(err)
	}
	defer events.Close()

	active, _ := engine.FromContext(ctx)
	event, err := engine.NewEvent("job.done", map[string]any{"job": 42})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(active.Append(ctx, engine.MustTopic("jobs"), event))
	// Output: 1 <nil>
}

// A log in files becomes a database.
func ExampleCopy() {
	base, err := os.MkdirTemp("", "seglog")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(base)

	from, err := adapter.Open(adapter.Config{Backend: engine.BackendFile, FileDir: filepath.Join(base, "events")})
	if err != nil {
		log.Fatal(err)
	}
	defer from.Close()
	ctx := context.Background()
	if _, err := from.Append(ctx, engine.MustTopic("jobs"), engine.Event{Kind: "k", Payload: []byte("1")}); err != nil {
		log.Fatal(err)
	}

	to, err := adapter.Open(adapter.Config{Backend: engine.BackendSQLite, SQLitePath: filepath.Join(base, "events.sqlite")})
	if err != nil {
		log.Fatal(err)
	}
	defer to.Close()
	report, err := adapter.Copy(ctx, from, to, nil)
	fmt.Println(report.Topics, report.Events, report.Copied, report.Cursors, err)
	// Output: 1 1 1 0 <nil>
}
