package broker_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/expedite-go/expedite/broker"
	"github.com/expedite-go/expedite/broker/brokertest"
)

var (
	errFull = errors.New("queue full")
	errGone = errors.New("other side gone")
)

// pipe is a Link through memory. What has queued up arrives as one message.
type pipe struct {
	mu      sync.Mutex
	work    sync.Cond
	queue   []byte
	full    bool
	closed  bool
	emptied chan struct{} // closed when nothing arrives any more
}

func newPipe(arrive func(m []byte)) *pipe {
	p := &pipe{emptied: make(chan struct{})}
	p.work.L = &p.mu
	go func() { // ends with close
		defer close(p.emptied)
		for m := p.next(); m != nil; m = p.next() {
			arrive(m)
		}
	}()
	return p
}

func (p *pipe) next() (m []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.queue) == 0 && !p.closed {
		p.work.Wait()
	}
	if p.closed {
		return nil
	}
	m, p.queue = p.queue, nil
	return m
}

func (p *pipe) Send(m []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return errGone
	}
	if p.full {
		return errFull
	}
	p.queue = append(p.queue, m...)
	p.work.Signal()
	return nil
}

func (p *pipe) fill(full bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.full = full
}

func (p *pipe) close() {
	p.mu.Lock()
	p.closed = true
	p.work.Signal()
	p.mu.Unlock()
	<-p.emptied
}

// cluster is a Hub with workers in this process.
type cluster struct {
	hub     *broker.Hub
	deliver brokertest.Deliver
	direct  bool // workers call the Hub, instead of a pipe to it
	workers []member
}

type member struct {
	local    *broker.Local
	up, down *pipe
	detach   func()
}

func newCluster(t *testing.T, workers int, deliver brokertest.Deliver, direct bool) *cluster {
	c := &cluster{
		hub:     broker.NewHub(func(conn uint64) int { return int(conn >> 32) }),
		deliver: deliver, direct: direct, workers: make([]member, workers),
	}
	for i := range workers {
		c.Join(i)
	}
	t.Cleanup(func() {
		for i := range workers {
			c.Leave(i)
		}
	})
	return c
}

func (c *cluster) Worker(i int) brokertest.Worker { return c.workers[i].local }

func (c *cluster) Conn(i, n int) uint64 { return uint64(i)<<32 | uint64(n) }

func (c *cluster) Overload(i int) func() {
	down := c.workers[i].down
	down.fill(true)
	return func() { down.fill(false) }
}

func (c *cluster) Join(i int) {
	m := &c.workers[i]
	var link broker.Link = broker.LinkFunc(func(b []byte) error { c.hub.Receive(i, b); return nil })
	if !c.direct {
		m.up = newPipe(func(b []byte) { c.hub.Receive(i, b) })
		link = m.up
	}
	local := broker.NewLocal(link, func(e broker.Envelope) bool { return c.deliver(i, e) })
	m.local = local
	m.down = newPipe(local.Receive)
	m.detach = c.hub.Attach(i, m.down)
}

func (c *cluster) Leave(i int) {
	m := &c.workers[i]
	m.detach()
	m.down.close()
	if m.up != nil {
		m.up.close()
	}
}

// TestConformance: the ways of joining workers on one machine keep what the package promises.
func TestConformance(t *testing.T) {
	for _, c := range []struct {
		name   string
		direct bool
	}{{"queues both ways", false}, {"in one process", true}} {
		t.Run(c.name, func(t *testing.T) {
			brokertest.Run(t, func(t *testing.T, workers int, deliver brokertest.Deliver) brokertest.Cluster {
				return newCluster(t, workers, deliver, c.direct)
			})
		})
	}
}
