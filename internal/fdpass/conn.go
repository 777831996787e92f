package fdpass

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// readAhead is the size of the read buffer, which grows for larger frames.
const readAhead = 64 << 10

// Conn is one end of a connection. Use NewConn to make one: the zero value is not valid.
type Conn struct {
	uc    *net.UnixConn
	limit int

	buf   []byte // buf[start:end] was read and is not parsed yet
	start int
	end   int
	oob   []byte
	sent  []batch // descriptors received, in the order of their frames
}

// batch holds the descriptors that one system call received.
type batch struct{ fds []int }

// NewConn returns a Conn for f, which must be a Unix stream socket. It closes f and uses a duplicate. limit is the
// longest payload that Read accepts, in bytes.
func NewConn(f *os.File, limit int) (*Conn, error) {
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("fdpass: %w", err)
	}
	uc, ok := c.(*net.UnixConn)
	if !ok {
		_ = c.Close()
		return nil, fmt.Errorf("fdpass: %T is not a Unix socket", c)
	}
	return &Conn{uc: uc, limit: limit, buf: make([]byte, readAhead), oob: make([]byte, oobSpace())}, nil
}

// Read blocks until the next frame. It returns io.EOF if the peer has closed its end after a complete frame,
// io.ErrUnexpectedEOF if it has closed it within a frame, and os.ErrDeadlineExceeded if Pause was called. After any
// other error the connection cannot be used any more; descriptors of incomplete frames are closed.
func (c *Conn) Read() (Frame, error) {
	f, err := c.next()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return Frame{}, err
	}
	if err != nil {
		for _, b := range c.sent {
			closeAll(b.fds)
		}
		c.sent = nil
		return Frame{}, err
	}
	return f, nil
}

func (c *Conn) next() (Frame, error) {
	for {
		f, fds, n, need, err := parseFrame(c.buf[c.start:c.end], c.limit)
		if err != nil {
			return Frame{}, err
		}
		if n > 0 {
			c.start += n
			if fds > 0 {
				err = c.claim(&f, fds)
			}
			return f, err
		}
		if c.start == c.end && len(c.sent) > 0 { // the descriptors of a frame arrive with its first byte, never before
			return Frame{}, fmt.Errorf("%w: descriptors that no frame announced", ErrFrame)
		}
		err = c.fill(need)
		if errors.Is(err, io.EOF) && c.start < c.end {
			return Frame{}, io.ErrUnexpectedEOF
		}
		if err != nil {
			return Frame{}, err
		}
	}
}

// claim assigns a frame the descriptors that were received with it.
func (c *Conn) claim(f *Frame, n int) error {
	if len(c.sent) == 0 {
		return fmt.Errorf("%w: %d descriptors announced, none received", ErrFrame, n)
	}
	if came := len(c.sent[0].fds); came > n {
		return fmt.Errorf("%w: %d descriptors announced, %d received", ErrFrame, n, came)
	}
	f.FDs, c.sent = c.sent[0].fds, c.sent[1:]
	f.Lost = n - len(f.FDs)
	return nil
}

// fill reads more bytes, into a buffer that has room for a frame of need bytes.
func (c *Conn) fill(need int) error {
	if c.start == c.end {
		c.start, c.end = 0, 0
		if len(c.buf) > readAhead && need <= readAhead {
			c.buf = make([]byte, readAhead) // drop the buffer of a large frame
		}
	}
	if len(c.buf)-c.start < need || c.end == len(c.buf) {
		to := c.buf
		if len(c.buf) < need {
			to = make([]byte, need)
		}
		c.end = copy(to, c.buf[c.start:c.end])
		c.buf, c.start = to, 0
	}
	n, fds, lost, err := c.receive(c.buf[c.end:])
	if len(fds) > 0 || lost {
		c.sent = append(c.sent, batch{fds})
	}
	c.end += max(n, 0) // n may be -1 with an error
	return err
}

// Write sends frames that AppendFrame has made.
func (c *Conn) Write(frames []byte) error {
	if _, err := c.uc.Write(frames); err != nil {
		return fmt.Errorf("fdpass: %w", err)
	}
	return nil
}

// WriteFDs sends one frame that AppendFrame has made together with its descriptors, at most MaxFDs. They stay open.
func (c *Conn) WriteFDs(frame []byte, fds []int) error {
	n, err := c.send(frame, fds)
	if err != nil {
		return fmt.Errorf("fdpass: %w", err)
	}
	if n < len(frame) {
		return c.Write(frame[n:])
	}
	return nil
}

// Pause interrupts a Read that waits, and each later one that would have to wait, until Resume. It is safe for
// concurrent use.
func (c *Conn) Pause() error { return c.uc.SetReadDeadline(time.Unix(1, 0)) }

// Resume ends Pause.
func (c *Conn) Resume() error { return c.uc.SetReadDeadline(time.Time{}) }

// Rest returns the bytes that were read and do not form a complete frame, with the descriptors that were received with
// them, a list for each system call. The connection still owns the descriptors. It must be paused.
func (c *Conn) Rest() (b []byte, fds [][]int) {
	for _, s := range c.sent {
		fds = append(fds, s.fds)
	}
	return c.buf[c.start:c.end], fds
}

// Restore makes a new Conn continue where another one for the same socket has stopped: b and fds are the result of
// Rest. The connection takes over the descriptors. Restore must be called before the first Read.
func (c *Conn) Restore(b []byte, fds [][]int) {
	c.buf = append(make([]byte, 0, max(len(b), readAhead)), b...)
	c.end = len(b)
	c.buf = c.buf[:cap(c.buf)]
	for _, list := range fds {
		c.sent = append(c.sent, batch{list})
	}
}

// SyscallConn returns the underlying socket.
func (c *Conn) SyscallConn() (syscall.RawConn, error) { return c.uc.SyscallConn() }

// CloseWrite shuts down the sending direction.
func (c *Conn) CloseWrite() error { return c.uc.CloseWrite() }

// Close closes the connection and interrupts a Read or Write that waits. It is safe for concurrent use.
func (c *Conn) Close() error { return c.uc.Close() }
