package wal

import (
	"errors"
	"fmt"
	"testing"

	"github.com/seglog/seglog/internal/vfs"
)

// workload appends frames of many shapes, some without a sync between them,
// with checkpoints and a seal. It stops at the first error.
func (l *logTest) workload() error {
	for i, size := range []int{40, 600, 9000, 0, 4500, 300, 300, 300, 17000, 300, 4000, 4000, 4000, 4000, 26000, 5000, 700, 40} {
		if i%5 == 3 {
			if err := l.tryWrite(payload(len(l.acked), 700)); err != nil {
				return err
			}
			l.acked, l.tried = append(l.acked, l.tried...), nil
			if err := l.w.Sync(); err != nil {
				l.tried, l.acked = l.acked[len(l.acked)-1:], l.acked[:len(l.acked)-1]
				return err
			}
		}
		if err := l.tryAppend(size); err != nil {
			return err
		}
		if i%6 == 5 {
			if err := l.w.Seal(Header{}); err != nil {
				return err
			}
		}
		if i%4 == 3 {
			l.checkpoint()
		}
		// Often the writer has gone on to another file by then.
		if i%4 == 3 && i%8 != 3 || i%8 == 5 {
			if err := l.w.Free(l.at); err != nil {
				return err
			}
		}
		if i%7 == 2 {
			if err := l.w.Prepare(); err != nil {
				return err
			}
		}
	}
	return nil
}

// packedWorkload has frames share pages, some of which they fill to the last
// byte, with a sync now and then, checkpoints within a page, and full disks.
func (l *logTest) packedWorkload() error {
	for i := range 75 {
		if i == 60 || i == 68 {
			if err := l.w.Seal(Header{}); err != nil {
				return err
			}
		}
		if err := l.writeOn([]int{376, 376, 40, 600, 376, 0, 2100, 376, 5000, 376, 888}[i%11]); err != nil {
			return err
		}
		if i%9 == 8 || i%25 == 3 || i%25 == 4 {
			if err := l.trySync(); err != nil {
				return err
			}
		}
		if i%14 == 5 {
			if err := l.midCheckpoint(); err != nil {
				return err
			}
		}
		if i%28 == 6 || i == 40 {
			if err := l.w.Free(l.at); err != nil {
				return err
			}
		}
		if i%10 == 2 {
			if err := l.w.Prepare(); err != nil && !errors.Is(err, vfs.ErrNoSpace) {
				return err
			}
		}
	}
	return nil
}

// writeOn writes a frame, and a shorter one where there is no space for it.
// Part of the first may be there until the second is.
func (l *logTest) writeOn(size int) error {
	err := l.tryWrite(payload(len(l.acked)+len(l.tried), size))
	if !errors.Is(err, vfs.ErrNoSpace) || l.w.Failed() {
		return err
	}
	kept := l.tried[:len(l.tried)-1]
	if size == 600 { // what is left of it must not stay in a page that a sync covers
		l.tried = kept
		if err := l.trySync(); err != nil {
			return err
		}
		kept = nil
	}
	p := payload(len(l.acked)+len(kept), size/2)
	fill(&l.buf, p)
	_, _, err = l.w.Write(&l.buf, Header{}, false)
	if err == nil {
		l.tried = append(kept, p)
	}
	return err
}

// midCheckpoint takes its place, waits until that is durable together with what
// was written meanwhile, and is recorded.
func (l *logTest) midCheckpoint() error {
	at, before := l.w.Position(), len(l.acked)+len(l.tried)
	if err := l.writeOn(376); err != nil {
		return err
	}
	if err := l.trySync(); err != nil {
		return err
	}
	l.at, l.acked = at, l.acked[before:]
	return nil
}

// crashed runs the workload until the power goes at an operation.
func crashed(t *testing.T, packed bool, op int) (*logTest, error) {
	sim := vfs.NewSim(1)
	sim.KeepLog(false)
	sim.CrashAt(op)
	l := newLogTestOn(t, sim, 1)
	return l, l.run(packed)
}

func (l *logTest) run(packed bool) error {
	if !packed {
		return l.workload()
	}
	l.cfg.Packed = true
	l.start(ScanResult{})
	return l.packedWorkload()
}

// eachVersion runs a test for both ways to lay frames out.
func eachVersion(t *testing.T, test func(t *testing.T, packed bool)) {
	for _, packed := range []bool{false, true} {
		t.Run(fmt.Sprintf("packed=%v", packed), func(t *testing.T) { test(t, packed) })
	}
}

