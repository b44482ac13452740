//go:build unix

package vfs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestPipesAreRefusedWithoutWaiting(t *testing.T) {
	fsys, path := openDir(t)
	must(t, syscall.Mkfifo(filepath.Join(path, "pipe"), 0o600))
	_, err := fsys.Open("pipe")
	wantErr(t, "open", err, errNotRegular)
	_, err = fsys.OpenRead("pipe")
	wantErr(t, "openread", err, errNotRegular)
	_, err = fsys.Lock("pipe")
	wantErr(t, "lock", err, errNotRegular)
}

func TestFullDisksMatchErrNoSpace(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
		err := pathError("write", "a", &os.PathError{Op: "pwrite", Path: "/secret/a", Err: errno})
		wantErr(t, "wrapped", err, ErrNoSpace)
		wantErr(t, "wrapped", err, errno)
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("%v tells a path outside the root", err)
		}
	}
	if err := pathError("write", "a", syscall.EIO); errors.Is(err, ErrNoSpace) {
		t.Errorf("%v is not about space", err)
	}
}

const lockEnv = "VFS_TEST_LOCK"

// TestLockHoldsAgainstAnotherProcess runs itself in a process of its own.
func TestLockHoldsAgainstAnotherProcess(t *testing.T) {
	if path := os.Getenv(lockEnv); path != "" {
		fsys, err := Dir(path)
		must(t, err)
		_, err = fsys.Lock("LOCK")
		must(t, err)
		fmt.Println("locked")
		_, _ = io.ReadAll(os.Stdin)
		return
	}
	fsys, path := openDir(t)
	child := exec.Command(os.Args[0], "-test.run=^TestLockHoldsAgainstAnotherProcess$")
	child.Env = append(os.Environ(), lockEnv+"="+path)
	stdin, err := child.StdinPipe()
	must(t, err)
	stdout, err := child.StdoutPipe()
	must(t, err)
	must(t, child.Start())
	line := make([]byte, len("locked"))
	_, err = io.ReadFull(stdout, line)
	must(t, err)

	_, err = fsys.Lock("LOCK")
	locked, ok := errors.AsType[*LockedError](err)
	if !ok || !strings.HasPrefix(locked.Holder, fmt.Sprintf("pid %d on ", child.Process.Pid)) {
		t.Errorf("got error %v, want a lock held by pid %d", err, child.Process.Pid)
	}
	must(t, stdin.Close())
	_, _ = io.ReadAll(stdout)
	must(t, child.Wait())
	lock, err := fsys.Lock("LOCK")
	must(t, err)
	must(t, lock.Close())
}
