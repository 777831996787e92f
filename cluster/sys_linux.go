package cluster

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Supported says whether this platform has worker processes.
const Supported = true

// processAttributes gives a worker a process group of its own: what a terminal sends, the primary gets, and decides.
func processAttributes(c *Credential) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setpgid: true}
	if c != nil {
		a.Credential = &syscall.Credential{Uid: c.UID, Gid: c.GID, Groups: c.Groups}
	}
	return a
}

// reusePort lets several sockets listen on one port.
func reusePort(_, _ string, c syscall.RawConn) error {
	var optErr error
	err := c.Control(func(fd uintptr) {
		optErr = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	})
	return errors.Join(err, optErr)
}

// acceptBatch waits until there is something to accept and takes up to max sockets, non-blocking and close-on-exec. It
// ends early with an error when the deadline of ln has passed or ln is closed.
func acceptBatch(ln *os.File, max int) (fds []int, err error) {
	raw, err := ln.SyscallConn()
	if err != nil {
		return nil, err
	}
	var acceptErr error
	err = raw.Read(func(s uintptr) bool {
		for len(fds) < max {
			fd, _, err := unix.Accept4(int(s), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
			switch {
			case err == nil:
				fds = append(fds, fd)
			case errors.Is(err, unix.EINTR), errors.Is(err, unix.ECONNABORTED):
			case errors.Is(err, unix.EAGAIN):
				return len(fds) > 0
			default:
				acceptErr = err
				return true
			}
		}
		return true
	})
	return fds, errors.Join(err, acceptErr)
}

// dupFD is a second descriptor, close-on-exec, of what fd is one of.
func dupFD(fd int) (int, error) {
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	return n, os.NewSyscallError("fcntl", err)
}

func closeFD(fd int) { _ = unix.Close(fd) }

// areSockets says whether all descriptors are sockets.
func areSockets(fds []int) bool {
	for _, fd := range fds {
		if _, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE); err != nil {
			return false
		}
	}
	return true
}
