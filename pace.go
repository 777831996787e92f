package expedite

import (
	"sync/atomic"
	"time"
)

// pace is how often a worker does what it does regularly: every second while something happens, and seldom while
// nothing does, as each time wakes a process, of which there may be many. Any goroutine.
type pace struct {
	idle   time.Duration
	asleep atomic.Bool
	wake   chan struct{} // something happens again
}

const (
	// reportEvery is how often a worker tells the primary how it is.
	reportEvery = time.Second
	// reportIdle is the same while nothing happens, if the primary is patient enough.
	reportIdle = 10 * time.Second
)

// newPace makes the pace of a worker that may not be silent for longer than hang; 0 or less is for ever.
func newPace(hang time.Duration) *pace {
	p := &pace{idle: reportIdle, wake: make(chan struct{}, 1)}
	if hang > 0 {
		p.idle = max(min(p.idle, hang/3), reportEvery/10)
	}
	return p
}

// stir says that something happens. It costs a load while it does.
func (p *pace) stir() {
	if p.asleep.Load() && p.asleep.CompareAndSwap(true, false) {
		select {
		case p.wake <- struct{}{}:
		default:
		}
	}
}

// next is how long to wait, after a time in which something has happened or not.
func (p *pace) next(busy bool) time.Duration {
	if busy {
		p.asleep.Store(false)
		return min(reportEvery, p.idle)
	}
	p.asleep.Store(true)
	return p.idle
}
