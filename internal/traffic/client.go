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

// player implements the behavior of one kind of client.
type player interface {
	// target returns the path and query to open.
	target() string
	// play sends messages until c.pause reports false.
	play(c *client) error
	// hear checks a message. The reader goroutine calls it.
	hear(c *client, a *arrival)
	// owed returns the number of messages and pongs still to come. complete is true if there are none and no gap in the
	// numbers is left.
	owed() (n uint64, complete bool)
}

// Optional interfaces of players.
type (
	// ponged is implemented by players that send pings; pong checks a pong. Other players treat every pong as an error.
	ponged interface {
		pong(c *client, payload []byte)
	}
	// paced is implemented by players that limit how fast the connection is read; see link.listen.
	paced interface{ pace(c *client) int }
)

// client is one connection and the state of its checks.
type client struct {
	link
	run     *Run
	kind    string
	sender  uint32
	player  player
	rng     *rand.Rand // used by the writer
	slowly  *rand.Rand // used by the reader
	dribble cut        // for the handshake

	ready    chan struct{} // closed when the first correct message arrives
	once     sync.Once
	quiet    chan struct{} // closed when the writer has ended
	arrival  arrival
	closing  atomic.Bool // the close frame is being sent
	answered atomic.Bool // the server has replied to the close frame
}

func (r *Run) newClient(kind string, p player) *client {
	sender := uint32(len(r.clients) + 1)
	seed := func(use uint64) *rand.Rand { return rand.New(rand.NewPCG(r.cfg.Seed, uint64(sender)<<8|use)) }
	c := &client{
		run: r, kind: kind, sender: sender, player: p, rng: seed(1), slowly: seed(2),
		ready: make(chan struct{}), quiet: make(chan struct{}),
	}
	c.link.stop, c.link.gone, c.link.rng = r.stopping, make(chan struct{}), seed(3)
	c.link.tls = r.cfg.TLS
	r.compress(&c.link, sender)
	r.clients = append(r.clients, c)
	return c
}

// start connects, then starts the reader and the writer.
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
		// The reader reports the reason: it reads what the server sent before the connection ended.
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

// on handles a received event.
func (c *client) on(ev ws.Event) {
	c.run.arrivals.Add(1)
	switch ev.Kind {
	case ws.KindPong:
		if p, ok := c.player.(ponged); ok {
			p.pong(c, ev.Data)
		} else {
			c.bad("unsolicited pong")
		}
	case ws.KindClose:
		switch {
		case !c.closing.Load():
			c.fault(&c.run.tally.disconnected, 1, "closed by the server: %d %q", ev.Code, ev.Data)
		case ev.Code != ws.CloseNormal:
			c.fault(&c.run.tally.closeFailed, 1, "close frame answered with %d %q", ev.Code, ev.Data)
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

// take checks a message number and reports whether to count the message as correct.
func (c *client) take(s *sequence, n uint64) bool {
	t := &c.run.tally
	switch v, missing := s.take(n); v {
	case wild:
		c.bad("number %d, want %d", n, s.next)
		return false
	case doubled:
		c.fault(&t.doubled, 1, "duplicate number %d", n)
		return false
	case late:
		t.lost.Add(^uint64(0)) // it was counted when the gap was found
		c.fault(&t.reordered, 1, "number %d arrived late", n)
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

// rest pauses for about the configured interval between two messages.
func (c *client) rest() bool { return c.pause(c.rng, c.run.cfg.interval()) }

// over reports whether the writer should stop: the run is stopping or the connection has ended.
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
