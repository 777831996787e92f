package engine

import (
	"cmp"
	"errors"
	"slices"
	"sync"

	"github.com/expedite-go/expedite/internal/reactor"
	"github.com/expedite-go/expedite/ws"
)

// direction is the direction of traffic, as seen by the server.
type direction uint8

const (
	dirIn direction = iota
	dirOut
)

// rateLimiter enforces the rate limits. It has an entry for each connection whose bucket is not full or that waits. Its
// lock is a leaf lock: it is taken with Conn.mu held. An engine without rate limits has no rateLimiter.
type rateLimiter struct {
	mu      sync.Mutex
	now     func() int64
	last    int64 // latest result of now
	lanes   [2]lane
	turns   map[uint32][2]turn // by reactor.Key.Index
	sweepAt int                // number of entries at which idle ones are removed
	over    []waited           // waits that ended in this turn; on the loop
}

// waited is a wait that has ended.
type waited struct {
	due int64
	key reactor.Key
	ev  reactor.Events
}

// minSweep is the minimum of sweepAt.
const minSweep = 256

func newRateLimiter(each, all Rate) *rateLimiter {
	if each.In <= 0 && each.Out <= 0 && all.In <= 0 && all.Out <= 0 {
		return nil
	}
	return &rateLimiter{
		now:   reactor.Monotonic,
		lanes: [2]lane{newLane(each.In, all.In, limitRateIn), newLane(each.Out, all.Out, limitRateOut)},
		turns: make(map[uint32][2]turn), sweepAt: minSweep,
	}
}

// put stores the entry of a connection, unless it is idle. p.mu must be held.
func (p *rateLimiter) put(i uint32, ts [2]turn) {
	now := p.last
	if ts[dirIn].idle(now) && ts[dirOut].idle(now) {
		delete(p.turns, i)
		return
	}
	p.turns[i] = ts
	if len(p.turns) < p.sweepAt {
		return
	}
	for i, ts := range p.turns {
		if ts[dirIn].idle(now) && ts[dirOut].idle(now) {
			delete(p.turns, i)
		}
	}
	p.sweepAt = max(2*len(p.turns), minSweep)
}

// ask returns how many of want bytes may pass now. 0 means that the connection has to wait; hit reports whether the
// wait has just begun.
func (p *rateLimiter) ask(i uint32, d direction, want int) (n int, hit bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.askLocked(i, d, want)
}

func (p *rateLimiter) askLocked(i uint32, d direction, want int) (n int, hit bool) {
	p.last = p.now()
	l, ts := &p.lanes[d], p.turns[i]
	t := &ts[d]
	first := t.due == 0
	if first {
		l.book(t, want, p.last)
	}
	n = l.claim(t, p.last)
	p.put(i, ts)
	return n, first && n == 0
}

// askRead is ask for a read, whose length is not known in advance. It reserves the typical length of a read; up to most
// bytes may be read.
func (p *rateLimiter) askRead(i uint32) (reserved, most int, hit bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	most = p.lanes[dirIn].share()
	reserved, hit = p.askLocked(i, dirIn, p.lanes[dirIn].typical)
	return reserved, max(most, reserved), hit
}

// book is ask without claiming: the connection lets others go first. It reports whether it has to wait longer.
func (p *rateLimiter) book(i uint32, d direction, want int) (hit bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = p.now()
	ts := p.turns[i]
	if ts[d].due == 0 {
		p.lanes[d].book(&ts[d], want, p.last)
	}
	p.put(i, ts)
	return ts[d].due > p.last
}

// settle adjusts a reservation to the bytes that have passed.
func (p *rateLimiter) settle(i uint32, d direction, reserved, passed int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	ts := p.turns[i]
	if d == dirIn {
		p.lanes[d].learn(passed)
	}
	if reserved != passed {
		p.lanes[d].charge(&ts[d], passed-reserved)
		p.put(i, ts)
	}
}

