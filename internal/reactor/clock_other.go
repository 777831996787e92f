//go:build !linux

package reactor

import "time"

// epoch is the beginning of the clock. It is never changed.
var epoch = readEpoch()

type origin struct {
	at time.Time
	ns int64
}

func readEpoch() origin {
	now := time.Now()
	return origin{at: now, ns: now.UnixNano()}
}

// ProcessorTime cannot be told here: it goes on as the clock does.
func ProcessorTime() int64 { return Monotonic() }
