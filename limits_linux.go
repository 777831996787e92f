package expedite

import (
	"math"
	"os"
	"syscall"
)

// openFiles is the number of descriptors that this process may have.
func openFiles() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return math.MaxInt32
	}
	return int(min(limit.Cur, math.MaxInt32))
}

// freeFDs is the number of descriptors that this process may still open.
func freeFDs() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return math.MaxInt32
	}
	// Linux 6.2 tells their number as the size of the folder: with many of them, a list takes tens of milliseconds.
	if info, err := os.Stat("/proc/self/fd"); err == nil && info.Size() > 0 {
		return max(int(min(limit.Cur, math.MaxInt32))-int(info.Size()), 0)
	}
	d, err := os.Open("/proc/self/fd")
	if err != nil {
		return math.MaxInt32 // whoever comes last finds out
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return math.MaxInt32
	}
	return max(int(min(limit.Cur, math.MaxInt32))-len(names), 0)
}
