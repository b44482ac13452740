// Package rig runs scripts against a log on a simulated disk, keeps count of
// what the log has promised, and checks it.
//
// The rig holds a short list of states that the log may be in after a loss of
// power. With every append synced there is one, the acknowledged state; after
// an operation whose outcome is not known there are two, and the next open
// decides which it is, for ever. Without syncs the list goes back to the last
// moment at which everything was durable.
package rig

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"syscall"
	"time"

	"github.com/seglog/seglog/engine"
	"github.com/seglog/seglog/fuzz/model"
	"github.com/seglog/seglog/fuzz/script"
	"github.com/seglog/seglog/internal/env"
	"github.com/seglog/seglog/internal/vfs"
)

// Target is a kind of log that can be tested.
type Target struct {
	Name string
	// Open opens the log in directory "log" of the file system of e.
	Open func(e env.Env, o engine.Options) (engine.EventLog, error)
	// Volatile logs keep nothing: they are closed at the end only, and
	// nothing of the world around them happens to them.
	Volatile bool
	// Verify runs the log's own verification, where it has one.
	Verify func(log engine.EventLog) error
}

// Consumers are the names that scripts use.
var Consumers = []string{"c0", "c1", "c2"}

// Topics are the names that generated scripts use.
var Topics = []string{"t0", "t1", "t2", "t3", "t4", "t5"}

// Rig runs one script. Its fields may be read between operations.
type Rig struct {
	Target Target
	Opts   engine.Options
	Disk   *vfs.Sim
	Log    engine.EventLog // nil: not open
	Counts Counts

	// states[:] may be found after a loss of power, in that order;
	// states[visible] is what readers see, and what a killed process leaves.
	states  []*model.Log
	visible int
	least   int // the lowest state that the next open may find

	places  map[string]map[uint64]uint64 // positions that were seen, by topic and id
	armed   *vfs.Survival                // what to do once the disk says that the process is dead
	dead    bool                         // the disk has stopped the process
	lenient bool                         // a fault was injected
	latched bool                         // the log has said that it takes nothing more until it is reopened
	healed  bool                         // … and none is to come: the next successful open ends the leniency
	now     time.Time
	chance  *rand.Rand
}

// Counts of what a run met.
type Counts struct {
	Ops, Acked, Refused, Failed, Opens, Crashes, OpenFailures int
}

// New returns a rig with an empty disk and no log open.
func New(target Target, opts engine.Options, seed uint64) *Rig {
	return &Rig{
		Target: target,
		Opts:   opts,
		Disk:   vfs.NewSim(seed),
		states: []*model.Log{model.New()},
		places: map[string]map[uint64]uint64{},
		now:    time.Unix(1_700_000_000, 0),
		chance: rand.New(rand.NewPCG(seed, 1)),
	}
}

// Fork returns a rig that goes on from this one's promises on another disk,
// with no log open.
func (r *Rig) Fork(disk *vfs.Sim) *Rig {
	f := *r
	f.Disk, f.Log, f.armed, f.least = disk, nil, nil, 0
	f.dead, f.lenient, f.healed, f.latched = false, false, false, false
	f.Counts = Counts{}
	f.states = slices.Clone(r.states)
	f.chance = rand.New(rand.NewPCG(7, 7))
	f.places = map[string]map[uint64]uint64{}
	for t, p := range r.places {
		f.places[t] = map[uint64]uint64{}
		maps.Copy(f.places[t], p)
	}
	return &f
}

// Env is the world that the log lives in.
func (r *Rig) Env() env.Env {
	return env.Env{
		FS: r.Disk,
		Now: func() time.Time {
			r.now = r.now.Add(time.Millisecond)
			return r.now
		},
		Rand:   r.chance.Uint64,
		Inline: true,
	}
}

// Model is the state that readers see.
func (r *Rig) Model() *model.Log { return r.states[r.visible] }

// Promised is the least state that a loss of power may leave.
func (r *Rig) Promised() *model.Log { return r.states[0] }

// Violation is a broken promise. Everything else that goes wrong is part of
// the test.
type Violation struct{ Err error }

func (v *Violation) Error() string { return "broken promise: " + v.Err.Error() }

// Unwrap returns the cause.
func (v *Violation) Unwrap() error { return v.Err }

func violation(format string, args ...any) error {
	return &Violation{fmt.Errorf(format, args...)}
}

