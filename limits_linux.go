package expedite

import (
	"math"
	"os"
	"syscall"
)

// freeFDs is the number of descriptors that this process may still open.
func freeFDs() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return math.MaxInt32
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
