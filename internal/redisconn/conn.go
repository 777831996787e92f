// Package redisconn connects to Redis, runs scripts there, and tells apart whose fault an error is. The session store
// and the feed of revocations use it.
package redisconn

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/expedite-go/expedite/session"
)

const (
	// DefaultTimeout limits the time of a call if Open is given none.
	DefaultTimeout = time.Second
	// DefaultPrefix is the prefix of all keys that a server uses, unless it is configured otherwise.
	DefaultPrefix = "expedite:"
)

// Conn is a client of a Redis server, of the master of a Sentinel group, or of a Cluster, of version 6.2 or later. It
// connects in the background, and reconnects when a connection is lost. It is safe for concurrent use. Make one with
// [Open].
type Conn struct {
	timeout time.Duration
	option  rueidis.ClientOption

	client atomic.Pointer[rueidis.Client] // nil until the first connection
	fault  atomic.Pointer[error]          // of the latest attempt to connect
	tried  chan struct{}                  // closed after the first attempt
	calls  chan *call                     // to the senders
	done   chan struct{}
	close  sync.Once
	tasks  sync.WaitGroup // the attempts to connect, and the senders

	mu      sync.Mutex
	senders int
	closed  bool
}

const (
	firstPause = 100 * time.Millisecond // before the second attempt to connect, on average half of it
	lastPause  = 10 * time.Second       // the longest pause between two attempts

	// Requests are small and there are many workers: buffers are smaller than the client's defaults.
	bufferSize = 32 << 10
	ringScale  = 10 // 2^10 calls of the senders fit in the queue of a connection: it never blocks

	sentinelRefresh = 2 * time.Second // between two looks at the Sentinels: their announcements can get lost
	maxRedirects    = 5               // of one command in a cluster
)

var (
	errConnecting = errors.New("session: not connected to Redis yet")
	errClosed     = errors.New("session: the connection to Redis is closed")
)

// Open returns a client of the Redis at a URL: redis://user:password@host:6379/0, rediss:// with TLS, unix:///path,
// redis+sentinel://host:26379,host:26379/master/0, redis+cluster://host:6379,host:6379. It returns at once, and fails
// only if the URL is invalid: until the first connection is established, calls fail with session.ErrUnavailable. A
// timeout of 0 means DefaultTimeout. Close the Conn when it is no longer needed.
func Open(rawURL string, timeout time.Duration) (*Conn, error) {
	c := &Conn{timeout: timeout, tried: make(chan struct{}), calls: make(chan *call), done: make(chan struct{})}
	if c.timeout <= 0 {
		c.timeout = DefaultTimeout
	}
	var err error
	if c.option, err = parseURL(rawURL); err != nil {
		return nil, fmt.Errorf("session: Redis: %w", err)
	}
	c.setOptions()
	c.tasks.Go(c.connect) // ends when it has succeeded, or with Close
	return c, nil
}

func (c *Conn) setOptions() {
	o := &c.option
	o.ClientName, o.ClientSetInfo = "expedite", []string{}
	// A retried Attach would create a second session.
	o.DisableCache, o.DisableRetry, o.PipelineMultiplex = true, true, -1
	// Without a background reader, the end of an idle connection would only be noticed by the next call, which would
	// fail.
	o.AlwaysPipelining = true
	o.RingScaleEachConn, o.ReadBufferEachConn, o.WriteBufferEachConn = ringScale, bufferSize, bufferSize
	o.Dialer.Timeout, o.ConnWriteTimeout = c.timeout, max(c.timeout, time.Second)
	o.Sentinel.Dialer.Timeout, o.Sentinel.ClientName = c.timeout, o.ClientName
	if o.Sentinel.MasterSet != "" {
		o.Sentinel.TopologyRefreshInterval = sentinelRefresh
	}
	o.ClusterOption.MaxMovedRedirections = maxRedirects
}

// connect creates the client, which maintains its connections from then on.
func (c *Conn) connect() {
	first := true
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		client, err := rueidis.NewClient(c.option)
		err = withoutArgs(err)
		if err == nil {
			c.client.Store(&client)
		} else {
			c.fault.Store(&err)
		}
		if first {
			close(c.tried)
			first = false
		}
		if err == nil {
			return
		}
		select {
		case <-time.After(rand.N(pause) + time.Millisecond):
		case <-c.done:
			return
		}
	}
}

// Wait blocks until the first attempt to connect has succeeded or failed, but no longer than the timeout of a call.
func (c *Conn) Wait(ctx context.Context) {
	timeout := time.NewTimer(c.timeout)
	defer timeout.Stop()
	select {
	case <-c.tried:
	case <-timeout.C:
	case <-ctx.Done():
	}
}

// Close closes the connections. Calls that are under way fail.
func (c *Conn) Close() error {
	c.close.Do(func() {
		close(c.done)
		c.mu.Lock()
		c.closed = true
		c.mu.Unlock()
		if client := c.client.Load(); client != nil {
			(*client).Close()
		}
		c.tasks.Wait()
		if client := c.client.Load(); client != nil { // connected meanwhile
			(*client).Close()
		}
	})
	return nil
}

// Client returns the client for what Conn has no method for, or an error if there is no connection yet. Such requests
// need a timeout of their own.
func (c *Conn) Client() (rueidis.Client, error) {
	if client := c.client.Load(); client != nil {
		return *client, nil
	}
	if err := c.fault.Load(); err != nil {
		return nil, session.Unavailable(*err)
	}
	return nil, session.Unavailable(errConnecting)
}

// Timeout returns the time limit of a call.
func (c *Conn) Timeout() time.Duration { return c.timeout }
