package engine

import (
	"time"

	"github.com/expedite-go/expedite/ws"
)

// Progress is the least that comes of a message that has begun: so many bytes in each period until it is complete.
type Progress struct {
	Bytes int
	Per   time.Duration
}

// Defaults of Config.MessageMinRate.
const (
	DefaultMinBytes = 1 << 10
	DefaultMinPer   = 10 * time.Second
)

// judgePart is the part of the period after which progress is looked at again.
const judgePart = 4

// period is how a message that has begun comes along.
type period struct {
	since   int64 // ns, the beginning of the period; the time in which c was not read is left out
	stopped int64 // ns, since when c is not read; 0 while it is
	got     int   // bytes in the period
	warned  bool  // the period was over, and there were too few bytes
}

// elapsed is the part of the period that has passed.
func (p *period) elapsed(now int64) int64 {
	if p.stopped != 0 {
		now = p.stopped
	}
	return now - p.since
}

// stopReading notes why c is not read.
func (c *Conn) stopReading(why loopBits) {
	c.loopBits |= why
	if c.in != nil && c.in.stopped == 0 {
		c.in.stopped = c.eng.loop.Now()
	}
}

// readAgain takes back reasons why c is not read.
func (c *Conn) readAgain(why loopBits) {
	c.loopBits &^= why
	if c.in != nil && c.in.stopped != 0 && c.loopBits&(bitPaused|bitHeld) == 0 {
		c.in.since += c.eng.loop.Now() - c.in.stopped
		c.in.stopped = 0
	}
}

func (e *Engine) armJudge() {
	every := int64(e.cfg.MessageMinRate.Per) / judgePart
	e.partials.armed = true
	e.partials.judge.Set(e.loop.Now()+every, every/2)
}

// judge enforces Config.MessageMinRate. A message that has too few bytes gets until the next time: this loop may have
// been late, and the bytes may wait in the socket.
func (e *Engine) judge() {
	rate, now := e.cfg.MessageMinRate, e.loop.Now()
	for i := len(e.partials.conns) - 1; i >= 0; i-- { // what is closed leaves the list
		c := e.partials.conns[i]
		in := c.in
		switch {
		case c.phase.Load() != phaseOpen || in.stopped != 0 || in.elapsed(now) < int64(rate.Per):
		case in.got >= rate.Bytes:
			in.since, in.got, in.warned = now, 0, false
		case !in.warned:
			in.warned = true
		default:
			e.count.limit(limitMinRate)
			c.refuseInput(ws.ClosePolicyViolation, "this message comes too slowly")
		}
	}
	e.partials.armed = false
	if len(e.partials.conns) > 0 {
		e.armJudge()
	}
}
