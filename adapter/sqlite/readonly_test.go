package sqlite

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/seglog/seglog/engine"
)

func TestReadOnlyLogReadsAndChangesNothing(t *testing.T) {
	file := newFile(t)
	log := openLog(t, file, Options{})
	fill(t, log, jobs, 5)
	if err := log.Ack(t.Context(), jobs, reader, 3); err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	log = openLog(t, file, Options{ReadOnly: true})
	wantNumbered(t, log, jobs, 1, 5)
	refuseWrites(t, log)
	if err := log.Flush(t.Context()); err != nil {
		t.Errorf("Flush: %v", err)
	}
	if d, err := log.Describe(t.Context()); err != nil || *d.SizeBytes != uint64(len(before)) || d.Location != file {
		t.Errorf("Describe gave %+v, %v", d, err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(file)
	if err != nil || string(after) != string(before) {
		t.Errorf("the database was changed, %v", err)
	}
	// SQLite needs an index beside a database with a write-ahead log, and leaves it.
	if size, err := fileSize(file + "-wal"); size != 0 || err != nil {
		t.Errorf("the write-ahead log has %d bytes, %v", size, err)
	}
}

func refuseWrites(t *testing.T, log *Log) {
	t.Helper()
	ctx := t.Context()
	readOnly := []error{engine.ErrReadOnly}
	_, err := log.Append(ctx, jobs, numbered(6))
	wantErr(t, "Append", err, readOnly, "jobs")
	_, _, err = log.AppendBatch(ctx, jobs, nil)
	wantErr(t, "AppendBatch", err, readOnly, "jobs")
	var b engine.Batch
	b.Ack(jobs, reader, 1)
	_, err = log.Commit(ctx, &b)
	wantErr(t, "Commit", err, readOnly, "jobs")
	wantErr(t, "Ack", log.Ack(ctx, jobs, reader, 1), readOnly, "jobs")
	wantErr(t, "DeleteCursor", log.DeleteCursor(ctx, jobs, reader), readOnly, "jobs")
	wantErr(t, "RestoreTopic", log.RestoreTopic(ctx, jobs, 1), readOnly, "jobs")
	_, err = log.Compact(ctx, jobs, 1)
	wantErr(t, "Compact", err, readOnly, "jobs")
	if cursor, _, err := log.Cursor(ctx, jobs, reader); cursor != 3 || err != nil {
		t.Errorf("Cursor is %d, %v, want 3", cursor, err)
	}
}

func TestReadOnlyLogFollowsAWriter(t *testing.T) {
	file := newFile(t)
	writer := openLog(t, file, Options{})
	fill(t, writer, jobs, 2)
	log := openLog(t, file, Options{ReadOnly: true})
	live := pull(t, 0, log.Subscribe(testContext(t), jobs, engine.SubscribeOptions{}))
	for last := engine.EventID(4); last <= 10; last += 2 {
		fill(t, writer, jobs, last)
		live.take(last)
		wantNumbered(t, log, jobs, 1, last)
	}
}

func TestDescribeWithoutOpening(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sub", "events.sqlite")
	d, err := Describe(file, Options{QueueDepth: 7})
	if err != nil || d.Backend != engine.BackendSQLite || d.Location != file || *d.SizeBytes != 0 || d.QueueDepth != 7 {
		t.Errorf("Describe of nothing gave %+v, %v", d, err)
	}
	if _, err := os.Stat(filepath.Dir(file)); err == nil {
		t.Error("Describe made the directory")
	}
	log := openLog(t, file, Options{})
	fill(t, log, jobs, 5)
	for _, name := range []string{"", "-wal"} {
		if size, err := fileSize(file + name); size == 0 || err != nil {
			t.Fatalf("%s has %d bytes, %v", name, size, err)
		}
	}
	database, _ := fileSize(file)
	wal, _ := fileSize(file + "-wal")
	for range 2 {
		if d, err := Describe(file, Options{}); err != nil || *d.SizeBytes != database+wal || d.QueueDepth != engine.DefaultQueueDepth {
			t.Errorf("Describe gave %+v, %v, want %d bytes", d, err, database+wal)
		}
	}
}
