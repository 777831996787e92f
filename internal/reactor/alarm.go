package reactor

// Alarm calls a function on the loop when its time has come. It is for what happens seldom and regularly.
//
// A timer of the runtime would do, but in a process that sleeps it costs more than what it is for: the runtime's
// monitor wakes at the time of the earliest timer and looks every 20 us whether it has fired, while epoll_wait may end
// a thousandth of its time later, which is 10 ms after 10 s.
type Alarm struct {
	f     func()
	at    int64 // on the clock of Monotonic; 0 is never
	early int64 // nanoseconds that it may be early if another alarm goes off
}

// NewAlarm makes an alarm that is not set yet. It lasts as long as the loop does.
func (l *Loop) NewAlarm(f func()) *Alarm {
	a := &Alarm{f: f}
	l.alarms = append(l.alarms, a)
	return a
}

// Set has the function called once when the clock of Now has reached at, instead of when it would have been; 0 is
// never. It may be called up to early nanoseconds before, if the loop wakes for another alarm: those that are regular
// come to share their wakes.
func (a *Alarm) Set(at, early int64) { a.at, a.early = at, early }

// ring calls the functions of the alarms whose time has come.
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

// firstAlarm is the earliest time of the alarms; false is that none is set.
func (l *Loop) firstAlarm() (at int64, set bool) {
	for _, a := range l.alarms {
		if a.at != 0 && (!set || a.at < at) {
			at, set = a.at, true
		}
	}
	return at, set
}
