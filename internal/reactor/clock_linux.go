package reactor

import (
	"math"
	"time"

	"golang.org/x/sys/unix"
)

// epoch ties Go's clock, which is read without a system call, to the kernel's. It is never changed.
var epoch = readEpoch()

type origin struct {
	at time.Time
	ns int64 // of CLOCK_MONOTONIC at that time
}

// readEpoch reads both clocks, and again if something came between.
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

// ProcessorTime is the nanoseconds that this process has used of the processors. Elsewhere than on Linux it goes on as
// the clock does. Any goroutine.
func ProcessorTime() int64 {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return Monotonic()
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