// recover wants what was acknowledged, and that the log goes on.
func recoverAndAppend(l *logTest, disk *vfs.Sim, seed uint64) error {
	res, err := l.reopen(disk, seed)
	if err != nil {
		return err
	}
	if res.Clean {
		return errors.New("an unclean end passes for a clean one")
	}
	for _, size := range []int{10, 5000, 300} {
		if err := l.tryAppend(size); err != nil {
			return fmt.Errorf("append after recovery: %w", err)
		}
	}
	return nil
}

func TestCrashAtEveryOperation(t *testing.T) { eachVersion(t, crashAtEveryOperation) }

func crashAtEveryOperation(t *testing.T, packed bool) {
	images := 0
	for op := 0; ; op++ {
		l, err := crashed(t, packed, op)
		if err == nil {
			break
		}
		if !errors.Is(err, vfs.ErrCrashed) {
			t.Fatalf("operation %d: %v", op, err)
		}
		for _, v := range vfs.Survivals() {
			m := *l
			m.buf = Buffer{}
			if err := recoverAndAppend(&m, l.sim.Crash(v), 100); err != nil {
				t.Fatalf("crash at operation %d, %+v: %v", op, v, err)
			}
			// And once more: nothing that recovery left may confuse the next.
			if err := recoverAndAppend(&m, m.sim.Crash(vfs.Survival{Mode: vfs.DropAll}), 101); err != nil {
				t.Fatalf("crash at operation %d, %+v, and again: %v", op, v, err)
			}
			images += 2
		}
		if err := recoverAndAppend(l, l.sim.Kill(), 102); err != nil {
			t.Fatalf("kill at operation %d: %v", op, err)
		}
	}
	t.Logf("%d images", images)
}

func TestCrashDuringRecovery(t *testing.T) { eachVersion(t, crashDuringRecovery) }

func crashDuringRecovery(t *testing.T, packed bool) {
	for op := 3; ; op += 7 {
		l, err := crashed(t, packed, op)
		if err == nil {
			break
		}
		disk := l.sim.Crash(vfs.Survival{Mode: vfs.Random, Seed: uint64(op)})
		for second := 0; ; second++ {
			m := *l
			m.buf = Buffer{}
			again := disk.Clone()
			again.ResetOps()
			again.CrashAt(second)
			err := recoverAndAppend(&m, again, 100)
			if err == nil {
				break
			}
			if !errors.Is(err, vfs.ErrCrashed) {
				t.Fatalf("crash at %d, then at %d: %v", op, second, err)
			}
			for _, v := range []vfs.Survival{{Mode: vfs.DropAll}, {Mode: vfs.KeepAll}, {Mode: vfs.RandomSectors, Seed: uint64(second)}} {
				n := m
				n.buf = Buffer{}
				if err := recoverAndAppend(&n, again.Crash(v), 101); err != nil {
					t.Fatalf("crash at %d, then at %d, %+v: %v", op, second, v, err)
				}
			}
		}
	}
}

// Every call fails once, with each kind of error. What was acknowledged is
// there afterwards, in the page cache and on the disk.
func TestErrorAtEveryOperation(t *testing.T) { eachVersion(t, errorAtEveryOperation) }

func errorAtEveryOperation(t *testing.T, packed bool) {
	for _, cause := range []error{errors.New("input/output error"), vfs.ErrNoSpace} {
		for _, short := range []int{0, 200, 5000} {
			for op := 0; ; op++ {
				sim := vfs.NewSim(1)
				sim.KeepLog(false)
				sim.Inject(vfs.Fault{At: op, Err: cause, Short: short})
				l := newLogTestOn(t, sim, 1)
				err := l.run(packed)
				if err == nil && sim.Ops() <= op {
					break
				}
				if err != nil && !errors.Is(err, cause) {
					t.Fatalf("%v at operation %d: %v", cause, op, err)
				}
				m := *l
				m.buf = Buffer{}
				if err := recoverAndAppend(&m, sim.Kill(), 100); err != nil {
					t.Fatalf("%v at operation %d, then kill: %v", cause, op, err)
				}
				if err := recoverAndAppend(&m, m.sim.Crash(vfs.Survival{Mode: vfs.DropAll}), 101); err != nil {
					t.Fatalf("%v at operation %d, then kill and power cut: %v", cause, op, err)
				}
				if err := recoverAndAppend(l, sim.Crash(vfs.Survival{Mode: vfs.DropAll}), 102); err != nil {
					t.Fatalf("%v at operation %d, then power cut: %v", cause, op, err)
				}
			}
		}
	}
}
