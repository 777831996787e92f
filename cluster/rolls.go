package cluster

import (
	"sync"
	"sync/atomic"
	"time"
)

// RollTotals are the sums over all rolls since the primary first started.
type RollTotals struct {
	Moved, Drained, Failed uint64
	Last                   time.Duration // of the last roll
}

// rolls allows one roll or Exec at a time, and sums up what they have done. It is safe for concurrent use.
type rolls struct {
	active atomic.Bool

	mu     sync.Mutex
	totals RollTotals
}

// acquire reports whether no roll was active; then one is now.
func (r *rolls) acquire() bool { return r.active.CompareAndSwap(false, true) }

// release ends what acquire began.
func (r *rolls) release() { r.active.Store(false) }

// add adds the result of a roll to the totals.
func (r *rolls) add(res RollResult) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.totals.Moved += uint64(res.Moved)
	r.totals.Failed += uint64(res.Failed)
	r.totals.Drained += uint64(res.Drained)
	r.totals.Last = res.Took
}

// sum returns the totals.
func (r *rolls) sum() RollTotals {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.totals
}
