package sqlite

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"time"

	driver "zombiezen.com/go/sqlite"

	"github.com/seglog/seglog/engine"
)

// Reads go page by page. A page is copied out of the database before its first
// record is handed out, so that between two records nothing is held: neither a
// connection, which others wait for, nor a snapshot, which would keep the
// write-ahead log from being emptied.

const (
	firstPageEvents = 16  // most reads are short
	pageEventsMax   = 512 // pages double up to here
	pageBytes       = 1 << 20
)

// span is which events a topic has: those after gone, up to latest. latest 0:
// it was never appended to.
type span struct{ gone, latest int64 }

func (s span) first() engine.EventID { return engine.EventID(s.gone) + 1 }

// latest returns the topic's latest id, 0 where nothing was ever appended.
func (c *conn) latest(topic engine.Topic) (int64, error) {
	latest, _, err := c.integer("SELECT last_id FROM topic_heads WHERE topic = ?1", topic.String())
	if err == nil && latest < 0 {
		err = corrupt(c.file, topic.String(), 0, "last_id is %d", latest)
	}
	return latest, err
}

func (c *conn) span(topic engine.Topic) (s span, err error) {
	const sql = "SELECT last_id, (SELECT min(event_id) FROM events WHERE topic = ?1) FROM topic_heads WHERE topic = ?1"
	err = c.query(sql, func(stmt *driver.Stmt) (bool, error) {
		latest, first := stmt.ColumnType(0), stmt.ColumnType(1)
		if latest != driver.TypeInteger || (first != driver.TypeInteger && first != driver.TypeNull) {
			return false, corrupt(c.file, topic.String(), 0, "last_id has type %v and the first event_id %v, want integers", latest, first)
		}
		s.latest = stmt.ColumnInt64(0)
		s.gone = s.latest
		if first == driver.TypeNull {
			return false, nil
		}
		begin := stmt.ColumnInt64(1)
		s.gone = begin - 1
		if begin < 1 || begin > s.latest {
			return false, corrupt(c.file, topic.String(), 0, "events begin at %d, last_id is %d", begin, s.latest)
		}
		return false, nil
	}, topic.String())
	if err == nil && s.latest < 0 {
		err = corrupt(c.file, topic.String(), 0, "last_id is %d", s.latest)
	}
	return s, err
}

// page has row see up to most rows of topic after an id, and up to another,
// higher one. Their ids must be those that follow; where they are not because
// the topic was compacted meanwhile, the error is a [*engine.CompactedError].
func (c *conn) page(topic engine.Topic, after, last int64, most int, row func(stmt *driver.Stmt, id int64) (bytes int, err error)) error {
	next, size := after+1, 0
	err := c.query(selectEvents, func(stmt *driver.Stmt) (bool, error) {
		id, err := checkRow(stmt, c.file, topic.String())
		if err != nil {
			return false, err
		}
		if id != next {
			return false, errGap
		}
		n, err := row(stmt, id)
		size += n
		next++
		most--
		return most > 0 && size < pageBytes && next <= last, err
	}, topic.String(), after, last)
	if errors.Is(err, errGap) || (err == nil && next == after+1) {
		return c.explainGap(topic, next)
	}
	return err
}

var errGap = errors.New("ids do not follow one another")

// explainGap says why event id is missing.
func (c *conn) explainGap(topic engine.Topic, id int64) error {
	s, err := c.span(topic)
	if err != nil {
		return err
	}
	if id <= s.gone {
		return &engine.CompactedError{First: s.first()}
	}
	return corrupt(c.file, topic.String(), id, "event %d is missing, the topic has events %d to %d", id, s.first(), s.latest)
}

// Read yields the events after opts.After as they stood when the iteration
// began. A compaction that overtakes it ends it with a
// [*engine.CompactedError].
func (l *Log) Read(ctx context.Context, topic engine.Topic, opts engine.ReadOptions) iter.Seq2[engine.Record, error] {
	return func(yield func(engine.Record, error) bool) {
		p, err := l.newPager(topic, opts)
		for err == nil {
			var records []engine.Record
			records, err = p.next(ctx)
			if len(records) == 0 {
				break
			}
			left, ended := l.handOut(ctx, records, yield)
			if left {
				return
			}
			if ended != nil {
				err = ended
			}
		}
		if err != nil {
			yield(engine.Record{}, fmt.Errorf("read topic %s: %w", topic, err))
		}
	}
}

