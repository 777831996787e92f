package reactor_test

import (
	"net"
	"time"

	"golang.org/x/sys/unix"

	"github.com/expedite-go/expedite/internal/reactor"
)

// platformKinds are the kinds that only this platform has.
func platformKinds() []kind {
	return []kind{
		{"epoll", reactor.Options{Tick: time.Millisecond}, addFD, nil},
		{"epoll, visible", reactor.Options{Tick: time.Millisecond, Wait: reactor.WaitVisible}, addFD, nil},
		{"epoll, parked", reactor.Options{Tick: time.Millisecond, Wait: reactor.WaitParked}, addFD, nil},
		{"epoll, raw", reactor.Options{Tick: time.Millisecond, Wait: reactor.WaitRaw}, addFD, nil},
		{"descriptor in a pump", reactor.Options{Tick: time.Millisecond, Portable: true}, addFD, nil},
		sealedKind(),
	}
}

func addFD(l *reactor.Loop, c *net.TCPConn) (reactor.Key, reactor.Socket, error) {
	fd, err := takeFD(c)
	if err != nil {
		return reactor.Key{}, reactor.Socket{}, err
	}
	k, s, _, err := l.AddFD(fd)
	return k, s, err
}

// takeFD returns a descriptor of its own for c, and closes c.
func takeFD(c *net.TCPConn) (fd int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return -1, err
	}
	var dupErr error
	if err := raw.Control(func(old uintptr) { fd, dupErr = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return -1, err
	}
	_ = c.Close()
	return fd, dupErr
}
