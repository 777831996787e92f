//go:build unix

package loadtest

import (
	"math"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// errnoName returns the symbolic name of an error, such as ECONNREFUSED.
func errnoName(e syscall.Errno) string {
	if name := unix.ErrnoName(e); name != "" {
		return name
	}
	return e.Error()
}

// openFiles returns how many descriptors this process may have open, or 0 if that is unknown.
func openFiles() int {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil || uint64(lim.Cur) > math.MaxInt32 {
		return 0
	}
	return int(lim.Cur)
}

// cpuTime returns the CPU time that this process has used.
func cpuTime() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