// count subtracts bytes that do not have to wait from the total rate.
func (p *rateLimiter) count(d direction, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := &p.lanes[d]
	l.all.take(&l.full, n, p.now())
}

// due returns when a wait ends, or 0 if there is none. over reports whether it has ended.
func (p *rateLimiter) due(i uint32, d direction) (at int64, over bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at = p.turns[i][d].due
	return at, at != 0 && at <= p.now()
}

// pong reports whether a connection that waits to write may queue a pong: one per wait.
func (p *rateLimiter) pong(i uint32) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	ts, known := p.turns[i]
	if t := &ts[dirOut]; !known || t.due == 0 || t.ponged {
		return false
	}
	ts[dirOut].ponged = true
	p.turns[i] = ts
	return true
}

// unwait ends the wait of a connection that does not use its reservation.
func (p *rateLimiter) unwait(i uint32, d direction) {
	p.mu.Lock()
	defer p.mu.Unlock()
	ts, known := p.turns[i]
	if !known {
		return
	}
	p.lanes[d].charge(&ts[d], -p.lanes[d].leave(&ts[d]))
	p.put(i, ts)
}

// forget removes the entry of a connection.
func (p *rateLimiter) forget(i uint32) {
	p.unwait(i, dirIn)
	p.unwait(i, dirOut)
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.turns, i)
}

// forgetRate removes the entry of c, if there is a rate limiter.
func (c *Conn) forgetRate() {
	if p := c.eng.limiter; p != nil {
		p.forget(c.key.Index)
	}
}

// mayRead cuts buf to what c may read now. If c has to wait, the result is empty, c is not read until its deadline, and
// the peer notices by TCP. Handshakes and input after the end count but do not wait, because they have their own
// limits.
func (c *Conn) mayRead(buf []byte) (part []byte, reserved int) {
	p := c.eng.limiter
	if p.lanes[dirIn].off() || c.phase.Load() != phaseOpen {
		return buf, 0
	}
	reserved, most, hit := p.askRead(c.key.Index)
	if reserved > 0 {
		return buf[:min(len(buf), most)], reserved
	}
	if hit {
		c.eng.count.limit(limitRateIn)
	}
	c.stopReading(bitHeld)
	c.loopBits |= bitReadPending
	c.schedule()
	return nil, 0
}

// hasRead records the result of a read after mayRead.
func (c *Conn) hasRead(reserved, n int) {
	switch p := c.eng.limiter; {
	case p.lanes[dirIn].off():
	case reserved > 0:
		p.settle(c.key.Index, dirIn, reserved, n)
	case n > 0:
		p.count(dirIn, n)
	}
}

// writeLimited is writeOut within the rate limits. It writes one share or, with all, as many as there are without
// waiting. The answer to a refused handshake does not wait. c.mu must be held.
func (c *Conn) writeLimited(all bool) {
	p, i := c.eng.limiter, c.key.Index
	for c.out != nil && c.out.size > 0 && c.bits&bitBroken == 0 {
		may, limited := c.out.size, !p.lanes[dirOut].off() && c.phase.Load() != phaseRefused
		if limited {
			var hit bool
			if may, hit = p.ask(i, dirOut, may); hit {
				c.eng.count.limit(limitRateOut)
			}
			if may == 0 {
				c.block()
				return
			}
		}
		n, full, err := c.out.writeUpTo(c.sock, may)
		c.eng.count.wrote(n, n)
		if limited {
			p.settle(i, dirOut, may, n)
		} else {
			p.count(dirOut, n)
		}
		switch {
		case err != nil && !errors.Is(err, reactor.ErrAgain):
			c.bits |= bitBroken
			return
		case full:
			known := c.blocked.Load()
			c.block()
			if known {
				return
			}
		case limited && !all && c.out.size > 0:
			if p.book(i, dirOut, c.out.size) {
				c.eng.count.limit(limitRateOut)
			}
			c.block()
			return
		}
	}
	c.wroteAll()
}

