package reactor

// standstill is the lateness in nanoseconds at which a loop counts as having stood still: the process was stopped, the
// machine slept or was overloaded, or a callback took that long.
const standstill = 1e9

// timersWait is how long full batches of events may delay timers, in nanoseconds.
const timersWait = 1e9

// note records the time, which should not be later than was said before, and until when it should be noted again;
// 0 means any time. Each turn notes its beginning and its end, and each sleep its beginning: a process can be stopped
// anywhere, also in the middle of a turn.
func (l *Loop) note(now, due int64) {
	if l.planned != 0 && now-l.planned > standstill {
		l.woke = now
	}
	l.planned = due
}

// Woke returns the time, on the clock of Now, at which the loop continued after it had stood still, or 0 if it never
// has. A peer must not be blamed for silence before that, because the loop could not notice what it sent.
func (l *Loop) Woke() int64 { return l.woke }

// timersMay reports whether timers may fire in this turn. After a full batch of events, the kernel has more of them.
// What the peers have sent is read first, or they would be considered silent while their bytes wait.
func (l *Loop) timersMay() bool {
	if l.events < l.opt.MaxEvents {
		l.full = 0
		return true
	}
	if l.full == 0 {
		l.full = l.now
	}
	return l.now-l.full >= timersWait
}
