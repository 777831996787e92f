package control

import (
	"context"
	"os"

	"golang.org/x/sys/unix"
)

// exitPoll is the time between two looks at the context while waiting for an exit.
const exitPoll = 50 // milliseconds

// exit waits for the end of a process. The zero value waits for nothing.
type exit struct {
	fd    int
	known bool
}

// watchExit opens a process, so that its pid cannot be reused for another one meanwhile. It returns the zero value for
// pid 0, for this process, and if the process cannot be opened.
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

// wait blocks until the process or ctx ends.
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

// close releases the process.
func (e exit) close() {
	if e.known {
		_ = unix.Close(e.fd)
	}
}
