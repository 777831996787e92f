package reactor

import (
	"sync/atomic"
	"time"
)

// Stats is what a loop has done. Counters only grow, but for Sockets.
type Stats struct {
	Sockets        int    // on the loop now
	Turns          uint64 // of the loop
	Sleeps         uint64 // waits that the scheduler could see
	Wakeups        uint64 // waits that another goroutine ended
	Accepted       uint64 // sockets taken from listeners
	AcceptErrors   uint64 // failed accepts
	AcceptBackoffs uint64 // times a listener was left alone because descriptors or memory had run out
}

// counters are written on the loop.
type counters struct {
	turns, sleeps, wakeups                 atomic.Uint64
	accepted, acceptErrors, acceptBackoffs atomic.Uint64
	sockets                                atomic.Int64
	longest                                atomic.Int64 // turn since the last Lag, in nanoseconds
}

func (c *counters) turned(ns int64) {
	for old := c.longest.Load(); ns > old; old = c.longest.Load() {
		if c.longest.CompareAndSwap(old, ns) {
			return
		}
	}
}

// Stats tells what l has done. Any goroutine.
func (l *Loop) Stats() Stats {
	c := &l.count
	return Stats{
		Sockets: int(c.sockets.Load()), Turns: c.turns.Load(), Sleeps: c.sleeps.Load(), Wakeups: c.wakeups.Load(),
		Accepted: c.accepted.Load(), AcceptErrors: c.acceptErrors.Load(), AcceptBackoffs: c.acceptBackoffs.Load(),
	}
}

// Lag is the longest turn since the previous call of Lag: how long an event may have waited for its turn. Any
// goroutine.
func (l *Loop) Lag() time.Duration { return time.Duration(l.count.longest.Swap(0)) }
