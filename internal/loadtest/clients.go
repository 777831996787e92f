package loadtest

import (
	"bytes"

	"github.com/expedite-go/expedite/internal/reactor"
	"github.com/expedite-go/expedite/ws"
)

const (
	// maxBehind limits the messages of a client that wait for an answer. Messages that are due beyond the limit are
	// sent later, but their round-trip times still count from when they were due.
	maxBehind = 1024
	// rampBatch limits the connects that begin in one turn of the loop.
	rampBatch = 64
)

// clients is the behavior of the modes: the share of Config.Connections clients that live in this process.
type clients struct {
	g     *generator
	first opening // of a client without a token
	index int
	of    int
	run   uint32 // id of this run in the tags of publications

	start int64   // when the ramp begins
	gap   float64 // nanoseconds between two clients, over all processes
	next  int     // index in this process of the next client to connect
	total int
	block int  // clients per process if each process connects a block of them; 0 if processes take turns
	armed bool // a timer of the ramp is set

	sending   bool
	interval  int64 // nanoseconds between two messages; 0 sends the next one when the answer arrives
	payload   []byte
	inFlight  int64 // messages without an answer
	publisher reactor.Key
	began     int64 // when the first publication was due
}

func newClients(g *generator, o *order) *clients {
	w := &clients{g: g, index: o.Index, of: o.Of, run: o.Run & mask24}
	t, err := parseTarget(g.cfg.URL)
	if err != nil {
		t = &target{} // not reached: Config.Check has parsed the URL
	}
	t.remotes, t.locals = o.Remotes, o.Locals
	w.first = opening{target: t, header: g.cfg.Header, subprotocols: g.cfg.Subprotocols}
	w.total = (g.cfg.Connections - w.index + w.of - 1) / w.of
	if w.of > fewProcesses {
		w.block = (g.cfg.Connections + w.of - 1) / w.of
		w.total = min(max(g.cfg.Connections-w.index*w.block, 0), w.block)
	}
	w.payload = bytes.Repeat([]byte("x"), g.cfg.Size)
	if g.cfg.Rate > 0 {
		w.interval = int64(1e9 / g.cfg.Rate)
	}
	return w
}

func (w *clients) begin(o *order) {
	w.start = o.At
	switch c := w.g.cfg; {
	case c.RampRate > 0:
		w.gap = 1e9 / c.RampRate
	case c.Ramp > 0:
		w.gap = float64(c.Ramp) / float64(c.Connections)
	}
	w.connect(reactor.Monotonic())
}

// number returns the client number, unique over all processes, of client i of this process. A few processes take turns.
// Many processes connect one block of clients each, because a process that connects a client now and then has to wake
// up for every one of them.
func (w *clients) number(i int) int {
	if w.block > 0 {
		return w.index*w.block + i
	}
	return w.index + i*w.of
}

// fewProcesses is the largest number of processes that take turns.
const fewProcesses = 4

// connect begins the connects that are due, up to the limit of pending ones.
func (w *clients) connect(now int64) {
	if w.armed || w.g.ending {
		return
	}
	limit := pendingLimit(w.first.target)
	for n := 0; w.next < w.total && w.g.totals.Pending < limit; n++ {
		at := w.start + int64(float64(w.number(w.next))*w.gap)
		if at > now || n == rampBatch {
			w.armed = true
			w.g.timers.add(timer{at: at, ref: refRamp})
			return
		}
		w.g.dial(w.first.target, uint32(w.number(w.next)), nil)
		w.next++
	}
}

func (w *clients) order(o *order) {
	switch o.Do {
	case orderStart:
		w.startSending()
	case orderStorm:
		w.storm()
	case orderStop:
		w.sending = false
	case orderEnd:
		w.countMissing(o.Published)
	}
}

// startSending starts the traffic of the mode. With ModeEcho, the clients' first messages are spread over the interval.
func (w *clients) startSending() {
	w.sending = true
	w.began = reactor.Monotonic()
	switch w.g.cfg.Mode {
	case ModeEcho:
		w.g.conns.each(func(c *conn) {
			if c.state == stateOpen {
				w.startEcho(c)
			}
		})
	case ModeBroadcast:
		w.choosePublisher()
	}
}

// startEcho schedules the first message of one client.
func (w *clients) startEcho(c *conn) {
	const golden = 0.6180339887498949 // the golden ratio, whose multiples modulo 1 are evenly spread
	_, share := modf(float64(c.id) * golden)
	c.began = reactor.Monotonic() + int64(share*float64(w.interval))
	c.sent, c.got = 0, 0
	w.g.timers.add(timer{at: c.began, ref: c.key.Index, gen: c.key.Gen})
}