// IsViolation tells a broken promise from a failure that a fault explains.
func IsViolation(err error) bool {
	var v *Violation
	return errors.As(err, &v)
}

// ErrDead says that the disk has stopped the process: see [vfs.Sim.CrashAt].
var ErrDead = errors.New("the process is dead")

// Run opens the log where it is not, and does all of the script. It returns
// the first violation, or ErrDead where a crash was set from outside.
func (r *Rig) Run(ops []script.Op) error {
	if r.Log == nil {
		if err := r.Open(); err != nil {
			return err
		}
	}
	for i, op := range ops {
		if err := r.Do(op); err != nil {
			return fmt.Errorf("operation %d, %s: %w", i+1, op, err)
		}
	}
	return nil
}

// Do carries out one operation and compares its answer with the model's.
func (r *Rig) Do(op script.Op) error {
	r.Counts.Ops++
	if r.Target.Volatile && op.Kind >= script.Reopen {
		return nil
	}
	err := r.do(op)
	if errors.Is(err, ErrDead) && r.armed != nil {
		return r.Crash(*r.armed)
	}
	return err
}

func (r *Rig) do(op script.Op) error {
	switch op.Kind {
	case script.Reopen:
		return r.Reopen()
	case script.Kill:
		return r.Kill()
	case script.Crash:
		return r.Crash(survival(op))
	case script.CrashAfter:
		v := survival(op)
		r.armed = &v
		r.Disk.CrashAt(r.Disk.Ops() + int(op.N))
		return nil
	case script.Fault:
		r.inject(op)
		return nil
	case script.Heal:
		r.Heal()
		return nil
	case script.Clock:
		r.now = r.now.Add(time.Duration(op.N) * time.Millisecond)
		return nil
	}
	return r.doLog(op)
}

func survival(op script.Op) vfs.Survival {
	all := vfs.Survivals()
	v := all[op.Variant%len(all)]
	v.Seed = op.Seed
	return v
}

// doLog does an operation of the log itself. The log may be shut, where an
// open failed by a fault: then this is a new attempt.
func (r *Rig) doLog(op script.Op) error {
	if r.Log == nil {
		if err := r.Open(); err != nil || r.Log == nil {
			return err
		}
	}
	switch op.Kind {
	case script.Check:
		return r.Check()
	case script.Flush:
		return r.barrier("flush", r.Log.Flush(context.Background()))
	case script.Checkpoint:
		l, ok := r.Log.(interface{ Checkpoint(context.Context) error })
		if !ok {
			return nil
		}
		return r.barrier("checkpoint", l.Checkpoint(context.Background()))
	case script.Async:
		return r.async(op)
	}
	return r.change(op)
}

// barrier settles what is durable.
func (r *Rig) barrier(what string, err error) error {
	if err != nil {
		return r.failure(what, err)
	}
	r.keep()
	return nil
}

// settle makes one state the only one.
func (r *Rig) settle(i int) {
	r.states, r.visible = []*model.Log{r.states[i]}, 0
}

// advance notes an operation that succeeded. What had failed before, in the
// same process, is settled by that: it is not there.
func (r *Rig) advance(next *model.Log) {
	r.Counts.Acked++
	r.states = append(r.states[:r.visible+1:r.visible+1], next)
	r.visible++
	if r.Opts.Sync == engine.SyncAlways {
		r.settle(r.visible)
	}
}

// doubt notes an operation that failed half-way: whole or absent.
func (r *Rig) doubt(next *model.Log) {
	if next != r.states[len(r.states)-1] {
		r.states = append(r.states[:len(r.states):len(r.states)], next)
	}
}

// failure judges an error that the model did not predict.
func (r *Rig) failure(what string, err error) error {
	r.Counts.Failed++
	r.latched = r.latched || errors.Is(err, engine.ErrFailed)
	switch {
	case errors.Is(err, vfs.ErrCrashed), !r.lenient && r.diskDead():
		r.dead = true
		return ErrDead
	case !r.lenient:
		return violation("%s failed on a healthy disk: %w", what, err)
	case errors.Is(err, engine.ErrCorrupt):
		return violation("%s takes a fault for damage: %w", what, err)
	case !Typed(err):
		return violation("%s: error has no type: %w", what, err)
	}
	return nil
}

// diskDead asks the disk. That costs a file operation.
func (r *Rig) diskDead() bool {
	_, err := r.Disk.Stat(".")
	return errors.Is(err, vfs.ErrCrashed)
}

