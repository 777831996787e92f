package reactor

import (
	"math"
	"time"
)

// waitMode is one way to ask a poller for events.
type waitMode uint8

const (
	waitNot     waitMode = iota // take what there is
	waitRaw                     // wait without telling the scheduler
	waitVisible                 // wait as other blocking calls do
)

// poller is the platform's readiness notification. Its methods are for the loop, but for wake.
type poller interface {
	// add registers a socket for good: edge triggered, in both directions.
	add(fd int, k Key) error
	// remove ends that. After close it does nothing.
	remove(fd int) error
	// wait returns the number of events; 0 after a time, a wake or a signal. With ns < 0 there is no end of time.
	// With waitRaw, done says that the time has passed.
	wait(mode waitMode, ns int64) (n int, done bool, err error)
	// event is the i-th of the last wait. Its key may be stale or one of the loop's own.
	event(i int) readiness
	// wake ends a wait, or the next one. Any goroutine, also after close.
	wake()
	close() error
}

// Keys of the loop's own descriptors in its poller.
const (
	wakeIndex     uint32 = math.MaxUint32
	listenerIndex uint32 = 1 << 31 // and above: listeners
)

// parker is the poller that has no descriptors: all events come from pumps, which wake it.
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
	if mode != waitVisible {
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
