package sqlite

import (
	"context"
	"errors"
	"math"
	"runtime"
	"strings"
	"testing"
	"time"

	driver "zombiezen.com/go/sqlite"

	"github.com/seglog/seglog/engine"
)

// hold keeps the writer busy until release is called.
func hold(t *testing.T, log *Log) (release func()) {
	t.Helper()
	holding, released, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		done <- log.submit(context.Background(), &request{outside: func(*conn) error {
			close(holding)
			<-released
			return nil
		}})
	}()
	<-holding
	return func() {
		close(released)
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// queued waits until n requests wait for the writer.
func queued(t *testing.T, log *Log, n int64) {
	t.Helper()
	for ctx := testContext(t); log.writer.arrived.Load() < n; runtime.Gosched() {
		if err := ctx.Err(); err != nil {
			t.Fatalf("%d of %d requests are queued: %v", log.writer.arrived.Load(), n, err)
		}
	}
}

// onWriter runs do on the writing connection.
func onWriter(t *testing.T, log *Log, do func(*conn) error) error {
	t.Helper()
	return log.submit(t.Context(), &request{outside: do})
}

func TestTenThousandAppends(t *testing.T) {
	const last = 10_000
	log := openLog(t, newFile(t), Options{})
	topic := engine.MustTopic("trigger.inbox")
	for id := engine.EventID(1); id <= last; id++ {
		if got, err := log.Append(t.Context(), topic, numbered(id)); got != id || err != nil {
			t.Fatalf("Append gave %d, %v, want %d", got, err, id)
		}
	}
	wantNumbered(t, log, topic, 1, last)
}

func TestRefusalsInAGroupLeaveTheOthersAlone(t *testing.T) {
	log := openLog(t, newFile(t), Options{})
	fill(t, log, jobs, 5)
	release := hold(t, log)
	type outcome struct {
		what string
		err  error
	}
	outcomes := make(chan outcome)
	calls := map[string]func() error{
		"a conflict":      func() error { _, err := log.Append(t.Context(), jobs, numbered(0), engine.ExpectLatest(4)); return err },
		"an ack beyond":   func() error { return log.Ack(t.Context(), jobs, reader, 100) },
		"a topic that is": func() error { return log.RestoreTopic(t.Context(), jobs, 9) },
		"a commit beyond": func() error {
			var b engine.Batch
			b.Append(jobs, numbered(0))
			b.Ack(jobs, reader, 100)
			_, err := log.Commit(t.Context(), &b)
			return err
		},
		"an append":          func() error { _, err := log.Append(t.Context(), jobs, numbered(6)); return err },
		"an append, another": func() error { _, err := log.Append(t.Context(), jobs, numbered(6)); return err },
		"an ack":             func() error { return log.Ack(t.Context(), jobs, reader, 3) },
	}
	refused := map[string]error{
		"a conflict": engine.ErrConflict, "an ack beyond": engine.ErrBeyondLatest,
		"a topic that is": engine.ErrConflict, "a commit beyond": engine.ErrBeyondLatest,
	}
	for what, call := range calls {
		go func() { outcomes <- outcome{what, call()} }()
	}
	queued(t, log, int64(len(calls)))
	release()
	for range calls {
		o := <-outcomes
		if want := refused[o.what]; !errors.Is(o.err, want) {
			t.Errorf("%s: got %v, want %v", o.what, o.err, want)
		}
	}
	if latest, _, err := log.Latest(t.Context(), jobs); latest != 7 || err != nil {
		t.Errorf("Latest is %d, %v, want 7", latest, err)
	}
	if cursor, _, err := log.Cursor(t.Context(), jobs, reader); cursor != 3 || err != nil {
		t.Errorf("Cursor is %d, %v, want 3", cursor, err)
	}
}

// Appends that wait together share a transaction: a reader never sees one of
// them without the others.
func TestWaitingAppendsShareATransaction(t *testing.T) {
	const callers = 40
	log := openLog(t, newFile(t), Options{})
	release := hold(t, log)
	done := make(chan error, callers)
	for range callers {
		go func() {
			_, err := log.Append(t.Context(), jobs, numbered(1))
			done <- err
		}()
	}
	queued(t, log, callers)
	other := openLog(t, log.file, Options{ReadOnly: true})
	release()
	for range callers {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if latest, _, err := other.Latest(t.Context(), jobs); latest != callers || err != nil {
			t.Fatalf("another connection sees latest %d, %v, when one of %d appends is done", latest, err, callers)
		}
	}
}

func TestContextEndsTheWaitingForTheWriter(t *testing.T) {
	log := openLog(t, newFile(t), Options{})
	release := hold(t, log)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	event := numbered(1)
	go func() {
		_, err := log.Append(ctx, jobs, event)
		done <- err
	}()
	queued(t, log, 1)
	cancel()
	wantErr(t, "Append whose context ended", <-done, []error{context.Canceled}, "jobs")
	copy(event.Payload, "######") // it is the caller's again
	release()
	if err := onWriter(t, log, func(*conn) error { return nil }); err != nil { // behind the append
		t.Fatal(err)
	}
	fill(t, log, jobs, 2) // what was queued is kept
	wantNumbered(t, log, jobs, 1, 2)
}

func TestIdsAboveTheSignedRangeAreNeverAssigned(t *testing.T) {
	log := openLog(t, newFile(t), Options{})
	ctx := t.Context()
	err := log.RestoreTopic(ctx, jobs, math.MaxInt64+1)
	wantErr(t, "RestoreTopic at 2^63", err, []error{engine.ErrTooLarge}, "jobs", "9223372036854775807")
	if err := log.RestoreTopic(ctx, jobs, math.MaxInt64-1); err != nil {
		t.Fatal(err)
	}
	_, _, err = log.AppendBatch(ctx, jobs, []engine.Event{numbered(1), numbered(2)})
	wantErr(t, "AppendBatch of two where one fits", err, []error{engine.ErrTooLarge}, "jobs", "9223372036854775807")
	if id, err := log.Append(ctx, jobs, numbered(1)); id != math.MaxInt64 || err != nil {
		t.Fatalf("Append gave %d, %v, want %d", id, err, int64(math.MaxInt64))
	}
	for range 2 {
		_, err = log.Append(ctx, jobs, numbered(2))
		wantErr(t, "Append after the last id", err, []error{engine.ErrTooLarge}, "jobs", "9223372036854775807")
	}
	var b engine.Batch
	b.Append(jobs)
	b.Append(engine.MustTopic("other"), numbered(1))
	b.Append(jobs, numbered(2))
	_, err = log.Commit(ctx, &b)
	wantErr(t, "Commit after the last id", err, []error{engine.ErrTooLarge}, "jobs")

	records, err := engine.ReadRange(ctx, log, jobs, 0, engine.NoLimit)
	if err != nil || len(records) != 1 || records[0].ID != math.MaxInt64 {
		t.Fatalf("Read gave %v, %v, want the last event", records, err)
	}
	for _, after := range []engine.EventID{math.MaxInt64, math.MaxInt64 + 1, math.MaxUint64} {
		if records, err := engine.ReadRange(ctx, log, jobs, after, engine.NoLimit); err != nil || len(records) > 0 {
			t.Errorf("Read after %d gave %v, %v, want nothing", after, records, err)
		}
	}
	live := pull(t, math.MaxInt64-1, log.Subscribe(ctx, jobs, engine.SubscribeOptions{After: math.MaxInt64 - 1}))
	if r, err, _ := live.next(); err != nil || r.ID != math.MaxInt64 {
		t.Errorf("Subscribe gave event %d, %v", r.ID, err)
	}
	if err := log.Ack(ctx, jobs, reader, math.MaxInt64); err != nil {
		t.Error(err)
	}
	wantErr(t, "Ack of 2^63", log.Ack(ctx, jobs, reader, math.MaxInt64+1), []error{engine.ErrBeyondLatest}, "jobs")
	report, err := log.Compact(ctx, jobs, math.MaxUint64)
	if err != nil || report.Removed != 1 || report.Remaining != 0 || *report.Latest != math.MaxInt64 {
		t.Errorf("Compact gave %+v, %v", report, err)
	}
	wantErr(t, "Append to the emptied topic", func() error { _, err := log.Append(ctx, jobs, numbered(2)); return err }(), []error{engine.ErrTooLarge})
	if records, err := engine.ReadRange(ctx, log, jobs, 0, engine.NoLimit); err != nil || len(records) > 0 {
		t.Errorf("Read of the emptied topic gave %v, %v", records, err)
	}
}

func TestRestore(t *testing.T) {
	file := newFile(t)
	log := openLog(t, file, Options{})
	ctx := t.Context()
	if err := log.RestoreTopic(ctx, jobs, 0); err != nil {
		t.Fatal(err)
	}
	if topics, err := log.Topics(ctx); err != nil || len(topics) > 0 {
		t.Errorf("Topics after a restore at 0 gave %v, %v", topics, err)
	}
	if err := log.RestoreTopic(ctx, jobs, 41); err != nil {
		t.Fatal(err)
	}
	at := time.UnixMilli(1_700_000_000_123)
	if err := log.RestoreCursor(ctx, jobs, reader, 40, at); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "RestoreCursor beyond latest", log.RestoreCursor(ctx, jobs, reader, 42, at), []error{engine.ErrBeyondLatest}, "jobs")
	err := log.RestoreTopic(ctx, jobs, 50)
	if conflict := new(engine.ConflictError); !errors.As(err, &conflict) || conflict.Latest != 41 {
		t.Errorf("RestoreTopic of a topic that is there gave %v, want a conflict with 41", err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	log = openLog(t, file, Options{})
	infos, err := log.Consumers(ctx, jobs)
	if err != nil || len(infos) != 1 || infos[0].Cursor != 40 || infos[0].Lag != 1 || !infos[0].AckedAt.Equal(at) {
		t.Errorf("Consumers gave %+v, %v", infos, err)
	}
	fill(t, log, jobs, 43)
	wantNumbered(t, log, jobs, 42, 43)
}

func TestFullDiskRefusesAppendsAndGoesOnByItself(t *testing.T) {
	log := openLog(t, newFile(t), Options{})
	fill(t, log, jobs, 3)
	limit := func(pages string) {
		t.Helper()
		if err := onWriter(t, log, func(c *conn) error { return c.pragma("PRAGMA max_page_count=" + pages) }); err != nil {
			t.Fatal(err)
		}
	}
	limit("1") // SQLite takes it as the present size
	large := numbered(4)
	large.Payload = []byte(`"` + strings.Repeat("x", 100_000) + `"`)
	for range 2 {
		_, err := log.Append(t.Context(), jobs, large)
		wantErr(t, "Append to a full disk", err, []error{engine.ErrNoSpace, engine.ErrSQLite}, "append")
	}
	wantNumbered(t, log, jobs, 1, 3)
	limit("1000000")
	fill(t, log, jobs, 4) // with the id that was not assigned
	wantNumbered(t, log, jobs, 1, 4)
}

func TestBusyDatabaseIsAnErrorAfterTheTimeout(t *testing.T) {
	file := newFile(t)
	log := openLog(t, file, Options{})
	fill(t, log, jobs, 1)
	if err := onWriter(t, log, func(c *conn) error { c.busy = time.Millisecond; return nil }); err != nil {
		t.Fatal(err)
	}
	other := openSeed(t, file, false)
	defer other.close()
	other.query("BEGIN IMMEDIATE", nil)
	_, err := log.Append(t.Context(), jobs, numbered(2))
	wantErr(t, "Append while another connection writes", err, []error{engine.ErrSQLite}, "busy")
	if errors.Is(err, engine.ErrFailed) || errors.Is(err, engine.ErrIO) {
		t.Errorf("a busy database gives %v", err)
	}
	wantNumbered(t, log, jobs, 1, 1) // reading goes on
	other.query("ROLLBACK", nil)
	fill(t, log, jobs, 2)
	wantNumbered(t, log, jobs, 1, 2)
}

func TestFailedWriteStopsTheLogUntilItIsReopened(t *testing.T) {
	file := newFile(t)
	log := openLog(t, file, Options{})
	fill(t, log, jobs, 2)
	err := onWriter(t, log, func(c *conn) error { return classify(driver.ResultIOErrFsync.ToError(), c.file) })
	wantErr(t, "a failed sync", err, []error{engine.ErrSQLite, engine.ErrIO})
	for range 2 {
		_, err = log.Append(t.Context(), jobs, numbered(3))
		wantErr(t, "Append after a failed sync", err, []error{engine.ErrFailed, engine.ErrIO}, "append")
		wantErr(t, "Ack after a failed sync", log.Ack(t.Context(), jobs, reader, 1), []error{engine.ErrFailed})
		wantErr(t, "Flush after a failed sync", log.Flush(t.Context()), []error{engine.ErrFailed})
	}
	wantNumbered(t, log, jobs, 1, 2)
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	log = openLog(t, file, Options{})
	fill(t, log, jobs, 3)
	wantNumbered(t, log, jobs, 1, 3)
}

func TestErrorsOfSQLiteMatchTheSentinels(t *testing.T) {
	for code, target := range map[driver.ResultCode]error{
		driver.ResultFull:            engine.ErrNoSpace,
		driver.ResultIOErrSHMSize:    engine.ErrNoSpace,
		driver.ResultIOErrWrite:      engine.ErrIO,
		driver.ResultReadOnlyDBMoved: engine.ErrReadOnly,
		driver.ResultCorrupt:         engine.ErrCorrupt,
		driver.ResultNotADB:          engine.ErrCorrupt,
		driver.ResultBusySnapshot:    engine.ErrSQLite,
		driver.ResultNoMem:           engine.ErrSQLite,
	} {
		err := classify(code.ToError(), "/dir/events.sqlite")
		wantErr(t, code.String(), err, []error{target, engine.ErrSQLite})
		if driver.ErrCode(err) != code {
			t.Errorf("%v became %v", code, driver.ErrCode(err))
		}
	}
}

func TestPayloadBytesAreKept(t *testing.T) {
	for _, blob := range []bool{false, true} {
		file := newFile(t)
		openSeed(t, file, blob).close()
		log := openLog(t, file, Options{})
		for _, payload := range []string{
			"null", " \t\n\r{ } ", `"\u0000"`, `"\ud800"`, "1e400", "-0", `{"b":1,"a":2,"b":3}`,
			strings.Repeat("[", 5000) + strings.Repeat("]", 5000), `"` + strings.Repeat("é\u2028", 3000) + `"`,
		} {
			id, err := log.Append(t.Context(), jobs, engine.Event{Kind: "\x00k\x00", Payload: []byte(payload)})
			if err != nil {
				t.Fatal(err)
			}
			records, err := engine.ReadRange(t.Context(), log, jobs, id-1, 1)
			if err != nil || len(records) != 1 || string(records[0].Payload) != payload || records[0].Kind != "\x00k\x00" {
				t.Errorf("payload %.40q came back as %v, %v", payload, records, err)
			}
		}
		_, err := log.Append(t.Context(), jobs, engine.Event{Payload: []byte("\"a\x00b\"")})
		wantErr(t, "Append of a raw NUL", err, []error{engine.ErrInvalidEvent}, "jobs")
	}
}

func TestOptionsAreValidated(t *testing.T) {
	for says, o := range map[string]Options{
		"Options.Sync 7":                 {Sync: 7},
		"Options.SyncEvery -1ns":         {SyncEvery: -1},
		"Options.QueueDepth -1":          {QueueDepth: -1},
		"Options.MaxEventBytes -1":       {MaxEventBytes: -1},
		"Options.MaxCommitBytes -1":      {MaxCommitBytes: -1},
		"Options.MaxEventBytes 53687091": {MaxEventBytes: 1<<29 + 1},
	} {
		file := newFile(t)
		_, err := Open(file, o)
		wantErr(t, "Open", err, []error{engine.ErrConfig}, says, file)
	}
	_, err := Open("", Options{})
	wantErr(t, "Open of an empty path", err, []error{engine.ErrConfig})
}

// SyncInterval makes events durable by itself: what the interval's sync did is
// seen in the policy's flag.
func TestIntervalSyncsWhatWasCommitted(t *testing.T) {
	log := openLog(t, newFile(t), Options{Sync: engine.SyncInterval, SyncEvery: time.Millisecond})
	fill(t, log, jobs, 3)
	ctx := testContext(t)
	for dirty := true; dirty; {
		if ctx.Err() != nil {
			t.Fatal("nothing was synced")
		}
		if err := onWriter(t, log, func(*conn) error { dirty = log.writer.dirty; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	level := func() (n int64) {
		err := onWriter(t, log, func(c *conn) (err error) {
			n, _, err = c.integer("PRAGMA synchronous")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if got := level(); got != 1 {
		t.Errorf("synchronous is %d after the interval's sync, want NORMAL again", got)
	}
}

// A writer that is never idle syncs all the same.
func TestIntervalSyncDoesNotWaitForAnIdleMoment(t *testing.T) {
	log := openLog(t, newFile(t), Options{Sync: engine.SyncInterval, SyncEvery: time.Hour})
	fill(t, log, jobs, 3)
	state := func(shift time.Duration) (dirty bool) {
		t.Helper()
		err := onWriter(t, log, func(*conn) error {
			dirty = log.writer.dirty
			log.writer.dirtySince = log.writer.dirtySince.Add(-shift)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return dirty
	}
	if !state(0) || !state(time.Hour) {
		t.Fatal("events are synced before the interval is over")
	}
	if state(0) {
		t.Error("events are not synced when the interval is over")
	}
	fill(t, log, jobs, 4)
	if !state(0) {
		t.Error("a new event is synced before its interval is over")
	}
}

func TestFlushEmptiesNothingButCopiesTheLog(t *testing.T) {
	for _, policy := range []engine.SyncPolicy{engine.SyncAlways, engine.SyncInterval, engine.SyncNever} {
		log := openLog(t, newFile(t), Options{Sync: policy})
		fill(t, log, jobs, 5)
		if err := log.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		// An immutable reader sees the database alone, without its log.
		c, err := openConn(immutable(log.file), driver.OpenReadOnly|driver.OpenURI)
		if err != nil {
			t.Fatal(err)
		}
		if n, _, err := c.integer("SELECT count(*) FROM events"); n != 5 || err != nil {
			t.Errorf("the database has %d events without its log, %v, want 5", n, err)
		}
		if err := c.close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFlushBesideAReaderOfAnOldSnapshot(t *testing.T) {
	file := newFile(t)
	log := openLog(t, file, Options{Sync: engine.SyncNever})
	fill(t, log, jobs, 1)
	other := openSeed(t, file, false)
	defer other.close()
	other.query("BEGIN", nil)
	other.readRange("jobs", 0, 1)
	fill(t, log, jobs, 2)
	if err := log.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := other.readRange("jobs", 0, 10); len(got) != 1 {
		t.Errorf("the old snapshot shows %v", got)
	}
	other.query("COMMIT", nil)
	wantNumbered(t, log, jobs, 1, 2)
}
