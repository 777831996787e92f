package traffic

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/expedite-go/expedite/ws"
)

// player is what makes a client one of its kind.
type player interface {
	// target is the path and query to open.
	target() string
	// play writes, until c.pause says that it is enough.
	play(c *client) error
	// hear judges a message. On the reader.
	hear(c *client, a *arrival)
	// owed is how many messages and pongs are still to come, and nil if nothing that was found missing is.
	owed() (n uint64, complete bool)
}

// Players that can do more.
type (
	// ponged judges pongs. The others expect none.
	ponged interface {
		pong(c *client, payload []byte)
	}
	// paced says how the connection is read, see link.listen.
	paced interface{ pace(c *client) int }
)

// client is one connection and what it checks.
type client struct {
	link
	run     *Run
	kind    string
	sender  uint32
	player  player
	rng     *rand.Rand // of the writer
	slowly  *rand.Rand // of the reader
	dribble cut        // of the handshake

	ready    chan struct{} // closed at the first message that came as it should
	once     sync.Once
	quiet    chan struct{} // closed when the writer has ended
	arrival  arrival
	closing  atomic.Bool // the close frame is on its way
	answered atomic.Bool // by the server's
}

func (r *Run) newClient(kind string, p player) *client {
	sender := uint32(len(r.clients) + 1)
	seed := func(use uint64) *rand.Rand { return rand.New(rand.NewPCG(r.cfg.Seed, uint64(sender)<<8|use)) }
	c := &client{
		run: r, kind: kind, sender: sender, player: p, rng: seed(1), slowly: seed(2),
		ready: make(chan struct{}), quiet: make(chan struct{}),
	}
	c.link.stop, c.link.gone, c.link.rng = r.stopping, make(chan struct{}), seed(3)
	r.clients = append(r.clients, c)
	return c
}

// start connects, and begins to write and to read.
func (c *client) start(ctx context.Context) error {
	if err := c.link.open(ctx, c.run.cfg.Addr, c.player.target(), c.dribble); err != nil {
		return fmt.Errorf("traffic: %s %d: %w", c.kind, c.sender, err)
	}
	c.run.tally.connected.Add(1)
	c.run.work.Add(2)
	go c.read()
	go c.write()
	return nil
}

func (c *client) write() {
	defer c.run.work.Done()
	defer close(c.quiet)
	if err := c.player.play(c); err != nil {
		// The reader tells the reason: it sees what the server said before, and then the end.
		_ = c.nc.SetReadDeadline(time.Now().Add(c.run.cfg.Patience))
	}
}

func (c *client) read() {
	defer c.run.work.Done()
	defer close(c.gone)
	defer c.nc.Close()
	var pace func() int
	if p, ok := c.player.(paced); ok {
		pace = func() int { return p.pace(c) }
	}
	err := c.listen(pace, c.on)
	_, broken := errors.AsType[*ws.ProtocolError](err)
	switch {
	case broken:
		c.bad("%v", err)
	case c.answered.Load():
	case c.closing.Load():
		c.fault(&c.run.tally.closeFailed, 1, "no answer to the close frame: %v", err)
	default:
		c.fault(&c.run.tally.disconnected, 1, "connection ended: %v", err)
	}
}

// on takes what has arrived.
func (c *client) on(ev ws.Event) {
	c.run.arrivals.Add(1)
	switch ev.Kind {
	case ws.KindPong:
		if p, ok := c.player.(ponged); ok {
			p.pong(c, ev.Data)
		} else {
			c.bad("pong that was not asked for")
		}
	case ws.KindClose:
		switch {
		case !c.closing.Load():
			c.fault(&c.run.tally.disconnected, 1, "closed by the server: %d %q", ev.Code, ev.Data)
		case ev.Code != ws.CloseNormal:
			c.fault(&c.run.tally.closeFailed, 1, "close frame answered by %d %q", ev.Code, ev.Data)
		}
		c.answered.Store(true)
	case ws.KindData:
		if ev.First {
			c.arrival.begin(ev.Opcode)
		}
		if c.arrival.add(ev.Data); ev.Last {
			c.player.hear(c, &c.arrival)
		}
	}
}

// take judges a number, and reports whether the message is to be counted as one that came as it should.
func (c *client) take(s *sequence, n uint64) bool {
	t := &c.run.tally
	switch v, missing := s.take(n); v {
	case wild:
		c.bad("number %d, want %d", n, s.next)
		return false
	case doubled:
		c.fault(&t.doubled, 1, "number %d came again", n)
		return false
	case late:
		t.lost.Add(^uint64(0)) // it was counted when it was missed
		c.fault(&t.reordered, 1, "number %d came late", n)
	case jumped:
		c.fault(&t.lost, missing, "%d missing before number %d", missing, n)
	}
	c.once.Do(func() { close(c.ready) })
	return true
}

func (c *client) bad(format string, args ...any) { c.fault(&c.run.tally.bad, 1, format, args...) }

func (c *client) fault(count *atomic.Uint64, n uint64, format string, args ...any) {
	c.run.tally.fault(count, n, fmt.Sprintf("%s %d: %s", c.kind, c.sender, fmt.Sprintf(format, args...)))
}

// rest waits about as long as a client does between two messages.
func (c *client) rest() bool { return c.pause(c.rng, c.run.cfg.interval()) }

// over says whether there is nobody to write to any more.
func (c *client) over() bool {
	select {
	case <-c.stop:
		return true
	case <-c.gone:
		return true
	default:
		return false
	}
}
