package reactor

import "time"

// Monotonic is the time in nanoseconds of a clock that is never set back. On Linux it is CLOCK_MONOTONIC, to within
// some microseconds, and so means the same in every process of the machine; elsewhere only in this one. Any goroutine.
func Monotonic() int64 { return epoch.ns + int64(time.Since(epoch.at)) }
