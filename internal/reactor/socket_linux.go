package reactor

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// AddFD adds a connected stream socket to the loop. The loop owns it even if there is an error, and then closes it. The
// returned address is the peer's, or the zero value if it is not an IP address.
func (l *Loop) AddFD(fd int) (Key, Socket, netip.AddrPort, error) {
	peer, err := unix.Getpeername(fd)
	if err != nil {
		_ = unix.Close(fd)
		return Key{}, Socket{}, netip.AddrPort{}, fmt.Errorf("reactor: %w", os.NewSyscallError("getpeername", err))
	}
	// The loop collects what it writes, so Nagle's algorithm would only delay it. A Unix socket refuses this option.
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	k, s, err := l.Attach(fd)
	return k, s, sockAddrPort(peer), err
}

// Attach is AddFD for a socket that was on a loop before. It does not ask for the address of the peer, which may have
// left meanwhile. What has happened to the socket since then is reported as an event.
func (l *Loop) Attach(fd int) (Key, Socket, error) {
	if l.opt.Portable {
		return l.addFDPump(fd)
	}
	k, err := l.admit(fd)
	if err != nil {
		_ = unix.Close(fd)
		return Key{}, Socket{}, err
	}
	if err := l.poller.add(fd, k); err != nil {
		l.keys.give(k)
		l.count.sockets.Add(-1)
		_ = unix.Close(fd)
		return Key{}, Socket{}, fmt.Errorf("reactor: %w", err)
	}
	return k, Socket{num: int32(fd) + 1}, nil
}

// Reattach adds c, a connection returned by Detach, as a descriptor in the poller. If that is not possible, it reports
// false, and c still belongs to the caller.
func (l *Loop) Reattach(c net.Conn) (Key, Socket, bool) {
	raw, t := c, (*sealed)(nil)
	if tls, ok := c.(*sealedConn); ok {
		raw, t = tls.raw, tls.sealed
	}
	if l.opt.Portable {
		return Key{}, Socket{}, false
	}
	fd, err := takeFD(raw)
	if err != nil {
		return Key{}, Socket{}, false
	}
	k, s, err := l.Attach(fd)
	if err != nil {
		return Key{}, Socket{}, false
	}
	if t != nil {
		s = l.seal(k, fd, t)
	}
	return k, s, true
}

// takeFD returns a descriptor of its own for c, and closes c. If there is an error, c stays open.
func takeFD(c net.Conn) (fd int, err error) {
	switch c.(type) {
	case *net.TCPConn, *net.UnixConn:
	default:
		return -1, fmt.Errorf("reactor: a %T has no descriptor", c)
	}
	fd, err = duplicate(c.(syscall.Conn))
	if err == nil {
		_ = c.Close()
	}
	return fd, err
}

func (l *Loop) addFDPump(fd int) (Key, Socket, error) {
	c, err := fdConn(fd)
	if err != nil {
		return Key{}, Socket{}, err
	}
	k, s, err := l.AddConn(c)
	if err != nil {
		_ = c.Close()
	}
	return k, s, err
}

func sockAddrPort(sa unix.Sockaddr) netip.AddrPort {
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port))
	default:
		return netip.AddrPort{}
	}
}

// fdAddr returns the address of a socket, or that of its peer. It is empty if there is none.
func fdAddr(fd int, peer bool) net.Addr {
	ask := unix.Getsockname
	if peer {
		ask = unix.Getpeername
	}
	sa, _ := ask(fd)
	if at := sockAddrPort(sa); at.IsValid() {
		return net.TCPAddrFromAddrPort(at)
	}
	return &net.UnixAddr{Net: "unix"}
}

func fdRead(fd int, p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if n, errno := rawRead(fd, p); errno != unix.EINTR {
			return received(n, errno)
		}
	}
}

func fdWrite(fd int, p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if n, errno := rawWrite(fd, p); errno != unix.EINTR {
			return sent(n, errno)
		}
	}
}

func fdWritev(fd int, bufs [][]byte) (int, error) {
	for {
		if n, errno := rawWritev(fd, bufs); errno != unix.EINTR {
			return sent(n, errno)
		}
	}
}

func fdUnacknowledged(fd int) int {
	n, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ)
	if err != nil || n == 0 {
		return 0
	}
	// Of a Unix socket it is the memory of what the peer has not read, which is more than its bytes.
	if domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN); err != nil || domain == unix.AF_UNIX {
		return 0
	}
	return n
}

// connUnacknowledged is fdUnacknowledged for the socket under a connection.
func connUnacknowledged(c net.Conn) (n int) {
	for {
		upper, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		c = upper.NetConn()
	}
	socket, ok := c.(syscall.Conn)
	if !ok {
		return 0
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) { n = fdUnacknowledged(int(fd)) }) // 0 if it is closed
	return n
}

func fdAbandon(fd int) {
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
}

func received(n int, errno unix.Errno) (int, error) {
	switch {
	case errno == unix.EAGAIN:
		return 0, ErrAgain
	case errno != 0:
		return 0, os.NewSyscallError("recv", errno)
	case n == 0:
		return 0, io.EOF
	default:
		return n, nil
	}
}

func sent(n int, errno unix.Errno) (int, error) {
	switch errno {
	case 0:
		return n, nil
	case unix.EAGAIN:
		return 0, ErrAgain
	default:
		return 0, os.NewSyscallError("send", errno)
	}
}

func fdCloseWrite(fd int) error {
	return os.NewSyscallError("shutdown", unix.Shutdown(fd, unix.SHUT_WR))
}

func fdClose(fd int) error { return os.NewSyscallError("close", unix.Close(fd)) }

// fdConn converts a descriptor into a connection. It closes the descriptor in any case.
func fdConn(fd int) (net.Conn, error) {
	f := os.NewFile(uintptr(fd), "socket")
	if f == nil {
		return nil, fmt.Errorf("reactor: descriptor %d: %w", fd, os.ErrInvalid)
	}
	probes, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE) // a Unix socket has none either
	c, err := net.FileConn(f)
	if err = errors.Join(err, f.Close()); err != nil {
		if c != nil {
			_ = c.Close()
		}
		return nil, fmt.Errorf("reactor: %w", err)
	}
	// FileConn makes the system probe the peer every 15 seconds, which the option of the descriptor outlives: many idle
	// connections would cost as much as busy ones, and end where probes are lost.
	if t, ok := c.(*net.TCPConn); ok && probes == 0 {
		_ = t.SetKeepAlive(false) // if it fails, the connection has
	}
	return c, nil
}
