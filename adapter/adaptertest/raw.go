package adaptertest

import (
	"context"
	"errors"
	"iter"

	"github.com/seglog/seglog/engine"
)

// rawReader is the part of a backend that lends stored bytes.
type rawReader interface {
	ReadRaw(ctx context.Context, topic engine.Topic, opts engine.ReadOptions) iter.Seq2[engine.RawRecord, error]
}

var rawRules = []rule{
	{"SameAsRead", rawIsTheSameAsRead},
	{"CloseEndsIt", rawAfterClose},
}

func (f *fixture) rawReader() rawReader {
	f.Helper()
	raw, ok := f.log.(rawReader)
	if !ok {
		f.Skipf("%T has no ReadRaw", f.log)
	}
	return raw
}

func rawIsTheSameAsRead(f *fixture) {
	raw := f.rawReader()
	f.fillLong()
	f.compact(jobs, 10, 10, longLatest-10, longLatest)
	for _, opts := range []engine.ReadOptions{{}, {After: 5}, {After: 1000, Limit: 500}, {Limit: 1}, {After: longLatest}} {
		var want []engine.Record
		for r, err := range f.log.Read(f.ctx, jobs, opts) {
			if err != nil {
				f.Fatalf("Read with %+v: %v", opts, err)
			}
			want = append(want, r)
		}
		n := 0
		for got, err := range raw.ReadRaw(f.ctx, jobs, opts) {
			if errors.Is(err, errors.ErrUnsupported) {
				f.Skipf("ReadRaw: %v", err)
			}
			if err != nil {
				f.Fatalf("ReadRaw with %+v: %v", opts, err)
			}
			if n == len(want) {
				f.Fatalf("ReadRaw with %+v gives event %d, where Read ends", opts, got.ID)
			}
			f.wantRaw(got, want[n])
			n++
		}
		if n != len(want) {
			f.Fatalf("ReadRaw with %+v gives %d events, Read %d", opts, n, len(want))
		}
	}
}

func (f *fixture) wantRaw(got engine.RawRecord, want engine.Record) {
	f.Helper()
	if got.ID != want.ID || got.Position != want.Position || got.OccurredAtMS != want.OccurredAtMS ||
		string(got.Kind) != want.Kind || string(got.Payload) != string(want.Payload) {
		f.Fatalf("ReadRaw gives %d at position %d: kind %q, payload %q, time %d, where Read gives %d at %d: %q, %q, %d",
			got.ID, got.Position, got.Kind, got.Payload, got.OccurredAtMS,
			want.ID, want.Position, want.Kind, want.Payload, want.OccurredAtMS)
	}
}

func rawAfterClose(f *fixture) {
	raw := f.rawReader()
	f.fill(jobs, 1)
	if err := f.log.Close(); err != nil {
		f.Fatalf("Close: %v", err)
	}
	for r, err := range raw.ReadRaw(f.ctx, jobs, engine.ReadOptions{}) {
		if errors.Is(err, errors.ErrUnsupported) {
			f.Skipf("ReadRaw: %v", err)
		}
		if err == nil {
			f.Fatalf("ReadRaw after Close gives event %d", r.ID)
		}
		f.wantErr("ReadRaw after Close", err, engine.ErrClosed)
		return
	}
	f.Fatalf("ReadRaw after Close ends without an error, want %q", engine.ErrClosed)
}
