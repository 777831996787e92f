package loadtest

import (
	"context"
	crand "crypto/rand"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/expedite-go/expedite/internal/reactor"
	"github.com/expedite-go/expedite/ws"
)

const (
	// closeTimeout is how long a server may take to close the socket after the close frames.
	closeTimeout = 5 * time.Second
	sampleTime   = time.Second
	// earliness is how early a timer may fire, so that one turn sends all messages that are due at nearly the same
	// time. A message that was sent too early is timed from when it was sent.
	earliness = 200 * time.Microsecond
	// maxTimers limits the timers that fire in one turn, so that sockets get their turn.
	maxTimers = 256
	// spareMeasures is the number of sets of histograms that circulate between the loop and the reader of the samples.
	spareMeasures = 3
)

// order is a message from the parent to a client process.
type order struct {
	Do orderKind
	// Of orderBegin: the index of this process among Of processes, the id of the run, the start of the run on the clock
	// of reactor.Monotonic, and the addresses to use.
	Index, Of int
	Run       uint32
	At        int64
	Remotes   []netip.AddrPort
	Locals    []netip.Addr
	// Published is the number of publications of the run, in orderEnd.
	Published uint64
}

type orderKind string

const (
	orderBegin orderKind = "begin" // connect, or let virtual users arrive
	orderStart orderKind = "talk"  // send messages
	orderStorm orderKind = "storm" // disconnect and reconnect
	orderStop  orderKind = "hush"  // send no more messages; no more users arrive
	orderEnd   orderKind = "end"   // close all connections and send the last sample
)

// behavior decides what the connections of a generator do. Its methods are called on the loop.
type behavior interface {
	// begin handles orderBegin.
	begin(o *order)
	// order handles all other orders.
	order(o *order)
	// opening returns the handshake of c.
	opening(c *conn) *opening
	// opened is called when c has become a WebSocket.
	opened(c *conn)
	// refused is called when a connect has failed. The connection no longer exists.
	refused(u *user, cause string)
	// message handles a message or a piece of one.
	message(c *conn, ev *ws.Event)
	// writable is called when a socket that was full accepts bytes again.
	writable(c *conn)
	// closed is called when c is no longer open, with the reason. The record of c still exists.
	closed(c *conn, why string)
	// fire is called when a timer is due.
	fire(t timer, now int64)
	// progress reports whether all clients have connected or failed, or all users have finished, and whether no message
	// waits for its answer.
	progress() (settled, quiet bool)
}

// Refs of timers that belong to no connection or user. Their gen is 0, which no key has.
const (
	refSample uint32 = iota
	refEnd           // limits the time for closing
	refRamp
)

// generator runs the clients of one process on one event loop.
type generator struct {
	cfg        *Config
	ctx        context.Context // of background dials
	cancel     context.CancelFunc
	background sync.WaitGroup
	loop       *reactor.Loop
	alarm      *alarm
	timers     timers
	conns      table
	partial    map[uint32][]byte // by index of the key: the part of a response head, refusal or message received so far
	unsent     map[uint32][]byte // by index of the key: bytes that the socket did not take
	reader     ws.ReaderConfig
	random     *rand.ChaCha8
	seed       uint64
	scratch    []byte
	readAt     int64 // when the last read returned
	dials      uint64
	behavior   behavior
	squeeze    squeeze

	totals   totals
	times    *measures
	free     chan *measures
	samples  chan<- *sample
	settled  bool // in the last sample, like quiet
	quiet    bool
	told     int // orders handled up to the last sample
	orders   int
	sampling bool // the run has begun
	ending   bool
	ended    bool // the last sample was sent
}

// newGenerator creates a generator. It sends its samples to samples, which run closes when it returns. The reader
// returns their histograms by recycle.
func newGenerator(cfg *Config, samples chan<- *sample) (*generator, error) {
	g := &generator{
		cfg: cfg, samples: samples, times: newMeasures(), free: make(chan *measures, spareMeasures),
		partial: make(map[uint32][]byte), unsent: make(map[uint32][]byte),
		reader: ws.ReaderConfig{Role: ws.Client, MaxMessage: -1, MaxFragments: 1 << 30},
	}
	for range spareMeasures - 1 {
		g.free <- newMeasures()
	}
	var seed [32]byte
	if _, err := crand.Read(seed[:]); err != nil {
		return nil, err
	}
	g.random, g.seed = rand.NewChaCha8(seed), binary.LittleEndian.Uint64(seed[:])
	var err error
	if g.loop, err = reactor.New(g, reactor.Options{}); err != nil {
		return nil, err
	}
	if g.alarm, err = newAlarm(g.loop); err != nil {
		return nil, err
	}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	return g, nil
}

// run runs the loop until the last sample is sent.
func (g *generator) run() error {
	err := g.loop.Run()
	g.cancel()
	g.background.Wait()
	close(g.samples)
	return err
}

// send posts an order to the loop. It is safe for concurrent use.
func (g *generator) send(o order) { g.loop.Post(func() { g.handleOrder(&o) }) }

