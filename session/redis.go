package session

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
)

// RedisConfig is how a Redis store works. The zero RedisConfig works.
type RedisConfig struct {
	// Prefix is what all keys begin with; empty means "expedite:".
	Prefix string
	// Timeout bounds every call; 0 means 1 s.
	Timeout time.Duration
}

// Redis is a Store in a Redis server, its Sentinels' master, or a Cluster, of version 6 or later. Any number of machines
// may use it at once. Make one with [NewRedis].
type Redis struct {
	prefix  string
	timeout time.Duration
	option  rueidis.ClientOption
	scripts scripts

	client atomic.Pointer[rueidis.Client]
	fault  atomic.Pointer[error] // of the latest attempt to connect
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
	redisRing   = 9 // 2^9 commands under way
)

// errConnecting says that there is no connection yet.
var errConnecting = errors.New("session: not connected to Redis yet")

// NewRedis makes a store of the Redis that a URL names: redis://user:password@host:6379/0, rediss:// with TLS,
// unix:///path, redis+sentinel://host:26379,host:26379/master/0, redis+cluster://host:6379,host:6379. It fails if the URL
// makes no sense, never because Redis is away: until it is there, everything fails with ErrUnavailable. Close it.
func NewRedis(_ context.Context, rawURL string, c RedisConfig) (*Redis, error) {
	r := &Redis{prefix: c.Prefix, timeout: c.Timeout, scripts: newScripts(), done: make(chan struct{})}
	if r.prefix == "" {
		r.prefix = "expedite:"
	}
	if r.timeout <= 0 {
		r.timeout = time.Second
	}
	var err error
	if r.option, err = parseRedisURL(rawURL); err != nil {
		return nil, fmt.Errorf("session: Redis: %w", err)
	}
	r.option.DisableCache, r.option.DisableRetry, r.option.PipelineMultiplex = true, true, -1
	r.option.RingScaleEachConn, r.option.ReadBufferEachConn, r.option.WriteBufferEachConn = redisRing, redisBuffer, redisBuffer
	r.option.Dialer.Timeout, r.option.ConnWriteTimeout = r.timeout, max(r.timeout, time.Second)
	r.tasks.Go(r.connect)
	return r, nil
}

// connect makes the client, which looks after its connections from then on. It ends then, or with Close.
func (r *Redis) connect() {
	for pause := redisFirstPause; ; pause = min(2*pause, redisLastPause) {
		client, err := rueidis.NewClient(r.option)
		if err == nil {
			r.client.Store(&client)
			return
		}
		r.fault.Store(&err)
		select {
		case <-time.After(rand.N(pause) + time.Millisecond):
		case <-r.done:
			return
		}
	}
}

// Close lets the connections go.
func (r *Redis) Close() error {
	r.close.Do(func() {
		close(r.done)
		r.tasks.Wait()
		if c := r.client.Load(); c != nil {
			(*c).Close()
		}
	})
	return nil
}

// conn is the client, or why there is none.
func (r *Redis) conn() (rueidis.Client, error) {
	if c := r.client.Load(); c != nil {
		return *c, nil
	}
	if err := r.fault.Load(); err != nil {
		return nil, unavailable(*err)
	}
	return nil, unavailable(errConnecting)
}

// away are the beginnings of what a server says that is there and cannot do its work. The rest of its errors are ours.
var away = []string{
	"OOM ", "READONLY ", "LOADING ", "MASTERDOWN ", "CLUSTERDOWN", "TRYAGAIN ", "NOREPLICAS ", "MISCONF ", "NOAUTH ",
	"WRONGPASS ", "NOPERM ", "BUSY ", "ERR max number of clients",
}

// redisError makes an error of the store of one of Redis.
func redisError(err error) error {
	if err == nil {
		return nil
	}
	said, ok := rueidis.IsRedisErr(err)
	if !ok {
		return unavailable(err) // of the connection, or of the time
	}
	text := said.Error()
	for _, a := range away {
		// Inside of a script, the error is quoted.
		if strings.HasPrefix(text, a) || strings.Contains(text, "-"+a) || strings.Contains(text, " "+a) {
			return unavailable(err)
		}
	}
	return fmt.Errorf("session: Redis: %w", err)
}

func (r *Redis) hashTag(t tag) string { return r.prefix + "{" + fmt.Sprintf("%x", t[:]) + "}:" }

// sessionKey is the key of a session, sessionPrefix what stands in front of its id, and listPrefix what stands in front of
// a user's name in the key of its list.
func (r *Redis) sessionKey(id ID) string    { return r.sessionPrefix(id.tag()) + id.String() }
func (r *Redis) sessionPrefix(t tag) string { return r.hashTag(t) + "s:" }
func (r *Redis) listPrefix(t tag) string    { return r.hashTag(t) + "u:" }

// ticketKey is the key of a ticket.
func (r *Redis) ticketKey(key [32]byte) string { return r.prefix + fmt.Sprintf("{t:%x}", key[:]) }

var _ Store = (*Redis)(nil)
