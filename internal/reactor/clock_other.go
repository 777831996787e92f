//go:build !linux

package reactor

import "time"

// epoch is the start of the clock. It never changes.
var epoch = readEpoch()

type origin struct {
	at time.Time
	ns int64
}

func readEpoch() origin {
	now := time.Now()
	return origin{at: now, ns: now.UnixNano()}
}

// ProcessorTime returns Monotonic, because the processor time is not available here.
func ProcessorTime() int64 { return Monotonic() }
