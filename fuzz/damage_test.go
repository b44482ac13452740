package fuzz

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/seglog/seglog/engine"
	"github.com/seglog/seglog/fuzz/model"
	"github.com/seglog/seglog/fuzz/rig"
	"github.com/seglog/seglog/fuzz/script"
	"github.com/seglog/seglog/internal/vfs"
)

// damage is one change of stored bytes.
type damage struct {
	what string
	file string
	// slight damage is one flipped bit: it is always told from a torn write.
	slight bool
	do     func(disk *vfs.Sim)
}

// patient is a small log at rest, and what is in it.
type patient struct {
	name   string
	target rig.Target
	opts   engine.Options
	disk   *vfs.Sim
	model  *model.Log
	// before is the log without its last commit. A torn last commit that
	// nothing proves to have been durable looks the same as one that was never
	// finished, so heavy damage to it may take it away; nil: the log was
	// closed, and all of it is proven.
	before *model.Log
}

// outcome is what became of one damage.
type outcome int

const (
	harmless         outcome = iota // the bytes meant nothing
	refused                         // opening for writing failed
	reported                        // reads reported it
	lastLost                        // the unproven last commit is gone
	unopened                        // refused, and cannot be read read-only either
	slightlyUnopened                // … because of one flipped bit
	nOutcomes
)

// examine damages a copy of the log and opens it, for writing and read-only.
func (p *patient) examine(d damage) (outcome, error) {
	disk := p.disk.Clone()
	d.do(disk)
	before := disk.Files()
	got, err := p.open(disk.Clone(), before, d, p.opts)
	if err != nil {
		return got, fmt.Errorf("open for writing: %w", err)
	}
	readOnly := p.opts
	readOnly.ReadOnly = true
	again, err := p.open(disk, before, d, readOnly)
	if err != nil {
		return again, fmt.Errorf("open read-only: %w", err)
	}
	if diff := changed(before, disk.Files()); diff != "" {
		return again, fmt.Errorf("open read-only changed %s", diff)
	}
	switch {
	case got == refused && again == refused && d.slight:
		return slightlyUnopened, nil
	case got == refused && again == refused:
		return unopened, nil
	case got == refused:
		return refused, nil
	}
	return got, nil
}

func (p *patient) open(disk *vfs.Sim, before map[string][]byte, d damage, o engine.Options) (outcome, error) {
	r := rig.New(p.target, o, 1)
	r.Disk = disk
	log, err := p.target.Open(r.Env(), o)
	if err != nil {
		if !errors.Is(err, engine.ErrCorrupt) && !errors.Is(err, engine.ErrVersion) {
			return 0, fmt.Errorf("the error does not say that the log is corrupt: %w", err)
		}
		if diff := changed(before, disk.Files()); diff != "" {
			return 0, fmt.Errorf("refused with %w, but changed %s", err, diff)
		}
		if n := disk.OpenFiles(); n != 0 {
			return 0, fmt.Errorf("refused with %w, but left %d files open", err, n)
		}
		return refused, nil
	}
	got, err := p.survey(log, o.ReadOnly)
	if err != nil && p.before != nil && !d.slight {
		earlier := *p
		earlier.model = p.before
		if _, again := earlier.survey(log, o.ReadOnly); again == nil {
			got, err = lastLost, nil
		}
	}
	return got, errors.Join(err, log.Close())
}

