package rig

import (
	"context"
	"errors"
	"fmt"

	"github.com/seglog/seglog/engine"
	"github.com/seglog/seglog/fuzz/model"
	"github.com/seglog/seglog/fuzz/script"
	"github.com/seglog/seglog/internal/vfs"
)

// Open opens the log and finds out which of the possible states it is in. A
// fault that was injected may make it fail; then Log stays nil.
func (r *Rig) Open() error {
	r.Counts.Opens++
	log, err := r.Target.Open(r.Env(), r.Opts)
	if err != nil {
		r.Counts.OpenFailures++
		if bad := r.failure("open", err); bad != nil {
			return bad
		}
		return r.released("a failed open")
	}
	r.Log, r.latched = log, false
	view, err := r.observe()
	if err != nil {
		if bad := r.failure("read what was opened", err); bad != nil {
			return bad
		}
		r.Log = nil // nothing was seen, so nothing is settled
		if err := log.Close(); err != nil {
			return r.failure("close", err)
		}
		return nil
	}
	if r.healed {
		r.lenient, r.healed = false, false
	}
	return r.identify(view)
}

func (r *Rig) observe() (*model.View, error) {
	view, err := model.Observe(context.Background(), r.Log, Topics, Consumers)
	if errors.Is(err, model.ErrBroken) {
		return nil, &Violation{err}
	}
	return view, err
}

// identify settles on the state that the log shows.
func (r *Rig) identify(view *model.View) error {
	var diffs error
	for i := r.least; i < len(r.states); i++ {
		err := view.Diff(r.states[i])
		if err == nil {
			r.settle(i)
			r.least = 0
			return r.remember(view)
		}
		diffs = errors.Join(diffs, fmt.Errorf("state %d of %d to %d: %w", i, r.least, len(r.states)-1, err))
	}
	return violation("after opening: %w", diffs)
}

// remember checks that an event's position never changes.
func (r *Rig) remember(view *model.View) error {
	for name, records := range view.Records {
		known := r.places[name]
		if known == nil {
			known = map[uint64]uint64{}
			r.places[name] = known
		}
		for _, record := range records {
			id := uint64(record.ID)
			if at, ok := known[id]; ok && at != record.Position {
				return violation("topic %s: event %d was at position %d and is at %d", name, id, at, record.Position)
			}
			known[id] = record.Position
		}
	}
	return nil
}

// released checks that no descriptor is left.
func (r *Rig) released(after string) error {
	if n := r.Disk.OpenFiles(); n != 0 && !r.dead {
		return violation("after %s, %d files are still open", after, n)
	}
	return nil
}

// Reopen closes the log; the next operation opens it.
func (r *Rig) Reopen() error {
	if r.Log == nil {
		return nil
	}
	err := r.Log.Close()
	r.Log, r.least = nil, r.visible
	if err != nil {
		if bad := r.failure("close", err); bad != nil {
			return bad
		}
	} else if !r.latched {
		r.keep() // a log that had failed keeps what it kept
	}
	return r.released("close")
}

// keep notes that what is visible is durable. What failed stays in doubt.
func (r *Rig) keep() {
	r.states = r.states[r.visible:]
	r.visible, r.least = 0, 0
}

// Kill ends the process: the page cache survives it.
func (r *Rig) Kill() error {
	if r.Log != nil {
		r.least = r.visible // else the last end decides what the next open may find
	}
	r.Log = nil
	r.Disk = r.Disk.Kill()
	r.armed, r.dead = nil, false
	return nil
}

// Crash cuts the power and leaves one of the images that may remain.
func (r *Rig) Crash(v vfs.Survival) error {
	r.Counts.Crashes++
	r.Log, r.least, r.armed, r.dead = nil, 0, nil, false
	r.Disk = r.Disk.Crash(v)
	if r.Opts.Sync != engine.SyncAlways {
		clear(r.places) // what was seen may be gone, and its ids given again
	}
	return nil
}