// handOut yields records until the caller leaves, or the context or the log
// ends.
func (l *Log) handOut(ctx context.Context, records []engine.Record, yield func(engine.Record, error) bool) (left bool, err error) {
	for i := range records {
		if err := l.ready(ctx); err != nil {
			return false, err
		}
		if !yield(records[i], nil) {
			return true, nil
		}
	}
	return false, nil
}

// pager is a place in a topic.
type pager struct {
	log   *Log
	topic engine.Topic
	begun bool
	after int64 // the last id that was read
	last  int64 // the last id to read; before the first page: unknown
	left  int64 // how many may still be read
	most  int   // of the next page
}

func (l *Log) newPager(topic engine.Topic, opts engine.ReadOptions) (*pager, error) {
	if err := topic.Validate(); err != nil {
		return nil, err
	}
	if opts.Limit < 0 {
		return nil, fmt.Errorf("%w: negative limit %d", engine.ErrConfig, opts.Limit)
	}
	p := &pager{log: l, topic: topic, after: int64(min(opts.After, maxID)), left: math.MaxInt64, most: firstPageEvents}
	if opts.Limit > 0 {
		p.left = int64(opts.Limit)
	}
	return p, nil
}

// next reads a page of records; none and no error: the end. Records that come
// with an error are those before what it is about.
func (p *pager) next(ctx context.Context) (records []engine.Record, err error) {
	err = p.read(ctx, func(stmt *driver.Stmt, id int64) (int, error) {
		r, err := decode(stmt, p.topic, id)
		if err == nil {
			records = append(records, r)
		}
		return recordBytes + len(r.Payload), err
	})
	return records, err
}

// recordBytes is about what a record takes beside its payload.
const recordBytes = 200

// read has row see the next page.
func (p *pager) read(ctx context.Context, row func(*driver.Stmt, int64) (int, error)) error {
	return p.log.pool.with(ctx, func(c *conn) error {
		if p.begun {
			return p.readOn(c, row)
		}
		return c.snapshot(func() error { return p.begin(c, row) })
	})
}

// begin finds out what there is to read, and reads the first page of it.
func (p *pager) begin(c *conn, row func(*driver.Stmt, int64) (int, error)) error {
	s, err := c.span(p.topic)
	if err != nil {
		return err
	}
	p.begun = true
	p.after = max(p.after, s.gone)
	p.last = s.latest
	if p.left < p.last-p.after {
		p.last = p.after + p.left
	}
	return p.readOn(c, row)
}

func (p *pager) readOn(c *conn, row func(*driver.Stmt, int64) (int, error)) error {
	if p.after >= p.last {
		return nil
	}
	err := c.page(p.topic, p.after, p.last, p.most, func(stmt *driver.Stmt, id int64) (int, error) {
		p.after = id
		return row(stmt, id)
	})
	p.most = min(2*p.most, pageEventsMax)
	return err
}

// snapshot runs read in one transaction.
func (c *conn) snapshot(read func() error) error {
	if err := c.exec("BEGIN"); err != nil {
		return err
	}
	defer c.rollback()
	return read()
}

// Cursor returns the consumer's last acknowledged id, if there is one.
func (l *Log) Cursor(ctx context.Context, topic engine.Topic, consumer engine.ConsumerID) (id engine.EventID, ok bool, err error) {
	if err := validate(topic, consumer); err != nil {
		return 0, false, fmt.Errorf("cursor: %w", err)
	}
	err = l.pool.with(ctx, func(c *conn) error {
		const sql = "SELECT cursor FROM consumers WHERE topic = ?1 AND consumer_id = ?2"
		cursor, found, err := c.integer(sql, topic.String(), consumer.String())
		if err == nil && cursor < 0 {
			err = corrupt(c.file, topic.String(), 0, "cursor is %d", cursor)
		}
		id, ok = engine.EventID(cursor), found
		return err
	})
	if err != nil {
		return 0, false, fmt.Errorf("cursor on topic %s of consumer %q: %w", topic, consumer, err)
	}
	return id, ok, nil
}

