package engine

import (
	"sync/atomic"
	"time"

	"github.com/expedite-go/expedite/internal/reactor"
)

// clockStep is the minimum difference that counts as a step of the wall clock against the loop's clock.
const clockStep = 2 * time.Second

// clock compares the wall clock with the clock of the loop, which does not advance while the machine sleeps and which
// nobody sets. Tokens expire by the wall clock.
type clock struct {
	wall   func() time.Time
	offset atomic.Int64 // ns, wall clock minus loop clock, as assumed by Conn.expires
}

func (k *clock) start(wall func() time.Time) {
	k.wall = wall
	k.offset.Store(k.now())
}

func (k *clock) now() int64 { return k.wall().UnixNano() - reactor.Monotonic() }

// moved returns by how many nanoseconds the wall clock has stepped, or 0 if it runs with the loop's clock.
func (k *clock) moved() int64 {
	if d := k.now() - k.offset.Load(); d >= int64(clockStep) || d <= -int64(clockStep) {
		return d
	}
	return 0
}

// unmoved converts an expiry for a step that CheckClock has not seen yet.
func (k *clock) unmoved(at int64) int64 {
	if at == 0 {
		return 0
	}
	return at + k.moved()
}

// CheckClock adjusts the expiries of all connections if the machine has slept or its clock was set. Call it regularly.
// It is safe for concurrent use.
func (e *Engine) CheckClock() {
	if e.clock.moved() == 0 {
		return
	}
	e.Post(func() {
		d := e.clock.moved()
		e.clock.offset.Add(d)
		for _, c := range e.conns {
			if d != 0 && c != nil && c.phase.Load() == phaseOpen && c.expires != 0 {
				c.expires = max(c.expires-d, 1)
				c.schedule()
			}
		}
	})
}
