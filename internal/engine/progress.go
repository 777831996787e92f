package engine

import (
	"time"

	"github.com/expedite-go/expedite/ws"
)

// Progress is the minimum progress of an incomplete message: Bytes in each period of Per until it is complete.
type Progress struct {
	Bytes int
	Per   time.Duration
}

// Defaults of Config.MessageMinRate.
const (
	DefaultMinBytes = 1 << 10
	DefaultMinPer   = 10 * time.Second
)

// judgePart is the number of checks per period.
const judgePart = 4

// period measures the progress of an incomplete message.
type period struct {
	since   int64 // ns, start of the period, moved by the time in which c was not read
	stopped int64 // ns, when reading stopped; 0 while c is read
	got     int   // bytes received in the period
	warned  bool  // the period was over with too few bytes
}

// elapsed returns how much of the period has passed.
func (p *period) elapsed(now int64) int64 {
	if p.stopped != 0 {
		now = p.stopped
	}
	return now - p.since
}

// stopReading adds a reason not to read c.
func (c *Conn) stopReading(why loopBits) {
	c.loopBits |= why
	if c.in != nil && c.in.stopped == 0 {
		c.in.stopped = c.eng.loop.Now()
	}
}

// readAgain removes reasons not to read c.
func (c *Conn) readAgain(why loopBits) {
	c.loopBits &^= why
	if c.in != nil && c.in.stopped != 0 && c.loopBits&bitsUnread == 0 {
		c.in.since += c.eng.loop.Now() - c.in.stopped
		c.in.stopped = 0
	}
}

func (e *Engine) armJudge() {
	every := int64(e.cfg.MessageMinRate.Per) / judgePart
	e.partials.armed = true
	e.partials.judge.Set(e.loop.Now()+every, every/2)
}

// judge enforces Config.MessageMinRate. A message with too few bytes gets another chance until the next check, because
// this loop may have been late and the bytes may wait in the socket.
func (e *Engine) judge() {
	rate, now := e.cfg.MessageMinRate, e.loop.Now()
	for i := len(e.partials.conns) - 1; i >= 0; i-- { // closed connections leave the list
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
			c.refuseInput(ws.ClosePolicyViolation, "this message arrives too slowly")
		}
	}
	e.partials.armed = false
	if len(e.partials.conns) > 0 {
		e.armJudge()
	}
}
