package resource

import (
	"math"
	"os"
	"syscall"
)

// MaxFDs returns the number of descriptors that this process may have open at once (RLIMIT_NOFILE). If the limit cannot
// be read, it returns a very large number: the attempt to open a descriptor then reports the error.
func MaxFDs() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return math.MaxInt32
	}
	return int(min(limit.Cur, math.MaxInt32))
}

// FreeFDs returns the number of descriptors that this process may still open. If it cannot be determined, FreeFDs
// returns a very large number.
func FreeFDs() int {
	// Since Linux 6.2, the size of the directory is the number of open descriptors. Listing the directory takes tens of
	// milliseconds if there are many.
	if info, err := os.Stat("/proc/self/fd"); err == nil && info.Size() > 0 {
		return max(MaxFDs()-int(info.Size()), 0)
	}
	d, err := os.Open("/proc/self/fd")
	if err != nil {
		return math.MaxInt32
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return math.MaxInt32
	}
	return max(MaxFDs()-len(names), 0)
}
