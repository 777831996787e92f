package reactor

import "time"

// Monotonic returns the time in nanoseconds of a clock that is never set back. On Linux it is CLOCK_MONOTONIC, within
// some microseconds, and thus the same in every process of the machine. Elsewhere it is only valid within this process.
// It is safe for concurrent use.
func Monotonic() int64 { return epoch.ns + int64(time.Since(epoch.at)) }
