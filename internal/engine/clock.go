package engine

import (
	"sync/atomic"
	"time"

	"github.com/expedite-go/expedite/internal/reactor"
)

// clockStep is the difference from which the two clocks count as having moved against each other.
const clockStep = 2 * time.Second

// clock watches the wall clock against that of the loop, which stands still while the machine sleeps and is not set by
// anybody. Tokens end by the wall clock.
type clock struct {
	wall   func() time.Time
	offset atomic.Int64 // ns, of the wall clock from the loop's, by which Conn.expires was reckoned
}

func (k *clock) start(wall func() time.Time) {
	k.wall = wall
	k.offset.Store(k.now())
}

func (k *clock) now() int64 { return k.wall().UnixNano() - reactor.Monotonic() }

// moved is how far the wall clock has moved on, in nanoseconds; 0 if it goes as the loop's does.
func (k *clock) moved() int64 {
	if d := k.now() - k.offset.Load(); d >= int64(clockStep) || d <= -int64(clockStep) {
		return d
	}
	return 0
}

// unmoved takes the time of an expiry back behind a move that CheckClock has not seen yet.
func (k *clock) unmoved(at int64) int64 {
	if at == 0 {
		return 0
	}
	return at + k.moved()
}

// CheckClock looks whether the machine has slept, or its clock was set, and moves the ends of all connections with it.
// Any goroutine; call it now and then.
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
