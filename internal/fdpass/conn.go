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

// readAhead is the size of the buffer of a Conn that has seen no larger frame.
const readAhead = 64 << 10

// Conn is one end of a connection. Make it with NewConn: the zero value is of no use.
type Conn struct {
	uc    *net.UnixConn
	limit int

	buf   []byte // what was read and is not parsed is buf[start:end]
	start int
	end   int
	oob   []byte
	sent  []batch // descriptors received, in the order of their frames
}

// batch is what one system call brought.
type batch struct{ fds []int }

// NewConn makes a Conn of f, which must be a Unix stream socket and is closed. limit is the longest payload that is
// received, in bytes.
func NewConn(f *os.File, limit int) (*Conn, error) {
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("fdpass: %w", err)
	}
	uc, ok := c.(*net.UnixConn)
	if !ok {
		_ = c.Close()
		return nil, fmt.Errorf("fdpass: %T is no Unix socket", c)
	}
	return &Conn{uc: uc, limit: limit, buf: make([]byte, readAhead), oob: make([]byte, oobSpace())}, nil
}

// Read waits for the next frame. io.EOF says that the peer has closed its end after a whole frame, io.ErrUnexpectedEOF
// that it did so within one, os.ErrDeadlineExceeded that Pause was called. After any other error the connection is of
// no further use, and descriptors that came for no frame are closed.
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
		if c.start == c.end && len(c.sent) > 0 { // a frame's descriptors come with its first byte, never before
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

// claim gives a frame the descriptors that came with it.
func (c *Conn) claim(f *Frame, n int) error {
	if len(c.sent) == 0 {
		return fmt.Errorf("%w: %d descriptors announced, none came", ErrFrame, n)
	}
	if came := len(c.sent[0].fds); came > n {
		return fmt.Errorf("%w: %d descriptors announced, %d came", ErrFrame, n, came)
	}
	f.FDs, c.sent = c.sent[0].fds, c.sent[1:]
	f.Lost = n - len(f.FDs)
	return nil
}

// fill reads more bytes into a buffer that holds need of them.
func (c *Conn) fill(need int) error {
	if c.start == c.end {
		c.start, c.end = 0, 0
		if len(c.buf) > readAhead && need <= readAhead {
			c.buf = make([]byte, readAhead) // a large frame has passed
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
	c.end += max(n, 0) // an error may come with -1
	return err
}

// Write sends frames made by AppendFrame, all of them.
func (c *Conn) Write(frames []byte) error {
	if _, err := c.uc.Write(frames); err != nil {
		return fmt.Errorf("fdpass: %w", err)
	}
	return nil
}

// WriteFDs sends one frame made by AppendFrame together with its descriptors, at most MaxFDs. They stay open here.
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

// Pause ends a Read that waits, and each later one that finds no whole frame, until Resume. Any goroutine.
func (c *Conn) Pause() error { return c.uc.SetReadDeadline(time.Unix(1, 0)) }

// Resume ends Pause.
func (c *Conn) Resume() error { return c.uc.SetReadDeadline(time.Time{}) }

// Rest is what was read and has not become a frame, with the descriptors that came with it, system call by system call.
// They stay the connection's. For one that is paused.
func (c *Conn) Rest() (b []byte, fds [][]int) {
	for _, s := range c.sent {
		fds = append(fds, s.fds)
	}
	return c.buf[c.start:c.end], fds
}

// Restore makes a new Conn go on where another one that stood for the same socket had stopped: see Rest. The
// descriptors are the connection's from here on. Before the first Read.
func (c *Conn) Restore(b []byte, fds [][]int) {
	c.buf = append(make([]byte, 0, max(len(b), readAhead)), b...)
	c.end = len(b)
	c.buf = c.buf[:cap(c.buf)]
	for _, list := range fds {
		c.sent = append(c.sent, batch{list})
	}
}

// SyscallConn gives access to the socket itself.
func (c *Conn) SyscallConn() (syscall.RawConn, error) { return c.uc.SyscallConn() }

// CloseWrite tells the peer that nothing follows.
func (c *Conn) CloseWrite() error { return c.uc.CloseWrite() }

// Close closes the connection and ends a Read or Write that waits. It may be called by any goroutine.
func (c *Conn) Close() error { return c.uc.Close() }
