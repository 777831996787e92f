package loadtest

import (
	"bytes"

	"github.com/expedite-go/expedite/internal/reactor"
	"github.com/expedite-go/expedite/ws"
)

const (
	// maxBehind is the number of messages that a client has under way to a server that does not answer. Those that are
	// due beyond it are sent later; their times count from when they were due.
	maxBehind = 1024
	// rampBatch is the number of connects that begin in a turn.
	rampBatch = 64
)

// crowd is Config.Connections clients that all do the same, as Config.Mode says: those of this process.
type crowd struct {
	g     *generator
	first opening // of a client without a token
	index int
	of    int
	run   uint32 // names the messages that are published

	start int64   // of the ramp
	gap   float64 // nanoseconds between two clients of all processes
	next  int     // which client of this process connects next
	total int
	block int  // clients of a process that connects them in a row; 0 is one that takes turns
	armed bool // a timer of the ramp is set

	talking  bool
	interval int64 // nanoseconds between two messages; 0 is as soon as the answer is there
	payload  []byte
	underway int64 // messages without an answer
	speaker  reactor.Key
	began    int64 // of the publications
}

func newCrowd(g *generator, o *order) *crowd {
	w := &crowd{g: g, index: o.Index, of: o.Of, run: o.Run & mask24}
	t, err := parseTarget(g.cfg.URL)
	if err != nil {
		t = &target{} // cannot be: Check has read it
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

func (w *crowd) begin(o *order) {
	w.start = o.At
	switch c := w.g.cfg; {
	case c.RampRate > 0:
		w.gap = 1e9 / c.RampRate
	case c.Ramp > 0:
		w.gap = float64(c.Ramp) / float64(c.Connections)
	}
	w.connect(reactor.Monotonic())
}

// number is the client of a place in this process, among all. Few processes take turns; of many, one connects its
// clients after the other: a process that connects now and then has to wake for each of them.
func (w *crowd) number(i int) int {
	if w.block > 0 {
		return w.index*w.block + i
	}
	return w.index + i*w.of
}

// fewProcesses is how many may connect at the same time.
const fewProcesses = 4

// connect begins the connects that are due, while there is room for them.
func (w *crowd) connect(now int64) {
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

func (w *crowd) order(o *order) {
	switch o.Do {
	case orderTalk:
		w.talk()
	case orderStorm:
		w.storm()
	case orderHush:
		w.talking = false
	case orderEnd:
		w.settle(o.Published)
	}
}

// talk lets the clients send: those of ModeEcho spread over the interval.
func (w *crowd) talk() {
	w.talking = true
	w.began = reactor.Monotonic()
	switch w.g.cfg.Mode {
	case ModeEcho:
		w.g.conns.each(func(c *conn) {
			if c.state == stateOpen {
				w.echo(c)
			}
		})
	case ModeBroadcast:
		w.appoint()
	}
}

// echo lets one client begin to send.
func (w *crowd) echo(c *conn) {
	const golden = 0.6180339887498949 // its multiples are spread evenly
	_, share := modf(float64(c.id) * golden)
	c.began = reactor.Monotonic() + int64(share*float64(w.interval))
	c.sent, c.got = 0, 0
	w.g.timers.add(timer{at: c.began, ref: c.key.Index, gen: c.key.Gen})
}

func modf(x float64) (whole, share float64) {
	whole = float64(int64(x))
	return whole, x - whole
}

// appoint makes the first client of all the one that publishes, or another if it is gone.
func (w *crowd) appoint() {
	if w.index != 0 {
		return
	}
	w.speaker = reactor.Key{}
	w.g.conns.each(func(c *conn) {
		if c.state == stateOpen && w.speaker == (reactor.Key{}) {
			w.speaker = c.key
		}
	})
	if w.speaker != (reactor.Key{}) {
		w.g.timers.add(timer{at: w.due(w.g.totals.Published), ref: w.speaker.Index, gen: w.speaker.Gen})
	}
}

// storm lets all clients leave, as browsers do whose page is closed, and come back at once.
func (w *crowd) storm() {
	w.g.conns.each(func(c *conn) { w.g.end(c, ws.CloseGoingAway) })
	w.next, w.gap = 0, 0
	w.connect(reactor.Monotonic())
}

// settle counts what did not arrive: published is the number of messages for everyone.
func (w *crowd) settle(published uint64) {
	w.talking = false
	w.g.totals.Unanswered += uint64(max(w.underway, 0))
	w.underway = 0
	if w.g.cfg.Mode != ModeBroadcast {
		return
	}
	w.g.conns.each(func(c *conn) {
		if c.state == stateOpen {
			w.g.totals.Missing += uint64(max(ahead(uint32(published), c.got), 0))
		}
	})
}

func (w *crowd) progress() (settled, quiet bool) {
	return w.next == w.total && w.g.totals.Pending == 0, !w.talking && w.underway == 0
}

func (w *crowd) opening(c *conn) *opening {
	if w.g.cfg.Token == nil || c.state != stateHead {
		return &w.first
	}
	o := w.first
	o.header = append(o.header[:len(o.header):len(o.header)],
		ws.Field{Name: "Authorization", Value: "Bearer " + w.g.cfg.Token(int(c.id))})
	return &o
}

func (w *crowd) opened(c *conn) {
	if w.talking && w.g.cfg.Mode == ModeEcho {
		w.echo(c)
	}
	w.connect(w.g.readAt)
}

func (w *crowd) refused(*user, string) { w.connect(reactor.Monotonic()) }

func (w *crowd) closed(c *conn, _ string) {
	if w.g.cfg.Mode == ModeEcho {
		w.g.totals.Unanswered += uint64(c.sent - c.got)
		w.underway -= int64(c.sent - c.got)
		return
	}
	if c.key == w.speaker && w.talking {
		k := c.key
		c.state = stateClosing // not this one again
		w.appoint()
		if w.speaker == k {
			w.speaker = reactor.Key{}
		}
	}
}

func (w *crowd) writable(c *conn) {
	if c.bits&bitBehind != 0 {
		c.bits &^= bitBehind
		w.speak(c, reactor.Monotonic())
	}
}

func (w *crowd) fire(t timer, now int64) {
	if t.gen == 0 {
		w.armed = false
		w.connect(now)
		return
	}
	if c := w.g.conns.get(reactor.Key{Index: t.ref, Gen: t.gen}); c != nil && c.state == stateOpen {
		w.speak(c, now)
	}
}

// due is when the n-th publication is.
func (w *crowd) due(n uint64) int64 { return w.began + int64(n)*w.interval }

// speak sends what is due on c, and sets the timer of the next message unless an answer must come first.
func (w *crowd) speak(c *conn, now int64) {
	if !w.talking {
		return
	}
	if w.g.cfg.Mode == ModeBroadcast {
		w.publish(c, now)
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
		w.underway++
		seq := c.sent
		c.sent++
		w.say(c, tag{id: c.id, seq: seq & mask24, at: real})
		if w.g.conns.get(k) != c || c.state != stateOpen {
			return
		}
	}
}

// publish is speak for the one client that publishes.
func (w *crowd) publish(c *conn, now int64) {
	if c.key != w.speaker {
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
		w.say(c, tag{id: w.run, seq: seq & mask24, at: at})
		if w.g.conns.get(k) != c || c.state != stateOpen {
			return
		}
	}
}

// say sends one message.
func (w *crowd) say(c *conn, t tag) {
	g := w.g
	t.put(w.payload)
	g.totals.Sent++
	g.totals.BytesSent += uint64(len(w.payload))
	g.scratch = ws.AppendMaskedFrame(g.scratch[:0], ws.OpText, g.mask(), w.payload)
	g.write(c, g.scratch)
}

// message looks at the tag of a message, which may come in pieces.
func (w *crowd) message(c *conn, ev *ws.Event) {
	if !ev.First {
		w.piece(c, ev)
		return
	}
	if len(ev.Data) < tagLen && !ev.Last {
		w.g.partial[c.key.Index] = bytes.Clone(ev.Data)
		return
	}
	w.heard(c, ev.Data, ev.Last)
}

// piece completes a tag that was cut, and ends a message that was.
func (w *crowd) piece(c *conn, ev *ws.Event) {
	i := c.key.Index
	part, cut := w.g.partial[i]
	if cut {
		part = append(part, ev.Data[:min(len(ev.Data), tagLen-len(part))]...)
		w.g.partial[i] = part
	}
	if ev.Last && cut {
		delete(w.g.partial, i)
		w.heard(c, part, true)
	}
}

// heard takes the beginning of a message. The time of one that is not whole counts when it is.
func (w *crowd) heard(c *conn, b []byte, whole bool) {
	if !whole {
		w.g.partial[c.key.Index] = bytes.Clone(b[:tagLen])
		return
	}
	t, ok := parseTag(b)
	switch {
	case !ok:
	case w.g.cfg.Mode == ModeEcho && t.id == c.id:
		w.answered(c, t)
	case w.g.cfg.Mode == ModeBroadcast && t.id == w.run:
		w.delivered(c, t)
	}
}

// answered takes a message of ours that has come back.
func (w *crowd) answered(c *conn, t tag) {
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
	w.underway -= int64(d) + 1
	if c.bits&bitBehind != 0 || w.interval == 0 {
		c.bits &^= bitBehind
		w.speak(c, w.g.readAt)
	}
}

// delivered takes a message that was published.
func (w *crowd) delivered(c *conn, t tag) {
	d := ahead(t.seq, c.got)
	if d < 0 {
		w.g.totals.Duplicates++
		return
	}
	w.g.totals.Missing += uint64(d)
	w.g.totals.Delivered++
	record(w.g.times.rtt, w.g.readAt-t.at)
	c.got = (t.seq + 1) & mask24
	if c.key == w.speaker && w.interval == 0 && w.talking {
		c.bits &^= bitBehind
		w.publish(c, w.g.readAt)
	}
}

var _ behavior = (*crowd)(nil)
