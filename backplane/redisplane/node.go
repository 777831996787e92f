package redisplane

import (
	"context"
	"crypto/tls"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
)

// node is a server. Three goroutines use it: one sends, one asks, on the same connection, and one listens, on another.
type node struct {
	shard   *shard
	addr    string
	sharded bool // it has sharded channels
	ctx     context.Context
	cancel  context.CancelFunc

	sending, listening atomic.Pointer[error] // why that does not work

	mu     sync.Mutex
	link   *link         // nil while there is no connection
	linked chan struct{} // closed when there is one, or a new channel

	queue    queue         // guarded by publisher.mu
	wakeSend chan struct{} // there is something in the queue
	kills    int           // used by send only: losses at the same large message
	verify   bool          // guarded by publisher.mu: whether the server still has what it has taken is not known

	storing   atomic.Pointer[error] // why messages of histories are not taken
	questions []question            // guarded by publisher.mu, as the following
	asking    bool                  // questions are answered
	wakeAsk   chan struct{}

	changes    []*topic // guarded by subscriber.mu, as the following
	live       bool     // a connection for subscriptions is in use
	wakeListen chan struct{}
}

func newNode(s *shard, addr string) *node {
	n := &node{
		shard: s, addr: addr, linked: make(chan struct{}),
		wakeSend: make(chan struct{}, 1), wakeListen: make(chan struct{}, 1), wakeAsk: make(chan struct{}, 1),
	}
	err := errConnecting
	n.sending.Store(&err)
	n.listening.Store(&err)
	return n
}

// start starts the goroutines, which end with ctx or cancel.
func (n *node) start(ctx context.Context) {
	n.ctx, n.cancel = context.WithCancel(ctx)
	n.shard.tasks.Go(n.send)
	n.shard.tasks.Go(n.listen)
	n.asking = true // it is in no layout yet
	n.shard.tasks.Go(n.ask)
}

// wake lets the receiver of a channel run once.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// jitter returns a random part of a pause.
func jitter(pause time.Duration) time.Duration { return rand.N(pause) + time.Millisecond }

// wait waits for a random part of a pause. It reports false if the node is not used any more.
func (n *node) wait(pause time.Duration) bool {
	t := time.NewTimer(jitter(pause))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-n.ctx.Done():
		return false
	}
}

// link is a client of one server with one connection for commands. It does not connect again when that is lost.
type link struct {
	client rueidis.Client
	main   *conn

	mu  sync.Mutex
	sub *conn // the latest of the connections for subscriptions
}

// noDial marks a context of commands: they must not make the client connect again, which would happen unnoticed, to a
// server whose role has changed.
type noDial struct{}

// onLink returns the context of commands.
func onLink() context.Context { return context.WithValue(context.Background(), noDial{}, true) }

// connect makes a link and checks the server.
func (n *node) connect() (*link, error) {
	l := &link{}
	o := n.shard.server.options(n.addr)
	o.DialCtxFn = func(ctx context.Context, to string, _ *net.Dialer, secure *tls.Config) (net.Conn, error) {
		if ctx.Value(noDial{}) != nil {
			return nil, errLost
		}
		l.mu.Lock()
		first := l.main == nil
		l.mu.Unlock()
		var idle func()
		if !first {
			idle = n.shard.feed.flush
		}
		outer, c, err := n.shard.server.dial(n.ctx, ctx, to, secure, idle)
		if err != nil {
			return nil, err
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if first {
			l.main = c
		} else {
			l.sub = c
		}
		return outer, nil
	}
	client, err := rueidis.NewClient(o)
	if err != nil {
		l.close()
		return nil, explain(err)
	}
	l.client = client
	if err := n.check(client); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// takeSub returns the connection for subscriptions that was made, or nil.
func (l *link) takeSub() *conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.sub
	l.sub = nil
	return c
}

// close ends the connection for commands.
func (l *link) close() {
	if l.main != nil {
		l.main.release()
	}
	if l.client != nil {
		l.client.Close()
	}
}

// check asks a server for its role, which is a ping as well: HELLO needs no permission.
func (n *node) check(c interface {
	Do(ctx context.Context, cmd rueidis.Completed) rueidis.RedisResult
	B() rueidis.Builder
},
) error {
	hello, err := c.Do(onLink(), c.B().Arbitrary("HELLO").Build()).AsMap()
	if err != nil {
		return explain(err)
	}
	proto, role := hello["proto"], hello["role"]
	if v, err := proto.AsInt64(); err != nil || v < 3 {
		return errProtocol
	}
	// In a cluster, a replica tells where the primary is.
	if name, err := role.ToString(); err == nil && name == "replica" && n.shard.server.kind != cluster {
		return errReplica
	}
	return nil
}

// setLink offers a link to listen, or nil.
func (n *node) setLink(l *link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.link = l; l != nil {
		close(n.linked)
	} else {
		n.linked = make(chan struct{})
	}
}

// waitLink blocks until there is a link. It returns nil if the node is not used any more.
func (n *node) waitLink() *link {
	for {
		n.mu.Lock()
		l, linked := n.link, n.linked
		n.mu.Unlock()
		if l != nil {
			return l
		}
		select {
		case <-linked:
		case <-n.ctx.Done():
			return nil
		}
	}
}
