package engine

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/expedite-go/expedite/internal/forwarded"
	"github.com/expedite-go/expedite/internal/reactor"
)

const (
	// httpReserve is the number of connections beyond Config.MaxHTTPConnections for requests for which Config.Vital
	// reports true.
	httpReserve = 64
	// httpWritePart is the maximum number of bytes written with one deadline.
	httpWritePart = 64 << 10
)

// httpConn is a connection of the HTTP fallback. It is counted until it is closed or back on the loop; there it is
// counted while it waits for its next request, see Conn.tally. A write fails if the client reads nothing for
// Config.ResponseTimeout.
type httpConn struct {
	net.Conn
	eng    *Engine
	ended  atomic.Bool
	queued atomic.Int64 // bytes that the peer had not acknowledged when a write began, or went on

	mu      sync.Mutex
	remote  netip.AddrPort
	counted bool      // counted among the connections of remote
	writeBy time.Time // deadline set by net/http or a handler; zero means none
}

// httpRoom reports whether there is room for another connection in the HTTP fallback.
func (e *Engine) httpRoom(vital bool) bool {
	limit := e.limits.http.Load()
	if vital {
		limit += httpReserve
	}
	return e.http.Load() < limit
}

// httpFull reports whether the HTTP fallback has more than Config.MaxHTTPConnections connections.
func (e *Engine) httpFull() bool { return e.http.Load() > e.limits.http.Load() }

// lend moves the connection of c, which has left the loop, to the HTTP fallback.
func (c *Conn) lend(conn net.Conn) *httpConn {
	c.eng.http.Add(1)
	h := &httpConn{Conn: conn, eng: c.eng, remote: c.remote, counted: c.loopBits&bitCounted != 0}
	c.loopBits &^= bitCounted
	if p, ok := conn.(patient); ok {
		p.BeforeTimeout(h.goesOn)
	}
	return h
}

// patient is a connection that cannot go on after a write that has reached its deadline, such as one of crypto/tls. So
// it asks f first, with the number of bytes that have left, and goes on if f reports true. Nil ends that.
type patient interface {
	BeforeTimeout(f func(written int) bool)
}

// reclaim returns the connection inside an httpConn, which then no longer counts. It returns any other connection as
// is.
func reclaim(conn net.Conn) net.Conn {
	if h, ok := conn.(*httpConn); ok {
		h.end()
		return h.Conn
	}
	return conn
}

// end stops counting the connection.
func (h *httpConn) end() {
	if h.ended.Swap(true) {
		return
	}
	h.eng.http.Add(-1)
	if p, ok := h.Conn.(patient); ok {
		p.BeforeTimeout(nil)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.leave()
}

// leave stops counting the connection among those of its address. h.mu must be held.
func (h *httpConn) leave() {
	if h.counted {
		h.counted = false
		h.eng.addresses.leave(h.remote)
	}
}

// bill counts the connection among those of another address. It reports false if that has too many.
func (h *httpConn) bill(remote netip.AddrPort) (ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.leave()
	if h.ended.Load() {
		return false
	}
	h.remote = remote
	h.counted, ok = h.eng.addresses.enter(remote, false)
	return ok
}

// bill counts x, if a proxy relays its requests, for the client of the next request: for nobody if who is nil. Other
// connections are counted for their peer all the time. It reports false if the client has too many.
func (x *Requests) bill(who *forwarded.Client) bool {
	h, ok := x.Conn.(*httpConn)
	if !ok || !x.from.relays() {
		return true
	}
	if who != nil && x.from.unnamed(who) {
		return false // the loop refuses it
	}
	if who != nil && !x.from.exempt(who) {
		return h.bill(who.Addr)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.leave()
	return true
}

// Close stops counting the connection and closes it.
func (h *httpConn) Close() error {
	h.end()
	return h.Conn.Close()
}

// CloseWrite lets net/http end the response before it closes the connection, so that the client can read all of it.
func (h *httpConn) CloseWrite() error {
	if c, ok := h.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return nil
}

// Write writes all of b unless the client stops reading.
func (h *httpConn) Write(b []byte) (n int, err error) {
	_, asks := h.Conn.(patient)
	for {
		if err := h.extend(); err != nil {
			return n, err
		}
		written, err := h.Conn.Write(b[n:min(n+httpWritePart, len(b))])
		n += written
		if errors.Is(err, os.ErrDeadlineExceeded) && !h.late() {
			if !asks && h.reads(written) {
				continue
			}
			h.eng.count.limit(limitResponseTime)
		}
		if err != nil || n == len(b) {
			return n, err
		}
	}
}

// reads reports whether the client has read something since extend, if slowly. The system may not take more for long
// after that: it waits until a third of its buffer is empty.
func (h *httpConn) reads(written int) bool {
	return written > 0 || int64(reactor.Unacknowledged(h.Conn)) < h.queued.Load()
}

// goesOn extends the deadline of a write that has reached it, if the client reads. It reports whether it did.
func (h *httpConn) goesOn(written int) bool {
	return !h.ended.Load() && !h.late() && h.reads(written) && h.extend() == nil
}

// extend sets the deadline of the next write.
func (h *httpConn) extend() error {
	h.queued.Store(int64(reactor.Unacknowledged(h.Conn)))
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.Conn.SetWriteDeadline(h.deadline())
}

// deadline returns the earlier of the progress deadline and the one that was set. h.mu must be held.
func (h *httpConn) deadline() time.Time {
	limit := h.eng.cfg.ResponseTimeout
	if limit < 0 {
		return h.writeBy
	}
	by := time.Now().Add(limit)
	if !h.writeBy.IsZero() && h.writeBy.Before(by) {
		return h.writeBy
	}
	return by
}

// late reports whether the deadline that was set has passed.
func (h *httpConn) late() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.writeBy.IsZero() && !time.Now().Before(h.writeBy)
}

// SetWriteDeadline sets a deadline in addition to the progress deadline.
func (h *httpConn) SetWriteDeadline(t time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.writeBy = t
	return h.Conn.SetWriteDeadline(h.deadline())
}

// SetDeadline sets the read and the write deadline.
func (h *httpConn) SetDeadline(t time.Time) error {
	return errors.Join(h.Conn.SetReadDeadline(t), h.SetWriteDeadline(t))
}

var _ net.Conn = (*httpConn)(nil)
