package engine

import (
	"github.com/expedite-go/expedite/internal/reactor"
	"github.com/expedite-go/expedite/ws"
)

// Timeout handles a passed deadline. The loop calls it. Each connection has one deadline, which messages do not move:
// Timeout works out what is due from the time of the last byte.
func (e *Engine) Timeout(k reactor.Key) {
	c := e.conn(k)
	if c == nil {
		return
	}
	switch c.phase.Load() {
	case phaseHead:
		// Time in which the server did nothing for the client does not count: while this loop stood still, and while the
		// handshake waited for those of others.
		waited := int64(c.sock.Waited())
		until := max(c.lastPing+waited, e.loop.Woke()) + int64(e.cfg.HandshakeTimeout)
		if (waited > 0 || c.lastPing < e.loop.Woke()) && e.loop.Now() < until {
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

// CloseExpired is the close code for an expired token: HTTP's 401 in the range of application codes.
const CloseExpired ws.CloseCode = 4401

// SetExpiry sets when the connection must end: it is then closed with CloseExpired. The time is one of
// reactor.Monotonic; 0 means never. Call it only in Authorize and Route.Load; see Extend.
func (c *Conn) SetExpiry(at int64) { c.expires = at }

// Extend changes the expiry of an open connection. done is called on the loop: with nil when the change has been made,
// or with ErrClosed or ErrMoved. After Stop, Extend reports false and done is not called. It is safe for concurrent
// use.
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

// keepAlive pings a silent peer and gives up on one that was silent for too long.
func (c *Conn) keepAlive() {
	now := c.eng.loop.Now()
	if c.eng.limiter != nil {
		c.goOn()
	}
	c.endWait(now)
	if c.parting() {
		if now < c.lastPing+int64(c.route.CloseTimeout) {
			c.schedule()
			return
		}
		c.eng.count.limit(limitCloseTime)
		c.mu.Lock()
		if c.phase.Load() == phaseOpen {
			c.finishPart()
		}
		c.mu.Unlock()
		return
	}
	if c.expires != 0 && now >= c.expires {
		c.eng.count.limit(limitExpiry)
		c.beginClose(ending{code: CloseExpired, reason: "token expired"}, "token expired")
		return
	}
	if _, over := c.outlived(now); over {
		c.endLife()
		return
	}
	if idle := int64(c.route.IdleTimeout); idle > 0 && now-c.silentSince() >= idle && c.loopBits&bitsUnread == 0 {
		c.eng.count.limit(limitIdle)
		c.beginClose(ending{code: ws.CloseGoingAway, reason: "idle timeout"}, "idle timeout")
		return
	}
	if every := int64(c.route.PingInterval); every > 0 && now-max(c.lastRead, c.lastPing) >= every {
		c.lastPing = now
		// A peer that does not read needs no ping: the data that it has to read keeps the connection alive. But if a
		// rate limit delays our output, it does need one. And if we do not read, we would not see its answer.
		if c.loopBits&(bitHeld|bitRated) == 0 && (!c.blocked.Load() || c.heldOutput()) {
			c.sendControl(ws.OpPing, nil)
		}
	}
	c.schedule()
}

// silentSince returns the time of the last byte of the peer, or the time from which its silence counts. While this loop
// stood still, it could not receive anything and sent no ping.
func (c *Conn) silentSince() int64 { return max(c.lastRead, c.eng.loop.Woke()) }

// schedule sets the deadline to the next event that may be due.
func (c *Conn) schedule() {
	now := c.eng.loop.Now()
	var due int64
	if every := int64(c.route.PingInterval); every > 0 {
		due = max(c.lastRead, c.lastPing) + every
	}
	if idle := int64(c.route.IdleTimeout); idle > 0 {
		at := c.silentSince() + idle
		if at <= now {
			at = now + idle // paused: we do not read
		}
		if due == 0 || at < due {
			due = at
		}
	}
	ends, _ := c.outlived(now)
	for _, at := range [...]int64{c.expires, ends, c.waitDue()} {
		if at != 0 && (due == 0 || at < due) {
			due = at
		}
	}
	if c.parting() {
		due = c.lastPing + int64(c.route.CloseTimeout)
	}
	if c.eng.limiter != nil {
		if at := c.rateDue(); at != 0 && (due == 0 || at < due) {
			due = at
		}
	}
	if due == 0 {
		c.eng.loop.ClearDeadline(c.key)
		return
	}
	c.eng.loop.SetDeadline(c.key, due)
}
