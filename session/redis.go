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
	// EmptyTTL is how long an anonymous session without values lives after its connection; 0 means as long as others.
	EmptyTTL time.Duration
	// OnState is told when Redis goes, and why, and when it is there, one call after the other. It must not block.
	// Nil is nobody.
	OnState func(up bool, err error)
}

// Redis is a Store in a Redis server, its Sentinels' master, or a Cluster, of version 6.2 or later. Any number of
// machines may use it at once. Make one with [NewRedis].
type Redis struct {
	prefix   string
	timeout  time.Duration
	emptyTTL time.Duration
	option   rueidis.ClientOption
	scripts  scripts

	client atomic.Pointer[rueidis.Client]
	fault  atomic.Pointer[error] // of the latest attempt to connect
	tried  chan struct{}         // closed after the first one
	slots  chan struct{}         // one for each call under way
	done   chan struct{}
	close  sync.Once
	tasks  sync.WaitGroup

	onState func(up bool, err error)
	state   atomic.Int32 // redisUp, redisDown, or 0 for neither yet
	stateMu sync.Mutex   // held while onState is told
}

const (
	redisUp int32 = iota + 1
	redisDown
)

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

// NewRedis makes a store of the Redis that a URL names: redis://user:password@host:6379/0, rediss:// with TLS,
// unix:///path, redis+sentinel://host:26379,host:26379/master/0, redis+cluster://host:6379,host:6379. It fails if the
// URL makes no sense, never because Redis is away: it waits for the first attempt to connect at most as long as a
// call may take, and until one succeeds, everything fails with ErrUnavailable. Close it.
func NewRedis(ctx context.Context, rawURL string, c RedisConfig) (*Redis, error) {
	r := &Redis{
		prefix: c.Prefix, timeout: c.Timeout, emptyTTL: c.EmptyTTL, onState: c.OnState, scripts: newScripts(),
		tried: make(chan struct{}), slots: make(chan struct{}, redisSlots), done: make(chan struct{}),
	}
	if strings.ContainsAny(r.prefix, "{}") {
		return nil, errors.New("session: Redis: a prefix with braces, which tell a cluster where a key is")
	}
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
	r.setOptions()
	r.tasks.Go(r.connect) // ends with its success, or with Close
	wait := time.NewTimer(r.timeout)
	defer wait.Stop()
	select {
	case <-r.tried:
	case <-wait.C:
	case <-ctx.Done():
	}
	return r, nil
}

func (r *Redis) setOptions() {
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
func (r *Redis) connect() {
	first := true
	for pause := redisFirstPause; ; pause = min(2*pause, redisLastPause) {
		client, err := rueidis.NewClient(r.option)
		err = withoutArgs(err)
		if err == nil {
			r.client.Store(&client)
		} else {
			r.fault.Store(&err)
		}
		r.note(err)
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

// away are the beginnings of what a server says that is there and cannot do its work. The rest of its errors are
// ours.
var away = []string{
	"OOM ", "READONLY ", "LOADING ", "MASTERDOWN ", "CLUSTERDOWN", "TRYAGAIN ", "NOREPLICAS ", "MISCONF ", "NOAUTH ",
	"WRONGPASS ", "NOPERM ", "BUSY ", "DENIED ", "MOVED ", "ASK ", "ERR max number of clients", "ERR unknown command",
}

// denied is what scripts say of a user who may not do what they do. Which command that was, they do not say.
var denied = []string{"executing the script can't ", "ACL failure in script"}

// note tells OnState how Redis is, if that is news.
func (r *Redis) note(err error) {
	now := redisUp
	if err != nil {
		now = redisDown
	}
	if r.onState == nil || r.state.Load() == now {
		return
	}
	r.stateMu.Lock()
	defer r.stateMu.Unlock()
	if r.state.Swap(now) != now {
		r.onState(err == nil, err)
	}
}

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
			return unavailable(withoutArgs(err))
		}
	}
	for _, d := range denied {
		if strings.Contains(text, d) {
			return unavailable(withoutArgs(err))
		}
	}
	return fmt.Errorf("session: Redis: %w", withoutArgs(err))
}

func (r *Redis) hashTag(t tag) string { return r.prefix + "{" + fmt.Sprintf("%x", t[:]) + "}:" }

// sessionKey is the key of a session, sessionPrefix what stands in front of its id, and listPrefix what stands in
// front of a user's name in the key of its list.
func (r *Redis) sessionKey(id ID) string    { return r.sessionPrefix(id.tag()) + id.String() }
func (r *Redis) sessionPrefix(t tag) string { return r.hashTag(t) + "s:" }
func (r *Redis) listPrefix(t tag) string    { return r.hashTag(t) + "u:" }

// ticketKey is the key of a ticket.
func (r *Redis) ticketKey(key [32]byte) string { return r.prefix + fmt.Sprintf("{t:%x}", key[:]) }

var _ Store = (*Redis)(nil)
