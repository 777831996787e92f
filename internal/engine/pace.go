package engine

import (
	"cmp"
	"errors"
	"slices"
	"sync"

	"github.com/expedite-go/expedite/internal/reactor"
	"github.com/expedite-go/expedite/ws"
)

// direction is one of two, as the server sees them.
type direction uint8

const (
	dirIn direction = iota
	dirOut
)

// pacer keeps connections within the rates. It remembers those whose bucket is not full, and those that wait. Its lock
// is a leaf: it is taken with Conn.mu held. An engine without rates has none.
type pacer struct {
	mu      sync.Mutex
	now     func() int64
	last    int64 // what now said last
	lanes   [2]lane
	turns   map[uint32][2]turn // by reactor.Key.Index
	sweepAt int                // entries, at which those are sought that can be forgotten
	over    []waited           // waits that have ended in this turn. On the loop
}

// waited is a wait that has ended.
type waited struct {
	due int64
	key reactor.Key
	ev  reactor.Events
}

// minSweep is the number of entries from which on they are swept.
const minSweep = 256

func newPacer(each, all Rate) *pacer {
	if each.In <= 0 && each.Out <= 0 && all.In <= 0 && all.Out <= 0 {
		return nil
	}
	return &pacer{
		now:   reactor.Monotonic,
		lanes: [2]lane{newLane(each.In, all.In, limitRateIn), newLane(each.Out, all.Out, limitRateOut)},
		turns: make(map[uint32][2]turn), sweepAt: minSweep,
	}
}

