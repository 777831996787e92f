package reactor

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// sealedConn is a sealed socket that is not on a loop: net/http has it. Unlike those of crypto/tls, its writes go on
// after a deadline.
type sealedConn struct {
	raw     net.Conn
	sealed  *sealed
	reading sync.Mutex // held by Read, under which Close must not erase the keys

	arriving, leaving atomic.Int64 // bytes that sealed holds, for others
}

// Held returns how many bytes of records a connection of Detach holds, of those that Loop.Sealed counts. It is safe for
// concurrent use.
func Held(conn net.Conn) (arriving, leaving int64) {
	if c, ok := conn.(*sealedConn); ok {
		return c.arriving.Load(), c.leaving.Load()
	}
	return 0, 0
}

func newSealedConn(raw net.Conn, t *sealed) *sealedConn {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := &sealedConn{raw: raw, sealed: t}
	c.arriving.Store(int64(len(t.part()) + len(t.plain())))
	c.leaving.Store(int64(len(t.rest())))
	t.off, t.fd = c, -1
	return c
}

// Read implements net.Conn.
func (c *sealedConn) Read(p []byte) (int, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	t := c.sealed
	note := func() { c.arriving.Store(int64(len(t.part()) + len(t.plain()))) }
	defer note()
	for {
		note()
		if n := t.take(p); n > 0 || len(p) == 0 {
			return n, nil
		}
		if t.end() != nil {
			return 0, t.end()
		}
		buf := t.loop.takeSealed()
		had := copy(*buf, t.part())
		got, err := c.raw.Read((*buf)[had:])
		n, rest := t.open(p, 0, (*buf)[:had+got])
		t.keep(rest)
		t.loop.giveSealed(buf)
		switch {
		case errors.Is(err, io.EOF):
			t.cut()
		case errors.Is(err, os.ErrDeadlineExceeded) && n == 0:
			return 0, err
		case err != nil && !errors.Is(err, os.ErrDeadlineExceeded) && t.end() == nil:
			t.setEnd(err)
		}
		if n > 0 {
			return n, nil
		}
	}
}

// Unacknowledged returns the number of bytes that a connection has taken, and that the system of its peer has not
// acknowledged: with TLS, bytes of records. It is 0 for a Unix socket, and where it is not known.
func Unacknowledged(c net.Conn) int {
	if s, ok := c.(*sealedConn); ok {
		s.sealed.mu.Lock()
		defer s.sealed.mu.Unlock()
		return len(s.sealed.rest()) + connUnacknowledged(s.raw)
	}
	return connUnacknowledged(c)
}

// Write implements net.Conn.
func (c *sealedConn) Write(p []byte) (int, error) {
	n, err := c.sealed.write(p)
	c.leaving.Store(int64(c.sealed.unsent()))
	return n, err
}

// CloseWrite sends close_notify, and closes the sending side.
func (c *sealedConn) CloseWrite() error { return c.sealed.closeWrite() }

// Close sends close_notify, if it can be sent soon, and closes the connection. Other goroutines may read and write it.
func (c *sealedConn) Close() error {
	_ = c.raw.SetWriteDeadline(time.Now().Add(pumpLinger))
	err := c.sealed.leave() // ends Read
	c.reading.Lock()
	defer c.reading.Unlock()
	c.sealed.forget()
	return err
}

// ConnectionState returns what the handshake has agreed on.
func (c *sealedConn) ConnectionState() tls.ConnectionState {
	if c.sealed.about() == nil {
		return tls.ConnectionState{}
	}
	return *c.sealed.about()
}

// LocalAddr implements net.Conn.
func (c *sealedConn) LocalAddr() net.Addr { return c.raw.LocalAddr() }

// RemoteAddr implements net.Conn.
func (c *sealedConn) RemoteAddr() net.Addr { return c.raw.RemoteAddr() }

// SetDeadline implements net.Conn.
func (c *sealedConn) SetDeadline(t time.Time) error { return c.raw.SetDeadline(t) }

// SetReadDeadline implements net.Conn.
func (c *sealedConn) SetReadDeadline(t time.Time) error { return c.raw.SetReadDeadline(t) }

// SetWriteDeadline implements net.Conn.
func (c *sealedConn) SetWriteDeadline(t time.Time) error { return c.raw.SetWriteDeadline(t) }

var _ net.Conn = (*sealedConn)(nil)
