package resource

import (
	"math"
	"os"
	"syscall"
)

// OpenFiles returns the number of descriptors that this process may have.
func OpenFiles() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return math.MaxInt32
	}
	return int(min(limit.Cur, math.MaxInt32))
}

// FreeFDs returns the number of descriptors that this process may still open.
func FreeFDs() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return math.MaxInt32
	}
	// Since Linux 6.2 the size of the folder is their number. To list many of them takes tens of milliseconds.
	if info, err := os.Stat("/proc/self/fd"); err == nil && info.Size() > 0 {
		return max(int(min(limit.Cur, math.MaxInt32))-int(info.Size()), 0)
	}
	d, err := os.Open("/proc/self/fd")
	if err != nil {
		return math.MaxInt32 // unknown: opening one fails when there are no more
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return math.MaxInt32
	}
	return max(int(min(limit.Cur, math.MaxInt32))-len(names), 0)
}