// put stores the entry of a connection, unless there is nothing to remember. With p.mu held.
func (p *pacer) put(i uint32, ts [2]turn) {
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

// ask returns how many bytes of want may pass now; 0 says that the connection has to wait, and hit that the wait has
// just begun.
func (p *pacer) ask(i uint32, d direction, want int) (n int, hit bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.askLocked(i, d, want)
}

func (p *pacer) askLocked(i uint32, d direction, want int) (n int, hit bool) {
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

// askRead is ask for a read, of which nobody knows how much it will bring: what reads bring is reserved, and up to most
// may be read.
func (p *pacer) askRead(i uint32) (reserved, most int, hit bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	most = p.lanes[dirIn].share()
	reserved, hit = p.askLocked(i, dirIn, p.lanes[dirIn].typical)
	return reserved, max(most, reserved), hit
}

// book is ask without an answer: the connection lets the others go first. It says whether it has to wait longer.
func (p *pacer) book(i uint32, d direction, want int) (hit bool) {
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

// settle corrects what was reserved to what has passed.
func (p *pacer) settle(i uint32, d direction, reserved, passed int) {
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

// count takes bytes that do not have to wait from what all may pass.
func (p *pacer) count(d direction, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := &p.lanes[d]
	l.all.take(&l.full, n, p.now())
}

// due is when a wait ends, 0 if there is none; over says that the time has come.
func (p *pacer) due(i uint32, d direction) (at int64, over bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at = p.turns[i][d].due
	return at, at != 0 && at <= p.now()
}

// pong says whether a connection that waits to write may queue a pong: one in each wait.
func (p *pacer) pong(i uint32) bool {
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

// unwait ends the wait of a connection, which does not use what was reserved.
func (p *pacer) unwait(i uint32, d direction) {
	p.mu.Lock()
	defer p.mu.Unlock()
	ts, known := p.turns[i]
	if !known {
		return
	}
	p.lanes[d].charge(&ts[d], -p.lanes[d].leave(&ts[d]))
	p.put(i, ts)
}

// forget drops what is known of a connection that leaves.
func (p *pacer) forget(i uint32) {
	p.unwait(i, dirIn)
	p.unwait(i, dirOut)
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.turns, i)
}

// forgetPace drops what the pacer, if there is one, knows of c.
func (c *Conn) forgetPace() {
	if p := c.eng.pace; p != nil {
		p.forget(c.key.Index)
	}
}

// mayRead cuts buf to what c may read now. It is empty if c has to wait: then c is not read until its deadline, and the
// peer feels that by TCP. Handshakes and what arrives after the end count, but do not wait: both have their own limits.
func (c *Conn) mayRead(buf []byte) (part []byte, reserved int) {
	p := c.eng.pace
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

// hasRead takes note of what mayRead has led to.
func (c *Conn) hasRead(reserved, n int) {
	switch p := c.eng.pace; {
	case p.lanes[dirIn].off():
	case reserved > 0:
		p.settle(c.key.Index, dirIn, reserved, n)
	case n > 0:
		p.count(dirIn, n)
	}
}

// writePaced is writeOut within the rates: one share, or, with all, as many as there are without waiting. The answer to
// a handshake that is refused does not wait. With c.mu held.
func (c *Conn) writePaced(all bool) {
	p, i := c.eng.pace, c.key.Index
	for c.out != nil && c.out.size > 0 && c.bits&bitBroken == 0 {
		may, paced := c.out.size, !p.lanes[dirOut].off() && c.phase.Load() != phaseRefused
		if paced {
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
		if paced {
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
		case paced && !all && c.out.size > 0:
			if p.book(i, dirOut, c.out.size) {
				c.eng.count.limit(limitRateOut)
			}
			c.block()
			return
		}
	}
	c.wroteAll()
}

// arm makes c, which may be waiting to write, go on when it may. On the loop.
func (c *Conn) arm(ph uint32) {
	switch due, over := c.eng.pace.due(c.key.Index, dirOut); {
	case due == 0:
	case over:
		c.eng.loop.Again(c.key, reactor.Writable)
	case ph == phaseOpen:
		c.schedule()
	}
}

// goOn ends the waits of an open connection whose time has come. The time in which c was not read does not count as
// silence of the peer. On the loop.
func (c *Conn) goOn() {
	p, i := c.eng.pace, c.key.Index
	if due, over := p.due(i, dirIn); over && c.loopBits&bitHeld != 0 {
		c.readAgain(bitHeld)
		c.lastRead = c.eng.loop.Now()
		p.over = append(p.over, waited{due, c.key, reactor.Readable})
	}
	if due, over := p.due(i, dirOut); over {
		p.over = append(p.over, waited{due, c.key, reactor.Writable})
	}
}

// serve lets those whose waits have ended in this turn go on in the next, in the order in which they were due: what is
// left over goes to the first, and should not always be the same one's. On the loop.
func (e *Engine) serve() {
	p := e.pace
	if len(p.over) == 0 {
		return
	}
	slices.SortFunc(p.over, func(a, b waited) int { return cmp.Compare(a.due, b.due) })
	for _, w := range p.over {
		e.loop.Again(w.key, w.ev)
	}
	p.over = p.over[:0]
}

// paceDue is the next time at which goOn has something to do; 0 is never.
func (c *Conn) paceDue() int64 {
	p, i := c.eng.pace, c.key.Index
	due, _ := p.due(i, dirOut)
	if c.loopBits&bitHeld == 0 {
		return due
	}
	if at, _ := p.due(i, dirIn); due == 0 || at < due {
		return at
	}
	return due
}

// releaseInput reads a connection that ends: the peer's close frame may be behind what it was not allowed to send.
func (c *Conn) releaseInput() {
	if c.loopBits&bitHeld == 0 {
		return
	}
	c.readAgain(bitHeld)
	c.eng.pace.unwait(c.key.Index, dirIn)
	c.eng.loop.Again(c.key, reactor.Readable)
}

// settlePaced sets the deadline of a connection that ends. The time in which it waits to write does not count.
func (c *Conn) settlePaced() {
	if due, _ := c.eng.pace.due(c.key.Index, dirOut); due != 0 {
		c.lastPing = due
		c.eng.loop.SetDeadline(c.key, due)
		return
	}
	c.eng.loop.SetDeadline(c.key, c.lastPing+int64(c.settleLimit()))
}

// endsLater says of a connection that ends that its time has not come: it was waiting to write, and goes on.
func (c *Conn) endsLater() bool {
	if c.eng.pace == nil {
		return false
	}
	if due, _ := c.eng.pace.due(c.key.Index, dirOut); due == 0 {
		return false
	}
	c.eng.loop.SetDeadline(c.key, c.eng.loop.Now()+int64(c.settleLimit()))
	c.eng.loop.Again(c.key, reactor.Writable)
	return true
}

// heldOutput says that c waits to write because of a rate, and not for its peer. Any goroutine.
func (c *Conn) heldOutput() bool {
	if c.eng.pace == nil {
		return false
	}
	due, _ := c.eng.pace.due(c.key.Index, dirOut)
	return due != 0
}

// addControl queues a control frame; where output waits because of a rate, in front of the frames that have not begun
// (RFC 6455 §5.5: control frames may come between others). With c.mu held.
func (c *Conn) addControl(op ws.Opcode, payload []byte) {
	if c.eng.pace != nil && c.blocked.Load() {
		c.outbox().addUrgent(ws.AppendFrame(nil, op, payload))
		return
	}
	c.outbox().addFrame(op, payload, c.apart())
}
