package engine

import (
	"github.com/expedite-go/expedite/internal/reactor"
	"github.com/expedite-go/expedite/ws"
)

// Timeout is called by the loop when the deadline of a connection has passed. There is one deadline for each, and it
// is not moved by messages: what is due is worked out here, from the time of the last byte.
func (e *Engine) Timeout(k reactor.Key) {
	c := e.conn(k)
	if c == nil {
		return
	}
	switch c.phase.Load() {
	case phaseHead:
		if until := e.loop.Woke() + int64(e.cfg.HandshakeTimeout); c.lastPing < e.loop.Woke() && e.loop.Now() < until {
			e.loop.SetDeadline(c.key, until)
			return
		}
		c.headTimeout()
	case phaseDecide:
		c.headTimeout()
	case phaseRefused:
		e.teardown(c)
	case phaseClosing:
		if c.endsLater() {
			return
		}
		e.count.limit(limitCloseTime)
		e.teardown(c)
	case phaseOpen:
		c.keepAlive()
	}
}

// CloseExpired is the close code of a connection whose time is over: HTTP's 401 in the range of applications.
const CloseExpired ws.CloseCode = 4401

// SetExpiry sets when the connection has to end: it is closed with CloseExpired then. The time is one of
// reactor.Monotonic, 0 is never. Only in Authorize and Route.Load; see Extend.
func (c *Conn) SetExpiry(at int64) { c.expires = at }

// Extend sets another time for the end of an open connection, before the old one has come. It has happened when done is
// called, on the loop, with ErrClosed or ErrMoved if it could not; after the engine's end done is not called. Any
// goroutine.
func (c *Conn) Extend(at int64, done func(error)) bool {
	return c.eng.Post(func() {
		switch c.phase.Load() {
		case phaseOpen:
			c.expires = c.eng.clock.unmoved(at)
			c.schedule()
			done(nil)
		case phaseAway:
			done(ErrMoved)
		default:
			done(ErrClosed)
		}
	})
}

// keepAlive pings a silent peer and gives up one that has been silent for too long.
func (c *Conn) keepAlive() {
	now := c.eng.loop.Now()
	if c.eng.pace != nil {
		c.goOn()
	}
	if c.parting() {
		if now < c.lastPing+int64(c.route.CloseTimeout) {
			c.schedule()
			return
		}
		c.eng.count.limit(limitCloseTime)
		c.mu.Lock()
		if c.phase.Load() == phaseOpen {
			c.sayEnd()
		}
		c.mu.Unlock()
		return
	}
	if c.expires != 0 && now >= c.expires {
		c.eng.count.limit(limitExpiry)
		c.beginClose(ending{code: CloseExpired, reason: "token expired"}, "token expired")
		return
	}
	if idle := int64(c.route.IdleTimeout); idle > 0 && now-c.heard() >= idle && c.loopBits&(bitPaused|bitHeld) == 0 {
		c.eng.count.limit(limitIdle)
		c.beginClose(ending{code: ws.CloseGoingAway, reason: "idle timeout"}, "idle timeout")
		return
	}
	if every := int64(c.route.PingInterval); every > 0 && now-max(c.lastRead, c.lastPing) >= every {
		c.lastPing = now
		// A peer that does not read needs no ping: what it has to read already keeps the connection alive. If it is us
		// who do not write, it does; if it is us who do not read, its answer would not be seen.
		if c.loopBits&bitHeld == 0 && (!c.blocked.Load() || c.heldOutput()) {
			c.sendControl(ws.OpPing, nil)
		}
	}
	c.schedule()
}

// heard is the time of the last byte of the peer, or the time from which its silence counts: while this loop stood
// still, nobody could have heard it, and no ping was sent.
func (c *Conn) heard() int64 { return max(c.lastRead, c.eng.loop.Woke()) }

// schedule sets the deadline to the next thing that may be due.
func (c *Conn) schedule() {
	now := c.eng.loop.Now()
	var due int64
	if every := int64(c.route.PingInterval); every > 0 {
		due = max(c.lastRead, c.lastPing) + every
	}
	if idle := int64(c.route.IdleTimeout); idle > 0 {
		at := c.heard() + idle
		if at <= now {
			at = now + idle // paused: it is us who do not read
		}
		if due == 0 || at < due {
			due = at
		}
	}
	if c.expires != 0 && (due == 0 || c.expires < due) {
		due = c.expires
	}
	if c.parting() {
		due = c.lastPing + int64(c.route.CloseTimeout)
	}
	if c.eng.pace != nil {
		if at := c.paceDue(); at != 0 && (due == 0 || at < due) {
			due = at
		}
	}
	if due == 0 {
		c.eng.loop.ClearDeadline(c.key)
		return
	}
	c.eng.loop.SetDeadline(c.key, due)
}
