package resource

// The shares of a worker's heap that clients may fill, and the size of a heap without a limit. The collector lets a
// heap grow to twice what is live, and buffers are larger than their contents: together the shares are at most a half.
const (
	partialShare = 8
	queuedShare  = 4
	pendingShare = 8
	noHeapLimit  = 4 << 30
)

// Budgets bound what clients may make a worker hold, in bytes. 0 is no limit.
type Budgets struct {
	Partial int64 // messages and request heads that have begun
	Queued  int64 // messages that wait for slow clients
	Pending int64 // messages that wait for callbacks
}

// Resolve returns the budgets of a worker with a heap limit: those that are set, and else their share of the heap.
// Negative ones are no limit.
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

func budget(set, share int64) int64 {
	if set == 0 {
		return share
	}
	return max(set, 0)
}
