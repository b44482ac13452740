package engine_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	"github.com/seglog/seglog/engine"
)

// tempLog opens a log that the examples throw away.
func tempLog() (*engine.Engine, func()) {
	dir, err := os.MkdirTemp("", "seglog")
	if err != nil {
		log.Fatal(err)
	}
	events, err := engine.Open(dir, engine.Options{})
	if err != nil {
		log.Fatal(err)
	}
	return events, func() {
		if err := errors.Join(events.Close(), os.RemoveAll(dir)); err != nil {
			log.Fatal(err)
		}
	}
}

func newEvent(kind string, payload any) engine.Event {
	event, err := engine.NewEvent(kind, payload)
	if err != nil {
		log.Fatal(err)
	}
	return event
}

func Example() {
	dir, err := os.MkdirTemp("", "seglog")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	events, err := engine.Open(dir, engine.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer events.Close()

	ctx := context.Background()
	jobs := engine.MustTopic("jobs")
	for n := range 3 {
		event, err := engine.NewEvent("job.done", map[string]int{"job": n})
		if err != nil {
			log.Fatal(err)
		}
		if _, err := events.Append(ctx, jobs, event); err != nil { // durable when it returns
			log.Fatal(err)
		}
	}
	for r, err := range events.Read(ctx, jobs, engine.ReadOptions{After: 1}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(r.ID, r.Kind, string(r.Payload))
	}
	// Output:
	// 2 job.done {"job":1}
	// 3 job.done {"job":2}
}

// Reading an inbox, writing an outbox and acknowledging the inbox in one atomic
// commit: whatever crashes, each order is billed exactly once.
func ExampleEngine_Commit() {
	events, done := tempLog()
	defer done()
	ctx := context.Background()
	orders, bills := engine.MustTopic("orders"), engine.MustTopic("bills")
	biller := engine.MustConsumerID("biller")
	if _, _, err := events.AppendBatch(ctx, orders, []engine.Event{newEvent("order", 10), newEvent("order", 20)}); err != nil {
		log.Fatal(err)
	}

	seen, _, err := events.Cursor(ctx, orders, biller)
	if err != nil {
		log.Fatal(err)
	}
	for order, err := range events.Read(ctx, orders, engine.ReadOptions{After: seen}) {
		if err != nil {
			log.Fatal(err)
		}
		var b engine.Batch
		b.Append(bills, newEvent("bill", map[string]any{"order": order.ID, "amount": order.Payload}))
		b.Ack(orders, biller, order.ID)
		if _, err := events.Commit(ctx, &b); err != nil {
			log.Fatal(err)
		}
	}
	for bill, err := range events.Read(ctx, bills, engine.ReadOptions{}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(string(bill.Payload))
	}
	// Output:
	// {"amount":10,"order":1}
	// {"amount":20,"order":2}
}

func ExampleEngine_Subscribe() {
	events, done := tempLog()
	defer done()
	ctx := context.Background()
	jobs := engine.MustTopic("jobs")
	if _, err := events.Append(ctx, jobs, newEvent("job", "before")); err != nil {
		log.Fatal(err)
	}
	live := events.Subscribe(ctx, jobs, engine.SubscribeOptions{}) // history first, then what comes
	go func() {
		if _, err := events.Append(ctx, jobs, newEvent("job", "after")); err != nil {
			log.Fatal(err)
		}
	}()
	for r, err := range live {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(r.ID, string(r.Payload))
		if r.ID == 2 {
			break
		}
	}
	// Output:
	// 1 "before"
	// 2 "after"
}

// ExpectLatest is optimistic concurrency: of two who saw the same state, one
// appends.
func ExampleExpectLatest() {
	events, done := tempLog()
	defer done()
	ctx := context.Background()
	account := engine.MustTopic("account-7")
	for _, who := range []string{"first", "second"} {
		_, err := events.Append(ctx, account, newEvent("opened", who), engine.ExpectLatest(0))
		var conflict *engine.ConflictError
		if errors.As(err, &conflict) {
			fmt.Printf("%s: somebody was faster, latest is %d\n", who, conflict.Latest)
		}
	}
	// Output:
	// second: somebody was faster, latest is 1
}

// AppendAsync keeps one goroutine from waiting for each sync.
func ExampleEngine_AppendAsync() {
	events, done := tempLog()
	defer done()
	ctx := context.Background()
	jobs := engine.MustTopic("jobs")
	var pending []*engine.Pending
	for n := range 1000 {
		pending = append(pending, events.AppendAsync(ctx, jobs, newEvent("job", n)))
	}
	for _, p := range pending {
		if _, err := p.Wait(ctx); err != nil {
			log.Fatal(err)
		}
	}
	latest, _, err := events.Latest(ctx, jobs)
	fmt.Println(latest, err)
	// Output: 1000 <nil>
}
