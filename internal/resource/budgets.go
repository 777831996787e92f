package resource

// The default of each budget is the heap limit divided by one of these numbers. Together, the defaults are half of the
// heap limit: the garbage collector lets a heap grow to twice its live data, and a buffer has more capacity than it
// holds bytes.
const (
	partialShare = 8
	queuedShare  = 4
	pendingShare = 8
	// noHeapLimit replaces the heap limit of a worker without one, in bytes.
	noHeapLimit = 4 << 30
)

// Budgets bounds how many bytes clients may make a worker buffer. As a setting, 0 is the default and a negative value
// is no limit; as a result of Resolve, 0 is no limit.
type Budgets struct {
	Partial int64 // incomplete messages and request heads
	Queued  int64 // messages to slow clients
	Pending int64 // messages that wait for a callback, or are in one
}

// Resolve returns the budgets of a worker with the given heap limit in bytes. A heap limit of 0 or less is none.
func (b Budgets) Resolve(heapLimit int64) Budgets {
	if heapLimit <= 0 {
		heapLimit = noHeapLimit
	}
	return Budgets{
		Partial: budget(b.Partial, heapLimit/partialShare),
		Queued:  budget(b.Queued, heapLimit/queuedShare),
		Pending: budget(b.Pending, heapLimit/pendingShare),
	}
}

// budget returns the budget for one setting and its default.
func budget(set, share int64) int64 {
	if set == 0 {
		return share
	}
	return max(set, 0)
}