// Typed reports whether err is one that a failing disk may cause.
func Typed(err error) bool {
	for _, want := range []error{engine.ErrIO, engine.ErrNoSpace, engine.ErrFailed} {
		if errors.Is(err, want) {
			return true
		}
	}
	return false
}

// change does an operation that moves the model.
func (r *Rig) change(op script.Op) error {
	from := r.Model()
	next, want := from.Apply(op)
	got, err := Call(r.Log, op)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	if want.Refused(err) {
		r.Counts.Refused++
		return nil
	}
	if err != nil {
		if errors.Is(err, engine.ErrTooLarge) && r.large(op) {
			r.Counts.Refused++
			return nil
		}
		if refusal(err) {
			return violation("refused: %w; want %+v", err, want)
		}
		untried := r.latched && errors.Is(err, engine.ErrFailed)
		if want.Err == nil && !untried {
			r.doubt(next)
		}
		return r.failure(op.Kind.String(), err)
	}
	if want.Err != nil {
		return violation("accepted as %+v, want error %q", got, want.Err)
	}
	if err := SameResult(got, want); err != nil {
		return &Violation{err}
	}
	if next != from {
		r.advance(next)
	}
	return nil
}

// large says whether op may be refused for its size: it comes near to what the
// write-ahead log can take at once.
func (r *Rig) large(op script.Op) bool {
	size := int64(0)
	for _, o := range append([]script.Op{op}, op.Parts...) {
		for _, s := range o.Events {
			size += int64(s.Size) + 1000
		}
	}
	wal := r.Opts.WALBytes
	return wal > 0 && size > wal/8
}

func refusal(err error) bool {
	for _, r := range []error{
		engine.ErrConflict, engine.ErrBeyondLatest, engine.ErrInvalidEvent, engine.ErrInvalidTopic,
		engine.ErrInvalidConsumer, engine.ErrTooLarge, engine.ErrConfig, engine.ErrCompacted,
	} {
		if errors.Is(err, r) {
			return true
		}
	}
	return false
}

// SameResult says how an answer differs from the one that it must be.
func SameResult(got, want model.Result) error {
	if got.First != want.First || got.Last != want.Last {
		return fmt.Errorf("ids are %d to %d, want %d to %d", got.First, got.Last, want.First, want.Last)
	}
	g, w := got.Report, want.Report
	if g.Removed != w.Removed || g.Remaining != w.Remaining || (g.Latest == nil) != (w.Latest == nil) || g.Latest != nil && *g.Latest != *w.Latest {
		return fmt.Errorf("compaction reports %s, want %s", report(g), report(w))
	}
	return nil
}

func report(c engine.CompactReport) string {
	latest := "none"
	if c.Latest != nil {
		latest = fmt.Sprint(*c.Latest)
	}
	return fmt.Sprintf("removed %d, remaining %d, latest %s", c.Removed, c.Remaining, latest)
}

// async has several appends in flight. They are done in order; what fails for
// want of space leaves the next ones a chance.
func (r *Rig) async(op script.Op) error {
	l, ok := r.Log.(interface {
		AppendAsync(context.Context, engine.Topic, engine.Event, ...engine.AppendOption) *engine.Pending
	})
	if !ok {
		return nil
	}
	topic := engine.MustTopic(op.Topic)
	var handles []*engine.Pending
	for _, s := range op.Events {
		handles = append(handles, l.AppendAsync(context.Background(), topic, s.Event()))
	}
	var failed error
	for i, h := range handles {
		next, want := r.Model().Apply(script.Op{Kind: script.Append, Topic: op.Topic, Events: op.Events[i : i+1]})
		id, err := h.Wait(context.Background())
		switch {
		case err != nil && errors.Is(err, engine.ErrTooLarge) && r.large(op):
			r.Counts.Refused++
		case err != nil:
			failed = err
			if !r.latched {
				r.doubt(next)
			}
			r.latched = r.latched || errors.Is(err, engine.ErrFailed)
		case r.latched:
			return violation("async append %d was acknowledged after the log had failed: %w", i, failed)
		case uint64(id) != want.First:
			return violation("async append %d got id %d, want %d", i, id, want.First)
		default:
			r.advance(next)
		}
	}
	if failed != nil {
		return r.failure("async", failed)
	}
	return nil
}

