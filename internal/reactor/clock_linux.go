package reactor

import (
	"math"
	"time"

	"golang.org/x/sys/unix"
)

// epoch relates Go's clock, which is read without a system call, to the kernel's clock. It never changes.
var epoch = readEpoch()

type origin struct {
	at time.Time
	ns int64 // CLOCK_MONOTONIC at that time
}

// readEpoch reads both clocks several times and returns the pair that was read fastest.
func readEpoch() (best origin) {
	least := time.Duration(math.MaxInt64)
	for range 8 {
		var ts unix.Timespec
		before := time.Now()
		if unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) != nil {
			return origin{at: before, ns: before.UnixNano()}
		}
		if took := time.Since(before); took < least {
			least = took
			best = origin{at: before.Add(took / 2), ns: ts.Nano()}
		}
	}
	return best
}

// ProcessorTime returns the processor time that this process has used, in nanoseconds. On other platforms than Linux it
// advances with the clock. It is safe for concurrent use.
func ProcessorTime() int64 {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return Monotonic()
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
