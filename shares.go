package expedite

// The parts of a worker's heap that clients may fill, and the size of a heap that has no limit. The collector lets a
// heap grow to twice of what lives in it, and buffers are larger than their content: together the parts are at most a
// half.
const (
	partialPart = 8
	queuedPart  = 4
	pendingPart = 8
	noHeapLimit = 4 << 30
)

// shares bound what clients may make a worker hold, in bytes; 0 is no limit.
type shares struct {
	partial int64 // Config.MaxPartial
	queued  int64 // Config.MaxQueued
	pending int64 // Config.MaxPending
}

// shares are those of a worker that runs with d.
func (c Config) shares(d Tuned) shares {
	heap := d.HeapLimit
	if heap <= 0 {
		heap = noHeapLimit
	}
	return shares{
		partial: share(c.MaxPartial, heap/partialPart),
		queued:  share(c.MaxQueued, heap/queuedPart),
		pending: share(c.MaxPending, heap/pendingPart),
	}
}

// share is what is configured, or else its default; 0 is no limit.
func share(configured, byDefault int64) int64 {
	switch {
	case configured < 0:
		return 0
	case configured == 0:
		return byDefault
	default:
		return configured
	}
}
