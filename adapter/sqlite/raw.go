package sqlite

import (
	"context"
	"fmt"
	"iter"
	"slices"

	driver "zombiezen.com/go/sqlite"

	"github.com/seglog/seglog/engine"
)

// ReadRaw is Read without parsing payloads: they are the bytes of the
// database, and so are valid only as long as the iteration's step takes.
func (l *Log) ReadRaw(ctx context.Context, topic engine.Topic, opts engine.ReadOptions) iter.Seq2[engine.RawRecord, error] {
	return func(yield func(engine.RawRecord, error) bool) {
		p, err := l.newPager(topic, opts)
		var page rawPage
		for err == nil {
			page.reset()
			err = p.read(ctx, page.add)
			if len(page.rows) == 0 {
				break
			}
			left, ended := l.handOutRaw(ctx, &page, yield)
			if left {
				return
			}
			if ended != nil {
				err = ended
			}
		}
		if err != nil {
			yield(engine.RawRecord{}, fmt.Errorf("read raw topic %s: %w", topic, err))
		}
	}
}

// handOutRaw is handOut for a page of lent records.
func (l *Log) handOutRaw(ctx context.Context, page *rawPage, yield func(engine.RawRecord, error) bool) (left bool, err error) {
	for i := range page.rows {
		err := l.ready(ctx)
		if err == nil {
			err = page.fill(i)
		}
		if err != nil {
			return false, err
		}
		if !yield(page.record, nil) {
			return true, nil
		}
	}
	return false, nil
}

// rawPage is a page of rows, in memory that the next page uses again.
type rawPage struct {
	bytes  []byte // kind, payload and headers of one row after the other
	rows   []rawRow
	record engine.RawRecord // the one that is lent
}

// rawRow says where a row's values end in the page's bytes; they begin where
// the one before ends.
type rawRow struct {
	id, at                            int64
	begin, kind, payload, headersText int
}

func (p *rawPage) reset() { p.bytes, p.rows = p.bytes[:0], p.rows[:0] }

func (p *rawPage) add(stmt *driver.Stmt, id int64) (int, error) {
	r := rawRow{id: id, at: stmt.ColumnInt64(columnOccurredAt), begin: len(p.bytes)}
	r.kind = p.copy(stmt, columnKind)
	r.payload = p.copy(stmt, columnPayload)
	r.headersText = p.copy(stmt, columnHeaders)
	p.rows = append(p.rows, r)
	return len(p.bytes) - r.begin, nil
}

// copy appends a column's bytes, and returns where they end.
func (p *rawPage) copy(stmt *driver.Stmt, column int) (end int) {
	begin := len(p.bytes)
	end = begin + stmt.ColumnLen(column)
	p.bytes = slices.Grow(p.bytes, end-begin)[:end]
	stmt.ColumnBytes(column, p.bytes[begin:])
	return end
}

// fill makes row i the record that is lent.
func (p *rawPage) fill(i int) error {
	r := p.rows[i]
	p.record.ID, p.record.OccurredAtMS = engine.EventID(r.id), r.at
	p.record.Kind = p.bytes[r.begin:r.kind:r.kind]
	p.record.Payload = p.bytes[r.kind:r.payload:r.payload]
	p.record.SetHeaders(nil)
	if text := p.bytes[r.payload:r.headersText]; string(text) != noHeaders {
		headers, err := decodeHeaders(string(text))
		if err != nil {
			return fmt.Errorf("event %d: %w", r.id, err)
		}
		p.record.SetHeaders(headers)
	}
	return nil
}
