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
	// closeTimeout is how long a server has to close the socket after the close frames.
	closeTimeout = 5 * time.Second
	sampleTime   = time.Second
	// earliness is how much before its time a timer may fire: what is due soon leaves with what is due now. A message that
	// was sent too early is timed from then.
	earliness = 200 * time.Microsecond
	// maxTimers is the number of timers that fire in a turn before the sockets have theirs.
	maxTimers = 256
	// spareMeasures is the number of sets of histograms that go round between the loop and whoever reads them.
	spareMeasures = 3
)

// order is what the parent tells a client process.
type order struct {
	Do orderKind
	// Of orderBegin: which of how many processes this one is, a number of the run, the time of its beginning on the
	// clock of reactor.Monotonic, and where to.
	Index, Of int
	Run       uint32
	At        int64
	Remotes   []netip.AddrPort
	Locals    []netip.Addr
	// Published is, of orderEnd, the number of messages for everyone.
	Published uint64
}

type orderKind string

const (
	orderBegin orderKind = "begin" // connect, or let virtual users arrive
	orderTalk  orderKind = "talk"  // send
	orderStorm orderKind = "storm" // disconnect and connect again
	orderHush  orderKind = "hush"  // send no more; no user arrives any more
	orderEnd   orderKind = "end"   // close everything, and tell the last numbers
)

// behavior is what the clients of a generator do. Its methods are called on the loop.
type behavior interface {
	// begin begins.
	begin(o *order)
	// order is any other order.
	order(o *order)
	// opening is what c asks the server for.
	opening(c *conn) *opening
	// opened is told of a WebSocket.
	opened(c *conn)
	// refused is told of a connect that failed. Its connection is gone.
	refused(u *user, cause string)
	// message takes a message or a piece of one.
	message(c *conn, ev *ws.Event)
	// writable is told that a socket that was full takes bytes again.
	writable(c *conn)
	// closed is told that c is not open any more, and why, while its record is still there.
	closed(c *conn, why string)
	// fire is told that a timer's time has come.
	fire(t timer, now int64)
	// progress says whether all have connected, or are through, and whether no message is under way.
	progress() (settled, quiet bool)
}

// refs of timers that belong to no connection or user; their gen is 0, which no key has.
const (
	refSample uint32 = iota
	refEnd           // of the time for closing
	refRamp
)

// generator is the clients of one process, on one event loop.
type generator struct {
	cfg      *Config
	ctx      context.Context // of dials that are made aside
	cancel   context.CancelFunc
	aside    sync.WaitGroup
	loop     *reactor.Loop
	alarm    *alarm
	timers   timers
	conns    table
	partial  map[uint32][]byte // by index of the key: what has arrived of a head, a refusal or a message
	unsent   map[uint32][]byte // by index of the key: what the socket did not take
	reader   ws.ReaderConfig
	random   *rand.ChaCha8
	seed     uint64
	scratch  []byte
	readAt   int64 // time of the last read
	dials    uint64
	behavior behavior

	totals   totals
	times    *measures
	free     chan *measures
	samples  chan<- *sample
	settled  bool // as told in the last sample
	quiet    bool
	told     int // orders, likewise
	orders   int
	sampling bool // begun
	ending   bool
	ended    bool // the last sample was given
}

// newGenerator makes one. Its samples go to samples, which is closed when run ends; what they measured comes back
// through free.
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

// run turns the loop until the last sample is given.
func (g *generator) run() error {
	err := g.loop.Run()
	g.cancel()
	g.aside.Wait()
	close(g.samples)
	return err
}

// tell gives an order. Any goroutine.
func (g *generator) tell(o order) { g.loop.Post(func() { g.obey(&o) }) }

// abort ends the loop without a last word. Any goroutine.
func (g *generator) abort() {
	g.loop.Post(func() {
		g.conns.each(g.release)
		g.ended = true
		g.alarm.close(g.loop)
	})
	g.loop.Stop()
}

func (g *generator) obey(o *order) {
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
	g.news()
}

func (g *generator) newBehavior(o *order) behavior {
	if g.cfg.Plan != nil {
		return newUsers(g, o)
	}
	return newCrowd(g, o)
}

// finish closes all connections and lets the loop end when they are gone, or have had their time.
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

// Ready is of reactor.Handler.
func (g *generator) Ready(k reactor.Key, ev reactor.Events) {
	if k == g.alarm.key {
		return // Flush looks at the clock
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

// Timeout is of reactor.Handler: a connect, or a close, takes too long.
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

// Flush is of reactor.Handler: it does what is due.
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
		g.last()
		return
	}
	g.news()
	switch {
	case n == maxTimers:
		g.loop.Wake()
	case g.timers.len() > 0:
		g.alarm.set(g.timers.next())
	}
}

// ownSockets is the number of sockets on the loop that are no connections.
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
		g.give(false)
		g.timers.add(timer{at: max(t.at+int64(sampleTime), now), ref: refSample})
	case refEnd:
		g.conns.each(g.release)
	}
}

// last gives the last sample and ends the loop.
func (g *generator) last() {
	g.ended = true
	g.give(true)
	g.alarm.close(g.loop)
	g.loop.Stop()
}

// news gives a sample early if something has come to an end.
func (g *generator) news() {
	if !g.sampling || g.ending {
		return
	}
	if settled, quiet := g.behavior.progress(); settled != g.settled || quiet != g.quiet || g.told != g.orders {
		g.give(false)
	}
}

// give gives a sample, unless nobody has taken the ones before: then its numbers come with the next.
func (g *generator) give(last bool) {
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
	g.samples <- s // has room for all measures there are
}

var _ reactor.Handler = (*generator)(nil)
