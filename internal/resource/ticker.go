package resource

import (
	"sync/atomic"
	"time"
)

// IdleTicker chooses the interval of a worker's regular work: one second while the worker is active, and longer while
// it is idle. Every tick wakes the process, and a machine may run many idle workers. It is safe for concurrent use.
type IdleTicker struct {
	idle   time.Duration
	asleep atomic.Bool
	woken  chan struct{}
}

const (
	// tickBusy is the interval of an active worker.
	tickBusy = time.Second
	// tickIdle is the interval of an idle worker, unless the hang timeout requires a shorter one.
	tickIdle = 10 * time.Second
)

// NewIdleTicker returns an IdleTicker for a worker that is killed if it does not report within the hang timeout. The
// idle interval is at most a third of that timeout. If hang is 0 or less, there is no timeout.
func NewIdleTicker(hang time.Duration) *IdleTicker {
	t := &IdleTicker{idle: tickIdle, woken: make(chan struct{}, 1)}
	if hang > 0 {
		t.idle = max(min(t.idle, hang/3), tickBusy/10)
	}
	return t
}

// Wake reports activity and ends the sleep of an idle worker. If the worker is awake, Wake costs one atomic load, so
// that it can be called for every message.
func (t *IdleTicker) Wake() {
	if t.asleep.Load() && t.asleep.CompareAndSwap(true, false) {
		select {
		case t.woken <- struct{}{}:
		default:
		}
	}
}

// Asleep reports whether the worker is idle.
func (t *IdleTicker) Asleep() bool { return t.asleep.Load() }

// Woken returns a channel that receives a value after Wake has ended a sleep.
func (t *IdleTicker) Woken() <-chan struct{} { return t.woken }

// Next returns the interval until the next tick. If busy is false, nothing has happened since the last tick, and the
// worker is asleep until Wake.
func (t *IdleTicker) Next(busy bool) time.Duration {
	t.asleep.Store(!busy)
	if busy {
		return t.Busy()
	}
	return t.idle
}

// Busy returns the interval of an active worker.
func (t *IdleTicker) Busy() time.Duration { return min(tickBusy, t.idle) }
