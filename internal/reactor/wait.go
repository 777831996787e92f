package reactor

import "runtime"

// oneProcTurn is how long a loop on the only processor may keep other goroutines from running, in nanoseconds.
const oneProcTurn = 1e6

// coldAfter is the duration of a sleep, in nanoseconds, after which the next event is not expected soon. During a raw
// wait, the runtime's monitor thread checks the loop every 20 us.
const coldAfter = 50e6

// countProcsEvery is the number of turns after which a loop that never sleeps checks the number of processors.
const countProcsEvery = 4096

// wait takes events from the poller, and waits for some if there is nothing else to do. It may return without any.
func (l *Loop) wait() (n int, err error) {
	if l.busy() {
		l.yield()
		n, _, err = l.poller.wait(waitNot, 0)
		return n, err
	}
	// A loop that was idle sleeps again. A loop on the only processor must not occupy it while it waits.
	hot := l.opt.Wait == WaitHybrid && l.hot
	parked, unseen := l.opt.Wait == WaitParked || hot && l.oneProc, hot && !l.oneProc
	if !unseen && !parked && l.opt.Wait != WaitRaw {
		// A look without waiting is cheaper than a sleep that the scheduler sees.
		if n, _, err = l.poller.wait(waitNot, 0); n > 0 || err != nil {
			l.hot = true
			return n, err
		}
	}
	l.yield()
	// From here on, Wake ends the wait. busy sees what was put into an inbox before; what comes later wakes the loop.
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
	switch {
	case parked:
		mode = waitParked
	case l.opt.Wait == WaitRaw && !l.opt.Portable:
		mode = waitRaw
	}
	l.count.sleeps.Add(1)
	began := Monotonic()
	left := l.timeLeft()
	if left < 0 {
		l.note(began, 0)
	} else {
		l.note(began, began+left)
	}
	n, _, err = l.poller.wait(mode, left)
	l.hot = n > 0 && Monotonic()-began < coldAfter
	l.countProcs()
	return n, err
}

// busy reports whether there is something to do without an event.
func (l *Loop) busy() bool {
	return len(l.again) > 0 || !l.posts.empty() || !l.ready.empty() || l.stopped.Load() ||
		l.state.Load() != stateAwake
}

// yield lets other goroutines run if they would have to wait for the loop's processor: those that it started itself
// and, if it has the only processor, any from time to time.
func (l *Loop) yield() {
	if l.runnable.Load() {
		l.runnable.Store(false)
		l.lastGo = l.now
		runtime.Gosched()
		return
	}
	if l.oneProc && l.now-l.lastGo >= oneProcTurn {
		l.lastGo = l.now
		runtime.Gosched()
	}
}

// countProcs updates oneProc: the runtime changes GOMAXPROCS when the limits of the container change.
func (l *Loop) countProcs() { l.oneProc = runtime.GOMAXPROCS(0) == 1 }
