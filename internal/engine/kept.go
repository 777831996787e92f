package engine

import (
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"github.com/expedite-go/expedite/internal/reactor"
)

// keep takes a connection back from net/http to the loop. rest is what was read of the next request. It is safe for
// concurrent use. After Stop it reports false, and conn still belongs to the caller.
func (e *Engine) keep(conn net.Conn, from origin, rest []byte) bool {
	return e.loop.Post(func() {
		defer e.returned()
		k, s, err := e.takeBack(conn)
		if err != nil {
			e.clientLog(slog.LevelWarn, "connection lost on its way from net/http", "error", err)
			_ = conn.Close()
			return
		}
		c := e.newConn(k, s, from.remote)
		c.source, c.via = from.source, from.via
		c.loopBits |= bitKept
		c.tally().Add(1)
		c.enter(true) // it was counted before
		c.reschedule()
		e.line(c)
		if len(rest) > 0 {
			c.feed(rest)
		}
		if e.draining.Load() {
			c.closeKept()
		}
		for e.httpFull() && e.closeIdle() { // the reserve is for connections with a request
		}
	})
}

// returned records the arrival of a connection that was on its way from net/http. On the loop.
func (e *Engine) returned() {
	e.returning.Add(-1)
	e.nudge()
}

// tally returns the counter for a connection before its handshake: that of HTTP while it is kept alive without a
// request. On the loop.
func (c *Conn) tally() *atomic.Int64 {
	if c.loopBits&bitKept != 0 {
		return &c.eng.http
	}
	return &c.eng.handshakes
}

// beginHead records that a request has begun. It reports whether c was kept alive until now. From here on c counts
// among the handshakes, and its head must be complete in time.
func (c *Conn) beginHead() (kept bool) {
	if c.loopBits&bitKept == 0 {
		return false
	}
	c.tally().Add(-1)
	c.loopBits &^= bitKept
	c.tally().Add(1)
	c.lastPing = c.eng.loop.Now()
	c.reschedule()
	if c.in != nil {
		c.eng.line(c)
	}
	return true
}

// boundHandshakes closes a socket if there are too many, now that c has become one of them.
func (c *Conn) boundHandshakes() {
	e := c.eng
	if e.handshakes.Load() > e.limits.handshakes.Load() {
		e.makeRoom()
	}
}

// closeKept closes c if it is kept alive without a request. On the loop.
func (c *Conn) closeKept() {
	if c.loopBits&bitKept != 0 && c.phase.Load() == phaseHead {
		c.eng.teardown(c)
	}
}

func (e *Engine) isKept(k reactor.Key) bool {
	c := e.conn(k)
	return c != nil && c.phase.Load() == phaseHead && c.loopBits&bitKept != 0
}

// closeIdle closes an HTTP connection without a request to make room for another one: the one that has waited on the
// loop for longest, or else one that net/http has. It reports false if there is none. On the loop.
func (e *Engine) closeIdle() bool {
	if k, ok := e.queues.kept.pop(e.isKept); ok {
		e.count.limit(limitHTTPConnections)
		e.teardown(e.conn(k))
		return true
	}
	x := e.anyLingering()
	if x == nil {
		return false
	}
	e.count.limit(limitHTTPConnections)
	if x.finish() {
		go reclaim(x.Conn).Close() //nolint:errcheck // closing TLS may wait for the peer, up to a limit
	}
	return true
}

// linger records whether net/http waits for the next request of x.
func (x *Requests) linger(on bool) {
	x.eng.requestsMu.Lock()
	defer x.eng.requestsMu.Unlock()
	if on {
		x.eng.lingering[x] = struct{}{}
	} else {
		delete(x.eng.lingering, x)
	}
}

// anyLingering removes and returns a connection for which net/http waits for the next request, or nil.
func (e *Engine) anyLingering() *Requests {
	e.requestsMu.Lock()
	defer e.requestsMu.Unlock()
	for x := range e.lingering {
		delete(e.lingering, x)
		return x
	}
	return nil
}

// recallLingering brings the connections without a request back to the loop, because only those on the loop can move.
// On the loop.
func (e *Engine) recallLingering() {
	e.requestsMu.Lock()
	defer e.requestsMu.Unlock()
	for x := range e.lingering {
		x.recall()
	}
}

// recall ends the wait for the next request. It is safe for concurrent use.
func (x *Requests) recall() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.stage == httpKept && !x.bodyBy.IsZero() {
		x.bodyBy = time.Now()
		_ = x.setReadDeadline()
	}
}
