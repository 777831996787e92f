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
	// maxFrame is the longest payload: a batch of one connection with all that it may have waiting.
	maxFrame = 512 << 20
	// maxQueued is the number of bytes of forwarded messages that may wait for the other worker.
	maxQueued = 64 << 20
	// maxTries and retryAfter bound the wait for room for descriptors in the kernel: 5 s.
	maxTries   = 500
	retryAfter = 10 * time.Millisecond
)

// channel is the socketpair: a goroutine that writes what is queued, one that reads.
type channel struct {
	conn   *fdpass.Conn
	failed func(error)   // told once by the writer
	lost   atomic.Uint64 // forwarded messages that found the queue full

	writing sync.Mutex // held while a frame is written: a frame with descriptors may take two calls

	mu      sync.Mutex
	work    sync.Cond
	queue   []outgoing
	queued  int
	closing bool
	wrote   chan struct{} // closed when the writer has ended
}

type outgoing struct {
	frame []byte
	fds   []int
}

// open makes a channel of a Unix socket, which is closed. receive is called by one goroutine with each frame, and with
// nil and an error at the end.
func open(f *os.File, receive func(fr *fdpass.Frame, err error), failed func(error)) (*channel, error) {
	conn, err := fdpass.NewConn(f, maxFrame)
	if err != nil {
		return nil, err
	}
	c := &channel{conn: conn, failed: failed, wrote: make(chan struct{})}
	c.work.L = &c.mu
	go c.write()       // ends with finish, close, or the peer
	go c.read(receive) // ends with close or the peer
	return c, nil
}

func (c *channel) read(receive func(*fdpass.Frame, error)) {
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

// send queues a frame. Descriptors must stay open until it was answered. It reports false, for a forwarded message
// only, if the queue is full.
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

// sendNow writes a small frame before it returns: the other side can read it then, whatever happens to this process.
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
			_ = c.conn.CloseWrite() // it may be closed altogether
			return
		}
		o := c.queue[0]
		c.queue[0] = outgoing{}
		c.queue = c.queue[1:]
		c.queued -= len(o.frame)
		c.mu.Unlock()
		if err := c.writeOne(o); err != nil {
			c.finish()
			c.failed(err) // if the other side is gone, the reader finds that, too
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
	// Too many descriptors of this user are under way, those of other programs included: that passes.
	err := c.conn.WriteFDs(o.frame, o.fds)
	for tries := 0; errors.Is(err, syscall.ETOOMANYREFS) && tries < maxTries; tries++ {
		time.Sleep(retryAfter)
		err = c.conn.WriteFDs(o.frame, o.fds)
	}
	return err
}

// finish writes what is queued, and then tells the other side that nothing follows.
func (c *channel) finish() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closing = true
	c.work.Signal()
}

// close ends the channel at once.
func (c *channel) close() {
	c.finish()
	_ = c.conn.Close()
}

// ended turns the end of a channel into the error that tells of it.
func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return errBroken
	}
	return errors.Join(errBroken, err)
}