func modf(x float64) (whole, share float64) {
	whole = float64(int64(x))
	return whole, x - whole
}

// choosePublisher picks the connection that publishes. It is in process 0; if it closes, another one takes over.
func (w *clients) choosePublisher() {
	if w.index != 0 {
		return
	}
	w.publisher = reactor.Key{}
	w.g.conns.each(func(c *conn) {
		if c.state == stateOpen && w.publisher == (reactor.Key{}) {
			w.publisher = c.key
		}
	})
	if w.publisher != (reactor.Key{}) {
		w.g.timers.add(timer{at: w.due(w.g.totals.Published), ref: w.publisher.Index, gen: w.publisher.Gen})
	}
}

// storm disconnects all clients as browsers do when their page is closed, and reconnects them at once.
func (w *clients) storm() {
	w.g.conns.each(func(c *conn) { w.g.end(c, ws.CloseGoingAway) })
	w.next, w.gap = 0, 0
	w.connect(reactor.Monotonic())
}

// countMissing counts messages that have not arrived; published is the number of publications of the run.
func (w *clients) countMissing(published uint64) {
	w.sending = false
	w.g.totals.Unanswered += uint64(max(w.inFlight, 0))
	w.inFlight = 0
	if w.g.cfg.Mode != ModeBroadcast {
		return
	}
	w.g.conns.each(func(c *conn) {
		if c.state == stateOpen {
			w.g.totals.Missing += uint64(max(ahead(uint32(published), c.got), 0))
		}
	})
}

func (w *clients) progress() (settled, quiet bool) {
	return w.next == w.total && w.g.totals.Pending == 0, !w.sending && w.inFlight == 0
}

func (w *clients) opening(c *conn) *opening {
	if w.g.cfg.Token == nil || c.state != stateHead {
		return &w.first
	}
	o := w.first
	o.header = append(o.header[:len(o.header):len(o.header)],
		ws.Field{Name: "Authorization", Value: "Bearer " + w.g.cfg.Token(int(c.id))})
	return &o
}

func (w *clients) opened(c *conn) {
	if w.sending && w.g.cfg.Mode == ModeEcho {
		w.startEcho(c)
	}
	w.connect(w.g.readAt)
}

func (w *clients) refused(*user, string) { w.connect(reactor.Monotonic()) }

func (w *clients) closed(c *conn, _ string) {
	if w.g.cfg.Mode == ModeEcho {
		w.g.totals.Unanswered += uint64(c.sent - c.got)
		w.inFlight -= int64(c.sent - c.got)
		return
	}
	if c.key == w.publisher && w.sending {
		k := c.key
		c.state = stateClosing // keeps choosePublisher from picking this one again
		w.choosePublisher()
		if w.publisher == k {
			w.publisher = reactor.Key{}
		}
	}
}

func (w *clients) writable(c *conn) {
	if c.bits&bitBehind != 0 {
		c.bits &^= bitBehind
		w.sendDue(c, reactor.Monotonic())
	}
}

func (w *clients) fire(t timer, now int64) {
	if t.gen == 0 {
		w.armed = false
		w.connect(now)
		return
	}
	if c := w.g.conns.get(reactor.Key{Index: t.ref, Gen: t.gen}); c != nil && c.state == stateOpen {
		w.sendDue(c, now)
	}
}

// due returns when publication n is due.
func (w *clients) due(n uint64) int64 { return w.began + int64(n)*w.interval }

// sendDue sends the messages that are due on c. It then sets a timer for the next one, unless an answer has to arrive
// first.
func (w *clients) sendDue(c *conn, now int64) {
	if !w.sending {
		return
	}
	if w.g.cfg.Mode == ModeBroadcast {
		w.publishDue(c, now)
		return
	}
	k := c.key
	for {
		at := c.began + int64(c.sent)*w.interval
		switch {
		case at > now:
			w.g.timers.add(timer{at: at, ref: k.Index, gen: k.Gen})
			return
		case c.bits&bitFull != 0 || c.sent-c.got >= maxBehind || w.interval == 0 && c.sent != c.got:
			c.bits |= bitBehind
			return
		}
		real := reactor.Monotonic()
		if w.interval > 0 {
			record(w.g.times.late, real-at)
		}
		w.inFlight++
		seq := c.sent
		c.sent++
		w.sendMessage(c, tag{id: c.id, seq: seq & mask24, at: real})
		if w.g.conns.get(k) != c || c.state != stateOpen {
			return
		}
	}
}

