package reactor

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// shakeConn is the descriptor of a socket during its handshake. A goroutine reads and writes it as a [net.Conn], while
// it stays on the loop, whose events end its waits. So a handshake does not take the socket from the poller to that of
// the runtime and back, which took fifteen system calls.
//
// It is either taken, when the loop reads and writes the records, or settles: it becomes a connection of the standard
// library, for connections that crypto/tls keeps.
type shakeConn struct {
	readable, writable chan struct{} // an event that was not used, or a change of conn or left
	hung               bool          // there was a Hangup; on the loop only

	mu    sync.Mutex // guards the rest, also while a system call that does not block uses fd
	fd    int        // -1: closed, taken or settled
	conn  net.Conn   // after settle
	short bool       // the last read took all that was there
	left  bool       // the socket has left the loop: there are no events
}

func newShakeConn(fd int) *shakeConn {
	return &shakeConn{readable: make(chan struct{}, 1), writable: make(chan struct{}, 1), fd: fd}
}

// ready passes events on. On the loop.
func (c *shakeConn) ready(ev Events) {
	c.hung = c.hung || ev&Hangup != 0
	if ev&(Readable|Hangup) != 0 {
		signal(c.readable)
	}
	if ev&(Writable|Hangup) != 0 {
		signal(c.writable)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// leave ends waits for events: there will be none.
func (c *shakeConn) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left = true
	c.changed()
}

// changed ends waits.
func (c *shakeConn) changed() {
	signal(c.readable)
	signal(c.writable)
}

// Read implements net.Conn.
func (c *shakeConn) Read(p []byte) (int, error) {
	return c.retry(c.readable, func() (int, error) {
		n, err := fdRead(c.fd, p)
		c.short = n < len(p)
		return n, opError("read", err)
	}, func() (int, error) { return c.conn.Read(p) })
}

// opError makes an error of the system what it is in the standard library, for those who tell it from errors of TLS.
func opError(op string, err error) error {
	if _, system := errors.AsType[*os.SyscallError](err); system {
		return &net.OpError{Op: op, Net: "tcp", Err: err}
	}
	return err
}

// Write implements net.Conn.
func (c *shakeConn) Write(p []byte) (n int, err error) {
	for {
		m, err := c.retry(c.writable, func() (int, error) {
			m, err := fdWrite(c.fd, p[n:])
			return m, opError("write", err)
		}, func() (int, error) { return c.conn.Write(p[n:]) })
		if n += m; err != nil || n == len(p) {
			return n, err
		}
	}
}

// retry calls try, and again after each event while it returns ErrAgain. Once c has settled, it calls settled instead.
func (c *shakeConn) retry(event chan struct{}, try, settled func() (int, error)) (int, error) {
	for {
		c.mu.Lock()
		select {
		case <-event: // what it tells is there before try
		default:
		}
		if c.conn != nil {
			c.mu.Unlock()
			return settled()
		}
		n, err := 0, net.ErrClosed
		if c.fd >= 0 {
			n, err = try()
		}
		left := c.left
		c.mu.Unlock()
		switch {
		case !errors.Is(err, ErrAgain):
			return n, err
		case left:
			return 0, net.ErrClosed
		}
		<-event
	}
}

// take returns the descriptor, which c forgets, and what the poller has told of it, or may have, and nobody has used.
// On the loop.
func (c *shakeConn) take() (fd int, ev Events) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fd, c.fd = c.fd, -1
	if !c.short || len(c.readable) > 0 {
		ev |= Readable
	}
	if c.hung {
		ev |= Readable | Hangup
	}
	return fd, ev
}

// settle makes a connection of the standard library of c, which has left the poller.
func (c *shakeConn) settle() (err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fd < 0 {
		return net.ErrClosed
	}
	c.conn, err = fdConn(c.fd)
	c.fd = -1
	c.changed()
	return err
}

// Close implements net.Conn.
func (c *shakeConn) Close() error {
	c.leave()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil {
		return c.conn.Close()
	}
	fd := c.fd
	if c.fd = -1; fd < 0 {
		return net.ErrClosed
	}
	return fdClose(fd)
}

// NetConn returns the connection of the standard library, or nil if there is none yet.
func (c *shakeConn) NetConn() net.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conn
}

// LocalAddr implements net.Conn.
func (c *shakeConn) LocalAddr() net.Addr { return c.addr(false) }

// RemoteAddr implements net.Conn.
func (c *shakeConn) RemoteAddr() net.Addr { return c.addr(true) }

func (c *shakeConn) addr(peer bool) net.Addr {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.conn != nil && peer:
		return c.conn.RemoteAddr()
	case c.conn != nil:
		return c.conn.LocalAddr()
	}
	return fdAddr(c.fd, peer)
}

// SetDeadline implements net.Conn. There are none during a handshake: it ends with Close, or when the socket leaves the
// loop.
func (c *shakeConn) SetDeadline(t time.Time) error {
	return c.deadline(func(conn net.Conn) error { return conn.SetDeadline(t) })
}

// SetReadDeadline implements net.Conn, as SetDeadline.
func (c *shakeConn) SetReadDeadline(t time.Time) error {
	return c.deadline(func(conn net.Conn) error { return conn.SetReadDeadline(t) })
}

// SetWriteDeadline implements net.Conn, as SetDeadline.
func (c *shakeConn) SetWriteDeadline(t time.Time) error {
	return c.deadline(func(conn net.Conn) error { return conn.SetWriteDeadline(t) })
}

func (c *shakeConn) deadline(set func(net.Conn) error) error {
	if conn := c.NetConn(); conn != nil {
		return set(conn)
	}
	return os.ErrNoDeadline
}

// CloseWrite closes the sending side.
func (c *shakeConn) CloseWrite() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.conn != nil:
		return endWrite(c.conn)
	case c.fd < 0:
		return net.ErrClosed
	}
	return fdCloseWrite(c.fd)
}

var (
	_ net.Conn    = (*shakeConn)(nil)
	_ writeCloser = (*shakeConn)(nil)
)
