package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seglog/seglog/bench"
	"github.com/seglog/seglog/engine"
)

// natsStore is JetStream in this process, reached over an in-process
// connection: file storage, one replica, a stream for each topic. By default it
// acknowledges first and syncs every two minutes; sync_interval: always makes
// it sync each message.
func natsStore() store {
	return store{
		Store:   bench.Store{Name: "nats", Open: openNATS(true)},
		module:  "github.com/nats-io/nats-server/v2",
		durable: true,
		note:    "JetStream embedded, file storage, a stream for each topic, sync_interval: always; a batch is published asynchronously and then waited for",
	}
}

// natsDefaultStore differs where appends are to be durable.
func natsDefaultStore() store {
	s := natsStore()
	s.Store = bench.Store{Name: "nats-default", Open: openNATS(false)}
	s.durable = false
	s.note = "as nats with the default sync_interval of two minutes: acknowledged events are not on disk"
	s.rows = []string{"append", "batch", "payload", "deliver"}
	return s
}

type natsLog struct {
	base
	server  *server.Server
	conn    *nats.Conn
	js      jetstream.JetStream
	streams perTopic[jetstream.Stream]
}

// natsWaitMax bounds the start and each request, whose default of five seconds
// is less than a thousand appenders may have to wait on a busy disk.
const natsWaitMax = time.Minute

func openNATS(always bool) func(string, bench.Setup) (engine.EventLog, error) {
	return func(dir string, setup bench.Setup) (engine.EventLog, error) {
		srv, err := server.NewServer(&server.Options{
			JetStream:  true,
			StoreDir:   dir,
			DontListen: true,
			NoLog:      true,
			NoSigs:     true,
			SyncAlways: always && setup.Sync == engine.SyncAlways,
		})
		if err != nil {
			return nil, err
		}
		srv.Start()
		n := &natsLog{base: base{"nats"}, server: srv}
		if !srv.ReadyForConnections(natsWaitMax) {
			return nil, errors.Join(errors.New("nats: the server does not start"), n.Close())
		}
		if n.conn, err = nats.Connect("", nats.InProcessServer(srv)); err != nil {
			return nil, errors.Join(err, n.Close())
		}
		if n.js, err = jetstream.New(n.conn, jetstream.WithDefaultTimeout(natsWaitMax)); err != nil {
			return nil, errors.Join(err, n.Close())
		}
		return n, nil
	}
}

func (n *natsLog) stream(ctx context.Context, topic engine.Topic) (jetstream.Stream, error) {
	return n.streams.get(topic.String(), func() (jetstream.Stream, error) {
		return n.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
			Name:        strings.ReplaceAll(topic.String(), ".", "_"), // a stream's name has no dot
			Subjects:    []string{topic.String()},
			Storage:     jetstream.FileStorage,
			AllowDirect: true,
		})
	})
}

func (n *natsLog) Append(ctx context.Context, topic engine.Topic, event engine.Event, _ ...engine.AppendOption) (id engine.EventID, err error) {
	if _, err := n.stream(ctx, topic); err != nil {
		return 0, err
	}
	err = withEnvelope(&event, func(envelope []byte) error {
		ack, err := n.js.Publish(ctx, topic.String(), envelope)
		if err == nil {
			id = engine.EventID(ack.Sequence)
		}
		return err
	})
	return id, err
}

func (n *natsLog) AppendBatch(ctx context.Context, topic engine.Topic, events []engine.Event, _ ...engine.AppendOption) (first, last engine.EventID, err error) {
	if _, err := n.stream(ctx, topic); err != nil {
		return 0, 0, err
	}
	acks := make([]jetstream.PubAckFuture, len(events))
	for i := range events {
		err := withEnvelope(&events[i], func(envelope []byte) (err error) {
			acks[i], err = n.js.PublishAsync(topic.String(), envelope)
			return err
		})
		if err != nil {
			return 0, 0, err
		}
	}
	for i, ack := range acks {
		select {
		case a := <-ack.Ok():
			last = engine.EventID(a.Sequence)
			if i == 0 {
				first = last
			}
		case err := <-ack.Err():
			return 0, 0, err
		}
	}
	return first, last, nil
}

// natsGetMost is the length of a read up to which messages are got one by one:
// making a consumer costs more.
const natsGetMost = 64

func (n *natsLog) Read(ctx context.Context, topic engine.Topic, opts engine.ReadOptions) iter.Seq2[engine.Record, error] {
	return decoded(topic, n.ReadRaw(ctx, topic, opts))
}

