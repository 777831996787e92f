package broker_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/expedite-go/expedite/internal/broker"
	"github.com/expedite-go/expedite/internal/broker/brokertest"
)

var (
	errFull = errors.New("queue full")
	errGone = errors.New("other side gone")
)

// pipe is a Link through memory. All envelopes that are queued arrive as one message.
type pipe struct {
	mu      sync.Mutex
	work    sync.Cond
	queue   []byte
	full    bool
	closed  bool
	emptied chan struct{} // closed when nothing arrives any more
}

func newPipe() *pipe {
	p := &pipe{emptied: make(chan struct{})}
	p.work.L = &p.mu
	return p
}

// start starts to deliver what is queued.
func (p *pipe) start(arrive func(m []byte)) {
	go func() { // ends with close
		defer close(p.emptied)
		for m := p.next(); m != nil; m = p.next() {
			arrive(m)
		}
	}()
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

// cluster is a Hub with its workers in this process.
type cluster struct {
	hub     *broker.Hub
	deliver brokertest.Deliver
	direct  bool // workers call the Hub instead of using a pipe
	workers []member
}

type member struct {
	slot     int
	local    *broker.Local
	up, down *pipe
	port     *broker.Port
}

func newCluster(t *testing.T, workers int, deliver brokertest.Deliver, direct bool) *cluster {
	hub := broker.NewHub(func(conn uint64) int { return int(conn >> 32) })
	return newClusterOf(t, hub, workers, deliver, direct)
}

func newClusterOf(t *testing.T, hub *broker.Hub, workers int, deliver brokertest.Deliver, direct bool) *cluster {
	c := &cluster{hub: hub, deliver: deliver, direct: direct, workers: make([]member, workers)}
	for i := range workers {
		c.Join(i)
	}
	t.Cleanup(func() {
		for i := range c.workers {
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

func (c *cluster) Join(i int) { c.workers[i] = c.member(i, i) }

func (c *cluster) Succeed(i int) (next int) {
	next = len(c.workers)
	c.workers = append(c.workers, c.member(next, c.workers[i].slot))
	return next
}

// member is worker number i, in a slot.
func (c *cluster) member(i, slot int) member {
	m := member{slot: slot, down: newPipe()}
	m.port = c.hub.Attach(slot, m.down)
	receive := m.port.Receive
	var link broker.Link = broker.LinkFunc(func(b []byte) error { receive(b); return nil })
	if !c.direct {
		m.up = newPipe()
		m.up.start(receive)
		link = m.up
	}
	m.local = broker.NewLocal(link, func(e broker.Envelope) bool { return c.deliver(i, e) })
	m.down.start(m.local.Receive)
	return m
}

func (c *cluster) Hold(i int) { c.workers[i].port.Hold() }

func (c *cluster) Lead(i int) { c.workers[i].port.Lead() }

func (c *cluster) Leave(i int) {
	m := &c.workers[i]
	m.port.Detach()
	m.down.close()
	if m.up != nil {
		m.up.close()
	}
}

// TestConformance: all ways of connecting workers on one machine pass the conformance suite.
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