// publishDue is sendDue for the connection that publishes.
func (w *clients) publishDue(c *conn, now int64) {
	if c.key != w.publisher {
		return
	}
	k, t := c.key, &w.g.totals
	for {
		at := w.due(t.Published)
		switch {
		case at > now && w.interval > 0:
			w.g.timers.add(timer{at: at, ref: k.Index, gen: k.Gen})
			return
		case c.bits&bitFull != 0 || w.interval == 0 && ahead(uint32(t.Published), c.got) > 0:
			c.bits |= bitBehind
			return
		}
		real := reactor.Monotonic()
		if w.interval > 0 {
			record(w.g.times.late, real-at)
		}
		if w.interval == 0 || real < at {
			at = real
		}
		seq := uint32(t.Published)
		t.Published++
		w.sendMessage(c, tag{id: w.run, seq: seq & mask24, at: at})
		if w.g.conns.get(k) != c || c.state != stateOpen {
			return
		}
	}
}

// sendMessage sends one message.
func (w *clients) sendMessage(c *conn, t tag) {
	g := w.g
	t.put(w.payload)
	g.totals.Sent++
	g.totals.BytesSent += uint64(len(w.payload))
	g.write(c, g.text(c, w.payload))
}

// message handles a message, or a piece of one. Only the tag at the start matters.
func (w *clients) message(c *conn, ev *ws.Event) {
	if !ev.First {
		w.appendPiece(c, ev)
		return
	}
	if len(ev.Data) < tagLen && !ev.Last {
		w.g.partial[c.key.Index] = bytes.Clone(ev.Data)
		return
	}
	w.received(c, ev.Data, ev.Last)
}

// appendPiece completes a tag that was split, and notices the end of a message that was.
func (w *clients) appendPiece(c *conn, ev *ws.Event) {
	i := c.key.Index
	part, cut := w.g.partial[i]
	if cut {
		part = append(part, ev.Data[:min(len(ev.Data), tagLen-len(part))]...)
		w.g.partial[i] = part
	}
	if ev.Last && cut {
		delete(w.g.partial, i)
		w.received(c, part, true)
	}
}

// received handles the start of a message. An incomplete message is timed when its last piece arrives, so its tag is
// kept until then.
func (w *clients) received(c *conn, b []byte, whole bool) {
	if !whole {
		w.g.partial[c.key.Index] = bytes.Clone(b[:tagLen])
		return
	}
	t, ok := parseTag(b)
	switch {
	case !ok:
	case w.g.cfg.Mode == ModeEcho && t.id == c.id:
		w.handleEcho(c, t)
	case w.g.cfg.Mode == ModeBroadcast && t.id == w.run:
		w.handlePublication(c, t)
	}
}

// handleEcho handles the echo of a message.
func (w *clients) handleEcho(c *conn, t tag) {
	d := ahead(t.seq, c.got)
	if d < 0 || c.got+uint32(d) >= c.sent {
		w.g.totals.Duplicates++
		return
	}
	w.g.totals.Missing += uint64(d)
	at := c.began + (int64(c.got)+int64(d))*w.interval
	if w.interval == 0 || t.at < at {
		at = t.at
	}
	record(w.g.times.rtt, w.g.readAt-at)
	if w.interval > 0 {
		record(w.g.times.sent, w.g.readAt-t.at)
	}
	c.got += uint32(d) + 1
	w.inFlight -= int64(d) + 1
	if c.bits&bitBehind != 0 || w.interval == 0 {
		c.bits &^= bitBehind
		w.sendDue(c, w.g.readAt)
	}
}

// handlePublication handles a message that was published.
func (w *clients) handlePublication(c *conn, t tag) {
	d := ahead(t.seq, c.got)
	if d < 0 {
		w.g.totals.Duplicates++
		return
	}
	w.g.totals.Missing += uint64(d)
	w.g.totals.Delivered++
	record(w.g.times.rtt, w.g.readAt-t.at)
	c.got = (t.seq + 1) & mask24
	if c.key == w.publisher && w.interval == 0 && w.sending {
		c.bits &^= bitBehind
		w.publishDue(c, w.g.readAt)
	}
}

var _ behavior = (*clients)(nil)
