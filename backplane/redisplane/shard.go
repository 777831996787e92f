package redisplane

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/expedite-go/expedite/backplane"
)

// shard is one URL: the servers behind it, what waits for them, and the topics that are subscribed to there.
type shard struct {
	server server
	prefix string // of the channels
	// keyPrefix is the beginning of the keys of histories, and of prefix.
	keyPrefix string
	scripts   *scripts
	members   presenceScripts
	tasks     *sync.WaitGroup
	ctx       context.Context // of Start to Close
	feed      feed
	out       publisher
	in        subscriber
	watch     *watcher
	dir       *directory

	fault atomic.Pointer[error] // why the servers are not known
	mu    sync.Mutex
	nodes []*node // in use
	index index
}

func newShard(s server, c Config, scripts *scripts, tasks *sync.WaitGroup) *shard {
	one := &shard{
		server: s, prefix: channelPrefix(c.Prefix, s.option.SelectDB), keyPrefix: c.Prefix, scripts: scripts, tasks: tasks,
		members: newPresenceScripts(),
	}
	one.setFault(errConnecting)
	nowhere := &layout{nodes: []*node{newNode(one, "")}} // until the servers are known
	one.out = publisher{layout: nowhere, maxBytes: c.QueueBytes, maxMessages: c.QueueMessages}
	one.in = subscriber{shard: one, layout: nowhere, topics: make(map[string]*topic)}
	one.watch = &watcher{shard: one, wake: make(chan struct{}, 1)}
	one.dir = newDirectory(s.url, c.Prefix)
	return one
}

// start begins to connect. All goroutines end with ctx.
func (s *shard) start(ctx context.Context, to backplane.Receiver) {
	s.ctx, s.feed.to = ctx, to
	if s.server.kind == single {
		s.use(plan{addrs: s.server.option.InitAddress})
		return
	}
	s.tasks.Go(s.watch.run)
}

func (s *shard) setFault(err error) {
	if err == nil {
		s.fault.Store(nil)
		return
	}
	s.fault.Store(&err)
}

// use replaces the plan. Servers that are not in it any more are disconnected.
func (s *shard) use(p plan) {
	s.setFault(nil)
	s.mu.Lock()
	l := &layout{slots: p.slots}
	for _, addr := range p.addrs {
		i := slices.IndexFunc(s.nodes, func(n *node) bool { return n.addr == addr })
		if i < 0 {
			n := newNode(s, addr)
			n.sharded = p.sharded
			s.nodes = append(s.nodes, n)
			n.start(s.ctx)
			i = len(s.nodes) - 1
		}
		l.nodes = append(l.nodes, s.nodes[i])
	}
	for _, n := range s.nodes {
		if !slices.Contains(l.nodes, n) {
			n.cancel()
		}
	}
	s.nodes = slices.Clone(l.nodes)
	s.mu.Unlock()
	s.out.use(l)
	s.in.use(l)
}

// publish queues a message.
func (s *shard) publish(topic string, payload []byte) error {
	return s.out.publish(message{channel: s.prefix + topic, payload: escape(payload)})
}

// want changes the topics that are wanted.
func (s *shard) want(topics []string, wanted bool) { s.in.want(topics, wanted) }

func (s *shard) status() backplane.Status {
	t := s.out.status()
	s.feed.mu.Lock()
	t.Received, t.Interrupted = s.feed.received, s.feed.interrupted
	s.feed.mu.Unlock()
	for _, one := range []error{s.nodesErr(), s.in.refusal(), t.Err} {
		if one != nil {
			t.Err = one
			break
		}
	}
	return t
}

// nodesErr returns why a server is of no use, or why there is none.
func (s *shard) nodesErr() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.nodes) == 0 {
		return errorOf(&s.fault)
	}
	for _, n := range s.nodes {
		for _, fault := range []*atomic.Pointer[error]{&n.sending, &n.listening, &n.storing} {
			if err := errorOf(fault); err != nil {
				return err
			}
		}
	}
	return nil
}

func errorOf(p *atomic.Pointer[error]) error {
	if err := p.Load(); err != nil {
		return *err
	}
	return nil
}

const (
	firstPause  = 100 * time.Millisecond // before the second attempt of anything, on average half of it
	lastPause   = 2 * time.Second        // the longest pause between two attempts
	refusedHold = 10 * time.Second       // between attempts to subscribe without the permission
	dropShown   = time.Minute            // how long Status.Err tells of a message that was dropped
)
