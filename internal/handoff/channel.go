package handoff

import (
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/expedite-go/expedite/internal/fdpass"
)

const (
	// maxFrame is the longest payload in bytes: a batch of one connection with the most output that may be queued.
	maxFrame = 512 << 20
	// maxQueued is the number of bytes in the queue beyond which forwarded messages are dropped.
	maxQueued = 64 << 20
	// maxTries and retryAfter limit the wait for room for descriptors in the kernel to 5 s.
	maxTries   = 500
	retryAfter = 10 * time.Millisecond
)

// channel is one end of the socketpair, with a goroutine that writes what is queued and one that reads.
type channel struct {
	conn   *fdpass.Conn
	failed func(error)   // called once by the writer, if it fails
	lost   atomic.Uint64 // forwarded messages that were dropped because the queue was full

	writing sync.Mutex // held while a frame is written; a frame with descriptors may take two system calls

	mu      sync.Mutex
	work    sync.Cond
	queue   []outgoing
	queued  int
	closing bool
	wrote   chan struct{} // closed when the writer has ended
	closed  chan struct{} // closed when both have ended and the socket is closed
}

type outgoing struct {
	frame []byte
	fds   []int
}

// open returns a channel over a Unix socket, and closes f, of which it uses a duplicate. One goroutine calls receive
// with each frame and, at the end, with nil and an error.
func open(f *os.File, receive func(fr *fdpass.Frame, err error), failed func(error)) (*channel, error) {
	conn, err := fdpass.NewConn(f, maxFrame)
	if err != nil {
		return nil, err
	}
	c := &channel{conn: conn, failed: failed, wrote: make(chan struct{}), closed: make(chan struct{})}
	c.work.L = &c.mu
	go c.write()       // ends with finish, close, or when the other side closes
	go c.read(receive) // ends with close, or when the other side closes
	return c, nil
}

func (c *channel) read(receive func(*fdpass.Frame, error)) {
	defer close(c.closed)
	for {
		fr, err := c.conn.Read()
		if err != nil {
			receive(nil, err)
			c.finish()
			<-c.wrote
			_ = c.conn.Close()
			return
		}
		fr.Payload = append([]byte(nil), fr.Payload...)
		receive(&fr, nil)
	}
}

// send queues a frame. Descriptors must stay open until the other side has answered. It reports false if the queue is
// full, which happens to forwarded messages only.
func (c *channel) send(kind byte, payload []byte, fds []int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if kind == kindForward && c.queued > maxQueued {
		c.lost.Add(1)
		return false
	}
	o := outgoing{frame: fdpass.AppendFrame(nil, kind, len(fds), payload), fds: fds}
	c.queue = append(c.queue, o)
	c.queued += len(o.frame)
	c.work.Signal()
	return true
}

// sendNow writes a small frame before it returns. The other side can read it even if this process dies.
func (c *channel) sendNow(kind byte, payload []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	if err := c.conn.Write(fdpass.AppendFrame(nil, kind, 0, payload)); err != nil {
		return errors.Join(errBroken, err)
	}
	return nil
}

func (c *channel) write() {
	defer close(c.wrote)
	for {
		c.mu.Lock()
		for len(c.queue) == 0 && !c.closing {
			c.work.Wait()
		}
		if len(c.queue) == 0 {
			c.mu.Unlock()
			_ = c.conn.CloseWrite() // fails if the socket is closed
			return
		}
		o := c.queue[0]
		c.queue[0] = outgoing{}
		c.queue = c.queue[1:]
		c.queued -= len(o.frame)
		c.mu.Unlock()
		if err := c.writeOne(o); err != nil {
			c.finish()
			c.failed(err) // if the other side has closed, the reader gets an error, too
			return
		}
	}
}

func (c *channel) writeOne(o outgoing) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	if o.fds == nil {
		return c.conn.Write(o.frame)
	}
	return awaitRoom(func() error { return c.conn.WriteFDs(o.frame, o.fds) }, func() { time.Sleep(retryAfter) })
}

// awaitRoom sends descriptors until the kernel has room for them. ETOOMANYREFS means that too many descriptors of this
// user, including other programs, are in transit. It is temporary.
func awaitRoom(send func() error, pause func()) error {
	err := send()
	for tries := 0; errors.Is(err, syscall.ETOOMANYREFS) && tries < maxTries; tries++ {
		pause()
		err = send()
	}
	return err
}

// finish writes what is queued and then shuts down the sending direction. It does not wait for that.
func (c *channel) finish() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closing = true
	c.work.Signal()
}

// close closes the channel at once.
func (c *channel) close() {
	c.finish()
	_ = c.conn.Close()
}

// ended returns the error for a channel that has ended.
func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return errBroken
	}
	return errors.Join(errBroken, err)
}
