package resource

import (
	"sync/atomic"
	"time"
)

// IdleTicker tells how often a process does its regular work: every second while something happens, and rarely while
// nothing does, because each time wakes a process, of which there may be many. It is safe for concurrent use.
type IdleTicker struct {
	idle   time.Duration
	asleep atomic.Bool
	woken  chan struct{}
}

const (
	// tickBusy is the interval while something happens.
	tickBusy = time.Second
	// tickIdle is the interval while nothing happens.
	tickIdle = 10 * time.Second
)

// NewIdleTicker returns an IdleTicker for a process that must not be silent for longer than hang; 0 or less is for
// ever.
func NewIdleTicker(hang time.Duration) *IdleTicker {
	t := &IdleTicker{idle: tickIdle, woken: make(chan struct{}, 1)}
	if hang > 0 {
		t.idle = max(min(t.idle, hang/3), tickBusy/10)
	}
	return t
}

// Stir notes that something happens. While the process is awake it costs one load.
func (t *IdleTicker) Stir() {
	if t.asleep.Load() && t.asleep.CompareAndSwap(true, false) {
		select {
		case t.woken <- struct{}{}:
		default:
		}
	}
}

// Asleep reports whether nothing happens.
func (t *IdleTicker) Asleep() bool { return t.asleep.Load() }

// Woken receives after Stir has ended a sleep.
func (t *IdleTicker) Woken() <-chan struct{} { return t.woken }

// Next returns the next interval. Busy tells whether something has happened in the last one.
func (t *IdleTicker) Next(busy bool) time.Duration {
	t.asleep.Store(!busy)
	if busy {
		return t.Busy()
	}
	return t.idle
}

// Busy returns the interval while something happens.
func (t *IdleTicker) Busy() time.Duration { return min(tickBusy, t.idle) }
