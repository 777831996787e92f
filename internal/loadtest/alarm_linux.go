package loadtest

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/expedite-go/expedite/internal/reactor"
)

// alarm wakes the loop at a given time, precise to some microseconds. It is a timerfd on the loop, because the loop
// itself waits in whole milliseconds.
type alarm struct {
	key  reactor.Key
	sock reactor.Socket
	at   int64
}

func newAlarm(l *reactor.Loop) (*alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("loadtest: %w", os.NewSyscallError("timerfd_create", err))
	}
	k, s, err := l.Attach(fd)
	return &alarm{key: k, sock: s}, err
}

// set replaces the time of the wake-up; at is on the clock of reactor.Monotonic. Nothing has to read the timerfd: the
// poller is edge-triggered, and each expiration is an edge.
func (a *alarm) set(at int64) {
	if at == a.at {
		return
	}
	a.at = at
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(max(at, 1))} // 0 would disarm the timer
	_ = unix.TimerfdSettime(a.sock.FD(), unix.TFD_TIMER_ABSTIME, &spec, nil)
}

func (a *alarm) close(l *reactor.Loop) { l.Close(a.key, a.sock) }
