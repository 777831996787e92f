package reactor

import (
	"fmt"
	"math"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// acceptsPerTurn is how many sockets a listener accepts per turn, so that a burst of new clients does not delay the
// others. The rest is reported again, because listeners are level triggered.
const acceptsPerTurn = 64

// fdAcceptor accepts from a duplicate of a listener's descriptor in the loop's own poller.
type fdAcceptor struct {
	li   *Listener
	poll *epoll
	fd   int
	on   bool
}

// newAcceptor chooses how to accept from ln.
func newAcceptor(li *Listener, ln net.Listener) (acceptor, error) {
	poll, ok := li.loop.poller.(*epoll)
	if !ok {
		return newConnAcceptor(li, ln), nil
	}
	var raw syscall.Conn
	switch ln := ln.(type) {
	case *net.TCPListener:
		raw = ln
	case *net.UnixListener:
		raw = ln
	default:
		return newConnAcceptor(li, ln), nil // its Accept may do more, such as TLS, which would be lost on a descriptor
	}
	fd, err := duplicate(raw)
	if err != nil {
		return nil, err
	}
	// Accepted sockets inherit this option, which saves a call for each. A Unix socket refuses it.
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	return &fdAcceptor{li: li, poll: poll, fd: fd}, nil
}

func duplicate(c syscall.Conn) (int, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return -1, fmt.Errorf("descriptor: %w", err)
	}
	fd := -1
	var dupErr error
	if err := raw.Control(func(old uintptr) { fd, dupErr = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return -1, fmt.Errorf("descriptor: %w", err)
	}
	return fd, os.NewSyscallError("fcntl", dupErr)
}

func (a *fdAcceptor) resume() error {
	if a.on {
		return nil
	}
	// Exclusive wakes only one of the processes that share the listener.
	err := a.poll.register(a.fd, unix.EPOLLIN|unix.EPOLLEXCLUSIVE, Key{Index: listenerIndex + uint32(a.li.index)})
	a.on = err == nil
	return err
}

func (a *fdAcceptor) pause() {
	if a.on {
		a.on = false
		_ = a.poll.remove(a.fd)
	}
}

func (a *fdAcceptor) close() {
	a.pause()
	_ = unix.Close(a.fd)
}

// ready accepts what waits, up to a limit. The callback may pause or stop the listener.
func (a *fdAcceptor) ready() { a.acceptSome(acceptsPerTurn) }

// drain accepts all that waits: the kernel's queue is limited.
func (a *fdAcceptor) drain() { a.acceptSome(math.MaxInt) }

func (a *fdAcceptor) acceptSome(limit int) {
	l := a.li.loop
	for range limit {
		if !a.on {
			return
		}
		fd, peer, err := unix.Accept4(a.fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		switch err {
		case nil:
			l.count.accepted.Add(1)
			a.took(fd, peer)
		case unix.EAGAIN:
			return
		case unix.EINTR, unix.ECONNABORTED:
		default:
			l.count.acceptErrors.Add(1)
			a.li.backOff()
			return
		}
	}
}

func (a *fdAcceptor) took(fd int, peer unix.Sockaddr) {
	k, s, err := a.li.loop.Attach(fd)
	if err != nil {
		a.li.loop.count.acceptErrors.Add(1)
		return
	}
	a.li.accept(k, s, sockAddrPort(peer))
}

var _ acceptor = (*fdAcceptor)(nil)