// abort ends the loop without a last sample. It is safe for concurrent use.
func (g *generator) abort() {
	g.loop.Post(func() {
		g.conns.each(g.release)
		g.ended = true
		g.alarm.close(g.loop)
	})
	g.loop.Stop()
}

func (g *generator) handleOrder(o *order) {
	g.orders++
	switch o.Do {
	case orderBegin:
		if g.sampling {
			return
		}
		g.sampling = true
		g.behavior = g.newBehavior(o)
		g.timers.add(timer{at: o.At + int64(sampleTime), ref: refSample})
		g.behavior.begin(o)
	case orderEnd:
		g.finish(o)
	default:
		if g.behavior != nil {
			g.behavior.order(o)
		}
	}
	g.sampleIfChanged()
}

func (g *generator) newBehavior(o *order) behavior {
	if g.cfg.Plan != nil {
		return newUsers(g, o)
	}
	return newClients(g, o)
}

// finish closes all connections. The loop ends when they are gone, or after closeTimeout.
func (g *generator) finish(o *order) {
	if g.ending {
		return
	}
	if g.behavior != nil {
		g.behavior.order(o)
	}
	g.ending = true
	g.cancel()
	g.conns.each(func(c *conn) {
		if c.state < stateOpen {
			u := c.user
			g.release(c)
			g.totals.Pending--
			if u != nil {
				u.key = reactor.Key{}
			}
			return
		}
		g.end(c, ws.CloseNormal)
	})
	g.timers.add(timer{at: reactor.Monotonic() + int64(closeTimeout), ref: refEnd})
}

// Ready implements reactor.Handler.
func (g *generator) Ready(k reactor.Key, ev reactor.Events) {
	if k == g.alarm.key {
		return // Flush checks the timers
	}
	c := g.conns.get(k)
	if c == nil {
		return
	}
	if c.state == stateConnecting {
		g.connected(c, ev)
	} else if ev&reactor.Writable != 0 && c.bits&bitFull != 0 {
		g.writable(c)
	}
	if ev&(reactor.Readable|reactor.Hangup) != 0 && g.conns.get(k) == c {
		g.read(c, ev&reactor.Hangup != 0)
	}
}

// Timeout implements reactor.Handler: a connect or a close takes too long.
func (g *generator) Timeout(k reactor.Key) {
	c := g.conns.get(k)
	switch {
	case c == nil:
	case c.state == stateRefused:
		g.feedRefusal(c, nil, true)
	case c.state < stateOpen:
		g.fail(c, "timeout")
	case c.state == stateClosing:
		g.release(c)
	}
}

// Flush implements reactor.Handler: it fires the timers that are due.
func (g *generator) Flush() {
	if g.ended {
		return
	}
	now := reactor.Monotonic() + int64(earliness)
	n := 0
	for ; g.timers.len() > 0 && g.timers.next() <= now && n < maxTimers && !g.ended; n++ {
		g.fire(g.timers.take(), now)
	}
	if g.ended {
		return
	}
	if g.ending && g.loop.Stats().Sockets <= g.ownSockets() {
		g.sendLastSample()
		return
	}
	g.sampleIfChanged()
	switch {
	case n == maxTimers:
		g.loop.Wake()
	case g.timers.len() > 0:
		g.alarm.set(g.timers.next())
	}
}

// ownSockets returns the number of sockets on the loop that are not connections.
func (g *generator) ownSockets() int {
	if g.alarm.key == (reactor.Key{}) {
		return 0
	}
	return 1
}

func (g *generator) fire(t timer, now int64) {
	if t.gen != 0 || t.ref == refRamp {
		g.behavior.fire(t, now)
		return
	}
	switch t.ref {
	case refSample:
		g.sendSample(false)
		g.timers.add(timer{at: max(t.at+int64(sampleTime), now), ref: refSample})
	case refEnd:
		g.conns.each(g.release)
	}
}

// sendLastSample sends the last sample and ends the loop.
func (g *generator) sendLastSample() {
	g.ended = true
	g.sendSample(true)
	g.alarm.close(g.loop)
	g.loop.Stop()
}

// sampleIfChanged sends a sample early if all clients have settled, the traffic has come to rest, or an order was
// handled.
func (g *generator) sampleIfChanged() {
	if !g.sampling || g.ending {
		return
	}
	if settled, quiet := g.behavior.progress(); settled != g.settled || quiet != g.quiet || g.told != g.orders {
		g.sendSample(false)
	}
}

// sendSample sends a sample. If the reader has not returned the previous ones, it skips this one; its numbers are part
// of the next.
func (g *generator) sendSample(last bool) {
	var next *measures
	if !last {
		select {
		case next = <-g.free:
		default:
			return
		}
	}
	s := &sample{
		Totals: g.totals.clone(), Ended: last, Orders: g.orders, CPU: cpuTime(), RSS: memory(os.Getpid()), times: g.times,
	}
	if g.behavior != nil {
		s.Settled, s.Quiet = g.behavior.progress()
	}
	g.settled, g.quiet, g.told = s.Settled, s.Quiet, s.Orders
	g.times = next
	g.samples <- s // does not block: the channel has room for all sets of histograms
}

var _ reactor.Handler = (*generator)(nil)
