//go:build !linux

package loadtest

import (
	"time"

	"github.com/expedite-go/expedite/internal/reactor"
)

// alarm wakes the loop at a given time.
type alarm struct {
	key   reactor.Key // always zero, which is no socket's key
	timer *time.Timer
	at    int64
}

func newAlarm(l *reactor.Loop) (*alarm, error) {
	a := &alarm{timer: time.AfterFunc(time.Hour, l.Wake)}
	a.timer.Stop()
	return a, nil
}

// set replaces the time of the wake-up; at is on the clock of reactor.Monotonic.
func (a *alarm) set(at int64) {
	if at == a.at {
		return
	}
	a.at = at
	a.timer.Reset(time.Duration(at - reactor.Monotonic()))
}

func (a *alarm) close(*reactor.Loop) { a.timer.Stop() }