// arm schedules c, which may be waiting to write, for the end of the wait. On the loop.
func (c *Conn) arm(ph uint32) {
	switch due, over := c.eng.limiter.due(c.key.Index, dirOut); {
	case due == 0:
	case over:
		c.eng.loop.Again(c.key, reactor.Writable)
	case ph == phaseOpen:
		c.schedule()
	}
}

// goOn ends the waits of an open connection that are over. The time in which c was not read does not count as silence
// of the peer. On the loop.
func (c *Conn) goOn() {
	p, i := c.eng.limiter, c.key.Index
	if due, over := p.due(i, dirIn); over && c.loopBits&bitHeld != 0 {
		c.readAgain(bitHeld)
		c.lastRead = c.eng.loop.Now()
		p.over = append(p.over, waited{due, c.key, reactor.Readable})
	}
	if due, over := p.due(i, dirOut); over {
		p.over = append(p.over, waited{due, c.key, reactor.Writable})
	}
}

// serve lets the connections whose waits ended in this turn continue in the next one, in the order in which they were
// due. The first one gets what is left of the total rate, and should not always be the same connection. On the loop.
func (e *Engine) serve() {
	p := e.limiter
	if len(p.over) == 0 {
		return
	}
	slices.SortFunc(p.over, func(a, b waited) int { return cmp.Compare(a.due, b.due) })
	for _, w := range p.over {
		e.loop.Again(w.key, w.ev)
	}
	p.over = p.over[:0]
}

// rateDue returns the next time at which goOn has something to do, or 0.
func (c *Conn) rateDue() int64 {
	p, i := c.eng.limiter, c.key.Index
	due, _ := p.due(i, dirOut)
	if c.loopBits&bitHeld == 0 {
		return due
	}
	if at, _ := p.due(i, dirIn); due == 0 || at < due {
		return at
	}
	return due
}

// releaseInput continues reading a connection that ends: the peer's close frame may come after bytes that had to wait.
func (c *Conn) releaseInput() {
	if c.loopBits&bitRated != 0 {
		c.readAgain(bitRated)
		c.eng.loop.Again(c.key, reactor.Readable)
	}
	if c.loopBits&bitHeld == 0 {
		return
	}
	c.readAgain(bitHeld)
	c.eng.limiter.unwait(c.key.Index, dirIn)
	c.eng.loop.Again(c.key, reactor.Readable)
}

// settleLimited sets the deadline of a connection that ends. Time in which it waits to write does not count.
func (c *Conn) settleLimited() {
	if due, _ := c.eng.limiter.due(c.key.Index, dirOut); due != 0 {
		c.lastPing = due
		c.eng.loop.SetDeadline(c.key, due)
		return
	}
	c.eng.loop.SetDeadline(c.key, c.lastPing+int64(c.settleLimit()))
}

// endsLater extends the deadline of a connection that ends but was waiting to write. It reports whether it did.
func (c *Conn) endsLater() bool {
	if c.eng.limiter == nil {
		return false
	}
	if due, _ := c.eng.limiter.due(c.key.Index, dirOut); due == 0 {
		return false
	}
	c.eng.loop.SetDeadline(c.key, c.eng.loop.Now()+int64(c.settleLimit()))
	c.eng.loop.Again(c.key, reactor.Writable)
	return true
}

// heldOutput reports whether c waits to write because of a rate limit and not because of its peer. It is safe for
// concurrent use.
func (c *Conn) heldOutput() bool {
	if c.eng.limiter == nil {
		return false
	}
	due, _ := c.eng.limiter.due(c.key.Index, dirOut)
	return due != 0
}

// addControl queues a control frame. If output waits because of a rate limit, the frame goes before those that have not
// begun: RFC 6455 §5.5 allows control frames between others. c.mu must be held.
func (c *Conn) addControl(op ws.Opcode, payload []byte) {
	if c.eng.limiter != nil && c.blocked.Load() {
		c.outbox().addUrgent(ws.AppendFrame(nil, op, payload))
		return
	}
	c.outbox().addFrame(op, payload, c.apart())
}
