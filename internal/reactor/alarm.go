package reactor

// Alarm calls a function on the loop at a given time. It is for rare, regular work.
//
// A timer of the runtime would do the same, but in an idle process it would cost more than the work: the runtime's
// monitor wakes at the time of the earliest timer and checks every 20 us whether it has fired, while epoll_wait may end
// late by a thousandth of its timeout, which is 10 ms after 10 s.
type Alarm struct {
	f     func()
	at    int64 // on the clock of Monotonic; 0 means never
	early int64 // how many nanoseconds it may fire early if another alarm fires
}

// NewAlarm returns an alarm that is not set. It lasts as long as the loop.
func (l *Loop) NewAlarm(f func()) *Alarm {
	a := &Alarm{f: f}
	l.alarms = append(l.alarms, a)
	return a
}

// Set schedules one call of the function, instead of the one scheduled before, for when the clock of Now reaches at. 0
// cancels it. The call may come up to early nanoseconds before at if the loop wakes for another alarm, so that regular
// alarms come to share their wake-ups.
func (a *Alarm) Set(at, early int64) { a.at, a.early = at, early }

// ring calls the functions of the alarms that are due.
func (l *Loop) ring() {
	due := false
	for _, a := range l.alarms {
		due = due || a.at != 0 && a.at <= l.now
	}
	if !due {
		return
	}
	for _, a := range l.alarms {
		if a.at != 0 && a.at-a.early <= l.now {
			a.at = 0
			a.f()
		}
	}
}

// firstAlarm returns the earliest time of an alarm. It reports false if none is set.
func (l *Loop) firstAlarm() (at int64, set bool) {
	for _, a := range l.alarms {
		if a.at != 0 && (!set || a.at < at) {
			at, set = a.at, true
		}
	}
	return at, set
}
