package reactor

import (
	"math"
	"time"
)

// waitMode is how to wait for events.
type waitMode uint8

const (
	waitNot     waitMode = iota // do not wait
	waitRaw                     // wait without informing the scheduler
	waitVisible                 // wait like other blocking calls
	waitParked                  // wait without a thread
)

// poller reports the readiness of descriptors. Its methods are for the loop, except wake.
type poller interface {
	// add registers a socket permanently: edge triggered, in both directions.
	add(fd int, k Key) error
	// remove undoes add. After close it does nothing.
	remove(fd int) error
	// wait returns the number of events, or 0 after a timeout, a wake or a signal. With ns < 0 there is no timeout.
	// With waitRaw, done reports whether the timeout has passed.
	wait(mode waitMode, ns int64) (n int, done bool, err error)
	// event returns the i-th event of the last wait. Its key may be stale or one of the loop's own.
	event(i int) readiness
	// wake ends the current wait or the next one. It is safe for concurrent use, also after close.
	wake()
	close() error
}

// Keys of the loop's own descriptors in its poller.
const (
	wakeIndex     uint32 = math.MaxUint32
	listenerIndex uint32 = 1 << 31 // and above
)

// parker is a poller without descriptors: all events come from pumps, which wake it.
type parker struct {
	signal chan struct{}
	timer  *time.Timer
}

func newParker() *parker {
	return &parker{signal: make(chan struct{}, 1), timer: time.NewTimer(math.MaxInt64)}
}

func (*parker) add(int, Key) error      { return errNoPoller }
func (*parker) remove(int) error        { return nil }
func (*parker) event(int) (r readiness) { return r }
func (p *parker) close() error          { p.timer.Stop(); return nil }
func (p *parker) wake() {
	select {
	case p.signal <- struct{}{}:
	default: // it is awake already
	}
}

func (p *parker) wait(mode waitMode, ns int64) (n int, done bool, err error) {
	if mode != waitVisible && mode != waitParked {
		return 0, true, nil
	}
	if ns < 0 {
		<-p.signal
		return 0, false, nil
	}
	p.timer.Reset(time.Duration(ns))
	select {
	case <-p.signal:
	case <-p.timer.C:
	}
	return 0, false, nil
}

var _ poller = (*parker)(nil)
