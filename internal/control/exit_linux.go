package control

import (
	"context"
	"os"

	"golang.org/x/sys/unix"
)

// exitPoll is how often, in milliseconds, a wait for an exit looks at its context.
const exitPoll = 50

// exit tells when a process ends. The zero value waits for nothing.
type exit struct {
	fd    int
	known bool
}

// watchExit holds on to a process, so that its number cannot come to mean another. Pid 0, ourselves, or a process that
// cannot be held: the zero value.
func watchExit(pid int) exit {
	if pid <= 0 || pid == os.Getpid() {
		return exit{}
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return exit{}
	}
	return exit{fd: fd, known: true}
}

// wait returns when the process has ended, or ctx has.
func (e exit) wait(ctx context.Context) {
	if !e.known {
		return
	}
	fds := []unix.PollFd{{Fd: int32(e.fd), Events: unix.POLLIN}}
	for ctx.Err() == nil {
		n, err := unix.Poll(fds, exitPoll)
		if n > 0 || (err != nil && err != unix.EINTR) {
			return
		}
	}
}

// close lets go of the process.
func (e exit) close() {
	if e.known {
		_ = unix.Close(e.fd)
	}
}
