package reactor

import "runtime"

// lonelyTurn is how long a loop that has the only processor keeps it from other goroutines, in nanoseconds.
const lonelyTurn = 1e6

// coldAfter is how long a sleep lasts after which another event is not expected soon, in nanoseconds. While a loop
// waits unseen, the runtime's monitor thread looks at it every 20 us.
const coldAfter = 50e6

// lookEvery is the number of turns after which a loop that never sleeps looks at the number of processors.
const lookEvery = 4096

// wait takes events from the poller, and waits for some if there is nothing else to do. It may return without any.
func (l *Loop) wait() (n int, err error) {
	if l.busy() {
		l.yield()
		n, _, err = l.poller.wait(waitNot, 0)
		return n, err
	}
	// A loop that was idle goes on sleeping; one that has the only processor must not keep it while it waits.
	unseen := l.opt.Wait == WaitHybrid && l.hot && !l.lonely
	if !unseen && l.opt.Wait != WaitRaw {
		// An empty look is cheaper than a sleep that the scheduler sees.
		if n, _, err = l.poller.wait(waitNot, 0); n > 0 || err != nil {
			l.hot = true
			return n, err
		}
	}
	l.yield()
	// From here on Wake ends the wait. What was put into an inbox before is seen by busy; what comes later wakes.
	if !l.state.CompareAndSwap(stateAwake, stateAsleep) {
		n, _, err = l.poller.wait(waitNot, 0)
		return n, err
	}
	if unseen {
		n, done, err := l.poller.wait(waitRaw, int64(l.opt.RawWait))
		if !done {
			return n, err
		}
	}
	mode := waitVisible
	if l.opt.Wait == WaitRaw && !l.opt.Portable {
		mode = waitRaw
	}
	l.count.sleeps.Add(1)
	began := Monotonic()
	left := l.timeLeft()
	if l.planned = began + left; left < 0 {
		l.planned = 0
	}
	n, _, err = l.poller.wait(mode, left)
	l.hot = n > 0 && Monotonic()-began < coldAfter
	l.look()
	return n, err
}

// busy says that there is something to do without an event.
func (l *Loop) busy() bool {
	return len(l.again) > 0 || !l.posts.empty() || !l.ready.empty() || l.stopped.Load() ||
		l.state.Load() != stateAwake
}

// yield lets other goroutines run if there are any that would have to wait for the loop's processor: those that it
// started itself, and, if there is no other processor, any now and then.
func (l *Loop) yield() {
	if l.runnable.Load() {
		l.runnable.Store(false)
		l.lastGo = l.now
		runtime.Gosched()
		return
	}
	if l.lonely && l.now-l.lastGo >= lonelyTurn {
		l.lastGo = l.now
		runtime.Gosched()
	}
}

// look notes how many processors there are: the runtime changes that when the limits of the container change.
func (l *Loop) look() { l.lonely = runtime.GOMAXPROCS(0) == 1 }