// changed names a file that differs; the lock file may.
func changed(before, after map[string][]byte) string {
	names := map[string]bool{}
	for _, files := range []map[string][]byte{before, after} {
		for name := range files {
			names[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		a, inBefore := before[name]
		b, inAfter := after[name]
		if name != "LOCK" && (inBefore != inAfter || !bytes.Equal(a, b)) {
			return name
		}
	}
	return ""
}

// survey reads everything, steps over what is reported as damaged, and checks
// that only that is missing and that nothing is wrong. A read-only log of a
// damaged directory may lack what the damage says it lacks.
func (p *patient) survey(log engine.EventLog, readOnly bool) (outcome, error) {
	ctx := context.Background()
	listed, err := log.Topics(ctx)
	if err != nil {
		return 0, err
	}
	var names []string
	for _, t := range listed {
		names = append(names, t.String())
	}
	known := p.damageKnown(log, readOnly)
	if want := p.model.Names(); !slices.Equal(names, want) && known == 0 {
		return 0, fmt.Errorf("topics are %q, want %q", names, want)
	}
	got := harmless
	for _, name := range names {
		lost, err := p.surveyTopic(log, name, known > 0)
		if err != nil {
			return 0, err
		}
		if lost > 0 {
			got = reported
		}
	}
	if known > 0 {
		got = reported
	}
	return got, nil
}

// damageKnown is how much damage the log itself says it knows of.
func (p *patient) damageKnown(log engine.EventLog, readOnly bool) int {
	if !readOnly {
		return 0 // what opens for writing is whole but for what reads report
	}
	return knownDamage(log)
}

func (p *patient) surveyTopic(log engine.EventLog, name string, known bool) (lost int, err error) {
	ctx := context.Background()
	topic := engine.MustTopic(name)
	first, want := p.model.Range(name)
	latest, _, err := log.Latest(ctx, topic)
	if err != nil {
		return 0, err
	}
	if uint64(latest) != want && !known {
		return 0, fmt.Errorf("topic %s: latest is %d, want %d", name, latest, want)
	}
	next := first // the id that must come next, or be reported
	for after := first - 1; ; {
		var damaged *engine.CorruptError
		for r, err := range log.Read(ctx, topic, engine.ReadOptions{After: engine.EventID(after)}) {
			if err != nil {
				if !errors.As(err, &damaged) {
					return lost, fmt.Errorf("topic %s: read after %d: %w", name, after, err)
				}
				break
			}
			if err := p.model.Same(name, r); err != nil {
				return lost, fmt.Errorf("wrong data: topic %s, event %d: %w", name, r.ID, err)
			}
			if uint64(r.ID) != next && !known {
				return lost, fmt.Errorf("topic %s: event %d follows, want %d: a gap that nothing reports", name, r.ID, next)
			}
			next = uint64(r.ID) + 1
		}
		if damaged == nil {
			break
		}
		if damaged.Topic != name || uint64(damaged.FirstID) > next || uint64(damaged.LastID) < next || damaged.LastID < damaged.FirstID {
			return lost, fmt.Errorf("topic %s: damage at event %d is reported as %w", name, next, damaged)
		}
		lost += int(uint64(damaged.LastID) - next + 1)
		after, next = uint64(damaged.LastID), uint64(damaged.LastID)+1
	}
	if next <= want && !known {
		return lost, fmt.Errorf("topic %s: ends before event %d, want %d, and nothing reports it", name, next, want)
	}
	for _, c := range rig.Consumers {
		id, ok, err := log.Cursor(ctx, topic, engine.MustConsumerID(c))
		if err != nil {
			return lost, err
		}
		if wantID, wantOK := p.model.Cursor(name, c); (uint64(id) != wantID || ok != wantOK) && !known {
			return lost, fmt.Errorf("topic %s: cursor of %s is %d, %v, want %d, %v", name, c, id, ok, wantID, wantOK)
		}
	}
	return lost, nil
}

// damages lists what can happen to the bytes of a log: each bit flipped (a
// sample of them: every), sectors zeroed and swapped, files cut, removed,
// swapped and replaced.
func (p *patient) damages(every int) []damage {
	files := p.disk.Files()
	names := slices.Sorted(maps.Keys(files))
	var all []damage
	add := func(slight bool, file, what string, do func(*vfs.Sim)) {
		all = append(all, damage{what: file + ": " + what, file: file, slight: slight, do: do})
	}
	for _, name := range names {
		if name == "LOCK" {
			continue
		}
		b := files[name]
		for bit := 0; bit < len(b)*8; bit += every {
			off, mask := int64(bit/8), byte(1)<<(bit%8)
			if every > 1 && b[off] == 0 && bit%(every*8) != 0 {
				continue // a sample keeps away from the endless zeros
			}
			add(true, name, fmt.Sprintf("bit %d of byte %d flipped", bit%8, off), func(d *vfs.Sim) { d.Corrupt(name, off, mask) })
		}
		for off := 0; off < len(b); off += 512 {
			end := min(off+512, len(b))
			if bytes.Count(b[off:end], []byte{0}) == end-off {
				continue
			}
			add(false, name, fmt.Sprintf("sector at %d zeroed", off), func(d *vfs.Sim) {
				d.SetFile(name, slices.Concat(b[:off], make([]byte, end-off), b[end:]))
			})
		}
		for _, n := range []int{0, 1, 100, len(b) / 2, len(b) - 8192, len(b) - 4096, len(b) - 1} {
			if n >= 0 && n < len(b) {
				add(false, name, fmt.Sprintf("cut to %d of %d bytes", n, len(b)), func(d *vfs.Sim) { d.SetFile(name, b[:n]) })
			}
		}
		for page := 0; page+8192 <= len(b); page += 4096 {
			x, y := b[page:page+4096], b[page+4096:page+8192]
			if !bytes.Equal(x, y) {
				add(false, name, fmt.Sprintf("pages at %d and %d swapped", page, page+4096), func(d *vfs.Sim) {
					d.SetFile(name, slices.Concat(b[:page], y, x, b[page+8192:]))
				})
			}
		}
		add(false, name, "removed", func(d *vfs.Sim) { d.RemoveFile(name) })
		add(false, name, "filled with zeros", func(d *vfs.Sim) { d.SetFile(name, make([]byte, len(b))) })
		for _, other := range names {
			if other > name && other != "LOCK" && !bytes.Equal(files[other], b) {
				add(false, name, "swapped with "+other, func(d *vfs.Sim) { d.SetFile(name, files[other]); d.SetFile(other, b) })
			}
		}
	}
	return all
}

// sweep examines every damage and counts outcomes.
func (p *patient) sweep(every int) (*[nOutcomes]counter, error) {
	counts := new([nOutcomes]counter)
	all := p.damages(every)
	err := parallel(len(all), func(i int) error {
		got, err := p.examine(all[i])
		if err != nil {
			return fmt.Errorf("%s, %s: %w", p.name, all[i].what, err)
		}
		counts[got].add(1)
		return nil
	})
	return counts, err
}

// newPatient makes a small log with something of everything in it. Without a
// sync for each commit, its frames share pages; all of it is durable in the end.
func newPatient(target rig.Target, closed bool, sync engine.SyncPolicy) (*patient, error) {
	o := tiny
	o.Sync = sync
	o.WALBytes, o.TailBytes = 128<<10, 1<<20 // so that the last commits are in the log alone
	w := build("patient", o, func(add adder) {
		for i := range 6 {
			add("batch t%d %d:700 %d:900 %d:30", i%2, i, i+50, i+80)
			add("ack t%d c0 %d", i%2, i/2+1)
		}
		add("checkpoint")
		add("batch t0 1:3000 2:3000 3:3000")
		add("append t2 5:10")
		add("append t3 6:10")
		add("compact t0 4")
		add("compact t3 1")
		add("checkpoint")
		add("append t0 7:100")
		if sync != engine.SyncAlways {
			for i := range 20 {
				add("append t%d %d:%d", i%3, i, 20+i*17)
				if i == 6 || i == 13 {
					add("flush")
				}
			}
		}
		add("commit append t1 8:100; append t2 9:50; ack t0 c1 3")
		add("flush")
		add("append t2 10:5000")
	})
	r := rig.New(target, w.Options, 1)
	if err := r.Run(w.Ops[:len(w.Ops)-1]); err != nil {
		return nil, err
	}
	p := &patient{name: "killed", target: target, opts: w.Options, before: r.Model()}
	if err := r.Do(w.Ops[len(w.Ops)-1]); err != nil {
		return nil, err
	}
	if err := r.Do(script.Op{Kind: script.Flush}); err != nil {
		return nil, err
	}
	p.model = r.Model()
	if closed {
		if err := r.Reopen(); err != nil {
			return nil, err
		}
		p.name, p.before = "closed", nil
	}
	p.disk = r.Disk.Crash(vfs.Survival{Mode: vfs.DropAll})
	return p, nil
}