func (n *natsLog) ReadRaw(ctx context.Context, topic engine.Topic, opts engine.ReadOptions) iter.Seq2[engine.RawRecord, error] {
	return func(yield func(engine.RawRecord, error) bool) {
		stream, err := n.stream(ctx, topic)
		if err != nil {
			yield(engine.RawRecord{}, err)
			return
		}
		info, err := stream.Info(ctx)
		if err != nil {
			yield(engine.RawRecord{}, err)
			return
		}
		last := boundedLast(info.State.LastSeq, opts)
		if opts.Limit > 0 && opts.Limit <= natsGetMost {
			for id := max(info.State.FirstSeq, uint64(opts.After)+1); id <= last; id++ {
				msg, err := stream.GetMsg(ctx, id)
				if err != nil {
					yield(engine.RawRecord{}, err)
					return
				}
				if !yield(engine.RawRecord{ID: engine.EventID(id), Payload: msg.Data}, nil) {
					return
				}
			}
			return
		}
		if uint64(opts.After) >= last || info.State.Msgs == 0 {
			return
		}
		for r, err := range n.consume(ctx, stream, opts.After) {
			if !yield(r, err) || err != nil || uint64(r.ID) >= last {
				return
			}
		}
	}
}

// consume yields a stream's messages through an ordered consumer, without an
// end.
func (n *natsLog) consume(ctx context.Context, stream jetstream.Stream, after engine.EventID) iter.Seq2[engine.RawRecord, error] {
	return func(yield func(engine.RawRecord, error) bool) {
		consumer, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
			DeliverPolicy: jetstream.DeliverByStartSequencePolicy,
			OptStartSeq:   uint64(after) + 1,
		})
		if err != nil {
			yield(engine.RawRecord{}, err)
			return
		}
		messages, err := consumer.Messages()
		if err != nil {
			yield(engine.RawRecord{}, err)
			return
		}
		defer messages.Stop()
		defer context.AfterFunc(ctx, messages.Stop)()
		for {
			msg, err := messages.Next()
			if err != nil {
				if ctx.Err() != nil {
					err = ctx.Err()
				}
				yield(engine.RawRecord{}, err)
				return
			}
			meta, err := msg.Metadata()
			if err != nil {
				yield(engine.RawRecord{}, err)
				return
			}
			if !yield(engine.RawRecord{ID: engine.EventID(meta.Sequence.Stream), Payload: msg.Data()}, nil) {
				return
			}
		}
	}
}

func (n *natsLog) Subscribe(ctx context.Context, topic engine.Topic, opts engine.SubscribeOptions) iter.Seq2[engine.Record, error] {
	return func(yield func(engine.Record, error) bool) {
		stream, err := n.stream(ctx, topic)
		if err != nil {
			yield(engine.Record{}, err)
			return
		}
		decoded(topic, n.consume(ctx, stream, opts.After))(yield)
	}
}

func (n *natsLog) Latest(ctx context.Context, topic engine.Topic) (engine.EventID, bool, error) {
	stream, err := n.stream(ctx, topic)
	if err != nil {
		return 0, false, err
	}
	info, err := stream.Info(ctx)
	if err != nil {
		return 0, false, err
	}
	return engine.EventID(info.State.LastSeq), info.State.LastSeq > 0, nil
}

func (n *natsLog) Compact(ctx context.Context, topic engine.Topic, before engine.EventID) (report engine.CompactReport, err error) {
	stream, err := n.stream(ctx, topic)
	if err != nil {
		return report, err
	}
	had, err := stream.Info(ctx)
	if err != nil {
		return report, err
	}
	if err := stream.Purge(ctx, jetstream.WithPurgeSequence(uint64(before)+1)); err != nil {
		return report, err
	}
	has, err := stream.Info(ctx)
	if err != nil {
		return report, err
	}
	report.Removed, report.Remaining = had.State.Msgs-has.State.Msgs, has.State.Msgs
	return report, nil
}

// Flush is refused: JetStream has none. What the workloads append without a
// sync reaches the disk when the server is closed.
func (n *natsLog) Flush(context.Context) error {
	return fmt.Errorf("nats: flush: %w", errors.ErrUnsupported)
}

func (n *natsLog) Close() error {
	if n.conn != nil {
		n.conn.Close()
	}
	n.server.Shutdown()
	n.server.WaitForShutdown()
	return nil
}
