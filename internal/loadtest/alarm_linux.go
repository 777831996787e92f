package loadtest

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/expedite-go/expedite/internal/reactor"
)

// alarm wakes the loop at a time, to within some microseconds: a timer of the kernel on the loop, which itself waits in
// milliseconds.
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

// set asks for a wake at a time on the clock of reactor.Monotonic, instead of the one that was asked for. It need not
// be read: the loop's events are edges, and each expiry is one.
func (a *alarm) set(at int64) {
	if at == a.at {
		return
	}
	a.at = at
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(max(at, 1))} // 0 would be never
	_ = unix.TimerfdSettime(a.sock.FD(), unix.TFD_TIMER_ABSTIME, &spec, nil)
}

func (a *alarm) close(l *reactor.Loop) { l.Close(a.key, a.sock) }
