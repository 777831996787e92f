package redisplane

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	dialTimeout = 3 * time.Second
	// pingEvery is the time between two questions on each connection. silence is how long a server may send nothing
	// while there is a question: then the connection is closed.
	pingEvery, silence = time.Second, 4 * time.Second
	// writeChunk is the size of the parts of a large payload. Each part that is taken shows that the server is alive.
	writeChunk = 64 << 10
)

// conn is a connection that fails if the server is silent.
type conn struct {
	net.Conn
	// idle, if not nil, is called before each read: everything that was received before has been parsed then.
	idle    func()
	lost    chan struct{} // closed when the connection is of no use any more
	once    sync.Once
	written atomic.Int64 // when the latest full chunk was written, in nanoseconds since start
	start   time.Time
	stop    func() bool // ends the wait for the end of the context
}

func newConn(c net.Conn, idle func()) *conn {
	one := &conn{Conn: c, idle: idle, lost: make(chan struct{}), start: time.Now()}
	one.written.Store(-int64(silence))
	return one
}

// Read fails if the server sends nothing, and takes nothing of a large payload either.
func (c *conn) Read(b []byte) (int, error) {
	if c.idle != nil {
		c.idle()
	}
	for {
		if err := c.SetReadDeadline(time.Now().Add(silence)); err != nil {
			c.abort()
			return 0, err
		}
		n, err := c.Conn.Read(b)
		if err == nil || n > 0 {
			return n, nil
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			if time.Since(c.start)-time.Duration(c.written.Load()) < silence {
				continue
			}
			err = errSilent
		}
		c.abort()
		return 0, err
	}
}

// Write fails if the server takes nothing for some time.
func (c *conn) Write(b []byte) (total int, err error) {
	for first := true; first || len(b) > 0; first = false {
		if err := c.SetWriteDeadline(time.Now().Add(silence)); err != nil {
			return total, err
		}
		n, err := c.Conn.Write(b[:min(len(b), writeChunk)])
		total += n
		if err != nil {
			c.abort()
			return total, err
		}
		if n == writeChunk {
			c.written.Store(int64(time.Since(c.start)))
		}
		b = b[n:]
	}
	return total, nil
}

// Close closes the connection.
func (c *conn) Close() error {
	c.release()
	return nil
}

// abort ends all calls under way.
func (c *conn) abort() {
	c.once.Do(func() {
		close(c.lost)
		_ = c.Conn.Close() // nothing can be done about it
	})
}

// release closes the connection and forgets it.
func (c *conn) release() {
	c.abort()
	c.stop()
}

// dial connects to an address. The end of ctx ends the connection as well, that of call only the attempt. It returns
// the connection with and without TLS.
func (s server) dial(ctx, call context.Context, addr string, secure *tls.Config, idle func()) (net.Conn, *conn, error) {
	call, cancel := context.WithCancel(call)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	d := &net.Dialer{Timeout: dialTimeout}
	network := "tcp"
	if s.option.DialCtxFn != nil {
		network = "unix"
	}
	raw, err := d.DialContext(call, network, addr)
	if err != nil {
		return nil, nil, err
	}
	c := newConn(raw, idle)
	c.stop = context.AfterFunc(ctx, c.abort)
	if secure == nil {
		return c, c, nil
	}
	if secure.ServerName == "" {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			c.release()
			return nil, nil, err
		}
		secure = secure.Clone()
		secure.ServerName = host
	}
	encrypted := tls.Client(c, secure)
	if err := encrypted.HandshakeContext(call); err != nil {
		c.release()
		return nil, nil, err
	}
	return encrypted, c, nil
}
