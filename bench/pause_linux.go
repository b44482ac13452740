package bench

import (
	"syscall"
	"time"
)

// pause sleeps in the kernel: the runtime's own timers round what is shorter
// than a millisecond up to one where the process is idle.
func pause(d time.Duration) {
	t := syscall.NsecToTimespec(int64(d))
	_ = syscall.Nanosleep(&t, nil) // cut short by a signal: the operation is early by a little
}