// Call hands an operation to a log.
func Call(log engine.EventLog, op script.Op) (model.Result, error) {
	ctx := context.Background()
	switch op.Kind {
	case script.Append:
		id, err := log.Append(ctx, engine.MustTopic(op.Topic), op.Events[0].Event(), expect(op)...)
		return model.Result{First: uint64(id), Last: uint64(id)}, err
	case script.Batch:
		first, last, err := log.AppendBatch(ctx, engine.MustTopic(op.Topic), events(op), expect(op)...)
		return model.Result{First: uint64(first), Last: uint64(last)}, err
	case script.Ack:
		return model.Result{}, log.Ack(ctx, engine.MustTopic(op.Topic), engine.MustConsumerID(op.Consumer), engine.EventID(op.ID))
	case script.Compact:
		report, err := log.Compact(ctx, engine.MustTopic(op.Topic), engine.EventID(op.ID))
		return model.Result{Report: report}, err
	case script.Restore:
		l, ok := log.(engine.Restorer)
		if !ok {
			return model.Result{}, errors.ErrUnsupported
		}
		return model.Result{}, l.RestoreTopic(ctx, engine.MustTopic(op.Topic), engine.EventID(op.ID))
	case script.DeleteCursor:
		l, ok := log.(interface {
			DeleteCursor(context.Context, engine.Topic, engine.ConsumerID) error
		})
		if !ok {
			return model.Result{}, errors.ErrUnsupported
		}
		return model.Result{}, l.DeleteCursor(ctx, engine.MustTopic(op.Topic), engine.MustConsumerID(op.Consumer))
	case script.Commit:
		return commit(ctx, log, op)
	}
	return model.Result{}, fmt.Errorf("no call for %s", op)
}

func commit(ctx context.Context, log engine.EventLog, op script.Op) (model.Result, error) {
	l, ok := log.(interface {
		Commit(context.Context, *engine.Batch) (engine.Committed, error)
	})
	if !ok {
		return model.Result{}, errors.ErrUnsupported
	}
	var b engine.Batch
	for _, p := range op.Parts {
		topic := engine.MustTopic(p.Topic)
		switch p.Kind {
		case script.Append, script.Batch:
			b.Append(topic, events(p)...)
		case script.Ack:
			b.Ack(topic, engine.MustConsumerID(p.Consumer), engine.EventID(p.ID))
		case script.Expect:
			b.ExpectLatest(topic, engine.EventID(p.ID))
		}
	}
	done, err := l.Commit(ctx, &b)
	var r model.Result
	for _, a := range done.Appended {
		if r.First == 0 {
			r.First = uint64(a.First)
		}
		r.Last = uint64(a.Last)
	}
	return r, err
}

func events(op script.Op) []engine.Event {
	out := make([]engine.Event, len(op.Events))
	for i, s := range op.Events {
		out[i] = s.Event()
	}
	return out
}

func expect(op script.Op) []engine.AppendOption {
	if op.Expect == nil {
		return nil
	}
	return []engine.AppendOption{engine.ExpectLatest(engine.EventID(*op.Expect))}
}

func (r *Rig) inject(op script.Op) {
	r.lenient, r.healed = true, false
	f := vfs.Fault{At: r.Disk.Ops() + int(op.N), Count: op.Count, Err: ErrorOf(op.Error), Short: -1}
	if op.Error == "short" {
		f.Short = 1 + int(op.N)*97%5000
	}
	r.Disk.Inject(f)
}

// ErrorOf returns the error that a script's word stands for, as the operating
// system and the seam above it would return it.
func ErrorOf(name string) error {
	switch name {
	case "enospc":
		return fmt.Errorf("%w: %w", vfs.ErrNoSpace, syscall.ENOSPC)
	case "emfile":
		return syscall.EMFILE
	case "eacces":
		return syscall.EACCES
	}
	return syscall.EIO
}

// Settle takes over what another rig, which went on from the same promises,
// found to be the state.
func (r *Rig) Settle(other *Rig) {
	r.states, r.visible, r.least = other.states, other.visible, 0
}

// Add sums up.
func (c *Counts) Add(o Counts) {
	c.Ops += o.Ops
	c.Acked += o.Acked
	c.Refused += o.Refused
	c.Failed += o.Failed
	c.Opens += o.Opens
	c.Crashes += o.Crashes
	c.OpenFailures += o.OpenFailures
}