// Consumers returns the consumers of topic, sorted by id. A cursor that the
// original moved beyond the latest event has no lag. Rows that are no consumer's
// here, as those of the original with ids above 1 KiB, are an error that comes
// with all the others.
func (l *Log) Consumers(ctx context.Context, topic engine.Topic) ([]engine.ConsumerInfo, error) {
	if err := topic.Validate(); err != nil {
		return nil, fmt.Errorf("consumers: %w", err)
	}
	var infos []engine.ConsumerInfo
	var bad refusals
	err := l.pool.with(ctx, func(c *conn) error {
		const sql = `SELECT consumer_id, cursor, updated_at_ms, coalesce((SELECT last_id FROM topic_heads WHERE topic = ?1), 0)
			FROM consumers WHERE topic = ?1 ORDER BY consumer_id`
		return c.query(sql, func(stmt *driver.Stmt) (bool, error) {
			info, err := c.consumer(topic, stmt)
			if err != nil {
				bad.add(err)
				return true, nil
			}
			infos = append(infos, info)
			return true, nil
		}, topic.String())
	})
	if err != nil {
		return nil, fmt.Errorf("consumers of topic %s: %w", topic, err)
	}
	if err := bad.err(); err != nil {
		return infos, fmt.Errorf("consumers of topic %s: %w", topic, err)
	}
	return infos, nil
}

// refusals are rows that a listing cannot list. They do not keep it from
// listing the others, and it does not keep them to itself.
type refusals struct {
	first error
	count int
}

func (r *refusals) add(err error) {
	if r.first == nil {
		r.first = err
	}
	r.count++
}

func (r *refusals) err() error {
	if r.count > 1 {
		return fmt.Errorf("%w (and %d more)", r.first, r.count-1)
	}
	return r.first
}

func (c *conn) consumer(topic engine.Topic, stmt *driver.Stmt) (info engine.ConsumerInfo, err error) {
	for column := 1; column <= 3; column++ {
		if t := stmt.ColumnType(column); t != driver.TypeInteger {
			return info, corrupt(c.file, topic.String(), 0, "%s of a consumer has type %v, want an integer", stmt.ColumnName(column), t)
		}
	}
	consumer, err := engine.NewConsumerID(stmt.ColumnText(0))
	if err != nil {
		return info, fmt.Errorf("%w: the stored consumer %.60q: %w", engine.ErrEncoding, stmt.ColumnText(0), err)
	}
	cursor, latest := stmt.ColumnInt64(1), stmt.ColumnInt64(3)
	if cursor < 0 || latest < 0 {
		return info, corrupt(c.file, topic.String(), 0, "consumer %q has cursor %d, last_id is %d", consumer, cursor, latest)
	}
	return engine.ConsumerInfo{
		Consumer: consumer,
		Cursor:   engine.EventID(cursor),
		AckedAt:  time.UnixMilli(stmt.ColumnInt64(2)),
		Lag:      uint64(max(0, latest-cursor)),
	}, nil
}

// CursorTopics returns the topics that have cursors, sorted by name, also those
// that nothing was ever appended to.
func (l *Log) CursorTopics(ctx context.Context) ([]engine.Topic, error) {
	topics, err := l.topics(ctx, "SELECT DISTINCT topic FROM consumers ORDER BY topic")
	if err != nil {
		return topics, fmt.Errorf("list topics with cursors: %w", err)
	}
	return topics, nil
}

// Latest returns the highest id ever assigned in topic, if there is one.
func (l *Log) Latest(ctx context.Context, topic engine.Topic) (id engine.EventID, ok bool, err error) {
	if err := topic.Validate(); err != nil {
		return 0, false, fmt.Errorf("latest: %w", err)
	}
	err = l.pool.with(ctx, func(c *conn) error {
		latest, err := c.latest(topic)
		id = engine.EventID(latest)
		return err
	})
	if err != nil {
		return 0, false, fmt.Errorf("latest of topic %s: %w", topic, err)
	}
	return id, id > 0, nil
}

// Topics returns every topic that was ever appended to, sorted by name. Names
// that are no topic's here, as those of the original above 255 bytes, are an
// error that comes with all the others.
func (l *Log) Topics(ctx context.Context) ([]engine.Topic, error) {
	topics, err := l.topics(ctx, "SELECT topic FROM topic_heads WHERE last_id <> 0 ORDER BY topic")
	if err != nil {
		return topics, fmt.Errorf("list topics: %w", err)
	}
	return topics, nil
}

// topics are the names that sql selects.
func (l *Log) topics(ctx context.Context, sql string) (topics []engine.Topic, err error) {
	var bad refusals
	err = l.pool.with(ctx, func(c *conn) error {
		return c.query(sql, func(stmt *driver.Stmt) (bool, error) {
			topic, err := engine.NewTopic(stmt.ColumnText(0))
			if err != nil {
				bad.add(fmt.Errorf("%w: the stored topic %.60q: %w", engine.ErrEncoding, stmt.ColumnText(0), err))
				return true, nil
			}
			topics = append(topics, topic)
			return true, nil
		})
	})
	if err != nil {
		return nil, err
	}
	return topics, bad.err()
}
