// Package redisconn connects to Redis and runs scripts there.
package redisconn

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/expedite-go/expedite/session"
	"github.com/redis/rueidis"
)

// DefaultTimeout bounds calls if Config.Timeout is not set.
const DefaultTimeout = time.Second

// DefaultPrefix is what all keys of the program begin with, unless it is told otherwise.
const DefaultPrefix = "expedite:"

// Conn is a connection to a Redis server, its Sentinels' master, or a Cluster, of version 6.2 or later. It connects in
// the background and reconnects for as long as it is open. It is safe for concurrent use. Make one with [Open].
type Conn struct {
	timeout time.Duration
	option  rueidis.ClientOption

	client atomic.Pointer[rueidis.Client]
	fault  atomic.Pointer[error] // of the latest attempt to connect
	tried  chan struct{}         // closed after the first one
	slots  chan struct{}         // one for each call under way
	done   chan struct{}
	close  sync.Once
	tasks  sync.WaitGroup
}

// Pauses between attempts to connect, of which a random part is taken.
const (
	redisFirstPause = 100 * time.Millisecond
	redisLastPause  = 10 * time.Second
)

// Buffers of a connection to Redis: requests are small, and there are many workers.
const (
	redisBuffer = 32 << 10
	redisRing   = 10 // 2^10 commands under way
	redisSlots  = 512
)

const (
	redisRefresh   = 2 * time.Second // between two looks at the Sentinels: an announcement can be missed
	redisRedirects = 5               // of one command in a cluster
)

// errConnecting says that there is no connection yet.
var errConnecting = errors.New("session: not connected to Redis yet")

// Open connects to the Redis that a URL names: redis://user:password@host:6379/0, rediss:// with TLS, unix:///path,
// redis+sentinel://host:26379,host:26379/master/0, redis+cluster://host:6379,host:6379. It returns at once, and fails
// only if the URL is invalid. Until the first attempt to connect succeeds, all calls fail with session.ErrUnavailable.
// A timeout of 0 means DefaultTimeout. Close it.
func Open(rawURL string, timeout time.Duration) (*Conn, error) {
	r := &Conn{
		timeout: timeout, tried: make(chan struct{}), slots: make(chan struct{}, redisSlots), done: make(chan struct{}),
	}
	if r.timeout <= 0 {
		r.timeout = DefaultTimeout
	}
	var err error
	if r.option, err = parseURL(rawURL); err != nil {
		return nil, fmt.Errorf("session: Redis: %w", err)
	}
	r.setOptions()
	r.tasks.Go(r.connect) // ends with its success, or with Close
	return r, nil
}

// Wait blocks until the first attempt to connect has ended, for no longer than a call may take.
func (r *Conn) Wait(ctx context.Context) {
	wait := time.NewTimer(r.timeout)
	defer wait.Stop()
	select {
	case <-r.tried:
	case <-wait.C:
	case <-ctx.Done():
	}
}

// Timeout returns the bound of one call.
func (r *Conn) Timeout() time.Duration { return r.timeout }

func (r *Conn) setOptions() {
	o := &r.option
	o.ClientName, o.ClientSetInfo = "expedite", []string{}
	// An Attach that is sent again would make a second session.
	o.DisableCache, o.DisableRetry, o.PipelineMultiplex = true, true, -1
	// Else nobody notices the end of an idle connection, and the next call fails.
	o.AlwaysPipelining = true
	o.RingScaleEachConn, o.ReadBufferEachConn, o.WriteBufferEachConn = redisRing, redisBuffer, redisBuffer
	o.Dialer.Timeout, o.ConnWriteTimeout = r.timeout, max(r.timeout, time.Second)
	o.Sentinel.Dialer.Timeout, o.Sentinel.ClientName = r.timeout, o.ClientName
	if o.Sentinel.MasterSet != "" {
		o.Sentinel.TopologyRefreshInterval = redisRefresh
	}
	o.ClusterOption.MaxMovedRedirections = redisRedirects
}

// connect makes the client, which looks after its connections from then on. It ends then, or with Close.
func (r *Conn) connect() {
	first := true
	for pause := redisFirstPause; ; pause = min(2*pause, redisLastPause) {
		client, err := rueidis.NewClient(r.option)
		err = withoutArgs(err)
		if err == nil {
			r.client.Store(&client)
		} else {
			r.fault.Store(&err)
		}
		if first {
			close(r.tried)
			first = false
		}
		if err == nil {
			return
		}
		select {
		case <-time.After(rand.N(pause) + time.Millisecond):
		case <-r.done:
			return
		}
	}
}

// Close lets the connections go.
func (r *Conn) Close() error {
	r.close.Do(func() {
		close(r.done)
		r.tasks.Wait()
		if c := r.client.Load(); c != nil {
			(*c).Close()
		}
	})
	return nil
}

// Client returns the client, or why there is none.
func (r *Conn) Client() (rueidis.Client, error) {
	if c := r.client.Load(); c != nil {
		return *c, nil
	}
	if err := r.fault.Load(); err != nil {
		return nil, session.Unavailable(*err)
	}
	return nil, session.Unavailable(errConnecting)
}

// away are the beginnings of what a server says that is there and cannot do its work. The rest of its errors are
// ours.
var away = []string{
	"OOM ", "READONLY ", "LOADING ", "MASTERDOWN ", "CLUSTERDOWN", "TRYAGAIN ", "NOREPLICAS ", "MISCONF ", "NOAUTH ",
	"WRONGPASS ", "NOPERM ", "BUSY ", "DENIED ", "MOVED ", "ASK ", "ERR max number of clients", "ERR unknown command",
}

// denied is what scripts say of a user who may not do what they do. Which command that was, they do not say.
var denied = []string{"executing the script can't ", "ACL failure in script"}

// withoutArgs leaves out of an error what Redis repeats of a command that it does not know: it may hold a password.
func withoutArgs(err error) error {
	if err == nil {
		return nil
	}
	if text, _, found := strings.Cut(err.Error(), ", with args"); found {
		return errors.New(text)
	}
	return err
}

// Error makes an error of the store of one of Redis.
func Error(err error) error {
	if err == nil {
		return nil
	}
	said, ok := rueidis.IsRedisErr(err)
	if !ok {
		return session.Unavailable(err) // of the connection, or of the time
	}
	text := said.Error()
	for _, a := range away {
		// Inside of a script, the error is quoted.
		if strings.HasPrefix(text, a) || strings.Contains(text, "-"+a) || strings.Contains(text, " "+a) {
			return session.Unavailable(withoutArgs(err))
		}
	}
	for _, d := range denied {
		if strings.Contains(text, d) {
			return session.Unavailable(withoutArgs(err))
		}
	}
	return fmt.Errorf("session: Redis: %w", withoutArgs(err))
}
