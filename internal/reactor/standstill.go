package reactor

// standstill is the lateness, in nanoseconds, from which a loop counts as having stood still: the process was stopped,
// the machine slept or had no time for it, or a callback took that long.
const standstill = 1e9

// timersWait bounds the time, in nanoseconds, for which full batches of events hold timers back.
const timersWait = 1e9

// note takes note of the time of a turn, which should have begun at planned, or sooner.
func (l *Loop) note(now int64) {
	if l.planned != 0 && now-l.planned > standstill {
		l.woke = now
	}
	l.now = now
}

// Woke returns the time at which the loop went on after it had stood still, on the clock of Now; 0 if it never has.
// What a peer has not done before that is not its fault: nobody would have noticed.
func (l *Loop) Woke() int64 { return l.woke }

// timersMay reports whether timers may fire in this turn. After a full batch of events the kernel has more: what the
// peers have sent is read first, or they would be found silent while their bytes wait.
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
