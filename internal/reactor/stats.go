package reactor

import (
	"sync/atomic"
	"time"
)

// Stats has the statistics of a loop. Counters only increase, except Sockets.
type Stats struct {
	Sockets        int    // sockets on the loop
	Turns          uint64 // of the loop
	Sleeps         uint64 // waits visible to the scheduler
	Wakeups        uint64 // waits ended by another goroutine
	Accepted       uint64 // sockets taken from listeners
	AcceptErrors   uint64 // failed calls of accept
	AcceptBackoffs uint64 // pauses of a listener because descriptors or memory had run out
	Violations     uint64 // sealed sockets whose peers have broken TLS
}

// counters are written on the loop.
type counters struct {
	turns, sleeps, wakeups                 atomic.Uint64
	accepted, acceptErrors, acceptBackoffs atomic.Uint64
	violations                             atomic.Uint64
	sockets                                atomic.Int64
	parts, rests                           atomic.Int64 // bytes that sealed sockets hold, see Sealed
	longest                                atomic.Int64 // longest turn since the last call of Lag, in nanoseconds
}

func (c *counters) turned(ns int64) {
	for old := c.longest.Load(); ns > old; old = c.longest.Load() {
		if c.longest.CompareAndSwap(old, ns) {
			return
		}
	}
}

// Stats returns a snapshot. It is safe for concurrent use.
func (l *Loop) Stats() Stats {
	c := &l.count
	return Stats{
		Sockets: int(c.sockets.Load()), Turns: c.turns.Load(), Sleeps: c.sleeps.Load(), Wakeups: c.wakeups.Load(),
		Accepted: c.accepted.Load(), AcceptErrors: c.acceptErrors.Load(), AcceptBackoffs: c.acceptBackoffs.Load(),
		Violations: c.violations.Load(),
	}
}

// Sealed returns how many bytes sockets with TLS hold: of records that have begun to arrive or were not read, and of
// records that their sockets have not taken yet. Each holds about one of each. It is safe for concurrent use.
func (l *Loop) Sealed() (arriving, leaving int64) { return l.count.parts.Load(), l.count.rests.Load() }

// Lag returns the longest turn since the previous call of Lag, which is how long an event may have waited. It is safe
// for concurrent use.
func (l *Loop) Lag() time.Duration { return time.Duration(l.count.longest.Swap(0)) }