// Heal ends all faults. The log may need to be reopened before it goes on.
func (r *Rig) Heal() {
	r.Disk.ClearFaults()
	r.healed = true
}

// Check reads everything and compares it with what readers must see.
func (r *Rig) Check() error {
	view, err := r.observe()
	if err != nil {
		return r.failure("read", err)
	}
	if err := view.Diff(r.Model()); err != nil {
		return &Violation{err}
	}
	if err := r.remember(view); err != nil {
		return err
	}
	for _, name := range view.Topics {
		if err := r.probe(name, view.Records[name]); err != nil {
			return err
		}
	}
	return nil
}

// probe compares partial reads and a subscription with a whole read.
func (r *Rig) probe(name string, all []engine.Record) error {
	ctx := context.Background()
	topic := engine.MustTopic(name)
	first, latest := r.Model().Range(name)
	for _, after := range []uint64{first / 2, (first + latest) / 2, latest - 1, latest, latest + 1, ^uint64(0)} {
		got, err := engine.ReadRange(ctx, r.Log, topic, engine.EventID(after), 3)
		if err != nil {
			return r.failure("read a range", err)
		}
		want := all
		for len(want) > 0 && uint64(want[0].ID) <= after {
			want = want[1:]
		}
		want = want[:min(3, len(want))]
		if len(got) != len(want) {
			return violation("topic %s: 3 events after %d: got %d, want %d", name, after, len(got), len(want))
		}
		for i := range got {
			if got[i].ID != want[i].ID || got[i].Position != want[i].Position {
				return violation("topic %s: 3 events after %d: number %d is event %d, want %d", name, after, i, got[i].ID, want[i].ID)
			}
		}
	}
	return r.subscription(topic, all)
}

// subscription reads the history of a topic through a subscription.
func (r *Rig) subscription(topic engine.Topic, all []engine.Record) error {
	if len(all) == 0 {
		return nil
	}
	i := 0
	for record, err := range r.Log.Subscribe(context.Background(), topic, engine.SubscribeOptions{}) {
		if err != nil {
			return r.failure("subscribe", err)
		}
		if record.ID != all[i].ID {
			return violation("topic %s: a subscription's event %d is %d, want %d", topic, i, record.ID, all[i].ID)
		}
		if i++; i == len(all) {
			return nil
		}
	}
	return violation("topic %s: a subscription ended after %d events of %d", topic, i, len(all))
}

// probeOp is what every run appends at its end.
var probeOp = script.Op{Kind: script.Commit, Parts: []script.Op{
	{Kind: script.Append, Topic: "t0", Events: []script.Seed{{N: 424242, Size: 33}}},
	{Kind: script.Append, Topic: "t5", Events: []script.Seed{{N: 424243, Size: 200}}},
	{Kind: script.Ack, Topic: "t0", Consumer: "c2", ID: 1},
}}

// probeAppend is for logs without commits.
var probeAppend = script.Op{Kind: script.Batch, Topic: "t1", Events: []script.Seed{{N: 424244, Size: 33}, {N: 424245, Size: 500}}}

// Finish ends a run with the three checks that every run ends with: all
// promises are kept, the log takes another append that survives another
// crash, and the log's own verification finds nothing. It leaves no log open.
func (r *Rig) Finish() error {
	r.Heal()
	if r.lenient {
		if err := r.Do(script.Op{Kind: script.Reopen}); err != nil {
			return fmt.Errorf("at the end, first close: %w", err)
		}
	}
	for _, op := range []script.Op{{Kind: script.Check}, probeOp, probeAppend, {Kind: script.Crash}, {Kind: script.Check}} {
		if err := r.Do(op); err != nil {
			return fmt.Errorf("at the end, %s: %w", op, err)
		}
	}
	if r.Target.Verify != nil {
		if err := r.Target.Verify(r.Log); err != nil {
			return violation("verify: %w", err)
		}
	}
	err := r.Log.Close()
	r.Log = nil
	if err != nil {
		return violation("last close: %w", err)
	}
	return r.released("the last close")
}
